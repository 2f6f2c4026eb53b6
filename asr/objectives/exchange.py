"""What exchanging one label of an alignment does to its tokens.

Only the frame itself and the next one can emit something else, so that every transcript of the
T x V alignments that differ from one in a single frame is: the first i tokens, perhaps one new
token, and the tokens from q on. (Graves & Jaitly 2014, section 3, reuse each sample for all of
them.)
"""

import numpy as np

from asr.compiled import compiled, compiled_inline

SILENT, JOINS, BEGINS, BOUNDARY = 0, 1, 2, 3  # what a label does to the text; see `transcripts`


@compiled
def exchanges(alignment, blank):  # type: ignore[no-untyped-def]
    """The tokens of an alignment and, for every frame, what they become when its label changes.

    Let p and n be the labels before and after frame t (the blank beyond the ends). The tokens are
    `tokens[:i] + [k] + tokens[q:]` with the new label k there, but

    - `tokens[:i] + tokens[q:]` when k is the blank, or equals p or n: it is no token, or n none;
    - `tokens[:i] + tokens[j:]` when k = p = n is no blank: three frames become one token.

    Args:
        alignment: (T,) labels.
        blank: the label that stands for no token.

    Returns:
        tokens: (U,) int64.
        where: (T, 5) int64, of every frame i, q, j, p, n.
    """
    num_frames = len(alignment)
    emitted = np.zeros(num_frames + 1, np.int64)  # tokens of the frames before
    tokens = np.empty(num_frames, np.int64)
    before = blank
    for t in range(num_frames):
        label = alignment[t]
        emitted[t + 1] = emitted[t]
        if label != blank and label != before:
            tokens[emitted[t]] = label
            emitted[t + 1] += 1
        before = label
    where = np.empty((num_frames, 5), np.int64)
    before = blank
    for t in range(num_frames):
        after = alignment[t + 1] if t + 1 < num_frames else blank
        later = emitted[min(t + 2, num_frames)]
        where[t, 0] = emitted[t]
        # What follows begins with n, emitted anew or, when the label equals it, already counted.
        where[t, 1] = later - 1 if after != blank else later
        where[t, 2] = later
        where[t, 3] = before
        where[t, 4] = after
        before = alignment[t]
    return tokens[: emitted[num_frames]], where


@compiled_inline
def differs(where, t):  # type: ignore[no-untyped-def]
    """Whether a frame has other outcomes than the frame before."""
    return (
        where[t, 0] != where[t - 1, 0]
        or where[t, 1] != where[t - 1, 1]
        or where[t, 2] != where[t - 1, 2]
        or where[t, 3] != where[t - 1, 3]
        or where[t, 4] != where[t - 1, 4]
    )
