"""A KenLM binary file through the `kenlm` package, which scores words but cannot list them."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from asr.errors import ModelError, shown
from asr.lm.ngram import BOS, EOS, UNK
from asr.storage import file_hash

if TYPE_CHECKING:
    import kenlm  # type: ignore[import-not-found]

MAGIC = b"mmap lm http://kheafield.com/code format version"
LN10 = math.log(10)


class KenlmModel:
    """A `LanguageModel` over a KenLM binary; states and words get integers as they come up.

    It keeps every state that it ever gave. Not for several threads at once.

    Attributes:
        words: none, as the file does not say what its words are.
        source: the file.
    """

    words: None = None
    unk, bos, eos = 0, 1, 2

    def __init__(self, path: Path, model: "kenlm.Model", states: "type[kenlm.State]") -> None:
        """Use an open model; `open_kenlm` opens one."""
        self.source = path
        self._model = model
        self._new_state = states
        self._names = [UNK, BOS, EOS]
        self._ids = {name: index for index, name in enumerate(self._names)}
        self._states: list[kenlm.State] = []
        self._numbers: dict[kenlm.State, int] = {}
        empty, start = states(), states()
        model.NullContextWrite(empty)
        model.BeginSentenceWrite(start)
        self._number(empty)
        self._start = self._number(start)

    @property
    def order(self) -> int:
        """The longest n-gram."""
        return int(self._model.order)

    def __contains__(self, word: str) -> bool:
        """Whether the model knows `word`."""
        return word == UNK or word in self._model

    def word_ids(self, words: Sequence[str]) -> NDArray[np.int32]:
        """The ids (n,) of words; `unk` for the unknown."""
        return np.array([self._word_id(word) for word in words], dtype=np.int32)

    def sha256(self) -> str:
        """The SHA-256 of the file, in hexadecimal."""
        return file_hash(self.source)

    def open(self) -> "KenlmModel":
        """The model itself, for one thread at a time."""
        return self

    def start(self) -> int:
        """The state at the beginning of a sentence: after `<s>`."""
        return self._start

    def score(
        self, states: ArrayLike, words: ArrayLike
    ) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
        """The log-probabilities (K,) of a word after each state, and the states (K,) after it.

        Args:
            states: (K,) integers from `start` or `score`; 0 is the empty context.
            words: (K,) from `word_ids`.

        Raises:
            ValueError: other shapes, or a state or word that this model never gave.
        """
        before, following = np.asarray(states), np.asarray(words)
        if before.ndim != 1 or before.shape != following.shape:
            raise ValueError(
                f"states and words must be (K,), got {before.shape} and {following.shape}"
            )
        log_probs = np.empty(len(before), dtype=np.float64)
        after = np.empty(len(before), dtype=np.int32)
        for k, (state, word) in enumerate(zip(before.tolist(), following.tolist(), strict=True)):
            if not (0 <= state < len(self._states) and 0 <= word < len(self._names)):
                raise ValueError(f"state {state} or word {word} is none that this model gave")
            new = self._new_state()
            log10_prob = self._model.BaseScore(self._states[state], self._names[word], new)
            log_probs[k], after[k] = log10_prob * LN10, self._number(new)
        return log_probs, after

    def keep(self, states: ArrayLike) -> None:
        """Nothing: histories that end alike share a state, and others may hold states as well."""

    def score_sentence(
        self, words: Sequence[str], *, bos: bool = True, eos: bool = True
    ) -> list[float]:
        """As `NgramModel.score_sentence`."""
        state = self._start if bos else 0
        scores = []
        for word in self.word_ids([*words, EOS] if eos else words).tolist():
            (log_prob,), (state,) = self.score([state], [word])
            scores.append(float(log_prob))
        return scores

    def _word_id(self, word: str) -> int:
        if word not in self._ids:
            if word not in self._model:
                return self.unk
            self._ids[word] = len(self._names)
            self._names.append(word)
        return self._ids[word]

    def _number(self, state: "kenlm.State") -> int:
        number = self._numbers.setdefault(state, len(self._states))
        if number == len(self._states):
            self._states.append(state)
        return number


def open_kenlm(path: Path) -> KenlmModel:
    """The model in a KenLM binary file.

    Raises:
        ModelError: the package `kenlm` is not installed, or refuses the file.
    """
    try:
        import kenlm
    except ImportError as error:
        raise ModelError(
            f"{shown(path)}: is a KenLM binary, for which the package kenlm is needed: "
            "pip install asr-toolkit[decoders], or give the ARPA file that it was made of"
        ) from error
    try:
        model = kenlm.Model(str(path))
    except (OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ModelError(
            f"{shown(path)}: is no KenLM binary that the package kenlm can read ({shown(reason)}); "
            "make it again, or give the ARPA file"
        ) from error
    return KenlmModel(path, model, kenlm.State)
