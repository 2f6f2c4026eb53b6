# mypy: disable-error-code="import-untyped, no-untyped-def, no-untyped-call, untyped-decorator"
# ruff: noqa: N803, PLR0913, PLR0915 - kernels take no structures, and constants are in capitals
"""The recurrence of an LSTM with peepholes on a GPU: one kernel for all steps of a layer's pass.

A step is small (a matrix product of a few utterances, and the cells), so what it costs on a GPU is
the number of kernels that a program starts: `peephole_torch` starts forty a step. Here the programs
of one kernel stay for all steps. Each has a block of cells and of utterances, in one direction, and
after each step waits until all that share its utterances and direction have stored their cells, by
counting arrivals. Waiting for each other needs all to run at the same time: their number is kept to
that of the multiprocessors, and the launch is a cooperative one: else the driver refuses it.

Products are of float32 in three parts on the matrix units (`tf32x3`), which is as exact as float32.
The equations are those of `peephole_kernel`.
"""

from itertools import product

import torch
import triton
import triton.language as tl
from torch import Tensor

DEPTH = 32  # terms of a product at a time
FEWEST, MOST = 16, 64  # utterances of a program: what a matrix unit takes
UNITS = (8, 16, 32)  # cells of a program; with more, registers do not suffice
INTERPRETED_PROCESSORS = 132


def fits(device: torch.device, directions: int, size: int) -> bool:
    """Whether the kernels do layers of `size` cells in each direction on this GPU."""
    # Matrix units take float32 since compute capability 8.
    return torch.cuda.get_device_capability(device)[0] >= 8 and bool(
        _units(directions, size, 1, _processors(device))
    )


def forward_pass(
    gates: Tensor, hidden: Tensor, cells: Tensor, recurrent: Tensor, peepholes: Tensor
) -> None:
    """Fill `hidden` and `cells`, and turn `gates` from sums into activations.

    Args:
        gates: (D, T, B, 4H) float32 contiguous, products with the inputs and bias.
        hidden: (D, T, B, H), to be written.
        cells: (D, T, B, H), to be written.
        recurrent: (D, 4H, H).
        peepholes: (D, 3, H).
    """
    _launch(_forward, hidden.shape, gates, hidden, cells, recurrent, peepholes)


def backward_pass(
    gradient: Tensor,
    d_gates: Tensor,
    gates: Tensor,
    cells: Tensor,
    recurrent: Tensor,
    peepholes: Tensor,
) -> None:
    """Fill `d_gates`, (D, T, B, 4H), from the (D, T, B, H) `gradient` of the hidden states."""
    tensors = (gates, cells, recurrent, peepholes)
    d_cell = gradient.new_empty(gradient.shape[0], *gradient.shape[2:])
    _launch(_backward, gradient.shape, gradient, d_gates, d_cell, *tensors)


def _launch(kernel: triton.JITFunction, shape: torch.Size, *tensors: Tensor) -> None:
    """All steps of a pass, for as many utterances at a time as can run together."""
    directions, num_frames, batch, size = shape
    device = tensors[0].device
    # On a CPU, Triton interprets one program after the other: none may wait, so a launch is a step.
    waits = device.type == "cuda"
    processors = _processors(device) if waits else INTERPRETED_PROCESSORS
    rows = min(max(triton.next_power_of_2(batch), FEWEST), MOST)
    units = _units(directions, size, triton.cdiv(batch, rows), processors)
    blocks = triton.cdiv(size, units)
    together = processors // (directions * blocks)  # blocks of utterances
    spans = [(0, num_frames)] if waits else [(t, t + 1) for t in range(num_frames)]
    for first_row, span in product(range(0, batch, rows * together), spans):
        groups = min(together, triton.cdiv(batch - first_row, rows))
        arrivals = torch.zeros(directions * groups, dtype=torch.int32, device=device)
        kernel[(blocks, groups, directions)](
            *tensors, arrivals, first_row, *span, num_frames, batch,
            SIZE=size, UNITS=units, ROWS=rows, DEPTH=DEPTH,
            num_warps=8 if units == 32 else 4, launch_cooperative_grid=waits,
        )  # fmt: skip


def _units(directions: int, size: int, groups: int, processors: int) -> int:
    """Cells of a program: as few as leave a processor to each program of all groups of utterances.

    Where none are enough, as many as possible: the groups go one after the other. 0 when even one
    group has no room.
    """
    fitting = [units for units in UNITS if directions * triton.cdiv(size, units) <= processors]
    for units in fitting:
        if directions * triton.cdiv(size, units) * groups <= processors:
            return units
    return fitting[-1] if fitting else 0


def _processors(device: torch.device) -> int:
    return int(torch.cuda.get_device_properties(device).multi_processor_count)


@triton.jit
def _wait(arrivals, expected):
    """Return when `expected` programs have come here, and what they stored can be read."""
    tl.debug_barrier()
    tl.atomic_add(arrivals, 1, sem="release")
    while tl.atomic_add(arrivals, 0, sem="acquire") < expected:
        pass
    tl.debug_barrier()


# Of builtins alone: Triton's own functions cannot be interpreted once they are made for GPUs.
@triton.jit
def _sigmoid(x):
    return 1 / (1 + tl.exp(-x))


@triton.jit
def _tanh(x):
    shrunk = tl.exp(-2 * tl.abs(x))
    value = (1 - shrunk) / (1 + shrunk)
    return tl.where(x < 0, -value, value)


@triton.jit
def _block(first_row, UNITS: tl.constexpr, ROWS: tl.constexpr):
    """What a program does: its direction, its cells, and its utterances."""
    units = tl.program_id(0) * UNITS + tl.arange(0, UNITS)
    rows = first_row + tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    return tl.program_id(2), units, rows


@triton.jit
def _peepholes(peepholes, direction, units, SIZE: tl.constexpr):
    """Of the input, forget and output gate: (1, UNITS) each."""
    own = peepholes + direction * 3 * SIZE + units
    i = tl.load(own, units < SIZE, 0.0)[None, :]
    f = tl.load(own + SIZE, units < SIZE, 0.0)[None, :]
    o = tl.load(own + 2 * SIZE, units < SIZE, 0.0)[None, :]
    return i, f, o


@triton.jit
def _gates(at, inside, SIZE: tl.constexpr):
    """What is stored of the four gates of a step: (ROWS, UNITS) each."""
    i = tl.load(at, inside, 0.0)
    f = tl.load(at + SIZE, inside, 0.0)
    g = tl.load(at + 2 * SIZE, inside, 0.0)
    o = tl.load(at + 3 * SIZE, inside, 0.0)
    return i, f, g, o


@triton.jit
def _halves(pair):
    first, second = pair.split()
    return first + second


@triton.jit
def _forward(
    gates,
    hidden,
    cells,
    recurrent,
    peepholes,
    arrivals,
    first_row,
    first,
    last,
    num_frames,
    batch,
    SIZE: tl.constexpr,  # H; known to the compiler, which then loads several at once
    UNITS: tl.constexpr,
    ROWS: tl.constexpr,
    DEPTH: tl.constexpr,
):
    direction, units, rows = _block(first_row, UNITS, ROWS)
    inside = (rows < batch)[:, None] & (units < SIZE)[None, :]
    own = rows[:, None] * SIZE + units[None, :]  # of (B, H)
    of_gates = rows[:, None] * 4 * SIZE + units[None, :]  # of (B, 4H)
    peep_i, peep_f, peep_o = _peepholes(peepholes, direction, units, SIZE)
    terms = tl.arange(0, DEPTH)
    # One product makes all gates: column 4 u + g is gate g of the cell u.
    columns = tl.arange(0, 4 * UNITS)
    column_units = tl.program_id(0) * UNITS + columns // 4
    rows_of_matrix = direction * 4 * SIZE + columns % 4 * SIZE + column_units
    matrix = recurrent + rows_of_matrix[None, :] * SIZE + terms[:, None]
    team = arrivals + direction * tl.num_programs(1) + tl.program_id(1)
    cell = tl.full((ROWS, UNITS), 0.0, tl.float32)
    if first > 0:
        before = (direction * num_frames + first - 1).to(tl.int64) * batch * SIZE
        cell = tl.load(cells + before + own, inside, 0.0)
    for t in range(first, last):
        frame = (direction * num_frames + t).to(tl.int64) * batch
        at = gates + frame * 4 * SIZE + of_gates
        i, f, g, o = _gates(at, inside, SIZE)
        if t > 0:
            sums = tl.full((ROWS, 4 * UNITS), 0.0, tl.float32)
            previous = hidden + (frame - batch) * SIZE + rows[:, None] * SIZE + terms[None, :]
            for k in range(0, SIZE, DEPTH):
                known = k + terms < SIZE
                # ".cg": what other processors stored is in the cache that all share.
                of_state = (rows < batch)[:, None] & known[None, :]
                state = tl.load(previous + k, of_state, 0.0, cache_modifier=".cg")
                there = known[:, None] & (column_units < SIZE)[None, :]
                weights = tl.load(matrix + k, there, 0.0)
                sums = tl.dot(state, weights, sums, input_precision="tf32x3")
            even, odd = tl.reshape(sums, (ROWS, UNITS, 2, 2)).split()
            i_sum, g_sum = even.split()
            f_sum, o_sum = odd.split()
            i, f, g, o = i + i_sum, f + f_sum, g + g_sum, o + o_sum
        i = _sigmoid(i + peep_i * cell)
        f = _sigmoid(f + peep_f * cell)
        g = _tanh(g)
        cell = f * cell + i * g
        o = _sigmoid(o + peep_o * cell)
        tl.store(hidden + frame * SIZE + own, o * _tanh(cell), inside)
        tl.store(cells + frame * SIZE + own, cell, inside)
        tl.store(at, i, inside)
        tl.store(at + SIZE, f, inside)
        tl.store(at + 2 * SIZE, g, inside)
        tl.store(at + 3 * SIZE, o, inside)
        if t + 1 < last:
            _wait(team, (t + 1 - first) * tl.num_programs(0))


@triton.jit
def _backward(
    gradient,
    d_gates,
    d_cells,
    gates,
    cells,
    recurrent,
    peepholes,
    arrivals,
    first_row,
    first,
    last,
    num_frames,
    batch,
    SIZE: tl.constexpr,  # H; known to the compiler, which then loads several at once
    UNITS: tl.constexpr,
    ROWS: tl.constexpr,
    DEPTH: tl.constexpr,
):
    """Steps from the end: `first` and `last` count from there."""
    direction, units, rows = _block(first_row, UNITS, ROWS)
    inside = (rows < batch)[:, None] & (units < SIZE)[None, :]
    own = rows[:, None] * SIZE + units[None, :]  # of (B, H)
    of_gates = rows[:, None] * 4 * SIZE + units[None, :]  # of (B, 4H)
    peep_i, peep_f, peep_o = _peepholes(peepholes, direction, units, SIZE)
    # The product in four parts, by the gate: the fourth of it that each warp does.
    gate = tl.arange(0, 4)[:, None, None]
    terms = tl.arange(0, DEPTH)
    matrix = recurrent + (direction * 4 * SIZE + gate * SIZE + terms[None, :, None]) * SIZE
    matrix += units[None, None, :]
    sums_at = rows[None, :, None] * 4 * SIZE + gate * SIZE + terms[None, None, :]
    team = arrivals + direction * tl.num_programs(1) + tl.program_id(1)
    kept = d_cells + direction * batch * SIZE + own
    d_cell = tl.full((ROWS, UNITS), 0.0, tl.float32)
    if first > 0:
        d_cell = tl.load(kept, inside, 0.0)
    for number in range(first, last):
        t = num_frames - 1 - number
        frame = (direction * num_frames + t).to(tl.int64) * batch
        d_hidden = tl.load(gradient + frame * SIZE + own, inside, 0.0)
        if number > 0:
            after = d_gates + (frame + batch) * 4 * SIZE + sums_at
            parts = tl.full((4, ROWS, UNITS), 0.0, tl.float32)
            for k in range(0, SIZE, DEPTH):
                known = k + terms < SIZE
                of_sums = (rows < batch)[None, :, None] & known[None, None, :]
                sums = tl.load(after + k, of_sums, 0.0, cache_modifier=".cg")
                there = known[None, :, None] & (units < SIZE)[None, None, :]
                weights = tl.load(matrix + k * SIZE, there, 0.0)
                parts = tl.dot(sums, weights, parts, input_precision="tf32x3")
            lower, upper = tl.permute(tl.reshape(parts, (2, 2, ROWS, UNITS)), (2, 3, 0, 1)).split()
            d_hidden += _halves(lower + upper)
        at = gates + frame * 4 * SIZE + of_gates
        i, f, g, o = _gates(at, inside, SIZE)
        squashed = _tanh(tl.load(cells + frame * SIZE + own, inside, 0.0))
        previous = tl.load(cells + (frame - batch) * SIZE + own, inside & (t > 0), 0.0)
        d_o = d_hidden * squashed * o * (1 - o)
        d_cell += d_hidden * o * (1 - squashed * squashed) + d_o * peep_o
        d_i = d_cell * g * i * (1 - i)
        d_f = d_cell * previous * f * (1 - f)
        to = d_gates + frame * 4 * SIZE + of_gates
        tl.store(to, d_i, inside)
        tl.store(to + SIZE, d_f, inside)
        tl.store(to + 2 * SIZE, d_cell * i * (1 - g * g), inside)
        tl.store(to + 3 * SIZE, d_o, inside)
        d_cell = d_cell * f + d_i * peep_i + d_f * peep_f
        if number + 1 < last:
            _wait(team, (number + 1 - first) * tl.num_programs(0))
    tl.store(kept, d_cell, inside)
