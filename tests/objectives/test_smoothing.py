"""Smoothed CTC costs: their definition, their minimum, and what has no part in them."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from asr.config import parse
from asr.errors import ConfigError
from asr.objectives.ctc import CTCConfig, ctc_loss, smoothed
from tests.objectives.test_ctc import random_log_probs

LENGTHS = torch.tensor([6, 4, 1])
TARGETS, TARGET_LENGTHS = torch.tensor([[1, 2, 2], [3, 0, 0], [0, 0, 0]]), torch.tensor([3, 1, 0])


def smoothed_costs(log_probs: Tensor, smoothing: float) -> Tensor:
    costs = ctc_loss(log_probs, LENGTHS, TARGETS, TARGET_LENGTHS)
    return smoothed(costs, log_probs, LENGTHS, smoothing)


def test_the_definition() -> None:
    log_probs = random_log_probs(3, 6, 4)
    costs = ctc_loss(log_probs, LENGTHS, TARGETS, TARGET_LENGTHS)
    found = smoothed_costs(log_probs, 0.3)
    for row, length in enumerate(LENGTHS.tolist()):
        uniform = -sum(float(p) / 4 for p in log_probs[row, :length].flatten())
        assert float(found[row]) == pytest.approx(0.7 * float(costs[row]) + 0.3 * uniform)
    assert torch.equal(smoothed_costs(log_probs, 0.0), costs)


@pytest.mark.parametrize("smoothing", [0.1, 0.5])
@pytest.mark.parametrize("size", [2, 5])
def test_the_least_cost_of_a_frame_is_the_entropy_of_its_smoothed_target(
    smoothing: float, size: int
) -> None:
    """One frame and one token: 1 - s + s / V on it, s / V elsewhere, and nothing is cheaper."""
    target = torch.full((size,), smoothing / size, dtype=torch.float64)
    target[1] += 1 - smoothing
    entropy = -float((target * target.log()).sum())
    logits = torch.zeros(1, 1, size, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=200, tolerance_change=0)

    def cost(log_probs: Tensor) -> Tensor:
        one = torch.tensor([1])
        costs = ctc_loss(log_probs, one, torch.tensor([[1]]), one)
        return smoothed(costs, log_probs, one, smoothing).sum()

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = cost(logits.log_softmax(dim=2))
        value.backward()
        return value

    optimizer.step(closure)
    probs = logits.detach().softmax(dim=2)
    torch.testing.assert_close(probs[0, 0], target, rtol=0, atol=1e-6)
    assert float(cost(probs.log())) == pytest.approx(entropy, abs=1e-10)
    assert float(cost(target.log().view(1, 1, -1))) == pytest.approx(entropy, abs=1e-12)
    for seed in range(20):
        assert float(cost(random_log_probs(1, 1, size, seed=seed))) > entropy


def test_the_gradient_of_the_logits() -> None:
    """(1 - s) (p - occupancy) + s (p - 1 / V), and none beyond the lengths."""
    logits = random_log_probs(3, 6, 4).requires_grad_()
    (plain,) = torch.autograd.grad(smoothed_costs(logits.log_softmax(2), 0.0).sum(), logits)
    (found,) = torch.autograd.grad(smoothed_costs(logits.log_softmax(2), 0.2).sum(), logits)
    real = (torch.arange(6) < LENGTHS.unsqueeze(1)).unsqueeze(2)
    uniform = torch.where(real, logits.detach().softmax(2) - 1 / 4, 0)
    torch.testing.assert_close(found, 0.8 * plain + 0.2 * uniform, rtol=0, atol=1e-12)
    assert not found[~real.squeeze(2)].any()


def test_padding_does_not_count_and_what_is_not_finite_stays_so() -> None:
    log_probs = random_log_probs(3, 6, 4)
    spoilt = log_probs.clone()
    spoilt[1, 4:] = math.nan
    assert torch.equal(smoothed_costs(spoilt, 0.3), smoothed_costs(log_probs, 0.3))
    spoilt[0, 2, 1] = math.nan
    assert smoothed_costs(spoilt, 0.3).isnan().tolist() == [True, False, False]


@pytest.mark.parametrize("value", [1.0, -0.1, math.nan])
def test_no_smoothing_is_not_stored_and_all_of_it_is_refused(value: Any) -> None:
    assert CTCConfig().model_dump() == {"name": "ctc"}
    assert CTCConfig(label_smoothing=0.1).model_dump()["label_smoothing"] == 0.1
    with pytest.raises(ConfigError, match="'label_smoothing' must be "):
        parse(CTCConfig, {"label_smoothing": value}, "recipe.toml")
