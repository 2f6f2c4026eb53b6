"""`asr config` and `asr info`: look at a recipe or a bundle."""

import json
from pathlib import Path
from typing import Annotated

import typer

from asr.cli.options import Overrides, Recipe


def config_command(recipe: Recipe, overrides: Overrides = None) -> int:
    """Print a recipe with all defaults and overrides resolved."""
    from asr.recipe import as_toml, load_recipe

    print(as_toml(load_recipe(recipe, overrides or [])), end="")
    return 0


def info_command(
    bundle: Annotated[Path, typer.Argument(help="A bundle, such as exp/an4/default/best.")],
    as_json: Annotated[bool, typer.Option("--json", help="Everything, as JSON.")] = False,
) -> int:
    """Show what a bundle is: its scores, its network, and the command that made it."""
    from asr.bundle import read_bundle
    from asr.lm.neural_bundle import is_neural_bundle, read_neural_bundle
    from asr.training.plain_task import is_task_bundle, read_task_bundle

    if is_task_bundle(bundle):
        told = dict(read_task_bundle(bundle))
        facts = {"recipe": told.pop("recipe", {}), "facts": told}
    elif is_neural_bundle(bundle):
        model = read_neural_bundle(bundle)
        facts = {"recipe": dict(model.recipe), "facts": dict(model.facts)}
    else:
        content = read_bundle(bundle)
        facts = {"recipe": content.recipe.model_dump(), "facts": dict(content.facts)}
    if as_json:
        print(json.dumps(facts, indent=1, ensure_ascii=False))
    else:
        print((bundle / "README.md").read_text(encoding="utf-8"), end="")
    return 0
