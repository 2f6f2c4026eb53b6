"""One (bi)directional LSTM layer with peepholes over joined frames, forward and backward, on a CPU.

A plain LSTM is the same with peepholes of zero. The work is split so that nearly all of it is large
matrix products, which torch does for all frames and both directions at once: the products with the
inputs before the recurrence; after it, those for the gradients of weights and inputs. What must go
step by step is `peephole_kernel`. Threads share it by direction, then by groups of utterances:
they never wait for each other at a step, so a busy machine slows it in proportion, not more.

Under bfloat16 autocast the matrices and what is kept for the backward pass are bfloat16; sums,
cells, bias and peepholes stay float32.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from asr.models.joined import JoinedFrames
from asr.models.peephole_kernel import (
    Activity,
    Gradients,
    Share,
    Steps,
    Weights,
    backward_pass,
    forward_pass,
)
from asr.models.product import pack
from asr.models.weights import LayerWeights

# Fewer utterances in a share gain nothing: reading the matrix takes the time of 8 rows' products.
SMALLEST_SHARE = 4


def peephole_layer(rows: Tensor, weights: LayerWeights, frames: JoinedFrames) -> Tensor:
    """Hidden states of every frame, both directions side by side.

    Args:
        rows: (N, F) in the type of the weights, or bfloat16 under autocast.
        weights: of a layer with D directions and 4 gates; without peepholes they count as zero.
        frames: where the rows belong.

    Returns:
        (N, D * H); bfloat16 under bfloat16 autocast, else the type of the weights.
    """
    dtype = weights.input.dtype
    if dtype == torch.float32 and torch.is_autocast_enabled("cpu"):
        lower = torch.get_autocast_dtype("cpu")
        dtype = lower if lower == torch.bfloat16 else dtype  # float16 gains nothing on a CPU
    sums = torch.float64 if dtype == torch.float64 else torch.float32
    peepholes = weights.peepholes
    if peepholes is None:
        directions, _, size = weights.recurrent.shape
        peepholes = weights.bias.new_zeros(directions, 3, size)
    matrices = (rows.to(dtype), weights.input.to(dtype), weights.recurrent.to(dtype))
    vectors = (weights.bias.to(sums), peepholes.to(sums))
    with torch.autocast("cpu", enabled=False):
        return _PeepholeLayer.apply(frames, *matrices, *vectors)  # type: ignore[no-any-return, no-untyped-call]


class _PeepholeLayer(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        frames: JoinedFrames,
        rows: Tensor,
        input_weight: Tensor,
        recurrent_weight: Tensor,
        bias: Tensor,
        peepholes: Tensor,
    ) -> Tensor:
        directions, _, size = recurrent_weight.shape
        gates = _empty(len(rows), directions * 4 * size, rows.dtype)
        torch.mm(rows, input_weight.flatten(0, 1).t(), out=gates)
        cells = _empty(len(rows), directions * size, bias.dtype)
        hidden = _empty(len(rows), directions * size, rows.dtype)
        activity = Activity(*map(_array, (gates, cells, hidden, frames.previous)))
        weights = _weights(recurrent_weight.transpose(1, 2), bias, peepholes)
        orders = _orders(frames)
        _in_threads(
            partial(
                forward_pass, orders[share.direction], share, weights[share.direction], activity
            )
            for share in _shares(directions, frames)
        )
        ctx.frames = frames
        ctx.save_for_backward(
            rows, input_weight, recurrent_weight, bias, peepholes, gates, cells, hidden
        )
        return hidden

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_hidden: Tensor) -> tuple[Tensor | None, ...]:
        rows, input_weight, recurrent_weight, bias, peepholes, *saved = ctx.saved_tensors
        gates, cells, hidden = saved
        directions = len(recurrent_weight)
        shares = _shares(directions, ctx.frames)
        d_gates = _empty(len(gates), gates.shape[1], gates.dtype)
        d_bias = bias.new_zeros(len(shares), *bias.shape[1:])
        d_peepholes = bias.new_zeros(len(shares), *peepholes.shape[1:])
        activity = Activity(*map(_array, (gates, cells, hidden, ctx.frames.previous)))
        weights = _weights(recurrent_weight, bias, peepholes)
        orders = _orders(ctx.frames)
        d_hidden = d_hidden.contiguous()
        _in_threads(
            partial(
                backward_pass,
                orders[1 - share.direction],
                share,
                weights[share.direction],
                activity,
                Gradients(*map(_array, (d_hidden, d_gates, d_bias[index], d_peepholes[index]))),
            )
            for index, share in enumerate(shares)
        )
        d_rows = d_gates @ input_weight.flatten(0, 1) if ctx.needs_input_grad[1] else None
        return (
            None,
            d_rows,
            (d_gates.t() @ rows).view_as(input_weight),
            _recurrent_gradient(d_gates, hidden, ctx.frames, directions),
            d_bias.unflatten(0, (directions, -1)).sum(1),
            d_peepholes.unflatten(0, (directions, -1)).sum(1),
        )


def _recurrent_gradient(
    d_gates: Tensor, hidden: Tensor, frames: JoinedFrames, directions: int
) -> Tensor:
    """(D, 4H, H): the sum over all frames of gate gradient times state before."""
    products = []
    for d_gate, states, previous in zip(
        d_gates.chunk(directions, 1), hidden.chunk(directions, 1), frames.previous, strict=False
    ):
        before = states.index_select(0, previous.clamp(min=0))
        before[previous < 0] = 0
        products.append(d_gate.t() @ before)
    return torch.stack(products)


def _shares(directions: int, frames: JoinedFrames) -> list[Share]:
    """Work for the threads that torch would use, ordered by direction."""
    utterances = int(frames.num_rows[0]) if len(frames.num_rows) else 0
    groups = min(torch.get_num_threads() // directions, utterances // SMALLEST_SHARE)
    bounds = np.linspace(0, utterances, max(groups, 1) + 1).astype(int).tolist()
    return [
        Share(direction, first, stop)
        for direction in range(directions)
        for first, stop in pairwise(bounds)
    ]


def _in_threads(jobs: Iterable[Callable[[], None]]) -> None:
    """Do all jobs, in as many threads as torch would use. New threads: a fork cannot lose them."""
    jobs = list(jobs)
    workers = min(len(jobs), torch.get_num_threads())
    if workers == 1:
        for job in jobs:
            job()
        return
    with ThreadPoolExecutor(workers) as pool:
        for done in [pool.submit(job) for job in jobs]:
            done.result()


def _orders(frames: JoinedFrames) -> tuple[Steps, Steps]:
    """The steps from first to last, and from last to first."""
    steps = (frames.first_rows, frames.num_rows)
    return Steps(*map(_array, steps)), Steps(*(_array(step.flip(0)) for step in steps))


def _weights(matrices: Tensor, bias: Tensor, peepholes: Tensor) -> list[Weights]:
    return [
        Weights(_array(pack(matrix)), _array(vector), _array(diagonals))
        for matrix, vector, diagonals in zip(matrices, bias, peepholes, strict=True)
    ]


def _array(tensor: Tensor) -> NDArray[Any]:
    """The same memory as an array; bfloat16, which numpy does not know, as uint16."""
    tensor = tensor.detach()
    return (tensor.view(torch.uint16) if tensor.dtype == torch.bfloat16 else tensor).numpy()


def _empty(rows: int, columns: int, dtype: torch.dtype) -> Tensor:
    """Memory from numpy, which asks for large pages: a third of the time that touching it takes."""
    kinds = {torch.float32: np.float32, torch.float64: np.float64, torch.bfloat16: np.uint16}
    return torch.from_numpy(np.empty((rows, columns), kinds[dtype])).view(dtype)
