"""What stands in a run folder beside the checkpoints: the recipe, the versions, the end mark."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from asr.storage import read_json, write_json
from asr.version import __version__

FINISHED = "finished.json"
RECIPE = "recipe.json"


def note_recipe(folder: Path, recipe: Mapping[str, Any], seed: int) -> list[str]:
    """Write the resolved recipe and the versions into the run folder.

    Returns:
        `key: old → new` for every setting that changed since the run began.
    """
    path = folder / RECIPE
    old = read_json(path)["recipe"] if path.exists() else recipe
    versions = {
        "asr": __version__,
        "torch": torch.__version__,
        "python": sys.version.split()[0],
        "num_threads": torch.get_num_threads(),
    }
    write_json(path, {"recipe": dict(recipe), "seed": seed, "versions": versions})
    return differences(old, recipe)


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """`key: old → new` for every setting that differs between two resolved recipes."""
    before, after = _flat(old), _flat(new)
    return [
        f"{key}: {before.get(key, 'not set')} → {after.get(key, 'not set')}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    ]


def mark_finished(folder: Path, epochs: int, stopped_early: bool) -> None:
    """Note in the run folder that the training is done."""
    write_json(folder / FINISHED, {"epochs": epochs, "stopped_early": stopped_early})


def is_finished(folder: Path) -> bool:
    """Whether the bundle of this run folder is that of its last checkpoint."""
    return (folder / FINISHED).exists()


def unmark_finished(folder: Path) -> None:
    """Take the mark back: the training goes on."""
    (folder / FINISHED).unlink(missing_ok=True)


def _flat(mapping: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in mapping.items():
        if isinstance(value, Mapping):
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat
