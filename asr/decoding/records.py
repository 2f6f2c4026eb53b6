"""Arrays of records that lie on cache lines, so that reading one at random costs one line, not two.

NumPy's own arrays begin anywhere.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

CACHE_LINE = 64  # bytes


def empty_records(shape: int | tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """An array that begins with a cache line; pages of it that nobody touches cost nothing."""
    size = int(np.prod(shape, dtype=object)) * dtype.itemsize
    memory = np.empty(size + CACHE_LINE, np.uint8)
    begin = -memory.ctypes.data % CACHE_LINE
    return memory[begin : begin + size].view(dtype).reshape(shape)
