"""A recipe trained in its run folder: prepared if needed, resumed if begun."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from asr.building import build_task
from asr.devices import choose_device
from asr.errors import ConfigError, shown
from asr.preparation import prepare
from asr.recipe import Recipe, load_recipe, recipe_file, run_folder
from asr.training.loop import Outcome, train


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
    _prepare_if_needed(resolved, recipe_file(recipe).parent, corpus, say)
    say(f"training in {shown(folder)}")
    task = build_task(resolved, folder, command=_command(recipe, overrides, out))
    return train(
        task,
        folder=folder,
        config=resolved.training,
        optimizer=resolved.optimizer,
        seed=resolved.seed,
        device=chosen,
        allow_changed=allow_changed,
        recipe=json.loads(resolved.model_dump_json()),
    )


def _prepare_if_needed(
    recipe: Recipe, folder: Path, corpus: Sequence[Path], say: Callable[[str], None]
) -> None:
    manifests = [Path(m) for m in (recipe.data.train, recipe.data.dev, recipe.data.test) if m]
    missing = [path for path in manifests if not path.exists()]
    if not missing:
        return
    if not (folder / "prepare.py").is_file():
        names = ", ".join(map(shown, missing))
        raise ConfigError(f"{names}: no such manifest; make it with asr prepare, or correct [data]")
    say(f"preparing {shown(manifests[0].parent)} with {shown(folder / 'prepare.py')}")
    prepare(folder, corpus=list(corpus), out=manifests[0].parent)


def _command(recipe: Path, overrides: Sequence[str], out: Path | None) -> str:
    """What to type to make the same model again."""
    parts = ["asr train", os.fspath(recipe), *(f"--set {override}" for override in overrides)]
    if out is not None:
        parts.append(f"--out {os.fspath(out)}")
    return " ".join(parts)
