"""Which labels and which scores are kept."""

import math
from pathlib import Path

import numpy as np
import pytest

from asr.decoding.beam import BeamLimits, BeamSearch
from asr.decoding.beam_kernel import _keep_most_probable
from asr.decoding.beam_memory import COUNTED, NUM_BUCKETS, WORST, allocate
from asr.decoding.beam_selection import count_score


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_the_most_probable_labels_are_kept() -> None:
    random = np.random.default_rng(13)
    for kept in (1, 3, 7):
        frame, likely = random.normal(size=9), random.permutation(9).astype(np.int32)[:8]
        expected = sorted(likely.tolist(), key=lambda label: -frame[label])[:kept]
        _keep_most_probable(likely, 8, kept, frame)
        assert likely[:kept].tolist() == expected
    frames = np.log(np.array([[0.1, 0.5, 0.4]]))
    both, one = (
        BeamSearch(["_", "A", "B"], lexicon=["B"], limits=BeamLimits(max_tokens=most))
        for most in (2, 1)
    )
    assert (both.decode(frames[None])[0].text, one.decode(frames[None])[0].text) == ("B", "")


def test_no_score_is_counted_outside_the_buckets() -> None:
    memory = np.zeros(NUM_BUCKETS + 50, np.int64)
    work = allocate(1, 3, 4)._replace(buckets=memory[:NUM_BUCKETS])
    for top, score in ((0.0, math.nan), (-math.inf, -math.inf), (0.0, -math.inf), (0.0, math.inf)):
        work.range[:] = (top, 0.5, -math.inf)
        work.sizes[WORST], work.sizes[COUNTED] = NUM_BUCKETS - 1, 0
        count_score(work, score, 3)
    assert memory[:NUM_BUCKETS].sum() == 4
    assert not memory[NUM_BUCKETS:].any()
