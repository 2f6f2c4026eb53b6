"""Batch normalisation of frames: over the real ones of a batch, never over padding.

`y = (x - mean) / sqrt(variance + 1e-8) * scale + shift`, for each unit by itself; it does not
decorrelate them. In training mean and variance are those of all real frames of the batch, so what
an utterance gets depends on what it is batched with; in evaluation they are running means, and it
does not. No bias is left out before it: what it gets here has been through a non-linearity.

Reference: S. Ioffe, C. Szegedy. Batch normalization. 2015. Between recurrent layers: C. Laurent et
al. Batch normalized recurrent neural networks. 2016.
"""

import torch
from torch import Tensor, nn

EPSILON = 1e-8
MOMENTUM = 0.1  # share of the newest batch in the running means, as torch has it


class FrameBatchNorm(nn.Module):
    """As torch's `BatchNorm1d` on the real frames alone, and with no frame at all.

    Args:
        size: F, units of a frame.
    """

    running_mean: Tensor
    running_variance: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(size))
        self.shift = nn.Parameter(torch.zeros(size))
        self.register_buffer("running_mean", torch.zeros(size))
        self.register_buffer("running_variance", torch.ones(size))

    def forward(self, encoded: Tensor, real: Tensor) -> Tensor:
        """The frames normalised, zero where they are not real; in the type that came.

        Args:
            encoded: (…, F); what is in the padding has no effect. Half precision is taken to
                float32 and the result back.
            real: (…, 1) bool, which frames are no padding.
        """
        kind = torch.float64 if encoded.dtype == torch.float64 else torch.float32
        values = torch.where(real, encoded, 0).to(kind)
        if self.training:
            mean, variance = self._measure(values, real)
        else:
            mean, variance = self.running_mean, self.running_variance
        factor = self.scale * torch.rsqrt(variance + EPSILON)
        normalised = (values - mean) * factor + self.shift
        return torch.where(real, normalised, 0).to(encoded.dtype)

    def _measure(self, values: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance (F,) of the real frames; the running means take their share of them."""
        frames = real.sum()
        axes = tuple(range(values.ndim - 1))
        mean = values.sum(axes) / frames.clamp(min=1)
        squares = torch.where(real, values - mean, 0).square().sum(axes)
        with torch.no_grad():
            share = MOMENTUM * (frames > 0).to(self.running_mean.dtype)
            unbiased = squares / (frames - 1).clamp(min=1)
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
            self.running_variance.lerp_(unbiased.to(self.running_variance.dtype), share)
        return mean, squares / frames.clamp(min=1)
