"""What most tasks have in common, for those that recipes bring themselves."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from asr.config import Config
from asr.errors import ModelError, shown
from asr.storage import (
    MANIFEST,
    read_json,
    save_tensors,
    verify_folder,
    write_atomically,
    write_json,
)
from asr.training.task import BatchPlan, Skipped

WEIGHTS = "model.safetensors"
DESCRIPTION = "task.json"


class TaskData(Config):
    """The section `[data]` of a recipe that brings its task: files, or nothing."""

    train: str = ""
    dev: str = ""  # chooses the best model; empty: the last one
    test: str = ""  # scored once, at the end


def is_task_bundle(folder: Path) -> bool:
    """Whether a folder is the bundle of a task that a recipe brought; nothing in it is read."""
    return (folder / DESCRIPTION).is_file() and (folder / MANIFEST).is_file()


def read_task_bundle(folder: Path) -> Mapping[str, Any]:
    """The facts of the bundle of a task that a recipe brought, verified.

    Raises:
        ModelError: damaged.
    """
    verify_folder(folder)
    facts = read_json(folder / DESCRIPTION)
    if not isinstance(facts, dict):
        raise ModelError(f"{shown(folder / DESCRIPTION)}: needs an object with facts")
    return facts


class PlainTask:
    """A model with items that are all alike: shuffled, cut into batches, none left out.

    A subclass adds `fingerprints`, `load_batch`, `ids`, `loss` and `evaluate` of
    `asr.training.task.Task`, and whatever of the rest it wants otherwise.
    """

    loss_name = "loss"

    def __init__(self, model: nn.Module, *, num_items: int, batch_size: int, seed: int) -> None:
        """Keep what the methods need.

        Args:
            model: the network.
            num_items: in the training set.
            batch_size: items of a batch; the last one of an epoch may be smaller.
            seed: of the order.
        """
        self.model = model
        self.num_items, self.batch_size, self.seed = num_items, batch_size, seed

    @property
    def excluded(self) -> Sequence[Skipped]:
        """Nothing."""
        return ()

    def describe(self) -> Sequence[str]:
        """How many items there are."""
        return [f"train: {self.num_items:,} items, {self.batch_size} in a batch"]

    def plan_epoch(self, epoch: int) -> list[BatchPlan]:
        """All items in an order that follows from the seed and the epoch."""
        order = np.random.default_rng((self.seed, epoch)).permutation(self.num_items).tolist()
        batches = [
            order[begin : begin + self.batch_size]
            for begin in range(0, self.num_items, self.batch_size)
        ]
        return [BatchPlan(tuple(batch), float(len(batch))) for batch in batches]

    def write_bundle(self, folder: Path, facts: Mapping[str, Any]) -> None:
        """Write the weights, what is known of them, and a card for people."""
        save_tensors(folder / WEIGHTS, self.model.state_dict())
        write_json(folder / DESCRIPTION, dict(facts))
        write_atomically(folder / "README.md", task_card(self.model, facts))

    def artifacts(self, folder: Path, history: Sequence[Mapping[str, float]]) -> None:
        """Nothing to see."""


def task_card(model: nn.Module, facts: Mapping[str, Any]) -> str:
    """The model card of a task that a recipe brings."""
    parameters = sum(parameter.numel() for parameter in model.parameters())
    lines = ["# A model made by `asr train`", "", f"{parameters:,} parameters."]
    if command := facts.get("command"):
        lines += ["", f"    {command}"]
    for split in ("dev", "test"):
        scores = facts.get(split)
        if isinstance(scores, Mapping):
            listed = ", ".join(f"{name} {value:.4g}" for name, value in scores.items())
            lines += ["", f"{split}: {listed}."]
    if not facts.get("finished", False):
        lines += ["", "The training was not finished when this was written."]
    lines += ["", "It holds no code: the recipe's folder has the network."]
    return "\n".join(lines) + "\n"
