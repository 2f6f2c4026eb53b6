"""The recurrence of an LSTM layer with peepholes over joined frames, compiled, both ways.

    i_t = sigmoid(W_xi x_t + W_hi h_{t-1} + w_ci * c_{t-1} + b_i)
    f_t = sigmoid(W_xf x_t + W_hf h_{t-1} + w_cf * c_{t-1} + b_f)
    c_t = f_t * c_{t-1} + i_t * tanh(W_xc x_t + W_hc h_{t-1} + b_c)
    o_t = sigmoid(W_xo x_t + W_ho h_{t-1} + w_co * c_t + b_o)
    h_t = o_t * tanh(c_t)

The products with the inputs are done before, those for the gradients of the weights after, each for
all frames at once. Here is what must go step by step: one matrix product a step (`product.py`) and
the cells. Rows are frames, ordered as in `rows.py`; a direction of time is an order of the steps.

The cells of a frame are done in a small block of memory: there the compiler sees that the parts do
not overlap, and makes vector instructions of the equations.

Reference: Graves, Mohamed & Hinton 2013, equations 3 to 7 (the peepholes are diagonal).
"""

from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from asr.models.activations import OPTIONS, compiled, narrow, sigmoid, tanh, widen
from asr.models.product import multiply

UNITS = 512  # cells in a block
MULTIPLE = 16  # cells are done in whole vectors; what is beyond the last cell is never stored
# Where the parts of a block begin. The backward pass puts gradients over the gates.
INPUT, FORGET, CANDIDATE, OUTPUT = 0, 1 * UNITS, 2 * UNITS, 3 * UNITS
PEEP_INPUT, PEEP_FORGET, PEEP_OUTPUT = 4 * UNITS, 5 * UNITS, 6 * UNITS
CELL, PREVIOUS, HIDDEN, D_CELL = 7 * UNITS, 8 * UNITS, 9 * UNITS, 10 * UNITS
BLOCK = 11 * UNITS
ONE = np.float32(1)  # an integer would turn float32 into float64


class Steps(NamedTuple):
    """The steps of time in the order in which a pass takes them."""

    first_rows: Any  # (steps,) int64: the row of the first utterance that has the step
    num_rows: Any  # (steps,) int64: how many utterances have it


class Share(NamedTuple):
    """What one thread does: a direction of time, and a range of the utterances by their length."""

    direction: int
    first: int
    stop: int


class Weights(NamedTuple):
    """Of one direction."""

    packed: Any  # `product.pack` of the recurrent matrix: (H, 4H) forward, (4H, H) backward
    bias: Any  # (4H,)
    peepholes: Any  # (3, H) of the input, forget and output gate


class Activity(NamedTuple):
    """What the forward pass leaves for the backward pass; N frames, D directions."""

    gates: Any  # (N, D * 4H): products with the inputs; later the gates i, f, tanh, o
    cells: Any  # (N, D * H): c_t
    hidden: Any  # (N, D * H): h_t
    previous: Any  # (D, N) int64: the row of the step before, negative at the start


class Gradients(NamedTuple):
    """With respect to what a field says."""

    hidden: Any  # (N, D * H), read: the output
    gates: Any  # (N, D * 4H), written: the gates before their squashing
    bias: Any  # (4H,), added to
    peepholes: Any  # (3, H), added to


class Memory(NamedTuple):
    """What a thread works in."""

    block: Any  # (BLOCK,)
    state: Any  # (utterances, H) h_{t-1}; backward: (utterances, 4H) gradient of the gates at t+1
    cell: Any  # (utterances, H) c_{t-1}; backward: gradient of c_t from t+1
    product: Any  # (utterances, ≥ 4H) state times weights; backward: (utterances, ≥ H)


@compiled
def _new_memory(share, weights, depth):  # type: ignore[no-untyped-def]
    """Zeros: what an utterance sees at its first frame, in either direction and either pass."""
    utterances, kind = share.stop - share.first, weights.bias.dtype
    return Memory(
        np.zeros(BLOCK, kind),
        np.zeros((utterances, depth), kind),
        np.zeros((utterances, weights.peepholes.shape[1]), kind),
        np.zeros((utterances, len(weights.packed) * weights.packed.shape[2]), kind),
    )


@compiled
def _forward_frame(memory, u, row, direction, weights, activity):  # type: ignore[no-untyped-def]
    block, size = memory.block, memory.cell.shape[1]
    gates = activity.gates[row, 4 * size * direction :]
    cells = activity.cells[row, size * direction :]
    hidden = activity.hidden[row, size * direction :]
    for first in range(0, size, UNITS):
        count = min(UNITS, size - first)
        for part in range(4):
            at = part * size + first
            _load(block, part * UNITS, memory.product[u], at, count)
            _add(block, part * UNITS, gates, at, count)
            _add(block, part * UNITS, weights.bias, at, count)
        _load_peepholes(block, weights.peepholes, first, count)
        _load(block, PREVIOUS, memory.cell[u], first, count)
        _forward_cells(block, -(-count // MULTIPLE) * MULTIPLE)
        for part in range(4):
            _store(gates, part * size + first, block, part * UNITS, count)
        _store(memory.cell[u], first, block, CELL, count)
        _store(cells, first, block, CELL, count)
        _store(memory.state[u], first, block, HIDDEN, count)
        _store(hidden, first, block, HIDDEN, count)


@compiled
def _forward_cells(block, count):  # type: ignore[no-untyped-def]
    for k in range(count):
        previous = block[PREVIOUS + k]
        i = sigmoid(block[INPUT + k] + block[PEEP_INPUT + k] * previous)
        f = sigmoid(block[FORGET + k] + block[PEEP_FORGET + k] * previous)
        g = tanh(block[CANDIDATE + k])
        c = f * previous + i * g
        o = sigmoid(block[OUTPUT + k] + block[PEEP_OUTPUT + k] * c)
        block[INPUT + k] = i
        block[FORGET + k] = f
        block[CANDIDATE + k] = g
        block[OUTPUT + k] = o
        block[CELL + k] = c
        block[HIDDEN + k] = o * tanh(c)


@compiled
def _backward_frame(  # type: ignore[no-untyped-def]
    memory, u, row, direction, weights, activity, gradients
):
    block, size = memory.block, memory.cell.shape[1]
    gates = activity.gates[row, 4 * size * direction :]
    cells = activity.cells[row, size * direction :]
    d_hidden = gradients.hidden[row, size * direction :]
    d_gates = gradients.gates[row, 4 * size * direction :]
    before = activity.previous[direction, row]
    for first in range(0, size, UNITS):
        count = min(UNITS, size - first)
        for part in range(4):
            _load(block, part * UNITS, gates, part * size + first, count)
        _load_peepholes(block, weights.peepholes, first, count)
        _load(block, CELL, cells, first, count)
        if before >= 0:
            previous = activity.cells[before, size * direction :]
            _load(block, PREVIOUS, previous, first, count)
        else:
            block[PREVIOUS : PREVIOUS + UNITS] = 0
        _load(block, HIDDEN, memory.product[u], first, count)
        _add(block, HIDDEN, d_hidden, first, count)
        _load(block, D_CELL, memory.cell[u], first, count)
        _backward_cells(block, -(-count // MULTIPLE) * MULTIPLE)
        _store(memory.cell[u], first, block, D_CELL, count)
        for part in range(4):
            at = part * size + first
            _store(memory.state[u], at, block, part * UNITS, count)
            _store(d_gates, at, block, part * UNITS, count)
            _accumulate(gradients.bias, at, block, part * UNITS, count)
        _accumulate(gradients.peepholes[0], first, block, PEEP_INPUT, count)
        _accumulate(gradients.peepholes[1], first, block, PEEP_FORGET, count)
        _accumulate(gradients.peepholes[2], first, block, PEEP_OUTPUT, count)


@compiled
def _backward_cells(block, count):  # type: ignore[no-untyped-def]
    """The chain rule, from the last equation to the first; the peepholes become their gradients."""
    for k in range(count):
        i, f, g, o = block[INPUT + k], block[FORGET + k], block[CANDIDATE + k], block[OUTPUT + k]
        c, previous, d_hidden = block[CELL + k], block[PREVIOUS + k], block[HIDDEN + k]
        squashed = tanh(c)
        d_o = d_hidden * squashed * o * (ONE - o)
        d_c = block[D_CELL + k] + d_hidden * o * (ONE - squashed * squashed)
        d_c += d_o * block[PEEP_OUTPUT + k]
        d_i = d_c * g * i * (ONE - i)
        d_f = d_c * previous * f * (ONE - f)
        block[D_CELL + k] = d_c * f + d_i * block[PEEP_INPUT + k] + d_f * block[PEEP_FORGET + k]
        block[INPUT + k] = d_i
        block[FORGET + k] = d_f
        block[CANDIDATE + k] = d_c * i * (ONE - g * g)
        block[OUTPUT + k] = d_o
        block[PEEP_INPUT + k] = d_i * previous
        block[PEEP_FORGET + k] = d_f * previous
        block[PEEP_OUTPUT + k] = d_o * c


@compiled
def _load_peepholes(block, peepholes, first, count):  # type: ignore[no-untyped-def]
    _load(block, PEEP_INPUT, peepholes[0], first, count)
    _load(block, PEEP_FORGET, peepholes[1], first, count)
    _load(block, PEEP_OUTPUT, peepholes[2], first, count)


# Slices, so that the compiler need not think of negative indices.


@compiled
def _load(block, at, values, first, count):  # type: ignore[no-untyped-def]
    target, source = block[at : at + count], values[first : first + count]
    for k in range(count):
        target[k] = widen(source[k])


@compiled
def _add(block, at, values, first, count):  # type: ignore[no-untyped-def]
    target, source = block[at : at + count], values[first : first + count]
    for k in range(count):
        target[k] += widen(source[k])


@compiled
def _store(values, first, block, at, count):  # type: ignore[no-untyped-def]
    target, source = values[first : first + count], block[at : at + count]
    for k in range(count):
        target[k] = narrow(source[k], target[k])


@compiled
def _accumulate(values, first, block, at, count):  # type: ignore[no-untyped-def]
    target, source = values[first : first + count], block[at : at + count]
    for k in range(count):
        target[k] += source[k]


def _fingerprint() -> str:
    """Of the source files that the passes are compiled from."""
    folder = Path(__file__).parent
    files = ("activations.py", "product.py", "peephole_kernel.py")
    return sha256(b"".join((folder / file).read_bytes() for file in files)).hexdigest()


def _passes(sources: str) -> tuple[Any, Any]:
    """The two passes, which alone are kept in numba's cache.

    The cache would look for changes in this file only; it does look at the variables that a
    function mentions from around it, so they mention the fingerprint of all that they compile.
    """

    @njit(cache=True, **OPTIONS)
    def forward_pass(steps, share, weights, activity):  # type: ignore[no-untyped-def]
        """Fill the gates, cells and hidden states of a share's rows."""
        sources  # noqa: B018
        memory = _new_memory(share, weights, weights.peepholes.shape[1])
        for step in range(len(steps.num_rows)):
            num_rows = min(steps.num_rows[step], share.stop) - share.first
            if num_rows > 0:
                multiply(weights.packed, memory.state, num_rows, memory.product)
                for u in range(num_rows):
                    row = steps.first_rows[step] + share.first + u
                    _forward_frame(memory, u, row, share.direction, weights, activity)

    @njit(cache=True, **OPTIONS)
    def backward_pass(steps, share, weights, activity, gradients):  # type: ignore[no-untyped-def]
        """Fill the gradient of a share's gates, and add to that of the bias and the peepholes."""
        sources  # noqa: B018
        memory = _new_memory(share, weights, 4 * weights.peepholes.shape[1])
        for step in range(len(steps.num_rows)):
            num_rows = min(steps.num_rows[step], share.stop) - share.first
            if num_rows > 0:
                multiply(weights.packed, memory.state, num_rows, memory.product)
                for u in range(num_rows):
                    row = steps.first_rows[step] + share.first + u
                    _backward_frame(memory, u, row, share.direction, weights, activity, gradients)

    return forward_pass, backward_pass


forward_pass, backward_pass = _passes(_fingerprint())
