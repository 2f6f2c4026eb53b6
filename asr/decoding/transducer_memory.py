"""The records and working memory of a transducer's beam search, for a batch of utterances."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from asr.decoding.prefix_score import NODE, NONE
from asr.decoding.records import empty_records

NODES, BEAM, NEXT, ASKED, WAITING, ROUND, FRAME, FRAMES = range(8)  # of Beams.sizes
FREE, FRESH, ASKS = range(3)  # of Beams.counts

# A prefix of a beam: its score with what language models add, its log-probability, and its node.
KEPT_RECORD = np.dtype(
    [("score", np.float64), ("total", np.float64), ("node", np.int32)], align=True
)

# A prefix that the networks are asked about in a frame: its log-probability with all labels that
# the frame may bring, its node, and how many labels the frame has brought at least.
ASKED_RECORD = np.dtype(
    [("total", np.float64), ("node", np.int32), ("level", np.int32)], align=True
)

# A prefix with one more label that waits to be asked about, with what `prefix_score.extend` says.
WAITING_RECORD = np.dtype(
    [
        *((name, np.float64) for name in ("score", "total", "scored", "offset")),
        *((name, np.int32) for name in ("node", "token", "level", "place", "lm_state")),
        ("hot_state", np.int32),
    ],
    align=True,
)

# A node whose row is still to be filled, from the row of the prefix without its last label.
FRESH_RECORD = np.dtype([(name, np.int32) for name in ("row", "parent_row", "token")])


class Breadth(NamedTuple):
    """What a search leaves out; see `transducer.TransducerLimits`."""

    beam_size: int
    beam_threshold: float
    token_threshold: float
    max_symbols: int


class Beams(NamedTuple):
    """The working memory of B utterances with a beam of W prefixes and V labels.

    A row is a place in the tables of what the prediction network makes of prefixes.

    Attributes:
        nodes: (B, most nodes) of NODE: a tree of prefixes for each utterance.
        rows: (B, most nodes) the row of a prefix, or -1.
        stamps: (B, most nodes) the last frame in which a prefix was asked about.
        asked_at: (B, most nodes) where in `asked`, if that is this frame's first round.
        beam: (B, W) of KEPT_RECORD, the best first, before a frame.
        following: (B, W) the same after it, as far as it is known.
        asked: (B, 2 W) of ASKED_RECORD.
        waiting: (B, 2 W) of WAITING_RECORD.
        order: (B, 2 W) the places in `waiting`: those in use by their score, then the others.
        taken: (V,) scratch: the node that a label extends to one that was asked about.
        fresh: (B W,) of FRESH_RECORD.
        ask_rows: (2 B W,) the rows that are asked about.
        ask_frames: (2 B W,) the frames that each is asked about, as index into all of the batch.
        free: (rows,) those that no prefix has.
        sizes: (B, 8) nodes, prefixes in `beam`, in `following`, `asked`, `waiting`; the round
            within the frame; the frame, and how many there are.
        counts: (3,) rows that are free, nodes that are fresh, rows that are asked about.
    """

    nodes: NDArray[Any]
    rows: NDArray[np.int32]
    stamps: NDArray[np.int32]
    asked_at: NDArray[np.int32]
    beam: NDArray[Any]
    following: NDArray[Any]
    asked: NDArray[Any]
    waiting: NDArray[Any]
    order: NDArray[np.int32]
    taken: NDArray[np.int64]
    fresh: NDArray[Any]
    ask_rows: NDArray[np.int64]
    ask_frames: NDArray[np.int64]
    free: NDArray[np.int32]
    sizes: NDArray[np.int64]
    counts: NDArray[np.int64]


def allocate_beams(frames: NDArray[np.int64], breadth: Breadth, num_labels: int) -> Beams:
    """Memory for utterances of so many frames (B,); pages that are never touched cost nothing."""
    batch, wide = len(frames), breadth.beam_size
    most_nodes = int(frames.max(initial=0)) + 2 * wide  # at first: see `grown`
    sizes = np.zeros((batch, 8), np.int64)
    sizes[:, FRAMES] = frames
    return Beams(
        nodes=empty_records((batch, most_nodes), NODE),
        rows=np.empty((batch, most_nodes), np.int32),
        stamps=np.empty((batch, most_nodes), np.int32),
        asked_at=np.empty((batch, most_nodes), np.int32),
        beam=empty_records((batch, wide), KEPT_RECORD),
        following=empty_records((batch, wide), KEPT_RECORD),
        asked=empty_records((batch, 2 * wide), ASKED_RECORD),
        waiting=empty_records((batch, 2 * wide), WAITING_RECORD),
        order=np.tile(np.arange(2 * wide, dtype=np.int32), (batch, 1)),
        taken=np.full(num_labels, NONE, np.int64),
        fresh=empty_records(batch * wide, FRESH_RECORD),
        ask_rows=np.empty(2 * batch * wide, np.int64),
        ask_frames=np.empty(2 * batch * wide, np.int64),
        free=np.empty(0, np.int32),
        sizes=sizes,
        counts=np.zeros(3, np.int64),
    )


def grown(beams: Beams) -> Beams:
    """The same with room for twice as many nodes."""
    batch, most_nodes = beams.rows.shape
    longer = {"nodes": empty_records((batch, 2 * most_nodes), NODE)}
    for name in ("rows", "stamps", "asked_at"):
        longer[name] = np.empty((batch, 2 * most_nodes), np.int32)
    for name, array in longer.items():
        array[:, :most_nodes] = getattr(beams, name)
    return beams._replace(**longer)
