"""How far another test set of the same kind might have moved a rate, or what two systems differ by.

The percentile bootstrap: utterances (or speakers) are drawn with replacement, as many as there are,
10,000 times; the interval holds the middle 95 % of the rates of these draws. Two systems are
compared on the same draws, so that what is hard for both of them cancels.

Reference: Bisani and Ney, "Bootstrap estimates for confidence intervals in ASR performance
evaluation", ICASSP 2004. Utterances of one speaker share his errors, so that the interval over
speakers, where they are known, is the more honest and usually the wider one.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

REPLICATES = 10_000
LEVEL = 0.95
SEED = 0
CHUNK = 1 << 20  # draws in memory at once

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Difference:
    """The rate of one system less that of another on the same utterances.

    Attributes:
        value: below 0 where the first has fewer errors.
        interval: the middle 95 % of the draws.
        standard_error: the deviation of the draws.
        p: twice the share of draws on the rarer side of 0, draws of exactly 0 counting for both
            sides: below 0.05 where the interval leaves 0 out. At least 2 / 10,001.
    """

    value: float
    interval: Interval
    standard_error: float
    p: float


def rate_interval(
    errors: Sequence[int], lengths: Sequence[int], *, groups: Sequence[Hashable] | None = None
) -> Interval | None:
    """The 95 % interval of total errors / total length; None from fewer than two units.

    The same input gives the same interval.

    Args:
        errors: of each utterance.
        lengths: of each utterance's reference.
        groups: the speaker of each utterance, if speakers rather than utterances are to be drawn.

    Raises:
        ValueError: sequences of different lengths.
    """
    if len(errors) != len(lengths) or (groups is not None and len(groups) != len(errors)):
        raise ValueError("errors, lengths and groups must have one value per utterance")
    rates = _drawn_rates(np.array([errors, lengths], dtype=np.float64).T, groups)
    return None if rates is None else _middle(rates)


def paired_difference(
    errors: Sequence[float],
    others: Sequence[float],
    lengths: Sequence[int],
    *,
    groups: Sequence[Hashable] | None = None,
) -> Difference | None:
    """What two systems differ by on the same utterances; None from fewer than two units.

    The same input gives the same answer, and the systems exchanged give the negative.

    Args:
        errors: of each utterance by one system; a fraction where it is a mean of several trainings.
        others: the same by the other system.
        lengths: of each utterance's reference.
        groups: the speaker of each utterance, if speakers rather than utterances are to be drawn.

    Raises:
        ValueError: sequences of different lengths.
    """
    given = [errors, others, *([groups] if groups is not None else [])]
    if any(len(each) != len(lengths) for each in given):
        raise ValueError("errors, others, lengths and groups must have one value per utterance")
    apart = np.subtract(errors, others, dtype=np.float64)
    values = np.stack([apart, np.asarray(lengths, dtype=np.float64)], axis=1)
    drawn = _drawn_rates(values, groups)
    if drawn is None:
        return None
    rarer = min(np.count_nonzero(drawn <= 0), np.count_nonzero(drawn >= 0))
    return Difference(
        value=float(apart.sum() / max(values[:, 1].sum(), 1)),
        interval=_middle(drawn),
        standard_error=float(drawn.std()),
        # What was observed counts as one more draw: no finite number of draws shows a p of 0.
        p=min(1.0, 2 * (rarer + 1) / (len(drawn) + 1)),
    )


def group_sums(values: NDArray[np.float64], groups: Sequence[Hashable]) -> NDArray[np.float64]:
    """(G, M): the sum of the rows of `values` (N, M) of each group, in order of appearance."""
    numbers: dict[Hashable, int] = {}
    rows = np.array([numbers.setdefault(group, len(numbers)) for group in groups], dtype=np.int64)
    sums = np.zeros((len(numbers), values.shape[1]))
    np.add.at(sums, rows, values)
    return sums


def resampled_sums(
    values: NDArray[np.float64], *, replicates: int, seed: int
) -> NDArray[np.float64]:
    """(R, M): the sum of N rows of `values` (N, M), drawn with replacement, in each replicate."""
    generator = np.random.default_rng(seed)
    units, sums = len(values), []
    at_once = max(1, CHUNK // units)
    for begin in range(0, replicates, at_once):
        rows = min(at_once, replicates - begin)
        drawn = generator.integers(0, units, size=(rows, units))
        # How often each unit was drawn: the sums are then one product of matrices.
        drawn += units * np.arange(rows)[:, None]
        times = np.bincount(drawn.ravel(), minlength=rows * units).reshape(rows, units)
        sums.append(times @ values)
    return np.concatenate(sums)


def _drawn_rates(
    values: NDArray[np.float64], groups: Sequence[Hashable] | None
) -> NDArray[np.float64] | None:
    """(R,) rates of draws from `values` (N, 2), errors and lengths; None from fewer than two."""
    units = values if groups is None else group_sums(values, groups)
    if len(units) < 2:
        return None
    sums = resampled_sums(units, replicates=REPLICATES, seed=SEED)
    rates: NDArray[np.float64] = sums[:, 0] / np.maximum(sums[:, 1], 1)
    return rates


def _middle(rates: NDArray[np.float64]) -> Interval:
    low, high = np.quantile(rates, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
