"""Trainings that are quiet at first: noise from the best weights on, and the same when resumed."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from asr.errors import ConfigError, StoppedError
from asr.storage import load_tensors, read_json
from asr.training.optimizer import AdamWConfig, SgdConfig
from asr.training.task import Evaluation
from tests.training.runs import (
    MEASURED,
    assert_equal,
    dying_in_save,
    metrics,
    newest,
    run,
    state_of,
    stopping_task,
    weights,
)
from tests.training.toy import NUM_ITEMS, ToyBatch, ToyTask

BATCHES = NUM_ITEMS // 4
# Of the starting weights and after each epoch: the best is 2, so that with 2 the noise begins
# after epoch 4; then 6 is better than all before.
VALUES = [0.9, 0.5, 0.3, 0.4, 0.3, 0.35, 0.2, 0.25, 0.21]
QUIET = {"weight_noise": 0.1, "weight_noise_after": 2}
OPTIMIZERS: dict[str, SgdConfig | AdamWConfig] = {
    "momentum": SgdConfig(name="sgd", learning_rate=0.1, momentum=0.9),
    "adamw": AdamWConfig(name="adamw", learning_rate=0.05),
}


def candidate(folder: Path, epoch: int) -> dict[str, Tensor]:
    return load_tensors(folder / "candidates" / f"epoch-{epoch:05d}" / "model.safetensors")


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_after_the_switch_there_are_the_best_weights_and_a_new_optimiser(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    run(ToyTask(dev_of_epoch=VALUES), tmp_path, epochs=4, optimizer=OPTIMIZERS[name], **QUIET)
    assert_equal(load_tensors(newest(tmp_path) / "model.safetensors"), candidate(tmp_path, 2))
    assert load_tensors(newest(tmp_path) / "optimizer.safetensors") == {}
    state = state_of(tmp_path)
    assert (state["noisy"], state["stale"], state["best"]) == (True, 0, [0.3, 2])
    said = capsys.readouterr().err.split("\n")
    switch = "no better since epoch 2: back to those weights, from here on with weight noise 0.1"
    assert said.count(switch) == 1


@pytest.mark.parametrize(("after", "switch"), [(1, 3), (2, 4), (3, 5), (4, 0)])
def test_the_noise_is_on_the_weights_from_the_switch_on(
    tmp_path: Path, after: int, switch: int
) -> None:
    """With steps of no length, so that the clean weights stay what they were."""
    noisy: list[bool] = []

    class Watched(ToyTask):
        def loss(self, batch: ToyBatch, device: torch.device) -> Tensor:
            noisy.append(not self.is_as_at_first())
            return super().loss(batch, device)

        def evaluate(self, split: str, device: torch.device, advance: Any) -> Evaluation | None:
            assert self.is_as_at_first()
            return super().evaluate(split, device, advance)

    still = SgdConfig(name="sgd", learning_rate=1e-30, momentum=0.0)
    values = [0.5, 0.3, 0.4, 0.3, 0.35, 0.2, 0.4, 0.4, 0.4]
    task = Watched(dev_values=values)
    run(task, tmp_path, epochs=7, optimizer=still, **{**QUIET, "weight_noise_after": after})
    quiet = switch or 7
    expected = [False] * (MEASURED + quiet * BATCHES) + [True] * ((7 - quiet) * BATCHES)
    assert noisy == expected
    assert_equal(load_tensors(newest(tmp_path) / "model.safetensors"), task.first)


def test_quiet_is_without_noise_to_the_bit(tmp_path: Path) -> None:
    run(ToyTask(dev_of_epoch=VALUES), tmp_path / "quiet", epochs=3, **QUIET)
    run(ToyTask(dev_of_epoch=VALUES), tmp_path / "without", epochs=3)
    assert_equal(weights(tmp_path / "quiet"), weights(tmp_path / "without"))
    assert state_of(tmp_path / "quiet")["noisy"] is False


def test_quiet_and_noisy_evaluations_compete(tmp_path: Path) -> None:
    outcome = run(ToyTask(dev_of_epoch=VALUES), tmp_path, epochs=8, average_best=3, **QUIET)
    kept = sorted(path.name for path in (tmp_path / "candidates").iterdir())
    assert kept == ["epoch-00006", "epoch-00007", "epoch-00008"]
    assert state_of(tmp_path)["best"] == [0.2, 6]
    assert outcome.dev is not None
    worse = [*VALUES[:5], 0.4, 0.4, 0.4, 0.4]
    outcome = run(
        ToyTask(dev_of_epoch=worse), tmp_path / "worse", epochs=8, average_best=1, **QUIET
    )
    assert_equal(
        load_tensors(outcome.bundle / "model.safetensors"), candidate(tmp_path / "worse", 2)
    )


@pytest.mark.parametrize(
    ("patience", "after", "epochs"),
    [(1, 3, 6), (2, 3, 7), (3, 3, 8), (0, 3, 9), (2, 7, 9), (1, 1, 4)],
)
def test_patience_counts_from_the_switch_on(
    tmp_path: Path, patience: int, after: int, epochs: int
) -> None:
    """The best is that of the second epoch, so the noise begins after epoch 2 + `after`."""
    task = ToyTask(dev_of_epoch=[0.9, 0.5, 0.3, *[0.4] * 9])
    settings = {"weight_noise": 0.1, "weight_noise_after": after, "patience": patience}
    run(task, tmp_path, epochs=9, **settings)
    early = epochs < 9
    assert read_json(tmp_path / "finished.json") == {"epochs": epochs, "stopped_early": early}
    assert state_of(tmp_path)["noisy"] == (2 + after <= epochs)


def test_an_extended_training_is_one_that_was_longer_from_the_start(tmp_path: Path) -> None:
    """With the switch in the last evaluation before, and before and after it."""
    run(ToyTask(dev_of_epoch=VALUES), tmp_path / "whole", epochs=8, optimizer=steady(), **QUIET)
    for first in (3, 4, 5):
        folder = tmp_path / str(first)
        for epochs in (first, 8):
            run(ToyTask(dev_of_epoch=VALUES), folder, epochs=epochs, optimizer=steady(), **QUIET)
        assert_equal(weights(folder), weights(tmp_path / "whole"))


def steady() -> AdamWConfig:
    """A learning rate that does not depend on the number of epochs."""
    return AdamWConfig(name="adamw", learning_rate=0.05, schedule="constant", warmup=0.0)


def scores(folder: Path) -> list[tuple[int, float]]:
    return [(line["epoch"], line["error"]) for line in metrics(folder) if line["kind"] == "dev"]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_stopped_anywhere_it_ends_in_the_same_weights(tmp_path: Path, name: str) -> None:
    """The switch is after 24 of 36 batches."""
    settings = {"epochs": 6, "optimizer": OPTIMIZERS[name], "accumulate": 2, **QUIET}
    run(ToyTask(dev_of_epoch=VALUES), tmp_path / "whole", **settings)
    for stop_at in (1, *range(4 * BATCHES - 4, 4 * BATCHES + 4), 6 * BATCHES - 1):
        folder = tmp_path / str(stop_at)
        with pytest.raises(StoppedError, match="stopped by SIGTERM"):
            run(stopping_task(MEASURED + stop_at, dev_of_epoch=VALUES), folder, **settings)
        run(ToyTask(dev_of_epoch=VALUES), folder, **settings)
        assert_equal(weights(folder), weights(tmp_path / "whole"))
        assert_equal(
            load_tensors(folder / "best" / "model.safetensors"),
            load_tensors(tmp_path / "whole" / "best" / "model.safetensors"),
        )
        assert scores(folder) == scores(tmp_path / "whole")


@pytest.mark.parametrize("written", [False, True])
def test_killed_before_or_after_any_checkpoint_it_ends_in_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: bool
) -> None:
    """So also between the evaluation that begins the noise and the checkpoint that notes it."""
    settings = {"epochs": 6, "average_best": 1, "checkpoint_minutes": 1e-9, **QUIET}
    run(ToyTask(dev_of_epoch=VALUES), tmp_path / "whole", **settings)
    for die_at in range(3 * BATCHES, 5 * BATCHES + 1):
        folder = tmp_path / str(die_at)
        with monkeypatch.context() as patched:
            dying = dying_in_save(die_at, written=written)
            patched.setattr("asr.training.loop.save_checkpoint", dying)
            with pytest.raises(KeyboardInterrupt):
                run(ToyTask(dev_of_epoch=VALUES), folder, **settings)
        if die_at == 4 * BATCHES:
            assert state_of(folder)["noisy"] is written, "the case that is meant"
        run(ToyTask(dev_of_epoch=VALUES), folder, **settings)
        assert_equal(weights(folder), weights(tmp_path / "whole"))
        assert scores(folder) == scores(tmp_path / "whole")
        assert state_of(folder)["best"] == [0.2, 6]


def test_a_stop_during_the_evaluation_that_begins_the_noise(tmp_path: Path) -> None:
    class Stops(ToyTask):
        def evaluate(self, split: str, device: torch.device, advance: Any) -> Evaluation | None:
            if self.evaluations == 3:
                os.kill(os.getpid(), signal.SIGINT)
            return super().evaluate(split, device, advance)

    run(ToyTask(dev_of_epoch=VALUES), tmp_path / "whole", epochs=6, **QUIET)
    with pytest.raises(StoppedError, match="stopped by SIGINT"):
        run(Stops(dev_of_epoch=VALUES), tmp_path / "stopped", epochs=6, **QUIET)
    assert state_of(tmp_path / "stopped")["noisy"] is False
    task = ToyTask(dev_of_epoch=VALUES)
    run(task, tmp_path / "stopped", epochs=6, **QUIET)
    assert len(task.consumed) == MEASURED + 2 * BATCHES
    assert_equal(weights(tmp_path / "stopped"), weights(tmp_path / "whole"))


@pytest.mark.parametrize("judge_start", [False, True])
def test_without_dev_data_the_noise_could_never_begin(tmp_path: Path, judge_start: bool) -> None:
    task = ToyTask(has_dev=False)
    message = "weight_noise_after: evaluations on dev data tell when the noise begins, and there"
    with pytest.raises(ConfigError, match=message):
        run(task, tmp_path, judge_start=judge_start, **QUIET)
    assert len(task.consumed) == MEASURED + (0 if judge_start else BATCHES)
    run(ToyTask(has_dev=False), tmp_path, weight_noise=0.1)
