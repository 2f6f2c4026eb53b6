"""Connectionist temporal classification: the cost of a token sequence summed over its alignments.

Reference: Graves, Fernández, Gomez and Schmidhuber, "Connectionist temporal classification", ICML
2006. Removing repeats, then blanks, turns an alignment (one symbol per frame) into its tokens; the
cost of the tokens is minus the log of the probability of all alignments that turn into them.

torch computes it (its native kernels on CPU and CUDA; int64 padded targets never take the cuDNN
path, which has limits of its own on lengths). torch's CPU kernel trusts its caller: a token outside
the vocabulary reads foreign memory, which ends the process or yields a finite, wrong cost. So every
batch passes `check_targets` first.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from asr.config import Config
from asr.objectives.targets import Outputs, check_tokens


class CTCConfig(Config):
    """Train with connectionist temporal classification."""

    name: Literal["ctc"] = "ctc"
    # See `smoothed`. Left out when 0: other bundles and run folders are as they were before.
    label_smoothing: float = Field(default=0.0, ge=0, lt=1, exclude_if=lambda value: value == 0)


def ctc_loss(
    log_probs: Tensor,
    log_prob_lengths: Tensor,
    targets: Tensor,
    target_lengths: Tensor,
    *,
    blank: int = 0,
    ids: Sequence[str] | None = None,
) -> Tensor:
    """The cost of each utterance's targets: (B,) nats, neither averaged nor divided by a length.

    What lies beyond the lengths changes neither costs nor gradients. A cost that is not finite is
    returned as it is: infinity when a needed symbol has probability zero, NaN for NaN.

    Args:
        log_probs: (B, T, V) float32 or float64 from `log_softmax`. The gradient that reaches
            whatever produced the logits is probability minus occupancy; the gradient with respect
            to log-probabilities taken alone has no meaning.
        log_prob_lengths: (B,) int64 frames, each 1 to T.
        targets: (B, U) int64 tokens without blank; what lies beyond each length is ignored.
        target_lengths: (B,) int64 tokens, each 0 to U.
        blank: the symbol that stands for no token.
        ids: names of the utterances, for errors.

    Raises:
        DataError: tokens outside the vocabulary, blanks as targets, no frames, or too few of them.
        ValueError: shapes or lengths that do not fit together, or an empty batch.
        TypeError: other dtypes than those above.
    """
    if log_probs.dim() != 3:
        raise ValueError(f"log_probs must be (B, T, V), got {tuple(log_probs.shape)}")
    if log_probs.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"log_probs must be float32 or float64, got {log_probs.dtype}")
    batch, num_frames, vocabulary_size = log_probs.shape
    if batch == 0 or len(targets) != batch:
        raise ValueError(f"log_probs hold {batch} utterances and targets {len(targets)}")
    check_targets(
        log_prob_lengths,
        targets,
        target_lengths,
        num_frames=num_frames,
        vocabulary_size=vocabulary_size,
        blank=blank,
        ids=ids,
    )
    return F.ctc_loss(
        log_probs.transpose(0, 1),  # the one place where time comes first
        targets.to(log_probs.device),
        log_prob_lengths.cpu(),
        target_lengths.cpu(),
        blank=blank,
        reduction="none",
    )


def smoothed(costs: Tensor, log_probs: Tensor, lengths: Tensor, smoothing: float) -> Tensor:
    """The cost of targets that are wrong with the probability `smoothing`: (B,) nats.

    CTC has no target for a frame, so what is smoothed is the distribution of each frame: the cost
    is `(1 - s) cost + s * sum_t H(U, p_t)` with the cross-entropy of the uniform distribution over
    the V symbols, blank included. For one frame and one token that is cross-entropy with
    `1 - s + s / V` on the token and `s / V` on every other symbol, as label smoothing is for
    classes, so that the least cost is the entropy of these.

    Reference: C. Szegedy et al. Rethinking the Inception architecture. 2016, section 7. For CTC:
    S. Kim et al. Improved training for online end-to-end speech recognition systems. 2018, by the
    divergence from the uniform distribution of each frame.

    Args:
        costs: (B,) of `ctc_loss`.
        log_probs: (B, T, V) that they were computed of; what lies beyond the lengths has no effect.
        lengths: (B,) int64, frames.
        smoothing: s, from 0 to below 1.
    """
    time = torch.arange(log_probs.shape[1], device=log_probs.device)
    real = time < lengths.to(log_probs.device).unsqueeze(1)
    uniform = torch.where(real, -log_probs.mean(dim=2), 0).sum(dim=1)
    return (1 - smoothing) * costs + smoothing * uniform


def frames_needed(tokens: Sequence[int]) -> int:
    """The fewest frames that can carry `tokens`: one each, and a blank between equal neighbours.

    Without tokens one frame is still needed, for a blank.
    """
    repeats = sum(before == after for before, after in pairwise(tokens))
    return max(len(tokens) + repeats, 1)


def check_targets(
    log_prob_lengths: Tensor,
    targets: Tensor,
    target_lengths: Tensor,
    *,
    num_frames: int,
    vocabulary_size: int,
    blank: int = 0,
    ids: Sequence[str] | None = None,
) -> None:
    """Return when CTC can align every utterance of a batch with its targets.

    Tensors on the CPU are checked without waiting for another device.

    Args:
        log_prob_lengths: (B,) int64 frames of each utterance.
        targets: (B, U) int64 tokens, padded with anything.
        target_lengths: (B,) int64 tokens of each utterance.
        num_frames: T, frames of the padded batch.
        vocabulary_size: V, blank included.
        blank: the symbol that no target may hold.
        ids: names of the utterances, for errors; their numbers in the batch without.

    Raises:
        DataError: a token outside the vocabulary, a blank among the targets, an utterance without
            frames or with fewer than its tokens need (`frames_needed`).
        ValueError: shapes or lengths that do not fit together.
        TypeError: tensors that are not int64.
    """
    check_tokens(
        log_prob_lengths,
        targets,
        target_lengths,
        Outputs(num_frames, vocabulary_size, blank),
        needed=_needed,
        too_short=_too_short,
        ids=ids,
    )


def _needed(targets: Tensor, inside: Tensor) -> Tensor:
    """(B,) the fewest frames for each, as `frames_needed`."""
    repeats = (inside[:, 1:] & (targets[:, 1:] == targets[:, :-1])).sum(dim=1)
    return (inside.sum(dim=1) + repeats).clamp(min=1)


def _too_short(frames: int, tokens: int, needed: int) -> str:
    return (
        f"has {frames} frames for {tokens} tokens: CTC needs at least {needed} (one "
        "per token and one between equal neighbours). Leave it out, or lower frontend.stack"
    )
