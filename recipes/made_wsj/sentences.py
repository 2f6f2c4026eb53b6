"""Sentences of any English text that a made voice can say, and the text for language models."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asr.data.corpus.text_blocks import held_out_blocks
from asr.errors import DataError
from asr.lm.text_lines import TextLines

RECIPE = "made_wsj"
SHORTEST, LONGEST = 4, 20  # words of a sentence that is spoken

# A made utterance lasts about so long: least squares over 300 of the training set.
SECONDS_AROUND = 0.7
SECONDS_PER_CHARACTER = 0.053

_APOSTROPHES = str.maketrans({"’": "'", "‘": "'", "ʼ": "'"})
_MARKS = re.compile(r"[-\u2010-\u2015,;:.!?\"“”„()\[\]_*…]+")
_WORD = re.compile(r"'?[A-Z]+(?:'[A-Z]+)*'?")


@dataclass(frozen=True, eq=False)
class Sentences:
    """What is said in each set, and the lines for language models.

    Attributes:
        train: sentences; all of them are lines of the language models' text too.
        dev: sentences; none is in `train`, in `test` or in the language models' text.
        test: as dev.
        unusable: lines with digits, other letters, or words that are none: not in any text.
    """

    train: list[str]
    dev: list[str]
    test: list[str]
    unusable: int
    _text: TextLines
    _lm_lines: NDArray[np.int64]

    def lm_lines(self) -> Iterator[str]:
        """The text for language models: all usable lines outside the blocks of dev and test."""
        for index in self._lm_lines.tolist():
            line = spoken_form(self._text[index])
            if line:
                yield line


def spoken_form(line: str) -> str:
    """A line, in upper case, as its words alone; empty when it has what cannot be said as A to Z.

    Typographic apostrophes become ', dashes and punctuation a space.
    """
    words = _MARKS.sub(" ", line.translate(_APOSTROPHES)).split()
    return " ".join(words) if all(_WORD.fullmatch(word) for word in words) else ""


def seconds_of(sentence: str) -> float:
    """About how long a made voice takes to say it, pauses included."""
    return SECONDS_AROUND + SECONDS_PER_CHARACTER * len(sentence)


def draw_sentences(
    text: TextLines, *, hours: float, num_dev: int, num_test: int, seed: int
) -> Sentences:
    """Draw what is said: dev and test out of blocks of the text that nothing else comes from.

    Args:
        text: in upper case.
        hours: of training speech, about.
        num_dev: sentences, or as many as the blocks for dev have.
        num_test: sentences, or as many as the blocks for test have.
        seed: of the choice.

    Raises:
        DataError: the text is too short for so many hours, or for a dev and a test set.
    """
    filled = np.flatnonzero(text.lengths)
    blocks = {name: filled[where] for name, where in held_out_blocks(len(filled), RECIPE).items()}
    usable = {name: _candidates(text, lines) for name, lines in blocks.items()}
    taken = set(usable["train"].sentences)
    generator = np.random.default_rng(seed)
    held_out = {}
    for name, number in (("dev", num_dev), ("test", num_test)):
        unseen = [line for line in usable[name].sentences if line not in taken]
        if not unseen:
            raise DataError(
                f"{RECIPE}: the text has no sentence of {SHORTEST} to {LONGEST} words for {name} "
                "that does not occur elsewhere; give more text"
            )
        held_out[name] = [unseen[i] for i in generator.permutation(len(unseen))[:number]]
        taken.update(unseen)
    return Sentences(
        train=_draw_hours(usable["train"].sentences, hours, generator),
        dev=held_out["dev"],
        test=held_out["test"],
        unusable=sum(each.unusable for each in usable.values()),
        _text=text,
        _lm_lines=blocks["train"],
    )


@dataclass(frozen=True)
class _Candidates:
    """Sentences of a part of the text, each once, and how many lines are unusable."""

    sentences: list[str]
    unusable: int


def _candidates(text: TextLines, lines: NDArray[np.int64]) -> _Candidates:
    sentences: dict[str, None] = {}  # a set that keeps the order
    unusable = 0
    for index in lines.tolist():
        written = text[index]
        line = spoken_form(written)
        unusable += not line and any(map(str.isalnum, written))
        if SHORTEST <= line.count(" ") + 1 <= LONGEST:
            sentences.setdefault(line)
    return _Candidates(list(sentences), unusable)


def _draw_hours(
    sentences: Sequence[str], hours: float, generator: np.random.Generator
) -> list[str]:
    drawn: list[str] = []
    seconds = 0.0
    for index in generator.permutation(len(sentences)).tolist():
        if seconds >= 3600 * hours:
            return drawn
        drawn.append(sentences[index])
        seconds += seconds_of(sentences[index])
    if seconds < 3600 * hours:
        enough = float(f"{seconds / 3600:.2g}")  # two digits, but 580 and not 5.8e+02
        raise DataError(
            f"{RECIPE}: the text has sentences of {SHORTEST} to {LONGEST} words for about "
            f"{enough:g} h of training speech, not for {hours:g}; give more text, or "
            "fewer --hours"
        )
    return drawn
