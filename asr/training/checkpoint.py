"""Checkpoints from which a training continues to the bit.

A checkpoint is a folder of `asr.storage`: `model.safetensors`, `optimizer.safetensors` and
`state.json`, hashed and renamed into place. No random generator is stored, because every batch
seeds its own (`batch_seed`), and no sampler, because the plan of an epoch is a function of the
epoch: the position in it is enough.
"""

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from asr.errors import DivergedError, ModelError, shown
from asr.models.state import load_weights
from asr.storage import (
    NewerFormatError,
    folder_writer,
    is_valid,
    load_tensors,
    read_json,
    save_tensors,
    text_hash,
    verify_folder,
    write_json,
)
from asr.training.task import BatchPlan

KEEP_LAST = 2
LATER = frozenset({"noisy"})  # fields of the state that older checkpoints lack: they have defaults


class MisfitError(ModelError):
    """A checkpoint that is intact, with the weights of another network than the model's."""


@dataclass(slots=True)
class TrainingState:
    """Where a training stands, besides the weights and the optimiser.

    Attributes:
        step: updates of the weights so far.
        epoch: epochs finished and evaluated.
        position: batches consumed in the current epoch.
        plan: the hash of the batches of the current epoch.
        best: the lowest monitored value so far, with its epoch; None before the first evaluation.
        stale: evaluations in a row without improvement.
        non_finite: batches in a row that gave no finite loss or gradient.
        skipped: sequences of the current epoch that were left out.
        seconds: time spent computing, over all runs.
        fingerprints: what must not change on resuming.
        scaler: the state of the float16 loss scaling.
        noisy: a training that was quiet at first has gone on to weight noise.
    """

    step: int = 0
    epoch: int = 0
    position: int = 0
    plan: str = ""
    best: tuple[float, int] | None = None
    stale: int = 0
    non_finite: int = 0
    skipped: int = 0
    seconds: float = 0.0
    fingerprints: dict[str, str] = field(default_factory=dict)
    scaler: dict[str, float] = field(default_factory=dict)
    noisy: bool = False


def batch_seed(seed: int, epoch: int, position: int) -> int:
    """The seed of everything random in one batch: dropout, augmentation, weight noise."""
    digest = hashlib.sha256(f"{seed} {epoch} {position}".encode("ascii")).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def plan_hash(plans: Sequence[BatchPlan]) -> str:
    """What tells the batches of an epoch from others."""
    return text_hash(repr([plan.items for plan in plans]))


def save_checkpoint(
    folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, state: TrainingState
) -> Path:
    """Write `folder/step-…`, read it back, and only then delete all but the last two.

    Raises:
        ResourceError: it cannot be written; the older checkpoints are untouched.
        ModelError: what was read back is not what was written (a failing disk).
        DivergedError: the weights are not finite.
    """
    final = folder / f"step-{state.step:08d}"
    if not all(torch.isfinite(value).all() for value in model.state_dict().values()):
        raise DivergedError(
            f"{shown(final)}: weights are not finite; not saved. Lower optimizer.learning_rate"
        )
    with folder_writer(final) as temporary:
        save_tensors(temporary / "model.safetensors", model.state_dict())
        tensors, scalars = _flat_optimizer(optimizer)
        save_tensors(temporary / "optimizer.safetensors", tensors)
        write_json(
            temporary / "state.json",
            {
                "state": asdict(state),
                "optimizer": {"kind": type(optimizer).__name__, "scalars": scalars},
                "torch": torch.__version__,
                "num_threads": torch.get_num_threads(),
            },
        )
    verify_folder(final)
    _prune(folder, keep=final)
    return final


def has_checkpoint(folder: Path) -> bool:
    """Whether a training in this folder would be resumed: it holds a checkpoint, intact or not."""
    return bool(_checkpoints(folder))


def load_latest(
    folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[TrainingState, list[str]] | None:
    """Restore the newest valid checkpoint; None when there is no checkpoint at all.

    Returns:
        the state, and a line about every newer checkpoint that was invalid.

    Raises:
        MisfitError: its weights do not fit the model.
        ModelError: there are checkpoints but none is valid, or it does not fit the optimiser, or
            was made by a newer version.
    """
    folders = _checkpoints(folder)
    complaints: list[str] = []
    for candidate in folders:
        try:
            verify_folder(candidate)
        except NewerFormatError:
            raise  # intact: passing over it would throw away what it holds
        except ModelError as error:
            complaints.append(f"passed over a damaged checkpoint: {error}")
            continue
        return _load(candidate, model, optimizer), complaints
    if folders:
        raise ModelError(
            f"{shown(folder)}: none of {len(folders)} checkpoints is intact; delete the folder to "
            f"start again ({complaints[0]})"
        )
    return None


def average_weights(paths: list[Path]) -> dict[str, Tensor]:
    """The mean of the weights in several safetensors files; integers come from the first."""
    first = load_tensors(paths[0])
    sums = {name: tensor.double() for name, tensor in first.items()}
    for path in paths[1:]:
        for name, tensor in load_tensors(path).items():
            sums[name] = sums[name] + tensor.double()
    return {
        name: (sums[name] / len(paths)).to(tensor.dtype) if tensor.is_floating_point() else tensor
        for name, tensor in first.items()
    }


def _load(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> TrainingState:
    try:
        load_weights(model, folder / "model.safetensors")
    except ModelError as error:  # the folder has been verified
        raise MisfitError(str(error)) from error
    content = read_json(folder / "state.json")
    kind, now = content["optimizer"]["kind"], type(optimizer).__name__
    if kind != now:
        raise ModelError(
            f"{shown(folder)}: was trained with {kind}, and the recipe now has {now}; set "
            "[optimizer] back, or choose another --out"
        )
    tensors = load_tensors(folder / "optimizer.safetensors")
    _restore_optimizer(optimizer, tensors, content["optimizer"]["scalars"], folder)
    values: dict[str, Any] = content["state"]
    known = {part.name for part in fields(TrainingState)}
    if not known - LATER <= set(values) <= known:
        raise ModelError(f"{shown(folder)}: state.json is of another version; start a new run")
    if values["best"] is not None:
        values["best"] = (float(values["best"][0]), int(values["best"][1]))
    return TrainingState(**values)


def _flat_optimizer(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], list[Any]]:
    """The optimiser's state as named tensors, and what is no tensor as JSON."""
    tensors: dict[str, Tensor] = {}
    scalars: list[Any] = []
    for index, values in optimizer.state_dict()["state"].items():
        for name, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"{index}.{name}"] = value
            else:
                scalars.append([index, name, value])
    return tensors, scalars


def _restore_optimizer(
    optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], scalars: list[Any], folder: Path
) -> None:
    state: dict[int, dict[str, Any]] = {}
    for key, tensor in tensors.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = tensor
    for index, name, value in scalars:
        state.setdefault(int(index), {})[name] = value
    shapes = [p.shape for group in optimizer.param_groups for p in group["params"]]
    for number, values in state.items():
        kept = [value for value in values.values() if isinstance(value, Tensor) and value.ndim]
        if number >= len(shapes) or any(value.shape != shapes[number] for value in kept):
            raise ModelError(
                f"{shown(folder)}: the optimiser's state is of another model, or other parts of it "
                "were trained; choose another --out"
            )
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _checkpoints(folder: Path) -> list[Path]:
    """The checkpoints, intact or not, the one of the highest step first."""
    named = [path for path in folder.glob("step-*") if path.name[5:].isdecimal()]
    return sorted(named, key=_step, reverse=True)


def _step(path: Path) -> int:
    return int(path.name[5:])


def _prune(folder: Path, keep: Path) -> None:
    """Delete valid checkpoints beyond the newest two; invalid ones neither count nor stay."""
    older = [path for path in _checkpoints(folder) if _step(path) < _step(keep)]
    valid = 1
    for path in older:
        if valid < KEEP_LAST and is_valid(path):
            valid += 1
        else:
            shutil.rmtree(path, ignore_errors=True)
