"""How well a language model predicts a text."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from asr.errors import DataError
from asr.lm.protocol import LanguageModel

BATCH = 4096  # sentences that are scored side by side
_LARGEST = 700.0  # whose exponential is a number


@dataclass(frozen=True, slots=True, kw_only=True)
class Perplexity:
    """A text as a model sees it; the end of each sentence is scored as one more word.

    Attributes:
        sentences: how many.
        words: how many, without the ends.
        unknown_words: of these, how many the model does not know.
        log_prob: of the whole text, natural, unknown words scored as `<unk>`.
        known_log_prob: the same without the scores of unknown words.
    """

    sentences: int
    words: int
    unknown_words: int
    log_prob: float
    known_log_prob: float

    @property
    def oov_rate(self) -> float:
        """The share of words that the model does not know; 0 without words."""
        return self.unknown_words / self.words if self.words else 0.0

    @property
    def perplexity(self) -> float:
        """Of all words and ends."""
        return _perplexity(self.log_prob, self.words + self.sentences)

    @property
    def known_perplexity(self) -> float:
        """Without unknown words, which are left out of the sum and of the count."""
        known = self.words - self.unknown_words + self.sentences
        return _perplexity(self.known_log_prob, known)

    def lines(self, noun: str = "words") -> list[str]:
        """A summary, for people; `noun`: what the words are."""
        return [
            f"{self.sentences:,} sentences, {self.words:,} {noun}, "
            f"{self.unknown_words:,} unknown ({self.oov_rate:.2%})",
            f"perplexity {self.perplexity:.2f}, without unknown {noun} {self.known_perplexity:.2f}",
            f"log-probability {self.log_prob:.2f} nats",
        ]


def perplexity(model: LanguageModel, sentences: Iterable[Sequence[str]]) -> Perplexity:
    """Score every word of every sentence and its end, each sentence from its beginning.

    Reference: the same as KenLM's `query` and SRILM's `ngram -ppl` report.

    Args:
        model: any language model; its batched `score` is called once for each word position of
            4096 sentences.
        sentences: words of each; ones that the model does not know count as `<unk>`.

    Raises:
        DataError: no sentence at all.
    """
    num_sentences = num_words = num_unknown = 0
    log_prob = unknown_log_prob = 0.0
    remaining = iter(sentences)
    while batch := list(islice(remaining, BATCH)):
        words, lengths = _encoded(model, batch)
        scores, unknown = word_log_probs(model, words, lengths), words == model.unk
        num_sentences += len(batch)
        num_words += len(words) - len(batch)
        num_unknown += int(unknown.sum())
        log_prob += float(scores.sum())
        unknown_log_prob += float(scores[unknown].sum())
    if not num_sentences:
        raise DataError("no sentence to measure a language model on; give a text of one a line")
    return Perplexity(
        sentences=num_sentences,
        words=num_words,
        unknown_words=num_unknown,
        log_prob=log_prob,
        known_log_prob=log_prob - unknown_log_prob,
    )


def _encoded(
    model: LanguageModel, sentences: Sequence[Sequence[str]]
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """The word ids of sentences one after the other, each with its end, and their lengths."""
    lengths = np.array([len(sentence) + 1 for sentence in sentences], dtype=np.int64)
    is_end = np.zeros(int(lengths.sum()), dtype=np.bool_)
    is_end[np.cumsum(lengths) - 1] = True
    words = np.full(len(is_end), model.eos, dtype=np.int32)
    words[~is_end] = model.word_ids([word for sentence in sentences for word in sentence])
    return words, lengths


def word_log_probs(
    model: LanguageModel, words: NDArray[np.int32], lengths: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The log-probability of each of `words`; position by position, in all sentences at once."""
    longest_first = np.argsort(-lengths, kind="stable")
    begins = (np.cumsum(lengths) - lengths)[longest_first]
    shrinking = lengths[longest_first]
    states = np.full(len(lengths), model.start(), dtype=np.int32)
    scores = np.empty(len(words), dtype=np.float64)
    for position in range(int(shrinking[0])):
        active = int(np.searchsorted(-shrinking, -position))
        places = begins[:active] + position
        scores[places], states = model.score(states[:active], words[places])
        model.keep(states)
    return scores


def _perplexity(log_prob: float, count: int) -> float:
    mean = -log_prob / count
    return math.exp(mean) if mean < _LARGEST else math.inf
