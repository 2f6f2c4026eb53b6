"""What stands in a run folder beside the checkpoints: the recipe, the versions, the end mark."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from asr.errors import AsrError, ConfigError, ModelError, shown
from asr.storage import read_json, write_json
from asr.version import __version__

FINISHED = "finished.json"
RECIPE = "recipe.json"
SIZELESS = ("optimizer", "seed", "training")  # no weight has its shape from these sections


def note_recipe(folder: Path, recipe: Mapping[str, Any], seed: int) -> list[str]:
    """Write the resolved recipe and the versions into the run folder.

    Returns:
        `key: old → new` for every setting that changed since the run began.
    """
    changed = changed_settings(folder, recipe)
    versions = {
        "asr": __version__,
        "torch": torch.__version__,
        "python": sys.version.split()[0],
        "num_threads": torch.get_num_threads(),
    }
    write_json(folder / RECIPE, {"recipe": dict(recipe), "seed": seed, "versions": versions})
    return changed


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """`key: old → new` for every setting that differs between two resolved recipes."""
    before, after = _flat(old), _flat(new)
    return [
        f"{key}: {before.get(key, 'not set')} → {after.get(key, 'not set')}"
        for key in _changed(before, after)
    ]


def changed_settings(folder: Path, recipe: Mapping[str, Any]) -> list[str]:
    """`key: old → new` for every setting that differs from the recipe noted in the run folder."""
    return differences(_noted(folder, recipe), recipe)


def trained_with(folder: Path, recipe: Mapping[str, Any]) -> str:
    """What may be why the weights of a run folder do not fit a recipe: `key = old, not new`, ….

    Returns:
        the settings that differ and can give a network its size (those of the data only when no
        other does); "" when there are none.
    """
    before, after = _flat(_noted(folder, recipe)), _flat(recipe)
    keys = [key for key in _changed(before, after) if key.split(".")[0] not in SIZELESS]
    keys = [key for key in keys if not key.startswith("data.")] or keys
    return ", ".join(f"{key} = {_as_text(before, key)}, not {_as_text(after, key)}" for key in keys)


def told_changes(
    folder: Path, recipe: Mapping[str, Any], seed: int, *, finished: bool
) -> list[str]:
    """Note the recipe, unless the training is finished; a line for every setting that changed."""
    if finished:  # what is noted stays what the model was trained with
        changed = changed_settings(folder, recipe)
        return [f"not used: {line}; to train with it, give another --out" for line in changed]
    return [f"changed: {line}" for line in note_recipe(folder, recipe, seed)]


def check_unchanged(folder: Path, before: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Return when a training goes on with the data and the tokens that it began with.

    Raises:
        ConfigError: what changed.
    """
    changed = [name for name in now if before.get(name) != now[name]]
    if changed:
        raise ConfigError(
            f"{shown(folder)}: the {' and the '.join(changed)} changed since this training began; "
            "choose another --out, or add --allow-changed to go on"
        )


def misfit(folder: Path, recipe: Mapping[str, Any], error: ModelError) -> AsrError:
    """What to raise when the weights of a run folder are of another network than the recipe's."""
    had = trained_with(folder, recipe)
    if not had:  # the program of the network changed
        return ModelError(f"{error}; give another --out")
    return ConfigError(f"{shown(folder)}: was trained with {had}; give another --out")


def mark_finished(folder: Path, epochs: int, stopped_early: bool) -> None:
    """Note in the run folder that the training is done."""
    write_json(folder / FINISHED, {"epochs": epochs, "stopped_early": stopped_early})


def is_finished(folder: Path) -> bool:
    """Whether the bundle of this run folder is that of its last checkpoint."""
    return (folder / FINISHED).exists()


def unmark_finished(folder: Path) -> None:
    """Take the mark back: the training goes on."""
    (folder / FINISHED).unlink(missing_ok=True)


def _noted(folder: Path, otherwise: Mapping[str, Any]) -> Mapping[str, Any]:
    path = folder / RECIPE
    return dict(read_json(path)["recipe"]) if path.exists() else otherwise


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    return [
        key for key in sorted(before.keys() | after.keys()) if before.get(key) != after.get(key)
    ]


def _as_text(settings: Mapping[str, Any], key: str) -> str:
    """A setting about as it is typed."""
    if key not in settings:
        return "unset"
    return shown(json.dumps(settings[key], ensure_ascii=False))


def _flat(mapping: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in mapping.items():
        if isinstance(value, Mapping):
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat
