"""The words that a search may know: a prefix tree over their characters.

Every kind of label walks the same tree, since it is made of characters: a piece of sentencepiece
takes several steps at once, and all segmentations of a word end in the same node.
"""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from asr.compiled import compiled, compiled_loop
from asr.data.text import normalize_text, read_lines, words
from asr.decoding.labels import Labels, decomposed
from asr.errors import DataError, shown

MAX_LISTED = 10  # words that a message names
ROOT = 0


class Trie(NamedTuple):
    """A prefix tree in flat arrays, in breadth-first order: children lie side by side.

    Attributes:
        child_begin: (nodes + 1,) int32; the children of node n are child_begin[n] to
            child_begin[n + 1], and are nodes themselves.
        character: (nodes,) int32, the code point that leads to a node; ascending among siblings.
        word: (nodes,) int32, the word that ends in a node, or -1.
    """

    child_begin: NDArray[np.int32]
    character: NDArray[np.int32]
    word: NDArray[np.int32]


def build_trie(spellings: Sequence[str]) -> Trie:
    """The prefix tree of `spellings`; the i-th is word i.

    Raises:
        ValueError: an empty spelling, or one that stands twice.
    """
    decomposed_words = [decomposed(word) for word in spellings]
    order = sorted(range(len(decomposed_words)), key=decomposed_words.__getitem__)
    ordered = [decomposed_words[index] for index in order]
    if ordered and not ordered[0]:
        raise ValueError("a spelling is empty")
    for first, second in pairwise(ordered):
        if first == second:
            raise ValueError(f"{first!r} stands twice among the spellings")
    begins = np.cumsum([0, *map(len, ordered)], dtype=np.int64)
    text = np.frombuffer("".join(ordered).encode("utf-32-le"), dtype=np.int32)
    arrays = _build(np.array(order, dtype=np.int32), begins, text)
    for array in arrays:
        array.setflags(write=False)
    return Trie(*arrays)


@compiled
def _build(order, begins, text):  # type: ignore[no-untyped-def]
    """The arrays of a trie of sorted words; word i is text[begins[i]:begins[i + 1]]."""
    most = len(text) + 1
    child_begin = np.zeros(most + 1, np.int32)
    character = np.zeros(most, np.int32)
    word = np.full(most, -1, np.int32)
    first = np.zeros(most, np.int64)  # the sorted words below a node: first to last
    last = np.zeros(most, np.int64)
    depth = np.zeros(most, np.int32)
    last[0] = len(order)
    count, node = 1, 0
    while node < count:
        at, end, level = first[node], last[node], depth[node]
        if at < end and begins[at + 1] - begins[at] == level:
            word[node] = order[at]
            at += 1
        child_begin[node] = count
        while at < end:
            letter = text[begins[at] + level]
            first[count] = at
            while at < end and text[begins[at] + level] == letter:
                at += 1
            last[count] = at
            character[count] = letter
            depth[count] = level + 1
            count += 1
        node += 1
    child_begin[count] = count
    return child_begin[: count + 1].copy(), character[:count].copy(), word[:count].copy()


@compiled_loop
def child_of(trie, node, letter):  # type: ignore[no-untyped-def]
    """The child of `node` by `letter`, or -1."""
    low, high = trie.child_begin[node], trie.child_begin[node + 1]
    while low < high:
        middle = (low + high) >> 1
        value = trie.character[middle]
        if value < letter:
            low = middle + 1
        elif value > letter:
            high = middle
        else:
            return middle
    return -1


@compiled
def best_below(trie, values, floor):  # type: ignore[no-untyped-def]
    """For each node the largest of `floor` and the `values` (words,) of the words at or below it.

    This is what a partial word can still become: never less than what its words come to.
    """
    best = np.full(len(trie.word), floor)
    for node in range(len(trie.word) - 1, -1, -1):
        if trie.word[node] >= 0:
            best[node] = max(best[node], values[trie.word[node]])
        for child in range(trie.child_begin[node], trie.child_begin[node + 1]):
            best[node] = max(best[node], best[child])
    return best


def read_lexicon(path: Path) -> list[str]:
    """The words of a text file, one a line, in the order of their first appearance.

    Raises:
        DataError: the file cannot be read, several words on a line, or no word at all.
    """
    found: dict[str, None] = {}
    for number, line in read_lines(path):
        on_line = words(normalize_text(line))
        if len(on_line) > 1:
            raise DataError(
                f"{shown(path)}:{number}: {len(on_line)} words; a lexicon has one word a line"
            )
        found.update(dict.fromkeys(on_line))
    if not found:
        raise DataError(f"{shown(path)}: has no words; a lexicon has one word a line")
    return list(found)


def unspellable(vocabulary: Sequence[str], labels: Labels) -> list[str]:
    """The words that no sequence of the labels spells, in their order."""
    texts = {decomposed(piece.text) for piece in labels.pieces if piece and piece.text}
    starts = {decomposed(p.text) for p in labels.pieces if p and p.text and p.starts_word}
    inner = {decomposed(p.text) for p in labels.pieces if p and p.text and not p.starts_word}
    spaced = any(piece and piece.starts_word and not piece.text for piece in labels.pieces)
    first = texts if spaced or not starts else starts
    longest = max(map(len, texts), default=0)
    if longest == 1 and inner == texts and spaced:  # characters: every spelling will do
        return [word for word in vocabulary if not texts.issuperset(decomposed(word))]
    return [word for word in vocabulary if not _spells(decomposed(word), first, inner, longest)]


def check_spellable(vocabulary: Sequence[str], labels: Labels, source: str) -> None:
    """Return when the labels can spell every word.

    Raises:
        DataError: the words that they cannot, with their number.
    """
    bad = unspellable(vocabulary, labels)
    if bad:
        listed = ", ".join(f"'{shown(word)}'" for word in bad[:MAX_LISTED])
        more = f" and {len(bad) - MAX_LISTED} more" if len(bad) > MAX_LISTED else ""
        raise DataError(
            f"{source}: {len(bad)} of {len(vocabulary)} words cannot be spelt with the labels of "
            f"the model: {listed}{more}; remove them, or write them as the training text does"
        )


def _spells(word: str, first: set[str], inner: set[str], longest: int) -> bool:
    """Whether `word` is one of `first` followed by any of `inner`."""
    reached = [False] * (len(word) + 1)
    for stop in range(1, min(longest, len(word)) + 1):
        reached[stop] = word[:stop] in first
    for start in range(1, len(word)):
        if reached[start]:
            for stop in range(start + 1, min(start + longest, len(word)) + 1):
                reached[stop] = reached[stop] or word[start:stop] in inner
    return bool(word) and reached[-1]
