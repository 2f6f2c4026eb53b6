"""Gaussian weight noise that is really on the weights (Graves, Mohamed & Hinton 2013)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def weight_noise(parameters: Sequence[nn.Parameter], deviation: float) -> Iterator[None]:
    """Inside, the weights are `W + deviation * eps`; outside, the clean weights, to the bit.

    One draw from torch's global generator holds for the whole block, so for every frame of every
    sequence of a batch; gradients computed inside belong to the noisy weights, and the optimiser
    applies them to the clean ones. Deviation 0 touches nothing.
    """
    if deviation == 0:
        yield
        return
    clean: list[Tensor] = [parameter.detach().clone() for parameter in parameters]
    with torch.no_grad():
        for parameter in parameters:
            parameter.add_(torch.randn_like(parameter), alpha=deviation)
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, weights in zip(parameters, clean, strict=True):
                parameter.copy_(weights)
