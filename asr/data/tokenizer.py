"""Text to tokens and back. Token 0 is CTC's blank; the others are symbols of the vocabulary.

A vocabulary is learnt from the training text when a training starts (or given in the recipe) and
travels with the model: `train_tokenizer`, `Tokenizer.save`, `load_tokenizer`.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

from pydantic import Field, field_validator

from asr.config import Config, parse
from asr.data.sentencepiece_tokenizer import (
    SentencePieceConfig,
    SentencePieceTokenizer,
    load_sentencepiece,
    train_sentencepiece,
)
from asr.data.text import normalize_text, words
from asr.data.vocabulary import (
    REMEDY,
    Piece,
    Unknown,
    WordSpan,
    check_characters,
    check_phones,
    description_hash,
    known_units,
    learnt_symbols,
    listed,
    readable,
    special_symbols,
    unknown_units,
    word_spans,
)
from asr.errors import ConfigError, DataError, ModelError, shown
from asr.storage import read_json, write_json

__all__ = [
    "CharactersConfig",
    "PhonesConfig",
    "SentencePieceConfig",
    "SentencePieceTokenizer",
    "SymbolTokenizer",
    "Tokenizer",
    "TokenizerConfig",
    "WordSpan",
    "check_texts",
    "load_tokenizer",
    "train_tokenizer",
]

TOKENIZER_FILE = "tokenizer.json"
MAX_FILE_BYTES = 10 * 1024 * 1024
NAMED = 5  # utterances that an error message names


class Tokenizer(Protocol):
    """Text ↔ tokens.

    Attributes:
        name: what the config calls this kind.
        symbols: what each token stands for; `symbols[0]` is "<blank>".
        unknown: what `encode` does with a symbol outside the vocabulary.
        pieces: what each token adds to a text.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def symbols(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def unknown(self) -> Unknown: ...  # noqa: D102
    @property
    def pieces(self) -> tuple[Piece, ...]: ...  # noqa: D102

    @property
    def vocabulary_size(self) -> int:
        """V: the number of symbols, the blank included."""

    def encode(self, text: str) -> list[int]:
        """The tokens of `text`, which is normalised first; never a blank.

        Raises:
            DataError: symbols outside the vocabulary, when `unknown` is "error".
        """

    def encode_any(self, text: str, unknown: int) -> list[int]:
        """The tokens of `text` whatever `self.unknown` says: for what is unknown, `unknown`."""

    def decode(self, tokens: Sequence[int]) -> str:
        """The words that any tokens (without blanks) spell, with one space between two.

        Raises:
            ValueError: a token that is the blank or outside the vocabulary.
        """

    def word_spans(self, tokens: Sequence[int]) -> list[WordSpan]:
        """The words of `decode(tokens)`, each with the range of its tokens."""

    def unknown_symbols(self, text: str) -> Counter[str]:
        """How often each symbol outside the vocabulary occurs in `text`."""

    def fingerprint(self) -> str:
        """A SHA-256, in hexadecimal, that differs between tokenizers that differ."""

    def save(self, folder: Path) -> None:
        """Write `tokenizer.json`, and `tokenizer.model` where there is one, into `folder`."""


class CharactersConfig(Config):
    """One token per character (Unicode code point) of the text; the space is one of them."""

    name: Literal["characters"] = "characters"
    symbols: str | None = None  # the characters, such as " abc"; none = those of the training text
    # A character outside the vocabulary: "error", "drop" it, or "replace" it by <unknown>.
    unknown: Unknown = "error"

    @field_validator("symbols")
    @classmethod
    def _usable(cls, symbols: str | None) -> str | None:
        if symbols is not None:
            check_characters(symbols)
        return symbols


class PhonesConfig(Config):
    """One token per symbol between white space: phones such as "HH AH L OW"."""

    name: Literal["phones"] = "phones"
    symbols: list[str] | None = None  # the phones; none = those of the training text
    unknown: Unknown = "error"  # a phone outside the vocabulary, as for characters

    @field_validator("symbols")
    @classmethod
    def _usable(cls, symbols: list[str] | None) -> list[str] | None:
        if symbols is not None:
            check_phones(symbols)
        return symbols


TokenizerConfig = Annotated[
    CharactersConfig | PhonesConfig | SentencePieceConfig, Field(discriminator="name")
]


@dataclass(frozen=True)
class SymbolTokenizer:
    """A tokenizer whose vocabulary is a list: the characters of a text, or its phones.

    Attributes:
        name: "characters": words are what stands between spaces; "phones": each is a word.
        symbols: what each token stands for: the blank, `<unknown>` if `unknown` is "replace", the
            symbols of the text.
        unknown: what `encode` does with a symbol outside the vocabulary.
    """

    name: Literal["characters", "phones"]
    symbols: tuple[str, ...]
    unknown: Unknown = "error"

    def __post_init__(self) -> None:
        specials = special_symbols(self.unknown)
        if self.symbols[: len(specials)] != specials:
            raise ValueError(f"symbols must begin with {', '.join(specials)}")
        check = check_characters if self.name == "characters" else check_phones
        check(self.symbols[len(specials) :])

    @property
    def vocabulary_size(self) -> int:
        """V: the number of symbols, the blank included."""
        return len(self.symbols)

    def encode(self, text: str) -> list[int]:
        """The tokens of `text`, which is normalised first; never a blank.

        Raises:
            DataError: symbols outside the vocabulary, when `unknown` is "error".
        """
        known = known_units(_units(self.name, text), self._tokens, self.unknown)
        if self.unknown == "drop" and self.name == "characters":
            # What was left out may leave two spaces side by side, or one at an end.
            known = list(" ".join(word for word in "".join(known).split(" ") if word))
        return [self._tokens.get(unit, 1) for unit in known]

    def encode_any(self, text: str, unknown: int) -> list[int]:
        """The tokens of `text` whatever `self.unknown` says: for what is unknown, `unknown`."""
        return [self._tokens.get(unit, unknown) for unit in _units(self.name, text)]

    def decode(self, tokens: Sequence[int]) -> str:
        """The words that any tokens (without blanks) spell, with one space between two."""
        return " ".join(span.word for span in self.word_spans(tokens))

    def word_spans(self, tokens: Sequence[int]) -> list[WordSpan]:
        """The words of `decode(tokens)`, each with the range of its tokens."""
        return word_spans(tokens, self.pieces)

    def unknown_symbols(self, text: str) -> Counter[str]:
        """How often each symbol outside the vocabulary occurs in `text`."""
        return unknown_units(_units(self.name, text), self._tokens)

    def fingerprint(self) -> str:
        """A SHA-256, in hexadecimal, that differs between tokenizers that differ."""
        return description_hash(self._description())

    def save(self, folder: Path) -> None:
        """Write `tokenizer.json` into `folder`."""
        write_json(folder / TOKENIZER_FILE, self._description())

    def _description(self) -> dict[str, Any]:
        return {"name": self.name, "unknown": self.unknown, "symbols": list(self.symbols)}

    @cached_property
    def _tokens(self) -> dict[str, int]:
        specials = special_symbols(self.unknown)
        return {
            symbol: token for token, symbol in enumerate(self.symbols) if token >= len(specials)
        }

    @cached_property
    def pieces(self) -> tuple[Piece, ...]:
        """What each token adds to a text."""
        if self.name == "phones":
            return tuple(Piece(readable(symbol), starts_word=True) for symbol in self.symbols)
        return tuple(
            Piece("", starts_word=True) if symbol == " " else Piece(readable(symbol))
            for symbol in self.symbols
        )


def train_tokenizer(
    config: CharactersConfig | PhonesConfig | SentencePieceConfig, texts: Iterable[str]
) -> Tokenizer:
    """The tokenizer that `config` asks for, with a vocabulary from `texts` unless it gives one.

    The same config and texts give the same tokenizer.

    Raises:
        DataError: texts without symbols, or with symbols that no vocabulary can hold.
        ConfigError: a sentencepiece vocabulary too small or too large for the texts.
    """
    if isinstance(config, SentencePieceConfig):
        return train_sentencepiece(config, texts)
    if config.symbols is not None:
        symbols = list(config.symbols)
    else:
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(_units(config.name, text))
        symbols = learnt_symbols(counts)
    return SymbolTokenizer(
        config.name, (*special_symbols(config.unknown), *symbols), config.unknown
    )


def load_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer that `Tokenizer.save` wrote into `folder`.

    Raises:
        ModelError: a file is missing, larger than 10 MB, damaged, or not of this version.
    """
    path = folder / TOKENIZER_FILE
    _check_size(path)
    content = read_json(path)
    if not isinstance(content, dict):
        raise ModelError(f"{shown(path)}: must be a JSON object; the file is damaged")
    if content.get("name") == "sentencepiece":
        _check_size(folder / "tokenizer.model")
        return load_sentencepiece(folder, content)
    try:
        stored = parse(_StoredSymbols, content, shown(path))
        return SymbolTokenizer(stored.name, tuple(stored.symbols), stored.unknown)
    except ConfigError as error:
        raise ModelError(str(error)) from error
    except ValueError as error:
        raise ModelError(f"{shown(path)}: 'symbols' must be {error}") from error


def check_texts(tokenizer: Tokenizer, texts: Iterable[tuple[str, str]]) -> Counter[str]:
    """How often each symbol outside the vocabulary occurs in all of `texts`.

    Args:
        tokenizer: the one that will encode them.
        texts: (id, text) of each utterance.

    Raises:
        DataError: there are any, and the tokenizer's `unknown` is "error".
    """
    counts: Counter[str] = Counter()
    affected = []
    for utterance, text in texts:
        unknown = tokenizer.unknown_symbols(text)
        if unknown:
            counts += unknown
            affected.append(utterance)
    if counts and tokenizer.unknown == "error":
        named = ", ".join(f"'{shown(utterance)}'" for utterance in affected[:NAMED])
        more = f" and {len(affected) - NAMED} more" if len(affected) > NAMED else ""
        raise DataError(
            f"{listed(counts)} outside the vocabulary, in utterances {named}{more}; {REMEDY}"
        )
    return counts


class _StoredSymbols(Config):
    name: Literal["characters", "phones"]
    unknown: Unknown
    symbols: list[str]


def _units(name: Literal["characters", "phones"], text: str) -> list[str]:
    normal = normalize_text(text)
    return list(normal) if name == "characters" else words(normal)


def _check_size(path: Path) -> None:
    if path.is_file() and path.stat().st_size > MAX_FILE_BYTES:
        raise ModelError(f"{shown(path)}: larger than {MAX_FILE_BYTES} bytes; not a file of ours")
