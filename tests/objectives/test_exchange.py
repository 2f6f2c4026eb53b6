from itertools import groupby, product

import numpy as np
import pytest
from numpy.typing import NDArray

from asr.objectives.exchange import differs, exchanges

Tokens = list[int]


def collapsed(alignment: list[int], blank: int) -> Tokens:
    return [k for k, _ in groupby(alignment) if k != blank]


def exchanged(tokens: Tokens, where: NDArray[np.int64], k: int, blank: int) -> Tokens:
    """What the docstring of `exchanges` says the tokens become with label k."""
    i, q, j, p, n = where.tolist()
    if k == p == n != blank:
        return tokens[:i] + tokens[j:]
    if k in (blank, p, n):
        return tokens[:i] + tokens[q:]
    return [*tokens[:i], k, *tokens[q:]]


@pytest.mark.parametrize("blank", [0, 1, 2])
@pytest.mark.parametrize("frames", range(1, 7))
def test_every_exchange_of_every_alignment(frames: int, blank: int) -> None:
    for alignment in product(range(3), repeat=frames):
        tokens, where = exchanges(np.array(alignment), blank)
        assert tokens.tolist() == collapsed(list(alignment), blank)
        for t, k in product(range(frames), range(3)):
            changed = [*alignment[:t], k, *alignment[t + 1 :]]
            assert exchanged(tokens.tolist(), where[t], k, blank) == collapsed(changed, blank)


@pytest.mark.parametrize(
    ("alignment", "frame", "label", "tokens"),
    [
        ([1, 0, 1], 1, 1, [1]),  # three frames become one token
        ([1, 2, 1], 1, 0, [1, 1]),
        ([1, 1, 1], 1, 2, [1, 2, 1]),  # one token becomes three
        ([1, 1, 1], 1, 0, [1, 1]),
        ([2, 0, 1], 1, 1, [2, 1]),  # as the frame after: no token more
        ([2, 0, 1], 1, 2, [2, 1]),  # as the frame before
        ([2, 0, 1], 1, 3, [2, 3, 1]),
        ([1, 2], 0, 2, [2]),  # the first frame
        ([1, 2], 1, 1, [1]),  # the last
        ([1], 0, 0, []),
        ([0], 0, 3, [3]),
    ],
)
def test_one_exchange(alignment: list[int], frame: int, label: int, tokens: Tokens) -> None:
    before, where = exchanges(np.array(alignment), 0)
    assert exchanged(before.tolist(), where[frame], label, 0) == tokens


def test_frames_with_the_same_outcomes_are_known() -> None:
    _, where = exchanges(np.array([1, 0, 0, 0, 2, 2, 2, 2]), 0)
    assert [bool(differs(where, t)) for t in range(1, 8)] == [
        bool((where[t] != where[t - 1]).any()) for t in range(1, 8)
    ]
    assert not differs(where, 6)  # within the run of 2
    assert differs(where, 5)  # at its beginning the label before is another
