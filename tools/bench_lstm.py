"""Speed of the recurrent stack, as ratios: against torch's LSTM, bfloat16, peepholes, the floor.

    python tools/bench_lstm.py [--only padded bf16] [--repeats 5]

Every comparison runs in a process of its own. Its candidates take turns within a repetition, so a
busy machine slows both; the table gives each one's median and smallest time, and the median and
smallest of the ratios of neighbouring runs. Time is that of forward and backward together.

`products` is the floor: the bare matrix products of the same layers, over the real frames only, as
large products without any step of time.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from multiprocessing import get_context

import torch
from torch import Tensor, nn

from asr.models.lstm import RecurrentStack
from asr.models.weights import Cell

Run = Callable[[], object]


@dataclass(frozen=True)
class Shape:
    """A network and a batch; lengths are spread evenly from half of the frames to all."""

    layers: int = 5
    hidden: int = 500
    inputs: int = 128
    batch: int = 16
    frames: int = 400

    def lengths(self) -> Tensor:
        return torch.linspace(self.frames // 2, self.frames, self.batch).long()

    def features(self) -> Tensor:
        return torch.randn(self.batch, self.frames, self.inputs)

    def stack(self, cell: Cell) -> RecurrentStack:
        return RecurrentStack(self.inputs, self.hidden, self.layers, cell=cell)

    def torch_lstm(self) -> nn.LSTM:
        return nn.LSTM(self.inputs, self.hidden, self.layers, bidirectional=True, batch_first=True)

    def input_sizes(self) -> list[int]:
        return [self.inputs] + [2 * self.hidden] * (self.layers - 1)

    def flops(self) -> float:
        """Of forward and backward over the real frames, without the cells themselves."""
        weights = sum(8 * self.hidden * (size + self.hidden) for size in self.input_sizes())
        return 3 * 2.0 * weights * int(self.lengths().sum())

    def streamed(self, itemsize: int) -> float:
        """Bytes of recurrent weights that must come from cache, step by step, both passes."""
        return 2.0 * self.layers * self.frames * 8 * self.hidden**2 * itemsize


def ours(
    shape: Shape,
    cell: Cell = "lstm",
    context: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> Run:
    stack, features, lengths = shape.stack(cell), shape.features(), shape.lengths()

    def run() -> None:
        stack.zero_grad()
        with context():
            encoded = stack(features, lengths)
        encoded.float().sum().backward()  # type: ignore[no-untyped-call]

    return run


def torch_padded(
    shape: Shape, context: Callable[[], AbstractContextManager[object]] = nullcontext
) -> Run:
    """Not exact: its reversed direction begins in the padding."""
    lstm, features = shape.torch_lstm(), shape.features()

    def run() -> None:
        lstm.zero_grad()
        with context():
            encoded, _ = lstm(features)
        encoded.float().sum().backward()

    return run


def torch_packed(shape: Shape) -> Run:
    lstm, features, lengths = shape.torch_lstm(), shape.features(), shape.lengths()

    def run() -> None:
        lstm.zero_grad()
        packed = nn.utils.rnn.pack_padded_sequence(
            features, lengths, batch_first=True, enforce_sorted=False
        )
        encoded, _ = nn.utils.rnn.pad_packed_sequence(lstm(packed)[0], batch_first=True)
        encoded.sum().backward()

    return run


def products(shape: Shape, dtype: torch.dtype = torch.float32) -> Run:
    """The matrix products of all layers, forward and backward, both directions."""
    rows = int(shape.lengths().sum())
    hidden = torch.randn(rows, shape.hidden).to(dtype)
    gates = torch.randn(rows, 8 * shape.hidden).to(dtype)
    recurrent = torch.randn(4 * shape.hidden, shape.hidden).to(dtype)
    layers = [
        (torch.randn(rows, size).to(dtype), torch.randn(8 * shape.hidden, size).to(dtype))
        for size in shape.input_sizes()
    ]

    def run() -> None:
        for inputs, weights in layers:
            for gate in gates.chunk(2, dim=1):
                torch.mm(hidden, recurrent.t())
                torch.mm(gate, recurrent)
                torch.mm(gate.t(), hidden)
            torch.mm(inputs, weights.t())
            torch.mm(gates.t(), inputs)
            if inputs is not layers[0][0]:
                torch.mm(gates, weights)

    return run


def bfloat16() -> AbstractContextManager[object]:
    return torch.autocast("cpu", dtype=torch.bfloat16)


PAPER = Shape()
SHORT = Shape(layers=1, frames=200)
SMALL = Shape(layers=3, hidden=320, inputs=200, batch=20, frames=200)
COMPARISONS: dict[str, tuple[str, Shape, Callable[[Shape], dict[str, Run]]]] = {
    "padded": (
        "ours against torch's padded LSTM",
        PAPER,
        lambda s: {"torch": torch_padded(s), "ours": ours(s), "products": products(s)},
    ),
    "packed": (
        "ours against torch's packed LSTM",
        SHORT,
        lambda s: {"torch packed": torch_packed(s), "ours": ours(s)},
    ),
    "bf16": (
        "bfloat16 autocast against float32",
        PAPER,
        lambda s: {
            "float32": ours(s),
            "bfloat16": ours(s, context=bfloat16),
            "torch bfloat16": torch_padded(s, bfloat16),
            "products": products(s),
            "products bfloat16": products(s, torch.bfloat16),
        },
    ),
    "peephole": (
        "cell peephole against cell lstm",
        PAPER,
        lambda s: {"lstm": ours(s), "peephole": ours(s, "peephole"), "products": products(s)},
    ),
    "cells": (
        "the other cells",
        SMALL,
        lambda s: {"lstm": ours(s), "gru": ours(s, "gru"), "tanh": ours(s, "tanh")},
    ),
    "small": (
        "3 x 320, batch of 20, 200 frames",
        SMALL,
        lambda s: {"torch": torch_padded(s), "ours": ours(s), "products": products(s)},
    ),
}


def measure(name: str, repeats: int) -> str:
    """The table of one comparison; ratios are to its first candidate."""
    torch.manual_seed(1)
    title, shape, candidates = COMPARISONS[name]
    runs = candidates(shape)
    for run in runs.values():
        run()
    times: dict[str, list[float]] = {candidate: [] for candidate in runs}
    for _ in range(repeats):
        for candidate, run in runs.items():
            begin = time.perf_counter()
            run()
            times[candidate].append(time.perf_counter() - begin)
    lines = [
        f"{title}: {shape}",
        f"  {shape.flops() / 1e9:.0f} GFLOP, {shape.streamed(4) / 1e9:.0f} GB of recurrent weights",
    ]
    first = next(iter(times.values()))
    for candidate, seconds in times.items():
        ratios = [own / base for own, base in zip(seconds, first, strict=True)]
        lines.append(
            f"  {candidate:<18} median {statistics.median(seconds):6.3f} s  min {min(seconds):6.3f} s"
            f"  ratio median {statistics.median(ratios):5.2f}  min/min {min(seconds) / min(first):5.2f}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--only", nargs="*", choices=COMPARISONS, default=list(COMPARISONS))
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}")
    for name in arguments.only:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            print(pool.submit(measure, name, arguments.repeats).result(), flush=True)


if __name__ == "__main__":
    main()
