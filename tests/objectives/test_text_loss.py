import math

import pytest
import torch
from torch import Tensor

from asr.data.labels import read_labels
from asr.objectives.text_loss import (
    check_arguments,
    divisors,
    loss_of,
    losses_of_samples,
    mean_losses,
    text_loss,
    without_nan,
)
from tests.objectives.sampling_reference import (
    ALPHABETS,
    COMPOSING,
    LOSSES,
    early_errors,
    loss_argument,
    path_losses,
    random_cases,
)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("alphabet", [*ALPHABETS, *COMPOSING])
def test_the_losses_of_alignments(alphabet: str, name: str) -> None:
    labels = (ALPHABETS | COMPOSING)[alphabet]
    for alignments, reference in random_cases(labels, 20):
        batch = torch.from_numpy(alignments).expand(2, -1, -1)
        lengths = torch.tensor([alignments.shape[1], 1])
        found = losses_of_samples(batch, lengths, [reference, "b"], labels, loss_argument(name))
        for row, length, text in zip(found, lengths.tolist(), (reference, "b"), strict=True):
            expected = path_losses(batch[0, :, :length], text, labels, LOSSES[name])
            assert torch.equal(row, expected)


def test_errors_ignore_how_a_text_was_typed() -> None:
    assert text_loss("wer")("e\u0301 a", "\u00e9\u00a0a ") == 0
    assert text_loss("cer")("e\u0301 a", "\u00e9\u00a0a ") == 0
    assert text_loss("wer")("e a", "\u00e9 a") == 1


def test_a_function_is_a_loss() -> None:
    assert text_loss(early_errors) is early_errors


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_loss_must_be_finite(value: float) -> None:
    message = f"loss must be finite, got {value} for 'ab', 'a b'"
    with pytest.raises(ValueError, match=message):
        loss_of(lambda hypothesis, reference: value, "ab", "a b")
    with pytest.raises(ValueError, match=f"loss must be finite, got {value} for 'a', ''"):
        losses_of_samples(
            torch.ones(1, 1, 2, dtype=torch.int64),
            torch.tensor([2]),
            [""],
            read_labels(["-", "a"]),
            lambda hypothesis, reference: value,
        )


def test_other_losses_are_refused() -> None:
    with pytest.raises(ValueError, match="loss must be 'wer', 'cer' or a function, got 'per'"):
        text_loss("per")  # type: ignore[arg-type]


def test_errors_are_divided_by_the_length_of_the_reference() -> None:
    references = ["", "ab", " a  e\u0301 "]
    assert divisors("wer", references, raw_counts=False) == [1, 1, 2]
    assert divisors("cer", references, raw_counts=False) == [1, 2, 3]
    assert divisors("cer", references, raw_counts=True) == [1, 1, 1]
    assert divisors(early_errors, references, raw_counts=False) == [1, 1, 1]


def test_the_mean_has_the_dtype_of_the_scores_and_nan_for_what_is_broken() -> None:
    losses, by = torch.tensor([[1.0, 2.0], [3.0, 3.0]]).double(), torch.tensor([3.0, 1.0])
    means = mean_losses(losses, by, torch.tensor([False, True]), torch.zeros(1))
    assert means.dtype == torch.float32
    assert means[0] == torch.tensor(0.5)
    assert math.isnan(means[1])


def test_scores_with_nan_become_some_that_can_be_drawn_from() -> None:
    log_probs = torch.zeros(3, 2, 4).log_softmax(dim=-1) + 0
    log_probs[0, 0, 0] = log_probs[1, 1, 1] = math.nan
    inside = torch.tensor([[True, True], [True, False], [True, True]])
    scores, broken = without_nan(log_probs, inside)
    assert broken.tolist() == [True, False, False]
    torch.testing.assert_close(scores[0].exp().sum(dim=-1), torch.ones(2))
    torch.testing.assert_close(scores[1:], log_probs[1:], equal_nan=True)


GOOD = torch.zeros(2, 5, 3)
FIVE = torch.tensor([5, 5])


@pytest.mark.parametrize(
    ("log_probs", "lengths", "references", "error", "message"),
    [
        (GOOD[0], FIVE, ["", ""], ValueError, r"log_probs must be \(B, T, V\), got \(5, 3\)"),
        (GOOD.half(), FIVE, ["", ""], TypeError, "got torch.float16; write logits.float"),
        (GOOD, FIVE.int(), ["", ""], TypeError, "lengths must be int64, got torch.int32"),
        (GOOD[:0], FIVE[:0], [], ValueError, r"hold 0 utterances, lengths \(0,\), references 0"),
        (GOOD, FIVE[:1], ["", ""], ValueError, r"2 utterances, lengths \(1,\), references 2"),
        (GOOD, FIVE, [""], ValueError, r"2 utterances, lengths \(2,\), references 1"),
        (GOOD, FIVE - 5, ["", ""], ValueError, r"lengths must be 1 to 5, got \[0, 0\]"),
        (GOOD, FIVE + 1, ["", ""], ValueError, r"lengths must be 1 to 5, got \[6, 6\]"),
        (GOOD[..., :2], FIVE, ["", ""], ValueError, "3 labels for scores of 2"),
    ],
)
def test_misuse_is_named(
    log_probs: Tensor, lengths: Tensor, references: list[str], error: type, message: str
) -> None:
    labels = read_labels(["-", "a", "b"])
    check_arguments(GOOD, FIVE, ["", ""], labels, 1)
    with pytest.raises(error, match=message):
        check_arguments(log_probs, lengths, references, labels, 1)


def test_at_least_one_sample() -> None:
    with pytest.raises(ValueError, match="num_samples must be at least 1, got 0"):
        check_arguments(GOOD, FIVE, ["", ""], read_labels(["-", "a", "b"]), 0)
