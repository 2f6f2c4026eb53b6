import math

import pytest
import torch
from torch import Tensor

from asr.data.labels import read_labels
from asr.objectives import sampling
from asr.objectives.expected_wer import expected_loss
from asr.objectives.reinforce import reinforce_loss
from asr.objectives.sampling import sample_alignments
from tests.objectives.sampling_reference import (
    LOSSES,
    agree,
    divisor,
    enumerated,
    every_alignment,
    loss_argument,
    path_losses,
    path_probs,
    random_log_probs,
    seeded,
)

NAMES = ["-", " ", "a", "b"]
LABELS = read_labels(NAMES)
REFERENCES = ["ab b", "", "a"]
LENGTHS = torch.tensor([6, 4, 1])


def learnt(log_probs: Tensor, *arguments: object, **settings: object) -> tuple[Tensor, Tensor]:
    """The losses and the gradient of their sum for the logits."""
    logits = log_probs.detach().clone().requires_grad_()
    losses = reinforce_loss(logits.log_softmax(dim=-1), *arguments, **settings)
    losses.sum().backward()
    return losses.detach(), logits.grad


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(("frames", "reference"), [(2, "a b"), (3, "b"), (1, "")])
def test_the_mean_over_all_pairs_of_alignments_is_the_gradient_of_the_expectation(
    monkeypatch: pytest.MonkeyPatch, frames: int, reference: str, loss: str
) -> None:
    log_probs = random_log_probs(frames, 4)
    alignments = every_alignment(frames, LABELS)
    first, second = torch.cartesian_prod(*[torch.arange(len(alignments))] * 2).T
    pairs = torch.stack([alignments[first], alignments[second]], dim=1)
    monkeypatch.setattr(sampling, "sample_alignments", lambda *_: pairs)
    losses, gradients = learnt(
        log_probs.expand(len(pairs), -1, -1),
        torch.full((len(pairs),), frames),
        [reference] * len(pairs),
        labels=LABELS,
        num_samples=2,
        loss=loss_argument(loss),
        raw_counts=True,
    )
    expected, exact = enumerated(log_probs, reference, LABELS, LOSSES[loss])
    likely = path_probs(log_probs, alignments)
    weights = likely[first] * likely[second]
    assert (weights @ losses).item() == pytest.approx(expected, abs=1e-10)
    mean = torch.einsum("a,atv->tv", weights, gradients)
    torch.testing.assert_close(mean, exact, rtol=0, atol=1e-10)
    assert exact.abs().max() > 1e-3


@pytest.mark.parametrize("loss", LOSSES)
def test_the_gradient_weighs_each_sample_by_its_loss_less_that_of_the_others(loss: str) -> None:
    log_probs = random_log_probs(3, 6, 4)
    samples = sample_alignments(log_probs, LENGTHS, 3, seeded())
    settings = {"labels": NAMES, "loss": loss_argument(loss), "num_samples": 3}
    losses, found = learnt(log_probs, LENGTHS, REFERENCES, generator=seeded(), **settings)
    for b, (frames, reference) in enumerate(zip(LENGTHS.tolist(), REFERENCES, strict=True)):
        alignments, by = samples[b, :, :frames], divisor(loss, reference)
        own = path_losses(alignments, reference, LABELS, LOSSES[loss]) / by
        logits = log_probs[b, :frames].clone().requires_grad_()
        likely = path_probs(logits.log_softmax(dim=-1), alignments).log()
        baselines = torch.stack([own[[1, 2]].mean(), own[[0, 2]].mean(), own[[0, 1]].mean()])
        ((own - baselines) * likely).mean().backward()
        torch.testing.assert_close(losses[b], own.mean(), rtol=0, atol=1e-12)
        torch.testing.assert_close(found[b, :frames], logits.grad, rtol=0, atol=1e-10)
        assert (found[b, frames:] == 0).all()


def test_its_mean_is_right_and_its_variance_larger_than_that_of_the_exchange() -> None:
    log_probs, copies = random_log_probs(5, 4, seed=3), 4_000
    arguments = torch.full((copies,), 5), ["ab a"] * copies
    settings = {"labels": LABELS, "num_samples": 5, "raw_counts": True}
    batch = log_probs.expand(copies, -1, -1)
    losses, gradients = learnt(batch, *arguments, generator=seeded(), **settings)
    expected, exact = enumerated(log_probs, "ab a", LABELS, LOSSES["wer"])
    assert agree(losses, torch.tensor(expected))
    assert agree(gradients, exact)
    leaf = batch.clone().requires_grad_()
    expected_loss(leaf, *arguments, generator=seeded(), **settings).sum().backward()
    assert agree(leaf.grad, exact)
    ratio = leaf.grad.var(dim=0).sum() / gradients.var(dim=0).sum()
    assert ratio < 0.5


def test_a_loss_that_is_always_the_same_teaches_nothing() -> None:
    log_probs = random_log_probs(3, 6, 4)
    _, found = learnt(log_probs, LENGTHS, REFERENCES, labels=NAMES, loss=lambda *_: 1.0)
    assert (found == 0).all()


@pytest.mark.parametrize("garbage", [50.0, math.nan, math.inf, -math.inf])
def test_what_lies_beyond_the_lengths_changes_nothing(garbage: float) -> None:
    """Where losses are thirds of tenths, the credits of all samples add up to nearly zero only."""
    settings = {"labels": NAMES, "num_samples": 4, "loss": lambda text, _: 0.1 * len(text)}
    results = []
    for content in (0.0, garbage):
        log_probs = random_log_probs(3, 6, 4)
        log_probs[1, 4:] = log_probs[2, 1:] = content
        log_probs.requires_grad_()
        losses = reinforce_loss(log_probs, LENGTHS, REFERENCES, generator=seeded(), **settings)
        losses.sum().backward()
        results.append((losses.detach(), log_probs.grad))
    assert all(map(torch.equal, *results))
    _, found = results[0]
    assert found[0].any()
    assert (found[1, 4:] == 0).all()
    assert (found[2, 1:] == 0).all()


def test_nan_is_the_loss_of_its_own_utterance_alone() -> None:
    log_probs = random_log_probs(3, 6, 4)
    losses = reinforce_loss(log_probs, LENGTHS, REFERENCES, labels=NAMES, generator=seeded())
    log_probs[1, 0] = math.nan
    others = reinforce_loss(log_probs, LENGTHS, REFERENCES, labels=NAMES, generator=seeded())
    assert others[1].isnan()
    assert torch.equal(others[[0, 2]], losses[[0, 2]])


def test_float32_is_nearly_float64() -> None:
    log_probs = random_log_probs(3, 6, 4).float()
    settings = {"labels": NAMES, "num_samples": 4}
    losses, found = learnt(log_probs, LENGTHS, REFERENCES, generator=seeded(), **settings)
    exact = learnt(log_probs.double(), LENGTHS, REFERENCES, generator=seeded(), **settings)
    assert losses.dtype == found.dtype == torch.float32
    torch.testing.assert_close(losses, exact[0].float())
    torch.testing.assert_close(found, exact[1].float(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("references", "settings", "message"),
    [
        (["a"], {"num_samples": 1}, "num_samples must be at least 2 for a baseline, got 1"),
        (["a"], {"num_samples": 0}, "num_samples must be at least 1, got 0"),
        (["a"], {"loss": "per"}, "loss must be 'wer', 'cer' or a function, got 'per'"),
        (["a", "b"], {}, "hold 1 utterances, .* references 2"),
        (["a b"], {"labels": ["-", "a", "b", "c"]}, "'a b' has 2 words, but no label begins"),
    ],
)
def test_misuse_is_named(references: list[str], settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        reinforce_loss(
            random_log_probs(1, 2, 4),
            torch.tensor([2]),
            references,
            **({"labels": NAMES} | settings),
        )
