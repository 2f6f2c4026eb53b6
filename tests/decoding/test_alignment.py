"""Forced alignment against the enumeration of every alignment and a plain Viterbi search."""

import math
from itertools import groupby, product

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from asr.decoding import alignment
from asr.decoding.alignment import Alignment, align
from asr.decoding.greedy import best_paths
from asr.errors import DataError
from asr.objectives.ctc import frames_needed

Scores = NDArray[np.float64]


def random_log_probs(frames: int, symbols: int, seed: int) -> Scores:
    logits = 2 * np.random.default_rng(seed).standard_normal((frames, symbols))
    return np.asarray(torch.from_numpy(logits).log_softmax(dim=-1).numpy())


def collapsed(path: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(symbol for symbol, _ in groupby(path) if symbol != 0)


def path_of(found: Alignment, frames: int) -> tuple[int, ...]:
    path = [0] * frames
    for span in found.spans:
        path[span.start_frame : span.end_frame] = [span.token] * (span.end_frame - span.start_frame)
    return tuple(path)


def score_of(scores: Scores, path: tuple[int, ...]) -> float:
    return float(sum(row[symbol] for row, symbol in zip(scores, path, strict=True)))


def plain_viterbi(scores: Scores, tokens: list[int]) -> float:
    """The best log-probability, by the textbook recursion over all states in all frames."""
    states = [0] + [symbol for token in tokens for symbol in (token, 0)]
    column = [scores[0][state] if s < 2 else -math.inf for s, state in enumerate(states)]
    for row in scores[1:]:
        column = [
            max(
                column[s],
                column[s - 1] if s >= 1 else -math.inf,
                column[s - 2] if s >= 2 and state not in (0, states[s - 2]) else -math.inf,
            )
            + row[state]
            for s, state in enumerate(states)
        ]
    return max(column[-2:])


@pytest.mark.parametrize(("frames", "labels"), [(t, k) for t in range(1, 7) for k in (1, 2, 3)])
def test_no_alignment_is_better(frames: int, labels: int) -> None:
    scores = random_log_probs(frames, labels + 1, seed=frames)
    best: dict[tuple[int, ...], float] = {}
    for path in product(range(labels + 1), repeat=frames):
        tokens = collapsed(path)
        best[tokens] = max(best.get(tokens, -math.inf), score_of(scores, path))
    for tokens, log_prob in best.items():
        found = align(scores, tokens)
        assert found.log_prob == pytest.approx(log_prob, abs=1e-12)
        path = path_of(found, frames)
        assert collapsed(path) == tokens
        assert score_of(scores, path) == pytest.approx(log_prob, abs=1e-12)


@pytest.mark.parametrize("seed", range(40))
def test_agrees_with_a_plain_viterbi_search(seed: int) -> None:
    generator = np.random.default_rng(seed)
    symbols = int(generator.integers(2, 8))
    tokens = generator.integers(1, symbols, size=generator.integers(0, 25)).tolist()
    frames = frames_needed(tokens) + int(generator.integers(0, 30))
    scores = random_log_probs(frames, symbols, seed)
    found = align(scores, tokens)
    assert found.log_prob == pytest.approx(plain_viterbi(scores, tokens), abs=1e-9)
    path = path_of(found, frames)
    assert collapsed(path) == tuple(tokens)
    assert score_of(scores, path) == pytest.approx(found.log_prob, abs=1e-9)


@pytest.mark.parametrize("seed", range(20))
def test_the_tokens_of_the_best_path_are_found_where_it_found_them(seed: int) -> None:
    scores = random_log_probs(30, 4, seed)
    (best,) = best_paths(torch.from_numpy(scores)[None], torch.tensor([30]))
    found = align(scores, [span.token for span in best.spans])
    assert found.log_prob == pytest.approx(best.log_prob)
    for span, other in zip(found.spans, best.spans, strict=True):
        assert span[:3] == other[:3]
        assert span.confidence == pytest.approx(other.confidence, rel=1e-15)


def test_confidence_is_the_posterior_in_the_best_frame_of_a_token() -> None:
    probs = np.array([[0.1, 0.9, 0.0], [0.2, 0.3, 0.5], [0.5, 0.1, 0.4], [0.9, 0.1, 0.0]])
    with np.errstate(divide="ignore"):
        found = align(np.log(probs), [1, 2])
    assert path_of(found, 4) == (1, 2, 0, 0)
    assert [span.confidence for span in found.spans] == pytest.approx([0.9, 0.5])


def test_equal_neighbours_have_spans_of_their_own() -> None:
    found = align(np.full((3, 2), math.log(0.5)), [1, 1])
    assert [(span.start_frame, span.end_frame) for span in found.spans] == [(0, 1), (2, 3)]


@pytest.mark.parametrize(("frames", "tokens"), [(4, [1]), (6, [1, 2]), (9, [1, 2, 1, 2])])
def test_of_equal_alignments_that_which_moves_on_earliest(frames: int, tokens: list[int]) -> None:
    found = align(np.full((frames, 3), -math.log(3)), tokens)
    assert [(span.start_frame, span.end_frame) for span in found.spans] == [
        (index, index + 1) for index in range(len(tokens))
    ]


def test_no_tokens_are_blanks() -> None:
    scores = random_log_probs(4, 3, seed=0)
    assert align(scores, []) == Alignment((), pytest.approx(scores[:, 0].sum()))


def test_another_blank_gives_the_alignment_of_renamed_symbols() -> None:
    scores = random_log_probs(9, 4, seed=1)
    renamed = align(scores[:, [3, 0, 1, 2]], [1, 2, 2])
    last = align(scores, [0, 1, 1], blank=3)
    assert last.log_prob == renamed.log_prob
    assert [s.start_frame for s in last.spans] == [s.start_frame for s in renamed.spans]


def test_float32_tensors_and_slices_are_accepted() -> None:
    scores = torch.from_numpy(random_log_probs(18, 4, seed=2)).float()
    assert align(scores[::2], [1, 2]) == align(scores[::2].clone().numpy(), [1, 2])


@pytest.mark.parametrize(
    ("frames", "tokens", "needed"), [(1, [1, 2], 2), (2, [1, 1], 3), (0, [], 1)]
)
def test_too_few_frames_are_refused(frames: int, tokens: list[int], needed: int) -> None:
    message = f"^{frames} frames for {len(tokens)} tokens: an alignment needs at least {needed} "
    with pytest.raises(DataError, match=message):
        align(np.zeros((frames, 3)), tokens)


def test_what_is_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alignment, "MAX_CELLS", 60 * 3)
    align(np.zeros((60, 3)), [1])
    monkeypatch.setattr(alignment, "MAX_CELLS", 60 * 3 - 1)
    with pytest.raises(DataError, match="60 frames with 1 tokens are too long to align at once"):
        align(np.zeros((60, 3)), [1])


@pytest.mark.parametrize("seed", range(30))
def test_a_table_in_blocks_gives_the_same_path(seed: int) -> None:
    generator = np.random.default_rng(seed)
    symbols = int(generator.integers(2, 5))
    tokens = generator.integers(1, symbols, size=generator.integers(0, 15))
    frames = frames_needed(tokens.tolist()) + int(generator.integers(0, 40))
    scores = random_log_probs(frames, symbols, seed)
    states = np.zeros(2 * len(tokens) + 1, np.int64)
    states[1::2] = tokens
    whole, best = alignment._viterbi(scores, states, 0, 1 << 20)
    path, log_prob = alignment._viterbi(scores, states, 0, 0)
    assert path.tolist() == whole.tolist()
    assert log_prob == best


def test_tokens_without_any_probability_have_no_alignment() -> None:
    scores = np.log(np.array([[0.5, 0.5, 1e-300], [0.5, 0.5, 1e-300]]))
    assert align(scores, [2]).spans[0].confidence == pytest.approx(1e-300)
    scores[:, 2] = -math.inf
    with pytest.raises(DataError, match="no alignment of the 1 tokens has a probability above"):
        align(scores, [2])


def test_nan_is_refused() -> None:
    scores = random_log_probs(5, 3, seed=4)
    scores[2, 2] = math.nan
    with pytest.raises(DataError, match=r"no alignment of the 1 tokens .* diverged"):
        align(scores, [1])


@pytest.mark.parametrize(
    ("scores", "tokens", "message"),
    [
        (np.zeros(4), [1], r"log_probs must be \(T, V\), got \(4,\)"),
        (np.zeros((4, 3)), [3], "tokens must be 0 to 2 without the blank 0"),
        (np.zeros((4, 3)), [0], "without the blank 0"),
        (np.zeros((4, 3)), [-1], "tokens must be"),
        (np.full((4, 3), 1.5), [1], r"normalised, got 1\.5; are they logits\?"),
    ],
)
def test_misuse_is_named(scores: Scores, tokens: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        align(scores, tokens)
