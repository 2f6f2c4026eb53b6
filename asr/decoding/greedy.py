"""Best-path decoding: the most probable symbol of each frame, without repeats and blanks.

Reference: Graves et al., "Connectionist temporal classification", ICML 2006, section 3.2. Fast and
usually good, but the most probable path need not belong to the most probable tokens, whose
probability is the sum over all their paths.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from asr.decoding.hypothesis import (
    Hypothesis,
    Spelling,
    TokenSpan,
    TokenTimes,
    check_normalised,
    hypothesis_of,
)
from asr.errors import DataError


@dataclass(frozen=True, slots=True)
class BestPath:
    """The tokens of the most probable path of one utterance.

    Attributes:
        spans: each token with its frames and confidence.
        log_prob: of the path, in nats; a lower bound on that of the tokens.
    """

    spans: tuple[TokenSpan, ...]
    log_prob: float


def greedy(
    log_probs: Tensor,
    log_prob_lengths: Tensor,
    spelling: Spelling,
    *,
    frame_seconds: float,
    durations: Sequence[float] | None = None,
    blank: int = 0,
) -> list[Hypothesis]:
    """The hypothesis of the best path of each utterance.

    Args:
        log_probs: (B, T, V) from `log_softmax`; what lies beyond the lengths is ignored.
        log_prob_lengths: (B,) int64 frames.
        spelling: the tokenizer, or anything else that joins tokens into words.
        frame_seconds: time from one frame to the next.
        durations: seconds of each utterance, which no word's time exceeds.
        blank: the symbol that stands for no token.

    Raises:
        DataError: a frame whose largest log-probability is not finite.
        ValueError: shapes or lengths that do not fit together, or logits.
    """
    paths = best_paths(log_probs, log_prob_lengths, blank=blank)
    if durations is not None and len(durations) != len(paths):
        raise ValueError(f"{len(durations)} durations for {len(paths)} utterances")
    return [
        hypothesis_of(
            TokenTimes.of(path.spans),
            path.log_prob,
            spelling,
            frame_seconds=frame_seconds,
            duration=None if durations is None else durations[index],
        )
        for index, path in enumerate(paths)
    ]


def best_paths(log_probs: Tensor, log_prob_lengths: Tensor, *, blank: int = 0) -> list[BestPath]:
    """The best path of each utterance; of equally probable symbols the first.

    Args:
        log_probs: (B, T, V) from `log_softmax`; what lies beyond the lengths is ignored.
        log_prob_lengths: (B,) int64 frames.
        blank: the symbol that stands for no token.

    Raises:
        DataError: a frame whose largest log-probability is not finite.
        ValueError: shapes or lengths that do not fit together, or logits.
    """
    if log_probs.dim() != 3:
        raise ValueError(f"log_probs must be (B, T, V), got {tuple(log_probs.shape)}")
    batch, num_frames, _ = log_probs.shape
    lengths = log_prob_lengths.tolist()
    if len(lengths) != batch or not all(0 <= length <= num_frames for length in lengths):
        raise ValueError(f"log_prob_lengths must be {batch} of 0 to {num_frames}, got {lengths}")
    chosen = log_probs.argmax(dim=-1, keepdim=True)
    values = log_probs.gather(-1, chosen)[..., 0].cpu().double().numpy()
    symbols = chosen[..., 0].cpu().numpy()
    return [
        _best_path(symbols[index, :length], values[index, :length], index, blank)
        for index, length in enumerate(lengths)
    ]


def _best_path(
    symbols: NDArray[np.int64], values: NDArray[np.float64], index: int, blank: int
) -> BestPath:
    """The path that has `symbols` (T,) with log-probabilities `values` (T,)."""
    if len(symbols) == 0:
        return BestPath((), 0.0)
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise DataError(
            f"utterance {index} of the batch has no finite probability in frame {bad[0]}: the "
            "model diverged, or its input is damaged"
        )
    check_normalised(values.max())
    starts = np.flatnonzero(np.diff(symbols, prepend=-1))
    ends = np.append(starts[1:], len(symbols))
    confidences = np.exp(np.minimum(np.maximum.reduceat(values, starts), 0.0))
    runs = zip(symbols[starts].tolist(), starts.tolist(), ends.tolist(), strict=True)
    spans = tuple(
        TokenSpan(token, start, end, confidence)
        for (token, start, end), confidence in zip(runs, confidences.tolist(), strict=True)
        if token != blank
    )
    return BestPath(spans, float(values.sum()))
