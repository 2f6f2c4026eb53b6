"""The recurrence of an LSTM with peepholes over a padded batch, on any device.

The gradient is written by hand: autograd would triple the number of operations and keep every
intermediate. The steps are those of `peephole_triton` on a GPU that takes it, else plain torch for
both directions together, written into place. The equations are those of `peephole_kernel`.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable


def peephole_recurrence(projected: Tensor, recurrent: Tensor, peepholes: Tensor) -> Tensor:
    """Hidden states (D, T, B, H) of D directions, each from left to right.

    Args:
        projected: (D, T, B, 4H) products with the inputs and bias; float16 and bfloat16 are taken
            to float32, and the result back.
        recurrent: (D, 4H, H).
        peepholes: (D, 3, H) of the input, forget and output gate.
    """
    kind = torch.float64 if projected.dtype == torch.float64 else torch.float32
    with torch.autocast(projected.device.type, enabled=False):
        operands = (projected.to(kind), recurrent.to(kind), peepholes.to(kind))
        hidden = _Recurrence.apply(*operands)  # type: ignore[no-untyped-call]
    return hidden.to(projected.dtype)  # type: ignore[no-any-return]


class _Recurrence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, projected: Tensor, recurrent: Tensor, peepholes: Tensor) -> Tensor:
        gates = projected.clone(memory_format=torch.contiguous_format)
        hidden = gates.new_empty(*gates.shape[:3], recurrent.shape[2])
        cells = torch.empty_like(hidden)
        forward, ctx.backward_pass = _passes(projected, recurrent)
        forward(gates, hidden, cells, recurrent, peepholes)
        ctx.save_for_backward(recurrent, peepholes, gates, cells, hidden)
        return hidden

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        recurrent, peepholes, gates, cells, hidden = ctx.saved_tensors
        d_gates = torch.empty_like(gates)
        ctx.backward_pass(gradient.contiguous(), d_gates, gates, cells, recurrent, peepholes)
        before, previous = _shifted(hidden).flatten(1, 2), _shifted(cells)
        d_recurrent = d_gates.flatten(1, 2).transpose(1, 2) @ before
        d_i, d_f, _, d_o = d_gates.chunk(4, dim=3)
        sums = [
            (d_i * previous).sum((1, 2)),
            (d_f * previous).sum((1, 2)),
            (d_o * cells).sum((1, 2)),
        ]
        return d_gates, d_recurrent, torch.stack(sums, dim=1)


def _passes(projected: Tensor, recurrent: Tensor) -> tuple[Callable[..., None], ...]:
    """Both ways through all steps, by the fastest that takes these operands."""
    if projected.device.type == "cuda" and projected.dtype == torch.float32:
        with suppress(ImportError):  # Triton comes with torch on Linux
            from asr.models import peephole_triton

            if peephole_triton.fits(projected.device, len(recurrent), recurrent.shape[2]):
                return peephole_triton.forward_pass, peephole_triton.backward_pass
    return forward_pass, backward_pass


def forward_pass(
    gates: Tensor, hidden: Tensor, cells: Tensor, recurrent: Tensor, peepholes: Tensor
) -> None:
    """Fill `hidden` and `cells`, and turn `gates` from sums into activations.

    Args:
        gates: (D, T, B, 4H) contiguous products with the inputs and bias.
        hidden: (D, T, B, H), to be written.
        cells: (D, T, B, H), to be written.
        recurrent: (D, 4H, H).
        peepholes: (D, 3, H).
    """
    directions, num_frames, batch, size = hidden.shape
    cell = hidden.new_zeros(directions, batch, size)
    peep_in, peep_out = peepholes[:, None, :2], peepholes[:, None, 2]
    for t in range(num_frames):
        if t:
            gates[:, t].baddbmm_(hidden[:, t - 1], recurrent.transpose(1, 2))
        split = gates[:, t].view(directions, batch, 4, size)
        split[:, :, :2].addcmul_(cell.unsqueeze(2), peep_in).sigmoid_()
        split[:, :, 2].tanh_()
        i, f, g, o = split.unbind(2)
        cell = torch.mul(f, cell, out=cells[:, t]).addcmul_(i, g)
        o.addcmul_(cell, peep_out).sigmoid_()
        torch.mul(o, torch.tanh(cell), out=hidden[:, t])


def backward_pass(
    gradient: Tensor,
    d_gates: Tensor,
    gates: Tensor,
    cells: Tensor,
    recurrent: Tensor,
    peepholes: Tensor,
) -> None:
    """Fill `d_gates`, (D, T, B, 4H), from the contiguous (D, T, B, H) gradient of `hidden`."""
    previous = _shifted(cells)
    d_cell = torch.zeros_like(peepholes[:, :1])
    for t in reversed(range(gates.shape[1])):
        d_hidden = gradient[:, t]
        if t + 1 < gates.shape[1]:
            d_hidden = torch.baddbmm(d_hidden, d_gates[:, t + 1], recurrent)
        step = (gates[:, t], cells[:, t], previous[:, t])
        d_gates[:, t], d_cell = _step_gradient(d_hidden, d_cell, step, peepholes)


def _shifted(states: Tensor) -> Tensor:
    """(D, T, B, H) one step later: what was before each step."""
    return F.pad(states, (0, 0, 0, 0, 1, 0))[:, :-1]


def _step_gradient(
    d_hidden: Tensor, d_cell: Tensor, step: tuple[Tensor, Tensor, Tensor], peepholes: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of a step's gates (D, B, 4H) and of the cell before (D, B, H)."""
    gates, cell, previous = step
    i, f, g, o = gates.chunk(4, dim=2)
    peep_i, peep_f, peep_o = peepholes.unsqueeze(2).unbind(1)
    squashed = torch.tanh(cell)
    d_o = d_hidden * squashed * o * (1 - o)
    d_cell = d_cell + d_hidden * o * (1 - squashed * squashed) + d_o * peep_o
    d_i = d_cell * g * i * (1 - i)
    d_f = d_cell * previous * f * (1 - f)
    d_g = d_cell * i * (1 - g * g)
    return torch.cat((d_i, d_f, d_g, d_o), dim=2), d_cell * f + d_i * peep_i + d_f * peep_f
