"""The front end: waveforms → features → normalised → masked while training → stacked."""

from collections.abc import Iterable
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from asr.frontend.augment import SpecAugment
from asr.frontend.filter_bank import FilterBank, FilterBankConfig, LogMel, LogMelConfig
from asr.frontend.framing import num_frames, zero_beyond
from asr.frontend.mfcc import Mfcc, MfccConfig
from asr.frontend.normalize import (
    FeatureStatistics,
    TrainingSetNormalization,
    UtteranceNormalization,
    stack_frames,
)
from asr.frontend.spectrogram import Spectrogram, SpectrogramConfig

FrontendConfig = Annotated[
    SpectrogramConfig | LogMelConfig | FilterBankConfig | MfccConfig, Field(discriminator="name")
]
Extractor = Spectrogram | LogMel | FilterBank | Mfcc
Normalization = UtteranceNormalization | TrainingSetNormalization


class Frontend(nn.Module):
    """Features of padded batches of waveforms, exact for each utterance; always in float32.

    Args:
        extractor: waveforms to features.
        normalization: of the features; None leaves them as they are.
        stack: neighbouring frames joined into one.
        spec_augment: masks while training; None masks nothing.

    Attributes:
        sample_rate: samples per second that the waveforms must have.
        output_size: features in a frame, after stacking.
        frame_seconds: from the start of a frame to the start of the next, after stacking.
    """

    def __init__(
        self,
        extractor: Extractor,
        *,
        normalization: Normalization | None,
        stack: int = 1,
        spec_augment: SpecAugment | None = None,
    ) -> None:
        super().__init__()
        if stack < 1:
            raise ValueError(f"stack must be at least 1, got {stack}")
        self.extractor = extractor
        self.normalization = normalization
        self.stack = stack
        self.spec_augment = spec_augment
        self.sample_rate = extractor.sample_rate
        self.output_size = extractor.num_bins * stack
        self.frame_seconds = extractor.hop * stack / extractor.sample_rate

    def forward(self, waveforms: Tensor, waveform_lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Features that a model reads.

        Args:
            waveforms: (B, N) samples in -1 … 1 at `sample_rate`; what lies beyond an utterance's
                own length has no effect.
            waveform_lengths: (B,) int64, samples in each utterance, at most N.

        Returns:
            (B, T, output_size) float32 features, zero beyond each length, and their (B,) int64
            lengths; T = num_frames_of(N). An utterance too short for a frame has length 0.

        Raises:
            TypeError: waveforms that are not floating point.
            ValueError: shapes or lengths that do not fit.
            ModelError: normalisation over the training set before it was estimated.
        """
        features, lengths = self.extract(waveforms, waveform_lengths)
        with torch.autocast(features.device.type, enabled=False):
            if self.normalization is not None:
                features = self.normalization(features, lengths)
            if self.spec_augment is not None:
                features = self.spec_augment(features, lengths, blocks=self.extractor.num_blocks)
            return stack_frames(features, lengths, self.stack)

    def extract(self, waveforms: Tensor, waveform_lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The extractor's features alone: not normalised, not masked, not stacked.

        Args and Raises: as `forward`.

        Returns:
            (B, T, num_bins) float32 features, zero beyond each length, and their (B,) lengths.
        """
        _check(waveforms, waveform_lengths)
        # Half precision would lose quiet bins: autocast stays outside.
        with torch.autocast(waveforms.device.type, enabled=False):
            audible = zero_beyond(waveforms.float(), waveform_lengths)
            features, feature_lengths = self.extractor(audible, waveform_lengths)
        return features, feature_lengths

    def num_frames(self, waveform_lengths: Tensor) -> Tensor:
        """Frames that `forward` makes of utterances with so many samples; int64, same shape."""
        frames = num_frames(waveform_lengths, self.extractor.window, self.extractor.hop)
        return torch.div(frames, self.stack, rounding_mode="floor")

    def num_frames_of(self, num_samples: int) -> int:
        """Frames that `forward` makes of one utterance of `num_samples` samples."""
        whole = 1 + (num_samples - self.extractor.window) // self.extractor.hop
        return max(0, whole) // self.stack

    def needs_statistics(self) -> bool:
        """Whether `estimate_normalization` must run before the first `forward`."""
        normalization = self.normalization
        return isinstance(normalization, TrainingSetNormalization) and not normalization.is_set()

    @torch.no_grad()
    def estimate_normalization(self, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Set the mean and variance of normalisation over the training set.

        Args:
            batches: (waveforms (B, N), waveform_lengths (B,)) of the training set, or a part of it.

        Raises:
            TypeError: the front end does not normalise over the training set.
            DataError: no utterance is long enough for a frame.
        """
        if not isinstance(self.normalization, TrainingSetNormalization):
            raise TypeError("the front end does not normalise over the training set")
        statistics = FeatureStatistics(self.extractor.num_bins)
        for waveforms, waveform_lengths in batches:
            statistics.add(*self.extract(waveforms, waveform_lengths))
        self.normalization.set_statistics(*statistics.result())


def _check(waveforms: Tensor, waveform_lengths: Tensor) -> None:
    if not waveforms.is_floating_point():
        raise TypeError(f"waveforms must be floating point in -1 … 1, got {waveforms.dtype}")
    if waveforms.dim() != 2 or waveform_lengths.shape != waveforms.shape[:1]:
        raise ValueError(
            f"waveforms must be (B, N) and waveform_lengths (B,), got {tuple(waveforms.shape)} "
            f"and {tuple(waveform_lengths.shape)}"
        )
    # Reading lengths from an accelerator would wait for it, at every step.
    if waveform_lengths.device.type == "cpu" and len(waveform_lengths):
        low, high = int(waveform_lengths.min()), int(waveform_lengths.max())
        if low < 0 or high > waveforms.shape[1]:
            raise ValueError(
                f"waveform_lengths must be in 0 … {waveforms.shape[1]}, got {low} … {high}"
            )
