import pytest
import torch

from asr.models.peephole_torch import peephole_recurrence
from tests.models.recurrent_reference import lstm


def operands(*, directions=2, frames=4, batch=3, size=2, dtype=torch.float64):
    torch.manual_seed(1)
    return (
        torch.randn(directions, frames, batch, 4 * size, dtype=dtype, requires_grad=True),
        torch.randn(directions, 4 * size, size, dtype=dtype, requires_grad=True),
        torch.randn(directions, 3, size, dtype=dtype, requires_grad=True),
    )


def by_equations(projected, recurrent, peepholes):
    outputs = []
    for own, weights, vectors in zip(projected, recurrent, peepholes, strict=True):
        for utterance in own.unbind(1):
            hidden = cell = weights.new_zeros(weights.shape[1])
            for frame in utterance:
                hidden, cell = lstm(frame, weights @ hidden, hidden, cell, vectors)
                outputs.append(hidden)
    shape = (len(projected), projected.shape[2], projected.shape[1], -1)
    return torch.stack(outputs).view(shape).transpose(1, 2)


def test_it_is_the_equations():
    tensors = operands()
    output, expected = peephole_recurrence(*tensors), by_equations(*tensors)
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-14)
    weights = torch.randn_like(output)
    own = torch.autograd.grad((output * weights).sum(), tensors)
    theirs = torch.autograd.grad((expected * weights).sum(), tensors)
    for a, b in zip(own, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-13)


def test_gradcheck():
    assert torch.autograd.gradcheck(peephole_recurrence, operands(frames=3, batch=2))


def test_inputs_stay_as_they_are():
    tensors = operands()
    copies = [tensor.detach().clone() for tensor in tensors]
    peephole_recurrence(*tensors).sum().backward()
    for tensor, copy in zip(tensors, copies, strict=True):
        assert torch.equal(tensor, copy)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_types_are_computed_in_float32(dtype):
    projected, recurrent, peepholes = operands(dtype=torch.float32)
    half = projected.to(dtype)
    exact = peephole_recurrence(half.float(), recurrent, peepholes)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = peephole_recurrence(half, recurrent, peepholes)
    assert torch.equal(output, exact.to(dtype))


@pytest.mark.parametrize("empty", ["frames", "batch"])
def test_no_frames_or_no_utterances(empty):
    output = peephole_recurrence(*operands(**{empty: 0}))
    output.sum().backward()
    assert output.numel() == 0
