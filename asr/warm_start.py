"""A training that begins with the weights of a finished recogniser (`init_from` in its recipe).

The network and its labels must be the same: layers, front end and vocabulary. The objective, the
optimiser, what is varied in the audio, and dropout may differ.
"""

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from asr.bundle import WEIGHTS, Bundle, read_bundle
from asr.config import Config
from asr.data.sentencepiece_tokenizer import SentencePieceTokenizer
from asr.data.tokenizer import Tokenizer
from asr.data.vocabulary import described
from asr.errors import ConfigError, shown
from asr.lm.neural_bundle import is_neural_bundle
from asr.models.state import load_weights
from asr.objectives.expected_wer import ExpectedWERConfig
from asr.recipe import Recipe
from asr.storage import MANIFEST, read_json
from asr.training.run import RECIPE

LISTED = 10  # symbols that an error message lists

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
    if not (folder / MANIFEST).is_file():
        of_run = folder / "best"
        advice = (
            f"did you mean {shown(of_run)}?"
            if (of_run / MANIFEST).is_file()
            else "train that model first, name the folder best/ of another training, or --set "
            "init_from= to begin with random weights"
        )
        raise ConfigError(f"init_from: {shown(folder)}: no such bundle; {advice}")
    if is_neural_bundle(folder):
        raise ConfigError(f"init_from: {shown(folder)}: is a language model, no speech recogniser")
    bundle = read_bundle(folder)
    problems = [
        *_differences("frontend", recipe.frontend, bundle.recipe.frontend),
        *_differences("encoder", recipe.encoder, bundle.recipe.encoder, but=("dropout",)),
        *other_symbols(tokenizer, bundle.tokenizer),
    ]
    if problems:
        raise ConfigError(
            f"init_from: {shown(folder)} does not fit this recipe: {'; '.join(problems)}"
        )
    return bundle


def check_same_start(recipe: Recipe, run: Path) -> None:
    """Return when a training that goes on began with the weights that its recipe names.

    Raises:
        ConfigError: it began with others.
    """
    path = run / RECIPE
    noted = read_json(path)["recipe"].get("init_from", "") if path.is_file() else recipe.init_from
    if (
        bool(noted) != bool(recipe.init_from)
        or Path(noted).resolve() != Path(recipe.init_from).resolve()
    ):
        raise ConfigError(
            f"{shown(run)}: this training began with {_named(noted)}, not with "
            f"{_named(recipe.init_from)}; choose another --out, or leave init_from as it was"
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
        dev = bundle.facts.get("dev", {})
        score = f" (dev WER {100 * dev['wer']:.2f} %)" if "wer" in dev else ""
        return [f"beginning with the weights of {shown(bundle.folder)}{score}"]
    return [COLD] if isinstance(recipe.objective, ExpectedWERConfig) else []


def _differences(section: str, here: Config, there: Config, but: Sequence[str] = ()) -> list[str]:
    """What differs between a section of the recipe and that of the bundle."""
    ours, theirs = here.model_dump(), there.model_dump()
    if ours.get("name") != theirs.get("name"):
        return [f"{section}.name is {ours['name']!r} here and {theirs['name']!r} there"]
    return [
        f"{section}.{key} is {value!r} here and {theirs[key]!r} there"
        for key, value in ours.items()
        if key not in but and value != theirs[key]
    ]


def _cut_alike(here: Tokenizer, there: Tokenizer) -> bool:
    """Whether two tokenizers with the same symbols make the same tokens of a text."""
    if isinstance(here, SentencePieceTokenizer) and isinstance(there, SentencePieceTokenizer):
        return here.model == there.model
    return here.name == there.name


def _named(init_from: str) -> str:
    return f"the weights of {shown(init_from)}" if init_from else "random weights"


def other_symbols(here: Tokenizer, there: Tokenizer) -> list[str]:
    """How two vocabularies differ, for a message; nothing when they do not."""
    if here.symbols == there.symbols and _cut_alike(here, there):
        return []
    parts = [
        f"the vocabulary has {here.vocabulary_size} labels here, {there.vocabulary_size} there"
    ]
    for place, one, other in (("here", here, there), ("there", there, here)):
        extra = [symbol for symbol in one.symbols if symbol not in set(other.symbols)]
        if extra:
            named = ", ".join(map(described, extra[:LISTED]))
            more = f" and {len(extra) - LISTED} more" if len(extra) > LISTED else ""
            parts.append(f"only {place}: {named}{more}")
    if len(parts) == 1:
        same = here.symbols == there.symbols
        parts.append(f"the same ones {'that cut texts otherwise' if same else 'in another order'}")
    remedy = 'set tokenizer.name = "bundle" and tokenizer.folder to the same folder'
    return [f"{', '.join(parts)} ({remedy})"]
