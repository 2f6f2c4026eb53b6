from functools import partial

import pytest
import torch
from torch import nn

from asr.models.lstm import RecurrentStack
from asr.models.padded import enter, leave, pad_frames, padded_layer, reverse
from tests.models.recurrent_reference import reference

CELLS = ["lstm", "peephole", "gru", "tanh"]
LENGTHS = [3, 0, 5, 1]


def test_each_utterance_is_reversed_by_its_own_length():
    frames = pad_frames(torch.tensor([2, 0, 3]), 3)
    encoded = torch.tensor([[1, 2, 9], [9, 9, 9], [3, 4, 5]]).t().unsqueeze(2)
    expected = torch.tensor([[2, 1, 9], [9, 9, 9], [5, 4, 3]]).t().unsqueeze(2)
    assert torch.equal(reverse(encoded, frames), expected)


def test_reversal_is_an_involution_and_its_own_transpose():
    torch.manual_seed(1)
    frames = pad_frames(torch.tensor(LENGTHS), 6)
    encoded = torch.randn(6, 4, 2, dtype=torch.float64, requires_grad=True)
    assert torch.equal(reverse(reverse(encoded, frames), frames), encoded)
    assert torch.autograd.gradcheck(partial(reverse, frames=frames), encoded)


def padded(stack, features, lengths):
    """The stack by torch's kernels, whatever the device and the cell."""
    frames = pad_frames(torch.tensor(lengths), features.shape[1])
    encoded = enter(features, frames)
    for layer in stack.layers:
        encoded = layer(encoded, partial(padded_layer, frames=frames))
    return leave(encoded, frames)


def model(cell, dtype, **options):
    torch.manual_seed(1)
    stack = RecurrentStack(4, 3, 2, cell=cell, **options).to(dtype)
    for layer in stack.layers:
        nn.init.normal_(layer.bias)
        if layer.peepholes is not None:
            nn.init.normal_(layer.peepholes)
    return stack, torch.randn(4, 6, 4, dtype=dtype, requires_grad=True)


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("cell", CELLS)
def test_every_cell_is_its_equations(cell, bidirectional):
    stack, features = model(cell, torch.float64, bidirectional=bidirectional)
    output, expected = padded(stack, features, LENGTHS), reference(stack, features, LENGTHS)
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-12)
    weights = torch.randn_like(output)
    tensors = [features, *stack.parameters()]
    own = torch.autograd.grad((output * weights).sum(), tensors)
    theirs = torch.autograd.grad((expected * weights).sum(), tensors)
    for a, b in zip(own, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


@pytest.mark.parametrize("cell", ["lstm", "peephole"])
def test_it_agrees_with_the_compiled_layer(cell):
    stack, features = model(cell, torch.float32)
    output = padded(stack, features, LENGTHS)
    torch.testing.assert_close(output, stack(features, torch.tensor(LENGTHS)), rtol=0, atol=1e-6)


@pytest.mark.parametrize("cell", CELLS)
def test_garbage_in_the_padding_reaches_neither_output_nor_gradient(cell):
    stack, features = model(cell, torch.float64)
    real = (torch.arange(6) < torch.tensor(LENGTHS).unsqueeze(1)).unsqueeze(2)
    clean = padded(stack, features, LENGTHS)
    spoilt = torch.where(real, features.detach(), torch.nan).requires_grad_()
    output = padded(stack, spoilt, LENGTHS)
    assert torch.equal(output, clean)
    output.sum().backward()
    assert torch.equal(output * real, output)
    assert torch.equal(spoilt.grad * real, spoilt.grad)
    assert all(parameter.grad.isfinite().all() for parameter in stack.parameters())


@pytest.mark.parametrize("cell", CELLS)
def test_autocast(cell):
    stack, features = model(cell, torch.float32)
    exact = padded(stack, features, LENGTHS)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = padded(stack, features, LENGTHS)
    torch.testing.assert_close(output.float(), exact, rtol=0, atol=0.03)
    output.float().sum().backward()
    assert all(parameter.grad.dtype == torch.float32 for parameter in stack.parameters())
