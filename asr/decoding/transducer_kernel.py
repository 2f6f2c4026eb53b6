"""The compiled part of a transducer's beam search: between two questions to the networks.

In each frame the beam, with the prefixes that lie between any two of it, is asked about first. The
log-probability of each of these goes over to its extensions among them (the prefix sums of Graves
2012, in which a frame brings any number of labels at once), and by a blank to the next frame. Other
extensions wait, no more than twice as many as a beam has room for. As long as some are better than
what the next beam has room for, the best of them are asked about at once: they too go over to the
next frame by a blank, and their own extensions wait. Graves pops them one by one, and any number
may wait; popping many at once looks at more.

Each path of the lattice is counted once or not at all, so that no score exceeds the probability of
its labels. Each utterance goes at its own pace; a turn of all of them is one call.

Reference: Graves, "Sequence transduction with recurrent neural networks", 2012, algorithm 1.
"""

import numpy as np

from asr.compiled import compiled_inline, compiled_loop
from asr.decoding.prefix_score import NONE, STEPWISE, extend, most_beyond
from asr.decoding.prefix_tree import node_of, plant
from asr.decoding.transducer_memory import (
    ASKED,
    ASKS,
    BEAM,
    FRAME,
    FRAMES,
    FREE,
    FRESH,
    NEXT,
    NODES,
    ROUND,
    WAITING,
)

BLANK = 0


@compiled_loop
def begin_all(beams, scorer, breadth, lm_start, most_frames):  # type: ignore[no-untyped-def]
    """Put the empty prefix into each beam; row b is that of utterance b."""
    stepwise = scorer.weights.unit == STEPWISE
    for b in range(len(beams.sizes)):
        plant(beams.nodes[b], scorer, b if stepwise else lm_start)
        sizes = beams.sizes[b]
        sizes[NODES] = sizes[BEAM] = 1
        sizes[NEXT] = sizes[WAITING] = sizes[ASKED] = sizes[FRAME] = 0
        beams.rows[b, 0] = b
        beams.stamps[b, 0] = NONE
        entry = beams.beam[b, 0]
        entry.total, entry.node = 0.0, 0
        entry.score = beams.nodes[b, 0].offset
        _open_frame(beams, breadth, b)
    _list_asks(beams, most_frames)


@compiled_loop
def take_turn(beams, scorer, memo, breadth, log_probs, most_frames):  # type: ignore[no-untyped-def]
    """Go on with all utterances by the answers to what was asked.

    Args:
        beams: the working memory.
        scorer: what language models add.
        memo: see `prefix_score`.
        breadth: what is left out.
        log_probs: (asks, V) of what follows each prefix in its frame.
        most_frames: T, of the longest utterance.
    """
    beams.counts[FRESH] = 0
    first = 0
    for b in range(len(beams.sizes)):
        count = beams.sizes[b, ASKED]
        if count:
            answers = log_probs[first : first + count]
            first += count
            if beams.sizes[b, ROUND] == 0:
                _add_prefixes(beams, b, answers)
            _answered(beams, scorer, memo, breadth, b, answers)
            if not _ask_waiting(beams, scorer, breadth, b):
                _close_frame(beams, breadth, b)
                _open_frame(beams, breadth, b)
    _list_asks(beams, most_frames)


@compiled_inline
def _open_frame(beams, breadth, b):  # type: ignore[no-untyped-def]
    """Ask about the beam, and about the prefixes between any two of it, the shortest first."""
    nodes, stamps, sizes = beams.nodes[b], beams.stamps[b], beams.sizes[b]
    frame = sizes[FRAME]
    sizes[ROUND] = sizes[NEXT] = sizes[WAITING] = sizes[ASKED] = 0
    if frame < sizes[FRAMES]:
        for slot in range(sizes[BEAM]):
            _ask(beams, b, beams.beam[b, slot].node, beams.beam[b, slot].total, 0)
        for slot in range(sizes[BEAM]):
            node = beams.beam[b, slot].node
            up = nodes[node].parent
            distance = 1
            while up != NONE and stamps[up] != frame and distance < breadth.max_symbols:
                up = nodes[up].parent
                distance += 1
            room = sizes[ASKED] + distance - 1 <= beams.asked.shape[1]
            if up != NONE and stamps[up] == frame and room:
                node = nodes[node].parent
                while node != up:
                    _ask(beams, b, node, -np.inf, 0)
                    node = nodes[node].parent
        _sort_asked(beams.asked[b], sizes[ASKED])
        for at in range(sizes[ASKED]):
            beams.asked_at[b, beams.asked[b, at].node] = at


@compiled_inline
def _ask(beams, b, node, total, level):  # type: ignore[no-untyped-def]
    asked = beams.asked[b, beams.sizes[b, ASKED]]
    asked.node, asked.total, asked.level = node, total, level
    beams.stamps[b, node] = beams.sizes[b, FRAME]
    beams.sizes[b, ASKED] += 1


@compiled_inline
def _sort_asked(asked, count):  # type: ignore[no-untyped-def]
    """By node, by insertion: a prefix has a smaller number than its extensions."""
    for at in range(1, count):
        node, total = asked[at].node, asked[at].total
        to = at
        while to > 0 and asked[to - 1].node > node:
            asked[to].node, asked[to].total = asked[to - 1].node, asked[to - 1].total
            to -= 1
        asked[to].node, asked[to].total = node, total


@compiled_inline
def _add_prefixes(beams, b, answers):  # type: ignore[no-untyped-def]
    """Add to each prefix what comes over from shorter ones by labels of this frame."""
    nodes, asked = beams.nodes[b], beams.asked[b]
    for at in range(beams.sizes[b, ASKED]):
        node = nodes[asked[at].node]
        if node.parent != NONE and beams.stamps[b, node.parent] == beams.sizes[b, FRAME]:
            shorter = beams.asked_at[b, node.parent]
            over = asked[shorter].total + answers[shorter, node.token]
            asked[at].total = _add_logs(asked[at].total, over)


@compiled_inline
def _add_logs(one, other):  # type: ignore[no-untyped-def]
    """The logarithm of the sum of two numbers by their logarithms."""
    largest, smallest = max(one, other), min(one, other)
    if smallest == -np.inf:
        return largest
    return largest + np.log1p(np.exp(smallest - largest))


@compiled_inline
def _answered(beams, scorer, memo, breadth, b, answers):  # type: ignore[no-untyped-def]
    """Let what was asked about go over to the next frame, and its extensions wait."""
    nodes, asked = beams.nodes[b], beams.asked[b]
    count = beams.sizes[b, ASKED]
    for at in range(count):
        total = asked[at].total + answers[at, BLANK]
        if total > -np.inf:
            _keep(beams, b, asked[at].node, total, total + nodes[asked[at].node].offset)
    for at in range(count):
        if asked[at].level < breadth.max_symbols and asked[at].total > -np.inf:
            _mark_children(beams, b, asked[at].node)
            _extend(beams, scorer, memo, breadth, b, at, answers[at])


@compiled_inline
def _keep(beams, b, node, total, score):  # type: ignore[no-untyped-def]
    """Put a prefix into the next beam, if there is room for its score."""
    following = beams.following[b]
    if beams.sizes[b, NEXT] < len(following):
        to = beams.sizes[b, NEXT]
        beams.sizes[b, NEXT] += 1
    else:
        to = len(following) - 1
        if score <= following[to].score:
            to = NONE
    if to != NONE:
        while to > 0 and following[to - 1].score < score:
            shorter = following[to - 1]
            moved = following[to]
            moved.score, moved.total, moved.node = shorter.score, shorter.total, shorter.node
            to -= 1
        entry = following[to]
        entry.score, entry.total, entry.node = score, total, node


@compiled_inline
def _floor(beams, breadth, b):  # type: ignore[no-untyped-def]
    """The score that a prefix must exceed to have room in the next beam."""
    following, count = beams.following[b], beams.sizes[b, NEXT]
    floor = -np.inf
    if count:
        floor = following[0].score - breadth.beam_threshold
    if count == len(following):
        floor = max(floor, following[count - 1].score)
    return floor


@compiled_inline
def _mark_children(beams, b, node):  # type: ignore[no-untyped-def]
    """Mark the labels that extend a prefix to one that this frame has asked about already."""
    nodes = beams.nodes[b]
    child = nodes[node].child
    while child != NONE:
        if beams.stamps[b, child] == beams.sizes[b, FRAME]:
            beams.taken[nodes[child].token] = node
        child = nodes[child].sibling


@compiled_inline
def _extend(beams, scorer, memo, breadth, b, at, answer):  # type: ignore[no-untyped-def]
    """Let the extensions of a prefix wait that the next beam may have room for."""
    nodes = beams.nodes[b]
    node, total = beams.asked[b, at].node, beams.asked[b, at].total
    level = beams.asked[b, at].level
    floor = _floor(beams, breadth, b)
    bonus = scorer.weights.token_bonus
    inside = total + nodes[node].offset + bonus  # the most that an extension can come to
    beyond = total + most_beyond(scorer, nodes, node) + bonus
    least = min(breadth.token_threshold, _best_label(scorer, answer))
    for token in range(len(answer)):
        if not scorer.labels.emitted[token] or answer[token] < least:
            continue
        if (beyond if scorer.labels.starts_word[token] else inside) + answer[token] <= floor:
            continue
        if beams.taken[token] == node:
            continue
        allowed, scored, offset, place, lm_state, hot_state = extend(
            scorer, memo, nodes, node, token
        )
        score = total + answer[token] + offset
        if allowed and score > floor:
            slot = _place_for(beams, b, score)
            if slot != NONE:
                candidate = beams.waiting[b, slot]
                candidate.score, candidate.total = score, total + answer[token]
                candidate.node, candidate.token, candidate.level = node, token, level + 1
                candidate.scored, candidate.offset, candidate.place = scored, offset, place
                candidate.lm_state, candidate.hot_state = lm_state, hot_state
    child = nodes[node].child
    while child != NONE:  # another utterance has nodes of the same number
        beams.taken[nodes[child].token] = NONE
        child = nodes[child].sibling


@compiled_inline
def _best_label(scorer, answer):  # type: ignore[no-untyped-def]
    """The log-probability of the most probable label that may extend a prefix."""
    best = -np.inf
    for token in range(len(answer)):
        if scorer.labels.emitted[token] and answer[token] > best:
            best = answer[token]
    return best


@compiled_inline
def _place_for(beams, b, score):  # type: ignore[no-untyped-def]
    """A place in `waiting` for a score, entered in `order`; -1: there is none."""
    order, waiting = beams.order[b], beams.waiting[b]
    to = beams.sizes[b, WAITING]
    if to == len(order):
        to -= 1
        if score <= waiting[order[to]].score:
            to = NONE
    else:
        beams.sizes[b, WAITING] += 1
    slot = NONE
    if to != NONE:
        slot = order[to]
        while to > 0 and waiting[order[to - 1]].score < score:
            order[to] = order[to - 1]
            to -= 1
        order[to] = slot
    return slot


@compiled_inline
def _ask_waiting(beams, scorer, breadth, b):  # type: ignore[no-untyped-def]
    """Ask about the best that wait and beat the next beam; whether there are any."""
    sizes, order = beams.sizes[b], beams.order[b]
    floor = _floor(beams, breadth, b)
    sizes[ASKED] = 0
    sizes[ROUND] += 1
    while sizes[ASKED] < min(sizes[WAITING], breadth.beam_size):
        candidate = beams.waiting[b, order[sizes[ASKED]]]
        if candidate.score <= floor:
            break
        parent = candidate.node
        known = sizes[NODES]
        node = node_of(beams.nodes[b], sizes, parent, candidate)
        if node == known:
            beams.rows[b, node] = beams.stamps[b, node] = NONE
        if beams.rows[b, node] == NONE:
            _give_row(beams, scorer, b, node, parent, candidate.token)
        _ask(beams, b, node, candidate.total, candidate.level)
    count = sizes[WAITING]
    for at in range(sizes[ASKED], count):  # those that still wait come first again
        order[at - sizes[ASKED]], order[at] = order[at], order[at - sizes[ASKED]]
    sizes[WAITING] = count - sizes[ASKED]
    return sizes[ASKED] > 0


@compiled_inline
def _give_row(beams, scorer, b, node, parent, token):  # type: ignore[no-untyped-def]
    counts = beams.counts
    counts[FREE] -= 1
    row = beams.free[counts[FREE]]
    beams.rows[b, node] = row
    if scorer.weights.unit == STEPWISE:
        beams.nodes[b, node].lm_state = row
    fresh = beams.fresh[counts[FRESH]]
    fresh.row, fresh.parent_row, fresh.token = row, beams.rows[b, parent], token
    counts[FRESH] += 1


@compiled_inline
def _close_frame(beams, breadth, b):  # type: ignore[no-untyped-def]
    """Make what the next frame begins with the beam."""
    sizes, beam, following = beams.sizes[b], beams.beam[b], beams.following[b]
    kept = 0
    while kept < sizes[NEXT]:
        entry = following[kept]
        if entry.score < following[0].score - breadth.beam_threshold:
            break
        beam[kept].score, beam[kept].total, beam[kept].node = entry.score, entry.total, entry.node
        kept += 1
    sizes[BEAM] = kept
    sizes[FRAME] += 1


@compiled_inline
def _list_asks(beams, most_frames):  # type: ignore[no-untyped-def]
    """Bring what is asked of all utterances together."""
    count = 0
    for b in range(len(beams.sizes)):
        for at in range(beams.sizes[b, ASKED]):
            beams.ask_rows[count] = beams.rows[b, beams.asked[b, at].node]
            beams.ask_frames[count] = b * most_frames + beams.sizes[b, FRAME]
            count += 1
    beams.counts[ASKS] = count


@compiled_loop
def mark_used(beams, breadth, used, stepwise):  # type: ignore[no-untyped-def]
    """Mark the rows that may be needed again in `used` (rows,); the other prefixes lose theirs.

    Needed are the prefixes of the present and the next beam, those asked about, those whose
    extensions wait, and as many shorter ones as a frame may add labels.
    """
    for b in range(len(beams.sizes)):
        sizes = beams.sizes[b]
        for at in range(sizes[BEAM]):
            _mark_chain(beams, breadth, b, beams.beam[b, at].node, used)
        for at in range(sizes[NEXT]):
            _mark_chain(beams, breadth, b, beams.following[b, at].node, used)
        for at in range(sizes[ASKED]):
            _mark_chain(beams, breadth, b, beams.asked[b, at].node, used)
        for at in range(sizes[WAITING]):
            waiting = beams.waiting[b, beams.order[b, at]]
            _mark_chain(beams, breadth, b, waiting.node, used)
        for node in range(sizes[NODES]):
            row = beams.rows[b, node]
            if row != NONE and not used[row]:
                beams.rows[b, node] = NONE
                if stepwise:
                    beams.nodes[b, node].lm_state = NONE


@compiled_inline
def _mark_chain(beams, breadth, b, node, used):  # type: ignore[no-untyped-def]
    steps = 0
    while node != NONE and steps <= breadth.max_symbols:
        if beams.rows[b, node] != NONE:
            used[beams.rows[b, node]] = True
        node = beams.nodes[b, node].parent
        steps += 1
