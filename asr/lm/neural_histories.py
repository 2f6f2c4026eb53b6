"""Histories of a neural language model: integers that stand for beginnings of sentences.

What belongs to a history, the state of the network and the log-probabilities of the next words, is
a row of arrays that grow as needed; the integer is its place. Rows of histories that nobody keeps
are used again.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from asr.lm.neural import BOUNDARY, NeuralNetwork

START = 0
_FIRST_ROWS = 64


class NeuralHistories:
    """A `LanguageModel` that can also give all words at once; for one thread at a time.

    After the end of a sentence the history is that of the start. A word that is none of the
    network's tokens (`<unk>`, where they have none) leaves the history as it is.

    Attributes:
        words: what each word id stands for.
        order: none: a word depends on the whole sentence before it.
        bos: the boundary of sentences, which is also `eos`.
        eos: word 0, the end of a sentence.
        unk: the id of every word that the model does not know.
    """

    order: None = None
    bos = eos = BOUNDARY

    def __init__(
        self,
        network: NeuralNetwork,
        words: tuple[str, ...],
        ids: Mapping[str, int],
        *,
        unknown: float,
    ) -> None:
        """Begin with the start of a sentence alone.

        Args:
            network: in evaluation mode.
            words: its V tokens, and `<unk>` if it is none of them.
            ids: the id of each word.
            unknown: the log-probability of an `<unk>` that is no token.
        """
        self.words = words
        self.unk = ids["<unk>"]
        self._network, self._ids, self._unknown = network, ids, unknown
        self._used = np.zeros(0, dtype=np.bool_)
        self._log_probs = np.empty((0, len(words)), dtype=np.float32)
        with torch.inference_mode():
            self._states = network.begin(0)
            self._add(np.zeros(1, dtype=np.int64), network.begin(1))

    def __contains__(self, word: str) -> bool:
        """Whether the model knows `word`."""
        return word in self._ids

    def word_ids(self, words: Sequence[str]) -> NDArray[np.int32]:
        """The ids (n,) of words; `unk` for the unknown."""
        return np.array([self._ids.get(word, self.unk) for word in words], dtype=np.int32)

    def start(self) -> int:
        """The history at the beginning of a sentence, which is never forgotten."""
        return START

    def log_probs(self, states: ArrayLike) -> NDArray[np.float32]:
        """The log-probabilities (K, words) of every word after each state (K,).

        Raises:
            ValueError: another shape, or a state that was never given or is forgotten.
        """
        return self._log_probs[self._checked(states)]

    def score(
        self, states: ArrayLike, words: ArrayLike
    ) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
        """The log-probabilities (K,) of a word after each state, and the states (K,) after it.

        Raises:
            ValueError: as `advance`.
        """
        before, following = self._checked_pairs(states, words)
        return self._log_probs[before, following].astype(np.float64), self._after(before, following)

    def advance(self, states: ArrayLike, words: ArrayLike) -> NDArray[np.int32]:
        """The states (K,) after a word has followed each state.

        All are computed in one step of the network; equal pairs give the same state.

        Args:
            states: (K,) integers from `start`, `score` or `advance`.
            words: (K,) word ids.

        Raises:
            ValueError: other shapes, a word outside the model, or a state that was never given or
                is forgotten.
        """
        return self._after(*self._checked_pairs(states, words))

    def keep(self, states: ArrayLike) -> None:
        """Forget all states but these (K,) and the start; they keep their integers.

        Raises:
            ValueError: another shape, or a state that was never given or is forgotten already.
        """
        kept = self._checked(states)
        self._used[:] = False
        self._used[kept] = True
        self._used[START] = True

    def _after(self, states: NDArray[np.int64], words: NDArray[np.int64]) -> NDArray[np.int32]:
        after = np.where(words == self.eos, START, states).astype(np.int32)
        read = (words != self.eos) & (words < self._network.vocabulary_size)
        if read.any():
            pairs = states[read] * len(self.words) + words[read]
            distinct, places = np.unique(pairs, return_inverse=True)
            before, tokens = np.divmod(distinct, len(self.words))
            with torch.inference_mode():
                states_before = self._states[torch.from_numpy(before).to(self._states.device)]
                after[read] = self._add(tokens, states_before)[places]
        return after

    def _add(self, tokens: NDArray[np.int64], states: torch.Tensor) -> NDArray[np.int64]:
        """The rows (K,) of new histories: a token (K,) after each state (K, …) of the network."""
        log_probs, states = self._network.step(torch.from_numpy(tokens).to(states.device), states)
        rows = self._free_rows(len(tokens))
        self._states[torch.from_numpy(rows).to(states.device)] = states
        self._log_probs[rows, : log_probs.shape[1]] = log_probs.cpu().numpy()
        self._log_probs[rows, log_probs.shape[1] :] = self._unknown
        self._used[rows] = True
        return rows

    def _free_rows(self, count: int) -> NDArray[np.int64]:
        free = np.flatnonzero(~self._used)
        if len(free) < count:
            more = max(count, len(self._used), _FIRST_ROWS)
            self._states = torch.cat((self._states, self._network.begin(more)))
            rows = np.empty((more, len(self.words)), dtype=np.float32)
            self._log_probs = np.concatenate((self._log_probs, rows))
            self._used = np.concatenate((self._used, np.zeros(more, dtype=np.bool_)))
            free = np.flatnonzero(~self._used)
        return free[:count]

    def _checked(self, states: ArrayLike) -> NDArray[np.int64]:
        found = np.asarray(states, dtype=np.int64)
        if found.ndim != 1:
            raise ValueError(f"states must be (K,), got {found.shape}")
        inside = (found >= 0) & (found < len(self._used))
        if not inside.all() or not self._used[found].all():
            wrong = found[~inside] if not inside.all() else found[~self._used[found]]
            raise ValueError(f"state {wrong[0]} was never given, or is forgotten since `keep`")
        return found

    def _checked_pairs(
        self, states: ArrayLike, words: ArrayLike
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        before, following = self._checked(states), np.asarray(words, dtype=np.int64)
        if before.shape != following.shape:
            raise ValueError(
                f"states and words must be (K,), got {before.shape} and {following.shape}"
            )
        outside = (following < 0) | (following >= len(self.words))
        if outside.any():
            raise ValueError(
                f"word {following[outside][0]} is outside the model of {len(self.words)} words"
            )
        return before, following
