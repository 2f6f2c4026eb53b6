import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.decoding.trie import ROOT, Trie, best_below, build_trie, child_of, with_look


def node_of(trie: Trie, text: str) -> int:
    node = ROOT
    for letter in text:
        node = int(child_of(trie, node, ord(letter)))
        if node < 0:
            return node
    return node


# "!" and "a", "'" and "g", "?" and the last agree in the six bits that order children.
@given(st.sets(st.text("abcé!g'?\U0010ffff", min_size=1, max_size=6), max_size=20))
def test_every_word_and_no_other_is_in_the_tree(words: set[str]) -> None:
    spellings = sorted(words, key=lambda word: (len(word), word))
    trie = build_trie(spellings)
    plain = [word.replace("é", "e\u0301") for word in spellings]
    ends = {node_of(trie, word): index for index, word in enumerate(plain)}
    assert [trie[node_of(trie, word)]["word"] for word in plain] == list(range(len(plain)))
    for node in range(len(trie)):
        assert trie[node]["word"] == ends.get(node, -1)
    prefixes = {word[:length] for word in plain for length in range(len(word) + 1)}
    assert len(trie) == max(1, len(prefixes))
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


def test_a_tree_with_what_its_words_can_become() -> None:
    trie = build_trie(["A", "AB"])
    seen = with_look(trie, np.array([1.0, 2.0, 3.0]))
    assert seen["look"].tolist() == [1.0, 2.0, 3.0]
    assert not trie["look"].any()
    assert not seen.flags.writeable
    assert seen.ctypes.data % 64 == 0
