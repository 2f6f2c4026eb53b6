"""Special and unknown symbols, and words from any tokens."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.data.vocabulary import (
    Piece,
    WordSpan,
    check_characters,
    check_phones,
    description_hash,
    known_units,
    learnt_symbols,
    listed,
    word_spans,
)
from asr.errors import DataError

# 0 is the blank, 1 a space, 2 and 3 letters, 4 the beginning of a word without text, 5 with text.
PIECES = (
    Piece("never"),
    Piece("", starts_word=True),
    Piece("a"),
    Piece("b"),
    Piece("", starts_word=True),
    Piece("ca", starts_word=True),
)


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        ([], []),
        ([1, 1, 4], []),
        ([2, 3], [("ab", 0, 2)]),
        ([1, 2, 1, 1, 3, 1], [("a", 1, 2), ("b", 4, 5)]),
        ([5, 5, 2], [("ca", 0, 1), ("caa", 1, 3)]),
        ([2, 5, 4, 3], [("a", 0, 1), ("ca", 1, 2), ("b", 3, 4)]),
    ],
)
def test_words_of_any_tokens(tokens: list[int], expected: list[tuple[str, int, int]]) -> None:
    assert word_spans(tokens, PIECES) == [WordSpan(*span) for span in expected]


@settings(deadline=None)
@given(st.lists(st.integers(1, 5)))
def test_words_are_in_order_apart_and_never_empty(tokens: list[int]) -> None:
    spans = word_spans(tokens, PIECES)
    borders = [border for span in spans for border in (span.start, span.stop)]
    assert borders == sorted(borders)
    assert all(span.word and span.start < span.stop for span in spans)
    assert "".join(span.word for span in spans) == "".join(PIECES[token].text for token in tokens)


@pytest.mark.parametrize("token", [0, 6, -1])
def test_a_token_that_is_no_symbol_is_refused(token: int) -> None:
    with pytest.raises(ValueError, match=rf"tokens are 1 to 5, got {token}"):
        word_spans([2, token], PIECES)


def test_a_letter_and_its_accent_are_composed() -> None:
    pieces = (Piece(""), Piece("e"), Piece("\N{COMBINING ACUTE ACCENT}"))
    assert word_spans([1, 2], pieces) == [WordSpan("é", 0, 2)]


def test_the_policy_for_unknown_symbols() -> None:
    assert known_units("abc", {"a", "b"}, "drop") == ["a", "b"]
    assert known_units("abc", {"a", "b"}, "replace") == ["a", "b", "c"]
    assert known_units("ab", {"a", "b"}, "error") == ["a", "b"]
    with pytest.raises(DataError, match=r"1 symbol \('c' U\+0063 2 times\) outside the vocabulary"):
        known_units("abcc", {"a", "b"}, "error")


def test_symbols_are_listed_by_frequency_and_safe_for_a_terminal() -> None:
    counts = {"é": 1, "\x1b": 3, "AH0": 3}
    expected = r"3 symbols ('\x1b' U+001B 3 times, 'AH0' 3 times, 'é' U+00E9 1 times)"
    assert listed(counts) == expected
    assert listed({chr(0x4E00 + n): 1 for n in range(150)}).endswith(" and 50 more)")


def test_learnt_symbols_are_sorted() -> None:
    assert learnt_symbols(Counter("b a")) == [" ", "a", "b"]


@pytest.mark.parametrize(
    ("units", "message"),
    [
        ([], "training text is empty"),
        (["a", "<blank>"], r"1 symbol \('<blank>' 1 times\), which have a meaning of their own"),
        (["<unknown>"], "<unknown>"),
        (["a", "\ud800"], r"'\\ud800' U\+D800 1 times\), which are no text"),
    ],
)
def test_what_cannot_be_learnt(units: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        learnt_symbols(Counter(units))


@pytest.mark.parametrize(
    ("symbols", "message"),
    [
        ([], "at least one symbol"),
        (["a", "b", "a"], r"differ, but 'a' U\+0061 stands twice"),
        (["\udfff"], "half of a surrogate pair"),
        (["ab"], "single characters in Unicode form NFC, not 'ab'"),
        (["\t"], r"not '\\t' U\+0009"),
        (["\N{ANGSTROM SIGN}"], r"U\+212B"),
        (["\ufeff"], r"not '\\ufeff' U\+FEFF"),
    ],
)
def test_unusable_characters(symbols: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_characters(symbols)


@pytest.mark.parametrize(
    ("symbols", "message"),
    [
        ([], "at least one symbol"),
        (["AH", "AH"], "differ, but 'AH' stands twice"),
        ([""], "words of their own in Unicode form NFC, not ''"),
        (["A B"], "not 'A B'"),
        ([" A"], "not ' A'"),
        (["<blank>"], "not '<blank>'"),
        (["e\N{COMBINING ACUTE ACCENT}"], "NFC"),
    ],
)
def test_unusable_phones(symbols: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_phones(symbols)


def test_usable_symbols_pass() -> None:
    check_characters([" ", "a", "é", "\N{COMBINING ACUTE ACCENT}", "ß", "字"])
    check_phones(["AH0", "a", "ɛ̃"])


def test_the_hash_of_a_description_depends_on_content_only() -> None:
    assert description_hash({"a": 1, "b": "é"}) == description_hash({"b": "é", "a": 1})
    assert description_hash({"a": 1}) != description_hash({"a": 2})
