"""How far another test set of the same kind might have moved a rate.

The percentile bootstrap: utterances (or speakers) are drawn with replacement, as many as there are,
10,000 times; the interval holds the middle 95 % of the rates of these draws.

Reference: Bisani and Ney, "Bootstrap estimates for confidence intervals in ASR performance
evaluation", ICASSP 2004. Utterances of one speaker share his errors, so that the interval over
speakers, where they are known, is the more honest and usually the wider one.
"""

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

REPLICATES = 10_000
LEVEL = 0.95
SEED = 0
CHUNK = 1 << 20  # draws in memory at once

Interval = tuple[float, float]


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
    values = np.array([errors, lengths], dtype=np.float64).T
    if groups is not None:
        values = group_sums(values, groups)
    if len(values) < 2:
        return None
    sums = resampled_sums(values, replicates=REPLICATES, seed=SEED)
    rates = sums[:, 0] / np.maximum(sums[:, 1], 1)
    low, high = np.quantile(rates, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


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
