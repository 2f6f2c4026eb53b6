"""What a search or a measurement needs to know of a language model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

MAX_ORDER = 6


class LanguageModel(Protocol):
    """Probabilities of words after a history; the histories are integers, the states.

    Word ids and states mean something to the model that gave them only.

    Attributes:
        order: the longest n-gram; a word depends on `order - 1` words before it. None: on all.
        words: what each word id stands for; none when the model cannot list its words.
        unk: the id of every word that the model does not know.
        bos: the id of `<s>`, before the first word.
        eos: the id of `</s>`, after the last word.
    """

    @property
    def order(self) -> int | None: ...  # noqa: D102
    @property
    def words(self) -> tuple[str, ...] | None: ...  # noqa: D102
    @property
    def unk(self) -> int: ...  # noqa: D102
    @property
    def bos(self) -> int: ...  # noqa: D102
    @property
    def eos(self) -> int: ...  # noqa: D102

    def __contains__(self, word: str) -> bool:
        """Whether the model knows `word`."""

    def word_ids(self, words: Sequence[str]) -> NDArray[np.int32]:
        """The ids (n,) of words; `unk` for the unknown."""

    def start(self) -> int:
        """The state at the beginning of a sentence: after `<s>`."""

    def score(
        self, states: ArrayLike, words: ArrayLike
    ) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
        """The log-probabilities (K,) of a word after each state, and the states (K,) after it.

        Args:
            states: (K,) integers from `start` or `score`.
            words: (K,) word ids.

        Raises:
            ValueError: other shapes, or a state or word that the model never gave.
        """

    def keep(self, states: ArrayLike) -> None:
        """Forget all states but these (K,) and the start, so that memory stays bounded.

        What is kept keeps its integer. A model whose states take no memory does nothing.
        """


class Histories(LanguageModel, Protocol):
    """A language model that answers for all words at once; for one user in one thread."""

    def log_probs(self, states: ArrayLike) -> NDArray[np.float32]:
        """The log-probabilities (K, words) of every word after each state (K,)."""

    def advance(self, states: ArrayLike, words: ArrayLike) -> NDArray[np.int32]:
        """The states (K,) after a word (K,) has followed each state (K,)."""


class StepwiseModel(Protocol):
    """A language model whose histories somebody follows: a network.

    Attributes:
        words: what each word id stands for.
        unk: the id of every word that the model does not know.
        eos: the id of the end of a sentence.
        source: where it was read from.
    """

    @property
    def words(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def unk(self) -> int: ...  # noqa: D102
    @property
    def eos(self) -> int: ...  # noqa: D102
    @property
    def source(self) -> Path: ...  # noqa: D102

    def word_ids(self, words: Sequence[str]) -> NDArray[np.int32]:
        """The ids (n,) of words; `unk` for the unknown."""

    def sha256(self) -> str:
        """A hash of the model, in hexadecimal."""

    def open(self) -> Histories:
        """Histories of one user; the model itself never changes."""
