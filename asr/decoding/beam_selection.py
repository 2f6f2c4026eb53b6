"""Which candidates of a frame stay: the best, counted in buckets of scores as they are proposed.

Once the buckets hold as many candidates as the beam has room for, what would fall below them is
left out before anything is worked out for it.
"""

import numpy as np

from asr.compiled import compiled_inline, compiled_loop
from asr.decoding.beam_memory import BEST, COUNTED, NUM_BUCKETS, PROPOSED, TOP, WIDTH, WORST
from asr.decoding.prefix_score import NONE


@compiled_inline
def start_counting(search, pruning, top, most):  # type: ignore[no-untyped-def]
    """Count the scores of the prefixes that stay, in buckets from `top` down.

    Where the beam has room for `most`, all there can be, nothing is counted.
    """
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
    search.sizes[COUNTED] = NONE if most <= pruning.beam_size else 0
    if search.sizes[COUNTED] == NONE:
        return
    for bucket in range(NUM_BUCKETS):
        search.buckets[bucket] = 0
    for at in range(size):
        count_score(search, search.candidates[at].score, pruning.beam_size)


@compiled_inline
def count_score(search, score, beam_size):  # type: ignore[no-untyped-def]
    """Count a score. `WORST` is the last bucket that the beam may have room for."""
    search.range[BEST] = max(search.range[BEST], score)
    if search.sizes[COUNTED] == NONE:
        return
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


@compiled_inline
def floor_of(search, pruning):  # type: ignore[no-untyped-def]
    """The score below which a candidate is out: too far from the best, or no room for it."""
    floor = search.range[BEST] - pruning.beam_threshold
    worst = search.sizes[WORST]
    if worst < NUM_BUCKETS - 1:
        # A hair lower, so that rounding keeps what lies on the boundary.
        bound = search.range[TOP] - (worst + 1) * search.range[WIDTH] * (1 + 1e-12)
        floor = max(floor, bound - 1e-12 * abs(bound))
    return floor


@compiled_inline
def select(search, pruning, floor):  # type: ignore[no-untyped-def]
    """Move the best candidates to the front, in their order; their number."""
    candidates = search.candidates
    count = search.sizes[PROPOSED]
    ties = count  # how many with exactly the lowest score there is room for
    if search.sizes[COUNTED] != NONE:
        floor, ties = _room(search, pruning, floor)
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


@compiled_inline
def recombine(search, beam, kept):  # type: ignore[no-untyped-def]
    """Leave out what is behind another of one future in a full beam; how many of `kept` stay.

    The future of a prefix is what decides about all that may follow it: its last label, the place
    of its unfinished word, and the states of language model and hot words. What has less mass than
    the best of its future, both after a blank and after a label, can overtake that only by what
    still flows in from the prefix without its last label, which may bring it back.
    """
    candidates, futures = search.candidates, search.futures
    for at in range(len(futures)):
        futures[at] = NONE
    for at in range(kept):
        candidate = candidates[at]
        if candidate.token == NONE:  # for those that stay
            node = search.nodes[beam[candidate.slot].node]
            candidate.place, candidate.lm_state = node.place, node.lm_state
            candidate.hot_state = node.hot_state
        place = _place_of_future(search, beam, candidate)
        other = futures[place]
        if other == NONE or candidates[other].score < candidate.score:
            futures[place] = at
    count = 0
    for at in range(kept):
        place = _place_of_future(search, beam, candidates[at])
        is_best = futures[place] == at
        if is_best or not _is_behind(candidates[at], candidates[futures[place]]):
            candidates[count] = candidates[at]
            if is_best:
                futures[place] = count
            count += 1
    return count


@compiled_inline
def _is_behind(candidate, other):  # type: ignore[no-untyped-def]
    """Whether a candidate has no more than another of its future, after a blank and a label."""
    lead = np.exp(other.score - other.total - candidate.score + candidate.total)
    return candidate.blank <= other.blank * lead and candidate.label <= other.label * lead


@compiled_inline
def _place_of_future(search, beam, candidate):  # type: ignore[no-untyped-def]
    """Where in the table the future of a candidate is, or would be."""
    futures, candidates = search.futures, search.candidates
    last = _last_label(beam, candidate)
    key = np.uint64(candidate.lm_state) * np.uint64(0x9E3779B97F4A7C15)
    key = (key ^ np.uint64(candidate.place)) * np.uint64(0xC2B2AE3D27D4EB4F)
    key = (key ^ np.uint64(candidate.hot_state)) * np.uint64(0x165667B19E3779F9)
    key = (key ^ np.uint64(last)) * np.uint64(0x9E3779B97F4A7C15)
    place = np.int64(key >> np.uint64(33)) & (len(futures) - 1)
    while futures[place] != NONE:
        other = candidates[futures[place]]
        if (
            other.place == candidate.place
            and other.lm_state == candidate.lm_state
            and other.hot_state == candidate.hot_state
            and _last_label(beam, other) == last
        ):
            break
        place = (place + 1) & (len(futures) - 1)
    return place


@compiled_inline
def _last_label(beam, candidate):  # type: ignore[no-untyped-def]
    return beam[candidate.slot].token if candidate.token == NONE else candidate.token


@compiled_inline
def _room(search, pruning, floor):  # type: ignore[no-untyped-def]
    """The lowest score that there is room for, and for how many candidates with that score."""
    candidates, scores = search.candidates, search.scores
    count = search.sizes[PROPOSED]
    passed = 0
    for at in range(count):
        if candidates[at].score >= floor:
            scores[passed] = candidates[at].score
            passed += 1
    if passed <= pruning.beam_size:
        return floor, passed
    floor = _kth_largest(scores, passed, pruning.beam_size)
    ties = pruning.beam_size
    for at in range(passed):
        if scores[at] > floor:
            ties -= 1
    return floor, ties


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
