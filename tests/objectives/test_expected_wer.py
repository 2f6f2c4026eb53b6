"""The expected loss against the enumeration of all alignments, and what it promises."""

import math
import threading
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from asr.data.labels import Labels, read_labels
from asr.objectives import sampling
from asr.objectives.expected_wer import expected_loss
from asr.objectives.sampling import sample_alignments
from tests.objectives.sampling_reference import (
    ALPHABETS,
    COMPOSING,
    LOSSES,
    agree,
    centred,
    changes,
    divisor,
    early_errors,
    enumerated,
    every_alignment,
    gradient,
    loss_argument,
    path_losses,
    path_probs,
    random_log_probs,
    seeded,
    transcript,
)

NAMES = ["-", " ", "a", "b"]
LABELS = read_labels(NAMES)
REFERENCES = ["ab b", "", "a"]
LENGTHS = torch.tensor([6, 4, 1])


def learnt(log_probs: Tensor, *arguments: object, **settings: object) -> tuple[Tensor, Tensor]:
    """The losses of scores and the gradient of their sum."""
    leaf = log_probs.detach().clone().requires_grad_()
    losses = expected_loss(leaf, *arguments, **settings)
    losses.sum().backward()
    return losses.detach(), leaf.grad


def example(seed: int = 0, **settings: object) -> tuple[Tensor, Tensor]:
    """Of three made utterances; samples are drawn with one seed."""
    arguments = {"labels": NAMES, "generator": seeded(seed)} | settings
    return learnt(random_log_probs(3, 6, len(NAMES)), LENGTHS, REFERENCES, **arguments)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(
    ("names", "blank", "frames", "reference"),
    [
        (["-", " ", "a", "b"], 0, 5, "ab a"),
        (["a", " ", "b", "-"], 3, 4, "b a"),
        (["a", "-", " "], 1, 5, "a a"),
        (["-", "▁a", "a", "▁"], 0, 4, "aa a"),
        (["-", "e", "\u0301", " "], 0, 4, "é e"),
        (["-", "ab", "a", " "], 0, 4, "aba"),
        (["-", " ", "a"], 0, 3, ""),
        (["-", "a"], 0, 1, "a"),
    ],
)
def test_the_mean_over_all_alignments_is_the_gradient_of_the_expectation(
    monkeypatch: pytest.MonkeyPatch,
    names: list[str],
    blank: int,
    frames: int,
    reference: str,
    loss: str,
) -> None:
    """Every alignment is the one sample of a copy of the utterance; each counts as it is likely."""
    labels = read_labels(names, blank=blank)
    log_probs = random_log_probs(frames, len(labels))
    alignments = every_alignment(frames, labels)
    monkeypatch.setattr(sampling, "sample_alignments", lambda *_: alignments[:, None])
    copies = len(alignments)
    losses, gradients = learnt(
        log_probs.expand(copies, -1, -1),
        torch.full((copies,), frames),
        [reference] * copies,
        labels=labels,
        num_samples=1,
        loss=loss_argument(loss),
        raw_counts=True,
    )
    expected, exact = enumerated(log_probs, reference, labels, LOSSES[loss])
    weights = path_probs(log_probs, alignments)
    assert (weights @ losses).item() == pytest.approx(expected, abs=1e-10)
    mean = torch.einsum("a,atv->tv", weights, gradients)
    torch.testing.assert_close(mean, exact, rtol=0, atol=1e-10)
    assert exact.abs().max() > 1e-3


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("alphabet", [*ALPHABETS, *COMPOSING])
def test_the_gradient_is_the_formula_on_its_samples(alphabet: str, loss: str, device: str) -> None:
    labels = (ALPHABETS | COMPOSING)[alphabet]
    references = ["ab" if alphabet == "one word" else "ab b", "", "b"]
    log_probs = random_log_probs(3, 6, len(labels)).to(device)
    for num_samples in (1, 3):
        samples = sample_alignments(
            log_probs, LENGTHS.to(device), num_samples, seeded(1, device)
        ).cpu()
        losses, found = learnt(
            log_probs,
            LENGTHS,
            references,
            labels=labels,
            num_samples=num_samples,
            loss=loss_argument(loss),
            generator=seeded(1, device),
        )
        for b, (frames, reference) in enumerate(zip(LENGTHS.tolist(), references, strict=True)):
            by = divisor(loss, reference)
            alignments, probs = samples[b, :, :frames], log_probs[b, :frames].cpu().exp()
            own = path_losses(alignments, reference, labels, LOSSES[loss]).mean() / by
            expected = gradient(probs, alignments, reference, labels, LOSSES[loss]) / by
            torch.testing.assert_close(losses[b].cpu(), own, rtol=0, atol=1e-12)
            torch.testing.assert_close(found[b, :frames].cpu(), expected, rtol=0, atol=1e-10)
            assert (found[b, frames:] == 0).all()


@pytest.mark.parametrize("loss", LOSSES)
def test_the_gradient_for_the_logits_of_a_frame_adds_up_to_zero(loss: str) -> None:
    logits = random_log_probs(3, 6, len(NAMES)).requires_grad_()
    losses = expected_loss(
        logits.log_softmax(dim=-1), LENGTHS, REFERENCES, labels=NAMES, loss=loss_argument(loss)
    )
    losses.sum().backward()
    assert logits.grad.any()
    assert logits.grad.sum(dim=-1).abs().max() < 1e-12


def test_a_loss_that_is_always_the_same_teaches_nothing() -> None:
    losses, found = example(loss=lambda *_: 0.3)
    torch.testing.assert_close(losses, torch.full((3,), 0.3).double())
    assert (found == 0).all()


def test_the_mean_of_many_draws_is_the_gradient_of_the_expectation() -> None:
    log_probs, copies = random_log_probs(4, len(NAMES), seed=3), 20_000
    losses, gradients = learnt(
        log_probs.expand(copies, -1, -1),
        torch.full((copies,), 4),
        ["ab a"] * copies,
        labels=LABELS,
        num_samples=1,
        raw_counts=True,
        generator=seeded(),
    )
    expected, exact = enumerated(log_probs, "ab a", LABELS, LOSSES["wer"])
    assert agree(losses, torch.tensor(expected))
    assert agree(gradients, exact)
    assert not agree(gradients, 1.2 * exact)  # a control


@pytest.mark.parametrize("garbage", [0.0, 50.0, math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("loss", LOSSES)
def test_what_lies_beyond_the_lengths_changes_nothing(loss: str, garbage: float) -> None:
    log_probs = random_log_probs(3, 6, len(NAMES))
    results = []
    for content in (log_probs, torch.full_like(log_probs, garbage)):
        filled = log_probs.clone()
        for row, other, length in zip(filled, content, LENGTHS.tolist(), strict=True):
            row[length:] = other[length:]
        settings = {"labels": NAMES, "loss": loss_argument(loss), "generator": seeded()}
        results.append(learnt(filled, LENGTHS, REFERENCES, **settings))
    (losses, found), (others, again) = results
    assert torch.equal(losses, others)
    assert torch.equal(found, again)
    assert found[0].any()
    assert (found[1, 4:] == 0).all()
    assert (found[2, 1:] == 0).all()


def test_the_value_is_the_mean_loss_of_the_samples_by_the_length_of_the_reference() -> None:
    """Of references of 2, 0 and 1 words, and of 4, 0 and 1 characters."""
    for loss, by in (("wer", [2, 1, 1]), ("cer", [4, 1, 1]), (early_errors, [1, 1, 1])):
        divided, gradients = example(loss=loss, num_samples=3)
        counted, raw = example(loss=loss, num_samples=3, raw_counts=True)
        torch.testing.assert_close(divided, counted / torch.tensor(by))
        torch.testing.assert_close(gradients, raw / torch.tensor(by)[:, None, None])
        whole = 3 * counted if loss != early_errors else torch.zeros(1)
        assert torch.equal(whole, whole.round())  # errors of three samples


@pytest.mark.parametrize("loss", LOSSES)
def test_without_gradients_the_values_are_the_same(loss: str) -> None:
    settings = {"labels": NAMES, "loss": loss_argument(loss)}
    log_probs = random_log_probs(3, 6, len(NAMES))
    with_gradients, _ = learnt(log_probs, LENGTHS, REFERENCES, generator=seeded(), **settings)
    without = expected_loss(log_probs, LENGTHS, REFERENCES, generator=seeded(), **settings)
    assert torch.equal(without, with_gradients)
    log_probs.requires_grad_()
    with torch.no_grad():
        quiet = expected_loss(log_probs, LENGTHS, REFERENCES, generator=seeded(), **settings)
    assert torch.equal(quiet, with_gradients)
    assert not quiet.requires_grad


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("learns", [True, False])
def test_nan_is_the_loss_of_its_own_utterance_alone(loss: str, learns: bool) -> None:
    settings = {"labels": NAMES, "loss": loss_argument(loss)}
    log_probs = random_log_probs(3, 6, len(NAMES))
    losses, found = learnt(log_probs, LENGTHS, REFERENCES, generator=seeded(), **settings)
    log_probs[1, 2, 3] = math.nan
    log_probs.requires_grad_(learns)
    others = expected_loss(log_probs, LENGTHS, REFERENCES, generator=seeded(), **settings)
    assert others[1].isnan()
    assert torch.equal(others[[0, 2]].detach(), losses[[0, 2]])
    if learns:
        others[[0, 2]].sum().backward()
        assert torch.equal(log_probs.grad[[0, 2]], found[[0, 2]])


@pytest.mark.parametrize("loss", LOSSES)
def test_float32_is_nearly_float64(loss: str) -> None:
    log_probs = random_log_probs(2, 30, len(NAMES)).float()
    lengths, references = torch.tensor([30, 17]), ["ab b aab ba", "bab"]
    settings = {"labels": NAMES, "loss": loss_argument(loss)}
    losses, found = learnt(log_probs, lengths, references, generator=seeded(), **settings)
    exact = learnt(log_probs.double(), lengths, references, generator=seeded(), **settings)
    assert losses.dtype == found.dtype == torch.float32
    torch.testing.assert_close(losses, exact[0].float())
    torch.testing.assert_close(found, exact[1].float(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("loss", LOSSES)
def test_improbable_labels_can_be_taken_to_change_nothing(loss: str) -> None:
    log_probs = random_log_probs(3, 6, len(NAMES))
    samples = sample_alignments(log_probs, LENGTHS, 2, seeded())
    settings = {"num_samples": 2, "loss": loss_argument(loss), "raw_counts": True}
    losses, found = example(probability_floor=0.2, **settings)
    assert torch.equal(losses, example(**settings)[0])
    for b, (frames, reference) in enumerate(zip(LENGTHS.tolist(), REFERENCES, strict=True)):
        probs = log_probs[b, :frames].exp()
        total, _ = changes(samples[b, :, :frames].numpy(), reference, LABELS, LOSSES[loss])
        expected = centred(probs, torch.from_numpy(total) / 2 * (probs >= 0.2))
        torch.testing.assert_close(found[b, :frames], expected, rtol=0, atol=1e-10)
    assert not torch.equal(found, example(**settings)[1])


class Asked:
    """A loss that remembers what it was asked."""

    def __init__(self) -> None:
        self.pairs: list[tuple[str, str]] = []

    def __call__(self, hypothesis: str, reference: str) -> float:
        self.pairs.append((hypothesis, reference))
        return early_errors(hypothesis, reference)


def test_a_function_is_asked_once_for_each_transcript_of_an_utterance() -> None:
    every, likely, own = Asked(), Asked(), Asked()
    example(loss=every)
    example(loss=likely, probability_floor=0.2)
    expected_loss(
        random_log_probs(3, 6, len(NAMES)),
        LENGTHS,
        REFERENCES,
        labels=NAMES,
        loss=own,
        generator=seeded(),
    )
    for asked in (every, likely, own):
        assert len(asked.pairs) == len(set(asked.pairs))
    assert set(own.pairs) < set(likely.pairs) < set(every.pairs)
    assert {reference for _, reference in every.pairs} == set(REFERENCES)
    samples = sample_alignments(random_log_probs(3, 6, len(NAMES)), LENGTHS, 5, seeded())
    assert set(own.pairs) == {
        (transcript(sample[:frames], LABELS), reference)
        for rows, frames, reference in zip(
            samples.tolist(), LENGTHS.tolist(), REFERENCES, strict=True
        )
        for sample in rows
    }


def test_names_and_labels_agree_wherever_the_blank_is() -> None:
    for names, blank in ((NAMES, 0), (["a", "<b>", "b", " "], 1)):
        named = example(labels=names, blank=blank)
        known = example(labels=read_labels(names, blank=blank))
        assert all(map(torch.equal, named, known))


@pytest.fixture
def set_threads() -> Iterator[Callable[[int], None]]:
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("loss", ["wer", "cer"])
@pytest.mark.parametrize("names", [NAMES, ["-", "e", "\u0301", " "]])
def test_threads_change_nothing(
    set_threads: Callable[[int], None], names: list[str], loss: str
) -> None:
    set_threads(1)
    alone = example(loss=loss, labels=names)
    set_threads(2)
    assert all(map(torch.equal, alone, example(loss=loss, labels=names)))


def test_a_function_is_asked_by_the_caller_s_own_thread(
    set_threads: Callable[[int], None],
) -> None:
    threads = set()

    def loss(hypothesis: str, reference: str) -> float:
        threads.add(threading.get_ident())
        return early_errors(hypothesis, reference)

    set_threads(2)
    example(loss=loss)
    assert threads == {threading.get_ident()}


@pytest.fixture
def spelled() -> tuple[Tensor, Labels, str]:
    """Scores (1, T, V) that spell WTRD ERROR RATE, a T that may be an O; a letter, a blank …"""
    labels = read_labels(["-", *" ADEORTW"])
    text = "W-T-R-D- -E-R-R-O-R- -R-A-T-E-"
    logits = torch.zeros(1, len(text), len(labels), dtype=torch.float64)
    for t, name in enumerate(text):
        logits[0, t, labels.names.index(name)] = 12.0
    logits[0, 2, labels.names.index("O")] = 12.0 + math.log(3 / 7)
    return logits.log_softmax(dim=-1), labels, text


def test_a_wrong_letter_is_the_one_that_is_corrected(
    spelled: tuple[Tensor, Labels, str],
) -> None:
    """One word of three is wrong where O is not drawn: O gets -Pr(O) (1 - Pr(O)) / 3, T the rest.

    So says every sample, since with the other frames nearly certain nothing else is ever wrong.
    """
    log_probs, labels, text = spelled
    lengths = torch.tensor([len(text)])
    for seed in range(5):
        _, found = learnt(
            log_probs, lengths, ["WORD ERROR RATE"], labels=labels, generator=seeded(seed)
        )
        letter = found[0, 2]
        assert labels.names[int(found[0].flatten().argmin()) % len(labels)] == "O"
        assert int(found[0].flatten().argmin()) // len(labels) == 2
        assert letter[labels.names.index("O")].item() == pytest.approx(-0.3 * 0.7 / 3, rel=1e-2)
        assert letter[labels.names.index("T")].item() == pytest.approx(0.3 * 0.7 / 3, rel=1e-2)
        others = found[0, text.index(" ") :].abs().max()
        assert others < 1e-3 * letter.abs().max()


def test_references_of_several_words_need_no_space_for_characters_or_a_function() -> None:
    labels = ["-", "a", "b", "c"]
    for loss in ("cer", early_errors):
        losses, _ = example(labels=labels, loss=loss)
        assert losses.isfinite().all()
