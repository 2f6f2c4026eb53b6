"""Best paths against their definition, and what they are not."""

import math
from itertools import groupby

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from asr.data.tokenizer import CharactersConfig, train_tokenizer
from asr.decoding.greedy import best_paths, greedy
from asr.decoding.hypothesis import TokenSpan
from asr.errors import DataError
from asr.objectives.ctc import ctc_loss

TOKENIZER = train_tokenizer(CharactersConfig(symbols=" ab"), [])
SPACE, A, B = 1, 2, 3


def log_probs_of(*frames: list[float]) -> Tensor:
    return torch.tensor([frames], dtype=torch.float64).log()


def random_log_probs(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator).log_softmax(dim=-1)


def one_hot(path: list[int], probability: float = 0.7) -> Tensor:
    """(1, T, 4): the symbols of `path` with `probability`, the others share the rest."""
    rest = (1 - probability) / 3
    frames = torch.full((1, len(path), 4), rest, dtype=torch.float64)
    frames[0, torch.arange(len(path)), path] = probability
    return frames.log()


def test_repeats_are_joined_before_blanks_are_dropped() -> None:
    path = [0, A, A, 0, A, B, B, SPACE, 0, 0, B]
    (best,) = best_paths(one_hot(path), torch.tensor([len(path)]))
    assert [(span.token, span.start_frame, span.end_frame) for span in best.spans] == [
        (A, 1, 3),
        (A, 4, 5),
        (B, 5, 7),
        (SPACE, 7, 8),
        (B, 10, 11),
    ]
    assert best.log_prob == pytest.approx(len(path) * math.log(0.7))
    assert all(span.confidence == pytest.approx(0.7) for span in best.spans)


@settings(deadline=None)
@given(st.lists(st.integers(0, 3), max_size=12))
def test_tokens_are_those_of_the_definition(path: list[int]) -> None:
    (hypothesis,) = greedy(
        one_hot(path), torch.tensor([len(path)]), TOKENIZER, frame_seconds=0.03, durations=[1.0]
    )
    tokens = tuple(symbol for symbol, _ in groupby(path) if symbol != 0)
    assert hypothesis.tokens == tokens
    assert hypothesis.text == TOKENIZER.decode(tokens)
    assert all(0 <= word.start < word.end <= 0.03 * len(path) for word in hypothesis.words)


def test_the_best_path_is_not_the_most_probable_labelling() -> None:
    """Blank has 0.6 and `a` 0.4 in both frames: the best path is empty with 0.36, "a" has 0.64."""
    log_probs = log_probs_of([0.6, 0.4], [0.6, 0.4])
    (path,) = best_paths(log_probs, torch.tensor([2]))
    assert path.spans == ()
    assert math.exp(path.log_prob) == pytest.approx(0.36)
    cost = ctc_loss(log_probs, torch.tensor([2]), torch.tensor([[1]]), torch.tensor([1]))
    assert math.exp(-cost.item()) == pytest.approx(0.64)


def test_the_path_is_a_lower_bound_on_its_tokens() -> None:
    log_probs, lengths = random_log_probs(20, 8, 4), torch.full((20,), 8)
    for row, path in zip(log_probs, best_paths(log_probs, lengths), strict=True):
        tokens = torch.tensor([[span.token for span in path.spans]], dtype=torch.int64)
        cost = ctc_loss(row[None], lengths[:1], tokens, torch.tensor([tokens.shape[1]]))
        assert path.log_prob <= -cost.item() + 1e-12
        assert path.log_prob == pytest.approx(row.max(dim=-1).values.sum().item())


def test_a_token_is_as_sure_as_in_its_best_frame_and_a_word_as_its_least_sure_token() -> None:
    log_probs = log_probs_of(
        [0.1, 0.1, 0.6, 0.2], [0.05, 0.05, 0.8, 0.1], [0.2, 0.1, 0.2, 0.5], [0.9, 0.1, 0, 0]
    )
    (path,) = best_paths(log_probs, torch.tensor([4]))
    assert path.spans == (
        TokenSpan(A, 0, 2, pytest.approx(0.8)),
        TokenSpan(B, 2, 3, pytest.approx(0.5)),
    )
    (hypothesis,) = greedy(log_probs, torch.tensor([4]), TOKENIZER, frame_seconds=0.1)
    assert hypothesis.words[0].confidence == pytest.approx(0.5)


def test_padding_and_company_change_nothing() -> None:
    log_probs, lengths = random_log_probs(4, 9, 4), torch.tensor([9, 4, 0, 1])
    together = best_paths(log_probs, lengths)
    padded = log_probs.clone()
    for row, length in zip(padded, lengths.tolist(), strict=True):
        row[length:] = math.nan
    assert best_paths(padded, lengths) == together
    for index, length in enumerate(lengths.tolist()):
        alone = best_paths(log_probs[index : index + 1, :length], lengths[index : index + 1])
        assert alone == [together[index]]


def test_of_equal_symbols_the_first_is_taken() -> None:
    (path,) = best_paths(log_probs_of([0.2, 0.4, 0.4], [0.25, 0.25, 0.5]), torch.tensor([2]))
    assert [span.token for span in path.spans] == [1, 2]


def test_an_empty_batch_and_an_empty_utterance() -> None:
    assert best_paths(torch.zeros(0, 5, 3), torch.zeros(0, dtype=torch.int64)) == []
    (path,) = best_paths(torch.zeros(1, 0, 3), torch.tensor([0]))
    assert (path.spans, path.log_prob) == ((), 0.0)


def test_another_blank() -> None:
    log_probs = one_hot([3, 0, 3, 1])
    (path,) = best_paths(log_probs, torch.tensor([4]), blank=3)
    assert [span.token for span in path.spans] == [0, 1]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_confidences_stay_within_one_in_any_precision(dtype: torch.dtype) -> None:
    logits = 30 * torch.randn(2, 50, 4, generator=torch.Generator().manual_seed(3))
    log_probs = logits.log_softmax(dim=-1).to(dtype)
    log_probs[0, 0] = torch.tensor([-20.0, -20.0, 1e-4, -20.0])
    for path in best_paths(log_probs, torch.tensor([50, 50])):
        assert all(0 <= span.confidence <= 1 for span in path.spans)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_is_refused(value: float) -> None:
    log_probs = random_log_probs(2, 5, 3)
    log_probs[1, 3, 2] = value
    with pytest.raises(DataError, match=r"utterance 1 of the batch has no finite .* in frame 3"):
        best_paths(log_probs, torch.tensor([5, 5]))


def test_a_frame_without_any_probability_is_refused_but_single_zeros_are_not() -> None:
    log_probs = log_probs_of([1.0, 0.0], [0.0, 1.0])
    assert best_paths(log_probs, torch.tensor([2]))[0].log_prob == 0
    log_probs[0, 1] = -math.inf
    with pytest.raises(DataError, match="in frame 1"):
        best_paths(log_probs, torch.tensor([2]))


@pytest.mark.parametrize(
    ("log_probs", "lengths", "message"),
    [
        (torch.zeros(5, 3), [5], r"log_probs must be \(B, T, V\), got \(5, 3\)"),
        (torch.zeros(1, 5, 3), [6], r"must be 1 of 0 to 5, got \[6\]"),
        (torch.zeros(1, 5, 3), [-1], r"got \[-1\]"),
        (torch.zeros(1, 5, 3), [5, 5], r"got \[5, 5\]"),
        (torch.full((1, 5, 3), 2.5), [5], r"normalised, got 2\.5; are they logits\?"),
    ],
)
def test_misuse_is_named(log_probs: Tensor, lengths: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        best_paths(log_probs, torch.tensor(lengths))


def test_durations_must_be_as_many_as_utterances() -> None:
    with pytest.raises(ValueError, match="2 durations for 1 utterances"):
        greedy(one_hot([1]), torch.tensor([1]), TOKENIZER, frame_seconds=1, durations=[1.0, 2.0])
