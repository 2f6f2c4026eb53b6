"""What a finished training has to show, made again: samples and pictures of its model."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from asr.building import build_task
from asr.devices import choose_device
from asr.errors import ConfigError, ModelError, shown
from asr.models.state import load_state
from asr.recipe import TaskRecipe, parse_recipe, recipe_of
from asr.storage import load_tensors, read_json, verify_folder
from asr.training.loop import ARTIFACTS
from asr.training.plain_task import DESCRIPTION, WEIGHTS, is_task_bundle, read_task_bundle
from asr.training.progress import read_history
from asr.training.run import RECIPE, trained_with

Identities = dict[Path, tuple[int, int]]


def show_run(
    run: Path,
    *,
    overrides: Sequence[str] = (),
    out: Path | None = None,
    device: str = "auto",
    say: Callable[[str], None] = print,
) -> list[Path]:
    """Let the task of a run folder show what its best model can do.

    The recipe's `task.py` is run.

    Args:
        run: the run folder, with a bundle `best/`.
        overrides: `section.key=value`, such as what is to be shown.
        out: where it goes; `RUN/artifacts/final` when not given.
        device: auto, cpu, cuda or cuda:N.
        say: is given lines for the user.

    Returns:
        The files that it wrote.

    Raises:
        ConfigError: no such run, its recipe is gone, its network is another one by the overrides,
            or it has nothing to show.
        ModelError: its model is damaged or does not fit the recipe.
    """
    _check_run(run)
    file = _recipe_of(run)
    chosen = choose_device(device)
    recipe = parse_recipe(dict(read_json(run / RECIPE)["recipe"]), file, overrides)
    if isinstance(recipe, TaskRecipe):
        say(f"running {shown(file.parent / 'task.py')}")
    task = build_task(recipe, run, command=f"asr artifacts {os.fspath(run)}", say=say)
    verify_folder(run / "best")
    tensors = load_tensors(run / "best" / WEIGHTS)
    try:
        load_state(task.model, tensors, shown(run / "best"))
    except ModelError as error:
        had = trained_with(run, json.loads(recipe.model_dump_json()))
        if not had:  # the program of the network changed
            raise
        raise ConfigError(
            f"{shown(run)}: was trained with {had}; a setting of the trained network cannot be "
            "changed, leave it out"
        ) from error
    task.model.to(chosen).eval()
    folder = out or run / ARTIFACTS / "final"
    before = _identities(folder)
    torch.manual_seed(recipe.seed)
    task.artifacts(folder, read_history(run))
    written = [path for path, now in _identities(folder).items() if before.get(path) != now]
    if not written:
        raise ConfigError(f"{shown(run)}: its task has nothing to show; try asr evaluate")
    return sorted(written)


def _check_run(run: Path) -> None:
    """Return when a folder is that of a run.

    Raises:
        ConfigError: it is not there, lies in a run, or is another one.
    """
    if (run / RECIPE).is_file():
        return
    whole = next((parent for parent in run.parents if (parent / RECIPE).is_file()), None)
    if whole is not None:
        raise ConfigError(f"{shown(run)}: is no run folder but a part of one; name {shown(whole)}")
    if not run.exists():
        raise ConfigError(f"{shown(run)}: no such folder; asr train makes it")
    raise ConfigError(
        f"{shown(run)}: is no run folder of asr train (it has no {RECIPE}); name one, such as "
        "exp/vae/default"
    )


def _identities(folder: Path) -> Identities:
    """What tells each file below a folder from what a later writing makes of it."""
    found = {path: path.stat() for path in folder.rglob("*") if path.is_file()}
    # A file that is replaced in one step is another one, even within a tick of the clock.
    return {path: (status.st_ino, status.st_mtime_ns) for path, status in found.items()}


def _recipe_of(run: Path) -> Path:
    """The recipe file of a run, as its bundle tells or else by the place of the run.

    Raises:
        ConfigError: there is none any more.
        ModelError: the bundle is damaged.
    """
    best = run / "best"
    told = read_task_bundle(best).get("file") if is_task_bundle(best) else None
    if told is not None and not isinstance(told, str):
        raise ModelError(f"{shown(best)}: 'file' in {DESCRIPTION} must be the name of a recipe")
    found = recipe_of(run / "best")
    file = Path(told) if told else found
    if file is None or not file.exists():
        missing = f"its recipe {shown(told)} is gone" if told else "no recipe in recipes/ made it"
        raise ConfigError(f"{shown(run)}: {missing}; run this where the recipe lies")
    return file / "recipe.toml" if file.is_dir() else file
