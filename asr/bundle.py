"""The model bundle: a folder that holds all of a trained recogniser and nothing that runs.

`model.safetensors`, `recipe.json` (the resolved recipe and facts about the training), the
tokenizer, `vocabulary.tsv` (the words of the training text and how often each occurs), `README.md`
(the model card), `decoding.json` once weights of a language model were tuned, and `manifest.json`
with a SHA-256 of each.
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import nn

from asr.config import Config, parse
from asr.data.tokenizer import Tokenizer, load_tokenizer
from asr.errors import ConfigError, ModelError, ResourceError, shown
from asr.lm.neural_bundle import is_neural_bundle
from asr.models.transducer import TransducerConfig
from asr.objectives.expected_wer import ExpectedWERConfig
from asr.recipe import Recipe
from asr.scoring.table import rates_text
from asr.storage import (
    MANIFEST,
    folder_writer,
    read_json,
    save_tensors,
    verify_folder,
    write_atomically,
    write_json,
)
from asr.training.plain_task import is_task_bundle
from asr.version import versions

WEIGHTS = "model.safetensors"
DESCRIPTION = "recipe.json"
VOCABULARY = "vocabulary.tsv"
TUNINGS = "decoding.json"


class Tuning(Config):
    """How much a language model counts, as found on development data for this recogniser.

    Fields with a default are missing in files of older versions.
    """

    lm_sha256: str
    lm: str  # its file name, for people
    lexicon_sha256: str = ""
    hotwords_sha256: str = ""
    unit: Literal["word", "token"]
    fusion: Literal["shallow", "prior"]
    lm_weight: float
    word_bonus: float
    unknown_penalty: float = 10.0
    beam_size: int
    confidence_scale: float  # of the log-odds of a word's confidence, and what is added to them
    confidence_offset: float
    dev: str  # the manifest
    dev_wer: float
    dev_wer_greedy: float
    command: str

    @property
    def key(self) -> tuple[str, ...]:
        """What it is for: with another model, lexicon … other weights are best."""
        return (self.lm_sha256, self.lexicon_sha256, self.hotwords_sha256, self.unit, self.fusion)


class _Tunings(Config):
    tunings: list[Tuning]


@dataclass(frozen=True, slots=True)
class Bundle:
    """What a bundle holds besides the weights.

    Attributes:
        folder: where it is.
        recipe: the recipe it was trained with.
        tokenizer: of its output labels.
        facts: about the training: `dev` and `test` scores, `epochs`, `steps`, `finished`,
            `command`, `version`.
        vocabulary: how often each word occurs in the training text; empty: not known.
        tunings: weights of language models, the latest last.
    """

    folder: Path
    recipe: Recipe
    tokenizer: Tokenizer
    facts: Mapping[str, Any]
    vocabulary: Mapping[str, int]
    tunings: tuple[Tuning, ...]


def write_bundle(
    folder: Path,
    model: nn.Module,
    tokenizer: Tokenizer,
    recipe: Recipe,
    *,
    facts: Mapping[str, object],
    vocabulary: Mapping[str, int],
) -> None:
    """Fill an empty folder; whoever calls hashes and names it (`storage.folder_writer`)."""
    facts = {**facts, **versions(), "tokens": tokenizer.fingerprint()}
    save_tensors(folder / WEIGHTS, model.state_dict())
    write_json(folder / DESCRIPTION, {"recipe": recipe.model_dump(), "facts": facts})
    tokenizer.save(folder)
    ordered = sorted(vocabulary.items(), key=lambda item: (-item[1], item[0]))
    listed = "".join(f"{word}\t{count}\n" for word, count in ordered)
    write_atomically(folder / VOCABULARY, listed)
    write_atomically(folder / "README.md", model_card(recipe, facts, model, tokenizer))


def is_bundle(folder: Path) -> bool:
    """Whether a folder is that of a recogniser, finished in writing; nothing in it is read."""
    if is_neural_bundle(folder) or is_task_bundle(folder):
        return False
    return (folder / MANIFEST).is_file()


def read_bundle(folder: Path) -> Bundle:
    """Everything but the weights, verified.

    Raises:
        ModelError: no bundle, damaged, of a newer version, or its parts do not fit each other.
    """
    if not folder.is_dir():
        raise ModelError(f"{shown(folder)}: no such bundle (a folder made by asr train)")
    if is_neural_bundle(folder):
        raise ModelError(
            f"{shown(folder)}: is a language model, no speech recogniser; give it as --lm, and a "
            "recogniser as the model"
        )
    if is_task_bundle(folder):
        raise ModelError(
            f"{shown(folder)}: is the model of a recipe's own task, no speech recogniser; "
            "asr info tells what it is"
        )
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
    return Bundle(
        folder,
        recipe,
        tokenizer,
        content["facts"],
        _read_vocabulary(folder / VOCABULARY),
        _read_tunings(folder / TUNINGS),
    )


def add_tuning(folder: Path, tuning: Tuning) -> None:
    """Put the weights of a language model into a bundle; those for the same key give way.

    Raises:
        ModelError: no bundle, a damaged one, or one with a folder inside.
        ResourceError: the disk is full or not writable; the bundle is as it was.
    """
    folder = folder.resolve()  # of a link or ".", which cannot be renamed, the folder itself
    bundle = read_bundle(folder)
    check_tunable(folder)
    kept = [old for old in bundle.tunings if old.key != tuning.key]
    with folder_writer(folder) as temporary:
        for file in folder.iterdir():
            if file.is_file() and file.name != MANIFEST:
                shutil.copy2(file, temporary / file.name)
        write_json(temporary / TUNINGS, {"tunings": [t.model_dump() for t in (*kept, tuning)]})


def check_tunable(folder: Path) -> None:
    """Return when weights can be put into a bundle, which writes it anew.

    Raises:
        ModelError: a folder inside, which would be lost.
        ResourceError: the bundle, or the folder that it is in, cannot be written.
    """
    for entry in folder.iterdir():
        if entry.is_dir():
            raise ModelError(f"{shown(entry)}: a folder inside the bundle; move it elsewhere")
    folder = folder.resolve()
    for place in (folder, folder.parent):  # it is replaced, which changes the folder that it is in
        if not os.access(place, os.W_OK | os.X_OK):
            raise ResourceError(
                f"{shown(place)}: cannot be written, so that no weights can be stored in the "
                "bundle; make it writable, or copy the bundle and tune the copy"
            )


def _read_vocabulary(path: Path) -> dict[str, int]:
    """The words of a vocabulary file with their counts; none where there is no file."""
    if not path.is_file():
        return {}
    vocabulary = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n")[:-1], start=1):
        word, _, count = line.partition("\t")
        if not word or not count.isascii() or not count.isdecimal():
            raise ModelError(f"{shown(path)}:{number}: needs a word, a tab, and a count")
        vocabulary[word] = int(count)
    return vocabulary


def _read_tunings(path: Path) -> tuple[Tuning, ...]:
    """The weights in a file; none where there is no file."""
    if not path.is_file():
        return ()
    content = read_json(path)
    if not isinstance(content, dict):
        raise ModelError(f"{shown(path)}: must be a JSON object")
    try:
        return tuple(parse(_Tunings, content, shown(path)).tunings)
    except ConfigError as error:
        raise ModelError(str(error)) from error


def model_card(
    recipe: Recipe, facts: Mapping[str, Any], model: nn.Module, tokenizer: Tokenizer
) -> str:
    """The README of a bundle: what it is, how good, and the command that made it."""
    parameters = sum(parameter.numel() for parameter in model.parameters())
    lines = [
        "# A speech recogniser made with `asr`",
        "",
        f"- {_title(recipe)}, {recipe.encoder.num_layers} x "
        f"{recipe.encoder.hidden_size} {recipe.encoder.cell}, {recipe.frontend.name} front end at "
        f"{recipe.frontend.sample_rate} Hz, {tokenizer.name}; {parameters:,} parameters",
        f"- trained on `{recipe.data.train}`, {facts.get('epochs')} epochs, "
        f"{facts.get('steps')} steps, seed {recipe.seed}",
    ]
    for what, start in (
        ("", recipe.init_from),
        ("its encoder ", recipe.pretrain.encoder),
        ("its prediction network ", recipe.pretrain.prediction),
    ):
        if start:
            lines.append(f"- {what}began with the weights of `{start}`")
    for split in ("dev", "test"):
        if split in facts:
            scores = rates_text(facts[split])
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


def _title(recipe: Recipe) -> str:
    """The name of an objective for people."""
    objective = recipe.objective
    if isinstance(objective, TransducerConfig):
        return (
            f"RNN transducer ({objective.joint} joint network; prediction network of "
            f"{objective.prediction_layers} x {objective.prediction_size} "
            f"{objective.prediction_cell})"
        )
    if isinstance(objective, ExpectedWERConfig):
        estimators = {"exchange": "sampling", "reinforce": "REINFORCE", "nbest": "n-best lists"}
        return f"expected {objective.loss.upper()} by {estimators[objective.estimator]}"
    return "CTC"
