"""Evaluations, the best so far, and what becomes the finished model."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from asr.errors import StoppedError
from asr.storage import load_tensors, read_json, verify_folder
from asr.training.checkpoint import TrainingState
from asr.training.selection import Selection
from asr.training.signals import StopSignals
from asr.training.task import Advance, Evaluation
from tests.training.toy import ToyTask


class Reported:
    """In place of the reporter: remembers what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.logged: list[tuple[str, int, dict[str, float]]] = []
        self.texts: list[str] = []
        self.bars: list[tuple[str, int]] = []
        self.advanced: list[int] = []

    def say(self, line: str) -> None:
        self.lines.append(line)

    def log(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        self.logged.append((kind, step, dict(values)))

    def log_text(self, name: str, step: int, lines: str) -> None:
        self.texts.append(lines)

    def start(self, description: str, total: int, done: int = 0) -> None:
        self.bars.append((description, total))

    def advance(self, done: int, state: str = "") -> None:
        self.advanced.append(done)


class Scripted(ToyTask):
    """Gives scripted values for dev, and 0.25 for test."""

    def evaluate(self, split: str, device: torch.device, advance: Advance) -> Evaluation | None:
        assert not self.model.training
        if split == "dev":
            evaluation = super().evaluate(split, device, advance)
            return evaluation and Evaluation(
                {**evaluation.metrics, "cer": 0.5}, "error", ["a", "b"]
            )
        advance(1, 2)
        advance(2, 2)
        return Evaluation({"error": 0.25}, monitor="error")


def selecting(
    folder: Path, values: list[float], *, keep: int = 1
) -> tuple[Selection, Scripted, Reported]:
    task, reporter = Scripted(dev_values=values), Reported()
    told: Any = reporter
    selection = Selection(
        task,
        folder,
        device=torch.device("cpu"),
        signals=StopSignals(),
        reporter=told,
        keep=keep,
        facts={"origin": "a test"},
    )
    return selection, task, reporter


def set_weights(task: ToyTask, value: float) -> None:
    with torch.no_grad():
        for parameter in task.model.parameters():
            parameter.fill_(value)


def bundled(folder: Path) -> float:
    verify_folder(folder / "best")
    return float(load_tensors(folder / "best" / "model.safetensors")["0.bias"][0])


def test_the_best_epoch_is_noted_and_bundled(tmp_path: Path) -> None:
    selection, task, reporter = selecting(tmp_path, [0.5, 0.3, 0.3, 0.4])
    state = TrainingState(step=7, seconds=75.0)
    expected = [((0.5, 1), 0, 1.0), ((0.3, 2), 0, 2.0), ((0.3, 2), 1, 2.0), ((0.3, 2), 2, 2.0)]
    for epoch, (best, stale, weights) in enumerate(expected, start=1):
        set_weights(task, epoch)
        selection.judge(state, epoch, mean_loss=1.5)
        assert (state.best, state.stale) == (best, stale)
        assert bundled(tmp_path) == weights
    facts = read_json(tmp_path / "best" / "facts.json")
    assert facts == {
        "origin": "a test",
        "epochs": 2,
        "steps": 7,
        "dev": {"error": 0.3, "cer": 0.5},
        "finished": False,
    }
    spoken = [line for line in reporter.lines if line.startswith("epoch")]
    assert spoken == [
        "epoch 1: loss 1.500  dev error 0.5  cer 0.5  75 s  (best)",
        "epoch 2: loss 1.500  dev error 0.3  cer 0.5  75 s  (best)",
        "epoch 3: loss 1.500  dev error 0.3  cer 0.5  75 s",
        "epoch 4: loss 1.500  dev error 0.4  cer 0.5  75 s",
    ]
    assert reporter.lines[1:3] == ["    a", "    b"]
    assert reporter.texts[0] == "a\n\nb"
    assert reporter.logged[0] == (
        "dev",
        7,
        {"epoch": 1, "train_loss": 1.5, "error": 0.5, "cer": 0.5},
    )


def test_the_starting_weights_are_judged_as_epoch_0(tmp_path: Path) -> None:
    selection, task, reporter = selecting(tmp_path, [0.5, 0.6])
    state = TrainingState()
    set_weights(task, 3.0)
    selection.judge(state, 0, mean_loss=math.nan)
    assert state == TrainingState(best=(0.5, 0))
    assert reporter.lines[0] == "start: dev error 0.5  cer 0.5"
    assert read_json(tmp_path / "best" / "facts.json")["epochs"] == 0
    set_weights(task, 4.0)
    selection.judge(state, 1, mean_loss=math.nan)
    assert state == TrainingState(best=(0.5, 0), stale=1)
    assert reporter.lines[3] == "epoch 1: dev error 0.6  cer 0.5  0 s", "the loss is unknown"
    assert selection.load_best() == 0
    assert float(task.model.state_dict()["0.bias"][0]) == 3.0


def test_the_best_weights_of_nothing(tmp_path: Path) -> None:
    selection, _, _ = selecting(tmp_path, [])
    with pytest.raises(ValueError, match="nothing has been evaluated yet"):
        selection.load_best()


def test_without_dev_data_nothing_is_judged(tmp_path: Path) -> None:
    selection, task, reporter = selecting(tmp_path, [0.5])
    task.has_dev = False
    state = TrainingState()
    selection.judge(state, 1, mean_loss=1.0)
    assert state == TrainingState()
    assert reporter.logged == []
    assert not (tmp_path / "best").exists()


def test_the_bar_of_an_evaluation(tmp_path: Path) -> None:
    selection, _, reporter = selecting(tmp_path, [])
    selection.evaluate("test")
    assert reporter.bars == [("evaluating test", 2)]
    assert reporter.advanced == [1, 2]


def test_a_signal_stops_an_evaluation_before_anything_is_noted(tmp_path: Path) -> None:
    selection, _, reporter = selecting(tmp_path, [0.5])
    selection._signals.received = 15
    state = TrainingState()
    with pytest.raises(StoppedError, match="stopped by SIGTERM"):
        selection.judge(state, 1, mean_loss=1.0)
    assert state == TrainingState()
    assert reporter.logged == []
    assert not (tmp_path / "best").exists()
    assert not (tmp_path / "candidates").exists()


def test_the_finished_model_has_its_scores(tmp_path: Path) -> None:
    selection, task, reporter = selecting(tmp_path, [0.5, 0.3, 0.4, 0.35])
    state = TrainingState(step=9)
    for epoch in (1, 2, 3):
        set_weights(task, epoch)
        selection.judge(state, epoch, mean_loss=1.0)
    state.epoch = 3
    set_weights(task, 99.0)
    dev, test = selection.finish(state)
    assert dev is not None
    assert test is not None
    assert (dev.value, test.value) == (0.35, 0.25)
    assert bundled(tmp_path) == 2.0
    assert read_json(tmp_path / "best" / "facts.json") == {
        "origin": "a test",
        "epochs": 3,
        "steps": 9,
        "finished": True,
        "dev": {"error": 0.35, "cer": 0.5},
        "test": {"error": 0.25},
    }
    assert [line[:2] for line in reporter.logged[-2:]] == [("final_dev", 9), ("final_test", 9)]


@pytest.mark.parametrize(("averaged", "weights"), [(0.2, 1.5), (0.3, 1.5), (0.31, 2.0)])
def test_the_average_is_used_when_it_is_no_worse(
    tmp_path: Path, averaged: float, weights: float
) -> None:
    selection, task, reporter = selecting(tmp_path, [0.5, 0.3, averaged, 0.3], keep=3)
    state = TrainingState()
    for epoch in (1, 2):
        set_weights(task, epoch)
        selection.judge(state, epoch, mean_loss=1.0)
    dev, _ = selection.finish(state)
    assert dev is not None
    assert dev.value == min(averaged, 0.3)
    assert bundled(tmp_path) == weights
    assert ("using the average of 2 checkpoints" in reporter.lines) == (weights == 1.5)


def test_without_dev_data_the_last_weights_are_the_model(tmp_path: Path) -> None:
    selection, task, _ = selecting(tmp_path, [])
    task.has_dev = False
    set_weights(task, 5.0)
    dev, test = selection.finish(TrainingState())
    assert dev is None
    assert test is not None
    assert bundled(tmp_path) == 5.0
    assert "dev" not in read_json(tmp_path / "best" / "facts.json")


def test_going_on_forgets_later_evaluations(tmp_path: Path) -> None:
    """They are of a training whose checkpoints were lost, and this one has not come so far."""
    selection, task, _ = selecting(tmp_path, [0.5, 0.1, 0.4, 0.4], keep=1)
    state = TrainingState()
    for epoch in (1, 2):
        set_weights(task, epoch)
        selection.judge(state, epoch, mean_loss=1.0)
    selection.go_on_from(TrainingState(epoch=1, best=(0.5, 1)))
    set_weights(task, 7.0)
    selection.judge(state, 2, mean_loss=1.0)
    selection.finish(state)
    assert bundled(tmp_path) == 7.0


def test_a_training_that_begins_forgets_another_start(tmp_path: Path) -> None:
    """That of a run whose checkpoints were deleted, with the same score but other weights."""
    selection, task, _ = selecting(tmp_path, [0.5])
    for weights in (1.0, 2.0):
        selection.go_on_from(TrainingState())
        set_weights(task, weights)
        selection.judge(TrainingState(), 0, mean_loss=math.nan)
    set_weights(task, 7.0)
    selection.load_best()
    assert float(task.model.state_dict()["0.bias"][0]) == 2.0
