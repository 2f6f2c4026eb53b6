"""What a recogniser is trained to minimise: a recipe's `[objective]`, applied to batches.

A criterion gives a loss for each utterance from what a model puts out, and says what to call it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from asr.data.batching import Batch
from asr.data.labels import Labels
from asr.decoding.beam import BeamLimits, BeamSearch
from asr.models.speech import SpeechModel
from asr.models.transducer import TransducerConfig, TransducerModel
from asr.objectives.ctc import CTCConfig, ctc_loss, frames_needed, smoothed
from asr.objectives.expected_wer import ExpectedWERConfig, expected_loss
from asr.objectives.nbest_wer import nbest_loss
from asr.objectives.reinforce import reinforce_loss
from asr.objectives.sampling import frames_inside
from asr.objectives.text_loss import divisors, text_loss, without_nan
from asr.objectives.transducer import joint_transducer_loss

NBEST_BEAM = 16  # prefixes, at least; the hypotheses of a list come out of them
ObjectiveConfig = CTCConfig | ExpectedWERConfig | TransducerConfig


class Criterion(Protocol):
    """A loss of recognition.

    Attributes:
        name: what the mean loss is, for people.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    def frames_needed(self, tokens: Sequence[int]) -> int:
        """The fewest frames of an utterance of these tokens that has a finite loss."""

    def __call__(
        self, outputs: Tensor, lengths: Tensor, batch: Batch, texts: Sequence[str], /
    ) -> Tensor:
        """(B,) losses.

        Args:
            outputs: (B, T, …) of the model for each frame.
            lengths: (B,) frames.
            batch: with the targets.
            texts: what was said, in each utterance.
        """


@dataclass(frozen=True)
class CTCCriterion:
    """The CTC loss, in nats, perhaps of smoothed labels."""

    label_smoothing: float = 0.0

    @property
    def name(self) -> str:
        """What the mean loss is, for people."""
        return "smoothed loss" if self.label_smoothing else "loss"

    def frames_needed(self, tokens: Sequence[int]) -> int:
        """See `Criterion`."""
        return max(1, frames_needed(tokens))

    def __call__(
        self, log_probs: Tensor, lengths: Tensor, batch: Batch, texts: Sequence[str]
    ) -> Tensor:
        """(B,) losses of log-probabilities (B, T, V); see `Criterion`."""
        costs = ctc_loss(log_probs, lengths, batch.targets, batch.target_lengths, ids=batch.ids)
        if self.label_smoothing == 0:
            return costs
        return smoothed(costs, log_probs, lengths, self.label_smoothing)


@dataclass(frozen=True)
class TransducerCriterion:
    """The transducer loss, in nats, and perhaps some of the CTC loss of the encoder."""

    model: TransducerModel
    ctc_weight: float = 0.0

    @property
    def name(self) -> str:
        """What the mean loss is, for people."""
        return "loss" if self.ctc_weight == 0 else f"loss + {self.ctc_weight:g} CTC"

    def frames_needed(self, tokens: Sequence[int]) -> int:
        """See `Criterion`; a transducer can say any number of tokens in a frame."""
        return 1 if self.ctc_weight == 0 else max(1, frames_needed(tokens))

    def __call__(
        self, encoded: Tensor, lengths: Tensor, batch: Batch, texts: Sequence[str]
    ) -> Tensor:
        """(B,) losses of what the encoder makes of the frames (B, T, J); see `Criterion`."""
        losses = joint_transducer_loss(
            self.model.joint,
            encoded,
            self.model.predict(batch.targets, batch.target_lengths),
            batch.targets,
            lengths,
            batch.target_lengths,
            ids=batch.ids,
        )
        if self.ctc_weight == 0:
            return losses
        log_probs = self.model.ctc_log_probs(encoded)
        ctc = ctc_loss(log_probs, lengths, batch.targets, batch.target_lengths, ids=batch.ids)
        return losses + self.ctc_weight * ctc


@dataclass(frozen=True)
class ExpectedErrorCriterion:
    """The expected error rate, by one of its estimators, and perhaps some of the CTC loss."""

    config: ExpectedWERConfig
    labels: Labels

    @property
    def name(self) -> str:
        """What the mean loss is, for people."""
        unit = "errors" if self.config.raw_counts else self.config.loss.upper()
        if self.config.estimator == "nbest":
            name = f"{unit} of the n-best list"
        else:
            name = f"sampled {unit}"
        return name if self.config.ctc_weight == 0 else f"{name} + {self.config.ctc_weight:g} CTC"

    def frames_needed(self, tokens: Sequence[int]) -> int:
        """See `Criterion`."""
        return max(1, frames_needed(tokens))

    def __call__(
        self, log_probs: Tensor, lengths: Tensor, batch: Batch, texts: Sequence[str]
    ) -> Tensor:
        """(B,) losses of log-probabilities (B, T, V); see `Criterion`."""
        losses = self._estimate(log_probs, lengths, batch, texts)
        if self.config.ctc_weight == 0:
            return losses
        ctc = ctc_loss(log_probs, lengths, batch.targets, batch.target_lengths, ids=batch.ids)
        return losses + self.config.ctc_weight * ctc

    def _estimate(
        self, log_probs: Tensor, lengths: Tensor, batch: Batch, texts: Sequence[str]
    ) -> Tensor:
        config = self.config
        if config.estimator == "nbest":
            return self._nbest(log_probs, lengths, batch, texts)
        if config.estimator == "reinforce":
            return reinforce_loss(
                log_probs,
                lengths,
                texts,
                labels=self.labels,
                num_samples=config.num_samples,
                loss=config.loss,
                raw_counts=config.raw_counts,
            )
        return expected_loss(
            log_probs,
            lengths,
            texts,
            labels=self.labels,
            num_samples=config.num_samples,
            loss=config.loss,
            raw_counts=config.raw_counts,
            probability_floor=config.probability_floor,
        )

    def _nbest(
        self, log_probs: Tensor, lengths: Tensor, batch: Batch, texts: Sequence[str]
    ) -> Tensor:
        inside = frames_inside(lengths.to(log_probs.device), log_probs.shape[1])
        scores, broken = without_nan(log_probs, inside)
        lists = self._search.decode_nbest(scores.detach(), lengths, nbest=self.config.num_samples)
        count = text_loss(self.config.loss)
        by = divisors(self.config.loss, texts, self.config.raw_counts)
        losses = [
            [count(hypothesis.text, text) / length for hypothesis in hypotheses]
            for hypotheses, text, length in zip(lists, texts, by, strict=True)
        ]
        candidates = [[hypothesis.tokens for hypothesis in hypotheses] for hypotheses in lists]
        means = nbest_loss(scores, lengths, candidates, losses, ids=batch.ids)
        return means.masked_fill(broken, torch.nan)

    @cached_property
    def _search(self) -> BeamSearch:
        limits = BeamLimits(beam_size=max(NBEST_BEAM, 2 * self.config.num_samples))
        return BeamSearch(self.labels, limits=limits)


def build_criterion(config: ObjectiveConfig, labels: Labels, model: SpeechModel) -> Criterion:
    """The criterion that a recipe asks for, for its model, with these labels."""
    if isinstance(model, TransducerModel):
        return TransducerCriterion(model, getattr(config, "ctc_weight", 0.0))
    if isinstance(config, ExpectedWERConfig):
        return ExpectedErrorCriterion(config, labels)
    return CTCCriterion(getattr(config, "label_smoothing", 0.0))
