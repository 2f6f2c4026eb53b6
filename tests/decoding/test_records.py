import numpy as np

from asr.decoding.records import CACHE_LINE, empty_records

PAIR = np.dtype([("first", np.float64), ("second", np.int32)], align=True)


def test_records_begin_with_a_cache_line() -> None:
    for shape in (0, 1, 1000, (2, 7)):
        records = empty_records(shape, PAIR)
        assert records.shape == np.empty(shape).shape
        assert records.dtype == PAIR
        assert records.size == 0 or records.ctypes.data % CACHE_LINE == 0
        records["second"] = 5
        assert (records["second"] == 5).all()
