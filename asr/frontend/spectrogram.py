"""Power spectrogram of Graves & Jaitly.

Reference: A. Graves, N. Jaitly. Towards end-to-end speech recognition with recurrent neural
networks. ICML 2014. Input: matplotlib's `specgram` with 254-sample Fourier windows that overlap by
127 samples, 128 bins a frame. Whether they took logarithms is not stated; here it is a choice.
"""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from asr.frontend.framing import (
    FeatureConfig,
    num_frames,
    power_spectrum,
    zero_beyond,
)

# Added before the logarithm: digital silence stays finite, and little else is touched, since the
# rounding to 16 bits alone is 1e-14 per hertz. (1e-10 would hide half the bins of CMU AN4.)
DENSITY_FLOOR = 1e-14

Compress = Literal["log", "none"]


class SpectrogramConfig(FeatureConfig):
    """Power spectrogram; the defaults are those of Graves & Jaitly (2014)."""

    name: Literal["spectrogram"]
    window_samples: int = Field(default=254, ge=3)  # 15.9 ms at 16 kHz
    hop_samples: int = Field(default=127, ge=1)  # 7.9 ms at 16 kHz
    compress: Compress = "log"  # the logarithm of the power, or the power itself


class Spectrogram(nn.Module):
    """One-sided power spectral density, equal to `matplotlib.mlab.specgram`.

    Args:
        sample_rate: samples per second that the waveforms must have.
        window: samples in a frame, weighted by a symmetric Hann window.
        hop: samples from the start of a frame to the start of the next.
        compress: the logarithm of the density, or the density itself.

    Attributes:
        num_bins: features in a frame, window // 2 + 1.
        num_blocks: 1, the bins are one run of frequencies.
    """

    weights: Tensor
    scale: Tensor

    def __init__(
        self,
        *,
        sample_rate: int = 16000,
        window: int = 254,
        hop: int = 127,
        compress: Compress = "log",
    ) -> None:
        super().__init__()
        self.sample_rate = sample_rate
        self.window = window
        self.hop = hop
        self.compress = compress
        self.num_bins = window // 2 + 1
        self.num_blocks = 1
        weights = torch.hann_window(window, periodic=False, dtype=torch.float64)
        self.register_buffer("weights", weights.float(), persistent=False)
        self.register_buffer("scale", _density_scale(weights, sample_rate), persistent=False)

    def forward(self, waveforms: Tensor, waveform_lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Power per hertz, or its logarithm.

        Args:
            waveforms: (B, N) float32 samples in -1 … 1.
            waveform_lengths: (B,) int64, samples in each utterance.

        Returns:
            (B, T, F) features, zero beyond each length, and their (B,) lengths in frames.
        """
        feature_lengths = num_frames(waveform_lengths, self.window, self.hop)
        features = power_spectrum(waveforms, self.weights, self.window, self.hop) * self.scale
        if self.compress == "log":
            features = (features + DENSITY_FLOOR).log()
        return zero_beyond(features, feature_lengths), feature_lengths


def _density_scale(weights: Tensor, sample_rate: int) -> Tensor:
    """(F,) factors from |Fourier coefficient|² to power per hertz of both signs of frequency."""
    window = len(weights)
    scale = torch.full((window // 2 + 1,), 2.0, dtype=torch.float64)
    scale[0] = 1.0
    if window % 2 == 0:
        scale[-1] = 1.0  # half the sample rate is its own mirror image
    return (scale / (sample_rate * weights.square().sum())).float()
