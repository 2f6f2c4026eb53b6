"""The weights of the best evaluations, kept for the final average."""

import math
import shutil
from pathlib import Path

from torch import Tensor, nn

from asr.models.state import load_weights
from asr.storage import folder_writer, is_valid, read_json, save_tensors, write_json
from asr.training.checkpoint import average_weights


class Candidates:
    """Up to `keep` sets of weights with the lowest monitored value, in `folder/epoch-…`."""

    def __init__(self, folder: Path, *, keep: int) -> None:
        self._folder = folder
        self._keep = keep

    @property
    def count(self) -> int:
        """How many sets are kept."""
        return min(self._keep, len(self._ranked()))

    def add(self, model: nn.Module, epoch: int, value: float) -> None:
        """Keep the model's weights when `value` is among the lowest."""
        ranked = self._ranked()
        if len(ranked) >= self._keep and (value, epoch) >= ranked[self._keep - 1][:2]:
            return
        with folder_writer(self._folder / f"epoch-{epoch:05d}") as temporary:
            save_tensors(temporary / "model.safetensors", model.state_dict())
            write_json(temporary / "value.json", {"value": value, "epoch": epoch})
        for _, _, folder in self._ranked()[self._keep :]:
            shutil.rmtree(folder, ignore_errors=True)

    def drop_after(self, epoch: int) -> None:
        """Delete the sets of later epochs, which a training that goes on has not reached."""
        for _, made_in, folder in self._ranked():
            if made_in > epoch:
                shutil.rmtree(folder, ignore_errors=True)

    def load_best(self, model: nn.Module) -> int | None:
        """Load the best set into the model; its epoch, or None when there is no set."""
        ranked = self._ranked()
        if not ranked:
            return None
        _, epoch, folder = ranked[0]
        load_weights(model, folder / "model.safetensors")
        return epoch

    def best_value(self) -> float:
        """The lowest monitored value of the kept sets; infinity when there is none."""
        ranked = self._ranked()
        return ranked[0][0] if ranked else math.inf

    def average(self) -> dict[str, Tensor] | None:
        """The mean of the kept sets, or None when there are fewer than two."""
        ranked = self._ranked()[: self._keep]
        if len(ranked) < 2:
            return None
        return average_weights([folder / "model.safetensors" for _, _, folder in ranked])

    def _ranked(self) -> list[tuple[float, int, Path]]:
        """(value, epoch, folder), best first; of equal values the earlier epoch."""
        found = []
        for folder in self._folder.glob("epoch-*[0-9]"):
            if is_valid(folder):
                content = read_json(folder / "value.json")
                found.append((float(content["value"]), int(content["epoch"]), folder))
        return sorted(found)
