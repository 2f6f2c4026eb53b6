"""Which candidates of a frame stay: the best, counted in buckets of scores as they are proposed.

Once the buckets hold as many candidates as the beam has room for, what would fall below them is
left out before anything is worked out for it.
"""

import numpy as np

from asr.compiled import compiled_loop
from asr.decoding.beam_memory import BEST, COUNTED, NUM_BUCKETS, PROPOSED, TOP, WIDTH, WORST


@compiled_loop
def start_counting(search, pruning, top):  # type: ignore[no-untyped-def]
    """Count the scores of the prefixes that stay, in buckets from `top` down."""
    size = search.sizes[PROPOSED]
    best = lowest = top
    for at in range(size):
        score = search.candidates[at].score
        best = score if at == 0 else max(best, score)
        lowest = min(lowest, score)
    lowest = max(lowest, best - pruning.beam_threshold)
    search.range[TOP] = top
    search.range[WIDTH] = max((top - lowest) / (NUM_BUCKETS - 1), 1e-12)
    search.range[BEST] = best if size else -np.inf
    search.sizes[WORST] = NUM_BUCKETS - 1
    search.sizes[COUNTED] = 0
    for bucket in range(NUM_BUCKETS):
        search.buckets[bucket] = 0
    for at in range(size):
        count_score(search, search.candidates[at].score, pruning.beam_size)


@compiled_loop
def count_score(search, score, beam_size):  # type: ignore[no-untyped-def]
    """Count a score. `WORST` is the last bucket that the beam may have room for."""
    search.range[BEST] = max(search.range[BEST], score)
    place = (search.range[TOP] - score) / search.range[WIDTH]
    bucket = 0  # also where scores are infinite and `place` is NaN, which is no index
    if place > 0:
        bucket = int(min(place, NUM_BUCKETS - 1))
    worst = search.sizes[WORST]
    if bucket > worst:
        return
    search.buckets[bucket] += 1
    search.sizes[COUNTED] += 1
    while search.sizes[COUNTED] - search.buckets[worst] >= beam_size:
        search.sizes[COUNTED] -= search.buckets[worst]
        worst -= 1
    search.sizes[WORST] = worst


@compiled_loop
def floor_of(search, pruning):  # type: ignore[no-untyped-def]
    """The score below which a candidate is out: too far from the best, or no room for it."""
    floor = search.range[BEST] - pruning.beam_threshold
    worst = search.sizes[WORST]
    if worst < NUM_BUCKETS - 1:
        # A hair lower, so that rounding keeps what lies on the boundary.
        bound = search.range[TOP] - (worst + 1) * search.range[WIDTH] * (1 + 1e-12)
        floor = max(floor, bound - 1e-12 * abs(bound))
    return floor


@compiled_loop
def select(search, pruning, floor):  # type: ignore[no-untyped-def]
    """Move the best candidates to the front, in their order; their number."""
    candidates, scores = search.candidates, search.scores
    count = search.sizes[PROPOSED]
    passed = 0
    for at in range(count):
        if candidates[at].score >= floor:
            scores[passed] = candidates[at].score
            passed += 1
    ties = passed  # how many with exactly the lowest score there is room for
    if passed > pruning.beam_size:
        floor = _kth_largest(scores, passed, pruning.beam_size)
        ties = pruning.beam_size
        for at in range(passed):
            if scores[at] > floor:
                ties -= 1
    kept = 0
    for at in range(count):
        score = candidates[at].score
        if score < floor or (score == floor and ties == 0):
            continue
        if score == floor:
            ties -= 1
        candidates[kept] = candidates[at]
        kept += 1
    return kept


@compiled_loop
def _kth_largest(values, count, k):  # type: ignore[no-untyped-def]
    """The k-th largest of the first `count` values, which it reorders (Hoare's quickselect)."""
    low, high = 0, count - 1
    wanted = k - 1
    while low < high:
        pivot = values[(low + high) >> 1]
        left, right = low, high
        while left <= right:
            while values[left] > pivot:
                left += 1
            while values[right] < pivot:
                right -= 1
            if left <= right:
                values[left], values[right] = values[right], values[left]
                left += 1
                right -= 1
        if wanted <= right:
            high = right
        elif wanted >= left:
            low = left
        else:
            break
    return values[wanted]
