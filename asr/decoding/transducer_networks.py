"""What a decoder needs of anybody's transducer; `models.transducer.TransducerModel` has it."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from asr.errors import DataError


class TransducerNetworks(Protocol):
    """The prediction and joint networks of a transducer, whose blank is label 0.

    All of it in evaluation mode; a decoder asks without gradients.
    """

    def begin(self, batch: int) -> Tensor:
        """The states (K, …) of K = `batch` sequences before the beginning, which is token 0."""

    def advance(self, tokens: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
        """What comes of one more token (K,) of each sequence: (K, J), and the states after it."""

    def predict(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """The same (B, U + 1, J) for every beginning of whole sequences (B, U)."""

    def joint(self, encoded: Tensor, predicted: Tensor) -> Tensor:
        """Logits (…, V) of what the encoder and the prediction network made, (…, J) each."""


BLANK = 0  # token 0 is the beginning of a prediction network, so that no other label is free
MAX_SYMBOLS = 10  # labels in a frame; of 30 ms, say: nobody speaks that fast


def checked_outputs(
    encoded: Tensor, lengths: Tensor | None, durations: Sequence[float] | None
) -> tuple[list[int], Sequence[float | None]]:
    """The frames of each utterance of `encoded` (B, T, J), and its seconds where they are known.

    Raises:
        DataError: NaN or infinite values.
        ValueError: shapes or lengths that do not fit together.
    """
    if encoded.dim() != 3:
        raise ValueError(f"encoded must be (B, T, J), got {tuple(encoded.shape)}")
    batch, num_frames, _ = encoded.shape
    frames = [num_frames] * batch if lengths is None else lengths.tolist()
    if len(frames) != batch or not all(0 <= length <= num_frames for length in frames):
        raise ValueError(f"lengths must be {batch} of 0 to {num_frames}, got {frames}")
    for index, length in enumerate(frames):
        if not torch.isfinite(encoded[index, :length]).all():
            raise DataError(
                f"utterance {index} of the batch has outputs that are not finite: the model "
                "diverged, or its input is damaged"
            )
    if durations is not None and len(durations) != batch:
        raise ValueError(f"{len(durations)} durations for {batch} utterances")
    return frames, [None] * batch if durations is None else durations


def no_numbers(index: int) -> DataError:
    """That what the joint network says of an utterance of the batch is NaN."""
    return DataError(
        f"the joint network gives NaN for utterance {index} of the batch: the model diverged"
    )
