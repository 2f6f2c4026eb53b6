"""What is checked, measured and said before the first step."""

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

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


def measure_epoch(
    plans: Sequence[BatchPlan], seconds_of: Callable[[BatchPlan], float | None]
) -> float:
    """Seconds that an epoch will take, from three batches of typical size after a warm-up.

    Args:
        plans: the batches of the epoch.
        seconds_of: does one batch; how long it took, or None when nothing of it can be used.

    Raises:
        DataError: there is nothing to train on.
    """
    if not plans:
        raise DataError("there is nothing to train on: every sequence was left out")
    order = sorted(plans, key=lambda plan: plan.size)
    rates = []
    for quarter in (2, 1, 2, 3):  # the first is the warm-up
        plan = order[len(order) * quarter // 4]
        seconds = seconds_of(plan)
        if seconds is not None:
            rates.append(seconds / plan.size)
    typical = statistics.median(rates[1:] or rates or [0.0])
    return typical * sum(plan.size for plan in plans)
