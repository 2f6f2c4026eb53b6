"""What a finished training has to show, made again: samples and pictures of its model."""

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
from asr.training.run import RECIPE


def show_run(
    run: Path,
    *,
    overrides: Sequence[str] = (),
    out: Path | None = None,
    device: str = "auto",
    say: Callable[[str], None] = print,
) -> Path:
    """Let the task of a run folder show what its best model can do.

    The recipe's `task.py` is run.

    Args:
        run: the run folder, with a bundle `best/`.
        overrides: `section.key=value`, such as what is to be shown.
        out: where it goes; `RUN/artifacts/final` when not given.
        device: auto, cpu, cuda or cuda:N.
        say: is given lines for the user.

    Returns:
        Where it lies.

    Raises:
        ConfigError: no such run, its recipe is gone, or it has nothing to show.
        ModelError: its model is damaged or does not fit the recipe.
    """
    if not (run / RECIPE).is_file():
        raise ConfigError(f"{shown(run)}: is no run folder of asr train (it has no {RECIPE})")
    file = _recipe_of(run)
    chosen = choose_device(device)
    recipe = parse_recipe(dict(read_json(run / RECIPE)["recipe"]), file, overrides)
    if isinstance(recipe, TaskRecipe):
        say(f"running {shown(file.parent / 'task.py')}")
    task = build_task(recipe, run, command=f"asr artifacts {os.fspath(run)}", say=say)
    verify_folder(run / "best")
    load_state(task.model, load_tensors(run / "best" / WEIGHTS), shown(run / "best"))
    task.model.to(chosen).eval()
    folder = out or run / ARTIFACTS / "final"
    torch.manual_seed(recipe.seed)
    task.artifacts(folder, read_history(run))
    if not folder.is_dir():
        raise ConfigError(f"{shown(run)}: its task has nothing to show; try asr evaluate")
    return folder


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
