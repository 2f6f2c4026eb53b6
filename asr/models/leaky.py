"""The recurrence of leaky units in plain torch, on any device.

`h_t = alpha h_{t-1} + (1 - alpha) tanh(W h_{t-1} + U x_t + b)`: a plain recurrent unit that keeps
the share alpha of what it was. Along the kept share a gradient falls by alpha a step, however the
weights are; with alpha 0 it is the plain unit.

Reference: I. Goodfellow, Y. Bengio, A. Courville. Deep Learning. 2016, section 10.9.2. H. Jaeger
et al. Optimization and applications of echo state networks with leaky-integrator neurons. 2007.
"""

import torch
from torch import Tensor


def leaky_step(projected: Tensor, hidden: Tensor, recurrent: Tensor, leak: float) -> Tensor:
    """The states after a step.

    Args:
        projected: (D, B, H) products with the inputs and bias.
        hidden: (D, B, H) the states before it.
        recurrent: (D, H, H).
        leak: alpha, the share of the state that is kept.
    """
    new = torch.tanh(torch.baddbmm(projected, hidden, recurrent.transpose(1, 2)))
    return leak * hidden + (1 - leak) * new


def leaky_recurrence(projected: Tensor, recurrent: Tensor, leak: float) -> Tensor:
    """Hidden states (D, T, B, H) of D directions, each from left to right.

    Args:
        projected: (D, T, B, H) products with the inputs and bias; float16 and bfloat16 are taken
            to float32, and the result back.
        recurrent: (D, H, H).
        leak: alpha, the share of the state that is kept.
    """
    kind = torch.float64 if projected.dtype == torch.float64 else torch.float32
    with torch.autocast(projected.device.type, enabled=False):
        inputs, weight = projected.to(kind), recurrent.to(kind)
        hidden = torch.zeros_like(inputs[:, 0]) if inputs.shape[1] else inputs.new_zeros(0)
        states = []
        for step in inputs.unbind(1):
            hidden = leaky_step(step, hidden, weight, leak)
            states.append(hidden)
        outputs = torch.stack(states, dim=1) if states else inputs
    return outputs.to(projected.dtype)
