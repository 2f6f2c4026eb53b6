"""The tokens of a model that is trained already, for another one that must have the same."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

from asr.config import Config
from asr.data.sentencepiece_tokenizer import SentencePieceTokenizer
from asr.data.tokenizer import SymbolTokenizer, Tokenizer, load_tokenizer
from asr.errors import ConfigError, shown
from asr.storage import verify_folder


class BundleTokenizerConfig(Config):
    """The tokens of a bundle: of a language model those of the recogniser that it serves."""

    name: Literal["bundle"]
    folder: str  # such as "exp/an4/default/best"
    unknown: Literal["error", "drop"] | None = None  # symbols outside; none = as in the bundle


def load_bundle_tokenizer(config: BundleTokenizerConfig) -> Tokenizer:
    """The tokenizer in a bundle, of a recogniser or of a language model.

    Raises:
        ConfigError: no such bundle.
        ModelError: it is damaged.
    """
    folder = Path(config.folder)
    if not folder.is_dir():
        raise ConfigError(
            f"tokenizer.folder: {shown(folder)}: no such bundle; name the folder best/ of a "
            "training, such as exp/an4/default/best"
        )
    verify_folder(folder)
    tokenizer = load_tokenizer(folder)
    # One that replaces what it does not know meets no unknown symbol.
    if config.unknown is None or tokenizer.unknown == "replace":
        return tokenizer
    if isinstance(tokenizer, SymbolTokenizer | SentencePieceTokenizer):
        return replace(tokenizer, unknown=config.unknown)
    raise TypeError(f"a tokenizer of no known kind: {type(tokenizer).__name__}")
