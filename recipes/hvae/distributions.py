"""The two kinds of distributions of the hierarchical VAE: of latent variables, and of pixels.

Latent variables are diagonal Gaussians. An intensity is one of 256 levels, v_k = k / 255, with the
probability softmax_k(-(mean - v_k)^2 / spread): a discrete Gaussian of variance spread / 2, which
is truncated, so that a mean below 0 says black and a mean above 1 says white.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

LEVELS = 256
SMALLEST_DEVIATION = 1e-3  # of a latent variable: its logarithm and its inverse stay finite
SMALLEST_SPREAD = 2.0 / 255**2  # of a pixel: a standard deviation of one level
FIRST_SPREAD = 0.1  # where networks begin
# Pixels whose levels are worked out together: as much as a cache holds, or fills a GPU.
AT_ONCE = 1024
AT_ONCE_ON_GPU = 1 << 18


@dataclass(frozen=True, slots=True)
class Gaussian:
    """N(mean, diag deviation^2); both are (B, …)."""

    mean: Tensor
    deviation: Tensor

    def at(self, noise: Tensor | float) -> Tensor:
        """A sample, where the noise is one of N(0, I): mean + deviation * noise."""
        return self.mean + self.deviation * noise


def deviation_of(raw: Tensor) -> Tensor:
    """A positive deviation of what a network gives, 1 where that is 0 (up to the smallest)."""
    return SMALLEST_DEVIATION + F.softplus(raw + math.log(math.e - 1.0))


def kl_divergence(q: Gaussian, p: Gaussian) -> Tensor:
    """KL(q || p) in nats, summed over the dimensions: (B,).

    sum ln(s_p / s_q) + (s_q^2 + (m_q - m_p)^2) / (2 s_p^2) - 1/2.
    """
    ratio = q.deviation / p.deviation
    distance = (q.mean - p.mean) / p.deviation
    each = 0.5 * (ratio.square() + distance.square() - 1.0) - ratio.log()
    return each.flatten(1).sum(dim=1)


def merged(likelihood: Gaussian, prior: Gaussian) -> Gaussian:
    """Both, weighted by their precisions: their product, normalised.

    s_q^2 = 1 / (s^-2 + s_p^-2) and m_q = s_q^2 (m s^-2 + m_p s_p^-2) (Sønderby et al. 2016,
    "Ladder variational autoencoders").
    """
    own, given = likelihood.deviation.pow(-2), prior.deviation.pow(-2)
    variance = 1.0 / (own + given)
    return Gaussian(variance * (likelihood.mean * own + prior.mean * given), variance.sqrt())


@dataclass(frozen=True, slots=True)
class Intensities:
    """Independent truncated discrete Gaussians of pixels; `mean` and `spread` are (B, C, H, W)."""

    mean: Tensor
    spread: Tensor

    def negative_log_likelihood(self, images: Tensor) -> Tensor:
        """-ln p of images (B, C, H, W) whose intensities are levels, summed over them: (B,)."""
        logits = -(self.mean - images).square() / self.spread
        return (log_normaliser(self.mean, self.spread) - logits).flatten(1).sum(dim=1)

    @torch.no_grad()
    def expected(self) -> Tensor:
        """The expected intensities (B, C, H, W), in 0 … 1."""
        return _moments(self.mean, self.spread)[1]


def spread_of(raw: Tensor) -> Tensor:
    """A positive spread of what a network gives, `FIRST_SPREAD` where that is 0."""
    return SMALLEST_SPREAD + F.softplus(raw + math.log(math.expm1(FIRST_SPREAD)))


def log_normaliser(mean: Tensor, spread: Tensor) -> Tensor:
    """The log of sum_k exp(-(mean - v_k)^2 / spread), of the shape of both."""
    normaliser: Tensor = _LogNormaliser.apply(mean, spread)  # type: ignore[no-untyped-call]
    return normaliser


class _LogNormaliser(torch.autograd.Function):
    """Its derivatives are moments of v, so that nothing of the size of all levels is kept."""

    @staticmethod
    def forward(ctx: Any, mean: Tensor, spread: Tensor) -> Tensor:
        normaliser, expected, squares = _moments(mean, spread)
        ctx.save_for_backward(2.0 * (expected - mean) / spread, squares / spread.square())
        return normaliser

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outgoing: Tensor) -> tuple[Tensor, Tensor]:
        by_mean, by_spread = ctx.saved_tensors
        return outgoing * by_mean, outgoing * by_spread


def _moments(mean: Tensor, spread: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The log of the normaliser, E[v] and E[(v - mean)^2], each of the shape of `mean`."""
    levels = torch.arange(LEVELS, device=mean.device, dtype=mean.dtype) / (LEVELS - 1)
    powers = torch.stack([torch.ones_like(levels), levels], dim=1)
    nearest = (mean * (LEVELS - 1)).round().clamp(0, LEVELS - 1) / (LEVELS - 1)
    largest = -(mean - nearest).square() / spread  # without it all exponentials may become 0
    at_once = AT_ONCE if mean.device.type == "cpu" else AT_ONCE_ON_GPU
    rows = torch.stack([mean, spread, largest], dim=-1).view(-1, 3)
    sums, squares = [], []
    for begin in range(0, len(rows), at_once):
        middle, width, top = rows[begin : begin + at_once, :, None].unbind(dim=1)
        distances = (middle - levels).square_()
        weights = (-distances).div_(width).sub_(top).exp_()
        sums.append(weights @ powers)
        squares.append(weights.mul_(distances).sum(dim=1))
    total, first = torch.cat(sums).unbind(dim=1)
    found = total.log() + largest.flatten(), first / total, torch.cat(squares) / total
    return found[0].view(mean.shape), found[1].view(mean.shape), found[2].view(mean.shape)
