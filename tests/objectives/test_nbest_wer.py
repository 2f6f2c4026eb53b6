from itertools import groupby

import pytest
import torch
from torch import Tensor

from asr.data.labels import Labels, read_labels
from asr.errors import DataError
from asr.objectives.nbest_wer import nbest_loss
from tests.objectives.sampling_reference import (
    LOSSES,
    PlainLoss,
    enumerated,
    every_alignment,
    path_probs,
    random_log_probs,
)

LABELS = read_labels(["-", " ", "a", "b"])
OTHER_BLANK = read_labels(["a", "-", " "], blank=1)
Tokens = tuple[int, ...]


def every_candidate(frames: int, labels: Labels) -> list[Tokens]:
    """All token sequences that some alignment has."""
    alignments = every_alignment(frames, labels).tolist()
    return sorted({tuple(k for k, _ in groupby(a) if k != labels.blank) for a in alignments})


def losses_of(
    candidates: list[Tokens], reference: str, labels: Labels, loss: PlainLoss
) -> list[float]:
    return [loss(labels.decode(tokens), reference) for tokens in candidates]


def learnt(log_probs: Tensor, *arguments: object, **settings: object) -> tuple[Tensor, Tensor]:
    """The losses and the gradient of their sum for the logits."""
    logits = log_probs.detach().clone().requires_grad_()
    losses = nbest_loss(logits.log_softmax(dim=-1), *arguments, **settings)
    losses.sum().backward()
    return losses.detach(), logits.grad


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(
    ("labels", "frames", "reference"),
    [(LABELS, 4, "a b"), (LABELS, 1, ""), (OTHER_BLANK, 5, "a a"), (OTHER_BLANK, 3, "aa")],
)
def test_with_every_transcript_it_is_the_expectation(
    labels: Labels, frames: int, reference: str, loss: str
) -> None:
    log_probs = random_log_probs(frames, len(labels))
    candidates = every_candidate(frames, labels)
    losses, found = learnt(
        log_probs[None],
        torch.tensor([frames]),
        [candidates],
        [losses_of(candidates, reference, labels, LOSSES[loss])],
        blank=labels.blank,
    )
    expected, exact = enumerated(log_probs, reference, labels, LOSSES[loss])
    assert losses.item() == pytest.approx(expected, abs=1e-10)
    torch.testing.assert_close(found[0], exact, rtol=0, atol=1e-10)
    assert exact.abs().max() > 1e-3


def test_a_list_is_all_there_is() -> None:
    """Probabilities are those among the candidates, here of alignments that spell them."""
    log_probs = random_log_probs(1, 4, 4)
    candidates, losses = [(2, 3), (), (2, 1, 3)], [2.0, 7.0, 0.5]
    alignments = every_alignment(4, LABELS)
    spelled = [tuple(k for k, _ in groupby(a) if k) for a in alignments.tolist()]
    likely = path_probs(log_probs[0], alignments)
    probs = [sum(p for p, s in zip(likely, spelled, strict=True) if s == c) for c in candidates]
    expected = sum(p * loss for p, loss in zip(probs, losses, strict=True)) / sum(probs)
    found, _ = learnt(log_probs, torch.tensor([4]), [candidates], [losses])
    torch.testing.assert_close(found[0], expected)


def test_the_same_loss_throughout_teaches_nothing_and_twice_the_loss_twice_as_much() -> None:
    log_probs, lengths = random_log_probs(1, 4, 4), torch.tensor([4])
    candidates = [[(2,), (3,), (2, 3)]]
    same, nothing = learnt(log_probs, lengths, candidates, [[1.5] * 3])
    torch.testing.assert_close(same, torch.tensor([1.5]).double())
    torch.testing.assert_close(nothing, torch.zeros(1, 4, 4).double(), rtol=0, atol=1e-12)
    once = learnt(log_probs, lengths, candidates, [[1.0, 0.0, 3.0]])
    twice = learnt(log_probs, lengths, candidates, [[2.0, 0.0, 6.0]])
    shifted = learnt(log_probs, lengths, candidates, [[6.0, 5.0, 8.0]])
    torch.testing.assert_close(twice, tuple(2 * each for each in once))
    torch.testing.assert_close(shifted, (5 + once[0], once[1]))
    assert once[1].abs().max() > 1e-3


def test_a_batch_of_lists_of_any_length_gives_what_each_gives_alone() -> None:
    log_probs, lengths = random_log_probs(3, 6, 4), torch.tensor([6, 1, 3])
    candidates = [[(2, 1, 3), (2,), (), (3, 3)], [()], [(2, 2), (2, 1)]]
    losses = [[0.0, 1.0, 2.0, 0.5], [3.0], [1.0, 0.0]]
    together, found = learnt(log_probs, lengths, candidates, losses)
    for b, frames in enumerate(lengths.tolist()):
        alone, own = learnt(
            log_probs[b : b + 1, :frames], lengths[b : b + 1], [candidates[b]], [losses[b]]
        )
        torch.testing.assert_close(together[b], alone[0])
        torch.testing.assert_close(found[b, :frames], own[0])
        assert (found[b, frames:] == 0).all()


def test_float32_is_nearly_float64() -> None:
    log_probs, lengths = random_log_probs(1, 6, 4).float(), torch.tensor([6])
    arguments = lengths, [[(2, 1, 3), (2,), ()]], [[0.0, 1.0, 2.0]]
    found, exact = learnt(log_probs, *arguments), learnt(log_probs.double(), *arguments)
    for one, two in zip(found, exact, strict=True):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one, two.float(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("candidates", "losses", "message"),
    [
        ([[(2,)], []], [[1.0], []], r"2 utterances need one or more.*got \[1, 0\] candidates"),
        ([[(2,)], [(2,)]], [[1.0], [1.0, 2.0]], r"\[1, 1\] candidates and \[1, 2\] losses"),
        ([[(2,)], [(2,)]], [[1.0]], r"\[1, 1\] candidates and \[1\] losses"),
        ([[(2,)]], [[1.0]], r"2 utterances need one or more candidates each"),
    ],
)
def test_misuse_is_named(
    candidates: list[list[Tokens]], losses: list[list[float]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        nbest_loss(random_log_probs(2, 3, 4), torch.tensor([3, 3]), candidates, losses)


def test_a_candidate_that_does_not_fit_is_named_by_its_utterance() -> None:
    with pytest.raises(DataError, match=r"utterance 'second' has 3 frames for 3 tokens: .* 4 "):
        nbest_loss(
            random_log_probs(2, 4, 4),
            torch.tensor([4, 3]),
            [[(2,)], [(2,), (2, 3, 3)]],
            [[1.0], [0.0, 1.0]],
            ids=["first", "second"],
        )
