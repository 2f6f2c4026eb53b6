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
    BEAM,
    FRAME,
    FRAMES,
    FREE,
    FRESH,
    NEXT,
    NODES,
    ROUND,
    TRACES,
    WAITING,
)
from asr.decoding.transducer_queues import (
    add_logs,
    ask,
    copy_kept,
    floor_of,
    keep,
    list_asks,
    place_for,
    sort_asked,
    trace_of,
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
        sizes[TRACES] = 0
        entry.total, entry.best, entry.node, entry.trace = 0.0, 0.0, 0, NONE
        entry.score = beams.nodes[b, 0].offset
        _open_frame(beams, breadth, b)
    list_asks(beams, most_frames)


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
    list_asks(beams, most_frames)


@compiled_inline
def _open_frame(beams, breadth, b):  # type: ignore[no-untyped-def]
    """Ask about the beam, and about the prefixes between any two of it, the shortest first."""
    nodes, stamps, sizes = beams.nodes[b], beams.stamps[b], beams.sizes[b]
    frame = sizes[FRAME]
    sizes[ROUND] = sizes[NEXT] = sizes[WAITING] = sizes[ASKED] = 0
    if frame < sizes[FRAMES]:
        for slot in range(sizes[BEAM]):
            entry = beams.beam[b, slot]
            ask(beams, b, entry.node, 0, entry.total, entry.best, entry.trace)
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
                    ask(beams, b, node, 0, -np.inf, -np.inf, NONE)
                    node = nodes[node].parent
        sort_asked(beams.asked[b], sizes[ASKED])
        for at in range(sizes[ASKED]):
            beams.asked_at[b, beams.asked[b, at].node] = at


@compiled_inline
def _add_prefixes(beams, b, answers):  # type: ignore[no-untyped-def]
    """Add to each prefix what comes over from shorter ones by labels of this frame."""
    nodes, asked = beams.nodes[b], beams.asked[b]
    for at in range(beams.sizes[b, ASKED]):
        node = nodes[asked[at].node]
        if node.parent != NONE and beams.stamps[b, node.parent] == beams.sizes[b, FRAME]:
            at_parent = beams.asked_at[b, node.parent]
            shorter, said = asked[at_parent], np.float64(answers[at_parent, node.token])
            asked[at].total = add_logs(asked[at].total, shorter.total + said)
            if shorter.best + said > asked[at].best:
                asked[at].best = shorter.best + said
                asked[at].trace = trace_of(beams, b, shorter.trace, said)


@compiled_inline
def _answered(beams, scorer, memo, breadth, b, answers):  # type: ignore[no-untyped-def]
    """Let what was asked about go over to the next frame, and its extensions wait."""
    asked, count = beams.asked[b], beams.sizes[b, ASKED]
    for at in range(count):
        if asked[at].total + answers[at, BLANK] > -np.inf:
            keep(beams, b, at, np.float64(answers[at, BLANK]))
    for at in range(count):
        if asked[at].level < breadth.max_symbols and asked[at].total > -np.inf:
            _mark_children(beams, b, asked[at].node)
            _extend(beams, scorer, memo, breadth, b, at, answers[at])


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
    asked = beams.asked[b, at]
    node, total = asked.node, asked.total
    floor = floor_of(beams, breadth, b)
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
            slot = place_for(beams, b, score)
            if slot != NONE:
                candidate = beams.waiting[b, slot]
                candidate.score, candidate.total = score, total + answer[token]
                candidate.best, candidate.said = asked.best + answer[token], answer[token]
                candidate.node, candidate.trace = node, asked.trace
                candidate.token, candidate.level = token, asked.level + 1
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
def _ask_waiting(beams, scorer, breadth, b):  # type: ignore[no-untyped-def]
    """Ask about the best that wait and beat the next beam; whether there are any."""
    sizes, order = beams.sizes[b], beams.order[b]
    floor = floor_of(beams, breadth, b)
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
        trace = trace_of(beams, b, candidate.trace, candidate.said)
        ask(beams, b, node, candidate.level, candidate.total, candidate.best, trace)
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
        copy_kept(entry, beam[kept])
        kept += 1
    sizes[BEAM] = kept
    sizes[FRAME] += 1
