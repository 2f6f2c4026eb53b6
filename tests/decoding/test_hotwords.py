from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.decoding.hotwords import (
    HotWord,
    hot_automaton,
    hot_vocabulary,
    most_given,
    read_hotwords,
)
from asr.errors import DataError
from asr.lm.ngram import score_word

WORDS = ["A", "B", "C", "D"]
PHRASES = st.lists(st.sampled_from("ABC"), min_size=1, max_size=3).map(" ".join)


def given_to(hotwords: list[HotWord], heard: list[str]) -> float:
    """What the automaton gives a whole utterance, its end included."""
    vocabulary = hot_vocabulary(hotwords)
    automaton = hot_automaton(hotwords, vocabulary)
    ids = {word: index + 1 for index, word in enumerate(vocabulary)}
    state, total = 0, 0.0
    for word in [*heard, "(the end)"]:
        bonus, state = score_word(automaton, state, ids.get(word, 0))
        total += bonus
    return total


@given(
    st.dictionaries(PHRASES, st.integers(-8, 8).map(float), min_size=1, max_size=5),
    st.lists(st.sampled_from(WORDS), max_size=8),
)
def test_every_occurrence_of_a_phrase_earns_its_weight(
    phrases: dict[str, float], heard: list[str]
) -> None:
    expected = sum(
        weight
        for phrase, weight in phrases.items()
        for start in range(len(heard))
        if heard[start : start + len(phrase.split())] == phrase.split()
    )
    hotwords = [HotWord(phrase, weight) for phrase, weight in phrases.items()]
    assert given_to(hotwords, heard) == pytest.approx(expected, abs=1e-4)


@given(st.dictionaries(PHRASES, st.integers(-8, 40).map(float), max_size=5))
def test_no_word_is_given_more_than_the_most(phrases: dict[str, float]) -> None:
    hotwords = [HotWord(phrase, weight) for phrase, weight in phrases.items()]
    vocabulary = hot_vocabulary(hotwords)
    automaton = hot_automaton(hotwords, vocabulary)
    most = max(
        score_word(automaton, state, word)[0]
        for state in range(len(automaton.backoff_states))
        for word in range(len(vocabulary) + 1)
    )
    assert most_given(automaton) >= most - 1e-5


def test_a_phrase_may_give_more_than_any_of_its_words() -> None:
    """A A A: the third completes one phrase and is the second of another."""
    automaton = hot_automaton([HotWord("A A", 3.0)], ["A"])
    assert automaton.arc_log_probs.max() == 1.5
    assert most_given(automaton) == 3.0


def test_a_phrase_earns_its_share_before_it_ends() -> None:
    vocabulary = ["NEW", "YORK"]
    automaton = hot_automaton([HotWord("NEW YORK", 6.0)], vocabulary)
    first, state = score_word(automaton, 0, 1)
    second, _ = score_word(automaton, state, 2)
    lost, _ = score_word(automaton, state, 0)
    assert (first, second, lost) == (3.0, 3.0, -3.0)


def test_without_hot_words_nothing_is_given() -> None:
    automaton = hot_automaton([], [])
    assert score_word(automaton, 0, 0) == (0.0, 0)
    assert all(not array.flags.writeable for array in automaton)
    assert isinstance(automaton.arc_log_probs, np.ndarray)


def test_reading_hot_words(tmp_path: Path) -> None:
    path = tmp_path / "hot.txt"
    path.write_text("ZANZIBAR\n\nNEW  YORK\t3.5\nNO\t-2\n", encoding="utf-8")
    assert read_hotwords(path) == [
        HotWord("ZANZIBAR", 8.0),
        HotWord("NEW  YORK", 3.5),
        HotWord("NO", -2.0),
    ]
    assert hot_vocabulary(read_hotwords(path)) == ["ZANZIBAR", "NEW", "YORK", "NO"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("A\t1\nB\tmuch\n", r"hot.txt:2: weight 'much' is no number of nats, such as 8"),
        ("A\tnan\n", r"hot.txt:1: weight 'nan' is no number"),
        ("A\t1e39\n", r"hot.txt:1: weight '1e39' is no number"),
        ("\n\t3\n", "has no hot words; write a word or phrase a line"),
    ],
)
def test_a_file_that_has_no_hot_words(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "hot.txt"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_hotwords(path)


@pytest.mark.parametrize("weight", [np.nan, np.inf, -1e7])
def test_weights_that_are_none(weight: float) -> None:
    with pytest.raises(ValueError, match="weight must be -1e\\+06 to 1e\\+06 nats, got"):
        HotWord("A", weight)
