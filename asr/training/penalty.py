"""Penalties on the size of the weights, as gradients: L2 and L1.

What is minimised is the loss plus `l2 / 2 * sum w^2 + l1 * sum |w|` over the weights. So a step of
plain descent with the rate eps takes `w` to `w (1 - eps l2) - eps l1 sign(w) - eps g`. Biases and
peepholes do not count: they are few, and a unit needs them to be where it works.

Reference: I. Goodfellow, Y. Bengio, A. Courville. Deep Learning. 2016, section 7.1.
"""

from collections.abc import Sequence

import torch
from torch import nn

# The last part of a parameter's name. Recurrent layers have them as matrices: one row a direction.
NO_WEIGHTS = ("bias", "peepholes")


def penalised(model: nn.Module) -> list[nn.Parameter]:
    """The trained weights of a model: its matrices, without biases and peepholes."""
    return [
        parameter
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
        and parameter.ndim > 1
        and name.rpartition(".")[2] not in NO_WEIGHTS
    ]


@torch.no_grad()
def add_penalty_gradients(weights: Sequence[nn.Parameter], *, l1: float, l2: float) -> None:
    """Add `l2 * w + l1 * sign(w)` to the gradient of each weight; sign(0) is 0."""
    for weight in weights:
        if weight.grad is None:  # the loss did not depend on it
            weight.grad = torch.zeros_like(weight)
        if l2:
            weight.grad.add_(weight, alpha=l2)
        if l1:
            weight.grad.add_(weight.sign(), alpha=l1)
