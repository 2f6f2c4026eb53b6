"""What a search or a measurement needs to know of a language model."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

MAX_ORDER = 6


class LanguageModel(Protocol):
    """Probabilities of words after a history; the histories are integers, the states.

    Word ids and states mean something to the model that gave them only.

    Attributes:
        order: the longest n-gram; a word depends on `order - 1` words before it.
        words: what each word id stands for; none when the model cannot list its words.
        unk: the id of every word that the model does not know.
        bos: the id of `<s>`, before the first word.
        eos: the id of `</s>`, after the last word.
    """

    @property
    def order(self) -> int: ...  # noqa: D102
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
