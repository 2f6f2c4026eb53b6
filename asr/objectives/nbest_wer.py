"""The expected loss over a list of hypotheses: minimum word error rate training as others do it.

The probabilities of the N best transcripts of a beam search are made to add up to one, and their
mean number of errors is minimised. Nothing is sampled, but what is outside the list does not exist,
and a list that holds the same errors throughout teaches nothing.

Reference: Prabhavalkar et al., "Minimum word error rate training for attention-based
sequence-to-sequence models", ICASSP 2018, equations 6 to 8.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from asr.objectives.ctc import ctc_loss


def nbest_loss(
    log_probs: Tensor,
    lengths: Tensor,
    candidates: Sequence[Sequence[Sequence[int]]],
    losses: Sequence[Sequence[float]],
    *,
    blank: int = 0,
    ids: Sequence[str] | None = None,
) -> Tensor:
    """(B,) mean losses of the candidates, weighed by their probabilities among themselves.

    Args:
        log_probs: (B, T, V) float32 or float64 from `log_softmax`.
        lengths: (B,) int64 frames.
        candidates: of each utterance one or more transcripts as tokens; transcripts differ.
        losses: of each candidate, such as its word errors by the length of the reference.
        blank: index of the blank.
        ids: names of the utterances, for errors.

    Raises:
        DataError: as `ctc_loss`, for the candidates.
        ValueError: as `ctc_loss`; no candidates of an utterance; or other numbers of losses.
        TypeError: as `ctc_loss`.
    """
    sizes = [len(each) for each in candidates]
    if sizes != [len(each) for each in losses] or len(sizes) != len(log_probs) or 0 in sizes:
        raise ValueError(
            f"{len(log_probs)} utterances need one or more candidates each, and a loss for every "
            f"candidate; got {sizes} candidates and {[len(each) for each in losses]} losses"
        )
    every = [tokens for each in candidates for tokens in each]
    targets = torch.zeros(len(every), max(map(len, every)), dtype=torch.int64)
    for row, tokens in enumerate(every):
        targets[row, : len(tokens)] = torch.tensor(tokens, dtype=torch.int64)
    owner = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    costs = ctc_loss(
        log_probs[owner.to(log_probs.device)],
        lengths[owner.to(lengths.device)],
        targets,
        torch.tensor([len(tokens) for tokens in every]),
        blank=blank,
        ids=None if ids is None else [ids[index] for index in owner.tolist()],
    )
    means = []
    for scores, values in zip(torch.split(-costs, sizes), losses, strict=True):
        wrong = torch.tensor(values, dtype=scores.dtype, device=scores.device)
        means.append((scores.softmax(dim=0) * wrong).sum())
    return torch.stack(means)
