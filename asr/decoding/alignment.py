"""Forced alignment: in which frames were the tokens of a known text said?

The most probable of all CTC alignments of the tokens, by the Viterbi algorithm over the tokens with
blanks around them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from asr.compiled import compiled
from asr.decoding.hypothesis import TokenSpan, TokenTimes, check_normalised
from asr.errors import DataError
from asr.objectives.ctc import frames_needed

MAX_CELLS = 1 << 36  # frames times states, an hour at 10 ms and 15 letters/s: some minutes
KEPT_BYTES = 1 << 26  # of a table that saves working out the moves twice


@dataclass(frozen=True, slots=True)
class Alignment:
    """Where given tokens were found.

    Attributes:
        spans: each token with its frames and confidence.
        log_prob: of this alignment, in nats.
    """

    spans: tuple[TokenSpan, ...]
    log_prob: float


def align(log_probs: ArrayLike, tokens: Sequence[int], *, blank: int = 0) -> Alignment:
    """The most probable alignment of `tokens`; of equal ones that which moves on earliest.

    Time grows with frames times tokens: 5 ms for 50 s of speech at 30 ms a frame.

    Args:
        log_probs: (T, V) of one utterance, from `log_softmax`.
        tokens: without blanks.
        blank: the symbol that stands for no token.

    Raises:
        DataError: fewer frames than the tokens need, no alignment with a probability above zero,
            NaN, or too long to align.
        ValueError: another shape, logits, or tokens outside the vocabulary.
    """
    scores = np.ascontiguousarray(log_probs, dtype=np.float64)
    if scores.ndim != 2:
        raise ValueError(f"log_probs must be (T, V), got {scores.shape}")
    num_frames, vocabulary_size = scores.shape
    labels = np.array(tokens, dtype=np.int64)
    if len(labels) and not 0 <= labels.min() <= labels.max() < vocabulary_size:
        raise ValueError(f"tokens must be 0 to {vocabulary_size - 1} without the blank {blank}")
    if (labels == blank).any():
        raise ValueError(f"tokens must be 0 to {vocabulary_size - 1} without the blank {blank}")
    _check_lengths(num_frames, tokens)
    check_normalised(scores.max())
    times, log_prob = aligned(scores, labels, blank)
    if np.isnan(scores).any() or log_prob == -np.inf:
        raise DataError(
            f"no alignment of the {len(tokens)} tokens has a probability above zero: the model "
            "diverged, or its input is damaged"
        )
    return Alignment(times.spans(), log_prob)


def aligned(
    scores: NDArray[np.floating[Any]], tokens: NDArray[np.integer[Any]], blank: int
) -> tuple[TokenTimes, float]:
    """As `align`, for tokens that are known to fit: only the size of the table is checked.

    Raises:
        DataError: too long to align.
    """
    check_size(len(scores), len(tokens))
    starts, ends, confidences, log_prob = token_frames(scores, tokens, blank)
    times = TokenTimes(tokens.tolist(), starts.tolist(), ends.tolist(), confidences.tolist())
    return times, float(log_prob)


def _check_lengths(num_frames: int, tokens: Sequence[int]) -> None:
    needed = frames_needed(tokens)
    if num_frames < needed:
        raise DataError(
            f"{num_frames} frames for {len(tokens)} tokens: an alignment needs at least {needed} "
            "(one per token and one between equal neighbours). Is it the text of this sound?"
        )


def check_size(num_frames: int, num_tokens: int) -> None:
    """Return when an alignment of these takes a bearable time.

    Raises:
        DataError: it does not.
    """
    if num_frames * (2 * num_tokens + 1) > MAX_CELLS:
        raise DataError(
            f"{num_frames} frames with {num_tokens} tokens are too long to align at once; cut the "
            "recording into parts"
        )


@compiled
def token_frames(scores, tokens, blank):  # type: ignore[no-untyped-def]
    """First frame, end frame and confidence (U,) of each token, and the path's log-probability."""
    states = np.full(2 * len(tokens) + 1, blank, np.int64)
    states[1::2] = tokens
    if len(scores) == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0), 0.0
    path, log_prob = _viterbi(scores, states, blank, KEPT_BYTES)
    starts = np.full(len(tokens), -1, np.int64)
    ends = np.zeros(len(tokens), np.int64)
    best = np.full(len(tokens), -np.inf)
    for t in range(len(path)):
        if path[t] % 2 == 1:
            token = path[t] // 2
            if starts[token] < 0:
                starts[token] = t
            ends[token] = t + 1
            best[token] = max(best[token], scores[t, states[path[t]]])
    return starts, ends, np.exp(np.minimum(best, 0.0)), log_prob


@compiled
def _viterbi(scores, states, blank, kept_bytes):  # type: ignore[no-untyped-def]
    """The best path (T,) of indices into `states` (S,), and its log-probability.

    Where a table of all moves would take more than `kept_bytes`, only some columns of scores are
    kept, and the moves from one to the next are worked out a second time on the way back: memory
    then grows with the square root of the frames.
    """
    num_frames, num_states = len(scores), len(states)
    block = num_frames
    if num_frames * num_states > kept_bytes:
        block = int(np.ceil(np.sqrt(8 * num_frames)))  # a score takes 8 bytes, a move 1
    num_blocks = -(-num_frames // block)
    columns = np.empty((num_blocks, num_states))
    moves = np.zeros((block, num_states), np.uint8)
    column = np.full(num_states, -np.inf)
    for s in range(min(2, num_states)):
        column[s] = scores[0, states[s]]
    for number in range(num_blocks):
        columns[number] = column
        column = _moved(scores, states, blank, number * block, column, moves)
    state = num_states - 1
    if num_states > 1 and column[state - 1] > column[state]:
        state -= 1
    log_prob = column[state]
    path = np.empty(num_frames, np.int64)
    for number in range(num_blocks - 1, -1, -1):
        first = number * block
        if number < num_blocks - 1:
            _moved(scores, states, blank, first, columns[number], moves)
        for t in range(min(first + block, num_frames) - 1, first - 1, -1):
            path[t] = state
            state -= moves[t - first, state]
    return path, log_prob


@compiled
def _moved(scores, states, blank, first_frame, column, moves):  # type: ignore[no-untyped-def]
    """Fill `moves` (frames, S) from `first_frame` on; the scores (S,) after them.

    Each frame stays in its state, moves on by one, or by two over a blank between different tokens;
    ties stay. States that cannot be reached yet, or from which the end cannot be reached any more,
    are not computed.
    """
    num_frames, num_states = len(scores), len(states)
    before = column.copy()
    now = np.full(num_states, -np.inf)
    for t in range(max(1, first_frame), min(first_frame + len(moves), num_frames)):
        first = max(0, num_states - 2 * (num_frames - t))
        last = min(num_states, 2 * t + 2)
        for s in range(first, last):
            best, move = before[s], 0
            if s >= 1 and before[s - 1] > best:
                best, move = before[s - 1], 1
            skips = s >= 2 and states[s] != blank and states[s] != states[s - 2]
            if skips and before[s - 2] > best:
                best, move = before[s - 2], 2
            now[s] = best + scores[t, states[s]]
            moves[t - first_frame, s] = move
        before, now = now, before
    return before
