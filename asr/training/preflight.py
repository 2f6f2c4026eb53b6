"""What is checked, measured and said before the first step."""

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import nn

from asr.errors import DataError
from asr.storage import check_free_space
from asr.training.task import BatchPlan


def check_space(folder: Path, model: nn.Module, num_candidates: int) -> None:
    """Return when the disk has room for the checkpoints of a training.

    Raises:
        ResourceError: it has not.
    """
    weights = sum(value.nbytes for value in model.state_dict().values())
    # Two checkpoints and one being written, each with up to two moments; candidates; bundle.
    check_free_space(folder, weights * (9 + num_candidates + 2))


def measure_epoch(plans: Sequence[BatchPlan], work: Callable[[BatchPlan], bool]) -> float:
    """Seconds that an epoch will take, from a warm-up and three batches of typical size.

    Args:
        plans: the batches of the epoch.
        work: does one batch; False when nothing of it can be used.

    Raises:
        DataError: there is nothing to train on.
    """
    if not plans:
        raise DataError("there is nothing to train on: every sequence was left out")
    order = sorted(plans, key=lambda plan: plan.size)
    rates = []
    for quarter in (2, 1, 2, 3):  # the first is the warm-up
        plan = order[len(order) * quarter // 4]
        start = time.perf_counter()
        if work(plan):
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            rates.append((time.perf_counter() - start) / plan.size)
    typical = statistics.median(rates[1:] or rates or [0.0])
    return typical * sum(plan.size for plan in plans)
