"""A training that was stopped ends in the weights of one that was not, with every optimiser."""

from pathlib import Path
from typing import Any

import pytest
import torch

from asr.errors import ModelError, StoppedError
from asr.storage import load_tensors
from asr.training.optimizer import (
    AdagradConfig,
    AdamWConfig,
    AnyOptimizerConfig,
    RmsPropConfig,
    SgdConfig,
)
from tests.training.runs import assert_equal, metrics, newest, run, stopping_task, weights
from tests.training.toy import NUM_ITEMS, ToyTask

BATCHES = NUM_ITEMS // 4
FALLING: dict[str, Any] = {"schedule": "linear", "floor": 0.1, "floor_at": 0.6}
# Each with the tensors that it keeps of a parameter.
OPTIMIZERS: dict[str, tuple[AnyOptimizerConfig, set[str]]] = {
    "torch": (SgdConfig(name="sgd", learning_rate=0.1, **FALLING), {"momentum_buffer"}),
    "textbook": (
        SgdConfig(name="sgd", style="textbook", learning_rate=0.1, weight_decay=0.01, **FALLING),
        {"velocity"},
    ),
    "textbook nesterov": (
        SgdConfig(name="sgd", style="textbook", learning_rate=0.1, nesterov=True, **FALLING),
        {"velocity"},
    ),
    "adagrad": (AdagradConfig(name="adagrad", learning_rate=0.1, **FALLING), {"squares"}),
    "rmsprop": (RmsPropConfig(name="rmsprop", learning_rate=0.02, **FALLING), {"squares"}),
    "rmsprop nesterov": (
        RmsPropConfig(name="rmsprop", learning_rate=0.02, momentum=0.5, nesterov=True),
        {"squares", "velocity"},
    ),
    "adam": (AdamWConfig(name="adam", learning_rate=0.02), {"step", "exp_avg", "exp_avg_sq"}),
}
SETTINGS: dict[str, Any] = {
    "epochs": 3, "weight_noise": 0.05, "average_best": 2, "l1": 0.01, "l2": 0.02,
}  # fmt: skip


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_resumed_equals_uninterrupted_to_the_bit(tmp_path: Path, name: str) -> None:
    optimizer, kept = OPTIMIZERS[name]
    whole = run(ToyTask(), tmp_path / "whole", optimizer=optimizer, **SETTINGS)
    stored = load_tensors(newest(tmp_path / "whole") / "optimizer.safetensors")
    assert {key.partition(".")[2] for key in stored} == kept
    assert len(stored) == 4 * len(kept), "two matrices and two vectors"
    for stop_at in (1, BATCHES - 1, BATCHES + 2, 2 * BATCHES + 3):
        folder = tmp_path / f"stopped-{stop_at}"
        with pytest.raises(StoppedError):
            run(stopping_task(4 + stop_at), folder, optimizer=optimizer, **SETTINGS)
        resumed = run(ToyTask(), folder, optimizer=optimizer, **SETTINGS)
        assert_equal(weights(folder), weights(tmp_path / "whole"))
        assert_equal(  # the mean of the best
            load_tensors(resumed.bundle / "model.safetensors"),
            load_tensors(whole.bundle / "model.safetensors"),
        )


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_noise_that_begins_at_the_best_weights_begins_with_an_empty_state(
    tmp_path: Path, name: str
) -> None:
    """The state is cleared in the middle of the training, which goes on from there."""
    optimizer, _ = OPTIMIZERS[name]
    settings = {"epochs": 5, "weight_noise": 0.05, "weight_noise_after": 1}
    values = [0.5, 0.6, 0.4, 0.3, 0.2]
    run(ToyTask(dev_values=values), tmp_path, optimizer=optimizer, **settings)
    assert newest(tmp_path).name == f"step-{5 * BATCHES:08d}"


def test_another_style_of_momentum_is_refused_on_resuming(tmp_path: Path) -> None:
    """The velocities are not those that the other style keeps."""
    run(ToyTask(), tmp_path, epochs=1, optimizer=SgdConfig(name="sgd"))
    said = "was trained with SGD, and the recipe now has TextbookSGD"
    with pytest.raises(ModelError, match=said):
        run(ToyTask(), tmp_path, optimizer=SgdConfig(name="sgd", style="textbook"))


def test_penalties_of_the_recipe_reach_the_updates(tmp_path: Path) -> None:
    """In the weights, and not in the loss: at a rate of 0.5 and a gradient of none but theirs."""

    class Flat(ToyTask):
        def loss(self, batch: Any, device: Any) -> Any:
            return 0 * super().loss(batch, device)

    task = Flat()
    given: dict[str, Any] = {"epochs": 1, "l1": 0.02, "l2": 0.1, "clip_norm": 0.0}
    config = SgdConfig(name="sgd", learning_rate=0.5, momentum=0.0)
    run(task, tmp_path, optimizer=config, average_best=1, **given)
    found = load_tensors(newest(tmp_path) / "model.safetensors")
    for name, start in task.first.items():
        expected = start.clone()
        for _ in range(BATCHES if start.ndim > 1 else 0):
            expected -= 0.5 * (0.1 * expected + 0.02 * expected.sign())
        torch.testing.assert_close(found[name], expected, rtol=1e-5, atol=1e-7)
    losses = [record["train_loss"] for record in metrics(tmp_path) if record["kind"] == "dev"]
    assert losses == [0.0]
