"""The working memory of a search; pages that a search never touches cost nothing."""

import numpy as np

from asr.decoding.beam_kernel import CANDIDATE, ENTRY, NUM_BUCKETS, Search
from asr.decoding.prefix_score import NODE, NONE, Prior

PRIOR_BYTES = 64 * 1024 * 1024  # of the table of priors, where they are used


def allocate(
    num_frames: int, beam_size: int, num_labels: int, *, prior_shape: tuple[int, int]
) -> Search:
    """Memory for utterances of up to `num_frames` frames.

    Args:
        num_frames: at least the longest utterance.
        beam_size: of the search.
        num_labels: V.
        prior_shape: states of the language model and nodes of the trie for `fusion="prior"`;
            (0, …) for other kinds.
    """
    most_candidates = beam_size * (num_labels + 1)
    return Search(
        nodes=np.empty(num_frames * beam_size + 1, NODE),
        beams=np.empty((2, beam_size), ENTRY),
        candidates=np.empty(most_candidates, CANDIDATE),
        likely=np.empty(num_labels, np.int32),
        prob=np.empty(num_labels),
        taken=np.empty(num_labels, np.int64),
        buckets=np.empty(NUM_BUCKETS, np.int64),
        scores=np.empty(most_candidates),
        prior=_prior(*prior_shape),
        sizes=np.zeros(8, np.int64),
        range=np.zeros(3),
        log_scale=np.zeros(1),
    )


def _prior(num_states: int, num_nodes: int) -> Prior:
    rows = min(num_states, max(16, PRIOR_BYTES // (8 * max(1, num_nodes))))
    return Prior(
        row_of=np.full(num_states, NONE, np.int32),
        state_of=np.full(rows, NONE, np.int32),
        table=np.empty((rows, num_nodes if rows else 0)),
        used=np.zeros(1, np.int64),
    )
