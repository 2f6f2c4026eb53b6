"""A training that begins with the weights of a finished recogniser (`init_from` in its recipe).

The network and its labels must be the same: layers, front end and vocabulary. What is trained for
may differ where the network is the same, and so may the optimiser, what is varied in the audio, and
dropout. Of a transducer, parts may be trained already: `asr.pretraining`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from asr.bundle import WEIGHTS, Bundle
from asr.bundle_fit import (
    check_fit,
    differences,
    other_hearing,
    other_symbols,
    read_recognizer,
    weights_of,
)
from asr.config import Config
from asr.data.tokenizer import Tokenizer
from asr.errors import ConfigError, shown
from asr.models.state import load_weights
from asr.models.transducer import TransducerConfig
from asr.objectives.expected_wer import ExpectedWERConfig
from asr.recipe import Recipe
from asr.storage import read_json
from asr.training.run import RECIPE

BEGINNERS = {  # keys of a recipe, and what begins with the weights that they name
    "init_from": "this training",
    "pretrain.encoder": "the encoder of this training",
    "pretrain.prediction": "the prediction network of this training",
}

COLD = (
    "warning: expected_wer from random weights learns next to nothing: nearly every sampled "
    "transcript is wrong throughout, so that no single label changes its errors; train the "
    "recipe with ctc first and set init_from to its best/"
)


def read_start(recipe: Recipe, tokenizer: Tokenizer) -> Bundle | None:
    """The bundle that a recipe begins with, checked; None when it begins with random weights.

    Raises:
        ConfigError: no such bundle of a recogniser, or another vocabulary, front end or network.
        ModelError: it is damaged.
    """
    if not recipe.init_from:
        return None
    folder = Path(recipe.init_from)
    bundle = read_recognizer("init_from", folder)
    problems = [
        *other_hearing(recipe, bundle.recipe),
        *_other_output(recipe.objective, bundle.recipe.objective),
        *other_symbols(tokenizer, bundle.tokenizer),
    ]
    check_fit("init_from", folder, problems)
    return bundle


def check_same_start(recipe: Recipe, run: Path) -> None:
    """Return when a training that goes on began with the weights that its recipe names.

    Raises:
        ConfigError: it began with others.
    """
    path = run / RECIPE
    if not path.is_file():
        return
    before, now = _beginnings(read_json(path)["recipe"]), _beginnings(recipe.model_dump())
    changed = [key for key in BEGINNERS if not _same_folder(before[key], now[key])]
    if changed:
        problems = [
            f"{BEGINNERS[key]} began with {_named(before[key])}, not with {_named(now[key])}"
            for key in changed
        ]
        raise ConfigError(
            f"{shown(run)}: {'; '.join(problems)}; choose another --out, or leave "
            f"{' and '.join(changed)} as before"
        )


def start_from(bundle: Bundle, model: nn.Module) -> None:
    """Copy the weights of a checked bundle into a model; the statistics of its audio are some.

    Raises:
        ModelError: they do not fit.
    """
    load_weights(model, bundle.folder / WEIGHTS)


def describe_start(recipe: Recipe, bundle: Bundle | None) -> list[str]:
    """Lines for a person about the weights that a training begins with."""
    if bundle is not None:
        return [f"beginning with {weights_of(bundle.folder, bundle.facts)}"]
    return [COLD] if isinstance(recipe.objective, ExpectedWERConfig) else []


def _other_output(here: Config, there: Config) -> list[str]:
    """What differs between the networks behind the encoder, which the objectives imply."""
    if not isinstance(here, TransducerConfig):
        if not isinstance(there, TransducerConfig):
            return []
        return ["it is a transducer, and this recipe trains none (name the bundle of a CTC model)"]
    if not isinstance(there, TransducerConfig):
        return ["it is no transducer (for its encoder, set pretrain.encoder in place of init_from)"]
    unsized = ("joint_size",) if here.joint == there.joint == "additive" else ()
    found = differences(
        "objective", here, there, but=("prediction_dropout", "ctc_weight", *unsized)
    )
    if (here.ctc_weight > 0) != (there.ctc_weight > 0):
        found.append(
            f"objective.ctc_weight is {here.ctc_weight} here and {there.ctc_weight} there: only "
            "one above 0 has an output layer for CTC"
        )
    return found


def _beginnings(recipe: Mapping[str, Any]) -> dict[str, str]:
    """What a recipe, as it is stored, says for each of `BEGINNERS`; an old one says nothing."""
    pretrain = recipe.get("pretrain", {})
    named = {"init_from": recipe.get("init_from", "")}
    return named | {f"pretrain.{key}": pretrain.get(key, "") for key in ("encoder", "prediction")}


def _same_folder(one: str, other: str) -> bool:
    return bool(one) == bool(other) and Path(one).resolve() == Path(other).resolve()


def _named(folder: str) -> str:
    return f"the weights of {shown(folder)}" if folder else "random weights"
