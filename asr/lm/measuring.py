"""Any language model measured on texts, so that models of words, characters and pieces compare."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from asr.data.text import normalize_text, words
from asr.data.tokenizer import Tokenizer
from asr.lm.kenlm_binary import KenlmModel
from asr.lm.neural_model import NeuralModel
from asr.lm.ngram import NgramModel
from asr.lm.perplexity import Perplexity, perplexity
from asr.lm.tokens import SPACE, Unit, split_sentences, text_blocks

PER_CHARACTER, PER_PHONE = "bits_per_character", "bits_per_phone"


def bits_name(tokenizer: Tokenizer) -> str:
    """The metric of a model with these tokens; the letters of phones mean nothing."""
    return PER_PHONE if tokenizer.name == "phones" else PER_CHARACTER


def bits_text(scores: Mapping[str, float], digits: int) -> str:
    """The bits among the scores of a training, for people; empty: there are none."""
    names = [name for name in (PER_CHARACTER, PER_PHONE) if name in scores]
    return ", ".join(f"{scores[name]:.{digits}f} {name.replace('_', ' ')}" for name in names)


@dataclass(slots=True)
class TextSize:
    """How much text has gone by."""

    sentences: int = 0
    words: int = 0
    characters: int = 0

    def counted(self, texts: Iterable[Path]) -> Iterator[str]:
        """The lines of texts, normalised, each counted as it goes by."""
        for block in text_blocks(texts):
            for line in map(normalize_text, block.lines()):
                self.sentences += 1
                self.words += len(words(line))
                self.characters += len(line)
                yield line


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """A text as a model sees it, token by token, and what that is for a character and for a word.

    The end of a sentence counts as a token, as a character and as a word.
    """

    tokens: Perplexity
    size: TextSize = field(default_factory=TextSize)

    @property
    def bits_per_character(self) -> float:
        """Of the whole text."""
        return self._bits_per(self.size.characters)

    @property
    def bits_per_phone(self) -> float:
        """The same of a text whose words are phones."""
        return self._bits_per(self.size.words)

    @property
    def word_perplexity(self) -> float:
        """What a model of words would have, were it as good on the whole text."""
        mean = -self.tokens.log_prob / (self.size.words + self.size.sentences)
        return math.exp(mean) if mean < 700 else math.inf

    def lines(self, noun: str) -> list[str]:
        """A summary, for people."""
        if noun == "phones":
            return [*self.tokens.lines(noun), f"{self.bits_per_phone:.3f} bits per phone"]
        return [
            *self.tokens.lines(noun),
            f"{self.bits_per_character:.3f} bits per character, perplexity "
            f"{self.word_perplexity:.2f} per word: {self.size.words:,} words, "
            f"{self.size.characters:,} characters",
        ]

    def _bits_per(self, count: int) -> float:
        return -self.tokens.log_prob / math.log(2) / (count + self.size.sentences)


def measured_lines(
    model: NgramModel | KenlmModel | NeuralModel, texts: Iterable[Path], unit: Unit
) -> list[str]:
    """How well a model predicts texts, in lines for people.

    Args:
        model: a neural one has its own tokens.
        texts: as `asr.lm.tokens.read_tokens` takes files.
        unit: what the words of any other model are.

    Raises:
        DataError: no sentence at all, or a file that cannot be used.
    """
    if isinstance(model, NeuralModel):
        found = measure(model, texts)
        noun = "phones" if bits_name(model.tokenizer) == PER_PHONE else "tokens"
    elif unit == "character":
        found, noun = measure(model, texts), "characters"
    else:
        return perplexity(model.open(), split_sentences(texts, "word")).lines()
    return found.lines(noun)


def measure(model: NgramModel | KenlmModel | NeuralModel, texts: Iterable[Path]) -> Measurement:
    """A neural model, or one of characters, measured on texts.

    Raises:
        DataError: no sentence at all, or a file that cannot be used.
    """
    size = TextSize()
    lines = size.counted(texts)
    if isinstance(model, NeuralModel):
        sentences: Iterable[list[str]] = map(model.split, lines)
    else:
        sentences = ([SPACE if name == " " else name for name in line] for line in lines)
    return Measurement(tokens=perplexity(model.open(), sentences), size=size)
