"""What waits, is asked about and is kept in a frame of a transducer's search: lists in order."""

import numpy as np

from asr.compiled import compiled_inline
from asr.decoding.prefix_score import NONE
from asr.decoding.transducer_memory import (
    ASKED,
    ASKS,
    FRAME,
    NEXT,
    TRACES,
    WAITING,
)


@compiled_inline
def ask(beams, b, node, level, total, best, trace):  # type: ignore[no-untyped-def]
    """Ask the networks about a prefix in this frame."""
    asked = beams.asked[b, beams.sizes[b, ASKED]]
    asked.node, asked.level = node, level
    asked.total, asked.best, asked.trace = total, best, trace
    beams.stamps[b, node] = beams.sizes[b, FRAME]
    beams.sizes[b, ASKED] += 1


@compiled_inline
def sort_asked(asked, count):  # type: ignore[no-untyped-def]
    """By node, by insertion: a prefix has a smaller number than its extensions."""
    for at in range(1, count):
        node, total = asked[at].node, asked[at].total
        best, trace = asked[at].best, asked[at].trace
        to = at
        while to > 0 and asked[to - 1].node > node:
            longer, here = asked[to - 1], asked[to]
            here.node, here.total = longer.node, longer.total
            here.best, here.trace = longer.best, longer.trace
            to -= 1
        here = asked[to]
        here.node, here.total, here.best, here.trace = node, total, best, trace


@compiled_inline
def trace_of(beams, b, before, said):  # type: ignore[no-untyped-def]
    """Note that a path says a label in this frame, after those of a trace."""
    number = beams.sizes[b, TRACES]
    beams.sizes[b, TRACES] += 1
    trace = beams.traces[b, number]
    trace.before, trace.frame, trace.said = before, beams.sizes[b, FRAME], said
    return number


@compiled_inline
def add_logs(one, other):  # type: ignore[no-untyped-def]
    """The logarithm of the sum of two numbers by their logarithms."""
    largest, smallest = max(one, other), min(one, other)
    if smallest == -np.inf:
        return largest
    return largest + np.log1p(np.exp(smallest - largest))


@compiled_inline
def keep(beams, b, at, blank):  # type: ignore[no-untyped-def]
    """Put a prefix that was asked about into the next beam, if there is room for its score."""
    following, asked = beams.following[b], beams.asked[b, at]
    total = asked.total + blank
    score = total + beams.nodes[b, asked.node].offset
    if beams.sizes[b, NEXT] < len(following):
        to = beams.sizes[b, NEXT]
        beams.sizes[b, NEXT] += 1
    else:
        to = len(following) - 1
        if score <= following[to].score:
            to = NONE
    if to != NONE:
        while to > 0 and following[to - 1].score < score:
            copy_kept(following[to - 1], following[to])
            to -= 1
        entry = following[to]
        entry.score, entry.total, entry.best = score, total, asked.best + blank
        entry.node, entry.trace = asked.node, asked.trace


@compiled_inline
def copy_kept(source, to):  # type: ignore[no-untyped-def]
    """Copy a prefix of a beam."""
    to.score, to.total, to.best = source.score, source.total, source.best
    to.node, to.trace = source.node, source.trace


@compiled_inline
def floor_of(beams, breadth, b):  # type: ignore[no-untyped-def]
    """The score that a prefix must exceed to have room in the next beam."""
    following, count = beams.following[b], beams.sizes[b, NEXT]
    floor = -np.inf
    if count:
        floor = following[0].score - breadth.beam_threshold
    if count == len(following):
        floor = max(floor, following[count - 1].score)
    return floor


@compiled_inline
def place_for(beams, b, score):  # type: ignore[no-untyped-def]
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
def list_asks(beams, most_frames):  # type: ignore[no-untyped-def]
    """Bring what is asked of all utterances together."""
    count = 0
    for b in range(len(beams.sizes)):
        for at in range(beams.sizes[b, ASKED]):
            beams.ask_rows[count] = beams.rows[b, beams.asked[b, at].node]
            beams.ask_frames[count] = b * most_frames + beams.sizes[b, FRAME]
            count += 1
    beams.counts[ASKS] = count
