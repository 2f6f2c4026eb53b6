"""Alignments drawn from a model: one label for every frame, independently of the others.

Reference: Graves & Jaitly, "Towards End-to-End Speech Recognition with Recurrent Neural Networks",
ICML 2014, section 3: CTC takes the frames of an alignment to be independent given the audio, so
that a sample of it is a sample of each frame's softmax.
"""

from typing import Any

import torch
from torch import Tensor

from asr.objectives.text_loss import without_nan

TOLERANCE = 1e-3  # of the probabilities' sum; float32 is off by some 1e-6


def sample_alignments(
    log_probs: Tensor, lengths: Tensor, num_samples: int, generator: torch.Generator | None = None
) -> Tensor:
    """(B, S, T) int64 labels, drawn with the probabilities themselves, never with sharpened ones.

    The sum of a frame's probabilities is inverted in double precision: a label of probability zero
    is never drawn, and one of 1e-12 as often as it should be.

    Args:
        log_probs: (B, T, V), normalised; without NaN within the lengths. What lies beyond is
            ignored.
        lengths: (B,) frames, on the device of `log_probs`.
        num_samples: S.
        generator: on the device of `log_probs`; torch's global one by default.

    Returns:
        The alignments; beyond the lengths they hold label 0.

    Raises:
        ValueError: a frame whose probabilities do not add up to 1.
    """
    batch, num_frames, _ = log_probs.shape
    probs = log_probs.detach().to(torch.float64).exp()
    inside = frames_inside(lengths, num_frames)
    below = probs.cumsum(dim=-1)
    total = below[..., -1:]
    check_sums(total[..., 0], inside)
    drawn = torch.rand(
        (batch, num_frames, num_samples),
        dtype=torch.float64,
        device=log_probs.device,
        generator=generator,
    )
    # Below the sum itself, which rounding could reach: the last label may have no probability.
    points = torch.minimum(drawn * total, torch.nextafter(total, torch.zeros_like(total)))
    labels = torch.searchsorted(below, points, right=True)
    return labels.masked_fill(~inside[..., None], 0).transpose(1, 2).contiguous()


def draw(
    log_probs: Tensor, lengths: Tensor, num_samples: int, generator: torch.Generator | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Alignments (B, S, T) of anybody's scores, drawn without a graph.

    Arguments as for `sample_alignments`, but NaN may stand anywhere.

    Returns:
        The scores that were drawn from; which utterances (B,) had NaN, and got others; alignments.
    """
    frames = lengths.to(log_probs.device)
    with torch.no_grad():
        scores, broken = without_nan(log_probs, frames_inside(frames, log_probs.shape[1]))
        return scores, broken, sample_alignments(scores, frames, num_samples, generator)


def frames_inside(lengths: Tensor, num_frames: int) -> Tensor:
    """(B, T) whether a frame is within its utterance."""
    return torch.arange(num_frames, device=lengths.device) < lengths[:, None]


def check_sums(sums: Tensor, inside: Tensor) -> None:
    """Return when probabilities add up to 1.

    Args:
        sums: (B, T).
        inside: (B, T), the frames that count.

    Raises:
        ValueError: they do not: these are logits, or scores scaled by something.
    """
    wrong = inside & ~((sums - 1).abs() < TOLERANCE)
    if wrong.any():
        utterance, frame = wrong.nonzero()[0].tolist()
        raise ValueError(
            "log_probs must be normalised (from log_softmax): the probabilities of frame "
            f"{frame} of utterance {utterance} of the batch add up to "
            f"{float(sums[utterance, frame]):.6g}"
        )


def with_gradient(log_probs: Tensor, values: Tensor, gradient: Tensor) -> Tensor:
    """`values` (B,) as a function of `log_probs` (B, T, V) whose gradient was found by sampling."""
    sampled: Tensor = _SampledLoss.apply(log_probs, values, gradient)  # type: ignore[no-untyped-call]
    return sampled


class _SampledLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, _log_probs: Tensor, values: Tensor, gradient: Tensor) -> Tensor:
        ctx.save_for_backward(gradient)
        return values

    @staticmethod
    def backward(ctx: Any, outgoing: Tensor) -> tuple[Tensor, None, None]:
        if torch.is_grad_enabled():  # torch's `once_differentiable` lets a constant `outgoing` pass
            raise RuntimeError(
                "a gradient that was found by sampling has no derivative: go backward without "
                "create_graph=True"
            )
        (gradient,) = ctx.saved_tensors
        return outgoing[:, None, None] * gradient, None, None
