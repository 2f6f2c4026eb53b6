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

import numpy as np

from asr.compiled import compiled_inline, compiled_loop
from asr.decoding.beam_memory import CURRENT, ENTRIES, LINKED, NEW, NODES, PROPOSED, STALE
from asr.decoding.beam_selection import (
    count_score,
    floor_of,
    recombine,
    select,
    start_counting,
)
from asr.decoding.prefix_score import NONE, STEPWISE, extend, most_beyond
from asr.decoding.prefix_tree import node_of, plant

RESCALE_BELOW = 1e-60


@compiled_loop
def begin(search, scorer, lm_start):  # type: ignore[no-untyped-def]
    """Put the empty prefix into the beam."""
    plant(search.nodes, scorer, lm_start)
    entry = search.beams[0, 0]
    entry.blank, entry.label, entry.total = 1.0, 0.0, 0.0
    entry.offset = search.nodes[0].offset
    entry.node, entry.parent, entry.token = 0, NONE, NONE
    search.sizes[NODES] = search.sizes[ENTRIES] = 1
    search.sizes[CURRENT] = search.sizes[LINKED] = search.sizes[STALE] = search.sizes[NEW] = 0
    search.log_scale[0] = 0.0
    for label in range(len(search.taken)):
        search.taken[label] = NONE


@compiled_loop
def advance(search, scorer, pruning, blank, log_probs):  # type: ignore[no-untyped-def]
    """Go on by all frames of `log_probs` (T, V); gives how many that were.

    Where the language model is asked between frames, this ends after a frame with new prefixes,
    which are `search.fresh`; they need their `lm_state` and its row before it goes on.
    """
    stepwise = scorer.weights.unit == STEPWISE
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
        start_counting(search, pruning, top, search.sizes[ENTRIES] * (count + 1))
        floor = _extend_all(search, scorer, pruning, beam, frame, count)
        kept = select(search, pruning, floor)
        if pruning.recombine and kept == pruning.beam_size:
            kept = recombine(search, beam, kept)
        _settle(search, beam, kept, stepwise)
        if search.sizes[NEW]:
            return t + 1
    return len(log_probs)


@compiled_inline
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


@compiled_inline
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


@compiled_inline
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


@compiled_inline
def _wait(search, beam, frame, blank):  # type: ignore[no-untyped-def]
    """A frame that no label extends: masses move inside the beam, and nothing need be ranked."""
    blank_prob = np.exp(np.float64(frame[blank]))
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


@compiled_inline
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


@compiled_inline
def _stay(search, beam, frame, blank):  # type: ignore[no-untyped-def]
    """Propose every prefix of the beam again."""
    blank_prob = np.exp(np.float64(frame[blank]))
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


@compiled_inline
def _extend_all(search, scorer, pruning, beam, frame, count):  # type: ignore[no-untyped-def]
    """Propose the extensions that are not in the beam; the floor below which nothing has room."""
    nodes, starts_word = search.nodes, scorer.labels.starts_word
    bonus = scorer.weights.token_bonus
    filled = search.sizes[PROPOSED]
    floor = floor_of(search, pruning)
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
            allowed, scored, offset, place, lm_state, hot_state = extend(
                scorer, search.memo, nodes, entry.node, token
            )
            if allowed and total > -np.inf and total + offset >= floor:
                candidate = search.candidates[filled]
                candidate.score = total + offset
                candidate.total = total
                candidate.slot = slot
                candidate.token = token
                candidate.blank = 0.0
                candidate.label = mass * _prob(search, frame, token)
                candidate.scored, candidate.offset, candidate.place = scored, offset, place
                candidate.lm_state, candidate.hot_state = lm_state, hot_state
                filled += 1
                count_score(search, total + offset, pruning.beam_size)
                floor = floor_of(search, pruning)
        _mark(search, beam, entry.head, NONE)
    search.sizes[PROPOSED] = filled
    return floor


@compiled_inline
def _mark(search, beam, slot, mark):  # type: ignore[no-untyped-def]
    """Mark the labels of a list of slots: those extensions are in the beam already."""
    while slot != NONE:
        search.taken[beam[slot].token] = mark
        slot = beam[slot].next


@compiled_inline
def _prob(search, frame, label):  # type: ignore[no-untyped-def]
    if search.prob[label] < 0.0:
        search.prob[label] = np.exp(np.float64(frame[label]))
    return search.prob[label]


@compiled_inline
def _settle(search, beam, kept, stepwise):  # type: ignore[no-untyped-def]
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
            row = nodes[node].lm_state
            node = node_of(search.nodes, search.sizes, node, candidate)
            if stepwise:
                fresh = search.fresh[search.sizes[NEW]]
                fresh.node, fresh.row, fresh.token = node, row, candidate.token
                search.sizes[NEW] += 1
        entry = following[at]
        entry.blank = candidate.blank * scale
        entry.label = candidate.label * scale
        entry.total = candidate.total - log_scale
        entry.node = node
        entry.offset = nodes[node].offset
        entry.parent = nodes[node].parent
        entry.token = nodes[node].token
        nodes[node].slot = at
    if stepwise:
        for slot in range(search.sizes[ENTRIES]):
            if nodes[beam[slot].node].slot == NONE:
                nodes[beam[slot].node].lm_state = NONE
    search.sizes[ENTRIES] = kept
    search.sizes[CURRENT] = 1 - search.sizes[CURRENT]
    search.sizes[LINKED] = 0
