"""The expected loss by REINFORCE with a baseline: what sampling usually is, to compare with.

A sample's loss, less the mean loss of the other samples, weighs the gradient of the sample's log
probability. Only the labels that were drawn learn something, and all of a sample's frames get the
same credit, whether or not they had a part in its errors.

Reference: Williams, "Simple statistical gradient-following algorithms for connectionist
reinforcement learning", Machine Learning 8, 1992. Leaving a sample's own loss out of its baseline
keeps the gradient right in the mean: Kool, van Hoof and Welling, "Buy 4 REINFORCE samples, get a
baseline for free!", 2019.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from asr.data.labels import Labels, read_labels
from asr.objectives.sampling import draw, frames_inside, with_gradient
from asr.objectives.text_loss import (
    Loss,
    check_arguments,
    divisors,
    losses_of_samples,
    mean_losses,
)
from asr.objectives.transcripts import check_words, spelling_of


def reinforce_loss(  # noqa: PLR0913 - as `expected_loss`
    log_probs: Tensor,
    lengths: Tensor,
    references: Sequence[str],
    *,
    labels: Sequence[str] | Labels,
    blank: int = 0,
    num_samples: int = 5,
    loss: Loss = "wer",
    generator: torch.Generator | None = None,
    raw_counts: bool = False,
) -> Tensor:
    """(B,) mean losses of the samples; arguments and errors as for `expected_wer.expected_loss`.

    Raises:
        ValueError: also for fewer than two samples, which have no baseline.
    """
    known = labels if isinstance(labels, Labels) else read_labels(labels, blank=blank)
    check_arguments(log_probs, lengths, references, known, num_samples)
    if num_samples < 2:
        raise ValueError(f"num_samples must be at least 2 for a baseline, got {num_samples}")
    if loss == "wer":
        check_words(spelling_of(known), references)
    inside = frames_inside(lengths.to(log_probs.device), log_probs.shape[1])
    scores, broken, alignments = draw(log_probs, lengths, num_samples, generator)
    with torch.no_grad():
        by = torch.tensor(divisors(loss, references, raw_counts), device=scores.device)
        losses = losses_of_samples(alignments, lengths, references, known, loss).to(scores.device)
        values = mean_losses(losses, by, broken, log_probs)
        others = (losses.sum(dim=1, keepdim=True) - losses) / (num_samples - 1)
        credit = ((losses - others) / (num_samples * by[:, None])).to(scores.dtype)
        gradient = torch.zeros_like(scores)
        spread = credit[:, None, :].expand(-1, scores.shape[1], -1)
        gradient.scatter_add_(2, alignments.transpose(1, 2), spread)
        gradient *= inside[..., None]
    return with_gradient(log_probs, values, gradient)
