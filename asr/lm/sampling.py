"""Sentences drawn from a language model, at a temperature.

`p_τ(k) ∝ exp(o_k / τ)`: the scores are divided by the temperature. Below 1 what is probable becomes
more so, above 1 all evens out; 1 is the model itself, and 0 takes the most probable word each time.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.data.text import normalize_text, words
from asr.errors import ConfigError, DataError, ModelError, shown
from asr.lm.kenlm_binary import KenlmModel
from asr.lm.neural_histories import NeuralHistories
from asr.lm.neural_model import NeuralModel
from asr.lm.ngram import NgramModel
from asr.lm.tokens import SPACE, Unit

MAX_SCORES = 1 << 22  # of all words after all sentences that are drawn side by side

Followed = NeuralHistories | NgramModel


def sample_texts(
    model: NgramModel | KenlmModel | NeuralModel,
    prompt: str,
    *,
    count: int,
    length: int,
    temperature: float,
    generator: np.random.Generator,
    unit: Unit = "word",
) -> list[str]:
    """Texts that begin with `prompt`, which may be empty.

    Args:
        model: whose words can be listed.
        prompt: a space at its end counts for models of characters.
        count: how many texts.
        length: most words that are drawn for one.
        temperature: 0 or more.
        generator: of random numbers.
        unit: what the words of a model are that is not neural.

    Raises:
        ConfigError: a number out of its range.
        DataError: the model does not know the words of the prompt.
        ModelError: a KenLM binary, which cannot list its words.
    """
    check_sampling(count=count, length=length, temperature=temperature)
    if isinstance(model, KenlmModel):
        raise ModelError(
            f"{shown(model.source)}: a KenLM binary does not list its words, so that none can be "
            "drawn; give the ARPA file that it was made of"
        )
    tokens = prompt_ids(model, prompt, unit)
    rows = max(1, MAX_SCORES // len(model.words))
    drawn: list[list[int]] = []
    while len(drawn) < count:
        drawn += sample_sentences(
            model.open(),
            tokens,
            count=min(rows, count - len(drawn)),
            length=length,
            temperature=temperature,
            generator=generator,
        )
    if isinstance(model, NeuralModel):
        return [model.tokenizer.decode(sentence) for sentence in drawn]
    return [join_words([model.words[word] for word in sentence], unit) for sentence in drawn]


def sample_sentences(
    model: Followed,
    prompt: Sequence[int],
    *,
    count: int,
    length: int,
    temperature: float,
    generator: np.random.Generator,
) -> list[list[int]]:
    """The words of sentences that go on from `prompt`, which is part of them, without their ends.

    Unknown words are never drawn.

    Args:
        model: of a neural model its histories, of which all but the last ones are forgotten.
        prompt: word ids with which every sentence begins.
        count: how many sentences, side by side.
        length: most words that are drawn for one; then it stops without its end.
        temperature: 0 or more.
        generator: of random numbers.
    """
    never = [word for word in {model.unk, model.bos} if word != model.eos]
    sentences = [list(prompt) for _ in range(count)]
    unended = np.arange(count)
    states = np.full(count, _after(model, prompt), dtype=np.int32)
    for _ in range(length):
        log_probs = _all_words(model, states)
        log_probs[:, never] = -np.inf
        drawn = _drawn(log_probs, temperature, generator)
        goes_on = drawn != model.eos
        unended, drawn = unended[goes_on], drawn[goes_on]
        if not len(unended):
            break
        for sentence, word in zip(unended.tolist(), drawn.tolist(), strict=True):
            sentences[sentence].append(word)
        _, states = model.score(states[goes_on], drawn)
        model.keep(states)
    return sentences


def tempered(log_probs: NDArray[Any], temperature: float) -> NDArray[np.float64]:
    """Log-probabilities (K, V) at a temperature above 0, normalised again."""
    scaled = (log_probs - log_probs.max(axis=1, keepdims=True)).astype(np.float64) / temperature
    return np.asarray(scaled - np.log(np.exp(scaled).sum(axis=1, keepdims=True)))


def check_sampling(*, count: int, length: int, temperature: float) -> None:
    """Return when the numbers can be used.

    Raises:
        ConfigError: one is out of its range.
    """
    if not (temperature >= 0 and math.isfinite(temperature)):
        raise ConfigError(
            "the temperature must be a number from 0 (always the most probable word) up, got "
            f"{temperature}; 1 is the model itself"
        )
    if count < 1 or length < 1:
        raise ConfigError(f"count and length must be at least 1, got {count} and {length}")


def prompt_ids(model: NgramModel | NeuralModel, prompt: str, unit: Unit) -> list[int]:
    """The ids of the words of a prompt, which a model must know.

    Raises:
        DataError: those that it does not know.
    """
    if isinstance(model, NeuralModel):
        names = model.split(prompt)
        unknown = list(model.tokenizer.unknown_symbols(prompt))
    else:
        normal = normalize_text(prompt)
        names = words(normal) if unit == "word" else [SPACE if c == " " else c for c in normal]
        unknown = [name for name in dict.fromkeys(names) if name not in model]
    if unknown:
        listed = ", ".join(f"'{shown(name)}'" for name in unknown)
        raise DataError(
            f"the prompt has {listed}, which the language model does not know; is it of another "
            "case, or --unit?"
        )
    if names and prompt[-1].isspace() and SPACE in model:
        names.append(SPACE)
    return [int(word) for word in model.word_ids(names)]


def join_words(names: Sequence[str], unit: Unit) -> str:
    """The text of words."""
    if unit == "word":
        return " ".join(names)
    return "".join(" " if name == SPACE else name for name in names)


def _after(model: Followed, prompt: Sequence[int]) -> int:
    state = model.start()
    for word in prompt:
        _, (state,) = model.score([state], [word])
        model.keep([state])
    return int(state)


def _all_words(model: Followed, states: NDArray[np.int32]) -> NDArray[Any]:
    """The log-probabilities (K, V) of every word after each state, for the caller to change."""
    if isinstance(model, NeuralHistories):
        return model.log_probs(states)
    size = len(model.words)
    scores, _ = model.score(np.repeat(states, size), np.tile(np.arange(size), len(states)))
    return scores.reshape(len(states), size)


def _drawn(
    log_probs: NDArray[Any], temperature: float, generator: np.random.Generator
) -> NDArray[np.int64]:
    """A word (K,) of each row; the largest sum with Gumbel noise has the tempered probability."""
    if temperature == 0:
        return np.asarray(log_probs.argmax(axis=1))
    noise = generator.gumbel(size=log_probs.shape)
    return np.asarray((tempered(log_probs, temperature) + noise).argmax(axis=1))
