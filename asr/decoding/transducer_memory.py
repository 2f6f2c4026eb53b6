"""The records and working memory of a transducer's beam search, for a batch of utterances."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from asr.decoding.prefix_score import NODE, NONE
from asr.decoding.records import empty_records

NODES, BEAM, NEXT, ASKED, WAITING, ROUND, FRAME, FRAMES, TRACES = range(9)  # of Beams.sizes
FREE, FRESH, ASKS = range(3)  # of Beams.counts

# A prefix of a beam: its score with what language models add; its log-probability, and that of its
# best path; its node; where that path has said its labels, a place in `traces`.
KEPT_RECORD = np.dtype(
    [
        *((name, np.float64) for name in ("score", "total", "best")),
        *((name, np.int32) for name in ("node", "trace")),
    ],
    align=True,
)

# A prefix that the networks are asked about in a frame: the same with all labels that the frame may
# bring, and how many labels the frame has brought at least.
ASKED_RECORD = np.dtype(
    [
        *((name, np.float64) for name in ("total", "best")),
        *((name, np.int32) for name in ("node", "trace", "level")),
    ],
    align=True,
)

# A prefix with one more label that waits to be asked about: the node and the trace of the prefix,
# the label and its log-probability, and what `prefix_score.extend` says.
WAITING_RECORD = np.dtype(
    [
        *((name, np.float64) for name in ("score", "total", "best", "said", "scored", "offset")),
        *((name, np.int32) for name in ("node", "trace", "token", "level")),
        *((name, np.int32) for name in ("place", "lm_state", "hot_state")),
    ],
    align=True,
)

# A label of a best path: the one before it, its frame, and its log-probability there.
TRACE_RECORD = np.dtype([("before", np.int32), ("frame", np.int32), ("said", np.float64)])

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
        traces: (B, most traces) of TRACE_RECORD.
        taken: (V,) scratch: the node that a label extends to one that was asked about.
        fresh: (B W,) of FRESH_RECORD.
        ask_rows: (2 B W,) the rows that are asked about.
        ask_frames: (2 B W,) the frames that each is asked about, as index into all of the batch.
        free: (rows,) those that no prefix has.
        sizes: (B, 9) nodes, prefixes in `beam`, in `following`, `asked`, `waiting`; the round
            within the frame; the frame, and how many there are; traces.
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
    traces: NDArray[Any]
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
    most_nodes = int(frames.max(initial=0)) + 3 * wide  # at first: see `with_room`
    sizes = np.zeros((batch, 9), np.int64)
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
        traces=empty_records((batch, most_nodes), TRACE_RECORD),
        taken=np.full(num_labels, NONE, np.int64),
        fresh=empty_records(batch * wide, FRESH_RECORD),
        ask_rows=np.empty(2 * batch * wide, np.int64),
        ask_frames=np.empty(2 * batch * wide, np.int64),
        free=np.empty(0, np.int32),
        sizes=sizes,
        counts=np.zeros(3, np.int64),
    )


def with_room(beams: Beams) -> Beams:
    """The same with room for as many new nodes and traces as a turn may bring."""
    wide = beams.beam.shape[1]
    names = {NODES: ("nodes", "rows", "stamps", "asked_at"), TRACES: ("traces",)}
    longer = {}
    for which, arrays in names.items():
        needed = int(beams.sizes[:, which].max()) + 3 * wide
        for name in arrays:
            array = getattr(beams, name)
            if needed > array.shape[1]:
                longer[name] = _longer(array, max(needed, 2 * array.shape[1]))
    return beams._replace(**longer) if longer else beams


def _longer(array: NDArray[Any], size: int) -> NDArray[Any]:
    """A copy (B, size) of an array with fewer columns."""
    longer = empty_records((len(array), size), array.dtype)
    longer[:, : array.shape[1]] = array
    return longer
