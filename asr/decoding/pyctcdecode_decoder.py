"""The same scores, language model and weights through pyctcdecode, to compare.

pyctcdecode (Kensho) searches in Python with KenLM. It takes a model of words only, with an open
vocabulary. Its search prunes otherwise than ours, so scores may differ; words get their times and
confidences from our alignment of its text.
"""

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from asr.data.labels import Labels
from asr.decoding.alignment import aligned
from asr.decoding.beam import BeamLimits
from asr.decoding.fusion import SPECIAL, Fusion
from asr.decoding.hypothesis import Hypothesis, hypothesis_of
from asr.decoding.labelling import labelling_log_prob
from asr.decoding.scores import as_array, checked_scores
from asr.errors import ConfigError, DataError, shown
from asr.lm.loading import listed_words, load_lm


class PyctcdecodeDecoder:
    """A `Decoder` that hands the work to pyctcdecode.

    Args:
        labels: of the model, the blank first.
        lm: an ARPA file of words, of order 2 or more (KenLM reads no unigram models); None: none.
        fusion: its weights; the unit must be "word" and the kind "shallow".
        limits: how wide the search is.

    Raises:
        ConfigError: pyctcdecode or kenlm is not installed, or cannot do what is asked for.
        DataError: the model cannot be read, or not by KenLM.
    """

    def __init__(self, labels: Labels, lm: Path | None, fusion: Fusion, limits: BeamLimits) -> None:
        if fusion.unit != "word" or fusion.kind != "shallow":
            raise ConfigError(
                "--decoder pyctcdecode has neither --lm-unit token nor --fusion prior"
            )
        if labels.blank != 0:
            raise ConfigError(
                f"--decoder pyctcdecode needs the blank to be label 0, not {labels.blank}"
            )
        self.labels, self.fusion, self.limits = labels, fusion, limits
        named = fusion.signature(None if lm is None else lm.name)
        self.signature = "|".join(["pyctcdecode", f"beam:{limits.beam_size}", *named])
        written = ["", *(_written(labels, index) for index in range(1, len(labels)))]
        self._tokens = {text: index for index, text in enumerate(written) if index}
        self._decoder = _build(written, lm, fusion)

    def decode_nbest(
        self,
        log_probs: Any,
        lengths: Any = None,
        *,
        nbest: int = 10,
        frame_seconds: float = 1.0,
        durations: Sequence[float] | None = None,
    ) -> list[list[Hypothesis]]:
        """As `decoding.batch.Decoder`; errors as for `beam.BeamSearch`."""
        scores = checked_scores(as_array(log_probs), lengths, len(self.labels))
        ends = [None] * len(scores) if durations is None else durations
        return [
            self._hypotheses(one, nbest, frame_seconds, end)
            for one, end in zip(scores, ends, strict=True)
        ]

    def _hypotheses(
        self, scores: Any, nbest: int, frame_seconds: float, duration: float | None
    ) -> list[Hypothesis]:
        silence = np.full((1, len(self.labels)), -1e3)  # it warns of an utterance without frames
        silence[0, self.labels.blank] = 0.0
        beams = self._decoder.decode_beams(
            scores if len(scores) else silence,
            beam_width=self.limits.beam_size,
            beam_prune_logp=-self.limits.beam_threshold,
            token_min_logp=self.limits.token_threshold,
        )
        found = []
        for beam in beams[:nbest]:
            tokens = np.array(self._spelt(beam[0]), dtype=np.int64)
            times, _ = aligned(scores, tokens, self.labels.blank)
            found.append(
                hypothesis_of(
                    times,
                    float(beam[-1]),
                    self.labels,
                    frame_seconds=frame_seconds,
                    duration=duration,
                    acoustic_log_prob=labelling_log_prob(scores, tokens, self.labels.blank),
                )
            )
        return found

    def _spelt(self, text: str) -> list[int]:
        """Labels that spell a text of pyctcdecode."""
        return [self._tokens[character] for character in text]


def _written(labels: Labels, index: int) -> str:
    """A label as pyctcdecode wants it.

    Raises:
        ConfigError: a label of several characters, whose texts it segments in its own way.
    """
    piece = labels.pieces[index]
    if piece is not None and piece.starts_word and not piece.text:
        return " "
    if piece is None or len(piece.text) != 1 or piece.starts_word:
        raise ConfigError(
            f"--decoder pyctcdecode is for labels that are characters, not '{labels.names[index]}'"
        )
    return piece.text


def _build(labels: list[str], lm: Path | None, fusion: Fusion) -> Any:
    try:
        from pyctcdecode.decoder import build_ctcdecoder
    except ImportError as error:
        raise ConfigError(
            "--decoder pyctcdecode needs pyctcdecode: pip install 'asr-toolkit[decoders]'"
        ) from error
    logging.getLogger("pyctcdecode").setLevel(logging.ERROR)
    # Left to itself it knows only the words that have a back-off weight, and none of a .gz file.
    known = None if lm is None else [w for w in listed_words(load_lm(lm)) if w not in SPECIAL]
    try:
        return build_ctcdecoder(
            labels,
            None if lm is None else str(lm),
            known,
            alpha=fusion.lm_weight,
            beta=fusion.word_bonus,
            unk_score_offset=-fusion.unknown_penalty / math.log(10),
        )
    except OSError as error:
        raise DataError(f"{shown(str(lm))}: KenLM cannot read it: {error}") from error
