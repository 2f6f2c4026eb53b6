"""Whether a bundle that a recipe names can give its weights: whether it is there, what differs."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from asr.bundle import Bundle, read_bundle
from asr.config import Config
from asr.data.sentencepiece_tokenizer import SentencePieceTokenizer
from asr.data.tokenizer import Tokenizer
from asr.data.vocabulary import described
from asr.errors import ConfigError, shown
from asr.lm.measuring import bits_text
from asr.lm.neural_bundle import is_neural_bundle
from asr.recipe import Recipe, recipe_of
from asr.scoring.table import rates_text
from asr.storage import MANIFEST

LISTED = 10  # symbols that an error message lists
SAME_FOLDER = 'set tokenizer.name = "bundle" and tokenizer.folder to the same folder'


def check_there(key: str, folder: Path) -> None:
    """Return when a folder is a bundle, of a recogniser or of a language model.

    Args:
        key: of the recipe, that names the folder.
        folder: perhaps a bundle.

    Raises:
        ConfigError: it is none.
    """
    if (folder / MANIFEST).is_file():
        return
    of_run = folder / "best"
    if (of_run / MANIFEST).is_file():
        advice = f"did you mean {shown(of_run)}?"
    else:
        recipe = recipe_of(folder)
        command = f" (asr train {shown(recipe)})" if recipe else ""
        advice = (
            f"train that model first{command}, name the folder best/ of another training, or "
            f"--set {key}= to begin with random weights"
        )
    raise ConfigError(f"{key}: {shown(folder)}: no such bundle; {advice}")


def read_recognizer(key: str, folder: Path, *, else_advice: str = "") -> Bundle:
    """The bundle of a recogniser that a key of the recipe names.

    Args:
        key: of the recipe.
        folder: perhaps a bundle.
        else_advice: ends the message when it is a language model.

    Raises:
        ConfigError: no such bundle, or that of a language model.
        ModelError: it is damaged.
    """
    check_there(key, folder)
    if is_neural_bundle(folder):
        raise ConfigError(
            f"{key}: {shown(folder)}: is a language model, no speech recogniser{else_advice}"
        )
    return read_bundle(folder)


def check_fit(key: str, folder: Path, problems: Iterable[str]) -> None:
    """Return when nothing differs between a recipe and the bundle that a key of it names.

    Raises:
        ConfigError: all that differs, on one line.
    """
    listed = "; ".join(problems)
    if listed:
        raise ConfigError(
            f"{key}: {shown(folder)} does not fit this recipe: {listed}; give the same --set as "
            "there, or another bundle"
        )


def other_hearing(here: Recipe, there: Recipe) -> list[str]:
    """What differs between two recipes from the audio to the end of the encoder."""
    return [
        *differences("frontend", here.frontend, there.frontend),
        *differences("encoder", here.encoder, there.encoder, but=("dropout",)),
    ]


def differences(section: str, here: Config, there: Config, but: Sequence[str] = ()) -> list[str]:
    """What differs between a section of the recipe and that of the bundle."""
    # Not of what is stored: there a key may be left out that has its default.
    ours, theirs = dict(here), dict(there)
    if ours.get("name") != theirs.get("name"):
        return [f"{section}.name is {ours['name']!r} here and {theirs['name']!r} there"]
    return [
        f"{section}.{key} is {value!r} here and {theirs[key]!r} there"
        for key, value in ours.items()
        if key not in but and value != theirs[key]
    ]


def other_symbols(here: Tokenizer, there: Tokenizer, remedy: str = SAME_FOLDER) -> list[str]:
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
    return [f"{', '.join(parts)} ({remedy})"]


def _cut_alike(here: Tokenizer, there: Tokenizer) -> bool:
    """Whether two tokenizers with the same symbols make the same tokens of a text."""
    if isinstance(here, SentencePieceTokenizer) and isinstance(there, SentencePieceTokenizer):
        return here.model == there.model
    return here.name == there.name


def weights_of(folder: Path, facts: Mapping[str, Any]) -> str:
    """The weights of a bundle, for people: where they are, and how good on its dev set."""
    dev = facts.get("dev", {})
    chosen_by = {name: dev[name] for name in ("wer", "per") if name in dev}
    score = rates_text(chosen_by) or bits_text(dev, 2)
    return f"the weights of {shown(folder)}{score and f' (dev {score})'}"
