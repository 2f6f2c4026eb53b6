"""What all searches have that language models count in: settings, and making hypotheses."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np

from asr.data.labels import Labels, read_labels
from asr.decoding.beam_results import Found
from asr.decoding.confidence import Calibration
from asr.decoding.fusion import Fusion, gather, weigh
from asr.decoding.hotwords import HotWord
from asr.decoding.hypothesis import Hypothesis, TokenTimes, hypothesis_of
from asr.lm.loading import model_name
from asr.lm.ngram import NgramModel
from asr.lm.protocol import StepwiseModel


class FusedSearch(ABC):
    """A search over prefixes of labels with language models, a lexicon and hot words.

    Args:
        labels: names of the model's outputs (see `labels.read_labels`), or `Labels`.
        lm: a language model; its words are words or labels, as `fusion.unit` says.
        lexicon: the only words that may be said; None: any.
        hotwords: words and phrases that are more likely here.
        blank: index of the blank; not for `Labels`, which have theirs.
        fusion: how the language model counts.

    Raises:
        DataError: words of the lexicon that the labels cannot spell, or a language model that
            knows too few of the words.
        ValueError: settings that do not fit together.
    """

    def __init__(
        self,
        labels: Sequence[str] | Labels,
        *,
        lm: NgramModel | StepwiseModel | None = None,
        lexicon: Sequence[str] | None = None,
        hotwords: Sequence[HotWord] = (),
        blank: int = 0,
        fusion: Fusion | None = None,
    ) -> None:
        self.labels = labels if isinstance(labels, Labels) else read_labels(labels, blank=blank)
        self.fusion = fusion or Fusion()
        self.lm = lm
        self.calibration: Calibration | None = None  # of the words' confidences
        self._start = lm.start() if isinstance(lm, NgramModel) else 0
        self._stepwise = lm if not isinstance(lm, NgramModel) else None
        self._knowledge = gather(self.labels, lm, lexicon, hotwords, self.fusion.unit)
        self._scorer = weigh(self._knowledge, self.fusion)
        self._sizes = {"lexicon": len(lexicon or ()), "hotwords": len(hotwords)}

    @property
    @abstractmethod
    def beam_size(self) -> int:
        """Most prefixes kept after a frame."""

    @abstractmethod
    def decode_nbest(
        self,
        outputs: Any,
        lengths: Any = None,
        /,
        *,
        nbest: int = 10,
        frame_seconds: float = 1.0,
        durations: Sequence[float] | None = None,
    ) -> list[list[Hypothesis]]:
        """See `decoding.batch.Decoder`."""

    @abstractmethod
    def _forget(self) -> None:
        """Drop what was made for other weights, in a copy."""

    @property
    def signature(self) -> str:
        """What one must know of the search to compare an error rate with another."""
        fusion = self.fusion.signature(None if self.lm is None else model_name(self.lm.source))
        sizes = [f"{name}:{size}" for name, size in self._sizes.items() if size]
        return "|".join([f"beam:{self.beam_size}", *fusion, *sizes])

    def with_fusion(self, fusion: Fusion) -> Self:
        """The same search with other weights; much quicker than a new one.

        Raises:
            ValueError: another unit.
        """
        if fusion.unit != self.fusion.unit:
            raise ValueError(f"unit is {self.fusion.unit!r} here; another needs a new search")
        other = copy.copy(self)
        other.fusion = fusion
        other._scorer = weigh(self._knowledge, fusion)
        other._forget()
        return other

    def _hypotheses(
        self, found: Found, frame_seconds: float, duration: float | None
    ) -> list[Hypothesis]:
        """What was found as hypotheses of different texts: words with times and confidences."""
        columns = [found.tokens.tolist(), *(column.tolist() for column in found.spans)]
        begins = found.token_begin.tolist()
        totals = zip(found.total.tolist(), found.acoustic.tolist(), found.lm.tolist(), strict=True)
        hypotheses = []
        for index, (total, acoustic, lm) in enumerate(totals):
            first, last = begins[index : index + 2]
            hypotheses.append(
                hypothesis_of(
                    TokenTimes(*[column[first:last] for column in columns]),
                    total,
                    self.labels,
                    frame_seconds=frame_seconds,
                    duration=duration,
                    acoustic_log_prob=acoustic,
                    lm_log_prob=None if self.lm is None else lm,
                )
            )
        distinct = _distinct(hypotheses)
        if len(distinct) < len(hypotheses) and not self.fusion.by_length:
            distinct.sort(key=lambda hypothesis: -hypothesis.log_prob)
        hypotheses = distinct
        if self.calibration is not None:
            hypotheses = [self.calibration.applied(hypothesis) for hypothesis in hypotheses]
        return hypotheses


def _distinct(hypotheses: list[Hypothesis]) -> list[Hypothesis]:
    """The hypotheses with those of one text added up, in the order in which texts first appear.

    The search has done so already, but for labels that are bare accents, whose order within a
    letter Unicode does not tell apart.
    """
    by_text: dict[str, Hypothesis] = {}
    for one in hypotheses:
        first = by_text.setdefault(one.text, one)
        if first is not one:
            by_text[one.text] = replace(
                first,
                log_prob=float(np.logaddexp(first.log_prob, one.log_prob)),
                acoustic_log_prob=float(
                    np.logaddexp(first.acoustic_log_prob, one.acoustic_log_prob)
                ),
            )
    return list(by_text.values())
