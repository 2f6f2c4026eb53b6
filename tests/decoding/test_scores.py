"""Scores and lengths as they come from anybody."""

from pathlib import Path

import numpy as np
import pytest

from asr.decoding.beam import BeamLimits, BeamSearch
from asr.errors import DataError, ResourceError
from tests.decoding.search_modes import CHARACTERS


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("log_probs", "error", "message"),
    [
        (np.zeros((2, 3)), ValueError, r"must be \(B, T, 4\)"),
        (np.zeros((1, 2, 3)), ValueError, r"must be \(B, T, 4\)"),
        (np.full((1, 2, 4), 1.0), ValueError, "are they logits"),
        (np.full((1, 2, 4), -0.1), ValueError, "sum to 3.62; apply log_softmax"),
        (np.full((1, 2, 4), np.nan), DataError, "utterance 0 of the batch has NaN"),
    ],
)
def test_scores_that_are_none(log_probs: np.ndarray, error: type, message: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(error, match=message):
        BeamSearch(CHARACTERS).decode(log_probs)


def test_arguments_that_do_not_fit() -> None:
    search = BeamSearch(CHARACTERS)
    frames = np.log(np.full((2, 3, 4), 0.25))
    with pytest.raises(ValueError, match="nbest must be at least 1, got 0"):
        search.decode_nbest(frames, nbest=0)
    with pytest.raises(ValueError, match="1 durations for 2 utterances"):
        search.decode_nbest(frames, durations=[1.0])
    for lengths in ([3], [3, 4], [-1, 3], [1.0, 0.5], 3, [[3, 3]], [True, True]):
        with pytest.raises(ValueError, match="lengths must be 2 whole numbers of 0 to 3, got"):
            search.decode(frames, lengths)
    huge = BeamSearch(CHARACTERS, limits=BeamLimits(beam_size=10**13))
    with pytest.raises(ResourceError, match=r"beam of 10,000,000,000,000 over 3 .*lower beam_size"):
        huge.decode(frames)
    beyond = BeamSearch(CHARACTERS, limits=BeamLimits(beam_size=10**17))
    with pytest.raises(ResourceError, match="out of memory for a beam of 100,000,000,000,000,000"):
        beyond.decode(frames)


def test_single_precision_finds_what_double_does() -> None:
    """exp(-110) is no number of single precision."""
    frames = np.full((2, 4), -110.0)
    frames[:, 2] = 0.0
    search = BeamSearch(CHARACTERS, lexicon=["B"])
    double, single = (search.decode(frames[None].astype(kind))[0] for kind in (float, np.float32))
    assert single.text == double.text
    assert single.log_prob == pytest.approx(double.log_prob)
