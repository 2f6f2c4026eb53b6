"""Beam search of a transducer, with language models, a dictionary and hot words.

    search = TransducerSearch(model, labels, lm=load_lm(Path("trigram.arpa")))
    encoded, lengths = model(waveforms, waveform_lengths)
    hypotheses = search.decode_nbest(encoded, lengths)

A hypothesis maximises `ln Pr(labels | audio) + lm_weight ln Pr(words) + word_bonus |words|`, as in
the search of CTC, with the same settings. The networks are asked about many prefixes of many
utterances at once (`transducer_rows`); what happens between two questions is compiled
(`transducer_kernel`).

Reference: Graves, "Sequence transduction with recurrent neural networks", 2012, section 2.5; the
order is that of the probability itself, not divided by the length (Graves et al. 2013).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asr.data.labels import Labels
from asr.decoding.beam_memory import new_memo
from asr.decoding.beam_results import Found, Wanted, best_texts, lm_log_prob, whole_words
from asr.decoding.fused_search import FusedSearch
from asr.decoding.fusion import Fusion
from asr.decoding.hotwords import HotWord
from asr.decoding.hypothesis import Hypothesis
from asr.decoding.prefix_score import NONE, STEPWISE, Memo
from asr.decoding.stepwise import end_log_prob, label_log_probs
from asr.decoding.transducer_alignment import transducer_log_prob
from asr.decoding.transducer_kernel import begin_all, take_turn
from asr.decoding.transducer_memory import (
    ASKED,
    ASKS,
    BEAM,
    FREE,
    Beams,
    Breadth,
    allocate_beams,
    with_room,
)
from asr.decoding.transducer_networks import (
    BLANK,
    MAX_SYMBOLS,
    TransducerNetworks,
    checked_outputs,
)
from asr.decoding.transducer_paths import mark_used, read_traces
from asr.decoding.transducer_rows import NetworkRows
from asr.errors import DataError, ResourceError
from asr.lm.ngram import NgramModel
from asr.lm.protocol import StepwiseModel

ROWS = 8  # in the tables at first, for each prefix of each beam


@dataclass(frozen=True, slots=True)
class TransducerLimits:
    """How much of the search space is looked at.

    Attributes:
        beam_size: most prefixes kept after a frame.
        beam_threshold: a prefix this many nats worse than the best is dropped.
        token_threshold: labels less probable than e to this do not extend a prefix, but its most
            probable one always does.
        max_symbols_per_frame: most labels by which a frame makes a prefix longer.
    """

    beam_size: int = 16
    beam_threshold: float = 14.0
    token_threshold: float = -7.0
    max_symbols_per_frame: int = MAX_SYMBOLS

    def __post_init__(self) -> None:
        if self.beam_size < 1:
            raise ValueError(f"beam_size must be at least 1, got {self.beam_size}")
        if not self.beam_threshold > 0:
            raise ValueError(f"beam_threshold must be above 0, got {self.beam_threshold}")
        if not self.token_threshold <= 0:
            raise ValueError(f"token_threshold must be 0 or below, got {self.token_threshold}")
        if self.max_symbols_per_frame < 1:
            raise ValueError(
                f"max_symbols_per_frame must be at least 1, got {self.max_symbols_per_frame}"
            )

    def breadth(self) -> Breadth:
        """The same for the compiled search, whose types are not looked at again."""
        return Breadth(
            int(self.beam_size),
            float(self.beam_threshold),
            float(self.token_threshold),
            int(self.max_symbols_per_frame),
        )


class TransducerSearch(FusedSearch):
    """A beam search over the labels of one transducer, whose blank is label 0.

    Args:
        networks: prediction and joint network, in evaluation mode.
        labels: names of the model's outputs (see `labels.read_labels`), or `Labels`.
        lm: a language model; its words are words or labels, as `fusion.unit` says.
        lexicon: the only words that may be said; None: any.
        hotwords: words and phrases that are more likely here.
        fusion: how the language model counts.
        limits: how wide the search is.

    Raises:
        DataError: words of the lexicon that the labels cannot spell, or a language model that
            knows too few of the words.
        ValueError: settings that do not fit together.
    """

    def __init__(
        self,
        networks: TransducerNetworks,
        labels: Sequence[str] | Labels,
        *,
        lm: NgramModel | StepwiseModel | None = None,
        lexicon: Sequence[str] | None = None,
        hotwords: Sequence[HotWord] = (),
        fusion: Fusion | None = None,
        limits: TransducerLimits | None = None,
    ) -> None:
        super().__init__(labels, lm=lm, lexicon=lexicon, hotwords=hotwords, fusion=fusion)
        if self.labels.blank != BLANK:
            raise ValueError(f"the blank of a transducer is label 0, got {self.labels.blank}")
        self.networks = networks
        self.limits = limits or TransducerLimits()

    @property
    def device(self) -> torch.device:
        """Where the networks compute."""
        return self.networks.begin(1).device

    @property
    def beam_size(self) -> int:
        """Most prefixes kept after a frame."""
        return self.limits.beam_size

    def decode_nbest(
        self,
        encoded: Tensor,
        lengths: Tensor | None = None,
        /,
        *,
        nbest: int = 10,
        frame_seconds: float = 1.0,
        durations: Sequence[float] | None = None,
    ) -> list[list[Hypothesis]]:
        """The best hypotheses of each utterance, the best first; at least one.

        Args:
            encoded: (B, T, J) what the encoder makes of the frames.
            lengths: (B,) int64 frames; None: all of them.
            nbest: most hypotheses of an utterance; their texts differ.
            frame_seconds: time from one frame to the next; by default times are frames.
            durations: seconds of each utterance, which no word's time exceeds.

        Raises:
            DataError: values that are not finite, a frame in which nothing has a probability, or
                no words of the lexicon have one.
            ResourceError: there is not enough memory.
            ValueError: shapes or lengths that do not fit together, or networks of other labels.
        """
        if nbest < 1:
            raise ValueError(f"nbest must be at least 1, got {nbest}")
        frames, ends = checked_outputs(encoded, lengths, durations)
        with torch.inference_mode():
            beams, memo = self._search(encoded, np.array(frames, dtype=np.int64))
            return [
                self._hypotheses(
                    self._found(beams, memo, b, encoded[b, : frames[b]], nbest),
                    frame_seconds,
                    duration,
                )
                for b, duration in enumerate(ends)
            ]

    def _forget(self) -> None:
        pass  # nothing is kept from one batch to the next

    def _search(self, encoded: Tensor, frames: NDArray[np.int64]) -> tuple[Beams, Memo]:
        """The beams after the last frame of each utterance, and the memo that their ends need.

        Raises:
            DataError: the joint network gives NaN.
            ResourceError: there is not enough memory.
            ValueError: networks of other labels.
        """
        scorer, breadth = self._scorer, self.limits.breadth()
        try:
            beams = allocate_beams(frames, breadth, len(self.labels))
        except (MemoryError, ValueError) as error:  # the latter: more than NumPy can count
            raise self._out_of_memory(frames) from error
        prior_states = len(scorer.lm.backoff_states) if scorer.weights.prior else 0
        memo = new_memo(prior_states, len(scorer.trie), (0, 0))
        if not len(frames):
            return beams, memo
        histories = None if self._stepwise is None else self._stepwise.open()
        rows = NetworkRows(self.networks, encoded, histories)
        memo = rows.first_label_rows(memo)
        begin_all(beams, scorer, breadth, self._start, encoded.shape[1])
        while beams.counts[ASKS]:
            try:
                beams, memo = self._make_room(beams, memo, rows, breadth)
            except (MemoryError, RuntimeError) as error:  # of NumPy, of torch
                raise self._out_of_memory(frames) from error
            answers = rows.answers(beams)
            if answers.shape[1] != len(self.labels):  # compiled code would read beyond its arrays
                raise ValueError(
                    f"{len(self.labels)} labels for networks of {answers.shape[1]} outputs"
                )
            take_turn(beams, scorer, memo, breadth, answers, encoded.shape[1])
            rows.fill(beams, scorer, memo)
        return beams, memo

    def _make_room(
        self, beams: Beams, memo: Memo, rows: NetworkRows, breadth: Breadth
    ) -> tuple[Beams, Memo]:
        """Memory for as many new prefixes as a turn may bring."""
        active = int((beams.sizes[:, ASKED] > 0).sum())
        needed = active * breadth.beam_size
        beams = with_room(beams)
        if beams.counts[FREE] >= needed:
            return beams, memo
        used = np.zeros(len(rows), np.bool_)
        mark_used(beams, breadth, used, self._scorer.weights.unit == STEPWISE)
        size = max(len(rows), ROWS * len(beams.sizes) * breadth.beam_size)
        while size - used.sum() < max(needed, size // 2):
            size *= 2
        if size > len(rows):
            memo = rows.grow(size, memo)
            used = np.concatenate([used, np.zeros(size - len(used), np.bool_)])
        return rows.free(beams, used), memo

    def _out_of_memory(self, frames: NDArray[np.int64]) -> ResourceError:
        return ResourceError(
            f"out of memory for a beam of {self.beam_size:,} over {len(frames):,} utterances of up "
            f"to {frames.max(initial=0):,} frames; lower beam_size"
        )

    def _found(self, beams: Beams, memo: Memo, b: int, encoded: Tensor, nbest: int) -> Found:
        """The best hypotheses of an utterance, with the frames of their labels.

        Raises:
            DataError: a frame in which nothing has a probability, or no words of the lexicon.
        """
        wanted = Wanted(BLANK, self._start, int(nbest), self.fusion.by_length)
        beam, nodes = beams.beam[b, : beams.sizes[b, BEAM]], beams.nodes[b]
        if not len(beam):
            raise DataError(
                f"in some frame of utterance {b} of the batch neither the blank nor any label that "
                "is text has a probability: the model diverged, or the labels stand in another "
                "order"
            )
        slots, total, acoustic, lm, tokens, begins = best_texts(
            nodes, beam, self._scorer, memo, wanted, 0.0
        )
        if not len(total):
            slots = np.zeros(1, np.int64)
            total, acoustic, lm, tokens, begins = self._whole_words(
                nodes, int(beam[0]["node"]), memo, encoded
            )
        elif self._stepwise is not None:
            lm = label_log_probs(self._stepwise, self._scorer, tokens, begins)
        frames, said = read_traces(beams.traces[b], beam["trace"][slots], begins)
        spans = (frames, frames + 1, np.exp(np.minimum(said, 0.0)))
        return Found(False, total, acoustic, lm, tokens, begins, spans)

    def _whole_words(
        self, nodes: NDArray[np.void], node: int, memo: Memo, encoded: Tensor
    ) -> tuple[NDArray[np.float64], ...]:
        """The best prefix without its unfinished word, where no prefix is a hypothesis.

        Raises:
            DataError: it has no probability.
        """
        if self._stepwise is not None:
            nodes["lm_state"] = NONE
        tokens, added = whole_words(nodes, node, self._scorer, memo)
        acoustic = transducer_log_prob(self.networks, encoded, tokens)
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
        return np.array([acoustic + added]), np.array([acoustic]), np.array([lm]), tokens, begins
