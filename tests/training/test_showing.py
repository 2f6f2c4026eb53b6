"""When a task is asked to show what the model can do, and what it is told of the training."""

from pathlib import Path

import pytest

from asr.errors import StoppedError
from tests.training.runs import MEASURED, assert_equal, run, stopping_task, weights
from tests.training.toy import ToyTask


def places(task: ToyTask, folder: Path) -> list[str]:
    return [str(place.relative_to(folder)) for place, _ in task.shown]


def test_after_the_epochs_that_are_asked_for_and_at_the_end(tmp_path: Path) -> None:
    task = ToyTask(dev_values=[0.5, 0.4, 0.3, 0.2])
    run(task, tmp_path, epochs=3, artifacts=[1, 3])
    assert places(task, tmp_path) == [
        "artifacts/epoch-0001",
        "artifacts/epoch-0003",
        "artifacts/final",
    ]
    first, third, final = (history for _, history in task.shown)
    assert [record["error"] for record in first] == [0.5]
    assert [record["error"] for record in third] == [0.5, 0.4, 0.3]
    assert [record["epoch"] for record in final] == [1, 2, 3]
    assert set(final[0]) == {"epoch", "train_loss", "error"}


def test_at_the_end_alone_where_nothing_is_asked_for(tmp_path: Path) -> None:
    task = ToyTask(has_dev=False)
    run(task, tmp_path, epochs=2)
    assert places(task, tmp_path) == ["artifacts/final"]
    assert task.shown[0][1] == []


def test_showing_changes_no_weight(tmp_path: Path) -> None:
    run(ToyTask(), tmp_path / "plain", epochs=2)
    run(ToyTask(), tmp_path / "shown", epochs=2, artifacts=[1, 2])
    assert_equal(weights(tmp_path / "plain"), weights(tmp_path / "shown"))


def test_a_training_that_goes_on_shows_the_whole_history(tmp_path: Path) -> None:
    with pytest.raises(StoppedError):
        run(stopping_task(MEASURED + 12), tmp_path, epochs=3, artifacts=[1, 2, 3])
    task = ToyTask()
    run(task, tmp_path, epochs=3, artifacts=[1, 2, 3])
    assert [record["epoch"] for record in task.shown[-1][1]] == [1, 2, 3]
