"""A recipe trained in its run folder: prepared if needed, resumed if begun."""

import json
import os
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from asr.building import build_task
from asr.data.corpus.prepared_images import find_any
from asr.devices import choose_device
from asr.errors import ConfigError, shown
from asr.lock import FolderLock
from asr.preparation import prepare
from asr.recipe import (
    AnyRecipe,
    LanguageRecipe,
    Recipe,
    TaskRecipe,
    load_recipe,
    recipe_file,
    run_folder,
)
from asr.training.loop import train
from asr.training.phase import NO_DEV
from asr.training.settings import Settings
from asr.training.task import Outcome
from asr.version import versions

PROGRAM = "prepare.py"


def train_recipe(
    recipe: Path,
    *,
    overrides: Sequence[str] = (),
    out: Path | None = None,
    corpus: Sequence[Path] = (),
    device: str = "auto",
    allow_changed: bool = False,
    say: Callable[[str], None] = print,
) -> Outcome:
    """Train a recipe, or go on with it.

    Args:
        recipe: a folder or a `.toml` file.
        overrides: `section.key=value`.
        out: the run folder; `exp/<recipe>/<variant>` when not given.
        corpus: where the corpus lies, for a preparation that is still to be done.
        device: auto, cpu, cuda or cuda:N.
        allow_changed: go on although the data or the tokens changed.
        say: is given lines for the user.

    Raises:
        AsrError: everything that `asr.recipe`, `asr.preparation` and `asr.training` raise.
    """
    resolved = load_recipe(recipe, overrides)
    chosen = choose_device(device)
    if resolved.training.precision == "float16" and chosen.type != "cuda":
        raise ConfigError('training.precision = "float16" needs a GPU; use bfloat16 on a CPU')
    folder = out or run_folder(recipe)
    resolved = _prepared(resolved, recipe_file(recipe), corpus, say)
    if resolved.training.weight_noise_after and not resolved.data.dev:
        raise ConfigError(NO_DEV)
    say(f"training in {shown(folder)}")
    command = _command(recipe, overrides, out)
    with FolderLock(folder):
        task = build_task(resolved, folder, command=command, say=say)
    settings = Settings(
        training=resolved.training,
        optimizer=resolved.optimizer,
        seed=resolved.seed,
        recipe=json.loads(resolved.model_dump_json()),
        judge_start=isinstance(resolved, Recipe) and bool(resolved.init_from),
        facts=_facts(resolved, recipe, command),
    )
    return train(task, settings, folder=folder, device=chosen, allow_changed=allow_changed)


def _prepared(
    recipe: AnyRecipe, file: Path, corpus: Sequence[Path], say: Callable[[str], None]
) -> AnyRecipe:
    """The recipe with all its manifests there: made if needed, without sets that cannot be.

    A corpus may lack a set for a declared reason (LibriSpeech without its test parts); the recipe
    then goes on without it, and says so.

    Raises:
        ConfigError: a manifest is missing and nothing here makes it.
    """
    missing = _missing(recipe)
    if not missing:
        return recipe
    folder = Path(recipe.data.train).parent
    prepared = find_any(folder)
    if prepared is None or not missing.keys() <= prepared.absent.keys():
        if not (file.parent / PROGRAM).is_file():
            names = ", ".join(map(shown, missing.values()))
            raise ConfigError(
                f"{names}: no such {_kind(recipe)}; make it with asr prepare, or correct [data]"
            )
        say(f"preparing {shown(folder)} with {shown(file.parent / PROGRAM)}")
        prepared = prepare(file, corpus=list(corpus), out=folder)
    absent = {name: prepared.absent[name] for name in _missing(recipe) if name in prepared.absent}
    for name, reason in absent.items():
        say(f"no {name} set: {reason}")
    data = recipe.data.model_copy(update=dict.fromkeys(absent, ""))
    return recipe.model_copy(update={"data": data})


def _missing(recipe: AnyRecipe) -> dict[str, Path]:
    """The sets whose manifests are named but not there."""
    named = {name: getattr(recipe.data, name) for name in ("train", "dev", "test")}
    return {name: Path(path) for name, path in named.items() if path and not Path(path).exists()}


def _kind(recipe: AnyRecipe) -> str:
    """What the data of a recipe are, for messages."""
    if isinstance(recipe, TaskRecipe):
        return "file"
    return "text" if isinstance(recipe, LanguageRecipe) else "manifest"


def _facts(resolved: AnyRecipe, recipe: Path, command: str) -> dict[str, Any]:
    """What the bundle of a recipe's own task must tell; the others know it themselves."""
    if not isinstance(resolved, TaskRecipe):
        return {}
    file = os.fspath(recipe_file(recipe))
    return {"file": file, "command": command, "recipe": resolved.model_dump(), **versions()}


def _command(recipe: Path, overrides: Sequence[str], out: Path | None) -> str:
    """What to type to make the same model again."""
    words = ["asr", "train", os.fspath(recipe)]
    for override in overrides:
        words += ["--set", override]
    if out is not None:
        words += ["--out", os.fspath(out)]
    return shlex.join(words)
