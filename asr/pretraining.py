"""A transducer whose parts are trained already (`[pretrain]` in its recipe).

Front end and encoder are those of a recogniser, the prediction network is that of a language model
of the same labels. The output layers of both stay behind: the joint network begins with random
weights.

Reference: Graves, Mohamed & Hinton, "Speech recognition with deep recurrent neural networks",
ICASSP 2013, section 3.
"""

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from asr.bundle import WEIGHTS, Bundle
from asr.bundle_fit import (
    SAME_FOLDER,
    check_fit,
    check_there,
    other_hearing,
    other_symbols,
    read_recognizer,
    weights_of,
)
from asr.config import Config
from asr.data.tokenizer import Tokenizer
from asr.errors import ConfigError, shown
from asr.lm.neural import NeuralNetwork, config_of
from asr.lm.neural_bundle import is_neural_bundle, read_neural_bundle
from asr.lm.neural_model import NeuralModel
from asr.models.state import load_state
from asr.recipe import Recipe
from asr.storage import load_tensors
from asr.training.plain_task import is_task_bundle

ENCODER, PREDICTION = "pretrain.encoder", "pretrain.prediction"
HEARING = ("frontend", "encoder")  # what the networks of all recognisers have in common
NETWORK = {  # in [objective]: in the [model] of a language model
    "prediction_cell": "cell",
    "prediction_layers": "num_layers",
    "prediction_size": "hidden_size",
    "prediction_embedding": "embedding_size",
    "prediction_leak": "leak",
}


@dataclass(frozen=True, slots=True)
class Pretraining:
    """The models whose weights parts of a transducer begin with; None: with random weights."""

    encoder: Bundle | None = None
    prediction: NeuralModel | None = None


def read_pretraining(recipe: Recipe, tokenizer: Tokenizer) -> Pretraining:
    """The models that a recipe names in `[pretrain]`, checked.

    Raises:
        ConfigError: no such bundle, one of the other kind, or another vocabulary, front end or
            network; all about both bundles, each on its line.
        ModelError: one is damaged.
    """
    encoder, prediction, problems = None, None, []
    try:
        encoder = _read_encoder(recipe, tokenizer)
    except ConfigError as error:
        problems.append(str(error))
    try:
        prediction = _read_prediction(recipe, tokenizer, encoder)
    except ConfigError as error:
        problems.append(str(error))
    if problems:
        raise ConfigError("\n".join(problems))
    return Pretraining(encoder, prediction)


def describe_pretraining(pretraining: Pretraining) -> list[str]:
    """Lines for a person about the weights that parts of a transducer begin with."""
    lines = []
    if encoder := pretraining.encoder:
        lines.append(f"encoder: {weights_of(encoder.folder, encoder.facts)}")
    if prediction := pretraining.prediction:
        lines.append(f"prediction network: {weights_of(prediction.source, prediction.facts)}")
    return lines


def copy_pretrained(pretraining: Pretraining, model: nn.Module) -> None:
    """Copy the weights of checked models into a transducer; the statistics of audio are some.

    Raises:
        ModelError: they do not fit.
    """
    if encoder := pretraining.encoder:
        path = encoder.folder / WEIGHTS
        tensors = load_tensors(path)
        for part in HEARING:
            own = {
                name.removeprefix(f"{part}."): tensor
                for name, tensor in tensors.items()
                if name.startswith(f"{part}.")
            }
            load_state(model.get_submodule(part), own, f"{shown(path)}: {part}")
    if prediction := pretraining.prediction:
        state = prediction.network.state_dict()
        own = {name: state[name] for name in state if not name.startswith("output.")}
        load_state(model.get_submodule("prediction"), own, shown(prediction.source))


def _read_encoder(recipe: Recipe, tokenizer: Tokenizer) -> Bundle | None:
    if not recipe.pretrain.encoder:
        return None
    folder = Path(recipe.pretrain.encoder)
    bundle = read_recognizer(ENCODER, folder, else_advice=f"; it may serve as {PREDICTION}")
    problems = other_hearing(recipe, bundle.recipe)
    check_fit(ENCODER, folder, [*problems, *other_symbols(tokenizer, bundle.tokenizer)])
    return bundle


def _read_prediction(
    recipe: Recipe, tokenizer: Tokenizer, encoder: Bundle | None
) -> NeuralModel | None:
    if not recipe.pretrain.prediction:
        return None
    folder = Path(recipe.pretrain.prediction)
    check_there(PREDICTION, folder)
    if is_task_bundle(folder):
        raise ConfigError(
            f"{PREDICTION}: {shown(folder)}: is the model of a recipe's own task, no language model"
        )
    if not is_neural_bundle(folder):
        raise ConfigError(
            f"{PREDICTION}: {shown(folder)}: is a speech recogniser, no language model; it may "
            f"serve as {ENCODER}"
        )
    model = read_neural_bundle(folder)
    remedy = SAME_FOLDER
    if encoder is not None:  # the labels of the transducer are right
        remedy = (
            'train the language model anew with tokenizer.name = "bundle" and tokenizer.folder = '
            f'"{encoder.folder}"'
        )
    problems = _other_network(recipe.objective, model.network)
    check_fit(PREDICTION, folder, [*problems, *other_symbols(tokenizer, model.tokenizer, remedy)])
    return model


def _other_network(objective: Config, network: NeuralNetwork) -> list[str]:
    """What differs between the prediction network of a transducer and a language model."""
    theirs = config_of(network)
    found = [
        f"objective.{key} is {ours!r} here and model.{name} {there!r} there"
        for key, name in NETWORK.items()
        if (ours := getattr(objective, key)) != (there := getattr(theirs, name))
    ]
    if found:
        found[-1] += " (set [objective] to what is there, or train a language model like it)"
    return found
