"""How often the n-grams of a text occur, for all lengths up to an order.

A k-gram is its first k - 1 words, a number among the (k - 1)-grams, and its last word. So every
k-gram, however long, is one integer, and equal ones are found by sorting integers. Its last k - 1
words are a (k - 1)-gram too, of which the number is known from the text. With these two numbers,
of the prefix and of the suffix, all else is arithmetic on whole arrays.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asr.lm.tokens import BEGIN

Numbers = NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NgramCounts:
    """The different n-grams of one length k, sorted by the ids of their words, the first one first.

    Of length 1 there is one for every word of the vocabulary, whether it occurs or not. Longer
    ones lie within a sentence with its `<s>` and `</s>`.

    Attributes:
        prefixes: (n,) the first k - 1 words, by number among the (k - 1)-grams; 0 for length 1.
        words: (n,) the last word.
        suffixes: (n,) the last k - 1 words, by number among the (k - 1)-grams; 0 for length 1.
        counts: (n,) int64, how often the n-gram occurs.
    """

    prefixes: Numbers
    words: Numbers
    suffixes: Numbers
    counts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.words)


def count_ngrams(ids: Numbers, vocabulary_size: int, order: int) -> list[NgramCounts]:
    """The n-grams of the lengths 1 to `order`.

    Args:
        ids: (tokens,) words by number; every sentence begins with `BEGIN`, which stands nowhere
            else.
        vocabulary_size: above every id.
        order: at least 1.
    """
    counted = [_unigrams(ids, vocabulary_size)]
    # Of each token: the number of the n-gram that ends with it, -1 where its sentence began later.
    ending = ids
    for _ in range(order - 1):
        longer, ending = _lengthened(ids, ending, len(counted[-1]), vocabulary_size)
        counted.append(longer)
    return counted


def rows(counted: Sequence[NgramCounts]) -> Numbers:
    """(n, k) the words of the longest n-grams in `counted`, which holds all lengths up to k."""
    words = np.empty((len(counted[-1]), len(counted)), dtype=np.int32)
    chosen: slice | Numbers = slice(None)
    for column in reversed(range(len(counted))):
        words[:, column] = counted[column].words[chosen]
        chosen = counted[column].prefixes[chosen]
    return words


def _unigrams(ids: Numbers, vocabulary_size: int) -> NgramCounts:
    nothing = np.zeros(vocabulary_size, dtype=np.int32)
    return NgramCounts(
        prefixes=nothing,
        words=np.arange(vocabulary_size, dtype=np.int32),
        suffixes=nothing,
        counts=np.bincount(ids, minlength=vocabulary_size),
    )


def _lengthened(
    ids: Numbers, ending: Numbers, num_shorter: int, vocabulary_size: int
) -> tuple[NgramCounts, Numbers]:
    """The n-grams that are longer by one, and for each token the one that ends with it."""
    ends = 1 + np.flatnonzero((ending[:-1] >= 0) & (ids[1:] != BEGIN))
    keys = ending[ends - 1].astype(np.int64) * vocabulary_size + ids[ends]
    keys, order = _sorted(keys, num_shorter * vocabulary_size)
    ends = ends[order]
    is_first = np.ones(len(keys), dtype=np.bool_)
    np.not_equal(keys[1:], keys[:-1], out=is_first[1:])
    firsts = np.flatnonzero(is_first)
    longer = np.full(len(ids), -1, dtype=np.int32)
    longer[ends] = np.cumsum(is_first, dtype=np.int32) - 1
    different = keys[firsts]
    counted = NgramCounts(
        prefixes=(different // vocabulary_size).astype(np.int32),
        words=(different % vocabulary_size).astype(np.int32),
        suffixes=ending[ends[firsts]],
        counts=np.diff(firsts, append=len(keys)),
    )
    return counted, longer


def _sorted(keys: NDArray[np.int64], bound: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """`keys`, each from 0 to below `bound`, in ascending order, and where each one stood.

    Sorting numbers is several times faster than sorting their places, so a place is put into the
    low bits of its key where both together fit into 64 bits.
    """
    bits = len(keys).bit_length()
    if bound.bit_length() + bits > 63:
        order = np.argsort(keys)
        return keys[order], order
    packed = (keys << bits) | np.arange(len(keys))
    packed.sort()
    return packed >> bits, packed & ((1 << bits) - 1)
