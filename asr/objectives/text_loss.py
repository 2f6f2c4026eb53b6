"""How wrong a transcript is: the losses that a model can learn by sampling, as functions."""

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from asr.data.labels import Labels
from asr.data.text import normalize_text, words
from asr.objectives.exchange import exchanges
from asr.scoring.alignment import count_edits

TextLoss = Callable[[str, str], float]  # of (hypothesis, reference)
Loss = Literal["wer", "cer"] | TextLoss


def text_loss(loss: Loss) -> TextLoss:
    """A loss as a function; errors are counted, not divided by anything.

    Raises:
        ValueError: no such loss.
    """
    if callable(loss):
        return loss
    if loss == "wer":
        return _word_errors
    if loss == "cer":
        return _character_errors
    raise ValueError(f"loss must be 'wer', 'cer' or a function, got {loss!r}")


def loss_of(function: TextLoss, hypothesis: str, reference: str) -> float:
    """What a loss says of a transcript.

    Raises:
        ValueError: it is not finite, which would make the gradient of a whole frame NaN.
    """
    value = float(function(hypothesis, reference))
    if not math.isfinite(value):
        raise ValueError(f"loss must be finite, got {value} for {hypothesis!r}, {reference!r}")
    return value


def divisors(loss: Loss, references: Sequence[str], raw_counts: bool) -> list[float]:
    """What the losses of each reference are divided by: its length, at least 1, or 1."""
    if raw_counts or callable(loss):
        return [1.0] * len(references)
    texts = [normalize_text(reference) for reference in references]
    return [float(max(1, len(words(text) if loss == "wer" else text))) for text in texts]


def losses_of_samples(
    alignments: Tensor,
    lengths: Tensor,
    references: Sequence[str],
    labels: Labels,
    loss: Loss,
) -> Tensor:
    """(B, S) float64 losses of the transcripts of alignments, not divided.

    Args:
        alignments: (B, S, T) labels.
        lengths: (B,) frames.
        references: what was said, in each utterance.
        labels: of the model.
        loss: see `text_loss`.

    Raises:
        ValueError: a loss that is not finite.
    """
    function = text_loss(loss)
    losses = torch.empty(alignments.shape[:2], dtype=torch.float64)
    frames = lengths.tolist()
    for b, samples in enumerate(alignments.cpu().numpy()):
        known: dict[str, float] = {}
        for s, sample in enumerate(samples):
            tokens, _ = exchanges(sample[: frames[b]], labels.blank)
            transcript = labels.decode(tokens.tolist())
            if transcript not in known:
                known[transcript] = loss_of(function, transcript, references[b])
            losses[b, s] = known[transcript]
    return losses


def mean_losses(losses: Tensor, by: Tensor, broken: Tensor, log_probs: Tensor) -> Tensor:
    """(B,) means of losses (B, S), divided, in the dtype of the scores; NaN for what is broken."""
    mean = losses.mean(dim=1).to(log_probs.device) / by
    return mean.masked_fill(broken, torch.nan).to(log_probs.dtype)


def check_arguments(
    log_probs: Tensor,
    lengths: Tensor,
    references: Sequence[str],
    labels: Labels,
    num_samples: int,
) -> None:
    """Return when these can be the arguments of a sampled loss.

    Raises:
        ValueError: shapes, lengths or numbers that do not fit together.
        TypeError: scores that are no floating-point numbers, or lengths that are not int64.
    """
    if log_probs.dim() != 3:
        raise ValueError(f"log_probs must be (B, T, V), got {tuple(log_probs.shape)}")
    if log_probs.dtype not in (torch.float32, torch.float64):
        raise TypeError(
            f"log_probs must be float32 or float64, got {log_probs.dtype}; write "
            "logits.float().log_softmax(dim=-1)"
        )
    if lengths.dtype != torch.int64:
        raise TypeError(f"lengths must be int64, got {lengths.dtype}")
    batch, num_frames, vocabulary_size = log_probs.shape
    if batch == 0 or lengths.shape != (batch,) or len(references) != batch:
        raise ValueError(
            f"log_probs hold {batch} utterances, lengths {tuple(lengths.shape)}, references "
            f"{len(references)}"
        )
    if ((lengths < 1) | (lengths > num_frames)).any():
        raise ValueError(f"lengths must be 1 to {num_frames}, got {lengths.tolist()}")
    if len(labels) != vocabulary_size:
        raise ValueError(f"{len(labels)} labels for scores of {vocabulary_size}")
    if num_samples < 1:
        raise ValueError(f"num_samples must be at least 1, got {num_samples}")


def without_nan(log_probs: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
    """Scores that can be drawn from, and which utterances (B,) had NaN in them and got others."""
    nan = (log_probs.detach().isnan().any(dim=-1) & inside).any(dim=-1)
    if not nan.any():
        return log_probs, nan
    uniform = torch.zeros_like(log_probs).log_softmax(dim=-1)
    return torch.where(nan[:, None, None], uniform, log_probs), nan


def _word_errors(hypothesis: str, reference: str) -> float:
    return count_edits(*(words(normalize_text(text)) for text in (reference, hypothesis))).errors


def _character_errors(hypothesis: str, reference: str) -> float:
    return count_edits(*(normalize_text(text) for text in (reference, hypothesis))).errors
