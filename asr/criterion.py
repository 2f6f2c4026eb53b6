"""What a recogniser is trained to minimise: a recipe's `[objective]`, applied to batches.

A criterion gives a loss for each utterance from a model's scores, and says what to call it.
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
from asr.objectives.ctc import CTCConfig, ctc_loss
from asr.objectives.expected_wer import ExpectedWERConfig, expected_loss
from asr.objectives.nbest_wer import nbest_loss
from asr.objectives.reinforce import reinforce_loss
from asr.objectives.sampling import frames_inside
from asr.objectives.text_loss import divisors, text_loss, without_nan

NBEST_BEAM = 16  # prefixes, at least; the hypotheses of a list come out of them


class Criterion(Protocol):
    """A loss of recognition.

    Attributes:
        name: what the mean loss is, for people.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    def __call__(
        self, log_probs: Tensor, lengths: Tensor, batch: Batch, texts: Sequence[str]
    ) -> Tensor:
        """(B,) losses.

        Args:
            log_probs: (B, T, V) of the model.
            lengths: (B,) frames.
            batch: with the targets.
            texts: what was said, in each utterance.
        """


@dataclass(frozen=True)
class CTCCriterion:
    """The CTC loss, in nats."""

    name: str = "loss"

    def __call__(
        self, log_probs: Tensor, lengths: Tensor, batch: Batch, texts: Sequence[str]
    ) -> Tensor:
        """(B,) losses; see `Criterion`."""
        return ctc_loss(log_probs, lengths, batch.targets, batch.target_lengths, ids=batch.ids)


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

    def __call__(
        self, log_probs: Tensor, lengths: Tensor, batch: Batch, texts: Sequence[str]
    ) -> Tensor:
        """(B,) losses; see `Criterion`."""
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


def build_criterion(config: CTCConfig | ExpectedWERConfig, labels: Labels) -> Criterion:
    """The criterion that a recipe asks for, for a model with these labels."""
    if isinstance(config, ExpectedWERConfig):
        return ExpectedErrorCriterion(config, labels)
    return CTCCriterion()
