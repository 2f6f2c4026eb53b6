"""CTC prefix beam search, with language models, a dictionary and hot words; for any CTC model.

    search = BeamSearch([" ", "A", "B", "<blank>"], lm=load_lm(Path("trigram.arpa")), blank=3)
    hypotheses = search.decode(log_probs, lengths)

A hypothesis maximises `ln Pr(labels | audio) + lm_weight ln Pr(words) + word_bonus |words|`. The
compiled loop is in `beam_kernel`, what the language model adds in `prefix_score`.

Reference: Graves & Jaitly, "Towards End-to-End Speech Recognition with Recurrent Neural Networks",
ICML 2014, section 4; Hannun et al., "First-Pass Large Vocabulary Continuous Speech Recognition
using Bi-Directional Recurrent DNNs", 2014.
"""

import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np

from asr.compiled import entry_point
from asr.data.labels import Labels
from asr.decoding.alignment import check_size, token_frames
from asr.decoding.beam_memory import Pruning, Search, allocate
from asr.decoding.beam_results import Found, Wanted, decoded, lm_log_prob, longest_whole, outcome
from asr.decoding.fused_search import FusedSearch
from asr.decoding.fusion import Fusion
from asr.decoding.hotwords import HotWord
from asr.decoding.hypothesis import Hypothesis
from asr.decoding.labelling import labelling_log_prob
from asr.decoding.scores import Scores, as_array, checked_scores
from asr.decoding.stepwise import end_log_prob, follow, forget_rows, label_log_probs
from asr.errors import DataError, ResourceError
from asr.lm.ngram import NgramModel
from asr.lm.protocol import StepwiseModel


@dataclass(frozen=True, slots=True)
class BeamLimits:
    """How much of the search space is looked at.

    Attributes:
        beam_size: most prefixes kept after a frame.
        beam_threshold: a prefix this many nats worse than the best is dropped.
        token_threshold: labels less probable than e to this do not extend a prefix, but the most
            probable of a frame always does.
        max_tokens: most labels of a frame that extend a prefix.
    """

    beam_size: int = 100
    beam_threshold: float = 14.0
    token_threshold: float = -7.0
    max_tokens: int = 1_000_000

    def __post_init__(self) -> None:
        if self.beam_size < 1:
            raise ValueError(f"beam_size must be at least 1, got {self.beam_size}")
        if not self.beam_threshold > 0:
            raise ValueError(f"beam_threshold must be above 0, got {self.beam_threshold}")
        if not self.token_threshold <= 0:
            raise ValueError(f"token_threshold must be 0 or below, got {self.token_threshold}")
        if self.max_tokens < 1:
            raise ValueError(f"max_tokens must be at least 1, got {self.max_tokens}")

    def pruning(self, *, recombine: bool) -> Pruning:
        """The same for the compiled search, whose types are not looked at again."""
        return Pruning(
            int(self.beam_size),
            float(self.beam_threshold),
            float(self.token_threshold),
            int(self.max_tokens),
            recombine,
        )


class BeamSearch(FusedSearch):
    """A prefix beam search over the labels of one model.

    Args:
        labels: names of the model's outputs (see `labels.read_labels`), or `Labels`.
        lm: a language model; its words are words or labels, as `fusion.unit` says.
        lexicon: the only words that may be said; None: any.
        hotwords: words and phrases that are more likely here.
        blank: index of the blank; not for `Labels`, which have theirs.
        fusion: how the language model counts.
        limits: how wide the search is.

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
        limits: BeamLimits | None = None,
    ) -> None:
        super().__init__(
            labels, lm=lm, lexicon=lexicon, hotwords=hotwords, blank=blank, fusion=fusion
        )
        self.limits = limits or BeamLimits()
        self._memory: SimpleQueue[Search] = SimpleQueue()
        self._decoded: dict[tuple[str, bool], Any] = {}  # for each kind of scores

    @property
    def beam_size(self) -> int:
        """Most prefixes kept after a frame."""
        return self.limits.beam_size

    def _forget(self) -> None:
        self._memory, self._decoded = SimpleQueue(), {}

    def decode(
        self, log_probs: Any, lengths: Any = None, *, frame_seconds: float = 1.0
    ) -> list[Hypothesis]:
        """The best hypothesis of each utterance; arguments and errors as for `decode_nbest`."""
        every = self.decode_nbest(log_probs, lengths, nbest=1, frame_seconds=frame_seconds)
        return [hypotheses[0] for hypotheses in every]

    def decode_nbest(
        self,
        log_probs: Any,
        lengths: Any = None,
        *,
        nbest: int = 10,
        frame_seconds: float = 1.0,
        durations: Sequence[float] | None = None,
        num_threads: int = 0,
    ) -> list[list[Hypothesis]]:
        """The best hypotheses of each utterance, the best first; at least one.

        Args:
            log_probs: (B, T, V) array or tensor from `log_softmax`, natural logarithms; what lies
                beyond the lengths is ignored.
            lengths: (B,) frames; None: all of them.
            nbest: most hypotheses of an utterance; their texts differ.
            frame_seconds: time from one frame to the next; by default times are frames.
            durations: seconds of each utterance, which no word's time exceeds.
            num_threads: utterances searched at once; 0: one for each processor.

        Raises:
            DataError: NaN, or a frame in which nothing has a probability.
            ValueError: shapes or lengths that do not fit together, or scores that are not
                normalised log-probabilities.
        """
        if nbest < 1:
            raise ValueError(f"nbest must be at least 1, got {nbest}")
        utterances = checked_scores(as_array(log_probs), lengths, len(self.labels))
        if durations is not None and len(durations) != len(utterances):
            raise ValueError(f"{len(durations)} durations for {len(utterances)} utterances")

        def one(scores: Scores, duration: float | None) -> list[Hypothesis]:
            found = self._search(scores, nbest)
            for length in np.diff(found.token_begin).tolist():
                check_size(len(scores), length)
            return self._hypotheses(found, frame_seconds, duration)

        ends = [None] * len(utterances) if durations is None else durations
        threads = min(num_threads or os.cpu_count() or 1, len(utterances))
        if threads <= 1:
            return list(map(one, utterances, ends))
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(one, utterances, ends))

    def _search(self, scores: Scores, nbest: int) -> Found:
        search = self._borrowed(len(scores))
        try:
            recombine = nbest == 1 and not self.fusion.by_length and self._stepwise is None
            found = self._found(search, scores, nbest, recombine=recombine)
            if recombine and not len(found.total):  # each prefix ends inside a word: leave out less
                found = self._found(search, scores, nbest, recombine=False)
            if found.lost:
                raise DataError(
                    "in some frame neither the blank nor any label that is text has a probability: "
                    "the model diverged, or the labels stand in another order"
                )
            return found if len(found.total) else self._whole_words(search, scores)
        finally:
            self._memory.put(search)

    def _found(self, search: Search, scores: Scores, nbest: int, *, recombine: bool) -> Found:
        wanted = Wanted(self.labels.blank, self._start, int(nbest), self.fusion.by_length)
        pruning = self.limits.pruning(recombine=recombine)
        if self._stepwise is not None:
            histories = self._stepwise.open()
            follow(search, self._scorer, pruning, wanted.blank, scores, histories)
            found = Found(*outcome(search, self._scorer, wanted, scores))
            said = (self._stepwise, self._scorer, found.tokens, found.token_begin)
            return found._replace(lm=label_log_probs(*said))
        arguments = (search, self._scorer, pruning, wanted, scores)
        kind = (scores.dtype.char, scores.flags.writeable)
        if kind not in self._decoded:
            self._decoded[kind] = entry_point(decoded, arguments)
        return Found(*self._decoded[kind](*arguments))

    def _whole_words(self, search: Search, scores: Scores) -> Found:
        """The best prefix without its unfinished word, where no prefix is a hypothesis.

        Raises:
            DataError: it has no probability.
        """
        if self._stepwise is not None:
            forget_rows(search)
        tokens, added = longest_whole(search, self._scorer)
        acoustic = labelling_log_prob(scores, tokens, self.labels.blank)
        if acoustic == -math.inf:
            raise DataError(
                "no words of the lexicon have a probability above zero in these scores; they are "
                "exact zeros, or need a wider beam"
            )
        begins = np.array([0, len(tokens)])
        lm = float(lm_log_prob(self._scorer, self._start, tokens))
        if self._stepwise is not None:
            lm = float(label_log_probs(self._stepwise, self._scorer, tokens, begins)[0])
            added += self.fusion.lm_weight * end_log_prob(self._stepwise, self._scorer, tokens)
        starts, ends, confidences, _ = token_frames(scores, tokens, self.labels.blank)
        return Found(
            lost=False,
            total=np.array([acoustic + added]),
            acoustic=np.array([acoustic]),
            lm=np.array([lm]),
            tokens=tokens,
            token_begin=begins,
            spans=(starts, ends, confidences),
        )

    def _borrowed(self, num_frames: int) -> Search:
        """Working memory for an utterance, from an earlier one if it is large enough.

        Raises:
            ResourceError: there is not enough.
        """
        prior_states = len(self._scorer.lm.backoff_states) if self._scorer.weights.prior else 0
        try:
            search = self._memory.get_nowait()
            if len(search.nodes) > num_frames * self.limits.beam_size:
                return search
        except Empty:
            pass
        beam_size = self.limits.beam_size
        shape = (prior_states, len(self._scorer.trie))
        lm_words = 0 if self._stepwise is None else len(self._stepwise.words)
        try:
            return allocate(
                num_frames, beam_size, len(self.labels), prior_shape=shape, lm_words=lm_words
            )
        except (MemoryError, ValueError) as error:  # the latter: more than NumPy can count
            raise ResourceError(
                f"out of memory for a beam of {beam_size:,} over {num_frames:,} frames; lower "
                "beam_size"
            ) from error
