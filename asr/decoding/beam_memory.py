"""The records and working memory of a search; pages that it never touches cost nothing."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from asr.decoding.prefix_score import NODE, NONE, Memo
from asr.decoding.records import empty_records

NUM_BUCKETS = 256  # of scores, for the selection
NODES, ENTRIES, PROPOSED, CURRENT, WORST, COUNTED, LINKED, STALE, NEW = range(9)  # of Search.sizes
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

# A prefix that may be in the next beam: the slot that stays, or that `token` extends (else -1),
# with what `extend` says of the extension.
CANDIDATE = np.dtype(
    [
        *((name, np.float64) for name in ("score", "blank", "label", "total", "scored", "offset")),
        *((name, np.int32) for name in ("slot", "token", "place", "lm_state", "hot_state")),
    ],
    align=True,
)

# A prefix that a frame has brought into the beam, for a language model that is asked between
# frames: its node, the row of the prefix without its last label, and that label.
FRESH = np.dtype([(name, np.int32) for name in ("node", "row", "token")])


class Pruning(NamedTuple):
    """What a search leaves out.

    Attributes:
        beam_size: most prefixes kept after a frame.
        beam_threshold: a prefix this many nats worse than the best is dropped.
        token_threshold: labels less probable than this (nats) do not extend a prefix, but the most
            probable of a frame always does.
        max_tokens: most labels of a frame that extend a prefix.
        recombine: whether of the prefixes in a full beam that end in the same label, unfinished
            word and states, only the best stays: what follows counts the same for all of them.
    """

    beam_size: int
    beam_threshold: float
    token_threshold: float
    max_tokens: int
    recombine: bool


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
        futures: (at least twice the beam size, a power of two) scratch, a hash table.
        fresh: (beam size,) of FRESH.
        memo: see there.
        sizes: (9,) nodes, prefixes in the beam, candidates, which of the beams; the last bucket
            that the beam may have room for, and the candidates up to it (-1: there is room for all
            there can be); whether `up`, `head` and `next` are right, and whether `total` is not;
            how many are `fresh`.
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
    futures: NDArray[np.int32]
    fresh: NDArray[Any]
    memo: Memo
    sizes: NDArray[np.int64]
    range: NDArray[np.float64]
    log_scale: NDArray[np.float64]


PRIOR_BYTES = 64 * 1024 * 1024  # of the table of priors, where they are used


def allocate(
    num_frames: int,
    beam_size: int,
    num_labels: int,
    *,
    prior_shape: tuple[int, int] = (0, 0),
    lm_words: int = 0,
) -> Search:
    """Memory for utterances of up to `num_frames` frames.

    Args:
        num_frames: at least the longest utterance.
        beam_size: of the search.
        num_labels: V.
        prior_shape: states of the language model and nodes of the trie for `fusion="prior"`.
        lm_words: of a language model that is asked between frames.
    """
    most_candidates = beam_size * (num_labels + 1)
    return Search(
        nodes=empty_records(num_frames * beam_size + 1, NODE),
        beams=empty_records((2, beam_size), ENTRY),
        candidates=empty_records(most_candidates, CANDIDATE),
        likely=np.empty(num_labels, np.int32),
        prob=np.empty(num_labels),
        taken=np.empty(num_labels, np.int64),
        buckets=np.empty(NUM_BUCKETS, np.int64),
        scores=np.empty(most_candidates),
        futures=np.empty(2 << int(beam_size).bit_length(), np.int32),
        fresh=np.empty(beam_size, FRESH),
        memo=new_memo(*prior_shape, (beam_size if lm_words else 0, lm_words)),
        sizes=np.zeros(9, np.int64),
        range=np.zeros(3),
        log_scale=np.zeros(1),
    )


def new_memo(num_states: int, num_nodes: int, label_rows: tuple[int, int]) -> Memo:
    """An empty memo for so many states of a language model and nodes of the trie."""
    rows = min(num_states, max(16, PRIOR_BYTES // (8 * max(1, num_nodes))))
    return Memo(
        row_of=np.full(num_states, NONE, np.int32),
        state_of=np.full(rows, NONE, np.int32),
        prior_sums=np.empty((rows, num_nodes if rows else 0)),
        used=np.zeros(1, np.int64),
        label_rows=np.empty(label_rows, np.float32),
    )
