"""What the loop needs to know of a model: the `Task` protocol. Nothing here is about speech."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """A batch before it is loaded.

    Attributes:
        items: indices of its sequences, for the task alone.
        size: how much work it is (frames, seconds, tokens …), padding included.
    """

    items: tuple[int, ...]
    size: float


@dataclass(frozen=True, slots=True)
class Skipped:
    """A sequence that was left out, and why: a line of the run's `skipped.jsonl`."""

    id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How good the model is on held-out data.

    Attributes:
        metrics: named numbers, all finite.
        monitor: the metric that chooses the best model; lower is better.
        examples: lines to show a person, such as sample decodes.
    """

    metrics: Mapping[str, float]
    monitor: str
    examples: Sequence[str] = field(default=())

    @property
    def value(self) -> float:
        """The monitored metric."""
        return self.metrics[self.monitor]


BatchT = TypeVar("BatchT")

# Called with (done, total) as an evaluation proceeds; may raise to stop it.
Advance = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a training ended.

    Attributes:
        bundle: the folder of the finished model.
        dev: its scores on the dev data; None without such data or when nothing had to be done.
        test: its scores on the test data, likewise.
        already_finished: nothing had to be done.
    """

    bundle: Path
    dev: Evaluation | None
    test: Evaluation | None
    already_finished: bool = False


class Task(Protocol[BatchT]):
    """A model with its data and its loss.

    Everything that is random must come from torch's global generator, which the loop seeds anew for
    every batch, or be a function of the epoch: that makes a resumed training equal to an
    uninterrupted one to the bit.
    """

    @property
    def model(self) -> nn.Module:
        """The network, whose state dict is all there is to save."""
        ...

    @property
    def loss_name(self) -> str:
        """What the mean of `loss` is called in the lines of the training: "loss", say."""
        ...

    @property
    def excluded(self) -> Sequence[Skipped]:
        """What was left out before the training, and why."""
        ...

    def describe(self) -> Sequence[str]:
        """Lines for the start of the training, such as how much data there is."""
        ...

    def fingerprints(self) -> Mapping[str, str]:
        """Hashes of what must not change when a training is resumed (data, tokens …)."""
        ...

    def plan_epoch(self, epoch: int) -> Sequence[BatchPlan]:
        """The batches of an epoch in order: a function of the epoch alone."""
        ...

    def load_batch(self, plan: BatchPlan, epoch: int) -> tuple[BatchT | None, Sequence[Skipped]]:
        """The batch (None when nothing of it can be used) and what was left out of it.

        Runs in background threads, several at once.
        """
        ...

    def ids(self, batch: BatchT) -> Sequence[str]:
        """The names of the B sequences of a batch."""
        ...

    def loss(self, batch: BatchT, device: torch.device) -> Tensor:
        """(B,) losses of the sequences, differentiable; `inf` or NaN where there is none."""
        ...

    def evaluate(self, split: str, device: torch.device, advance: Advance) -> Evaluation | None:
        """The scores on `split` ("dev" or "test"), or None when there is no such data."""
        ...

    def write_bundle(self, folder: Path, facts: Mapping[str, object]) -> None:
        """Write the model, as a user will load it, into an empty folder."""
        ...

    def artifacts(self, folder: Path, history: Sequence[Mapping[str, float]]) -> None:
        """Write what a person wants to see of the model (samples, pictures) into a folder.

        It is there only if something is written. `history` has what each evaluation found:
        `epoch`, `train_loss` and the metrics.
        """
        ...
