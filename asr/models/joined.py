"""The frames of a padded batch joined without the padding: what the CPU computes on.

A row is a real frame. Rows are ordered by time, and within a step of time the longer utterance
comes first: the utterances that have a step are neighbours, and those that end leave at the back.
Padding is never computed (a quarter of the frames when lengths spread over a factor of two), and
the reversed direction needs no reversed copy: it takes the same steps from the last to the first,
where utterances enter with a state of zeros, as they begin.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable


@dataclass(frozen=True)
class JoinedFrames:
    """Where the N real frames of a batch are; all int64, on the CPU."""

    batch: int  # B
    num_frames: int  # T, padding included
    positions: Tensor  # (N,) of each row in the flattened (B * T)
    first_rows: Tensor  # (steps,) the row of the longest utterance at each step
    num_rows: Tensor  # (steps,) how many utterances have the step
    previous: Tensor  # (2, N) the row of the frame before (left to right, right to left) or -1


def join_frames(lengths: Tensor, num_frames: int) -> JoinedFrames:
    """The frames of utterances of (B,) `lengths`, in a batch padded to `num_frames`."""
    lengths, order = lengths.sort(descending=True, stable=True)
    steps = int(lengths[0]) if len(lengths) else 0
    step = torch.arange(steps).unsqueeze(1)
    real = step < lengths  # (steps, B)
    num_rows = real.sum(1)
    rows = torch.full((steps + 2, len(lengths)), -1)  # a step of "no row" on either side
    rows[1:-1][real] = torch.arange(int(num_rows.sum()))
    return JoinedFrames(
        batch=len(lengths),
        num_frames=num_frames,
        positions=(order * num_frames + step)[real],
        first_rows=num_rows.cumsum(0) - num_rows,
        num_rows=num_rows,
        previous=torch.stack((rows[:-2][real], rows[2:][real])),
    )


def join_rows(features: Tensor, frames: JoinedFrames) -> Tensor:
    """The rows (N, F) of padded features (B, T, F); what is in the padding has no effect."""
    return _Join.apply(features, frames)  # type: ignore[no-any-return, no-untyped-call]


def pad_rows(rows: Tensor, frames: JoinedFrames) -> Tensor:
    """The padded batch (B, T, F) of rows (N, F), zero beyond each length."""
    return _Pad.apply(rows, frames)  # type: ignore[no-any-return, no-untyped-call]


# Autograd's own backward of an index is an addition per index; here each is met at most once.


class _Join(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, features: Tensor, frames: JoinedFrames) -> Tensor:
        ctx.frames = frames  # type: ignore[attr-defined]
        return _joined(features, frames)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, None]:
        return _padded(gradient, ctx.frames), None  # type: ignore[attr-defined]


class _Pad(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, rows: Tensor, frames: JoinedFrames) -> Tensor:
        ctx.frames = frames  # type: ignore[attr-defined]
        return _padded(rows, frames)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, None]:
        return _joined(gradient, ctx.frames), None  # type: ignore[attr-defined]


def _joined(padded: Tensor, frames: JoinedFrames) -> Tensor:
    return padded.flatten(0, 1).index_select(0, frames.positions)


def _padded(rows: Tensor, frames: JoinedFrames) -> Tensor:
    padded = rows.new_zeros(frames.batch * frames.num_frames, rows.shape[1])
    padded.index_copy_(0, frames.positions, rows)
    return padded.view(frames.batch, frames.num_frames, rows.shape[1])
