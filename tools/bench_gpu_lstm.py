"""A layer of an LSTM on a GPU: the kernel with peepholes, its plain steps, and cuDNN's without.

    python -m tools.bench_gpu_lstm

Forward and backward of both directions for utterances of one length, in milliseconds: medians of
interleaved runs. cuDNN has no peepholes, so it does less; nothing here is exact to the other.
"""

import argparse
import statistics
from collections.abc import Callable

import torch
from torch import Tensor, nn

from asr.models import peephole_torch, peephole_triton

Run = Callable[[], object]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--frames", type=int, default=984)
    parser.add_argument("--size", type=int, default=500)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 30, 64, 128])
    parser.add_argument("--runs", type=int, default=9)
    options = parser.parse_args()
    print(f"{torch.cuda.get_device_name()}: {options.frames} frames, 2 x {options.size} cells")
    print("| utterances | kernel | plain steps | cuDNN, no peepholes | products alone |")
    print("|---|---|---|---|---|")
    for batch in options.batches:
        subjects = _subjects(options.frames, batch, options.size)
        times: dict[str, list[float]] = {name: [] for name in subjects}
        for number in range(options.runs + 2):
            for name, run in subjects.items():
                took = _milliseconds(run)
                if number >= 2:
                    times[name].append(took)
        cells = " | ".join(f"{statistics.median(taken):.2f}" for taken in times.values())
        print(f"| {batch} | {cells} |", flush=True)


def _subjects(frames: int, batch: int, size: int) -> dict[str, Run]:
    torch.manual_seed(0)
    features = torch.randn(frames, batch, 2 * size, device="cuda")
    weight = torch.randn(2, 4 * size, 2 * size, device="cuda") / (2 * size) ** 0.5
    recurrent = torch.randn(2, 4 * size, size, device="cuda") / size**0.5
    peepholes = torch.randn(2, 3, size, device="cuda")
    cudnn = nn.LSTM(2 * size, size, bidirectional=True, device="cuda")
    leaf = features.clone().requires_grad_()
    gradient = torch.randn(frames, batch, 2 * size, device="cuda")

    def products() -> tuple[Tensor, Tensor, Tensor]:
        """What every layer has beside its steps."""
        rows = features.flatten(0, 1)
        projected = torch.matmul(rows, weight.transpose(1, 2))
        return projected, projected @ weight, projected.transpose(1, 2) @ rows

    def layer(passes: tuple[Callable[..., None], Callable[..., None]]) -> None:
        gates = products()[0].view(2, frames, batch, 4 * size)
        hidden = gates.new_empty(2, frames, batch, size)
        cells, d_gates = torch.empty_like(hidden), torch.empty_like(gates)
        forward, backward = passes
        forward(gates, hidden, cells, recurrent, peepholes)
        backward(hidden, d_gates, gates, cells, recurrent, peepholes)

    def library() -> None:
        cudnn.zero_grad()
        leaf.grad = None
        cudnn(leaf)[0].backward(gradient)

    return {
        "kernel": lambda: layer((peephole_triton.forward_pass, peephole_triton.backward_pass)),
        "steps": lambda: layer((peephole_torch.forward_pass, peephole_torch.backward_pass)),
        "cudnn": library,
        "products": products,
    }


def _milliseconds(run: Run) -> float:
    begun = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    ended = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    begun.record()
    run()
    ended.record()
    torch.cuda.synchronize()
    return float(begun.elapsed_time(ended))


if __name__ == "__main__":
    main()
