"""Mel filter banks: log-mel energies, and the filter bank with energy and derivatives.

Reference: A. Graves, A. Mohamed, G. Hinton. Speech recognition with deep recurrent neural networks.
ICASSP 2013. Input: 40 mel filters and the energy, with first and second derivatives: 123 numbers a
frame. Window and pre-emphasis are not stated there; A. Graves (2012) has 25 ms Hamming every 10 ms.
"""

import warnings
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor, nn

from asr.errors import ConfigError
from asr.frontend.framing import (
    FeatureConfig,
    num_frames,
    power_spectrum,
    zero_beyond,
)

WindowShape = Literal["hann", "hamming"]

# Added before the logarithm: digital silence stays finite, and nothing else is touched, since the
# rounding to 16 bits alone puts 1e-8 into every bin of a 25 ms window.
ENERGY_FLOOR = 1e-10
DELTA_REACH = 2  # frames to each side that a derivative is fitted to


class MelConfig(FeatureConfig):
    """What the front ends built on mel filters have in common."""

    window_seconds: float = Field(default=0.025, ge=0.001, le=1)  # length of a frame
    hop_seconds: float = Field(default=0.01, ge=0.001, le=1)  # from frame to frame
    low_frequency: float = Field(default=20.0, ge=0)  # Hz, where the lowest filter begins
    # Hz, where the highest filter ends; none = half the sample rate
    high_frequency: float | None = None

    @field_validator("high_frequency")
    @classmethod
    def _in_band(cls, value: float | None, info: ValidationInfo) -> float | None:
        low, rate = info.data.get("low_frequency", 0.0), info.data.get("sample_rate", 0)
        if value is not None and rate and not low < value <= rate / 2:
            raise ValueError(f"above low_frequency ({low:g}) and at most {rate / 2:g} Hz")
        return value


class LogMelConfig(MelConfig):
    """Logarithms of mel filter energies."""

    name: Literal["log_mel"]
    num_mels: int = Field(default=80, ge=1)  # filters


class FilterBankConfig(MelConfig):
    """Mel filters, log energy and derivatives; defaults as in Graves et al. (2013), 123 bins."""

    name: Literal["filter_bank"]
    num_mels: int = Field(default=40, ge=1)  # filters
    preemphasis: float = Field(default=0.97, ge=0, le=1)  # share of the last sample subtracted
    deltas: int = Field(default=2, ge=0, le=3)  # 1: slopes too, 2: and their slopes


class LogMel(nn.Module):
    """Natural logarithm of the energy in triangular filters, evenly spaced on the mel scale.

    The mel scale is 2595 log10(1 + f / 700); a filter's peak is 1, its energy is the weighted sum
    of |X|² at a Fourier transform of the window filled up to a power of two.

    Args:
        sample_rate: samples per second that the waveforms must have.
        num_mels: filters.
        window_seconds: length of a frame, rounded to samples.
        hop_seconds: from the start of a frame to the start of the next, rounded to samples.
        low_frequency: hertz where the lowest filter begins.
        high_frequency: hertz where the highest filter ends; None is half the sample rate.
        window_shape: weighting of a frame, symmetric.

    Attributes:
        window: samples in a frame.
        hop: samples from the start of a frame to the start of the next.
        num_bins: features in a frame.
        num_blocks: 1, the bins are one run of frequencies.

    Raises:
        ConfigError: a filter so narrow that no bin of the Fourier transform lies in it.
    """

    weights: Tensor
    filters: Tensor

    def __init__(
        self,
        *,
        sample_rate: int = 16000,
        num_mels: int = 80,
        window_seconds: float = 0.025,
        hop_seconds: float = 0.01,
        low_frequency: float = 20.0,
        high_frequency: float | None = None,
        window_shape: WindowShape = "hann",
    ) -> None:
        super().__init__()
        self.sample_rate = sample_rate
        self.window = round(window_seconds * sample_rate)
        self.hop = round(hop_seconds * sample_rate)
        self.num_bins = num_mels
        self.num_blocks = 1
        fft_size = 1 << (self.window - 1).bit_length()
        shape = torch.hann_window if window_shape == "hann" else torch.hamming_window
        weights = F.pad(shape(self.window, periodic=False), (0, fft_size - self.window))
        top = sample_rate / 2 if high_frequency is None else high_frequency
        filters = mel_filters(num_mels, (low_frequency, top), fft_size, sample_rate)
        self.register_buffer("weights", weights, persistent=False)
        self.register_buffer("filters", filters, persistent=False)

    def forward(self, waveforms: Tensor, waveform_lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Log energies.

        Args:
            waveforms: (B, N) float32 samples in -1 … 1.
            waveform_lengths: (B,) int64, samples in each utterance.

        Returns:
            (B, T, num_mels) features, zero beyond each length, and their (B,) lengths in frames.
        """
        feature_lengths = num_frames(waveform_lengths, self.window, self.hop)
        power = power_spectrum(waveforms, self.weights, self.window, self.hop)
        features = (power @ self.filters + ENERGY_FLOOR).log()
        return zero_beyond(features, feature_lengths), feature_lengths


class FilterBank(nn.Module):
    """Log-mel energies and the frame's log energy, followed by their derivatives.

    Args:
        mel: the filters; its window is usually "hamming" here.
        preemphasis: share of the sample before that is subtracted before the filters.
        deltas: how often derivatives are taken, 0 … 3.

    Attributes:
        sample_rate: samples per second that the waveforms must have.
        window: samples in a frame.
        hop: samples from the start of a frame to the start of the next.
        num_bins: features in a frame, (num_mels + 1) (deltas + 1).
        num_blocks: deltas + 1 runs of (num_mels + 1) bins.
    """

    def __init__(self, mel: LogMel, *, preemphasis: float = 0.97, deltas: int = 2) -> None:
        super().__init__()
        self.mel = mel
        self.preemphasis = preemphasis
        self.sample_rate = mel.sample_rate
        self.window = mel.window
        self.hop = mel.hop
        self.num_blocks = deltas + 1
        self.num_bins = (mel.num_bins + 1) * self.num_blocks

    def forward(self, waveforms: Tensor, waveform_lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Filter bank features; the energy is that of the unweighted frame without pre-emphasis.

        Args:
            waveforms: (B, N) float32 samples in -1 … 1.
            waveform_lengths: (B,) int64, samples in each utterance.

        Returns:
            (B, T, F) features, zero beyond each length, and their (B,) lengths in frames.
        """
        emphasised = emphasise(waveforms, self.preemphasis)
        log_mel, feature_lengths = self.mel(emphasised, waveform_lengths)
        energy = frame_energy(waveforms, self.window, self.hop)
        features = torch.cat([log_mel, (energy + ENERGY_FLOOR).log()[..., None]], dim=-1)
        return with_deltas(features, feature_lengths, self.num_blocks - 1), feature_lengths


def mel_filters(
    num_mels: int, band: tuple[float, float], fft_size: int, sample_rate: int
) -> Tensor:
    """(fft_size // 2 + 1, num_mels) weights of triangular filters between the hertz of `band`.

    Raises:
        ConfigError: the band is empty or outside 0 … sample_rate / 2, or a filter holds no bin.
    """
    from torchaudio.functional import melscale_fbanks

    low, high = band
    if not 0 <= low < high <= sample_rate / 2:
        raise ConfigError(
            f"mel filters from {low:g} to {high:g} Hz: the band must lie within 0 and "
            f"{sample_rate / 2:g} Hz, half the sample rate; change low_frequency or high_frequency"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its warning of empty filters is the error below
        filters: Tensor = melscale_fbanks(fft_size // 2 + 1, low, high, num_mels, sample_rate)
    empty = int((filters.amax(dim=0) <= 0).sum())
    if empty:
        raise ConfigError(
            f"num_mels = {num_mels}: {empty} filters are narrower than the "
            f"{sample_rate / fft_size:g} Hz between bins of the Fourier transform and would always "
            "be silent; lower num_mels or raise window_seconds"
        )
    return filters


def emphasise(waveforms: Tensor, share: float) -> Tensor:
    """x[n] - share x[n-1] of (B, N) waveforms, with x[-1] = 0: utterances begin in silence."""
    return waveforms - share * F.pad(waveforms, (1, 0))[:, :-1]


def frame_energy(waveforms: Tensor, window: int, hop: int) -> Tensor:
    """(B, T) sums of squares over the frames of (B, N) waveforms."""
    if waveforms.shape[1] < window:
        return waveforms.new_zeros(waveforms.shape[0], 0)
    return waveforms.square().unfold(1, window, hop).sum(dim=-1)


def with_deltas(features: Tensor, feature_lengths: Tensor, order: int) -> Tensor:
    """Features followed by their first … `order`-th derivatives.

    Args:
        features: (B, T, F).
        feature_lengths: (B,) int64, frames in each utterance.
        order: derivatives taken, 0 or more.

    Returns:
        (B, T, F (order + 1)), zero beyond each length.
    """
    blocks = [features]
    for _ in range(order):
        blocks.append(deltas(blocks[-1], feature_lengths))
    return zero_beyond(torch.cat(blocks, dim=-1), feature_lengths)


def deltas(features: Tensor, feature_lengths: Tensor) -> Tensor:
    """Slope of a line fitted to five frames: sum over n = 1, 2 of n (c[t+n] - c[t-n]) / 10.

    Before the first and after the last frame of each utterance that frame is repeated, as
    `torchaudio.functional.compute_deltas` does at the ends of the tensor.

    Args:
        features: (B, T, F).
        feature_lengths: (B,) int64, frames in each utterance.

    Returns:
        (B, T, F), meaningless beyond each length.
    """
    frames = features.shape[1]
    if frames == 0:
        return features
    last = (feature_lengths - 1).clamp(min=0)[:, None]
    around = torch.arange(-DELTA_REACH, frames + DELTA_REACH, device=features.device).clamp(min=0)
    index = torch.minimum(around, last)  # (B, T + 4)
    extended = features.gather(1, index[..., None].expand(-1, -1, features.shape[2]))
    slope = torch.zeros_like(features)
    for n in range(1, DELTA_REACH + 1):
        after = extended[:, DELTA_REACH + n :][:, :frames]
        before = extended[:, DELTA_REACH - n :][:, :frames]
        slope = slope + n * (after - before)
    return slope / (2 * sum(n * n for n in range(1, DELTA_REACH + 1)))
