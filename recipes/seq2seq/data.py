"""Pairs of texts: reading them, their vocabularies, and batches of similar length.

A line of a file of pairs is "source<TAB>target". Tokens are words, or the characters of a source.
"""

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asr.data.text import Case, normalize_text
from asr.errors import DataError
from asr.lm.tokens import text_blocks

from .model import BOUNDARY

Units = Literal["words", "characters"]

UNKNOWN = 1  # the token of every word that is not in the vocabulary
SPECIAL = ("</s>", "<unk>")
BUCKET_RATIO = 1.5  # of the longest source of a batch to its shortest, at most


class Pair(NamedTuple):
    """A line of a file of pairs, normalised; `place` names it in messages."""

    source: str
    target: str
    place: str


def read_pairs(path: Path, case: Case = "keep") -> Iterator[Pair]:
    """The pairs of a file, plain or compressed.

    Args:
        path: the file.
        case: of the sources.

    Raises:
        DataError: empty or not readable, not UTF-8, a line that is no pair, or an empty source or
            target.
    """
    for place, columns in read_columns(path):
        if len(columns) != 2:
            raise DataError(
                f"{place}: {len(columns)} columns; a line is a source, a tab and a target"
            )
        source, target = normalize_text(columns[0], case), normalize_text(columns[1])
        if not source or not target:
            which = "target" if source else "source"
            raise DataError(f"{place}: the {which} is empty; remove the line")
        yield Pair(source, target, place)


def read_columns(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Each line with its place, cut at tabs.

    Raises:
        DataError: empty, not readable or not UTF-8.
    """
    for block in text_blocks([path]):
        for number, line in enumerate(block.lines(), start=block.first):
            yield f"{block.place}{number}", line.removesuffix("\r").split("\t")


def split_text(text: str, units: Units) -> list[str]:
    """The tokens of a normalised text, as strings."""
    return text.split(" ") if units == "words" else list(text)


@dataclass(frozen=True)
class Vocabulary:
    """The tokens of one side.

    Attributes:
        symbols: what each stands for: the boundary, the unknown, then the most frequent first.
    """

    symbols: tuple[str, ...]

    def __post_init__(self) -> None:
        numbers = {symbol: number for number, symbol in enumerate(self.symbols)}
        for special in SPECIAL:
            del numbers[special]  # where one stands in a text it is a word that nobody knows
        object.__setattr__(self, "_numbers", numbers)

    def __len__(self) -> int:
        """How many tokens, the boundary and the unknown included."""
        return len(self.symbols)

    def encode(self, tokens: Iterable[str]) -> list[int]:
        """Their numbers; UNKNOWN for those that are not here."""
        numbers: dict[str, int] = self._numbers  # type: ignore[attr-defined]
        return [numbers.get(token, UNKNOWN) for token in tokens]

    def decode(self, numbers: Iterable[int]) -> list[str]:
        """What they stand for."""
        return [self.symbols[number] for number in numbers]


def vocabulary_of(counts: Counter[str], size: int) -> Vocabulary:
    """The vocabulary of the most frequent tokens.

    Args:
        counts: of each token in the training text.
        size: most tokens, the boundary and the unknown included; 0: all there are.
    """
    for special in SPECIAL:
        counts.pop(special, None)
    ranked = sorted(counts, key=lambda token: (-counts[token], token))
    return Vocabulary((*SPECIAL, *(ranked[: size - len(SPECIAL)] if size else ranked)))


@dataclass(frozen=True, eq=False)
class TokenLines:
    """Lines of tokens in little memory.

    Attributes:
        tokens: (N,) int32, one line after the other.
        begins: (lines + 1,) int64 where each begins.
    """

    tokens: NDArray[np.int32]
    begins: NDArray[np.int64]

    def __len__(self) -> int:
        """How many lines."""
        return len(self.begins) - 1

    def __getitem__(self, index: int) -> NDArray[np.int32]:
        """The tokens of a line."""
        return self.tokens[self.begins[index] : self.begins[index + 1]]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(lines,) how many tokens each has."""
        return np.diff(self.begins)


class LinePacker:
    """Makes `TokenLines` of one line after the other."""

    def __init__(self) -> None:
        self._tokens, self._ends = array("i"), array("q", [0])

    def add(self, line: Iterable[int]) -> None:
        """One more line."""
        self._tokens.extend(line)
        self._ends.append(len(self._tokens))

    def packed(self) -> TokenLines:
        """The lines so far."""
        return TokenLines(np.array(self._tokens, np.int32), np.array(self._ends, np.int64))


@dataclass(frozen=True, slots=True)
class PairBatch:
    """B pairs, padded with zeros at the end.

    Attributes:
        ids: their names.
        source: (B, S) int64.
        source_lengths: (B,) int64.
        target: (B, U) int64, without the end.
        target_lengths: (B,) int64.
    """

    ids: tuple[str, ...]
    source: Tensor
    source_lengths: Tensor
    target: Tensor
    target_lengths: Tensor

    def tensors(self, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Source, its lengths, target, its lengths on a device: arguments of the model."""
        return (
            self.source.to(device),
            self.source_lengths.to(device),
            self.target.to(device),
            self.target_lengths.to(device),
        )


def pad(lines: Sequence[Sequence[int] | NDArray[np.int32]]) -> tuple[Tensor, Tensor]:
    """(B, U) int64 tokens with zeros at the end, and the (B,) lengths."""
    lengths = [len(line) for line in lines]
    padded = np.full((len(lines), max(lengths, default=0)), BOUNDARY, np.int64)
    for row, line in zip(padded, lines, strict=True):
        row[: len(line)] = line
    return torch.from_numpy(padded), torch.tensor(lengths, dtype=torch.int64)


def buckets(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """(N,) the bucket of each length: within one, none is over BUCKET_RATIO times another."""
    longest = int(lengths.max(initial=1))
    bounds = [1]
    while bounds[-1] <= longest:  # the lowest length that is too long for the bucket before
        bounds.append(math.floor(bounds[-1] * BUCKET_RATIO) + 1)
    return np.searchsorted(np.array(bounds), lengths, side="right")


def batches_of_similar_length(
    items: NDArray[np.int64],
    source_lengths: NDArray[np.int64],
    target_lengths: NDArray[np.int64],
    *,
    batch_size: int,
    generator: np.random.Generator,
) -> list[list[int]]:
    """Batches in a random order; each item is in one of them.

    Args:
        items: which are to be had, in an order that decides among equal lengths.
        source_lengths: (N,) of all items.
        target_lengths: (N,) of all items.
        batch_size: most of a batch; the last of a bucket may have fewer.
        generator: shuffles the batches.
    """
    sources, targets = source_lengths[items], target_lengths[items]
    kinds = buckets(sources)
    # The items come shuffled and the sort is stable: who is with whom changes from pass to pass.
    order = np.lexsort((targets, sources, kinds))
    ends = np.flatnonzero(np.diff(kinds[order])) + 1
    batches = [
        items[part[begin : begin + batch_size]].tolist()
        for part in np.split(order, ends)
        for begin in range(0, len(part), batch_size)
    ]
    return [batches[index] for index in generator.permutation(len(batches))]
