"""Trainings of the toy in this process, and what is left of them in their folders."""

import json
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from asr.storage import load_tensors, read_json, verify_folder
from asr.training.checkpoint import save_checkpoint
from asr.training.loop import train
from asr.training.optimizer import AdamWConfig, AnyOptimizerConfig
from asr.training.settings import Settings, TrainingConfig
from asr.training.task import Outcome
from tests.training.toy import ToyBatch, ToyTask

MEASURED = 4  # batches before the first step of each run


def run(
    task: ToyTask,
    folder: Path,
    *,
    optimizer: AnyOptimizerConfig | None = None,
    recipe: Mapping[str, Any] | None = None,
    allow_changed: bool = False,
    judge_start: bool = False,
    **settings: Any,
) -> Outcome:
    config = TrainingConfig(**{"epochs": 3, "num_workers": 0, **settings})
    return train(
        task,
        Settings(
            training=config,
            optimizer=optimizer or AdamWConfig(name="adamw", learning_rate=0.05),
            seed=7,
            recipe=recipe or {},
            judge_start=judge_start,
        ),
        folder=folder,
        device=torch.device("cpu"),
        allow_changed=allow_changed,
    )


def newest(folder: Path) -> Path:
    """The last checkpoint, whole."""
    found = max((folder / "checkpoints").glob("step-*"))
    verify_folder(found)
    return found


def weights(folder: Path) -> dict[str, Tensor]:
    """Those of the last checkpoint, with the moments of its optimiser."""
    return {
        **load_tensors(newest(folder) / "model.safetensors"),
        **load_tensors(newest(folder) / "optimizer.safetensors"),
    }


def state_of(folder: Path) -> dict[str, Any]:
    """The state in the last checkpoint."""
    state: dict[str, Any] = read_json(newest(folder) / "state.json")["state"]
    return state


def assert_equal(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> None:
    assert left.keys() == right.keys()
    for name in left:
        assert torch.equal(left[name], right[name]), name


def metrics(folder: Path) -> list[dict[str, Any]]:
    return lines_of(folder / "metrics.jsonl")


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def dying_in_save(number: int, *, written: bool) -> Callable[..., Path]:
    """Saves checkpoints up to number `number`, and dies just before that one or after it."""
    saves = 0

    def save(*arguments: Any) -> Path:
        nonlocal saves
        saves += 1
        if saves < number or written:
            path = save_checkpoint(*arguments)
        if saves == number:
            raise KeyboardInterrupt
        return path

    return save


class StopAfter(ToyTask):
    """Sends the process a signal while batch number `stop_at` is computed."""

    stop_at = 0
    number = signal.SIGTERM

    def loss(self, batch: ToyBatch, device: torch.device) -> Tensor:
        if len(self.consumed) == self.stop_at:
            os.kill(os.getpid(), self.number)
        return super().loss(batch, device)


def stopping_task(
    after: int, number: signal.Signals = signal.SIGTERM, **settings: Any
) -> StopAfter:
    task = StopAfter(**settings)
    task.stop_at, task.number = after, number
    return task
