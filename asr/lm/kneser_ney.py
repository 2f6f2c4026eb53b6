"""Interpolated modified Kneser-Ney smoothing: counts of n-grams → probabilities and back-offs.

With c the words of a context, w the word after it, and c' the context without its first word,

    p(w | c) = (a(cw) - D(a(cw))) / sum_v a(cv)  +  b(c) p(w | c')
    b(c)     = sum_v D(a(cv)) / sum_v a(cv)

down to the uniform distribution over the vocabulary below the unigrams. a is the count for the
longest n-grams and for those that begin with `<s>`, else the number of different words before the
n-gram. D(1), D(2), D(3 and more) are estimated for each length from how many n-grams have a = 1, 2,
3, 4. What pruning removes from a context goes to its b(c), so that every p( | c) still sums to one.

References:
    Chen & Goodman 1998, An empirical study of smoothing techniques for language modeling, eq. 26.
    Heafield et al. 2013, Scalable modified Kneser-Ney language model estimation: a, and what
    becomes of `<s>` and `<unk>`.

Its program `lmplz` writes the same numbers (tools/compare_lmplz.py), with one exception. In the
statistics for the discounts it takes, of each length but the longest, one n-gram (the last when
sorted by the last word) with its count instead of a. It is the last new word of the text, so that
mostly both are 1; else, in a small text, the discounts differ.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from asr.lm.counting import NgramCounts, Numbers
from asr.lm.tokens import BEGIN, SPECIAL

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Flags = NDArray[np.bool_]


class Discounts(NamedTuple):
    """What is taken from the n-grams whose adjusted count is 1, 2, or 3 and more."""

    one: float
    two: float
    three_and_more: float


@dataclass(frozen=True, slots=True, eq=False)
class Smoothed:
    """The n-grams of one length, smoothed.

    Attributes:
        probs: (n,) of the last word after the others.
        weights: one for every n-gram shorter by one: its back-off; 1 where nothing follows it.
    """

    probs: Floats
    weights: Floats


def adjusted_counts(counted: Sequence[NgramCounts]) -> list[Counts]:
    """The a of the equations for each length, given the n-grams of all lengths from 1 on."""
    adjusted = []
    begins = counted[0].words == BEGIN
    for shorter, longer in pairwise(counted):
        different = np.bincount(longer.suffixes, minlength=len(shorter))
        adjusted.append(np.where(begins, shorter.counts, different))
        begins = begins[longer.prefixes]
    adjusted.append(counted[-1].counts.copy())
    adjusted[0][BEGIN] = 0  # it is never predicted
    return adjusted


def estimate_discounts(adjusted: Counts) -> Discounts | None:
    """The discounts of one length; none where the text is too small or too odd to tell.

    Reference: Chen & Goodman 1998, equation 26.
    """
    numbers = np.bincount(np.minimum(adjusted, 5), minlength=6)
    n1, n2, n3, n4 = (int(number) for number in numbers[1:5])
    if 0 in (n1, n2, n3):
        return None
    y = n1 / (n1 + 2 * n2)
    found = Discounts(1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
    in_range = all(0 <= discount <= most for most, discount in enumerate(found, start=1))
    return found if in_range else None


def kept(counted: Sequence[NgramCounts], thresholds: Sequence[int], known: Flags) -> list[Flags]:
    """For each length, which n-grams stay in the model.

    An n-gram goes when it occurs no more often than the threshold of its length, or has a word that
    is not `known`. With thresholds that do not fall, the prefix and the suffix of each that stays
    stay too. The special words always stay.
    """
    staying: list[Flags] = []
    for ngrams, threshold in zip(counted, thresholds, strict=True):
        stays = (ngrams.counts > threshold) & known[ngrams.words]
        if staying:
            stays &= staying[-1][ngrams.prefixes]
        else:
            stays[: len(SPECIAL)] = True
        staying.append(stays)
    return staying


def smooth(
    counted: Sequence[NgramCounts],
    adjusted: Sequence[Counts],
    staying: Sequence[Flags],
    discounts: Sequence[Discounts],
) -> list[Smoothed]:
    """The probabilities and back-offs of every length; each argument has one item a length.

    The probabilities of n-grams that do not stay mean nothing.
    """
    vocabulary_size = int(staying[0].sum()) - 1  # with <unk>, without <s>
    probs = np.full(1, 1 / vocabulary_size)
    smoothed: list[Smoothed] = []
    for ngrams, counts, stays, discount in zip(counted, adjusted, staying, discounts, strict=True):
        level = _smooth(ngrams, counts, stays, discount, probs)
        if not smoothed:
            level.probs[BEGIN] = 1.0  # as lmplz writes it: to score <s> itself costs nothing
        smoothed.append(level)
        probs = level.probs
    return smoothed


def _smooth(
    ngrams: NgramCounts, adjusted: Counts, stays: Flags, discounts: Discounts, lower: Floats
) -> Smoothed:
    """One length, given the probabilities `lower` of the n-grams shorter by one."""
    taken = np.array([0.0, *discounts])[np.minimum(adjusted, 3)]
    totals = _summed(ngrams.prefixes, adjusted, len(lower))
    weights = _summed(ngrams.prefixes, np.where(stays, taken, adjusted), len(lower))
    followed = totals > 0
    np.divide(weights, totals, out=weights, where=followed)
    weights[~followed] = 1.0
    probs = (adjusted - taken) / totals[ngrams.prefixes]
    probs += weights[ngrams.prefixes] * lower[ngrams.suffixes]
    return Smoothed(probs, weights)


def _summed(groups: Numbers, values: Counts | Floats, num_groups: int) -> Floats:
    """The sum of the values in each group."""
    sums = np.bincount(groups, weights=values, minlength=num_groups)
    return np.asarray(sums, dtype=np.float64)  # they are, but numpy's types do not say so
