"""What is refused and what is promised before the first step."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from asr.errors import DataError, ResourceError
from asr.training.preflight import check_space, measure_epoch
from asr.training.task import BatchPlan


def plans(*sizes: float) -> list[BatchPlan]:
    return [BatchPlan((index,), size) for index, size in enumerate(sizes)]


def test_an_epoch_is_measured_by_three_batches_after_a_warm_up() -> None:
    done: list[float] = []

    def seconds_of(plan: BatchPlan) -> float:
        done.append(plan.size)
        return plan.size * [50.0, 0.7, 0.5, 0.4][len(done) - 1]

    assert measure_epoch(plans(8, 1, 4, 2, 6, 7, 3, 5), seconds_of) == pytest.approx(36 * 0.5)
    assert done == [5, 3, 5, 7], "the middle, then the quarters"


def test_one_odd_batch_does_not_spoil_the_measurement() -> None:
    def seconds_of(plan: BatchPlan) -> float:
        return plan.size * (9.0 if plan.size == 1 else 0.25)

    assert measure_epoch(plans(0.5, 1, 2, 3), seconds_of) == pytest.approx(6.5 * 0.25)


def test_batches_of_which_nothing_can_be_used_do_not_count() -> None:
    def only(size: float) -> Callable[[BatchPlan], float | None]:
        return lambda plan: 1.0 if plan.size == size else None

    assert measure_epoch(plans(1, 2, 3, 4), only(2)) == pytest.approx(10 * 1 / 2)
    assert measure_epoch(plans(1, 2, 3, 4), only(7)) == 0.0


def test_one_batch_is_enough() -> None:
    assert measure_epoch(plans(10), lambda plan: 3.0) == pytest.approx(3.0)


def test_nothing_to_train_on() -> None:
    with pytest.raises(DataError, match="nothing to train on: every sequence was left out"):
        measure_epoch([], lambda plan: 1.0)


def test_the_space_for_checkpoints_and_candidates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three checkpoints of three times the weights, the candidates, the bundle twice."""
    model = nn.Linear(999, 1000)  # 4 MB in float32
    needed = 4_000_000 * (9 + 5 + 2)
    free = [needed]
    monkeypatch.setattr(
        "asr.storage.shutil.disk_usage", lambda folder: SimpleNamespace(free=free[0])
    )
    check_space(tmp_path, model, num_candidates=5)
    free[0] = needed - 1
    with pytest.raises(ResourceError, match="64 MB free, 64 MB needed for checkpoints; free some"):
        check_space(tmp_path, model, num_candidates=5)
    check_space(tmp_path, model.to(torch.bfloat16), num_candidates=5)
