"""Sub-word tokens: the vocabulary and the segmentation come from a sentencepiece model.

Reference: Kudo and Richardson, "SentencePiece", EMNLP 2018. The text is normalised by our own rule
and by none of sentencepiece's; its pieces are our tokens plus one, so that the blank is 0.
"""

import hashlib
import io
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import sentencepiece
from pydantic import Field

from asr.config import Config, parse
from asr.data.text import normalize_text
from asr.data.vocabulary import (
    BLANK_SYMBOL,
    UNKNOWN_SYMBOL,
    Piece,
    Unknown,
    WordSpan,
    description_hash,
    known_units,
    learnt_symbols,
    readable,
    refuse,
    unknown_units,
    word_spans,
)
from asr.errors import ConfigError, ModelError, shown
from asr.storage import write_atomically, write_json

MODEL_FILE = "tokenizer.model"
WORD_START = "▁"  # what sentencepiece writes for a space, before the word that follows it
RESERVED = ("\0", WORD_START, "▅")  # its trainer skips, without a word, a line that has one


class SentencePieceConfig(Config):
    """Tokens that are frequent parts of words, learnt from the training text."""

    name: Literal["sentencepiece"] = "sentencepiece"
    vocabulary_size: int = Field(default=500, ge=4, le=100_000)  # the blank and <unknown> included
    model_type: Literal["unigram", "bpe"] = "unigram"
    # A character outside the vocabulary: "error", "drop" it, or "replace" it by <unknown>.
    unknown: Unknown = "error"


@dataclass(frozen=True)
class SentencePieceTokenizer:
    """A tokenizer that a sentencepiece model drives. Token 0 is the blank, 1 is `<unknown>`.

    Attributes:
        model: the model as sentencepiece stores it.
        unknown: what `encode` does with a character outside the vocabulary.
    """

    model: bytes
    unknown: Unknown = "error"

    def __post_init__(self) -> None:
        pieces = self.symbols[2:]
        characters = {character for piece in pieces for character in piece}
        if (
            self._processor.unk_id() != 0
            or len(set(pieces)) != len(pieces)
            or any(piece.rfind(WORD_START) > 0 for piece in pieces)
            or not characters <= {*pieces, WORD_START}
        ):
            raise ValueError("a sentencepiece model that this toolkit made")

    @property
    def name(self) -> str:
        """What the config calls this kind of tokenizer."""
        return "sentencepiece"

    @cached_property
    def symbols(self) -> tuple[str, ...]:
        """What each token stands for; "▁" stands for the space before a word."""
        numbers = range(1, self._processor.vocab_size())
        pieces = (self._processor.id_to_piece(number) for number in numbers)
        return (BLANK_SYMBOL, UNKNOWN_SYMBOL, *pieces)

    @property
    def vocabulary_size(self) -> int:
        """V: the number of symbols, the blank included."""
        return len(self.symbols)

    def encode(self, text: str) -> list[int]:
        """The tokens of `text`, which is normalised first; never a blank.

        Raises:
            DataError: characters outside the vocabulary, when `unknown` is "error".
        """
        known = known_units(normalize_text(text), self._characters, self.unknown)
        return [piece + 1 for piece in self._processor.encode("".join(known))]

    def encode_any(self, text: str, unknown: int) -> list[int]:
        """As `encode` whatever `self.unknown` says: for unknown neighbours, one `unknown`."""
        pieces = self._processor.encode(normalize_text(text))
        return [piece + 1 if piece else unknown for piece in pieces]

    def decode(self, tokens: Sequence[int]) -> str:
        """The words that any tokens (without blanks) spell, with one space between two."""
        return " ".join(span.word for span in self.word_spans(tokens))

    def word_spans(self, tokens: Sequence[int]) -> list[WordSpan]:
        """The words of `decode(tokens)`, each with the range of its tokens."""
        return word_spans(tokens, self.pieces)

    def unknown_symbols(self, text: str) -> Counter[str]:
        """How often each character outside the vocabulary occurs in `text`."""
        return unknown_units(normalize_text(text), self._characters)

    def fingerprint(self) -> str:
        """A SHA-256, in hexadecimal, that differs between tokenizers that differ."""
        return description_hash(self._description())

    def save(self, folder: Path) -> None:
        """Write `tokenizer.json` and `tokenizer.model` into `folder`."""
        write_atomically(folder / MODEL_FILE, self.model)
        write_json(folder / "tokenizer.json", self._description())

    def _description(self) -> dict[str, Any]:
        digest = hashlib.sha256(self.model).hexdigest()
        return {"name": self.name, "unknown": self.unknown, "model_sha256": digest}

    @cached_property
    def _processor(self) -> Any:
        try:
            return sentencepiece.SentencePieceProcessor(model_proto=self.model)
        except RuntimeError as error:
            raise ValueError("a sentencepiece model") from error

    @cached_property
    def _characters(self) -> frozenset[str]:
        """What any text may consist of: training makes a piece of every character, see there."""
        return frozenset(
            {" ", *(piece for piece in self.symbols if len(piece) == 1)} - {WORD_START}
        )

    @cached_property
    def pieces(self) -> tuple[Piece, ...]:
        """What each token adds to a text."""
        return tuple(
            Piece(readable(symbol.removeprefix(WORD_START)), symbol.startswith(WORD_START))
            for symbol in self.symbols
        )


def train_sentencepiece(
    config: SentencePieceConfig, texts: Iterable[str]
) -> SentencePieceTokenizer:
    """A tokenizer whose model is learnt from `texts`; the same texts give the same model.

    Raises:
        DataError: the texts are empty, or have characters that sentencepiece gives a meaning.
        ConfigError: the vocabulary is too small for the characters, or too large for the texts.
    """
    lines = [normal for text in texts if (normal := normalize_text(text))]
    counts = Counter(character for line in lines for character in line)
    characters = learnt_symbols(counts)
    refuse(counts, RESERVED, "which sentencepiece gives a meaning of its own; remove them")
    least = len({*characters, " "}) + 2
    if config.vocabulary_size < least:
        raise ConfigError(
            f"tokenizer.vocabulary_size is {config.vocabulary_size}, but the text has "
            f"{least - 2} characters; with <blank> and <unknown> it must be at least {least}"
        )
    model = io.BytesIO()
    sentencepiece.set_random_generator_seed(0)
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=model,
            vocab_size=config.vocabulary_size - 1,
            model_type=config.model_type,
            normalization_rule_name="identity",
            character_coverage=1.0,
            max_sentence_length=1 << 30,  # longer lines would be skipped without a word
            num_threads=1,  # sums of floats depend on how many threads share them
            unk_id=0,
            bos_id=-1,
            eos_id=-1,
            pad_id=-1,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise _too_large(config, error) from error
    return SentencePieceTokenizer(model.getvalue(), config.unknown)


def load_sentencepiece(folder: Path, content: Mapping[str, Any]) -> SentencePieceTokenizer:
    """The tokenizer of a folder; `content` is what its `tokenizer.json` holds.

    Raises:
        ModelError: the model is missing or not the one that the folder was written with.
    """
    path = folder / MODEL_FILE
    try:
        stored = parse(_Stored, content, shown(folder / "tokenizer.json"))
        model = path.read_bytes()
    except ConfigError as error:
        raise ModelError(str(error)) from error
    except OSError as error:
        raise ModelError(f"{shown(path)}: cannot be read: {error.strerror}") from error
    if hashlib.sha256(model).hexdigest() != stored.model_sha256:
        raise ModelError(f"{shown(path)}: not the model of tokenizer.json; copy the folder again")
    try:
        return SentencePieceTokenizer(model, stored.unknown)
    except ValueError as error:
        raise ModelError(f"{shown(path)}: must be {error}") from error


class _Stored(Config):
    name: Literal["sentencepiece"]
    unknown: Unknown
    model_sha256: str


def _too_large(config: SentencePieceConfig, error: RuntimeError) -> ConfigError:
    limit = re.search(r"value <= (\d+)", str(error))
    most = f"the most is {int(limit[1]) + 1}" if limit else str(error)
    return ConfigError(
        f"tokenizer.vocabulary_size {config.vocabulary_size} is too large for this text: {most}"
    )
