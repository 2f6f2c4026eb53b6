"""The transducer loss against torchaudio's: time and peak memory, with and without the joint.

    OMP_NUM_THREADS=2 python -m tools.bench_transducer [--repeats 3]

From the repository's root. 8 utterances of 400 frames and 60 tokens, 1000 outputs, a joint network
of 512 (tanh of a sum, one linear layer), forward and backward to what encoder and prediction
networks gave and to the weights. Each measurement is a process of its own, and they take turns;
memory is the peak of the process above what it held before the loss was first called, inputs
included. Numbers are medians.

- chunked: `joint_transducer_loss`, which computes the joint network in pieces, twice.
- whole: `transducer_loss` on the logits of the whole batch.
- torchaudio: `torchaudio.functional.rnnt_loss` on the same logits.
- loss alone: the last two from given logits to their gradient.

The floor of `chunked`. 8 x 400 x 61 nodes x 512 x 1000 weights are 100 G multiplications and
additions, 200 GFLOP; forward, again, and twice that backward: 800 GFLOP.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

BATCH, FRAMES, TOKENS, VOCABULARY, JOINT = 8, 400, 60, 1000, 512
WAYS = ("chunked", "whole", "torchaudio", "whole, loss alone", "torchaudio, loss alone")


class Joint(nn.Module):
    """What joins a frame and a history: tanh of their sum, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.output = nn.Linear(JOINT, VOCABULARY)

    def forward(self, encoded: Tensor, predicted: Tensor) -> Tensor:
        """(t, U + 1, V) logits."""
        logits: Tensor = self.output(torch.tanh(encoded + predicted))
        return logits


def main() -> None:
    """Measure all ways, or one in this process."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--way", choices=WAYS)
    arguments = parser.parse_args()
    if arguments.way is not None:
        print(json.dumps(measured(arguments.way)))
        return
    found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for _ in range(arguments.repeats):
        for way in WAYS:
            command = [sys.executable, "-m", "tools.bench_transducer", "--way", way]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603
            found[way].append(json.loads(output))
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}; 800 GFLOP when chunked")
    print(f"{'':24}{'wall s':>8}{'cpu s':>8}{'peak MB':>9}{'cost':>14}")
    for way, rows in found.items():
        wall, cpu, peak, cost = (
            statistics.median(row[name] for row in rows) for name in ("wall", "cpu", "peak", "cost")
        )
        print(f"{way:24}{wall:8.2f}{cpu:8.2f}{peak:9.0f}{cost:14.4f}")


def measured(way: str) -> dict[str, float]:
    """Seconds and megabytes of one way, and the total cost."""
    warnings.simplefilter("ignore")
    run = prepared(way, small=True)
    run()  # compiles, and fills the caches of the libraries
    torch.manual_seed(0)
    before = peak_megabytes()
    run = prepared(way, small=False)
    wall, cpu = time.perf_counter(), time.process_time()
    cost = run()
    return {
        "wall": time.perf_counter() - wall,
        "cpu": time.process_time() - cpu,
        "peak": peak_megabytes() - before,
        "cost": cost,
    }


def prepared(way: str, *, small: bool) -> Callable[[], float]:
    """What runs one way, forward and backward, on made inputs."""
    import torchaudio

    from asr.objectives.transducer import joint_transducer_loss, transducer_loss

    batch, num_frames, num_tokens = (1, 4, 2) if small else (BATCH, FRAMES, TOKENS)
    joint = Joint()
    targets = torch.randint(1, VOCABULARY, (batch, num_tokens))
    frames = torch.full((batch,), num_frames)
    emitted = torch.full((batch,), num_tokens)

    def theirs(logits: Tensor) -> Tensor:
        lengths = (targets.int(), frames.int(), emitted.int())
        costs: Tensor = torchaudio.functional.rnnt_loss(logits, *lengths, blank=0, reduction="none")
        return costs

    def ours(logits: Tensor) -> Tensor:
        return transducer_loss(logits, targets, frames, emitted)

    loss = theirs if way.startswith("torchaudio") else ours
    if way.endswith("loss alone"):
        logits = torch.randn(batch, num_frames, num_tokens + 1, VOCABULARY, requires_grad=True)
        return lambda: both_ways(loss(logits))
    encoded = torch.randn(batch, num_frames, JOINT, requires_grad=True)
    predicted = torch.randn(batch, num_tokens + 1, JOINT, requires_grad=True)
    if way == "chunked":
        return lambda: both_ways(
            joint_transducer_loss(joint, encoded, predicted, targets, frames, emitted)
        )
    return lambda: both_ways(loss(joint(encoded[:, :, None], predicted[:, None])))


def both_ways(costs: Tensor) -> float:
    """The total cost, after its gradient was computed."""
    total = costs.sum()
    total.backward()  # type: ignore[no-untyped-call]
    return total.item()


def peak_megabytes() -> float:
    """The most memory that this process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
