"""Trainings whose starting weights compete with those that are trained."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from asr.errors import StoppedError
from asr.storage import load_tensors, read_json
from asr.training.task import Evaluation, Skipped
from tests.training.runs import (
    MEASURED,
    assert_equal,
    dying_in_save,
    lines_of,
    metrics,
    newest,
    run,
    state_of,
    stopping_task,
    weights,
)
from tests.training.toy import ToyTask

WORSE = [0.1, 0.3, 0.2, 0.4]  # of the starting weights, and after each epoch
BETTER = [0.3, 0.4, 0.2, 0.1]


def bundled(folder: Path) -> Any:
    return load_tensors(folder / "best" / "model.safetensors")


@pytest.mark.parametrize("average_best", [1, 3])
def test_a_start_that_is_never_surpassed_is_the_model(tmp_path: Path, average_best: int) -> None:
    """The average of the best is evaluated last, as bad as the last epoch, and not taken."""
    task = ToyTask(dev_of_epoch=WORSE)
    outcome = run(task, tmp_path, judge_start=True, average_best=average_best)
    assert_equal(bundled(tmp_path), task.first)
    assert outcome.dev is not None
    assert outcome.dev.value == 0.1
    assert state_of(tmp_path)["best"] == [0.1, 0]
    assert state_of(tmp_path)["stale"] == 3
    assert read_json(tmp_path / "best" / "facts.json")["epochs"] == 3


def test_a_start_that_is_surpassed_is_not(tmp_path: Path) -> None:
    run(ToyTask(dev_of_epoch=BETTER), tmp_path, judge_start=True, average_best=1)
    assert_equal(bundled(tmp_path), load_tensors(newest(tmp_path) / "model.safetensors"))
    assert state_of(tmp_path)["best"] == [0.1, 3]


def test_what_is_trained_stays_the_same(tmp_path: Path) -> None:
    run(ToyTask(dev_of_epoch=WORSE), tmp_path / "judged", judge_start=True, weight_noise=0.1)
    run(ToyTask(dev_of_epoch=WORSE), tmp_path / "not", weight_noise=0.1)
    assert_equal(weights(tmp_path / "judged"), weights(tmp_path / "not"))


def test_the_start_is_told_and_written_before_the_first_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(StoppedError):
        run(stopping_task(MEASURED, dev_of_epoch=WORSE), tmp_path, judge_start=True)
    assert "\nstart: dev error 0.1\n    an example\n" in capsys.readouterr().err
    assert_equal(bundled(tmp_path), ToyTask().first)
    facts = {"epochs": 0, "steps": 0, "dev": {"error": 0.1}, "finished": False}
    assert read_json(tmp_path / "best" / "facts.json") == facts
    assert metrics(tmp_path) == [{"kind": "dev", "step": 0, "epoch": 0, "error": 0.1}]


@pytest.mark.parametrize(("patience", "epochs"), [(1, 1), (2, 2), (3, 3)])
def test_patience_counts_from_the_start(tmp_path: Path, patience: int, epochs: int) -> None:
    run(ToyTask(dev_of_epoch=WORSE), tmp_path, judge_start=True, patience=patience)
    assert read_json(tmp_path / "finished.json")["epochs"] == epochs


def test_noise_may_begin_at_the_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task = ToyTask(dev_of_epoch=WORSE)
    schedule = {"weight_noise": 0.1, "weight_noise_after": 2}
    run(task, tmp_path, judge_start=True, epochs=2, **schedule)
    assert "no better since start: back to those weights, from here on" in capsys.readouterr().err
    assert_equal(weights(tmp_path), task.first)


# Checkpoints: of the start (1), of each of six batches but the last, of the epoch (7), and so on.
# Evaluations after the death: of the start (or not), of the epochs, of the finished model.
@pytest.mark.parametrize(
    ("die_at", "written", "evaluations"),
    [
        (1, False, 4),
        (1, True, 3),
        (2, False, 3),
        (2, True, 3),
        (6, True, 3),
        (7, False, 3),
        (7, True, 2),
        (8, False, 2),
    ],
)
def test_killed_around_a_checkpoint_it_ends_in_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, die_at: int, written: bool, evaluations: int
) -> None:
    excluded = (Skipped("a", "the text is empty"),)
    settings = {"epochs": 2, "average_best": 1, "checkpoint_minutes": 1e-9, "judge_start": True}
    whole, folder = tmp_path / "whole", tmp_path / "killed"
    run(ToyTask(dev_of_epoch=WORSE, excluded=excluded), whole, **settings)
    with monkeypatch.context() as patched:
        dying = dying_in_save(die_at, written=written)
        patched.setattr("asr.training.loop.save_checkpoint", dying)
        with pytest.raises(KeyboardInterrupt):
            run(ToyTask(dev_of_epoch=WORSE, excluded=excluded), folder, **settings)
    task = ToyTask(dev_of_epoch=WORSE, excluded=excluded)
    run(task, folder, **settings)
    assert task.evaluations == evaluations
    assert_equal(weights(folder), weights(whole))
    assert_equal(bundled(folder), task.first)
    dev = [line for line in metrics(folder) if line["kind"] == "dev"]
    assert [(line["epoch"], line["error"]) for line in dev] == [(0, 0.1), (1, 0.3), (2, 0.2)]
    assert [line["id"] for line in lines_of(folder / "skipped.jsonl")] == ["a"]


def test_a_stop_during_the_evaluation_of_the_start(tmp_path: Path) -> None:
    class Stops(ToyTask):
        def evaluate(self, split: str, device: torch.device, advance: Any) -> Evaluation | None:
            os.kill(os.getpid(), signal.SIGTERM)
            return super().evaluate(split, device, advance)

    run(ToyTask(dev_of_epoch=WORSE), tmp_path / "whole", judge_start=True)
    with pytest.raises(StoppedError, match="stopped by SIGTERM"):
        run(Stops(dev_of_epoch=WORSE), tmp_path / "stopped", judge_start=True)
    run(ToyTask(dev_of_epoch=WORSE), tmp_path / "stopped", judge_start=True)
    assert_equal(weights(tmp_path / "stopped"), weights(tmp_path / "whole"))
    assert_equal(bundled(tmp_path / "stopped"), bundled(tmp_path / "whole"))


def test_a_training_that_has_begun_does_not_judge_its_start_any_more(tmp_path: Path) -> None:
    """Its weights are not the starting weights: the setting came later."""
    run(ToyTask(dev_of_epoch=WORSE), tmp_path, epochs=1)
    task = ToyTask(dev_of_epoch=WORSE)
    run(task, tmp_path, epochs=2, judge_start=True, average_best=1)
    assert task.evaluations == 1 + 1, "of the second epoch, and of the finished model"
    assert state_of(tmp_path)["best"] == [0.2, 2]


def test_without_dev_data_there_is_nothing_to_judge(tmp_path: Path) -> None:
    outcome = run(ToyTask(has_dev=False), tmp_path, judge_start=True)
    assert outcome.dev is None
    assert state_of(tmp_path)["best"] is None
    assert_equal(bundled(tmp_path), load_tensors(newest(tmp_path) / "model.safetensors"))
