"""N-grams to the states and arcs of an automaton, order by order.

States are numbered by order, and within an order by (context, word); arcs lie in the same order. So
the state of the n-gram on arc `a` is `a + 1`, and no table of states is needed.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from asr.compiled import compiled, compiled_loop
from asr.lm.ngram import Automaton, find_arc


class Rows(NamedTuple):
    """The n-grams of one order in the order of their lines, as they fill up.

    Attributes:
        ngrams: (n, order) int32 word ids; empty for order 1, where they count from 0.
        contexts: (n,) int32, the state of all words but the last; empty for order 1.
        log_probs: (n,) float32, natural.
        backoffs: (n,) float32, natural; empty for the highest order.
        lines: (n,) int32, where they stand in the file.
    """

    ngrams: NDArray[np.int32]
    contexts: NDArray[np.int32]
    log_probs: NDArray[np.float32]
    backoffs: NDArray[np.float32]
    lines: NDArray[np.int32]


class Arcs(NamedTuple):
    """The arcs of the orders that were taken already; see `Automaton`."""

    begin: NDArray[np.int64]
    words: NDArray[np.int32]


class StateBuilder:
    """Takes the rows of each order, the lowest first, and gives the automaton."""

    def __init__(self, counts: Sequence[int]) -> None:
        """Make room.

        Args:
            counts: n-grams of each order.
        """
        self._counts = tuple(counts)
        self._num_states = 1 + sum(counts[:-1])
        num_arcs = sum(counts)
        self._arc_begin = np.zeros(self._num_states + 1, dtype=np.int64)
        self._arc_words = np.empty(num_arcs, dtype=np.int32)
        self._arcs = Arcs(self._arc_begin, self._arc_words)
        self._log_probs = np.empty(num_arcs, dtype=np.float32)
        self._backoffs = np.zeros(self._num_states, dtype=np.float32)

    def add_unigrams(self, rows: Rows) -> None:
        """Take the words; they are the arcs of state 0 in the order of their rows."""
        num_words = self._counts[0]
        self._arc_begin[1] = num_words
        self._arc_words[:num_words] = np.arange(num_words)
        self._log_probs[:num_words] = rows.log_probs
        self._backoffs[1 : 1 + len(rows.backoffs)] = rows.backoffs

    def find_contexts(self, rows: Rows, first: int, last: int) -> int | None:
        """Fill in the contexts of some rows; gives the first row whose context is not there."""
        row = int(_find_contexts(self._arcs, rows, first, last))
        return row if row < last else None

    def add_ngrams(self, rows: Rows) -> int | None:
        """Take the rows of an order above 1, with their contexts.

        Returns:
            The first line that repeats the n-gram of an earlier one, if there is one.
        """
        order = rows.ngrams.shape[1]
        first_arc = sum(self._counts[: order - 1])
        first_state = 1 + sum(self._counts[: order - 2])
        end_state = 1 + first_arc
        line = _place_rows(
            rows,
            _sorted_by_word(rows.ngrams[:, -1], self._counts[0]),
            self._arc_begin[first_state : end_state + 1],
            (first_state, first_arc),
            (
                self._arc_words[first_arc:],
                self._log_probs[first_arc:],
                self._backoffs[1 + first_arc :],
            ),
        )
        return int(line) if line >= 0 else None

    def automaton(self) -> Automaton:
        """The whole, when all orders are taken."""
        backoff_states, targets = _link(self._arcs, self._num_states, self._counts[0])
        _skip_idle_states(self._arc_begin, self._backoffs, backoff_states, targets)
        return _frozen(
            Automaton(
                self._arc_begin,
                self._arc_words,
                self._log_probs,
                targets,
                self._backoffs,
                backoff_states,
            )
        )


def _frozen(automaton: Automaton) -> Automaton:
    """The same arrays, which nobody may write to any more."""
    for array in automaton:
        array.setflags(write=False)
    return automaton


@compiled_loop
def _find_contexts(arcs, rows, first, last):  # type: ignore[no-untyped-def]
    """Fill the contexts of rows `first` to `last`; gives the row that has none, or `last`.

    A loop of its own, as the processor then searches for several contexts at the same time.
    """
    order = rows.ngrams.shape[1]
    for row in range(first, last):
        state = np.int64(rows.ngrams[row, 0]) + 1
        for k in range(1, order - 1):
            arc = find_arc(arcs.begin, arcs.words, state, rows.ngrams[row, k])
            if arc < 0:
                return row
            state = arc + 1
        rows.contexts[row] = state
    return last


@compiled
def _sorted_by_word(words, num_words):  # type: ignore[no-untyped-def]
    """The rows (n,) int32 in the order of their words; those of a word in the order of lines."""
    begins = np.zeros(num_words + 1, np.int64)
    for row in range(len(words)):
        begins[words[row] + 1] += 1
    for word in range(num_words):
        begins[word + 1] += begins[word]
    by_word = np.empty(len(words), np.int32)
    for row in range(len(words)):
        by_word[begins[words[row]]] = row
        begins[words[row]] += 1
    return by_word


@compiled
def _place_rows(rows, by_word, arc_begin, firsts, arcs):  # type: ignore[no-untyped-def]
    """Fill the arcs of one order, sorted by context and then by word; gives a doubled line, or -1.

    `firsts` are the first state that is a context here, and the first arc. `arcs` are their words,
    log-probabilities and back-off weights; all arrays begin there.
    """
    words, log_probs, backoffs = arcs
    last = rows.ngrams.shape[1] - 1
    first_state, first_arc = firsts
    arc_begin[:] = 0
    for row in range(len(rows.contexts)):
        arc_begin[rows.contexts[row] - first_state + 1] += 1
    arc_begin[0] = first_arc
    for state in range(len(arc_begin) - 1):
        arc_begin[state + 1] += arc_begin[state]
    free = arc_begin - first_arc
    doubled = np.int64(-1)
    for row in by_word:
        context = rows.contexts[row] - first_state
        place = free[context]
        free[context] += 1
        words[place] = rows.ngrams[row, last]
        log_probs[place] = rows.log_probs[row]
        if len(rows.backoffs) > 0:
            backoffs[place] = rows.backoffs[row]
        if place > arc_begin[context] - first_arc and words[place - 1] == words[place]:
            line = np.int64(rows.lines[row])
            doubled = line if doubled < 0 else min(doubled, line)
    return doubled


@compiled
def _link(arcs, num_states, num_words):  # type: ignore[no-untyped-def]
    """The back-off link of each state and the target of each arc.

    A context's back-off links are all of its endings that are contexts, so the longest ending of an
    n-gram that is a context is found by following the last word from them.
    """
    backoff_states = np.full(num_states, -1, np.int32)
    targets = np.zeros(len(arcs.words), np.int32)
    for arc in range(min(num_words, num_states - 1)):
        backoff_states[arc + 1] = 0
        targets[arc] = arc + 1
    for state in range(1, num_states):
        for arc in range(arcs.begin[state], arcs.begin[state + 1]):
            shorter, found = np.int64(backoff_states[state]), np.int64(-1)
            while shorter > 0 and found < 0:
                found = find_arc(arcs.begin, arcs.words, shorter, arcs.words[arc])
                shorter = np.int64(backoff_states[shorter])
            ending = found + 1 if found >= 0 else np.int64(arcs.words[arc]) + 1
            if arc + 1 < num_states:
                targets[arc] = arc + 1
                backoff_states[arc + 1] = ending
            else:
                targets[arc] = ending
    return backoff_states, targets


@compiled
def _skip_idle_states(arc_begin, backoffs, backoff_states, targets):  # type: ignore[no-untyped-def]
    """Lead what leads to a state without arcs and weight to its shorter context instead."""
    num_states = len(backoff_states)
    kept = np.zeros(num_states, np.int32)
    for state in range(1, num_states):
        idle = arc_begin[state] == arc_begin[state + 1] and backoffs[state] == 0.0
        backoff_states[state] = kept[backoff_states[state]]
        kept[state] = backoff_states[state] if idle else state
    for arc in range(len(targets)):
        targets[arc] = kept[targets[arc]]
