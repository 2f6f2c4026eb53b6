"""The searches that `bench_decoder` compares, each as a function from scores to a text.

Every search gets the same arrays, language model, words and weights, in its own units: pyctcdecode
counts `unk_score_offset` in powers of ten, flashlight-text weighs logarithms to the base of ten.
flashlight's words end with a space, so its arrays have one more frame in which a space is certain:
the last word ends there without cost, as the other searches let it.
"""

import json
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.decoding.beam import BeamLimits, BeamSearch
from asr.decoding.fusion import Fusion
from asr.decoding.labelling import labelling_log_prob
from asr.lm.loading import load_lm
from asr.lm.ngram import NgramModel

LN10 = math.log(10)
IMPOSSIBLE = -1e4  # ln of what the other labels have in flashlight's last frame
Scores = NDArray[np.float32]
Search = Callable[[Scores], str]


@dataclass(frozen=True)
class Material:
    """What the searches work on.

    Attributes:
        labels: characters; the blank, "", first.
        scores: (T, V) natural log-probabilities of each utterance.
        texts: what was said.
        arpa: the language model.
        binary: the same for the peers; an ARPA file or a KenLM binary.
        lm_weight: of its natural log-probabilities.
        word_bonus: nats for each word.
    """

    labels: tuple[str, ...]
    scores: dict[str, Scores]
    texts: dict[str, str]
    arpa: Path
    binary: Path
    lm_weight: float
    word_bonus: float

    @property
    def names(self) -> tuple[str, ...]:
        """The labels as `BeamSearch` takes them."""
        return ("<blank>", *self.labels[1:])

    @property
    def num_frames(self) -> int:
        """Of all utterances."""
        return sum(map(len, self.scores.values()))

    def lm(self) -> NgramModel:
        """The language model as ours has it."""
        model = load_lm(self.arpa)
        if not isinstance(model, NgramModel):
            raise SystemExit(f"{self.arpa}: give an ARPA file; --binary is for the peers")
        return model

    def spelled(self, text: str) -> NDArray[np.int64]:
        """The labels of a text."""
        return np.array([self.labels.index(character) for character in text], dtype=np.int64)


def read_labels(path: Path) -> tuple[str, ...]:
    """The labels of a file, one a line, the blank first and a space ` ` or `<space>`."""
    lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    labels = ("", *(" " if line == "<space>" else line for line in lines[1:]))
    if " " not in labels or any(len(label) != 1 for label in labels[1:]):
        raise SystemExit(f"{path}: the labels must be single characters, one of them a space")
    return labels


def read_texts(manifest: Path) -> dict[str, str]:
    """What was said in each utterance of a manifest."""
    lines = manifest.read_text(encoding="utf-8").split("\n")
    records = [json.loads(line) for line in lines if line]
    return {record["id"]: record["text"] for record in records}


@dataclass(frozen=True)
class Objective:
    """What every search maximises, worked out exactly for a given text.

    Attributes:
        material: scores, labels and weights.
        lm: the language model.
        unknown_penalty: nats that an unknown word is less likely than `<unk>`, before the weight.
    """

    material: Material
    lm: NgramModel
    unknown_penalty: float

    def totals(self, utterance: str, text: str) -> tuple[float, float]:
        """The total of a text, with one space between two words, and over all numbers of spaces."""
        words, material = text.split(), self.material
        unknown = sum(word not in self.lm for word in words)
        language = sum(self.lm.score_sentence(words)) - self.unknown_penalty * unknown
        added = material.lm_weight * language + material.word_bonus * len(words)
        scores = material.scores[utterance]
        strict = labelling_log_prob(scores, material.spelled(" ".join(words)))
        around = material.spelled(" ".join(["", *words, ""]) or " ")
        return strict + added, spaced_log_prob(scores, around, material.labels.index(" ")) + added


def spaced_log_prob(scores: Scores, tokens: NDArray[np.int64], space: int) -> float:
    """Ln Pr(text | audio) over all its spellings: one or more spaces inside, none or more around.

    Args:
        scores: (T, V).
        tokens: the labels of the text, single spaces around it.
        space: the label.
    """
    states = np.zeros(2 * len(tokens) + 1, dtype=np.int64)
    states[1::2] = tokens
    count = len(states)
    moves = np.eye(count) + np.eye(count, k=1)
    differs = np.flatnonzero((states[2:] != states[:-2]) & (states[2:] > 0))
    moves[differs, differs + 2] = 1
    spaces = np.flatnonzero(states == space)
    moves[spaces + 1, spaces] = 1  # another space, after a blank
    moves[0, 3:4] = 1  # no space before the first word
    log_scale, mass = 0.0, np.eye(count)[0]
    for frame in scores.astype(np.float64):
        mass = mass @ moves * np.exp(frame[states])
        log_scale += math.log(mass.max())
        mass /= mass.max()
    return log_scale + math.log(mass[-4:].sum())


def ours(
    material: Material,
    lm: NgramModel | None,
    limits: BeamLimits,
    *,
    unknown_penalty: float = 0.0,
    lexicon: Sequence[str] | None = None,
) -> Search:
    """The search of this toolkit; its hypothesis has words with times and confidences."""
    fusion = Fusion(material.lm_weight, material.word_bonus, unknown_penalty)
    search = BeamSearch(material.names, lm=lm, lexicon=lexicon, fusion=fusion, limits=limits)
    return lambda scores: search.decode(scores[None])[0].text


def pyctcdecode(
    material: Material, words: Sequence[str], limits: BeamLimits, *, prune_history: bool
) -> Search:
    """The search of pyctcdecode; its beam has words with their frames.

    Args:
        material: labels, language model and weights.
        words: what it takes for known.
        limits: how wide the search is.
        prune_history: of hypotheses that the language model cannot tell apart from now on, keep
            the best only, as its `decode` does.
    """
    from pyctcdecode.decoder import build_ctcdecoder

    logging.getLogger("pyctcdecode").setLevel(logging.ERROR)
    decoder = build_ctcdecoder(
        list(material.labels),
        str(material.binary),
        words,
        alpha=material.lm_weight,
        beta=material.word_bonus,
    )

    def search(scores: Scores) -> str:
        array: Any = scores  # its annotation fits no array
        beams = decoder.decode_beams(
            array,
            beam_width=limits.beam_size,
            beam_prune_logp=-limits.beam_threshold,
            token_min_logp=limits.token_threshold,
            prune_history=prune_history,
        )
        return beams[0][0]

    return search


def flashlight(
    material: Material, words: Sequence[str], limits: BeamLimits, *, log_add: bool
) -> Search:
    """The search of flashlight-text through a lexicon; it gives words with their last frames.

    Args:
        material: labels, language model and weights.
        words: the lexicon.
        limits: how wide the search is; it has no threshold for labels.
        log_add: sum over alignments instead of taking the best.
    """
    from flashlight.lib.text import decoder as text  # type: ignore[import-not-found]
    from flashlight.lib.text.decoder.kenlm import KenLM  # type: ignore[import-not-found]
    from flashlight.lib.text.dictionary import Dictionary  # type: ignore[import-not-found]

    lm = KenLM(str(material.binary), Dictionary(list(words)))
    space, num_labels = material.labels.index(" "), len(material.labels)
    trie, start = text.Trie(num_labels, space), lm.start(False)
    for index, word in enumerate(words):
        trie.insert([*material.spelled(word), space], index, lm.score(start, index)[1])
    trie.smear(text.SmearingMode.MAX)
    options = text.LexiconDecoderOptions(
        beam_size=limits.beam_size,
        beam_size_token=min(limits.max_tokens, num_labels),
        beam_threshold=limits.beam_threshold,
        lm_weight=material.lm_weight * LN10,
        word_score=material.word_bonus,
        unk_score=-math.inf,
        sil_score=0.0,
        log_add=log_add,
        criterion_type=text.CriterionType.CTC,
    )
    decoder = text.LexiconDecoder(options, trie, lm, space, 0, -1, [], False)
    ended = {id(scores): _with_space(scores, space) for scores in material.scores.values()}

    def search(scores: Scores) -> str:
        array = ended[id(scores)]
        best = decoder.decode(array.ctypes.data, len(array), num_labels)[0]
        found = [(words[word], frame) for frame, word in enumerate(best.words) if word >= 0]
        return " ".join(word for word, _ in found)

    return search


def _with_space(scores: Scores, space: int) -> Scores:
    """The scores with one more frame that is a space."""
    last = np.full((1, scores.shape[1]), IMPOSSIBLE, dtype=np.float32)
    last[0, space] = 0.0
    return np.ascontiguousarray(np.concatenate([scores, last]))
