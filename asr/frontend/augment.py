"""Training data varied without changing its words: masks, noise, speed, rooms.

`SpecAugment` and `add_noise` work on batches on any device; `change_speed` and `reverberate` on one
numpy waveform, before it is batched.

References: D. Park et al. SpecAugment. 2019, with time masks bounded by the utterance as in
SpecAugment on large scale datasets. 2020. T. Ko et al. Audio augmentation for speech recognition.
2015 (speed). C. Bishop. Training with noise is equivalent to Tikhonov regularization. 1995.
"""

import math

import numpy as np
import numpy.typing as npt
import soxr
import torch
from pydantic import Field, field_validator
from torch import Tensor, nn

from asr.config import Config
from asr.frontend.framing import zero_beyond

Waveform = npt.NDArray[np.float32]

# Noise is flat below this frequency (cycles per sample; 40 Hz at 16 kHz): brown noise would
# otherwise spend its power where nobody hears it.
FLAT_BELOW = 0.0025
EARLIEST_REFLECTION_SECONDS = 0.002


class AugmentConfig(Config):
    """How training data is varied. Frames are those of the extractor, before stacking."""

    time_masks: int = Field(default=2, ge=0)  # per utterance; 0 = none
    time_mask_frames: int = Field(default=40, ge=1)  # longest mask
    time_mask_fraction: float = Field(default=0.1, gt=0, le=1)  # longest mask, of the utterance
    frequency_masks: int = Field(default=2, ge=0)  # per utterance; 0 = none
    frequency_mask_bins: int = Field(default=15, ge=1)  # widest mask
    noise_probability: float = Field(default=0.0, ge=0, le=1)  # share of utterances with noise
    # dB of speech over noise, lowest and highest
    noise_snr_db: list[float] = Field(default=[10.0, 40.0])
    # one is drawn per utterance and epoch; 1.1 speaks a tenth faster and higher
    speed_factors: list[float] = Field(default=[1.0])
    # Deviation of Gaussian noise on every normalised feature. Left out when 0: other bundles and
    # run folders are as they were before there was any.
    input_noise: float = Field(default=0.0, ge=0, exclude_if=lambda value: value == 0)

    @field_validator("noise_snr_db")
    @classmethod
    def _low_and_high(cls, value: list[float]) -> list[float]:
        if len(value) != 2 or value[0] > value[1]:
            raise ValueError("two numbers, the lower one first")
        return value

    @field_validator("speed_factors")
    @classmethod
    def _sensible(cls, value: list[float]) -> list[float]:
        if not value or not all(0.5 <= factor <= 2 for factor in value):
            raise ValueError("one or more numbers in 0.5 … 2")
        return value


class SpecAugment(nn.Module):
    """Runs of frames and of bins set to zero, the mean of normalised features; only in training.

    There may be noise too, on all features that are not masked.

    Args:
        time_masks: runs of frames masked in each utterance.
        time_mask_frames: longest run.
        time_mask_fraction: longest run as a share of the utterance's own frames, rounded down.
        frequency_masks: runs of bins masked in each utterance.
        frequency_mask_bins: widest run.
        input_noise: deviation of the Gaussian noise, drawn for each feature of each real frame.
    """

    def __init__(
        self,
        *,
        time_masks: int = 2,
        time_mask_frames: int = 40,
        time_mask_fraction: float = 0.1,
        frequency_masks: int = 2,
        frequency_mask_bins: int = 15,
        input_noise: float = 0.0,
    ) -> None:
        super().__init__()
        self.time_masks = time_masks
        self.time_mask_frames = time_mask_frames
        self.time_mask_fraction = time_mask_fraction
        self.frequency_masks = frequency_masks
        self.frequency_mask_bins = frequency_mask_bins
        self.input_noise = input_noise

    def forward(
        self,
        features: Tensor,
        feature_lengths: Tensor,
        *,
        blocks: int = 1,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Features with masks and noise of their own for each utterance; in evaluation as they are.

        A width is uniform in 0 … longest, a start uniform where the whole mask lies inside the
        utterance. Masks are drawn on the generator's device (without one: the CPU, so that all
        devices mask alike), noise after them (without one: on the device of the features), as
        many numbers whatever the lengths.

        Args:
            features: (B, T, F), normalised, zero beyond each length.
            feature_lengths: (B,) int64, frames in each utterance.
            blocks: F is this many runs of the same frequencies (statics and derivatives); a
                frequency mask covers the same bins of each.
            generator: source of the draws; None is torch's global one.
        """
        if not self.training:
            return features
        batch, frames, bins = features.shape
        device = features.device
        longest = (feature_lengths.double() * self.time_mask_fraction).long()
        longest = longest.clamp(max=self.time_mask_frames)
        draws = _uniform((2, batch, self.time_masks), generator).to(device)
        in_time = _runs(draws, longest, feature_lengths, frames)
        bands = bins // blocks
        sizes = torch.full((batch,), bands, device=device)
        draws = _uniform((2, batch, self.frequency_masks), generator).to(device)
        in_frequency = _runs(draws, sizes.clamp(max=self.frequency_mask_bins), sizes, bands)
        real = torch.arange(frames, device=device) < feature_lengths[:, None]
        if self.input_noise:
            features = features + self._noise(features, generator) * real[:, :, None]
        masked = in_time[:, :, None] | in_frequency.repeat(1, blocks)[:, None, :]
        return features.masked_fill(masked & real[:, :, None], 0.0)

    def _noise(self, features: Tensor, generator: torch.Generator | None) -> Tensor:
        device = generator.device if generator is not None else features.device
        shape, dtype = features.shape, features.dtype
        noise = torch.randn(shape, generator=generator, device=device, dtype=dtype)
        return self.input_noise * noise.to(features.device)


def _uniform(shape: tuple[int, ...], generator: torch.Generator | None) -> Tensor:
    """Numbers in [0, 1). Float64, since a float32 near 1 times n can round up to n."""
    device = generator.device if generator is not None else torch.device("cpu")
    return torch.rand(shape, dtype=torch.float64, generator=generator, device=device)


def _runs(draws: Tensor, longest: Tensor, sizes: Tensor, positions: int) -> Tensor:
    """(B, positions) bool, true in any of each row's random runs.

    Args:
        draws: (2, B, M) uniform numbers for the widths and the starts of M runs.
        longest: (B,) largest width, at most sizes.
        sizes: (B,) positions of each row that runs may cover.
        positions: columns of the result.
    """
    widths = (draws[0] * (longest + 1)[:, None]).long()
    starts = (draws[1] * (sizes[:, None] - widths + 1)).long()
    position = torch.arange(positions, device=draws.device)
    after = position >= starts[..., None]
    before = position < (starts + widths)[..., None]
    return (after & before).any(dim=1)


def add_noise(
    waveforms: Tensor,
    waveform_lengths: Tensor,
    *,
    snr_db: tuple[float, float],
    probability: float = 1.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Waveforms with stationary Gaussian noise; silence stays silence, padding what it was.

    Each utterance draws its own colour (power falls as f^-s, s uniform in 0 … 2: white, pink,
    brown) and its own signal-to-noise ratio in decibels, uniform in `snr_db`. The ratio holds
    exactly over the utterance's samples.

    Args:
        waveforms: (B, N) samples.
        waveform_lengths: (B,) int64, samples in each utterance.
        snr_db: lowest and highest ratio; equal for a fixed one.
        probability: share of utterances that get noise.
        generator: source of the draws, on the device of `waveforms`; None is torch's global one.
    """
    batch, samples = waveforms.shape
    device = waveforms.device
    draws = torch.rand(3, batch, 1, generator=generator, device=device)
    noise = _coloured_noise(2 * draws[0], samples, generator).to(waveforms.dtype)
    noise = zero_beyond(noise, waveform_lengths)
    signal_power = zero_beyond(waveforms, waveform_lengths).square().sum(dim=1, keepdim=True)
    noise_power = noise.square().sum(dim=1, keepdim=True).clamp(min=torch.finfo(noise.dtype).tiny)
    ratio_db = snr_db[0] + (snr_db[1] - snr_db[0]) * draws[1]
    gain = (signal_power / noise_power).sqrt() * 10 ** (-ratio_db / 20)
    return waveforms + torch.where(draws[2] < probability, gain, 0.0) * noise


def _coloured_noise(slopes: Tensor, samples: int, generator: torch.Generator | None) -> Tensor:
    """(B, samples) Gaussian noise with power ∝ f^-slope, of arbitrary level, slopes (B, 1)."""
    size = 1 << max(1, (samples - 1).bit_length())  # powers of two transform fast
    frequency = torch.fft.rfftfreq(size, device=slopes.device).clamp(min=FLAT_BELOW)
    shape = (len(slopes), len(frequency), 2)
    white = torch.randn(shape, generator=generator, device=slopes.device)
    spectrum = torch.view_as_complex(white) * frequency ** (-slopes / 2)
    spectrum[:, 0] = 0.0  # no offset
    noise: Tensor = torch.fft.irfft(spectrum, n=size)
    return noise[:, :samples]


def change_speed(waveform: Waveform, sample_rate: int, factor: float) -> Waveform:
    """The (samples,) waveform played `factor` times as fast: shorter and higher for factor > 1.

    Returns:
        round(samples / factor) samples at the same `sample_rate`; for factor 1 the waveform itself.

    Raises:
        ValueError: a factor that is not positive.
    """
    if not factor > 0:
        raise ValueError(f"the speed factor must be positive, got {factor}")
    if factor == 1:
        return waveform
    resampled = soxr.resample(waveform, sample_rate * factor, sample_rate)
    wanted = round(len(waveform) / factor)
    padded = np.pad(resampled[:wanted], (0, max(0, wanted - len(resampled))))
    return padded.astype(np.float32, copy=False)


def reverberate(
    waveform: Waveform,
    sample_rate: int,
    *,
    rt60_seconds: float,
    direct_to_reverberant_db: float = 0.0,
    generator: np.random.Generator,
) -> Waveform:
    """The (samples,) waveform as heard in a room, at the same length and power.

    The room's response is the direct sound, then Gaussian noise that dies away exponentially
    (Polack's model). Every call draws another room.

    Args:
        waveform: mono samples.
        sample_rate: of the waveform.
        rt60_seconds: time in which the reverberation falls by 60 dB.
        direct_to_reverberant_db: energy of the direct sound over that of the rest, in decibels:
            high is close to the microphone.
        generator: draws the room.

    Raises:
        ValueError: a reverberation time that is not positive.
    """
    if not rt60_seconds > 0:
        raise ValueError(f"rt60_seconds must be positive, got {rt60_seconds}")
    response = room_response(
        sample_rate,
        rt60_seconds=rt60_seconds,
        direct_to_reverberant_db=direct_to_reverberant_db,
        generator=generator,
    )
    size = 1 << (len(waveform) + len(response)).bit_length()
    spectrum = np.fft.rfft(waveform, size) * np.fft.rfft(response, size)
    wet = np.fft.irfft(spectrum, size)[: len(waveform)]
    power, wet_power = float(np.square(waveform, dtype=np.float64).sum()), float(np.sum(wet**2))
    if wet_power > 0:
        wet *= math.sqrt(power / wet_power)
    return wet.astype(np.float32)


def room_response(
    sample_rate: int,
    *,
    rt60_seconds: float,
    direct_to_reverberant_db: float,
    generator: np.random.Generator,
) -> npt.NDArray[np.float64]:
    """(samples,) response of a room to one unit impulse; arguments as for `reverberate`."""
    first = max(1, round(EARLIEST_REFLECTION_SECONDS * sample_rate))
    seconds = np.arange(max(1, round(rt60_seconds * sample_rate))) / sample_rate
    # 60 dB of power is a factor of 1000 of amplitude.
    tail = generator.standard_normal(len(seconds)) * 1000.0 ** (-seconds / rt60_seconds)
    tail *= 10 ** (-direct_to_reverberant_db / 20) / np.linalg.norm(tail)
    return np.concatenate([[1.0], np.zeros(first - 1), tail])
