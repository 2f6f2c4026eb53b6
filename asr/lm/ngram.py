"""An n-gram model as an automaton: states are contexts, arcs are words with their probabilities.

The probability of a word after a context is that of the longest n-gram that the model has, times
the back-off weights of the contexts that had to be shortened for it (Katz, 1987). A state without
arcs whose back-off weight is one says nothing that its shorter context does not say, so no arc
leads to it: hypotheses whose future is the same are in the same state.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from asr.compiled import compiled, compiled_inline, compiled_loop

if TYPE_CHECKING:
    import torch

UNK, BOS, EOS = "<unk>", "<s>", "</s>"


class Automaton(NamedTuple):
    """The model as plain arrays that nobody may write to; logarithms are natural.

    State 0 is the empty context. It has an arc for each word, in the order of word ids. The arcs of
    every other state are sorted by word.

    Attributes:
        arc_begin: (states + 1,) int64; the arcs of state s are arc_begin[s] to arc_begin[s + 1].
        arc_words: (arcs,) int32.
        arc_log_probs: (arcs,) float32.
        arc_targets: (arcs,) int32, the state after the word.
        backoff_log_probs: (states,) float32.
        backoff_states: (states,) int32, a shorter context; -1 for state 0.
    """

    arc_begin: NDArray[np.int64]
    arc_words: NDArray[np.int32]
    arc_log_probs: NDArray[np.float32]
    arc_targets: NDArray[np.int32]
    backoff_log_probs: NDArray[np.float32]
    backoff_states: NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class NgramModel:
    """An n-gram model in memory; a `LanguageModel` whose words can be listed.

    Attributes:
        automaton: its states and arcs.
        counts: n-grams of each order.
        unk: the id of `<unk>`, which stands for every word that is not in the model.
        bos: the id of `<s>`.
        eos: the id of `</s>`.
        source: the file that it was read from.
        digest: the SHA-256 of that file.
        text: (bytes,) uint8, the words in the order of their ids, in UTF-8, a line feed between.
    """

    automaton: Automaton
    counts: tuple[int, ...]
    unk: int
    bos: int
    eos: int
    source: Path
    digest: str
    text: NDArray[np.uint8]

    @property
    def order(self) -> int:
        """The longest n-gram."""
        return len(self.counts)

    @cached_property
    def words(self) -> tuple[str, ...]:
        """What each word id stands for."""
        return tuple(self.text.tobytes().decode("utf-8").split("\n"))

    @cached_property
    def ids(self) -> Mapping[str, int]:
        """The id of each word."""
        return {word: index for index, word in enumerate(self.words)}

    def __contains__(self, word: str) -> bool:
        """Whether the model knows `word`."""
        return word in self.ids

    def word_ids(self, words: Sequence[str]) -> NDArray[np.int32]:
        """The ids (n,) of words; `unk` for the unknown."""
        ids, unk = self.ids, self.unk
        return np.array([ids.get(word, unk) for word in words], dtype=np.int32)

    def sha256(self) -> str:
        """The SHA-256 of the file that the model was read from, in hexadecimal."""
        return self.digest

    def open(self) -> "NgramModel":
        """The model itself: its states take no memory, so that everybody may follow them."""
        return self

    def start(self) -> int:
        """The state at the beginning of a sentence: after `<s>`."""
        return int(self.automaton.arc_targets[self.bos])

    def score(
        self, states: ArrayLike, words: ArrayLike
    ) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
        """The log-probabilities (K,) of a word after each state, and the states (K,) after it.

        Args:
            states: (K,) integers from `start` or `score`; 0 is the empty context.
            words: (K,) word ids.

        Raises:
            ValueError: other shapes, or a state or word outside the model.
        """
        before = np.ascontiguousarray(states, dtype=np.int64)
        following = np.ascontiguousarray(words, dtype=np.int64)
        if before.ndim != 1 or before.shape != following.shape:
            raise ValueError(
                f"states and words must be (K,), got {before.shape} and {following.shape}"
            )
        log_probs = np.empty(len(before), dtype=np.float64)
        after = np.empty(len(before), dtype=np.int32)
        done = _score_all(self.automaton, self.counts[0], before, following, log_probs, after)
        if done < len(before):
            raise ValueError(
                f"state {before[done]} or word {following[done]} is outside the model of "
                f"{len(self.automaton.backoff_states)} states and {self.counts[0]} words"
            )
        return log_probs, after

    def keep(self, states: ArrayLike) -> None:
        """Nothing: states are places in the automaton."""

    def score_sentence(
        self, words: Sequence[str], *, bos: bool = True, eos: bool = True
    ) -> list[float]:
        """The natural log-probability of each word of a sentence, and of its end.

        Args:
            words: unknown ones count as `<unk>`.
            bos: whether the first word stands at the beginning of a sentence; else its context is
                empty.
            eos: whether the end of the sentence is scored as one more word.
        """
        state = self.start() if bos else 0
        ids = self.word_ids([*words, EOS] if eos else words)
        return list(map(float, _score_chain(self.automaton, state, ids)))

    def tensors(self) -> dict[str, "torch.Tensor"]:
        """Copies of the automaton's arrays as torch tensors, by name."""
        import torch

        return {name: torch.tensor(array) for name, array in self.automaton._asdict().items()}


@compiled_inline
def score_word(automaton, state, word):  # type: ignore[no-untyped-def]
    """The log-probability (float64) of a word after a state, and the state (int64) after it.

    For compiled loops: the state and the word must be inside the model, nothing is checked.
    """
    log_prob = 0.0
    at = np.int64(state)
    while at > 0:
        arc = find_arc(automaton.arc_begin, automaton.arc_words, at, word)
        if arc >= 0:
            return log_prob + automaton.arc_log_probs[arc], np.int64(automaton.arc_targets[arc])
        log_prob += automaton.backoff_log_probs[at]
        at = np.int64(automaton.backoff_states[at])
    return log_prob + automaton.arc_log_probs[word], np.int64(automaton.arc_targets[word])


@compiled_inline
def find_arc(begin, words, state, word):  # type: ignore[no-untyped-def]
    """The arc of a word in a state whose arcs are sorted, or -1."""
    low = begin[state]
    size = begin[state + 1] - low
    if size == 0:
        return np.int64(-1)
    while size > 1:  # without branches that the processor would guess wrongly
        half = size >> 1
        low += half * np.int64(words[low + half] <= word)
        size -= half
    return low if words[low] == word else np.int64(-1)


@compiled_loop
def _score_all(automaton, num_words, states, words, log_probs, after):  # type: ignore[no-untyped-def]
    """Fill `log_probs` and `after` (K,); gives how many, which is less than K if one is outside."""
    num_states = len(automaton.backoff_states)
    for k in range(len(states)):
        if not (0 <= states[k] < num_states and 0 <= words[k] < num_words):
            return k
        log_probs[k], after[k] = score_word(automaton, states[k], words[k])
    return len(states)


@compiled
def _score_chain(automaton, state, words):  # type: ignore[no-untyped-def]
    """The log-probabilities (n,) of words, each after those before it."""
    log_probs = np.empty(len(words), np.float64)
    for k in range(len(words)):
        log_probs[k], state = score_word(automaton, state, words[k])
    return log_probs
