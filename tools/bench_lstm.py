"""Speed of the recurrent stack as ratios: against torch's LSTM, bfloat16, peepholes, the floor.

    python tools/bench_lstm.py [--only padded bf16] [--repeats 5] [--threads 2]

Every comparison runs in a process of its own. Its candidates take turns within a repetition, so a
busy machine slows both. Time is that of forward and backward together. The table gives the median
and the smallest wall time, the ratio to the first candidate (median over the repetitions, and of
the smallest times), and the same of the processor's time, which other programs disturb less; with
`--threads 1` no candidate spends processor time on waiting for its own threads.

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

Run = Callable[[], None]
Context = Callable[[], AbstractContextManager[object]]


@dataclass(frozen=True)
class Shape:
    """A network and a batch; lengths are spread evenly from half of the frames to all."""

    layers: int = 5
    hidden: int = 500
    inputs: int = 128
    batch: int = 16
    frames: int = 400

    def lengths(self) -> Tensor:
        """(B,) frames."""
        return torch.linspace(self.frames // 2, self.frames, self.batch).long()

    def features(self) -> Tensor:
        """(B, T, F) noise."""
        return torch.randn(self.batch, self.frames, self.inputs)

    def input_sizes(self) -> list[int]:
        """Of the layers."""
        return [self.inputs] + [2 * self.hidden] * (self.layers - 1)

    def flops(self) -> float:
        """Of forward and backward over the real frames, without the cells themselves."""
        weights = sum(8 * self.hidden * (size + self.hidden) for size in self.input_sizes())
        return 3 * 2.0 * weights * int(self.lengths().sum())

    def streamed(self) -> float:
        """Bytes of float32 recurrent weights that come from cache, step by step, both passes."""
        return 2.0 * self.layers * self.frames * 8 * self.hidden**2 * 4


def ours(shape: Shape, cell: Cell = "lstm", context: Context = nullcontext) -> Run:
    """The stack of this toolkit."""
    stack = RecurrentStack(shape.inputs, shape.hidden, shape.layers, cell=cell)
    features, lengths = shape.features(), shape.lengths()

    def run() -> None:
        stack.zero_grad()
        with context():
            encoded = stack(features, lengths)
        encoded.float().sum().backward()

    return run


def torch_padded(shape: Shape, context: Context = nullcontext) -> Run:
    """The LSTM of torch on the padded batch; its reversed direction begins in the padding."""
    lstm, features = torch_lstm(shape), shape.features()

    def run() -> None:
        lstm.zero_grad()
        with context():
            encoded, _ = lstm(features)
        encoded.float().sum().backward()

    return run


def torch_packed(shape: Shape) -> Run:
    """The LSTM of torch on a packed sequence: exact."""
    lstm, features, lengths = torch_lstm(shape), shape.features(), shape.lengths()
    rnn = nn.utils.rnn

    def run() -> None:
        lstm.zero_grad()
        packed = rnn.pack_padded_sequence(features, lengths, True, enforce_sorted=False)
        encoded, _ = rnn.pad_packed_sequence(lstm(packed)[0], batch_first=True)
        torch.autograd.backward(encoded.sum())

    return run


def torch_lstm(shape: Shape) -> nn.LSTM:
    """The network of a shape as torch has it."""
    sizes = (shape.inputs, shape.hidden, shape.layers)
    return nn.LSTM(*sizes, bidirectional=True, batch_first=True)


def products(shape: Shape, dtype: torch.dtype = torch.float32) -> Run:
    """The matrix products of all layers, forward and backward, both directions."""
    rows = int(shape.lengths().sum())
    hidden = torch.randn(rows, shape.hidden).to(dtype)
    gates = torch.randn(rows, 8 * shape.hidden).to(dtype)
    recurrent = torch.randn(4 * shape.hidden, shape.hidden).to(dtype)
    sizes = shape.input_sizes()
    inputs = [torch.randn(rows, size).to(dtype) for size in sizes]
    weights = [torch.randn(8 * shape.hidden, size).to(dtype) for size in sizes]

    def run() -> None:
        for layer, (own, weight) in enumerate(zip(inputs, weights, strict=True)):
            for gate in gates.chunk(2, dim=1):
                torch.mm(hidden, recurrent.t())
                torch.mm(gate, recurrent)
                torch.mm(gate.t(), hidden)
            torch.mm(own, weight.t())
            torch.mm(gates.t(), own)
            if layer:
                torch.mm(gates, weight)

    return run


def bfloat16() -> AbstractContextManager[object]:
    """Autocast on a CPU."""
    return torch.autocast("cpu", dtype=torch.bfloat16)


PAPER = Shape()  # Graves & Jaitly 2014
SHORT = Shape(layers=1, frames=200)
SMALL = Shape(layers=3, hidden=320, inputs=200, batch=20, frames=200)

COMPARISONS: dict[str, tuple[Shape, dict[str, Callable[[Shape], Run]]]] = {
    "padded": (PAPER, {"torch padded": torch_padded, "lstm": ours, "products": products}),
    "packed": (SHORT, {"torch packed": torch_packed, "lstm": ours}),
    "bf16": (
        PAPER,
        {
            "lstm float32": ours,
            "lstm bfloat16": lambda shape: ours(shape, context=bfloat16),
            "torch bfloat16": lambda shape: torch_padded(shape, bfloat16),
            "products float32": products,
            "products bfloat16": lambda shape: products(shape, torch.bfloat16),
        },
    ),
    "peephole": (
        PAPER,
        {"lstm": ours, "peephole": lambda shape: ours(shape, "peephole"), "products": products},
    ),
    "small": (
        SMALL,
        {
            "torch padded": torch_padded,
            "lstm": ours,
            "gru": lambda shape: ours(shape, "gru"),
            "tanh": lambda shape: ours(shape, "tanh"),
            "products": products,
        },
    ),
}


def measure(name: str, repeats: int, threads: int) -> str:
    """The table of one comparison."""
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    shape, candidates = COMPARISONS[name]
    runs = {candidate: make(shape) for candidate, make in candidates.items()}
    for run in runs.values():
        run()
    times: dict[str, list[tuple[float, float]]] = {candidate: [] for candidate in runs}
    for _ in range(repeats):
        for candidate, run in runs.items():
            begin = time.perf_counter(), time.process_time()
            run()
            end = time.perf_counter(), time.process_time()
            times[candidate].append((end[0] - begin[0], end[1] - begin[1]))
    work = f"{shape.flops() / 1e9:.0f} GFLOP, {shape.streamed() / 1e9:.0f} GB of recurrent weights"
    head = " " * 20 + "  ".join(f"{kind:>7}     min   ratio   min" for kind in ("wall", "cpu"))
    first = next(iter(times.values()))
    rows = [f"  {candidate:18}{columns(own, first)}" for candidate, own in times.items()]
    return "\n".join([f"{name}: {shape}", f"  {work}", head, *rows])


def columns(own: list[tuple[float, float]], first: list[tuple[float, float]]) -> str:
    """Median, minimum and both ratios, of wall and then of processor time."""
    text = ""
    for kind in range(2):
        seconds, base = [pair[kind] for pair in own], [pair[kind] for pair in first]
        ratio = statistics.median(a / b for a, b in zip(seconds, base, strict=True))
        text += f"{statistics.median(seconds):7.2f}{min(seconds):8.2f}"
        text += f"{ratio:8.2f}{min(seconds) / min(base):6.2f}  "
    return text.rstrip()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--only", nargs="*", choices=COMPARISONS, default=list(COMPARISONS))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    print(f"{arguments.threads} threads, torch {torch.__version__}; seconds")
    for name in arguments.only:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            task = pool.submit(measure, name, arguments.repeats, arguments.threads)
            print(task.result(), flush=True)


if __name__ == "__main__":
    main()
