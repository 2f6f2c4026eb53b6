import threading

import pytest
import torch

from asr.models.joined import join_frames
from asr.models.peephole import peephole_layer
from asr.models.weights import LayerWeights
from tests.models.recurrent_reference import lstm

LENGTHS = torch.tensor([6, 1, 4, 6, 3, 2, 5, 4, 1])


@pytest.fixture
def threads():
    """Sets torch's number of threads, and resets it."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def layer_of(*, inputs=3, size=5, directions=2, dtype=torch.float64, scale=1.0):
    torch.manual_seed(1)
    draw = lambda *shape: (scale * torch.randn(shape, dtype=dtype)).requires_grad_()  # noqa: E731
    return LayerWeights(
        cell="peephole",
        input=draw(directions, 4 * size, inputs),
        recurrent=draw(directions, 4 * size, size),
        bias=draw(directions, 4 * size),
        peepholes=draw(directions, 3, size),
    )


def by_equations(rows, weights, frames):
    """Frame by frame, each with the state of the row before it."""
    outputs = []
    orders = [range(len(rows)), range(len(rows) - 1, -1, -1)]
    for direction, matrix in enumerate(weights.input):
        zero = weights.bias.new_zeros(weights.recurrent.shape[2])
        states = {-1: (zero, zero)}
        for row in orders[direction]:
            hidden, cell = states[int(frames.previous[direction, row])]
            own = matrix @ rows[row] + weights.bias[direction]
            recurrent = weights.recurrent[direction] @ hidden
            states[row] = lstm(own, recurrent, hidden, cell, weights.peepholes[direction])
        outputs.append(torch.stack([states[row][0] for row in range(len(rows))]))
    return torch.cat(outputs, dim=1)


def tensors_of(rows, weights):
    return [rows, weights.input, weights.recurrent, weights.bias, weights.peepholes]


def gradients(output, tensors):
    weights = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).view_as(output)
    return torch.autograd.grad((output * weights).sum(), tensors)


@pytest.mark.parametrize("directions", [1, 2])
def test_it_is_the_equations(directions):
    frames, weights = join_frames(LENGTHS, 6), layer_of(directions=directions)
    rows = torch.randn(32, 3, dtype=torch.float64, requires_grad=True)
    output, expected = peephole_layer(rows, weights, frames), by_equations(rows, weights, frames)
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-14)
    tensors = tensors_of(rows, weights)
    pairs = zip(gradients(output, tensors), gradients(expected, tensors), strict=True)
    for own, theirs in pairs:
        torch.testing.assert_close(own, theirs, rtol=0, atol=1e-12)


def test_gradcheck_with_peepholes():
    frames = join_frames(torch.tensor([2, 3]), 3)
    weights = layer_of(inputs=2, size=2)
    rows = torch.randn(5, 2, dtype=torch.float64, requires_grad=True)

    def run(rows, *tensors):
        return peephole_layer(rows, LayerWeights("peephole", *tensors), frames)

    assert torch.autograd.gradcheck(run, tensors_of(rows, weights))


def test_more_cells_than_a_block_of_the_kernel():
    frames = join_frames(torch.tensor([3, 2]), 3)
    weights = layer_of(size=530, scale=0.05)
    rows = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    output, expected = peephole_layer(rows, weights, frames), by_equations(rows, weights, frames)
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-13)
    tensors = tensors_of(rows, weights)
    pairs = zip(gradients(output, tensors), gradients(expected, tensors), strict=True)
    for own, theirs in pairs:
        torch.testing.assert_close(own, theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("number", [2, 3, 4, 16])
def test_any_number_of_threads_gives_the_same(threads, number, directions):
    frames, weights = join_frames(LENGTHS, 6), layer_of(directions=directions)
    rows = torch.randn(32, 3, dtype=torch.float64, requires_grad=True)
    tensors = tensors_of(rows, weights)
    results = []
    for count in (1, number):
        threads(count)
        output = peephole_layer(rows, weights, frames)
        results.append([output, *gradients(output, tensors)])
    for one, many in zip(*results, strict=True):
        torch.testing.assert_close(one, many, rtol=0, atol=1e-13)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 0.015)])
def test_lower_types_come_close(dtype, tolerance):
    frames = join_frames(LENGTHS, 6)
    exact = layer_of(scale=0.5)
    rows = torch.randn(32, 3, dtype=torch.float64, requires_grad=True)
    expected = peephole_layer(rows, exact, frames)
    lower = LayerWeights("peephole", *(tensor.to(dtype) for tensor in exact[1:5]))
    output = peephole_layer(rows.to(dtype), lower, frames)
    assert output.dtype == dtype
    assert (output - expected).norm() < tolerance * expected.norm()
    tensors = tensors_of(rows, exact)
    pairs = zip(gradients(output, tensors), gradients(expected, tensors), strict=True)
    for own, theirs in pairs:
        assert (own - theirs).norm() < tolerance * theirs.norm()


def test_without_peepholes_they_count_as_zero():
    frames, weights = join_frames(LENGTHS, 6), layer_of()
    rows = torch.randn(32, 3, dtype=torch.float64)
    zero = weights._replace(peepholes=torch.zeros_like(weights.peepholes))
    none = weights._replace(cell="lstm", peepholes=None)
    assert torch.equal(peephole_layer(rows, zero, frames), peephole_layer(rows, none, frames))


def test_the_gradient_can_be_taken_twice():
    frames, weights = join_frames(LENGTHS, 6), layer_of()
    rows = torch.randn(32, 3, dtype=torch.float64, requires_grad=True)
    output = peephole_layer(rows, weights, frames).sum()
    (first,) = torch.autograd.grad(output, rows, retain_graph=True)
    (second,) = torch.autograd.grad(output, rows)
    assert torch.equal(first, second)


def test_inputs_without_a_gradient_get_none():
    frames, weights = join_frames(LENGTHS, 6), layer_of()
    rows = torch.randn(32, 3, dtype=torch.float64)
    peephole_layer(rows, weights, frames).sum().backward()
    assert rows.grad is None
    assert weights.input.grad is not None


def test_diverged_weights_show_as_nan():
    frames, weights = join_frames(LENGTHS, 6), layer_of(dtype=torch.float32)
    spoilt = weights._replace(bias=torch.full_like(weights.bias, torch.nan))
    assert peephole_layer(torch.randn(32, 3), spoilt, frames).isnan().all()
    lower = LayerWeights("peephole", *(tensor.bfloat16() for tensor in spoilt[1:5]))
    assert peephole_layer(torch.randn(32, 3).bfloat16(), lower, frames).isnan().all()


def test_many_callers_at_once(threads):
    threads(2)
    frames, weights = join_frames(LENGTHS, 6), layer_of()
    rows = torch.randn(32, 3, dtype=torch.float64)
    expected = peephole_layer(rows, weights, frames)
    results = []
    callers = [
        threading.Thread(target=lambda: results.append(peephole_layer(rows, weights, frames)))
        for _ in range(4)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(results) == 4
    assert all(torch.equal(result, expected) for result in results)
