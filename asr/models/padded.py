"""A recurrent layer over a padded batch with torch's own kernels: any device, any cell.

Exact for padded batches without `pack_padded_sequence` (slow on a CPU): each utterance is reversed
by its own length, so that padding stays at the end, where no real frame ever sees it; the plain
kernel runs, and the output is reversed back. Frames come first inside, (T, B, ·), as the kernels
want them.

Reversal is an involution, so its gradient is the same gather: nothing is scattered or added.
"""

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from asr.models.leaky import leaky_recurrence
from asr.models.peephole_torch import peephole_recurrence
from asr.models.weights import LayerWeights

# The weights lie as the toolkit stores them; copying them together at a call costs cuDNN nothing
# beside the layer itself.
warnings.filterwarnings("ignore", message="RNN module weights are not part of single contiguous")


@dataclass(frozen=True)
class PaddedFrames:
    """Where the real frames of a padded batch are, on the device of the features."""

    real: Tensor  # (T, B, 1) bool
    reversal: Tensor  # (T * B,) int64: which frame of the flattened batch takes this place


def pad_frames(lengths: Tensor, num_frames: int) -> PaddedFrames:
    """The frames of utterances of (B,) `lengths`, in a batch padded to `num_frames`."""
    time = torch.arange(num_frames, device=lengths.device).unsqueeze(1)
    real = time < lengths  # (T, B)
    source = torch.where(real, lengths - 1 - time, time)
    utterance = torch.arange(len(lengths), device=lengths.device)
    return PaddedFrames(real.unsqueeze(2), (source * len(lengths) + utterance).flatten())


def enter(features: Tensor, frames: PaddedFrames) -> Tensor:
    """Features (B, T, F) as (T, B, F); what is in the padding has no effect."""
    return torch.where(frames.real, features.transpose(0, 1), 0)


def leave(encoded: Tensor, frames: PaddedFrames) -> Tensor:
    """(T, B, F) as (B, T, F), zero beyond each length."""
    return torch.where(frames.real, encoded, 0).transpose(0, 1)


def padded_layer(encoded: Tensor, weights: LayerWeights, frames: PaddedFrames) -> Tensor:
    """The outputs (T, B, D * H) of a layer for inputs (T, B, F), directions side by side."""
    inputs = [encoded]
    if len(weights.input) == 2:
        inputs.append(reverse(encoded, frames))
    if weights.peepholes is not None:
        projected = _projected(inputs, weights)
        outputs = list(peephole_recurrence(projected, weights.recurrent, weights.peepholes))
    elif weights.cell == "leaky":
        projected = _projected(inputs, weights)
        outputs = list(leaky_recurrence(projected, weights.recurrent, weights.leak))
    else:
        outputs = _torch(inputs, weights)
    if len(outputs) == 2:
        outputs[1] = reverse(outputs[1], frames)
    return torch.cat(outputs, dim=2)


def reverse(encoded: Tensor, frames: PaddedFrames) -> Tensor:
    """(T, B, F) with each utterance reversed by its own length, and padding where it was."""
    return _Reverse.apply(encoded, frames.reversal)  # type: ignore[no-any-return, no-untyped-call]


class _Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, encoded: Tensor, index: Tensor) -> Tensor:
        ctx.index = index  # type: ignore[attr-defined]
        return encoded.flatten(0, 1).index_select(0, index).view_as(encoded)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, None]:
        index = ctx.index  # type: ignore[attr-defined]
        return gradient.flatten(0, 1).index_select(0, index).view_as(gradient), None


def _torch(inputs: list[Tensor], weights: LayerWeights) -> list[Tensor]:
    """Each direction by torch's kernel, which wants two biases: the second one is zero."""
    return [
        _torch_direction(weights.cell, direction, list(tensors))
        for direction, *tensors in zip(
            inputs, weights.input, weights.recurrent, weights.bias,
            torch.zeros_like(weights.bias), strict=True,
        )
    ]  # fmt: skip


def _torch_direction(cell: str, encoded: Tensor, weights: list[Tensor]) -> Tensor:
    start = encoded.new_zeros(1, encoded.shape[1], weights[1].shape[1])
    if not encoded.numel():  # the kernels refuse empty batches
        return encoded.new_zeros(*encoded.shape[:2], weights[1].shape[1])
    # Has biases, 1 layer, no dropout, in training (cuDNN keeps what a gradient needs), one
    # direction, frames first.
    options = (True, 1, 0.0, True, False, False)
    if cell == "lstm":
        return torch.lstm(encoded, [start, start], weights, *options)[0]
    kernel = torch.gru if cell == "gru" else torch.rnn_tanh
    return kernel(encoded, start, weights, *options)[0]


def _projected(inputs: list[Tensor], weights: LayerWeights) -> Tensor:
    """(D, T, B, G * H) products with the inputs, and bias.

    Both directions at once: on a GPU the number of operations is what costs.
    """
    stacked = torch.stack(inputs).flatten(1, 2)  # (D, T * B, F)
    projected = torch.baddbmm(weights.bias.unsqueeze(1), stacked, weights.input.transpose(1, 2))
    return projected.view(len(inputs), *inputs[0].shape[:2], projected.shape[2])
