"""Batch normalisation of frames: torch's on the real ones, and nothing of the padding."""

import pytest
import torch
from torch import Tensor, nn

from asr.models.batch_norm import EPSILON, MOMENTUM, FrameBatchNorm
from tests.models.test_lstm import CELLS, LENGTHS, batch_of, gradients, stack_of

PADDED = torch.arange(8) >= torch.tensor(LENGTHS).unsqueeze(1)  # (B, T)


def frames(seed: int = 0, size: int = 4) -> Tensor:
    torch.manual_seed(seed)
    values = 3 * torch.randn(len(LENGTHS), 8, size, dtype=torch.float64) + 2
    return values.masked_fill(PADDED.unsqueeze(2), 0)


def norm_of(size: int = 4) -> FrameBatchNorm:
    torch.manual_seed(9)
    norm = FrameBatchNorm(size).double()
    nn.init.normal_(norm.scale)
    nn.init.normal_(norm.shift)
    return norm


def test_it_is_torchs_on_the_real_frames() -> None:
    norm = norm_of()
    theirs = nn.BatchNorm1d(4, eps=EPSILON, momentum=MOMENTUM).double()
    theirs.load_state_dict(
        {
            "weight": norm.scale,
            "bias": norm.shift,
            "running_mean": torch.zeros(4),
            "running_var": torch.ones(4),
            "num_batches_tracked": torch.tensor(0),
        }
    )
    real = ~PADDED
    for seed in range(3):
        values = frames(seed).requires_grad_()
        output = norm(values, real.unsqueeze(2))
        expected = theirs(values[real])
        torch.testing.assert_close(output[real], expected, rtol=0, atol=1e-12)
        assert not output[PADDED].any()
        weights = torch.linspace(-1, 1, expected.numel(), dtype=torch.float64).view_as(expected)
        own, other = (
            torch.autograd.grad((out * weights).sum(), (values, module.scale, module.shift))
            if isinstance(module, FrameBatchNorm)
            else torch.autograd.grad((out * weights).sum(), (values, module.weight, module.bias))
            for out, module in ((output[real], norm), (expected, theirs))
        )
        torch.testing.assert_close(own, other, rtol=0, atol=1e-11)
    torch.testing.assert_close(norm.running_mean, theirs.running_mean, rtol=0, atol=1e-12)
    torch.testing.assert_close(norm.running_variance, theirs.running_var, rtol=0, atol=1e-12)
    norm.eval()
    theirs.eval()
    values = frames(7)
    before = norm.running_mean.clone()
    output = norm(values, real.unsqueeze(2))
    torch.testing.assert_close(output[real], theirs(values[real]), rtol=0, atol=1e-12)
    assert torch.equal(norm.running_mean, before), "evaluation changes nothing"


@pytest.mark.parametrize("factor", [1e-2, 7.0, 1e4])
def test_the_scale_of_the_weights_before_it_does_not_count(factor: float) -> None:
    """BN(a W x + b) = BN(W x): the derivative with respect to W is then 1 / a of what it was."""
    real, values = ~PADDED.unsqueeze(2), frames(size=5)
    weight = torch.randn(4, 5, dtype=torch.float64)
    results = []
    for scaled, offset in ((weight, 0.0), (factor * weight, 3.0)):
        scaled.requires_grad_()
        output = norm_of()(values @ scaled.t() + offset, real)
        (slope,) = torch.autograd.grad((output * torch.arange(4.0)).square().sum(), scaled)
        results.append((output.detach(), slope))
        weight = weight.detach()
    (plain, slope), (same, flatter) = results
    torch.testing.assert_close(same, plain, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(factor * flatter, slope, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("garbage", [float("nan"), float("inf")])
def test_padding_is_never_counted(garbage: float) -> None:
    real = ~PADDED.unsqueeze(2)
    clean, spoilt = norm_of(), norm_of()
    expected = clean(frames(), real)
    assert torch.equal(spoilt(frames().masked_fill(~real, garbage), real), expected)
    longer = nn.functional.pad(frames(), (0, 0, 0, 5), value=garbage)
    wider = nn.functional.pad(real, (0, 0, 0, 5), value=False)
    torch.testing.assert_close(norm_of()(longer, wider)[:, :8], expected, rtol=0, atol=1e-12)
    assert torch.equal(clean.running_mean, spoilt.running_mean)


def test_one_frame_and_none() -> None:
    norm = norm_of()
    one = torch.zeros(1, 3, 1, dtype=torch.bool)
    values = torch.randn(1, 3, 4, dtype=torch.float64)
    assert not norm(values, one).any()
    assert not norm.running_mean.any(), "a batch without a frame says nothing of them"
    assert torch.equal(norm.running_variance, torch.ones(4).double())
    one[0, 1] = True
    torch.testing.assert_close(norm(values, one)[0, 1], norm.shift)
    torch.testing.assert_close(norm.running_mean, MOMENTUM * values[0, 1])
    assert norm(values[:0], one[:0]).shape == (0, 3, 4)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_half_precision_is_measured_in_single(cell: str) -> None:
    stack, features = stack_of(cell, batch_norm=True, dtype=torch.float32), batch_of().float()
    exact = stack(features, torch.tensor(LENGTHS))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = stack(features, torch.tensor(LENGTHS))
    torch.testing.assert_close(output.float(), exact, rtol=0, atol=0.1)
    half = frames().bfloat16()
    assert norm_of().float()(half, ~PADDED.unsqueeze(2)).dtype == torch.bfloat16


@pytest.mark.parametrize("cell", CELLS)
def test_in_a_stack_it_is_between_the_layers(cell: str) -> None:
    """On both ways of computing: over the rows of the compiled cells, and the padded batch."""
    lengths, features = torch.tensor(LENGTHS), batch_of()
    stack = stack_of(cell, batch_norm=True, num_layers=3)
    lower, middle, upper = (stack_of(cell, num_layers=1, input_size=n) for n in (4, 6, 6))
    for single, layer in zip((lower, middle, upper), stack.layers, strict=True):
        single.layers[0].load_state_dict(layer.state_dict())
    for norm in stack.norms:
        nn.init.normal_(norm.scale)
        nn.init.normal_(norm.shift)
    norms = [FrameBatchNorm(6).double() for _ in stack.norms]
    for own, theirs in zip(norms, stack.norms, strict=True):
        own.load_state_dict(theirs.state_dict())
    real = ~PADDED.unsqueeze(2)
    expected = lower(features, lengths)
    for single, norm in zip((middle, upper), norms, strict=True):
        expected = single(norm(expected, real), lengths)
    output = stack(features, lengths)
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-12)
    for own, theirs in zip(stack.norms, norms, strict=True):
        torch.testing.assert_close(own.state_dict(), theirs.state_dict(), rtol=0, atol=1e-12)
    (slope,) = torch.autograd.grad(output.square().sum(), features, retain_graph=True)
    (other,) = torch.autograd.grad(expected.square().sum(), features)
    torch.testing.assert_close(slope, other, rtol=0, atol=1e-11)


@pytest.mark.parametrize("cell", ["lstm", "tanh"])
def test_in_evaluation_an_utterance_is_the_same_alone_and_in_any_batch(cell: str) -> None:
    stack, features = stack_of(cell, batch_norm=True), batch_of()
    together = stack.eval()(features, torch.tensor(LENGTHS))
    for index, length in enumerate(LENGTHS):
        if length:
            alone = stack(features[index : index + 1, :length], torch.tensor([length]))
            torch.testing.assert_close(alone[0], together[index, :length], rtol=0, atol=1e-12)


def test_off_it_leaves_no_trace_and_a_single_layer_has_none() -> None:
    assert not [name for name in stack_of("lstm").state_dict() if "norm" in name]
    assert not [name for name in stack_of("lstm", num_layers=1, batch_norm=True).state_dict()
                if "norm" in name]  # fmt: skip
    names = [n for n in stack_of("lstm", batch_norm=True).state_dict() if n.startswith("norms")]
    assert names == [f"norms.0.{n}" for n in ("scale", "shift", "running_mean", "running_variance")]
    features = batch_of()
    stack = stack_of("tanh", batch_norm=True)
    found = gradients(stack(features, torch.tensor(LENGTHS)), stack, features)
    assert all(torch.isfinite(gradient).all() for gradient in found)
