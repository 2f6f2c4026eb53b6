"""The tree of prefixes that a search grows: equal prefixes are one node, however reached."""

import numpy as np

from asr.compiled import compiled_inline
from asr.decoding.prefix_score import NONE
from asr.decoding.trie import ROOT

NODES = 0  # of the `sizes` of a search: how many nodes its tree has


@compiled_inline
def plant(nodes, scorer, lm_start):  # type: ignore[no-untyped-def]
    """Make node 0 the empty prefix."""
    root = nodes[0]
    root.parent = root.token = root.child = root.sibling = NONE
    root.slot = 0
    root.place = ROOT
    root.lm_state = lm_start
    root.hot_state = 0
    root.scored = 0.0
    root.offset = scorer.trie[ROOT].look
    root.ended = np.nan


@compiled_inline
def node_of(nodes, sizes, parent, candidate):  # type: ignore[no-untyped-def]
    """The node of an extension, made if it never was in the beam before."""
    number = nodes[parent].child
    while number != NONE:
        if nodes[number].token == candidate.token:
            return number
        number = nodes[number].sibling
    number = sizes[NODES]
    sizes[NODES] += 1
    node = nodes[number]
    node.parent = parent
    node.token = candidate.token
    node.child = NONE
    node.sibling = nodes[parent].child
    nodes[parent].child = number
    node.slot = NONE
    node.place = candidate.place
    node.lm_state = candidate.lm_state
    node.hot_state = candidate.hot_state
    node.scored = candidate.scored
    node.offset = candidate.offset
    node.ended = np.nan
    return number
