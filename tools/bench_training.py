"""What reading audio costs a training: an epoch against the same epoch on batches in memory.

    python tools/bench_training.py recipes/an4 [--rounds 3]

Interleaves three kinds of epoch and prints the median of each: the first epoch (every file is read
and decoded), a later one (decoded audio comes from the reader's cache), and one whose batches lie
in memory as tensors. Evaluation and checkpoints are left out of all.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import torch

from asr.building import build_speech_task
from asr.data.batching import Batch, padding_share
from asr.data.loading import load_ahead
from asr.recipe import Recipe, load_recipe
from asr.speech import SpeechTask
from asr.training.optimizer import build_optimizer
from asr.training.step import Part, Stepper
from asr.training.task import BatchPlan

CPU = torch.device("cpu")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    recipe = load_recipe(arguments.recipe)
    if not isinstance(recipe, Recipe):
        parser.error(f"{arguments.recipe}: is no recipe of a recogniser")
    kinds: dict[str, list[float]] = {"first": [], "later": [], "in memory": []}
    with tempfile.TemporaryDirectory() as folder:
        warm = _task(recipe, Path(folder))
        stepper = _stepper(warm, recipe)
        plans = warm.plan_epoch(0)
        _epoch(stepper, warm, _loaded(warm, plans, recipe.training.num_workers))
        batches = list(_loaded(warm, plans, 0))
        workers = recipe.training.num_workers
        for _ in range(arguments.rounds):
            cold = _task(recipe, Path(folder))
            cold_batches = _loaded(cold, plans, workers)
            kinds["first"].append(_epoch(_stepper(cold, recipe), cold, cold_batches))
            kinds["later"].append(_epoch(stepper, warm, _loaded(warm, plans, workers)))
            kinds["in memory"].append(_epoch(stepper, warm, batches))
    _print(kinds, warm, plans)


def _print(kinds: dict[str, list[float]], task: SpeechTask, plans: list[BatchPlan]) -> None:
    base = statistics.median(kinds["in memory"])
    for kind, times in kinds.items():
        median = statistics.median(times)
        spread = f"{min(times):.2f} … {max(times):.2f}"
        print(f"{kind:10s} {median:7.2f} s ({spread})  {median / base:.3f} x in memory")
    shares = []
    for epoch in range(5):
        durations = task.durations(epoch)
        shares.append(padding_share(durations, [p.items for p in task.plan_epoch(epoch)]))
    print(f"padding: {100 * statistics.fmean(shares):.2f} % of frames, over 5 epochs")


def _task(recipe: Recipe, folder: Path) -> SpeechTask:
    return build_speech_task(recipe, folder, command="benchmark")


def _stepper(task: SpeechTask, recipe: Recipe) -> Stepper:
    return Stepper(
        task.model,
        build_optimizer(task.model.parameters(), recipe.optimizer),
        clip_norm=recipe.training.clip_norm,
        precision=recipe.training.precision,
        device=CPU,
    )


def _loaded(task: SpeechTask, plans: list[BatchPlan], workers: int) -> Iterable[Batch]:
    for batch, _ in load_ahead(plans, lambda plan: task.load_batch(plan, 0), workers):
        if batch is not None:
            yield batch


def _epoch(stepper: Stepper, task: SpeechTask, batches: Iterable[Batch]) -> float:
    """The seconds that an epoch takes."""
    begun = time.perf_counter()
    task.model.train()
    for seed, batch in enumerate(batches):
        stepper.update([Part(_losses(task, batch), batch.ids, seed)])
    return time.perf_counter() - begun


def _losses(task: SpeechTask, batch: Batch) -> Callable[[], torch.Tensor]:
    return lambda: task.loss(batch, CPU)


if __name__ == "__main__":
    main()
