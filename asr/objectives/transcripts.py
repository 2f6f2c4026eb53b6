"""Labels and reference texts as numbers, for the compiled counts of errors.

A label joins the word that is begun, begins a word with a text of its own, is a mere boundary
between words, or is silent. Error rates count words, or characters, of texts in Unicode form NFC.
"""

import unicodedata
from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from asr.data.labels import Labels
from asr.data.text import normalize_text, words
from asr.objectives.exchange import BEGINS, BOUNDARY, JOINS, SILENT

KEPT_WORDS = 1 << 16  # of references, with the labels that fit into each: a kilobyte a word


class LabelTexts(NamedTuple):
    """What each of V labels adds to a text.

    Attributes:
        kind: (V,) uint8: SILENT, JOINS, BEGINS or BOUNDARY.
        begin: (V + 1,) int64, where the text of each lies in `text`.
        text: int32 code points.
    """

    kind: NDArray[np.uint8]
    begin: NDArray[np.int64]
    text: NDArray[np.int32]


class ReferenceWords(NamedTuple):
    """The words of a reference, each with a number that equal words share.

    Attributes:
        words: (M,) int64 numbers, 0 to D - 1.
        begin: (D + 1,) int64, where the characters of each different word lie in `text`.
        text: int32 code points.
        match_begin: (len(text) + 1,) int64, where the labels of each place lie in `match_label`.
        match_label: int64, labels whose text stands at a place of a word: those that join words at
            any, those that begin words at the first.
    """

    words: NDArray[np.int64]
    begin: NDArray[np.int64]
    text: NDArray[np.int32]
    match_begin: NDArray[np.int64]
    match_label: NDArray[np.int64]


class ReferenceCharacters(NamedTuple):
    """The characters of a reference, single spaces between words included.

    Attributes:
        characters: (M,) int64 numbers, 0 to D - 1, which equal characters share.
        label_text: numbers of the characters of all labels' texts, one after another as in
            `LabelTexts`; -1 for those that the reference lacks.
        space: the number of the space, or -1.
        num_different: D.
    """

    characters: NDArray[np.int64]
    label_text: NDArray[np.int64]
    space: int
    num_different: int


class Spelling:
    """The labels of one model, and references for them, as numbers."""

    def __init__(self, labels: Labels) -> None:
        self._pieces = labels.pieces
        texts = ["" if piece is None else piece.text for piece in labels.pieces]
        begin = np.cumsum([0, *map(len, texts)], dtype=np.int64)
        kinds = [self._kind(index) for index in range(len(texts))]
        self._texts = texts
        self.labels = LabelTexts(np.array(kinds, np.uint8), begin, _code_points("".join(texts)))
        self._by_text: dict[str, list[int]] = {}
        for index, text in enumerate(texts):
            if text:
                self._by_text.setdefault(text, []).append(index)
        self._lengths = sorted({len(text) for text in self._by_text})
        self._labels_at = lru_cache(KEPT_WORDS)(self._find_labels)

    @cached_property
    def is_plain(self) -> bool:
        """Whether a text is its labels' texts one after another: no accent composes with a letter.

        Where one does, or a label holds white space, what a label adds depends on its neighbours,
        and errors must be counted in whole transcripts.
        """
        composing = [text for text in self._by_text if _may_compose(text[0])]
        joined = (before + text for text in composing for before in self._by_text)
        stable = all(normalize_text(text) == text for text in (*self._by_text, *joined))
        return stable and not any(" " in text for text in self._by_text)

    @property
    def has_boundaries(self) -> bool:
        """Whether any label begins a word, so that a transcript can have several."""
        return bool(np.isin(self.labels.kind, (BEGINS, BOUNDARY)).any())

    def reference_words(self, text: str) -> ReferenceWords:
        """The words of a reference."""
        numbers: dict[str, int] = {}
        found = words(normalize_text(text))
        order = [numbers.setdefault(word, len(numbers)) for word in found]
        places = [place for word in numbers for place in self._labels_at(word)]
        return ReferenceWords(
            words=np.array(order, np.int64),
            begin=np.cumsum([0, *map(len, numbers)], dtype=np.int64),
            text=_code_points("".join(numbers)),
            match_begin=np.cumsum([0, *map(len, places)], dtype=np.int64),
            match_label=np.array([label for place in places for label in place], np.int64),
        )

    def reference_characters(self, text: str) -> ReferenceCharacters:
        """The characters of a reference."""
        numbers: dict[str, int] = {}
        order = [numbers.setdefault(unit, len(numbers)) for unit in normalize_text(text)]
        of_labels = [numbers.get(unit, -1) for text in self._texts for unit in text]
        return ReferenceCharacters(
            characters=np.array(order, np.int64),
            label_text=np.array(of_labels, np.int64),
            space=numbers.get(" ", -1),
            num_different=len(numbers),
        )

    def _kind(self, index: int) -> int:
        piece = self._pieces[index]
        if piece is None:
            return SILENT
        if piece.text:
            return BEGINS if piece.starts_word else JOINS
        return BOUNDARY if piece.starts_word else SILENT

    def _find_labels(self, word: str) -> list[list[int]]:
        """For every place of a word, the labels whose text stands there."""
        kinds = self.labels.kind
        return [
            [
                label
                for length in self._lengths
                if place + length <= len(word)
                for label in self._by_text.get(word[place : place + length], ())
                if place == 0 or kinds[label] == JOINS
            ]
            for place in range(len(word))
        ]


@lru_cache(maxsize=8)
def spelling_of(labels: Labels) -> Spelling:
    """The spelling of a model's labels, kept for the next batch."""
    return Spelling(labels)


def _code_points(text: str) -> NDArray[np.int32]:
    return np.array([ord(character) for character in text], np.int32)


def _may_compose(character: str) -> bool:
    """Whether a character may become one with what stands before it: marks, Korean finals."""
    korean = "\u1161" <= character <= "\u1175" or "\u11a8" <= character <= "\u11c2"
    return korean or unicodedata.category(character).startswith("M")


def check_words(spelling: Spelling, references: Sequence[str]) -> None:
    """Return when the labels can tell the words of references apart.

    Raises:
        ValueError: a reference of several words, and no label that begins one.
    """
    if spelling.has_boundaries:
        return
    several = [reference for reference in references if len(words(reference)) > 1]
    if several:
        raise ValueError(
            f"the reference {several[0]!r} has {len(words(several[0]))} words, but no label begins "
            "a word; name a label ' ' (or '|', or let names begin with '▁'), or use loss='cer'"
        )
