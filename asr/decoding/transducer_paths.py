"""Which rows a transducer's search still needs, and where its best paths have said their labels."""

import numpy as np

from asr.compiled import compiled, compiled_inline, compiled_loop
from asr.decoding.prefix_score import NONE
from asr.decoding.transducer_memory import (
    ASKED,
    BEAM,
    NEXT,
    NODES,
    WAITING,
)


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


@compiled
def read_traces(traces, ends, begins):  # type: ignore[no-untyped-def]
    """The frames and log-probabilities of labels on the best paths of hypotheses.

    Args:
        traces: of an utterance.
        ends: (hypotheses,) the last trace of each; of more labels than it has, the first are read.
        begins: (hypotheses + 1,) where the labels of each begin.
    """
    frames, said = np.zeros(begins[-1], np.int64), np.zeros(begins[-1])
    for index in range(len(ends)):
        count, at = 0, ends[index]
        while at != NONE:
            count += 1
            at = traces[at].before
        at = ends[index]
        for place in range(begins[index] + count - 1, begins[index] - 1, -1):
            if place < begins[index + 1]:
                frames[place], said[place] = traces[at].frame, traces[at].said
            at = traces[at].before
    return frames, said
