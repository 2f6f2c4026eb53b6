"""The model bundle: a folder that holds all of a trained recogniser and nothing that runs.

`model.safetensors`, `recipe.json` (the resolved recipe and facts about the training), the
tokenizer, `README.md` (the model card), and `manifest.json` with a SHA-256 of each.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from asr.config import parse
from asr.data.tokenizer import Tokenizer, load_tokenizer
from asr.errors import ConfigError, ModelError, shown
from asr.recipe import Recipe
from asr.storage import read_json, save_tensors, verify_folder, write_atomically, write_json
from asr.version import __version__

WEIGHTS = "model.safetensors"
DESCRIPTION = "recipe.json"


@dataclass(frozen=True, slots=True)
class Bundle:
    """What a bundle holds besides the weights.

    Attributes:
        folder: where it is.
        recipe: the recipe it was trained with.
        tokenizer: of its output labels.
        facts: about the training: `dev` and `test` scores, `epochs`, `steps`, `finished`,
            `command`, `version`.
    """

    folder: Path
    recipe: Recipe
    tokenizer: Tokenizer
    facts: Mapping[str, Any]


def write_bundle(
    folder: Path,
    model: nn.Module,
    tokenizer: Tokenizer,
    recipe: Recipe,
    *,
    facts: Mapping[str, object],
) -> None:
    """Fill an empty folder; whoever calls hashes and names it (`storage.folder_writer`)."""
    import torch

    facts = {
        **facts,
        "version": __version__,
        "torch": torch.__version__,
        "python": sys.version.split()[0],
        "tokens": tokenizer.fingerprint(),
    }
    save_tensors(folder / WEIGHTS, model.state_dict())
    write_json(folder / DESCRIPTION, {"recipe": recipe.model_dump(), "facts": facts})
    tokenizer.save(folder)
    write_atomically(folder / "README.md", model_card(recipe, facts, model))


def read_bundle(folder: Path) -> Bundle:
    """Everything but the weights, verified.

    Raises:
        ModelError: no bundle, damaged, of a newer version, or its parts do not fit each other.
    """
    if not folder.is_dir():
        raise ModelError(f"{shown(folder)}: no such bundle (a folder made by asr train)")
    verify_folder(folder)
    content = read_json(folder / DESCRIPTION)
    if not isinstance(content, dict) or content.keys() != {"recipe", "facts"}:
        raise ModelError(f"{shown(folder / DESCRIPTION)}: needs 'recipe' and 'facts'")
    try:
        recipe = parse(Recipe, content["recipe"], shown(folder / DESCRIPTION))
    except ConfigError as error:
        raise ModelError(str(error)) from error
    tokenizer = load_tokenizer(folder)
    expected = content["facts"].get("tokens")
    if tokenizer.fingerprint() != expected:
        raise ModelError(
            f"{shown(folder)}: the tokenizer is not the one that the model was trained with"
        )
    return Bundle(folder, recipe, tokenizer, content["facts"])


def model_card(recipe: Recipe, facts: Mapping[str, Any], model: nn.Module) -> str:
    """The README of a bundle: what it is, how good, and the command that made it."""
    parameters = sum(parameter.numel() for parameter in model.parameters())
    lines = [
        "# A speech recogniser made with `asr`",
        "",
        f"- {recipe.objective.name.upper()}, {recipe.encoder.num_layers} x "
        f"{recipe.encoder.hidden_size} {recipe.encoder.cell}, {recipe.frontend.name} front end at "
        f"{recipe.frontend.sample_rate} Hz, {recipe.tokenizer.name}; {parameters:,} parameters",
        f"- trained on `{recipe.data.train}`, {facts.get('epochs')} epochs, "
        f"{facts.get('steps')} steps, seed {recipe.seed}",
    ]
    for split in ("dev", "test"):
        if split in facts:
            scores = ", ".join(
                f"{name.upper()} {100 * value:.2f} %"
                for name, value in facts[split].items()
                if name in ("wer", "cer")
            )
            lines.append(f"- {split} (`{getattr(recipe.data, split)}`), greedy, no LM: {scores}")
    if not facts.get("finished"):
        lines.append("- the training had not finished when this was written")
    lines += [
        f"- made by asr {facts.get('version')}, torch {facts.get('torch')}, with",
        "",
        f"      {facts.get('command')}",
        "",
        "Use it: `asr transcribe audio.wav --model FOLDER`, or `asr.load(FOLDER)` in Python.",
        "",
        "```json",
        json.dumps(recipe.model_dump(), indent=1, ensure_ascii=False),
        "```",
    ]
    return "\n".join(lines) + "\n"
