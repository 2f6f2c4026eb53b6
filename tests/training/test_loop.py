"""The loop on a task that is not speech: resuming, stopping, skipping, choosing."""

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from asr.errors import (
    ConfigError,
    DataError,
    ModelError,
    ResourceError,
    StoppedError,
)
from asr.storage import load_tensors, read_json, verify_folder
from asr.training.checkpoint import batch_seed
from asr.training.optimizer import SgdConfig
from asr.training.task import BatchPlan
from tests.training.runs import (
    StopAfter,
    assert_equal,
    lines_of,
    metrics,
    run,
    stopping_task,
    weights,
)
from tests.training.toy import NUM_ITEMS, ToyBatch, ToyTask

BATCHES = NUM_ITEMS // 4


def test_learns_the_toy(tmp_path: Path) -> None:
    outcome = run(ToyTask(dropout=0.0), tmp_path, epochs=30)
    assert outcome.dev is not None
    assert outcome.dev.value == 0.0
    verify_folder(outcome.bundle)
    assert read_json(outcome.bundle / "facts.json")["finished"] is True


# Four batches are measured before the first step of each run, so they do not count.
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("settings", [{}, {"weight_noise": 0.1, "accumulate": 2}])
def test_resumed_equals_uninterrupted_to_the_bit(
    tmp_path: Path, workers: int, settings: dict[str, Any]
) -> None:
    settings = {"epochs": 2, **settings}
    whole = ToyTask()
    run(whole, tmp_path / "whole", num_workers=workers, **settings)
    expected = weights(tmp_path / "whole")
    total = 2 * BATCHES
    for stop_at in range(0, total, 2 if workers else 1):
        folder = tmp_path / f"stopped-{stop_at}"
        first = stopping_task(4 + stop_at)
        with pytest.raises(StoppedError, match="stopped by SIGTERM; the same command continues"):
            run(first, folder, num_workers=workers, **settings)
        second = ToyTask()
        run(second, folder, num_workers=workers, **settings)
        assert_equal(weights(folder), expected)
        consumed = first.consumed[4:] + second.consumed[4 if second.consumed else 0 :]
        assert consumed == whole.consumed[4:], "no batch is left out and none repeated"


def test_a_stop_during_evaluation_loses_nothing(tmp_path: Path) -> None:
    run(ToyTask(), tmp_path / "whole")

    class StopsInEvaluation(ToyTask):
        def evaluate(self, split: str, device: torch.device, advance: Any) -> Any:
            if self.evaluations == 1:
                os.kill(os.getpid(), signal.SIGINT)
            return super().evaluate(split, device, advance)

    with pytest.raises(StoppedError, match="stopped by SIGINT") as stopped:
        run(StopsInEvaluation(), tmp_path / "stopped")
    assert stopped.value.status == 130
    task = ToyTask()
    run(task, tmp_path / "stopped")
    assert len(task.consumed) == 4 + BATCHES, "only the third epoch is left"
    assert_equal(weights(tmp_path / "stopped"), weights(tmp_path / "whole"))
    kinds = [(record["kind"], record["step"]) for record in metrics(tmp_path / "stopped")]
    assert len(kinds) == len(set(kinds)), "every line stands once"


def test_a_finished_run_says_so_and_does_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(ToyTask(), tmp_path)
    before = weights(tmp_path)
    again = ToyTask()
    assert run(again, tmp_path).already_finished
    assert again.consumed == []
    assert "this training is finished (3 epochs)" in capsys.readouterr().err
    assert_equal(weights(tmp_path), before)


class Normalised(ToyTask):
    """A network with BatchNorm: a forward pass changes it, not only an update."""

    def __post_init__(self) -> None:
        super().__post_init__()
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Linear(8, 1))


class StoppingNormalised(StopAfter, Normalised):
    pass


def test_measuring_an_epoch_leaves_no_trace_in_a_resumed_training(tmp_path: Path) -> None:
    run(Normalised(), tmp_path / "whole")
    task = StoppingNormalised()
    task.stop_at = 4 + 7
    with pytest.raises(StoppedError):
        run(task, tmp_path / "stopped")
    run(Normalised(), tmp_path / "stopped")
    assert_equal(weights(tmp_path / "stopped"), weights(tmp_path / "whole"))


def test_a_loss_that_is_not_finite_leaves_the_running_means_alone(tmp_path: Path) -> None:
    run(Normalised(poisoned=frozenset({2})), tmp_path, epochs=1)
    assert all(torch.isfinite(value).all() for value in weights(tmp_path).values())


def test_the_time_of_an_interrupted_epoch_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock moves by one second with every batch; the first four are measured."""
    now = [0.0]

    class Ticking(StopAfter):
        def loss(self, batch: ToyBatch, device: torch.device) -> Tensor:
            now[0] += 1.0
            return super().loss(batch, device)

    monkeypatch.setattr("asr.training.loop.time.monotonic", lambda: now[0])
    task = Ticking()
    task.stop_at = 4 + 3
    with pytest.raises(StoppedError):
        run(task, tmp_path, checkpoint_minutes=100)
    newest = max((tmp_path / "checkpoints").glob("step-*"))
    assert read_json(newest / "state.json")["state"]["seconds"] == 4.0


def test_another_optimizer_is_refused_on_resuming(tmp_path: Path) -> None:
    run(ToyTask(), tmp_path, epochs=1, optimizer=SgdConfig(name="sgd"))
    with pytest.raises(ModelError, match="was trained with SGD, and the recipe now has AdamW"):
        run(ToyTask(), tmp_path)


def test_a_training_whose_checkpoints_were_deleted_begins_anew(tmp_path: Path) -> None:
    """Of the old one neither the end mark nor the candidates nor the log counts."""
    values = [0.5, 0.4, 0.3]
    fresh = run(ToyTask(dev_values=values), tmp_path / "fresh", epochs=2)
    run(ToyTask(dev_values=[0.0]), tmp_path)
    shutil.rmtree(tmp_path / "checkpoints")
    outcome = run(ToyTask(dev_values=values), tmp_path, epochs=2)
    assert not outcome.already_finished
    assert_equal(
        load_tensors(outcome.bundle / "model.safetensors"),
        load_tensors(fresh.bundle / "model.safetensors"),
    )
    dev = [record for record in metrics(tmp_path) if record["kind"] == "dev"]
    assert [(record["epoch"], record["error"]) for record in dev] == [(1, 0.5), (2, 0.4)]


def test_an_early_stopped_training_goes_on_without_patience(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = [0.5, 0.2, 0.4, 0.4, 0.4]
    run(ToyTask(dev_values=values), tmp_path, epochs=6, patience=2)
    assert run(ToyTask(), tmp_path, epochs=6, patience=2).already_finished
    assert "finished (4 epochs); to go on: --set training.patience=0" in capsys.readouterr().err
    assert not run(ToyTask(), tmp_path, epochs=6, patience=0).already_finished
    assert read_json(tmp_path / "finished.json") == {"epochs": 6, "stopped_early": False}


def test_an_extended_training_that_was_stopped_is_not_finished(tmp_path: Path) -> None:
    """Its bundle may be newer than the one that the end mark was about."""
    run(ToyTask(), tmp_path, epochs=1)
    task = stopping_task(4 + 2)
    with pytest.raises(StoppedError):
        run(task, tmp_path, epochs=2)
    assert not run(ToyTask(), tmp_path, epochs=1).already_finished


def test_the_final_scores_stand_in_the_log_once(tmp_path: Path) -> None:
    for epochs in (1, 1, 2, 2):
        run(ToyTask(), tmp_path, epochs=epochs)
    finals = [record for record in metrics(tmp_path) if record["kind"] == "final_dev"]
    assert [record["step"] for record in finals] == [2 * BATCHES]


def test_what_is_left_out_is_told_once_however_the_training_ends(tmp_path: Path) -> None:
    """It dies in the batch that lacks an item, after a checkpoint of the batch before."""
    (unreadable, *_) = ToyTask().plan_epoch(0)[2].items

    class Dies(ToyTask):
        def loss(self, batch: ToyBatch, device: torch.device) -> Tensor:
            if len(self.consumed) == 4 + 2:
                raise KeyboardInterrupt
            return super().loss(batch, device)

    faults = {unreadable: "broken"}
    with pytest.raises(KeyboardInterrupt):
        run(Dies(unreadable=faults), tmp_path, epochs=1, checkpoint_minutes=1e-9)
    assert len(lines_of(tmp_path / "skipped.jsonl")) == 1
    run(ToyTask(unreadable=faults), tmp_path, epochs=1)
    assert lines_of(tmp_path / "skipped.jsonl") == [
        {"epoch": 1, "batch": 3, "id": str(unreadable), "reason": "broken"}
    ]


def test_a_finished_run_can_be_extended(tmp_path: Path) -> None:
    run(ToyTask(), tmp_path)
    task = ToyTask()
    outcome = run(task, tmp_path, epochs=5)
    assert not outcome.already_finished
    assert len(task.consumed) == 4 + 2 * BATCHES


def test_changed_data_is_refused_unless_allowed(tmp_path: Path) -> None:
    run(ToyTask(), tmp_path, epochs=1)
    with pytest.raises(ConfigError, match="the training data changed since this training began"):
        run(ToyTask(content="b"), tmp_path)
    run(ToyTask(content="b"), tmp_path, allow_changed=True)
    assert not run(ToyTask(content="b"), tmp_path, epochs=4).already_finished


def test_changed_settings_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(ToyTask(), tmp_path, epochs=1, recipe={"a": {"b": 1}})
    run(ToyTask(), tmp_path, epochs=2, recipe={"a": {"b": 2}, "c": 3})
    shown = capsys.readouterr().err
    assert "changed: a.b: 1 → 2" in shown
    assert "changed: c: not set → 3" in shown


def test_settings_that_a_finished_run_does_not_have_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(ToyTask(), tmp_path, epochs=1, recipe={"a": {"b": 1}})
    for _ in range(2):  # the recipe of the run stays what it was trained with
        capsys.readouterr()
        assert run(ToyTask(), tmp_path, epochs=1, recipe={"a": {"b": 2}}).already_finished
        told = capsys.readouterr().err
        assert "not used: a.b: 1 → 2; to train with it, give another --out" in told
        assert "changed:" not in told
    run(ToyTask(), tmp_path, epochs=1, recipe={"a": {"b": 1}})
    assert "not used" not in capsys.readouterr().err


def test_every_batch_has_the_seed_of_its_place(tmp_path: Path) -> None:
    seeds: list[int] = []

    class Seeded(ToyTask):
        def loss(self, batch: ToyBatch, device: torch.device) -> Tensor:
            seeds.append(torch.initial_seed())
            return super().loss(batch, device)

    run(Seeded(), tmp_path, epochs=2, accumulate=2)
    places = [(epoch, position) for epoch in range(2) for position in range(BATCHES)]
    assert seeds[4:] == [batch_seed(7, epoch, position) for epoch, position in places]


def test_the_scaling_of_float16_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the CPU, where it has no use, but works: it counts the steps until it scales up."""
    scaler = torch.amp.grad_scaler.GradScaler
    monkeypatch.setattr(
        "asr.training.step.torch.amp.grad_scaler.GradScaler",
        lambda device, enabled: scaler("cpu", init_scale=4.0),
    )
    with pytest.raises(StoppedError):
        run(stopping_task(4 + 8), tmp_path)
    run(ToyTask(), tmp_path)
    newest = max((tmp_path / "checkpoints").glob("step-*"))
    state = read_json(newest / "state.json")["state"]["scaler"]
    assert (state["scale"], state["_growth_tracker"]) == (4.0, 3 * BATCHES)


def test_early_stopping_and_the_best_epoch(tmp_path: Path) -> None:
    task = ToyTask(dev_values=[0.5, 0.2, 0.4, 0.4, 0.4, 0.1])
    run(task, tmp_path, epochs=9, patience=2, average_best=1)
    evaluated = [record for record in metrics(tmp_path) if record["kind"] == "dev"]
    assert [record["epoch"] for record in evaluated] == [1, 2, 3, 4]
    assert run(ToyTask(), tmp_path, epochs=9, patience=2).already_finished


def test_the_best_weights_become_the_bundle(tmp_path: Path) -> None:
    seen: list[dict[str, Tensor]] = []

    class Remembers(ToyTask):
        def evaluate(self, split: str, device: torch.device, advance: Any) -> Any:
            if split == "dev":
                seen.append({k: v.clone() for k, v in self.model.state_dict().items()})
            return super().evaluate(split, device, advance)

    task = Remembers(dev_values=[0.3, 0.1, 0.2, 0.1])
    outcome = run(task, tmp_path, average_best=1)
    assert_equal(load_tensors(outcome.bundle / "model.safetensors"), seen[1])


@pytest.mark.parametrize(("averaged_value", "is_used"), [(0.05, True), (0.15, False)])
def test_the_average_is_used_only_when_it_is_better(
    tmp_path: Path, averaged_value: float, is_used: bool
) -> None:
    task = ToyTask(dev_values=[0.3, 0.1, 0.2, averaged_value, 0.1])
    seen: list[dict[str, Tensor]] = []
    original = task.evaluate

    def evaluate(split: str, device: torch.device, advance: Any) -> Any:
        if split == "dev":
            seen.append({k: v.clone() for k, v in task.model.state_dict().items()})
        return original(split, device, advance)

    task.evaluate = evaluate  # type: ignore[method-assign]
    outcome = run(task, tmp_path, average_best=2)
    written = load_tensors(outcome.bundle / "model.safetensors")
    mean = {name: (seen[1][name] + seen[2][name]) / 2 for name in seen[1]}
    if is_used:
        for name in mean:
            torch.testing.assert_close(written[name], mean[name])
    else:
        assert_equal(written, seen[1])


def test_a_task_without_dev_data_keeps_the_last_weights(tmp_path: Path) -> None:
    task = ToyTask(has_dev=False)
    outcome = run(task, tmp_path)
    assert outcome.dev is None
    assert_equal(load_tensors(outcome.bundle / "model.safetensors"), task.model.state_dict())


def test_nothing_to_train_on(tmp_path: Path) -> None:
    class Empty(ToyTask):
        def plan_epoch(self, epoch: int) -> list[BatchPlan]:
            return []

    with pytest.raises(DataError, match="there is nothing to train on"):
        run(Empty(), tmp_path)


def test_what_cannot_be_written_is_a_resource_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("asr.training.progress._append", full)
    with pytest.raises(ResourceError, match="written: No space left on device; free some space"):
        run(ToyTask(unreadable={1: "broken"}), tmp_path)


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    class Nested(ToyTask):
        def plan_epoch(self, epoch: int) -> list[BatchPlan]:
            with pytest.raises(ConfigError, match=f"in use by process {os.getpid()}"):
                run(ToyTask(), tmp_path)
            return super().plan_epoch(epoch)

    run(Nested(), tmp_path, epochs=1)


def test_a_damaged_checkpoint_is_passed_over_aloud(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(StoppedError):
        run(stopping_task(4 + 8), tmp_path)
    newest = max((tmp_path / "checkpoints").glob("step-*"))
    file = newest / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))
    run(ToyTask(), tmp_path)
    shown = capsys.readouterr().err
    assert "passed over a damaged checkpoint" in shown
    assert "checksum differs" in shown
    run(ToyTask(), tmp_path / "whole")
    assert_equal(weights(tmp_path), weights(tmp_path / "whole"))
