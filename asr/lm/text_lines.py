"""The lines of a text in little memory, each to be had by its number and with its place."""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asr.data.text import Case, normalize_text
from asr.lm.tokens import check_marks, text_blocks


@dataclass(frozen=True, eq=False)
class TextLines:
    """Lines, normalised. A list of as many strings would take twice the memory.

    Attributes:
        data: all lines, one after the other, in UTF-8.
        begins: (lines + 1,) int64, where each begins in `data`.
        lengths: (lines,) int64 characters of each.
        places: the lines that begin a part: their index, the file, and their number in it.
    """

    data: bytes
    begins: NDArray[np.int64]
    lengths: NDArray[np.int64]
    places: tuple[tuple[int, str, int], ...]

    def __len__(self) -> int:
        """How many lines."""
        return len(self.lengths)

    def __getitem__(self, index: int) -> str:
        """The line with a number from 0."""
        if not 0 <= index < len(self):
            raise IndexError(f"line {index} of {len(self)}")
        return self.data[self.begins[index] : self.begins[index + 1]].decode("utf-8")

    @property
    def num_characters(self) -> int:
        """Of all lines, their ends not counted."""
        return int(self.lengths.sum())

    def place(self, index: int) -> str:
        """Where a line stands, for messages: `text.txt:3`."""
        part = bisect_right(self.places, index, key=lambda place: place[0]) - 1
        begin, name, number = self.places[part]
        return f"{name}{number + index - begin}"


def read_text_lines(texts: Iterable[str | Path], case: Case = "keep") -> TextLines:
    """All lines of texts, read as `asr.lm.tokens.read_tokens` does.

    Args:
        texts: sentences (str), and files (Path): text with a sentence a line, also compressed,
            manifests (.jsonl), or "-" for stdin.
        case: what to do with upper and lower case.

    Raises:
        DataError: a file that cannot be read or is not UTF-8 text, or one of the special words of
            language models in the text.
    """
    data = bytearray()
    sizes, lengths = [0], list[int]()
    places: list[tuple[int, str, int]] = []
    for block in text_blocks(texts):
        check_marks(block)
        places.append((len(lengths), block.place, block.first))
        for line in block.lines():
            normal = normalize_text(line, case)
            encoded = normal.encode("utf-8")
            data += encoded
            sizes.append(len(encoded))
            lengths.append(len(normal))
    return TextLines(
        bytes(data),
        np.cumsum(sizes, dtype=np.int64),
        np.array(lengths, dtype=np.int64),
        tuple(places),
    )
