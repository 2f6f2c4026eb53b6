"""What the output labels of a model mean to a search: characters of words, and where words begin.

A label adds text to a word, begins a word, or does both. That covers characters with a space
between words, sentencepiece's pieces (`▁` begins a word), and phones (each a word of its own).
"""

import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from asr.data.vocabulary import Piece, WordSpan, spelled

SPACES = frozenset({" ", "|", "▁", "<space>"})
WORD_START = "▁"


class LabelArrays(NamedTuple):
    """Labels for a compiled kernel; `V` labels.

    Attributes:
        starts_word: (V,) uint8.
        text_begin: (V + 1,) int64, where the text of each label lies in `text`.
        text: int32 code points, decomposed (NFD).
        emitted: (V,) uint8, 0 for the blank and for labels that are never text.
    """

    starts_word: NDArray[np.uint8]
    text_begin: NDArray[np.int64]
    text: NDArray[np.int32]
    emitted: NDArray[np.uint8]


@dataclass(frozen=True)
class Labels:
    """The labels of a CTC model, by their index.

    Attributes:
        pieces: what each adds to the text; None for the blank and for what is never text.
        names: of each label, for messages.
        blank: index of the blank.
    """

    pieces: tuple[Piece | None, ...]
    names: tuple[str, ...]
    blank: int

    def __post_init__(self) -> None:
        if not 0 <= self.blank < len(self.pieces):
            raise ValueError(f"blank must be 0 to {len(self.pieces) - 1}, got {self.blank}")

    def __len__(self) -> int:
        return len(self.pieces)

    def word_spans(self, tokens: Sequence[int]) -> list[WordSpan]:
        """The words that `tokens` (without blanks) spell, each with the range of its tokens."""
        pieces = self._spelled
        return spelled([pieces[token] for token in tokens])

    def decode(self, tokens: Sequence[int]) -> str:
        """The words that `tokens` (without blanks) spell, with one space between two."""
        return " ".join(span.word for span in self.word_spans(tokens))

    @cached_property
    def arrays(self) -> LabelArrays:
        """For a compiled kernel."""
        texts = [decomposed(piece.text) if piece else "" for piece in self.pieces]
        begins = np.cumsum([0, *map(len, texts)], dtype=np.int64)
        return LabelArrays(
            starts_word=_frozen([bool(p and p.starts_word) for p in self.pieces], np.uint8),
            text_begin=_frozen(begins, np.int64),
            text=_frozen([ord(character) for text in texts for character in text], np.int32),
            emitted=_frozen([piece is not None for piece in self.pieces], np.uint8),
        )

    @cached_property
    def _spelled(self) -> tuple[Piece, ...]:
        return tuple(piece or Piece("") for piece in self.pieces)


def read_labels(names: Sequence[str], *, blank: int = 0) -> Labels:
    """The labels of any CTC model from their names.

    `" "`, `"|"`, `"▁"` and `"<space>"` stand between words; a name that begins with `▁` begins a
    word; other names in angle brackets (`<s>`, `<unk>`) are never text, so no hypothesis has them.

    Args:
        names: one a label, in the order of the model's outputs.
        blank: index of the blank, whose name does not matter.

    Raises:
        ValueError: a name twice, an empty name, or no such blank.
    """
    used = Counter(name for index, name in enumerate(names) if index != blank)
    twice = [name for name, count in used.items() if count > 1]
    if twice:
        raise ValueError(f"labels must differ, but {twice[0]!r} stands twice")
    empty = [index for index, name in enumerate(names) if not name and index != blank]
    if empty:
        raise ValueError(f"label {empty[0]} is empty; write a space as ' ', '|' or '<space>'")
    pieces = [None if index == blank else _piece(name) for index, name in enumerate(names)]
    return Labels(tuple(pieces), tuple(names), blank)


def labels_of(pieces: Sequence[Piece], names: Sequence[str]) -> Labels:
    """The labels of a tokenizer of ours, whose token 0 is the blank."""
    return Labels((None, *pieces[1:]), tuple(names), blank=0)


def decomposed(text: str) -> str:
    """`text` in Unicode form NFD, in which a letter and its accent compare however they came."""
    return unicodedata.normalize("NFD", text)


def _piece(name: str) -> Piece | None:
    if name in SPACES:
        return Piece("", starts_word=True)
    if name.startswith("<") and name.endswith(">") and len(name) > 2:
        return None
    if name.startswith(WORD_START):
        return Piece(name.removeprefix(WORD_START), starts_word=True)
    return Piece(name)


def _frozen(values: Any, kind: type) -> NDArray[Any]:
    array: NDArray[Any] = np.array(values, dtype=kind)
    array.setflags(write=False)
    return array
