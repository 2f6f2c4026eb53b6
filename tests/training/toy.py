"""A task that has nothing to do with speech: a small network learns the sign of a sum."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from asr.storage import save_tensors, write_json
from asr.training.task import Advance, BatchPlan, Evaluation, Skipped

NUM_ITEMS = 24
BATCH = 4


@dataclass(frozen=True)
class ToyBatch:
    names: tuple[str, ...]
    inputs: Tensor
    targets: Tensor


@dataclass
class ToyTask:
    """24 vectors, batches of 4, dropout in the network; faults can be injected."""

    dropout: float = 0.5
    content: str = "a"
    # Item → reason why it cannot be loaded.
    unreadable: dict[int, str] = field(default_factory=dict)
    # What was left out beforehand.
    excluded: tuple[Skipped, ...] = ()
    # Items whose loss is NaN.
    poisoned: frozenset[int] = frozenset()
    consumed: list[tuple[int, ...]] = field(default_factory=list)
    # Where it was asked to show something, and the history that it was given.
    shown: list[tuple[Path, Sequence[Mapping[str, float]]]] = field(default_factory=list)
    # What the evaluations give, one after the other.
    dev_values: list[float] | None = None
    # What an evaluation gives after each epoch, in whichever process; first for the first weights,
    # last for the finished model too.
    dev_of_epoch: list[float] | None = None
    has_dev: bool = True
    loss_name: str = "loss"

    def __post_init__(self) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(
            nn.Linear(3, 8), nn.Tanh(), nn.Dropout(self.dropout), nn.Linear(8, 1)
        )
        generator = torch.Generator().manual_seed(1)
        self.inputs = torch.randn(NUM_ITEMS, 3, generator=generator)
        self.targets = (self.inputs.sum(dim=1) > 0).float()
        self.first = {name: value.clone() for name, value in self.model.state_dict().items()}
        self.evaluations = 0
        self.epochs = 0

    def describe(self) -> Sequence[str]:
        return [f"{NUM_ITEMS} vectors"]

    def fingerprints(self) -> Mapping[str, str]:
        return {"training data": self.content}

    def plan_epoch(self, epoch: int) -> list[BatchPlan]:
        self.epochs = epoch + 1
        order = torch.randperm(NUM_ITEMS, generator=torch.Generator().manual_seed(epoch)).tolist()
        return [
            BatchPlan(tuple(order[start : start + BATCH]), float(BATCH))
            for start in range(0, NUM_ITEMS, BATCH)
        ]

    def load_batch(self, plan: BatchPlan, epoch: int) -> tuple[ToyBatch | None, list[Skipped]]:
        skipped = [Skipped(str(i), self.unreadable[i]) for i in plan.items if i in self.unreadable]
        items = [item for item in plan.items if item not in self.unreadable]
        if not items:
            return None, skipped
        inputs = self.inputs[items].clone()
        for row, item in enumerate(items):
            if item in self.poisoned:
                inputs[row] = torch.nan
        return ToyBatch(tuple(map(str, items)), inputs, self.targets[items]), skipped

    def ids(self, batch: ToyBatch) -> Sequence[str]:
        return batch.names

    def loss(self, batch: ToyBatch, device: torch.device) -> Tensor:
        self.consumed.append(tuple(map(int, batch.names)))
        scores = self.model(batch.inputs.to(device)).squeeze(1)
        return nn.functional.binary_cross_entropy_with_logits(
            scores, batch.targets.to(device), reduction="none"
        )

    def evaluate(self, split: str, device: torch.device, advance: Advance) -> Evaluation | None:
        if not self.has_dev or split == "test":
            return None
        advance(1, 1)
        with torch.no_grad():
            wrong = ((self.model(self.inputs).squeeze(1) > 0).float() != self.targets).float()
        value = float(wrong.mean())
        if self.dev_values is not None:
            value = self.dev_values[min(self.evaluations, len(self.dev_values) - 1)]
        if self.dev_of_epoch is not None:
            epoch = 0 if self.is_as_at_first() else self.epochs
            value = self.dev_of_epoch[min(epoch, len(self.dev_of_epoch) - 1)]
        self.evaluations += 1
        return Evaluation({"error": value}, monitor="error", examples=["an example"])

    def is_as_at_first(self) -> bool:
        now = self.model.state_dict()
        return all(torch.equal(now[name], value) for name, value in self.first.items())

    def write_bundle(self, folder: Path, facts: Mapping[str, object]) -> None:
        save_tensors(folder / "model.safetensors", self.model.state_dict())
        write_json(folder / "facts.json", facts)

    def artifacts(self, folder: Path, history: Sequence[Mapping[str, float]]) -> None:
        self.shown.append((folder, history))
