"""The equations of every cell, one utterance and one frame at a time, differentiated by torch."""

import torch
from torch import Tensor

from asr.models.lstm import RecurrentStack


def reference(stack: RecurrentStack, features: Tensor, lengths: list[int]) -> Tensor:
    """What the stack should give for (B, T, F), utterance by utterance."""
    rows = []
    for utterance, length in zip(features, lengths, strict=True):
        encoded = list(utterance[:length])
        for layer in stack.layers:
            outputs = [run(layer, 0, encoded)]
            if len(layer.bias) == 2:
                outputs.append(run(layer, 1, encoded[::-1])[::-1])
            encoded = [torch.cat(states) for states in zip(*outputs, strict=True)]
        padding = features.new_zeros(features.shape[1] - length, stack.output_size)
        rows.append(torch.cat([torch.stack(encoded), padding]) if encoded else padding)
    return torch.stack(rows)


def run(layer, direction: int, inputs: list[Tensor]) -> list[Tensor]:
    steps = {"lstm": lstm, "peephole": lstm, "gru": gru, "tanh": tanh, "leaky": leaky(layer.leak)}
    step = steps[layer.cell]
    size = layer.recurrent_weight.shape[2]
    hidden = cell = layer.bias.new_zeros(size)
    weights = layer.input_weight[direction], layer.recurrent_weight[direction]
    peepholes = layer.bias.new_zeros(3, size)
    if layer.peepholes is not None:
        peepholes = layer.peepholes[direction]
    outputs = []
    for x in inputs:
        own = weights[0] @ x + layer.bias[direction]
        hidden, cell = step(own, weights[1] @ hidden, hidden, cell, peepholes)
        outputs.append(hidden)
    return outputs


def lstm(own, recurrent, hidden, c, peepholes):
    a_i, a_f, a_c, a_o = (own + recurrent).chunk(4)
    w_ci, w_cf, w_co = peepholes
    i = torch.sigmoid(a_i + w_ci * c)
    f = torch.sigmoid(a_f + w_cf * c)
    c = f * c + i * torch.tanh(a_c)
    o = torch.sigmoid(a_o + w_co * c)
    return o * torch.tanh(c), c


def gru(own, recurrent, hidden, cell, peepholes):
    (x_r, x_z, x_n), (h_r, h_z, h_n) = own.chunk(3), recurrent.chunk(3)
    r, z = torch.sigmoid(x_r + h_r), torch.sigmoid(x_z + h_z)
    return z * hidden + (1 - z) * torch.tanh(x_n + r * h_n), cell


def tanh(own, recurrent, hidden, cell, peepholes):
    return torch.tanh(own + recurrent), cell


def leaky(leak: float):
    def step(own, recurrent, hidden, cell, peepholes):
        return leak * hidden + (1 - leak) * torch.tanh(own + recurrent), cell

    return step
