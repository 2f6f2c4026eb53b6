"""The compiled inner loop of the prefix beam search: one frame after another over flat arrays.

Prefixes are nodes of a tree that grows as the search goes, so that equal prefixes are one node
however they were reached. In each frame every prefix of the beam stays (a blank, or its last label
again) or is extended by the labels that the frame makes likely; an extension that is in the beam
already adds to it. What a language model says of a prefix depends on the prefix alone and is
worked out once, when its word ends (`prefix_score`).

Masses are probabilities divided by a common scale, not logarithms: they are added far more often
than compared. The scale follows the largest, so that only what is some 300 powers of ten less
probable than the best vanishes. The logarithm of a mass, with what the language model adds, ranks.

Reference: Graves & Jaitly 2014, algorithm 1, with extensions that are in the beam already added up
instead of overwritten.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from asr.compiled import compiled_loop
from asr.decoding.lexicon import ROOT
from asr.decoding.prefix_score import NONE, Prior, extend, most_beyond

RESCALE_BELOW = 1e-60
NUM_BUCKETS = 256  # of scores, for the selection
NODES, ENTRIES, PROPOSED, CURRENT, WORST, COUNTED, LINKED, STALE = range(8)  # of Search.sizes
TOP, WIDTH, BEST = range(3)  # of Search.range

# A prefix of the beam: `blank` and `label`, the masses of its paths that end in a blank and in its
# last label; `total`, the logarithm of their sum; its node and what that says; `up`, the slot of
# the prefix without the last label; `head` and `next`, lists of the slots that extend a slot;
# `waiting`, the next `label` while the present one is still read.
ENTRY = np.dtype(
    [
        *((name, np.float64) for name in ("blank", "label", "total", "offset", "waiting")),
        *((name, np.int32) for name in ("node", "parent", "token", "up", "head", "next")),
    ],
    align=True,
)

# A prefix that may be in the next beam: the slot that stays, or that `token` extends (else -1).
CANDIDATE = np.dtype(
    [
        *((name, np.float64) for name in ("score", "blank", "label", "total")),
        *((name, np.int32) for name in ("slot", "token")),
    ],
    align=True,
)


class Pruning(NamedTuple):
    """What a search leaves out.

    Attributes:
        beam_size: most prefixes kept after a frame.
        beam_threshold: a prefix this many nats worse than the best is dropped.
        token_threshold: labels less probable than this (nats) do not extend a prefix, but the most
            probable of a frame always does.
        max_tokens: most labels of a frame that extend a prefix.
    """

    beam_size: int
    beam_threshold: float
    token_threshold: float
    max_tokens: int


class Search(NamedTuple):
    """The working memory of one utterance.

    Attributes:
        nodes: (most nodes,) of NODE.
        beams: (2, beam size) of ENTRY, the present beam and the next.
        candidates: (most candidates,) of CANDIDATE.
        likely: (V,) labels that extend prefixes in a frame.
        prob: (V,) probability of a label in a frame, or -1 where not needed yet.
        taken: (V,) the slot that a label extends within the beam.
        buckets: (NUM_BUCKETS,) how many candidates have scores of each range.
        scores: (most candidates,) scratch.
        prior: see there.
        sizes: (8,) nodes, prefixes in the beam, candidates, which of the beams; the last bucket
            that the beam may have room for, and the candidates up to it; whether `up`, `head` and
            `next` are right, and whether `total` is not.
        range: (3,) of the scores: the top and the width of the buckets, and the best so far.
        log_scale: (1,) what the masses were divided by.
    """

    nodes: NDArray[Any]
    beams: NDArray[Any]
    candidates: NDArray[Any]
    likely: NDArray[np.int32]
    prob: NDArray[np.float64]
    taken: NDArray[np.int64]
    buckets: NDArray[np.int64]
    scores: NDArray[np.float64]
    prior: Prior
    sizes: NDArray[np.int64]
    range: NDArray[np.float64]
    log_scale: NDArray[np.float64]


@compiled_loop
def begin(search, scorer, lm_start):  # type: ignore[no-untyped-def]
    """Put the empty prefix into the beam."""
    root = search.nodes[0]
    root.parent = root.token = root.child = root.sibling = NONE
    root.slot = 0
    root.place = ROOT
    root.lm_state = lm_start
    root.hot_state = 0
    root.scored = 0.0
    root.offset = scorer.look[ROOT]
    root.ended = np.nan
    entry = search.beams[0, 0]
    entry.blank, entry.label, entry.total = 1.0, 0.0, 0.0
    entry.offset = root.offset
    entry.node, entry.parent, entry.token = 0, NONE, NONE
    search.sizes[NODES] = search.sizes[ENTRIES] = 1
    search.sizes[CURRENT] = search.sizes[LINKED] = search.sizes[STALE] = 0
    search.log_scale[0] = 0.0
    for label in range(len(search.taken)):
        search.taken[label] = NONE


@compiled_loop
def advance(search, scorer, pruning, blank, log_probs):  # type: ignore[no-untyped-def]
    """Go on by all frames of `log_probs` (T, V)."""
    for t in range(len(log_probs)):
        beam = search.beams[search.sizes[CURRENT]]
        frame = log_probs[t]
        count = _likely_labels(search, scorer, pruning, blank, frame)
        if not search.sizes[LINKED]:
            _link(search, beam)
        if count == 0:
            _wait(search, beam, frame, blank)
            continue
        top = rank(search, beam)
        _stay(search, beam, frame, blank)
        _start_counting(search, pruning, top)
        floor = _extend_all(search, scorer, pruning, beam, frame, count)
        kept = _select(search, pruning, floor)
        _settle(search, scorer, beam, kept)


@compiled_loop
def _likely_labels(search, scorer, pruning, blank, frame):  # type: ignore[no-untyped-def]
    """Collect the labels that may extend prefixes; their number."""
    best = 0
    count = 0
    for label in range(len(frame)):
        search.prob[label] = -1.0
        value = frame[label]
        if value > frame[best]:
            best = label
        possible = value >= pruning.token_threshold and value > -np.inf
        if possible and scorer.labels.emitted[label]:
            search.likely[count] = label
            count += 1
    if frame[best] < pruning.token_threshold and best != blank and scorer.labels.emitted[best]:
        search.likely[0] = best
        count = 1
    if count > pruning.max_tokens:
        _keep_most_probable(search.likely, count, pruning.max_tokens, frame)
        count = pruning.max_tokens
    return count


@compiled_loop
def _keep_most_probable(likely, count, kept, frame):  # type: ignore[no-untyped-def]
    """Put the `kept` most probable of the first `count` labels first, by insertion."""
    for at in range(1, count):
        label = likely[at]
        to = at
        if at >= kept:
            if frame[likely[kept - 1]] >= frame[label]:
                continue
            to = kept - 1
        while to > 0 and frame[likely[to - 1]] < frame[label]:
            likely[to] = likely[to - 1]
            to -= 1
        likely[to] = label


@compiled_loop
def _link(search, beam):  # type: ignore[no-untyped-def]
    """Find which prefixes of the beam extend which others of it."""
    nodes = search.nodes
    size = search.sizes[ENTRIES]
    for slot in range(size):
        beam[slot].head = NONE
    for slot in range(size):
        parent = beam[slot].parent
        up = nodes[parent].slot if parent != NONE else NONE
        beam[slot].up = up
        if up != NONE:
            beam[slot].next = beam[up].head
            beam[up].head = slot
    search.sizes[LINKED] = 1


@compiled_loop
def rank(search, beam):  # type: ignore[no-untyped-def]
    """Bring `total` up to date; the best score."""
    top = -np.inf
    for slot in range(search.sizes[ENTRIES]):
        entry = beam[slot]
        if search.sizes[STALE]:
            entry.total = np.log(entry.blank + entry.label)
        top = max(top, entry.total + entry.offset)
    search.sizes[STALE] = 0
    return top


@compiled_loop
def _wait(search, beam, frame, blank):  # type: ignore[no-untyped-def]
    """A frame that no label extends: masses move inside the beam, and nothing need be ranked."""
    blank_prob = np.exp(frame[blank])
    size = search.sizes[ENTRIES]
    for slot in range(size):
        beam[slot].waiting = _label_mass(search, beam, slot, frame)
    largest = 0.0
    for slot in range(size):
        entry = beam[slot]
        entry.blank = (entry.blank + entry.label) * blank_prob
        entry.label = entry.waiting
        largest = max(largest, entry.blank + entry.label)
    search.sizes[STALE] = 1
    if 0.0 < largest < RESCALE_BELOW:
        search.log_scale[0] += np.log(largest)
        for slot in range(size):
            beam[slot].blank /= largest
            beam[slot].label /= largest


@compiled_loop
def _label_mass(search, beam, slot, frame):  # type: ignore[no-untyped-def]
    """The mass of the paths of a prefix that end in its last label, after this frame."""
    entry = beam[slot]
    if entry.token == NONE:
        return 0.0
    mass = entry.label
    if entry.up != NONE:
        shorter = beam[entry.up]
        mass += shorter.blank
        if shorter.token != entry.token:
            mass += shorter.label
    return mass * _prob(search, frame, entry.token)


@compiled_loop
def _stay(search, beam, frame, blank):  # type: ignore[no-untyped-def]
    """Propose every prefix of the beam again."""
    blank_prob = np.exp(frame[blank])
    count = 0
    for slot in range(search.sizes[ENTRIES]):
        entry = beam[slot]
        label = _label_mass(search, beam, slot, frame)
        silent = (entry.blank + entry.label) * blank_prob
        if silent + label > 0.0:
            candidate = search.candidates[count]
            candidate.total = np.log(silent + label)
            candidate.score = candidate.total + entry.offset
            candidate.slot = slot
            candidate.token = NONE
            candidate.blank = silent
            candidate.label = label
            count += 1
    search.sizes[PROPOSED] = count


@compiled_loop
def _extend_all(search, scorer, pruning, beam, frame, count):  # type: ignore[no-untyped-def]
    """Propose the extensions that are not in the beam; the floor below which nothing has room."""
    nodes, starts_word = search.nodes, scorer.labels.starts_word
    bonus = scorer.weights.token_bonus
    filled = search.sizes[PROPOSED]
    floor = _floor(search, pruning)
    for slot in range(search.sizes[ENTRIES]):
        entry = beam[slot]
        _mark(search, beam, entry.head, slot)
        inside = entry.total + entry.offset + bonus  # the most that an extension can come to
        beyond = entry.total + most_beyond(scorer, nodes, entry.node) + bonus
        for at in range(count):
            token = search.likely[at]
            if (beyond if starts_word[token] else inside) + frame[token] < floor:
                continue
            if search.taken[token] == slot:
                continue
            mass, total = entry.blank + entry.label, entry.total
            if token == entry.token:
                mass = entry.blank
                total = np.log(mass) if mass > 0.0 else -np.inf
            total += frame[token]
            allowed, _, offset, _, _, _ = extend(scorer, search.prior, nodes, entry.node, token)
            if allowed and total > -np.inf and total + offset >= floor:
                candidate = search.candidates[filled]
                candidate.score = total + offset
                candidate.total = total
                candidate.slot = slot
                candidate.token = token
                candidate.blank = 0.0
                candidate.label = mass * _prob(search, frame, token)
                filled += 1
                _count(search, total + offset, pruning.beam_size)
                floor = _floor(search, pruning)
        _mark(search, beam, entry.head, NONE)
    search.sizes[PROPOSED] = filled
    return floor


@compiled_loop
def _mark(search, beam, slot, mark):  # type: ignore[no-untyped-def]
    """Mark the labels of a list of slots: those extensions are in the beam already."""
    while slot != NONE:
        search.taken[beam[slot].token] = mark
        slot = beam[slot].next


@compiled_loop
def _prob(search, frame, label):  # type: ignore[no-untyped-def]
    if search.prob[label] < 0.0:
        search.prob[label] = np.exp(frame[label])
    return search.prob[label]


@compiled_loop
def _start_counting(search, pruning, top):  # type: ignore[no-untyped-def]
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
        _count(search, search.candidates[at].score, pruning.beam_size)


@compiled_loop
def _count(search, score, beam_size):  # type: ignore[no-untyped-def]
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
def _floor(search, pruning):  # type: ignore[no-untyped-def]
    """The score below which a candidate is out: too far from the best, or no room for it."""
    floor = search.range[BEST] - pruning.beam_threshold
    worst = search.sizes[WORST]
    if worst < NUM_BUCKETS - 1:
        # A hair lower, so that rounding keeps what lies on the boundary.
        bound = search.range[TOP] - (worst + 1) * search.range[WIDTH] * (1 + 1e-12)
        floor = max(floor, bound - 1e-12 * abs(bound))
    return floor


@compiled_loop
def _select(search, pruning, floor):  # type: ignore[no-untyped-def]
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


@compiled_loop
def _settle(search, scorer, beam, kept):  # type: ignore[no-untyped-def]
    """Make the first `kept` candidates the beam."""
    nodes, candidates = search.nodes, search.candidates
    following = search.beams[1 - search.sizes[CURRENT]]
    for slot in range(search.sizes[ENTRIES]):
        nodes[beam[slot].node].slot = NONE
    largest = 0.0
    for at in range(kept):
        largest = max(largest, candidates[at].blank + candidates[at].label)
    scale, log_scale = 1.0, 0.0
    if 0.0 < largest < RESCALE_BELOW:
        scale, log_scale = 1.0 / largest, np.log(largest)
        search.log_scale[0] += log_scale
    for at in range(kept):
        candidate = candidates[at]
        node = beam[candidate.slot].node
        if candidate.token != NONE:
            node = node_of(search, scorer, node, candidate.token)
        entry = following[at]
        entry.blank = candidate.blank * scale
        entry.label = candidate.label * scale
        entry.total = candidate.total - log_scale
        entry.node = node
        entry.offset = nodes[node].offset
        entry.parent = nodes[node].parent
        entry.token = nodes[node].token
        nodes[node].slot = at
    search.sizes[ENTRIES] = kept
    search.sizes[CURRENT] = 1 - search.sizes[CURRENT]
    search.sizes[LINKED] = 0


@compiled_loop
def node_of(search, scorer, parent, token):  # type: ignore[no-untyped-def]
    """The node of an extension, made if it never was in the beam before."""
    nodes = search.nodes
    number = nodes[parent].child
    while number != NONE:
        if nodes[number].token == token:
            return number
        number = nodes[number].sibling
    number = search.sizes[NODES]
    search.sizes[NODES] += 1
    _, scored, offset, place, lm, hot = extend(scorer, search.prior, nodes, parent, token)
    node = nodes[number]
    node.parent = parent
    node.token = token
    node.child = NONE
    node.sibling = nodes[parent].child
    nodes[parent].child = number
    node.place = place
    node.lm_state = lm
    node.hot_state = hot
    node.scored = scored
    node.offset = offset
    node.ended = np.nan
    return number
