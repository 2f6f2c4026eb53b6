"""L1 and L2 in the gradient, against their closed forms."""

import math

import pytest
import torch
from torch import Tensor, nn

from asr.models.lstm import RecurrentStack
from asr.training.penalty import add_penalty_gradients, penalised
from asr.training.step import Part, Stepper

RATE, L1, L2 = 0.1, 0.25, 0.5


class Quadratic(nn.Module):
    """`(w - target)^2 / 2` of a matrix, and a bias that is to be 1."""

    def __init__(self, start: Tensor, target: Tensor) -> None:
        super().__init__()
        self.weight, self.target = nn.Parameter(start.clone()), target
        self.bias = nn.Parameter(torch.zeros(1, 2, dtype=start.dtype))

    def forward(self) -> Tensor:
        error = (self.weight - self.target).square().sum() + (self.bias - 1).square().sum()
        return error.reshape(1) / 2


TARGET = torch.tensor([[2.0, -1.0, 0.1], [-0.2, 0.25, 3.0]], dtype=torch.float64)


def stepper(model: nn.Module, *, clip_norm: float = 0.0, **penalties: float) -> Stepper:
    return Stepper(
        model,
        torch.optim.SGD(model.parameters(), lr=RATE),
        clip_norm=clip_norm,
        precision="float32",
        device=torch.device("cpu"),
        **penalties,
    )


def descended(steps: int, **penalties: float) -> Quadratic:
    """From zero, at a rate that falls to 1/1000, since at zero the sign of a weight flips."""
    model = Quadratic(torch.zeros_like(TARGET), TARGET)
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    made = Stepper(
        model, optimizer, clip_norm=0.0, precision="float32", device=torch.device("cpu"),
        **penalties,
    )  # fmt: skip
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = RATE * 1000 ** (-step / steps)
        made.update([Part(model, ["x"], 0)])
    return model


def test_l2_shrinks_weights_by_1_minus_rate_times_l2() -> None:
    start = torch.linspace(-1, 1, 6, dtype=torch.float64).view(2, 3)
    model = Quadratic(start, start)  # a gradient of zero
    stepper(model, l2=L2).update([Part(model, ["x"], 0)])
    torch.testing.assert_close(model.weight.detach(), start * (1 - RATE * L2), rtol=1e-14, atol=0)


def test_a_step_with_both() -> None:
    start = torch.linspace(-1, 1, 6, dtype=torch.float64).view(2, 3)
    model = Quadratic(start, TARGET)
    result = stepper(model, l1=L1, l2=L2).update([Part(model, ["x"], 0)])
    expected = start * (1 - RATE * L2) - RATE * L1 * start.sign() - RATE * (start - TARGET)
    torch.testing.assert_close(model.weight.detach(), expected, rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(model.bias.detach(), torch.full((1, 2), RATE).double())
    gradient = (start - expected) / RATE
    assert result.loss == pytest.approx(float((start - TARGET).square().sum() + 2) / 2)
    assert result.gradient_norm == pytest.approx(math.sqrt(float(gradient.square().sum()) + 2))


def test_the_minimum_with_l2_is_the_shrunk_target() -> None:
    torch.testing.assert_close(
        descended(1000, l2=L2).weight.detach(), TARGET / (1 + L2), rtol=0, atol=1e-4
    )


def test_the_minimum_with_l1_is_the_soft_threshold() -> None:
    """sign(t) max(|t| - l1, 0): what is below the threshold is zero, the rest is l1 smaller."""
    expected = TARGET.sign() * (TARGET.abs() - L1).clamp(min=0)
    assert expected.tolist()[1][:2] == [0.0, 0.0]
    model = descended(1000, l1=L1)
    torch.testing.assert_close(model.weight.detach(), expected, rtol=0, atol=1e-4)
    torch.testing.assert_close(model.bias.detach(), torch.ones(1, 2).double(), rtol=0, atol=1e-4)


@pytest.mark.parametrize("cell", ["peephole", "tanh"])
def test_biases_and_peepholes_are_no_weights(cell: str) -> None:
    """Though in recurrent layers they are matrices."""
    model = nn.ModuleDict({"stack": RecurrentStack(3, 2, 2, cell=cell), "output": nn.Linear(4, 3)})
    names = {name for name, p in model.named_parameters() if any(p is w for w in penalised(model))}
    assert names == {
        *(f"stack.layers.{i}.{kind}_weight" for i in (0, 1) for kind in ("input", "recurrent")),
        "output.weight",
    }
    model["output"].weight.requires_grad = False
    assert len(penalised(model)) == 4


def test_sign_of_zero_is_zero_and_a_weight_without_gradient_gets_one() -> None:
    weight = nn.Parameter(torch.tensor([[0.0, -2.0, 3.0]]))
    add_penalty_gradients([weight], l1=0.5, l2=0.1)
    assert weight.grad is not None
    torch.testing.assert_close(weight.grad, torch.tensor([[0.0, -0.7, 0.8]]))


def test_it_is_clipped_with_the_loss() -> None:
    model = Quadratic(TARGET, TARGET)
    with torch.no_grad():
        model.bias.fill_(1)
    result = stepper(model, clip_norm=0.01, l2=L2).update([Part(model, ["x"], 0)])
    assert result.gradient_norm == pytest.approx(L2 * float(TARGET.norm()))
    moved = (model.weight.detach() - TARGET).norm()
    assert float(moved) == pytest.approx(RATE * 0.01, rel=1e-4)


def test_accumulating_adds_it_once() -> None:
    models = [Quadratic(torch.zeros_like(TARGET), TARGET) for _ in range(2)]
    for model, parts in zip(models, (1, 3), strict=True):
        for _ in range(3):
            stepper(model, l1=L1, l2=L2).update([Part(model, ["x"], 0)] * parts)
    torch.testing.assert_close(models[0].weight, models[1].weight, rtol=1e-12, atol=1e-12)
