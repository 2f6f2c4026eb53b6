"""Features with mean 0 and variance 1, and the joining of neighbouring frames.

The mean and variance are those of one utterance, which also removes the microphone and the
loudness, or those of the training set, which keeps what is loud and what is not.
"""

import torch
from torch import Tensor, nn

from asr.errors import DataError, ModelError
from asr.frontend.framing import zero_beyond

# A standard deviation below this share of the mean is rounding, not signal (float32 tells 6e-8
# apart): such a bin counts as constant instead of being blown up. The tiny number keeps the divisor
# positive where the mean is zero; it is tiny because power per hertz of quiet audio is near 1e-14.
RELATIVE_STD_FLOOR = 1e-5
ABSOLUTE_STD_FLOOR = 1e-20


class UtteranceNormalization(nn.Module):
    """Each bin of each utterance gets mean 0 and variance 1 over the utterance's own frames."""

    def forward(self, features: Tensor, feature_lengths: Tensor) -> Tensor:
        """Normalised features, zero beyond each length; a constant bin becomes exactly zero.

        Args:
            features: (B, T, F), zero beyond each length.
            feature_lengths: (B,) int64, frames in each utterance.
        """
        # Sums in float64: padding then changes nothing, and the mean of equal numbers is that
        # number exactly.
        frames = feature_lengths.clamp(min=1)[:, None, None].double()
        mean = features.sum(dim=1, keepdim=True, dtype=torch.float64) / frames
        centred = zero_beyond(features - mean.to(features.dtype), feature_lengths)
        variance = centred.square().sum(dim=1, keepdim=True, dtype=torch.float64) / frames
        return centred / _floored_std(mean, variance).to(features.dtype)


class TrainingSetNormalization(nn.Module):
    """Each bin gets mean 0 and variance 1 over the training set; the statistics are saved with it.

    Args:
        num_bins: features in a frame.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, num_bins: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(num_bins))
        self.register_buffer("std", torch.zeros(num_bins))
        self._ready = False

    def set_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Use these (F,) statistics from now on, as `FeatureStatistics.result` gives them.

        Raises:
            ValueError: another shape, or a standard deviation that is not positive.
        """
        if mean.shape != self.mean.shape or std.shape != self.std.shape:
            raise ValueError(
                f"mean and std must have shape {tuple(self.mean.shape)}, "
                f"got {tuple(mean.shape)} and {tuple(std.shape)}"
            )
        if not bool((std > 0).all()):
            raise ValueError("every std must be positive")
        self.mean.copy_(mean)
        self.std.copy_(std)

    def is_set(self) -> bool:
        """Whether there are statistics, set or loaded."""
        return bool(self.std.any())

    def forward(self, features: Tensor, feature_lengths: Tensor) -> Tensor:
        """Normalised features, zero beyond each length.

        Args:
            features: (B, T, F).
            feature_lengths: (B,) int64, frames in each utterance.

        Raises:
            ModelError: there are no statistics yet.
        """
        if not self._ready:  # looking at the buffer at each call would wait for the device
            self._ready = self._checked()
        return zero_beyond((features - self.mean) / self.std, feature_lengths)

    def _checked(self) -> bool:
        if not self.is_set():
            raise ModelError(
                "the model has no mean and variance of its training set: they are estimated when "
                "training starts; train the model, or choose normalize = 'utterance'"
            )
        return True


class FeatureStatistics:
    """Mean and standard deviation of every bin over all frames it is shown, in float64.

    The batches' means and squared deviations are merged pairwise, which neither loses digits nor
    depends on the order beyond rounding.

    Reference: T. Chan, G. Golub, R. LeVeque. Updating formulae and a pairwise algorithm for
    computing sample variances. 1979.
    """

    def __init__(self, num_bins: int) -> None:
        self.num_frames = 0
        self._mean = torch.zeros(num_bins, dtype=torch.float64)
        self._squares = torch.zeros(num_bins, dtype=torch.float64)

    def add(self, features: Tensor, feature_lengths: Tensor) -> None:
        """Count a batch: (B, T, F) features of which the first (B,) feature_lengths are real."""
        frames = int(feature_lengths.sum())
        if frames == 0:
            return
        values = features.detach().double()
        mean = zero_beyond(values, feature_lengths).sum(dim=(0, 1)) / frames
        squares = zero_beyond(values - mean, feature_lengths).square().sum(dim=(0, 1))
        total = self.num_frames + frames
        difference = mean.cpu() - self._mean
        self._squares += squares.cpu() + difference.square() * (self.num_frames * frames / total)
        self._mean += difference * (frames / total)
        self.num_frames = total

    def result(self) -> tuple[Tensor, Tensor]:
        """(F,) mean and (F,) standard deviation, float64; the latter has a floor above zero.

        Raises:
            DataError: no frame was counted.
        """
        if self.num_frames == 0:
            raise DataError(
                "no frames to estimate mean and variance from: every utterance is shorter than "
                "one analysis window; check the durations in the training manifest"
            )
        return self._mean.clone(), _floored_std(self._mean, self._squares / self.num_frames)


def stack_frames(features: Tensor, feature_lengths: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    """Join every `factor` neighbouring frames into one, dropping an incomplete tail.

    Args:
        features: (B, T, F), zero beyond each length.
        feature_lengths: (B,) int64, frames in each utterance.
        factor: frames per stacked frame, at least 1.

    Returns:
        (B, T // factor, F * factor) features, zero beyond each length, and their (B,) lengths.
    """
    batch, frames, bins = features.shape
    kept = frames // factor
    stacked = features[:, : kept * factor].reshape(batch, kept, bins * factor)
    lengths = torch.div(feature_lengths, factor, rounding_mode="floor")
    return zero_beyond(stacked, lengths), lengths


def _floored_std(mean: Tensor, variance: Tensor) -> Tensor:
    """The root of `variance`, or the floor; the root comes last: its slope at 0 is infinite."""
    floor = RELATIVE_STD_FLOOR * mean.abs() + ABSOLUTE_STD_FLOOR
    return torch.maximum(variance, floor.square()).sqrt()
