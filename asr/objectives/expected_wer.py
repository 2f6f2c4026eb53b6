"""The expected error rate of a CTC model's transcripts, by sampling alignments.

    losses = expected_loss(log_probs, lengths, ["HELLO WORLD"], labels=["<blank>", " ", "A", …])
    losses.mean().backward()

The loss of an utterance is the mean, over all alignments with their probabilities, of the errors of
the transcript that each spells. Frames are independent given the audio, so the derivative with
respect to the probability of label k at frame t is the mean loss of the alignments that have k
there, and a sample of all alignments becomes one of those by writing k at t. Every sample thus
serves every label of every frame, and through the softmax, with P the probabilities,

    dL/dlogit[t, k] ~ P[t, k] / S * sum_s (loss(sample s with k at t) - Z[s, t]),
    Z[s, t] = sum_k P[t, k] loss(sample s with k at t).

What all labels of a frame share cancels: a frame whose exchange alters nothing gets no gradient.

Reference: Graves & Jaitly, "Towards End-to-End Speech Recognition with Recurrent Neural Networks",
ICML 2014, section 3.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor

from asr.config import Config
from asr.data.labels import Labels, read_labels
from asr.objectives.character_exchange import exchange_characters
from asr.objectives.sampling import draw, with_gradient
from asr.objectives.text_loss import (
    Loss,
    check_arguments,
    divisors,
    losses_of_samples,
    mean_losses,
    text_loss,
)
from asr.objectives.transcript_exchange import exchange_transcripts
from asr.objectives.transcripts import check_words, spelling_of
from asr.objectives.word_exchange import exchange_words


class ExpectedWERConfig(Config):
    """Train on the expected error rate; begin with the weights of a CTC model (`init_from`)."""

    name: Literal["expected_wer"]
    loss: Literal["wer", "cer"] = "wer"
    # exchange: every label of every frame (Graves & Jaitly 2014); to compare with: reinforce, with
    # a baseline; nbest, over the hypotheses of a beam search
    estimator: Literal["exchange", "reinforce", "nbest"] = "exchange"
    num_samples: int = Field(default=5, ge=1)  # alignments; with nbest: hypotheses
    raw_counts: bool = False  # errors instead of errors by the length of the reference
    probability_floor: float = Field(default=0.0, ge=0, lt=1)  # less probable: taken to be harmless
    ctc_weight: float = Field(default=0.0, ge=0)  # of the CTC loss, nats an utterance, added

    @field_validator("num_samples")
    @classmethod
    def _enough(cls, num_samples: int, info: ValidationInfo) -> int:
        if num_samples < 2 and info.data.get("estimator") in ("reinforce", "nbest"):
            raise ValueError("at least 2 for this estimator")
        return num_samples

    @field_validator("probability_floor")
    @classmethod
    def _exchanged(cls, floor: float, info: ValidationInfo) -> float:
        if floor and info.data.get("estimator") in ("reinforce", "nbest"):
            raise ValueError("0 for this estimator, which exchanges no labels")
        return floor


# Of utterance b, its alignments (S, T); fills changes (T, V) and losses (S,).
Exchange = Callable[[int, NDArray[np.int64], NDArray[Any], NDArray[np.float64]], None]


def expected_loss(  # noqa: PLR0913 - usable alone, without a config
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
    probability_floor: float = 0.0,
) -> Tensor:
    """(B,) mean losses of the samples; the mean of their gradients is that of the expectation.

    Train a model with CTC first: from random weights nearly every sampled transcript is so wrong
    that no single label changes its errors.

    Args:
        log_probs: (B, T, V) float32 or float64 from `log_softmax`. What lies beyond the lengths
            changes nothing and gets no gradient.
        lengths: (B,) int64 frames, each 1 to T.
        references: what was said in each utterance.
        labels: names of the model's outputs (see `asr.data.labels.read_labels`), or `Labels`.
        blank: index of the blank; not for `Labels`, which have theirs.
        num_samples: S, alignments drawn for each utterance.
        loss: "wer": word errors by the words of the reference; "cer": the same for characters; or
            any function of (hypothesis, reference), called once for each different transcript:
            some thousand times an utterance, never from two threads at once.
        generator: of the samples, on the device of `log_probs`; by default torch's global one.
        raw_counts: errors as they are, so that long utterances count more, instead of by the
            length of the reference. A function's values are never divided.
        probability_floor: labels less probable than this are taken to change nothing. It saves
            calls of a function; the count of words or characters is as quick without. The gradient
            is then a little wrong, see `docs/expected_wer.md`.

    Returns:
        The losses; NaN for an utterance whose scores hold NaN.

    Raises:
        ValueError: shapes, lengths or settings that do not fit together, scores that are not
            normalised, or a function's value that is not finite.
        TypeError: other dtypes than those above.
    """
    known = labels if isinstance(labels, Labels) else read_labels(labels, blank=blank)
    check_arguments(log_probs, lengths, references, known, num_samples)
    if not 0 <= probability_floor < 1:
        raise ValueError(f"probability_floor must be 0 to 1, got {probability_floor}")
    if loss == "wer":
        check_words(spelling_of(known), references)
    learns = log_probs.requires_grad and torch.is_grad_enabled()
    scores, broken, alignments = draw(log_probs, lengths, num_samples, generator)
    with torch.no_grad():
        by = torch.tensor(divisors(loss, references, raw_counts), device=scores.device)
        if not learns:
            losses = losses_of_samples(alignments, lengths, references, known, loss)
            return mean_losses(losses, by, broken, log_probs)
        probs = scores.exp().nan_to_num_(0.0)  # beyond the lengths may stand anything
        wanted = probs >= probability_floor if probability_floor else None
        exchange = _exchange(loss, known, references, wanted)
        threads = 1 if callable(loss) else torch.get_num_threads()
        losses, changes = _exchange_all(exchange, alignments, lengths, probs, threads)
        if wanted is not None:
            changes *= wanted
        changes -= (probs * changes).sum(dim=-1, keepdim=True)
        gradient = probs * changes / (num_samples * by)[:, None, None].to(probs.dtype)
        values = mean_losses(losses, by, broken, log_probs)
    return with_gradient(log_probs, values, gradient)


def _exchange(
    loss: Loss, labels: Labels, references: Sequence[str], wanted: Tensor | None
) -> Exchange:
    """What counts the errors of one utterance: compiled where a text is its labels' texts."""
    spelling = spelling_of(labels)
    blank = labels.blank
    if loss == "wer" and spelling.is_plain:
        texts = [spelling.reference_words(reference) for reference in references]
        return lambda b, alignments, changes, losses: exchange_words(
            alignments, blank, spelling.labels, texts[b], changes, losses
        )
    if loss == "cer" and spelling.is_plain:
        letters = [spelling.reference_characters(reference) for reference in references]
        return lambda b, alignments, changes, losses: exchange_characters(
            alignments, blank, spelling.labels, letters[b], changes, losses
        )
    function = text_loss(loss)
    masks = None if wanted is None else wanted.cpu().numpy()

    def ask(b: int, alignments: Any, changes: Any, losses: Any) -> None:
        mask = None if masks is None else masks[b, : len(changes)]
        exchange_transcripts(alignments, references[b], labels, function, changes, losses, mask)

    return ask


def _exchange_all(
    exchange: Exchange, alignments: Tensor, lengths: Tensor, probs: Tensor, threads: int
) -> tuple[Tensor, Tensor]:
    """(B, S) losses of the samples and (B, T, V) sums of changes, utterances in parallel."""
    samples = alignments.cpu().numpy()
    frames = lengths.tolist()
    losses = np.empty(samples.shape[:2])
    changes = np.zeros(probs.shape, np.float64 if probs.dtype == torch.float64 else np.float32)

    def one(b: int) -> None:
        own = np.ascontiguousarray(samples[b, :, : frames[b]])  # one type, compiled once
        exchange(b, own, changes[b, : frames[b]], losses[b])

    threads = min(threads, len(samples))
    if threads <= 1:
        for b in range(len(samples)):
            one(b)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(one, range(len(samples))))
    return torch.from_numpy(losses), torch.from_numpy(changes).to(probs.device)
