"""Log-probabilities from anybody's model: as arrays of single utterances, looked at before use."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.compiled import compiled_loop
from asr.decoding.hypothesis import check_normalised
from asr.errors import DataError

CHECKED_FRAMES = 16  # of an utterance, whose probabilities must sum to one
NORMALISATION_TOLERANCE = 1e-2  # what half precision leaves of one
Scores = NDArray[np.floating[Any]]


def checked_scores(array: NDArray[Any], lengths: Any, num_labels: int) -> list[Scores]:
    """The scores (T, V) of each utterance of (B, T, V), contiguous, in single or double precision.

    Raises:
        DataError, ValueError: as `BeamSearch.decode_nbest`.
    """
    if array.ndim != 3 or array.shape[2] != num_labels:
        raise ValueError(
            f"log_probs must be (B, T, {num_labels}), one for each label, got {array.shape}"
        )
    batch, num_frames, _ = array.shape
    given = np.full(batch, num_frames) if lengths is None else as_array(lengths)
    inside = given.shape == (batch,) and np.issubdtype(given.dtype, np.integer)
    if batch and not (inside and ((given >= 0) & (given <= num_frames)).all()):
        raise ValueError(
            f"lengths must be {batch} whole numbers of 0 to {num_frames}, got {given.tolist()}"
        )
    if array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float32)
    utterances = [np.ascontiguousarray(array[index, :n]) for index, n in enumerate(given.tolist())]
    for index, scores in enumerate(utterances):
        _check_normalised(scores, index)
    return utterances


def _check_normalised(scores: Scores, index: int) -> None:
    largest, total = _extremes(scores, max(1, -(-len(scores) // CHECKED_FRAMES)))
    if math.isnan(largest):
        raise DataError(
            f"utterance {index} of the batch has NaN scores: the model diverged, or its input is "
            "damaged"
        )
    check_normalised(largest)
    if abs(total - 1) > NORMALISATION_TOLERANCE:
        raise ValueError(
            f"log_probs must be normalised: the probabilities of a frame sum to {total:.3g}; apply "
            "log_softmax"
        )


@compiled_loop
def _extremes(scores, every):  # type: ignore[no-untyped-def]
    """The largest score, or NaN if there is one; the sum of a frame farthest from one."""
    largest, farthest = -np.inf, 1.0
    for t in range(len(scores)):
        for label in range(scores.shape[1]):
            value = float(scores[t, label])
            if not value <= largest:
                if np.isnan(value):
                    return value, farthest
                largest = value
        if t % every == 0:
            total = 0.0
            for label in range(scores.shape[1]):
                total += np.exp(np.float64(scores[t, label]))
            if abs(total - 1.0) > abs(farthest - 1.0):
                farthest = total
    return largest, farthest


def as_array(values: Any) -> NDArray[Any]:
    """A NumPy array of an array, a tensor on any device, or a sequence."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        values = (
            values.float().numpy()
            if values.dtype.is_floating_point and values.element_size() < 4
            else values.numpy()
        )
    return np.asarray(values)
