"""Weights of scores that make the fewest word errors on n-best lists with references.

Along a line in the space of the weights, the sum of every candidate is a straight line, so that the
best candidate of a list changes at a few points only. The errors of all lists between any two such
points are counted, and the middle of the widest stretch with the fewest is taken.

Reference: Och, "Minimum Error Rate Training in Statistical Machine Translation", ACL 2003.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from asr.decoding.nbest import WORDS, Candidate, NbestList
from asr.decoding.rescoring import (
    check_references,
    check_weights,
    is_never,
    score_of,
    word_errors,
)
from asr.errors import ConfigError, shown

STARTS = 8  # random weights from which the search begins again
DIRECTIONS = 4  # random directions for each weight, beside those along one weight
SEED = 0

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def tune(
    lists: Sequence[NbestList], references: Mapping[str, str], weights: Mapping[str, float]
) -> dict[str, float]:
    """The weights that make the fewest word errors on lists with references.

    Exact searches along each weight and along random directions, from `weights` and from random
    beginnings; the same input gives the same weights. Where none makes fewer errors, the search
    stays at `weights`. What it found is made simple: a weight that began as 0 is 0 where that makes
    no difference; few digits; the first one 1. All are 0 or more but that of `words`.

    Args:
        lists: of a development set.
        references: id → what was said.
        weights: those to be tuned, and where the search begins.

    Raises:
        DataError: as `check_references`.
        ConfigError: as `rescore`; or a negative weight but for `words`.
    """
    check_references(lists, references)
    check_weights(lists, weights)
    if negative := [name for name in weights if name != WORDS and weights[name] < 0]:
        raise ConfigError(
            f"the weight of '{shown(negative[0])}' is tuned from 0 upwards, got "
            f"{weights[negative[0]]}; only that of {WORDS} may be negative"
        )
    table = _table(lists, references, list(weights))
    start = np.array(list(weights.values()), dtype=np.float64)
    found = _readable(table, _fewest_errors(table, start), start)
    return dict(zip(weights, found, strict=True))


class _Table(NamedTuple):
    """Lists as arrays; short lists are filled up with copies of their first candidate.

    Attributes:
        scores: (D, N, K) each weighted score of each candidate of each list.
        errors: (N, K) word errors.
        free: (D,) whether the weight may be negative.
    """

    scores: Floats
    errors: Integers
    free: NDArray[np.bool_]


def _table(
    lists: Sequence[NbestList], references: Mapping[str, str], names: Sequence[str]
) -> _Table:
    lists = [one for one in lists if one.candidates]  # the others are errors with any weights
    lists = [replace(one, candidates=_possible(one, names)) for one in lists]
    width = max(len(one.candidates) for one in lists)
    scores = np.empty((len(names), len(lists), width))
    errors = np.empty((len(lists), width), dtype=np.int64)
    for row, one in enumerate(lists):
        columns = [[score_of(each, name) for name in names] for each in one.candidates]
        counts = word_errors(one, references[one.id])
        padding = width - len(counts)
        scores[:, row, :] = np.array(columns + columns[:1] * padding).T
        errors[row] = counts + counts[:1] * padding
    matters = errors.min(axis=1) < errors.max(axis=1)
    free = np.array([name == WORDS for name in names])
    return _Table(np.ascontiguousarray(scores[:, matters]), errors[matters], free)


def _possible(one: NbestList, names: Sequence[str]) -> tuple[Candidate, ...]:
    """The candidates among which weights decide: `rescore` puts the others last with any."""
    return tuple(each for each in one.candidates if not is_never(each, names)) or one.candidates


def _fewest_errors(table: _Table, start: Floats) -> Floats:
    """The best weights of several searches; where none is better, of that from `start`."""
    generator = np.random.default_rng(SEED)
    size = len(start)
    spread = table.scores.std(axis=2).mean(axis=1) if table.errors.size else np.ones(size)
    unit = 1 / np.where(spread > 0, spread, 1)  # a weight for which all scores count alike
    random = generator.standard_normal((DIRECTIONS * size, size)) * unit
    directions = [*np.eye(size), *(random if size > 1 else [])]
    best, fewest = _descend(table, start, directions)
    for _ in range(STARTS if size > 1 else 0):
        drawn = generator.standard_normal(size)
        begin = unit * np.where(table.free, drawn, np.exp(drawn))
        weights, errors = _descend(table, begin, directions)
        if errors < fewest:
            best, fewest = weights, errors
    return best


def _descend(table: _Table, weights: Floats, directions: Sequence[Floats]) -> tuple[Floats, int]:
    """Search along each direction until none leads to fewer errors; the weights and errors."""
    errors = _errors_with(table, weights)
    while True:
        before = errors
        for direction in directions:
            moved = _best_on_line(table, weights, direction)
            if (fewer := _errors_with(table, moved)) < errors:
                weights, errors = moved, fewer
        if errors == before:
            return weights, errors


def _best_on_line(table: _Table, weights: Floats, direction: Floats) -> Floats:
    """The weights with the fewest errors among `weights + x direction`, for any x that may be."""
    limited = ~table.free & (direction != 0)
    ends = -weights[limited] / direction[limited]
    up = direction[limited] > 0
    low = float(ends[up].max(initial=-np.inf))
    high = float(ends[~up].min(initial=np.inf))
    origin = weights + low * direction if np.isfinite(low) else weights
    begin, end = (0.0, high - low) if np.isfinite(low) else (-np.inf, high)
    places, totals = _errors_along(table, origin, direction, begin)
    inside = np.append(True, places < end)
    x = _widest_middle(np.concatenate([[begin], places[inside[1:]], [end]]), totals[inside])
    return np.where(table.free, origin + x * direction, np.maximum(origin + x * direction, 0))


def _errors_along(
    table: _Table, origin: Floats, direction: Floats, begin: float
) -> tuple[Floats, Integers]:
    """Where along a line a best candidate changes (P,), and the errors (P + 1,) in between.

    From `begin`, which is 0 or minus infinity, each list's best candidate is followed to the first
    crossing with one that rises faster, and so on: the upper envelope of its lines.
    """
    height, slope = _totals(table.scores, origin), _totals(table.scores, direction)
    errors = table.errors
    best = _first_largest(height, slope) if begin == 0 else _first_largest(-slope, height)
    place = np.full(len(errors), begin)
    places, changes = [np.empty(0)], [np.empty(0, dtype=np.int64)]
    total = int(_picked(errors, best).sum())
    while len(errors):
        rise = slope - _picked(slope, best)[:, None]
        gap = _picked(height, best)[:, None] - height
        crossing = np.where(rise > 0, gap / np.where(rise > 0, rise, 1), np.inf)
        place = np.maximum(place, crossing.min(axis=1))  # rounding may put it a little before
        following = _first_largest(-np.maximum(crossing, place[:, None]), slope)
        on = np.isfinite(place)
        places.append(place[on])
        changes.append((_picked(errors, following) - _picked(errors, best))[on])
        height, slope, errors = height[on], slope[on], errors[on]
        best, place = following[on], place[on]
    every = np.concatenate(places)
    order = np.argsort(every, kind="stable")
    return every[order], total + np.append(0, np.cumsum(np.concatenate(changes)[order]))


def _widest_middle(edges: Floats, totals: Integers) -> float:
    """A point well inside the widest stretch with the fewest errors.

    Args:
        edges: (P + 1,) of the intervals, increasing; the outer ones may be infinite.
        totals: (P,) errors in each interval.
    """
    real = edges[1:] > edges[:-1]
    if not real.any():
        return float(edges[0])
    left, right, errors = edges[:-1][real], edges[1:][real], totals[real]
    good = errors == errors.min()
    begins = left[good & ~np.append(False, good[:-1])]
    ends = right[good & ~np.append(good[1:], False)]
    middles = [_middle(low, high) for low, high in zip(begins, ends, strict=True)]
    margins = [min(x - low, high - x) for x, low, high in zip(middles, begins, ends, strict=True)]
    return middles[int(np.argmax(margins))]


def _middle(low: float, high: float) -> float:
    """Between the two; where one is infinite, as far from the other as that is from 0."""
    if np.isfinite(low) and np.isfinite(high):
        return float(low + high) / 2
    if np.isfinite(low):
        return float(low + (abs(low) or 1))
    return float(high - (abs(high) or 1)) if np.isfinite(high) else 0.0


def _readable(table: _Table, weights: Floats, start: Floats) -> list[float]:
    """Weights that are as good: 0 where they began so, few digits, the first one 1."""
    errors = _errors_with(table, weights)
    for index in np.flatnonzero(start == 0)[::-1]:
        without = weights.copy()
        without[index] = 0
        if without.any() and _errors_with(table, without) <= errors:
            weights = without
    positive = weights[~table.free & (weights > 0)]
    scaled = weights / positive[0] if len(positive) else weights
    for digits in (2, 3, 4, 6):
        rounded = [float(f"{weight:.{digits}g}") for weight in scaled]
        if _errors_with(table, np.array(rounded)) <= errors:
            return rounded
    return [float(weight) for weight in weights]


def _totals(scores: Floats, weights: Floats) -> Floats:
    """(N, K) weighted sums, in the order of the weights, as `rescoring.rescore` rounds them."""
    totals = np.zeros(scores.shape[1:])
    for weight, values in zip(weights, scores, strict=True):
        totals += weight * values
    return totals


def _errors_with(table: _Table, weights: Floats) -> int:
    best = _totals(table.scores, weights).argmax(axis=1)
    return int(_picked(table.errors, best).sum())


def _first_largest(first: Floats, second: Floats) -> Integers:
    """(N,) where `first` (N, K) is largest, of equal ones `second`; of equal ones, the first."""
    largest = first == first.max(axis=1, keepdims=True)
    return np.asarray(np.where(largest, second, -np.inf).argmax(axis=1), dtype=np.int64)


def _picked(values: NDArray[Any], columns: Integers) -> NDArray[Any]:
    """(N,) the value in its column of each row of (N, K)."""
    return np.take_along_axis(values, columns[:, None], axis=1)[:, 0]
