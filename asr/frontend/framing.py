"""What every front end shares: its config fields, the cutting into frames, the zeros in padding.

A frame is `window` neighbouring samples; the next one starts `hop` samples later. There is no
centring and no padding: each frame lies inside its utterance, so an utterance has the same features
alone and in a padded batch.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from asr.config import Config

Normalize = Literal["utterance", "training_set", "none"]


class FeatureConfig(Config):
    """What the recipe of every front end has in common."""

    # samples per second; audio of another rate is resampled to it when it is read
    sample_rate: int = Field(default=16000, ge=4000, le=192000)
    # neighbouring frames joined into one: the model then runs that many times less often
    stack: int = Field(default=1, ge=1, le=32)
    # over what mean and variance are taken: one utterance (removes the channel too) or all
    normalize: Normalize = "utterance"


def num_frames(num_samples: Tensor, window: int, hop: int) -> Tensor:
    """How many frames lie wholly inside utterances of `num_samples` samples.

    Args:
        num_samples: int64, any shape.
        window: samples in a frame.
        hop: samples from the start of a frame to the start of the next.

    Returns:
        int64 of the same shape; 0 where there are fewer samples than `window`.
    """
    return (torch.div(num_samples - window, hop, rounding_mode="floor") + 1).clamp(min=0)


def power_spectrum(waveforms: Tensor, weights: Tensor, window: int, hop: int) -> Tensor:
    """Squared magnitude of the Fourier transform of every frame that fits into the batch.

    Args:
        waveforms: (B, N) samples.
        weights: (fft_size,) window function, zero from position `window` on.
        window: samples in a frame, at most fft_size; the transform sees zeros after them.
        hop: samples from the start of a frame to the start of the next.

    Returns:
        (B, T, fft_size // 2 + 1); the last frames of a short utterance hold padding.
    """
    fft_size = len(weights)
    if waveforms.shape[1] < window:
        return waveforms.new_zeros(waveforms.shape[0], 0, fft_size // 2 + 1)
    # The frames are cut at the size of the transform: rfft(n=fft_size) would copy each once more.
    frames = F.pad(waveforms, (0, fft_size - window)).unfold(1, fft_size, hop)
    spectrum: Tensor = torch.fft.rfft(frames * weights)
    return spectrum.real.square() + spectrum.imag.square()


def zero_beyond(values: Tensor, lengths: Tensor) -> Tensor:
    """`values` (B, T, …) with zeros from position lengths[b] on, whatever stood there."""
    beyond = torch.arange(values.shape[1], device=values.device) >= lengths[:, None]
    return values.masked_fill(beyond.view(*beyond.shape, *[1] * (values.dim() - 2)), 0.0)
