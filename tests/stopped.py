"""A training that runs through, and the same one stopped on its way."""

import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from asr.data.batching import Batch
from asr.errors import StoppedError
from asr.experiment import train_recipe
from asr.speech import SpeechTask
from asr.storage import load_tensors
from tests.made import quiet

STOPS = (20, 60)  # batches, those of the measurement before the first epoch among them


def whole_and_stopped(
    recipe: Path, overrides: Sequence[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Mapping[str, Tensor], Mapping[str, Tensor]]:
    """The final weights of both; the second one was stopped twice within an epoch."""
    loss, calls = SpeechTask.loss, [0]
    whole = train_recipe(recipe, overrides=overrides, out=folder / "whole", say=quiet)

    def stopping(self: SpeechTask, batch: Batch, device: torch.device) -> Tensor:
        calls[0] += 1
        if calls[0] in STOPS:
            os.kill(os.getpid(), signal.SIGTERM)
        return loss(self, batch, device)

    monkeypatch.setattr(SpeechTask, "loss", stopping)
    for _ in STOPS:
        with pytest.raises(StoppedError):
            train_recipe(recipe, overrides=overrides, out=folder / "stopped", say=quiet)
    stopped = train_recipe(recipe, overrides=overrides, out=folder / "stopped", say=quiet)
    first, second = (load_tensors(each.bundle / "model.safetensors") for each in (whole, stopped))
    return first, second
