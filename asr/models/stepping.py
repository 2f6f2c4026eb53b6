"""A recurrent stack one step at a time, for whoever chooses the next input by the last output.

The equations are those of the stack's layers; many sequences go side by side, each with a state of
its own, so that sequences may part and join between any two steps.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from asr.models.leaky import leaky_step
from asr.models.lstm import RecurrentStack
from asr.models.weights import Cell, LayerWeights


def start_states(stack: RecurrentStack, batch: int) -> Tensor:
    """The states (K, L, P, H) before the first step of K = `batch` sequences: zeros.

    L layers; P is 2 for cells that have a memory (what is put out, and the memory), else 1.

    Raises:
        ValueError: the stack also reads from right to left.
    """
    weights = _layers(stack)
    parts = 2 if stack.cell in ("lstm", "peephole") else 1
    return weights[0].bias.new_zeros(batch, len(weights), parts, stack.output_size)


def step(stack: RecurrentStack, inputs: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
    """One step of each sequence, without dropout.

    Args:
        stack: reads from left to right only.
        inputs: (K, F).
        states: (K, L, P, H) from `start_states` or `step`.

    Returns:
        What the top layer gives (K, H), and the states after the step.
    """
    after = []
    for weights, state in zip(_layers(stack), states.unbind(1), strict=True):
        after.append(_STEPS[weights.cell](inputs, state, weights))
        inputs = after[-1][:, 0]
    return inputs, torch.stack(after, dim=1)


def _layers(stack: RecurrentStack) -> list[LayerWeights]:
    layers = [layer.weights() for layer in stack.layers]  # type: ignore[operator]
    if len(layers[0].bias) != 1:
        raise ValueError("a stack that also reads from right to left has no next step")
    return layers


def _lstm(inputs: Tensor, state: Tensor, weights: LayerWeights) -> Tensor:
    """With or without peepholes; gates in the order input, forget, cell, output."""
    hidden, cell = state.unbind(1)
    gates = torch.addmm(_projected(inputs, weights), hidden, weights.recurrent[0].t())
    i, f, g, o = gates.chunk(4, dim=1)
    if weights.peepholes is not None:
        peep_i, peep_f, peep_o = weights.peepholes[0]
        i, f = i + peep_i * cell, f + peep_f * cell
    cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
    if weights.peepholes is not None:
        o = o + peep_o * cell
    return torch.stack((torch.sigmoid(o) * torch.tanh(cell), cell), dim=1)


def _gru(inputs: Tensor, state: Tensor, weights: LayerWeights) -> Tensor:
    """The reset gate applies after the matrix product."""
    hidden = state[:, 0]
    x_r, x_z, x_n = _projected(inputs, weights).chunk(3, dim=1)
    h_r, h_z, h_n = (hidden @ weights.recurrent[0].t()).chunk(3, dim=1)
    update = torch.sigmoid(x_z + h_z)
    new = torch.tanh(x_n + torch.sigmoid(x_r + h_r) * h_n)
    return (update * hidden + (1 - update) * new).unsqueeze(1)


def _tanh(inputs: Tensor, state: Tensor, weights: LayerWeights) -> Tensor:
    own = _projected(inputs, weights)
    return torch.addmm(own, state[:, 0], weights.recurrent[0].t()).tanh().unsqueeze(1)


def _leaky(inputs: Tensor, state: Tensor, weights: LayerWeights) -> Tensor:
    own, hidden = _projected(inputs, weights), state[:, 0]
    return leaky_step(own[None], hidden[None], weights.recurrent, weights.leak).transpose(0, 1)


def _projected(inputs: Tensor, weights: LayerWeights) -> Tensor:
    return F.linear(inputs, weights.input[0], weights.bias[0])


_STEPS: dict[Cell, Callable[[Tensor, Tensor, LayerWeights], Tensor]] = {
    "lstm": _lstm,
    "peephole": _lstm,
    "gru": _gru,
    "tanh": _tanh,
    "leaky": _leaky,
}
