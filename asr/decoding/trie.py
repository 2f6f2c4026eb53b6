"""A prefix tree over the characters of words.

Every kind of label walks the same tree, since it is made of characters: a piece of sentencepiece
takes several steps at once, and all segmentations of a word end in the same node.

A search takes a step from some node to some child some thousand times a second of speech, far
apart in a tree of a hundred thousand words, so that what counts is how many cache lines a step
reads. A node therefore says which children it has in a mask, by the lowest six bits of their
characters, and its children lie in the order of these: a step without a child reads the node alone,
and one with a child knows where it lies.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.compiled import compiled, compiled_inline
from asr.data.labels import decomposed
from asr.decoding.records import empty_records

ROOT = 0
MASK_BITS = 63

# Nodes are in breadth-first order; those below a node lie side by side.
#   look: what a word that goes through the node can still become, of `best_below`.
#   mask: bit `character & 63` of each child is set.
#   child_begin, num_children: the children are nodes child_begin to child_begin + num_children.
#   character: the code point that leads to the node.
#   word: the word that ends in it, or -1.
TRIE_NODE = np.dtype(
    [
        ("look", np.float64),
        ("mask", np.uint64),
        *((name, np.int32) for name in ("child_begin", "num_children", "character", "word")),
    ],
    align=True,
)
Trie = NDArray[Any]  # (nodes,) of TRIE_NODE


def build_trie(spellings: Sequence[str]) -> Trie:
    """The prefix tree of `spellings`; the i-th is word i. Nobody may write to it; `look` is 0.

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
    most = np.zeros(len(text) + 1, TRIE_NODE)
    count = _build(most, np.array(order, dtype=np.int32), begins, text)
    return _frozen(most[:count])


def with_look(trie: Trie, look: NDArray[np.float64]) -> Trie:
    """A copy with `look` (nodes,)."""
    other = _frozen(trie)
    other.setflags(write=True)
    other["look"] = look
    other.setflags(write=False)
    return other


@compiled
def _build(trie, order, begins, text):  # type: ignore[no-untyped-def]
    """Fill the nodes of sorted words, of which i is text[begins[i]:begins[i + 1]]; their number."""
    most = len(text) + 1
    first = np.zeros(most, np.int64)  # the sorted words below a node: first to last
    last = np.zeros(most, np.int64)
    depth = np.zeros(most, np.int32)
    last[0] = len(order)
    count, node = 1, 0
    while node < count:
        at, end, level = first[node], last[node], depth[node]
        trie[node].word = -1
        if at < end and begins[at + 1] - begins[at] == level:
            trie[node].word = order[at]
            at += 1
        trie[node].child_begin = count
        while at < end:
            letter = text[begins[at] + level]
            begin = at
            while at < end and text[begins[at] + level] == letter:
                at += 1
            to = count  # by insertion into the order of the mask
            while to > trie[node].child_begin and _bit(trie[to - 1].character) > _bit(letter):
                trie[to].character = trie[to - 1].character
                first[to], last[to] = first[to - 1], last[to - 1]
                to -= 1
            trie[to].character, first[to], last[to] = letter, begin, at
            depth[count] = level + 1
            trie[node].mask |= np.uint64(1) << np.uint64(_bit(letter))
            count += 1
        trie[node].num_children = count - trie[node].child_begin
        node += 1
    return count


@compiled_inline
def child_of(trie, node, letter):  # type: ignore[no-untyped-def]
    """The child of `node` by `letter`, or -1."""
    bit = np.uint64(_bit(letter))
    mask = trie[node].mask
    if (mask >> bit) & np.uint64(1) == 0:
        return -1
    lower = mask & ((np.uint64(1) << bit) - np.uint64(1))
    child = trie[node].child_begin + _count_ones(lower)
    end = trie[node].child_begin + trie[node].num_children
    while child < end:  # one step, but where characters share a bit
        if trie[child].character == letter:
            return child
        if _bit(trie[child].character) > bit:
            return -1
        child += 1
    return -1


@compiled_inline
def _bit(letter):  # type: ignore[no-untyped-def]
    return letter & MASK_BITS


@compiled_inline
def _count_ones(bits):  # type: ignore[no-untyped-def]
    """How many bits of a uint64 are one; the compiler knows the pattern as one instruction."""
    bits -= (bits >> np.uint64(1)) & np.uint64(0x5555555555555555)
    bits = (bits & np.uint64(0x3333333333333333)) + (
        (bits >> np.uint64(2)) & np.uint64(0x3333333333333333)
    )
    bits = (bits + (bits >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((bits * np.uint64(0x0101010101010101)) >> np.uint64(56))


@compiled
def best_below(trie, values, floor):  # type: ignore[no-untyped-def]
    """For each node the largest of `floor` and the `values` (words,) of the words at or below it.

    This is what a partial word can still become: never less than what its words come to.
    """
    best = np.full(len(trie), floor)
    for node in range(len(trie) - 1, -1, -1):
        if trie[node].word >= 0:
            best[node] = max(best[node], values[trie[node].word])
        begin = trie[node].child_begin
        for child in range(begin, begin + trie[node].num_children):
            best[node] = max(best[node], best[child])
    return best


def _frozen(trie: Trie) -> Trie:
    """A copy on cache lines that nobody may write to."""
    records = empty_records(len(trie), TRIE_NODE)
    records[:] = trie
    records.setflags(write=False)
    return records
