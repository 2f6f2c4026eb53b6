from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.decoding.labels import read_labels
from asr.decoding.lexicon import (
    ROOT,
    Trie,
    best_below,
    build_trie,
    check_spellable,
    child_of,
    read_lexicon,
    unspellable,
)
from asr.errors import DataError

CHARACTERS = read_labels(["_", " ", "A", "B", "\u00c9"])
PIECES = read_labels(["_", "▁A", "B", "▁AB", "C"])


def node_of(trie: Trie, text: str) -> int:
    node = ROOT
    for letter in text:
        node = int(child_of(trie, node, ord(letter)))
        if node < 0:
            return node
    return node


@given(st.sets(st.text("abcé", min_size=1, max_size=6), max_size=20))
def test_every_word_and_no_other_is_in_the_tree(words: set[str]) -> None:
    spellings = sorted(words, key=lambda word: (len(word), word))
    trie = build_trie(spellings)
    plain = [word.replace("é", "e\u0301") for word in spellings]
    ends = {node_of(trie, word): index for index, word in enumerate(plain)}
    assert [trie.word[node_of(trie, word)] for word in plain] == list(range(len(plain)))
    for node in range(len(trie.word)):
        assert trie.word[node] == ends.get(node, -1)
    prefixes = {word[:length] for word in plain for length in range(len(word) + 1)}
    assert len(trie.word) == max(1, len(prefixes))
    assert node_of(trie, "abcabcabc") == -1


def test_what_a_beginning_can_become() -> None:
    words = ["A", "AB", "ABC", "B"]
    trie = build_trie(words)
    values = np.array([-3.0, -9.0, -1.0, -2.0])
    best = best_below(trie, values, -np.inf)
    expected = {"": -1.0, "A": -1.0, "AB": -1.0, "ABC": -1.0, "B": -2.0}
    for text, value in expected.items():
        assert best[node_of(trie, text)] == value
    assert best_below(trie, values, -1.5)[node_of(trie, "B")] == -1.5


@pytest.mark.parametrize(
    ("words", "message"),
    [(["A", ""], "a spelling is empty"), (["A", "B", "A"], "'A' stands twice")],
)
def test_spellings_that_make_no_tree(words: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_trie(words)


def test_words_that_the_labels_cannot_spell() -> None:
    assert unspellable(["AB", "AC", "\u00c9A", "E\u0301", ""], CHARACTERS) == ["AC", ""]
    assert unspellable(["A", "AB", "ABC", "BA", "ACB", "C"], PIECES) == ["BA", "C"]
    with pytest.raises(DataError, match=r"the lexicon: 2 of 3 words cannot be spelt .*: 'a', 'AC'"):
        check_spellable(["A", "a", "AC"], CHARACTERS, "the lexicon")
    with pytest.raises(DataError, match="and 5 more; remove them"):
        check_spellable([f"X{index}" for index in range(15)], CHARACTERS, "the lexicon")


def test_reading_a_lexicon(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_bytes("AB\r\n\n B\u00a0\nAB\nE\u0301\n".encode())
    assert read_lexicon(path) == ["AB", "B", "\u00c9"]
    path.write_text("AB\nTWO WORDS\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"words.txt:2: 2 words; a lexicon has one word a line"):
        read_lexicon(path)
    path.write_text("\n \n", encoding="utf-8")
    with pytest.raises(DataError, match="has no words; a lexicon has one word a line"):
        read_lexicon(path)
    with pytest.raises(DataError, match=r"none.txt: cannot be read: No such file"):
        read_lexicon(tmp_path / "none.txt")
