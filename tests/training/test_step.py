"""One update: its gradient, its limits, and that nothing moves when something is not finite."""

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from asr.training.step import Part, Precision, Stepper

CPU = torch.device("cpu")


class Line(nn.Module):
    """`w · x`; the losses are half the squared errors, whose gradient is (w · x - y) x."""

    def __init__(self, size: int = 3) -> None:
        super().__init__()
        start = torch.linspace(-1.0, 1.0, size, dtype=torch.float64)
        self.weight = nn.Parameter(start)

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs @ self.weight


def part(model: nn.Module, inputs: Tensor, targets: Tensor, seed: int = 0) -> Part:
    names = [f"{seed}-{row}" for row in range(len(inputs))]
    return Part(lambda: (model(inputs) - targets).square() / 2, names, seed)


def stepper(
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
    *,
    clip_norm: float = 0.0,
    precision: Precision = "float32",
) -> Stepper:
    return Stepper(
        model,
        optimizer or torch.optim.SGD(model.parameters(), lr=0.1),
        clip_norm=clip_norm,
        precision=precision,
        device=CPU,
    )


def data(count: int, size: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(count)
    inputs = torch.randn(count, size, generator=generator, dtype=torch.float64)
    return inputs, torch.randn(count, generator=generator, dtype=torch.float64)


def state_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def assert_unchanged(model: nn.Module, before: dict[str, Tensor]) -> None:
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_an_update_is_the_mean_gradient_in_closed_form() -> None:
    model, (inputs, targets) = Line(), data(5)
    start = model.weight.detach().clone()
    errors = inputs @ start - targets
    result = stepper(model).update([part(model, inputs, targets)])
    gradient = (errors[:, None] * inputs).mean(dim=0)
    torch.testing.assert_close(model.weight.detach(), start - 0.1 * gradient)
    assert result.loss == pytest.approx(float(errors.square().mean() / 2))
    assert result.gradient_norm == pytest.approx(float(gradient.norm()))
    assert result.bad_ids == ()


@pytest.mark.parametrize("sizes", [(7,), (4, 3), (1, 1, 5), (1,) * 7])
def test_accumulating_over_parts_equals_one_larger_batch(sizes: Sequence[int]) -> None:
    inputs, targets = data(7)
    whole, parted = Line(), Line()
    expected = stepper(whole).update([part(whole, inputs, targets)])
    parts = [
        part(parted, some, wanted)
        for some, wanted in zip(inputs.split(sizes), targets.split(sizes), strict=True)
    ]
    result = stepper(parted).update(parts)
    assert result.loss == pytest.approx(expected.loss, rel=1e-12)
    assert result.gradient_norm == pytest.approx(expected.gradient_norm, rel=1e-12)
    torch.testing.assert_close(parted.weight, whole.weight, rtol=1e-12, atol=1e-12)


def test_a_gradient_of_before_has_no_part_in_an_update() -> None:
    model, (inputs, targets) = Line(), data(4)
    other = Line()
    model.weight.grad = torch.full_like(model.weight, 100.0)
    for each in (model, other):
        stepper(each).update([part(each, inputs, targets)])
    assert torch.equal(model.weight, other.weight)


@pytest.mark.parametrize("limit", [0.0, 0.5, 1e6])
def test_clipping_scales_the_gradient_and_keeps_its_direction(limit: float) -> None:
    """With x = (3, 4) and an error of -1 the gradient is -(3, 4), of norm 5."""
    model = Line(2)
    start = model.weight.detach().clone()
    inputs = torch.tensor([[3.0, 4.0]], dtype=torch.float64)
    result = stepper(model, clip_norm=limit).update([part(model, inputs, inputs @ start + 1)])
    factor = 0.5 / 5 if limit == 0.5 else 1.0
    torch.testing.assert_close(
        model.weight.detach(), start + 0.1 * factor * inputs[0], rtol=1e-6, atol=0.0
    )
    assert result.gradient_norm == pytest.approx(5.0), "the norm before clipping"


def test_weight_noise_moves_the_clean_weights_by_the_noisy_gradient() -> None:
    model, (inputs, targets) = Line(), data(4)
    clean = model.weight.detach().clone()
    torch.manual_seed(11)
    noisy = clean + 0.3 * torch.randn_like(clean)
    gradient = ((inputs @ noisy - targets)[:, None] * inputs).mean(dim=0)
    stepper(model).update([part(model, inputs, targets, seed=11)], deviation=0.3)
    torch.testing.assert_close(model.weight.detach(), clean - 0.1 * gradient)


def test_the_seed_of_a_part_decides_its_dropout() -> None:
    inputs, targets = data(6, 20)

    def loss(seed: int) -> float:
        model = nn.Sequential(nn.Dropout(0.5), Line(20))
        return stepper(model).update([part(model, inputs, targets, seed)]).loss

    assert loss(1) == loss(1)
    assert loss(1) != loss(2)


class Poisoned(nn.Module):
    """A network with BatchNorm, which changes its buffers in every forward pass."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.norm = nn.BatchNorm1d(3)
        self.linear = nn.Linear(3, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        result: Tensor = self.linear(self.norm(inputs)).squeeze(1)
        return result


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_changes_nothing_and_is_named(value: float) -> None:
    model, inputs = Poisoned(), torch.randn(3, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    good = Part(lambda: model(inputs).square(), ["a", "b", "c"], 1)
    bad = Part(lambda: model(inputs) + torch.tensor([0.0, value, 0.0]), ["d", "e", "f"], 2)
    step = stepper(model, optimizer)
    step.update([good])
    before, momentum = state_of(model), momenta(optimizer)
    result = step.update([good, bad])
    assert result.bad_ids == ("e",)
    assert result.reason == "the loss is not finite"
    assert math.isnan(result.loss)
    assert_unchanged(model, before)
    assert all(map(torch.equal, momenta(optimizer), momentum))
    assert all(p.grad is None for p in model.parameters())


def momenta(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [values["momentum_buffer"].clone() for values in optimizer.state.values()]


def test_an_update_that_is_not_made_leaves_the_running_means() -> None:
    model = Poisoned()
    before = state_of(model)
    bad = torch.full((2, 3), math.nan)
    result = stepper(model).update([Part(lambda: model(bad), ["a", "b"], 1)])
    assert result.bad_ids == ("a", "b")
    assert_unchanged(model, before)


def test_a_gradient_that_is_not_finite_changes_nothing_and_blames_all() -> None:
    """The square root at 0 is finite, its slope is not."""
    model = Line(1)
    with torch.no_grad():
        model.weight.zero_()
    before = state_of(model)
    root = Part(lambda: (model.weight * 1.0).sqrt(), ["a"], 1)
    fine = Part(lambda: model.weight.square(), ["b"], 2)
    result = stepper(model).update([root, fine])
    assert result.bad_ids == ("a", "b")
    assert result.reason == "the gradient is not finite"
    assert_unchanged(model, before)
    assert model.weight.grad is None


def test_measuring_leaves_no_trace() -> None:
    model = Poisoned()
    optimizer = torch.optim.AdamW(model.parameters())
    before = state_of(model)
    seen: list[Tensor] = []

    def losses() -> Tensor:
        seen.append(model(torch.randn(4, 3)).square())
        return seen[-1]

    stepper(model, optimizer).measure(Part(losses, list("abcd"), 0), deviation=0.1)
    assert len(seen) == 1
    assert_unchanged(model, before)
    assert not optimizer.state
    assert all(p.grad is None for p in model.parameters())


def test_float16_needs_a_gpu() -> None:
    with pytest.raises(ValueError, match="precision float16 needs a CUDA device"):
        stepper(Line(), precision="float16")


def test_bfloat16_computes_in_bfloat16_and_keeps_weights_in_float32() -> None:
    torch.manual_seed(0)
    model = nn.Linear(64, 1)
    inputs, targets = torch.randn(16, 64), torch.randn(16)
    start = state_of(model)
    seen: list[torch.dtype] = []

    def losses() -> Tensor:
        scores = model(inputs).squeeze(1)
        seen.append(scores.dtype)
        return (scores.float() - targets).square() / 2

    moved = {}
    for precision in ("float32", "bfloat16"):
        model.load_state_dict(start)
        kind: Any = precision
        stepper(model, precision=kind).update([Part(losses, ["x"] * 16, 0)])
        moved[precision] = model.weight.detach() - start["weight"]
    assert seen == [torch.float32, torch.bfloat16]
    assert model.weight.dtype == torch.float32
    # bfloat16 has 8 significant bits.
    error = (moved["bfloat16"] - moved["float32"]).norm() / moved["float32"].norm()
    assert 0 < float(error) < 0.02


def scaled(model: nn.Module, scale: float) -> Stepper:
    """The scaling of float16, which does not ask for a GPU itself, on the CPU."""
    step = stepper(model, clip_norm=1.0)
    step.scaler = torch.amp.grad_scaler.GradScaler("cpu", init_scale=scale)
    return step


def test_scaling_by_a_power_of_two_changes_no_bit() -> None:
    (inputs, targets), plain, other = data(5), Line(), Line()
    expected = stepper(plain, clip_norm=1.0).update([part(plain, inputs, targets)])
    result = scaled(other, 2.0**16).update([part(other, inputs, targets)])
    assert torch.equal(other.weight, plain.weight)
    assert result == expected


class Steep(nn.Module):
    """One float32 weight whose loss has the given gradient."""

    def __init__(self, gradient: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.gradient = gradient

    def part(self) -> Part:
        return Part(lambda: self.weight * self.gradient, ["a"], 0)


def test_an_overflow_of_the_scaling_is_passed_over_and_scaled_down() -> None:
    model = Steep(1e35)
    step = scaled(model, 2.0**16)
    overflows = 0
    while not model.weight.detach().any():
        assert step.update([model.part()]).bad_ids == ()
        overflows += 1
        assert overflows < 20
    # 1e35 · 2¹¹ fits into float32, 1e35 · 2¹² does not.
    assert overflows == 16 - 11 + 1
    assert step.scaler.get_scale() == 2.0**11
    assert model.weight.item() == pytest.approx(-0.1), "clipped to norm 1"


def test_a_gradient_that_overflows_without_scaling_is_divergence() -> None:
    """The square root at 0 again: however little it is scaled, its slope is infinite."""
    model = Steep(1.0)
    step = scaled(model, 2.0**4)
    root = Part(lambda: model.weight.sqrt(), ["a"], 0)
    reasons = [step.update([root]).reason for _ in range(6)]
    assert reasons == [""] * 4 + ["the gradient is not finite"] * 2
    assert model.weight.item() == 0.0
