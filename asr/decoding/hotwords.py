"""Hot words: words and phrases that are more likely in this recording than the models believe.

Phrases are an automaton of the same form as an n-gram model, whose scores are bonuses. A phrase
earns its share word by word; what an unfinished one was given is taken back where it breaks off
(Aho & Corasick 1975, with the failure links as back-off).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from asr.data.text import normalize_text, read_lines, words
from asr.errors import DataError, shown
from asr.lm.ngram import Automaton

DEFAULT_WEIGHT = 8.0  # nats
MAX_WEIGHT = 1e6  # with which no sum overflows
NO_HOT_WORD = 0


@dataclass(frozen=True, slots=True)
class HotWord:
    """A word or phrase and the nats that hearing it adds; negative makes it less likely."""

    phrase: str
    weight: float = DEFAULT_WEIGHT

    def __post_init__(self) -> None:
        if not abs(self.weight) <= MAX_WEIGHT:
            raise ValueError(
                f"weight must be {-MAX_WEIGHT:g} to {MAX_WEIGHT:g} nats, got {self.weight}"
            )


@dataclass(slots=True)
class _State:
    """A beginning of phrases: `earned` by phrases that ended on the way, `pending` on trust."""

    children: dict[int, int] = field(default_factory=dict)
    own: float = 0.0
    earned: float = 0.0
    pending: float = 0.0
    suffix: int = 0


def read_hotwords(path: Path) -> list[HotWord]:
    """The hot words of a text file: a word or phrase a line, with a weight after a tab.

    Raises:
        DataError: the file cannot be read, a weight that is no number, or no hot word.
    """
    found = []
    for number, line in read_lines(path):
        phrase, tab, weight = line.partition("\t")
        if not words(normalize_text(phrase)):
            continue
        value = _weight(weight, f"{shown(path)}:{number}") if tab else DEFAULT_WEIGHT
        found.append(HotWord(phrase, value))
    if not found:
        raise DataError(f"{shown(path)}: has no hot words; write a word or phrase a line")
    return found


def hot_vocabulary(hotwords: Sequence[HotWord]) -> list[str]:
    """The words of all phrases, in the order of their first appearance."""
    return list(dict.fromkeys(w for hot in hotwords for w in words(normalize_text(hot.phrase))))


def hot_automaton(hotwords: Sequence[HotWord], vocabulary: Sequence[str]) -> Automaton:
    """The automaton of hot words; word i of `vocabulary` is its word i + 1, and 0 any other."""
    ids = {word: index + 1 for index, word in enumerate(vocabulary)}
    phrases = [
        ([ids[word] for word in words(normalize_text(hot.phrase))], hot.weight) for hot in hotwords
    ]
    return _arrays(_states(phrases), len(vocabulary) + 1)


def most_given(automaton: Automaton) -> float:
    """The most that any word is given in any state: more than any arc where a phrase goes on."""
    most: list[float] = []
    for state, shorter in enumerate(automaton.backoff_states.tolist()):
        arcs = automaton.arc_log_probs[automaton.arc_begin[state] : automaton.arc_begin[state + 1]]
        backing_off = automaton.backoff_log_probs[state] + most[shorter] if state else 0.0
        most.append(float(arcs.max(initial=backing_off)))
    return max(most)


def _states(phrases: Sequence[tuple[list[int], float]]) -> list[_State]:
    """The beginnings of all phrases, shorter ones first."""
    by_words: dict[tuple[int, ...], tuple[float, float]] = {(): (0.0, 0.0)}
    for phrase, weight in phrases:
        for length in range(1, len(phrase) + 1):
            own, pending = by_words.get(tuple(phrase[:length]), (0.0, 0.0))
            if length == len(phrase):
                own += weight
            else:
                pending = max(pending, weight * length / len(phrase))
            by_words[tuple(phrase[:length])] = (own, pending)
    ordered = sorted(by_words, key=lambda beginning: (len(beginning), beginning))
    number = {beginning: index for index, beginning in enumerate(ordered)}
    states = [_State(own=by_words[b][0], pending=by_words[b][1]) for b in ordered]
    ends = [0.0] * len(states)  # what all phrases bring that end with a state's last word
    for index, beginning in enumerate(ordered[1:], start=1):
        suffix = next(
            beginning[at:] for at in range(1, len(beginning) + 1) if beginning[at:] in number
        )
        parent, state = number[beginning[:-1]], states[index]
        state.suffix = number[suffix]
        ends[index] = state.own + ends[state.suffix]
        state.earned = states[parent].earned + ends[index]
        states[parent].children[beginning[-1]] = index
    return states


def _arrays(states: Sequence[_State], num_words: int) -> Automaton:
    """State 0 has an arc for every word, the others for those that go on with a phrase.

    No arc leads to a state that nothing goes on from and nothing is taken back from: prefixes whose
    future is the same are in the same state.
    """
    back = [0.0] + [states[s.suffix].pending - s.pending for s in states[1:]]
    reached = list(range(len(states)))
    for index, state in enumerate(states[1:], start=1):
        if not state.children and back[index] == 0.0:
            reached[index] = reached[state.suffix]
    begins, arc_words, bonuses, targets = [0], [], [], []
    for index, state in enumerate(states):
        given = state.earned + state.pending
        for word in range(num_words) if index == 0 else sorted(state.children):
            child = state.children.get(word, 0)
            arc_words.append(word)
            targets.append(reached[child])
            bonuses.append(states[child].earned + states[child].pending - given if child else 0.0)
        begins.append(len(arc_words))
    arrays = Automaton(
        arc_begin=np.array(begins, dtype=np.int64),
        arc_words=np.array(arc_words, dtype=np.int32),
        arc_log_probs=np.array(bonuses, dtype=np.float32),
        arc_targets=np.array(targets, dtype=np.int32),
        backoff_log_probs=np.array(back, dtype=np.float32),
        backoff_states=np.array([-1] + [s.suffix for s in states[1:]], dtype=np.int32),
    )
    for array in arrays:
        array.setflags(write=False)
    return arrays


def _weight(text: str, where: str) -> float:
    try:
        weight = float(text.strip())
    except ValueError:
        weight = np.nan
    if not abs(weight) <= MAX_WEIGHT:
        raise DataError(f"{where}: weight '{shown(text.strip())}' is no number of nats, such as 8")
    return weight
