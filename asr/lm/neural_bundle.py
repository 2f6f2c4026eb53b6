"""The folder that holds a trained neural language model and nothing that runs.

`model.safetensors`, `language_model.json` (the network's config, the recipe that it was trained
with, facts about the training), the tokenizer, `README.md` (the model card), and `manifest.json`
with a SHA-256 of each.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asr.config import parse
from asr.data.tokenizer import Tokenizer, load_tokenizer
from asr.errors import ConfigError, ModelError, shown
from asr.lm.measuring import bits_text
from asr.lm.neural import NeuralConfig, NeuralNetwork, build_network
from asr.lm.neural_model import NeuralModel
from asr.models.state import load_weights
from asr.storage import (
    MANIFEST,
    file_hash,
    read_json,
    save_tensors,
    verify_folder,
    write_atomically,
    write_json,
)
from asr.version import versions

WEIGHTS = "model.safetensors"
DESCRIPTION = "language_model.json"
TASK = "task.json"  # as `asr.training.plain_task` names what its bundles have
PARTS = {"model", "recipe", "facts"}


def write_neural_bundle(
    folder: Path,
    network: NeuralNetwork,
    tokenizer: Tokenizer,
    config: NeuralConfig,
    *,
    recipe: Mapping[str, Any],
    facts: Mapping[str, object],
) -> None:
    """Fill an empty folder; whoever calls hashes and names it (`storage.folder_writer`).

    Args:
        folder: empty.
        network: trained.
        tokenizer: of its tokens.
        config: that the network was built from.
        recipe: all settings of the training, for people.
        facts: about the training: `dev` and `test` scores, `epochs`, `steps`, `finished` …
    """
    facts = {**facts, **versions(), "tokens": tokenizer.fingerprint()}
    save_tensors(folder / WEIGHTS, network.state_dict())
    description = {"model": config.model_dump(), "recipe": dict(recipe), "facts": facts}
    write_json(folder / DESCRIPTION, description)
    tokenizer.save(folder)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    card = model_card(config, tokenizer, parameters, recipe=recipe, facts=facts)
    write_atomically(folder / "README.md", card)


def read_neural_bundle(folder: Path) -> NeuralModel:
    """The language model in a folder, verified, on the CPU.

    Raises:
        ModelError: no language model, a damaged one, one of a newer version, or its parts do not
            fit each other.
    """
    if not is_neural_bundle(folder):
        raise ModelError(f"{shown(folder)}: {_what_it_is(folder)}")
    verify_folder(folder)
    content = read_json(folder / DESCRIPTION)
    whole = isinstance(content, dict) and content.keys() == PARTS
    if not whole or not all(isinstance(part, dict) for part in content.values()):
        raise ModelError(
            f"{shown(folder / DESCRIPTION)}: needs {', '.join(sorted(PARTS))}, each an object; "
            "copy the folder again, or train the model again"
        )
    try:
        config = parse(NeuralConfig, content["model"], shown(folder / DESCRIPTION))
    except ConfigError as error:
        raise ModelError(str(error)) from error
    tokenizer = load_tokenizer(folder)
    if tokenizer.fingerprint() != content["facts"].get("tokens"):
        raise ModelError(
            f"{shown(folder)}: the tokenizer is not the one that the model was trained with; copy "
            "the folder again"
        )
    network = build_network(config, tokenizer.vocabulary_size)
    load_weights(network, folder / WEIGHTS)
    network.eval().requires_grad_(False)
    digest = file_hash(folder / MANIFEST)
    return NeuralModel(network, tokenizer, folder, digest, content["recipe"], content["facts"])


def is_neural_bundle(folder: Path) -> bool:
    """Whether a folder says that it is a neural language model."""
    return (folder / DESCRIPTION).is_file()


def _what_it_is(folder: Path) -> str:
    """Why a folder is no neural language model, and what to do."""
    best = folder / "best"
    if is_neural_bundle(best):
        return f"is the folder of a training; its language model is {shown(best)}"
    if (folder / TASK).is_file():
        return "is the model of a recipe's own task, no language model; asr info tells what it is"
    if (folder / WEIGHTS).is_file():
        return "is a speech recogniser, no language model; give an ARPA file or a language model"
    return (
        "is a folder, but no language model; give an ARPA file, or the folder best/ of a language "
        "model that asr train made"
    )


def model_card(
    config: NeuralConfig,
    tokenizer: Tokenizer,
    parameters: int,
    *,
    recipe: Mapping[str, Any],
    facts: Mapping[str, Any],
) -> str:
    """The README of a bundle: what it is, how good, and the command that made it."""
    data = recipe.get("data", {})
    lines = [
        "# A language model made with `asr`",
        "",
        f"- {config.num_layers} x {config.hidden_size} {config.cell}, {tokenizer.name}, "
        f"{tokenizer.vocabulary_size} tokens; {parameters:,} parameters",
        f"- trained on `{data.get('train')}`, {facts.get('epochs')} epochs, "
        f"{facts.get('steps')} steps, seed {recipe.get('seed')}",
    ]
    for split in ("dev", "test"):
        if split in facts:
            scores = facts[split]
            lines.append(
                f"- {split} (`{data.get(split)}`): {bits_text(scores, 3)}, perplexity "
                f"{scores['perplexity']:.2f} per token, ends of sentences included"
            )
    if not facts.get("finished"):
        lines.append("- the training had not finished when this was written")
    lines += [
        f"- made by asr {facts.get('version')}, torch {facts.get('torch')}, with",
        "",
        f"      {facts.get('command')}",
        "",
        "Use it: `asr lm perplexity FOLDER text.txt`, `asr lm sample FOLDER`, or",
        "`asr.lm.loading.load_lm(Path(FOLDER))` in Python.",
        "",
        "```json",
        json.dumps(recipe, indent=1, ensure_ascii=False),
        "```",
    ]
    return "\n".join(lines) + "\n"
