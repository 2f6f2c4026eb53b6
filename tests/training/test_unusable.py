"""What cannot be used in a training: items that are unreadable, losses that are not finite."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from asr.errors import DataError, DivergedError
from asr.storage import load_tensors
from asr.training.optimizer import SgdConfig
from asr.training.task import BatchPlan, Skipped
from tests.training.runs import lines_of, run, weights
from tests.training.toy import NUM_ITEMS, ToyBatch, ToyTask

BATCHES = NUM_ITEMS // 4


def test_unreadable_items_are_recorded_and_the_epoch_goes_on(tmp_path: Path) -> None:
    run(ToyTask(unreadable={3: "broken", 5: "missing"}), tmp_path, epochs=2)
    records = lines_of(tmp_path / "skipped.jsonl")
    assert sorted((r["epoch"], r["id"], r["reason"]) for r in records) == [
        (1, "3", "broken"), (1, "5", "missing"), (2, "3", "broken"), (2, "5", "missing"),
    ]  # fmt: skip


def test_too_many_unreadable_items_stop_the_training(tmp_path: Path) -> None:
    task = ToyTask(unreadable=dict.fromkeys(range(4), "broken"))
    with pytest.raises(
        DataError, match=r"4 sequences of this epoch cannot be used \(see .*skipped"
    ):
        run(task, tmp_path, max_bad=3)


def test_unreadable_items_do_not_weaken_the_gradient(tmp_path: Path) -> None:
    """The loss of a batch is the mean over what is in it, not over what was planned."""
    unreadable = dict.fromkeys(range(1, NUM_ITEMS), "broken")
    run(
        ToyTask(dropout=0.0, unreadable=unreadable),
        tmp_path,
        epochs=1,
        max_bad=100,
        optimizer=SgdConfig(name="sgd", learning_rate=0.5, momentum=0.0),
        clip_norm=0,
    )
    task = ToyTask(dropout=0.0)
    task.loss(ToyBatch(("0",), task.inputs[:1], task.targets[:1]), torch.device("cpu")).backward()
    after = load_tensors(max((tmp_path / "checkpoints").glob("step-*")) / "model.safetensors")
    for name, parameter in task.model.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(after[name], parameter.detach() - 0.5 * parameter.grad)


def test_a_loss_that_is_not_finite_leaves_the_weights_alone(tmp_path: Path) -> None:
    task = ToyTask(poisoned=frozenset({2}))
    run(task, tmp_path, epochs=1)
    records = lines_of(tmp_path / "skipped.jsonl")
    assert [record["id"] for record in records] == ["2"]
    assert records[0]["reason"] == "the loss is not finite; step not made"
    assert all(torch.isfinite(value).all() for value in weights(tmp_path).values())


def test_ten_bad_batches_in_a_row_are_divergence(tmp_path: Path) -> None:
    task = ToyTask(poisoned=frozenset(range(NUM_ITEMS)))
    with pytest.raises(DivergedError, match="10 batches in a row have no finite loss") as error:
        run(task, tmp_path, epochs=5)
    assert error.value.exit_code == 6


def test_bad_batches_that_are_not_in_a_row_are_no_divergence(tmp_path: Path) -> None:
    run(ToyTask(poisoned=frozenset({2})), tmp_path, epochs=11)
    assert len(lines_of(tmp_path / "skipped.jsonl")) == 11


def test_a_step_that_was_not_made_is_told_once(tmp_path: Path) -> None:
    """It dies after the first batch of the second epoch, whose loss is not finite."""
    (poisoned, *_) = ToyTask().plan_epoch(1)[0].items

    class Dies(ToyTask):
        def loss(self, batch: ToyBatch, device: torch.device) -> Tensor:
            if len(self.consumed) == 4 + BATCHES + 1:
                raise KeyboardInterrupt
            return super().loss(batch, device)

    with pytest.raises(KeyboardInterrupt):
        run(Dies(poisoned=frozenset({poisoned})), tmp_path, epochs=2)
    run(ToyTask(poisoned=frozenset({poisoned})), tmp_path, epochs=2)
    told = [(line["epoch"], line["batch"]) for line in lines_of(tmp_path / "skipped.jsonl")]
    in_first = [poisoned in plan.items for plan in ToyTask().plan_epoch(0)].index(True)
    assert told == [(1, in_first + 1), (2, 1)]


def test_skipped_during_measurement_do_not_count(tmp_path: Path) -> None:
    task = ToyTask(unreadable={0: "broken"})
    load: Callable[[BatchPlan, int], tuple[ToyBatch | None, list[Skipped]]] = task.load_batch
    assert load(task.plan_epoch(0)[0], 0) is not None
    run(task, tmp_path, epochs=1)
    text = (tmp_path / "skipped.jsonl").read_text(encoding="utf-8")
    assert text.count("\n") == 1
