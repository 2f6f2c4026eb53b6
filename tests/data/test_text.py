"""The one rule for text: unit cases, and properties over all of Unicode."""

import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import asr.data.text
from asr.data.text import (
    INVISIBLE,
    WHITESPACE,
    Case,
    normalize_text,
    read_byte_lines,
    read_lines,
    words,
)
from asr.errors import DataError

CASES: list[Case] = ["keep", "lower", "upper"]
# Mostly the characters where something can go wrong, and sometimes any.
TRICKY = (
    "".join(sorted(WHITESPACE | INVISIBLE))
    + "aAéEßıİΣσςǰŉᾳ\u0301\u0307\u0308\u0345\u030c\u1100\u1161가"
)
texts = st.text(st.one_of(st.sampled_from(TRICKY), st.characters(exclude_categories=["Cs"])))


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("  two\t words \n", "two words"),
        ("no\xa0break\u2028line\x85next\u3000wide\vtab\fform", "no break line next wide tab form"),
        ("\ufeffmark", "mark"),
        ("zero\u200bwidth", "zerowidth"),
        ("\u202eright to left\u202c", "right to left"),
        ("cafe\u0301", "caf\u00e9"),
        ("e\u200b\u0301", "\u00e9"),
        ("نمی\u200cخواهم", "نمی\u200cخواهم"),
        ("👩\u200d🚀 ok", "👩\u200d🚀 ok"),
        ("", ""),
        (" \u2003 ", ""),
    ],
)
def test_normalized_text(raw: str, expected: str) -> None:
    assert normalize_text(raw) == expected


def test_case_uses_the_full_mapping() -> None:
    assert normalize_text("Straße", case="upper") == "STRASSE"
    assert normalize_text("ÉTÉ", case="lower") == "été"
    assert normalize_text("McGuffin") == "McGuffin"


def test_a_case_mapping_that_takes_a_letter_apart_stays_nfc() -> None:
    upper = normalize_text("\u0390", case="upper")
    assert upper == unicodedata.normalize("NFC", upper) == "\u03aa\u0301"


def test_white_space_is_what_python_calls_space() -> None:
    every = {chr(code) for code in range(sys.maxunicode + 1)}
    assert {character for character in every if character.isspace()} == WHITESPACE


@given(texts, st.sampled_from(CASES))
def test_normalizing_twice_changes_nothing(text: str, case: Case) -> None:
    once = normalize_text(text, case)
    assert normalize_text(once, case) == once


@given(texts, st.sampled_from(CASES))
def test_composed_and_decomposed_text_become_equal(text: str, case: Case) -> None:
    composed, decomposed = (unicodedata.normalize(form, text) for form in ("NFC", "NFD"))
    assert normalize_text(composed, case) == normalize_text(decomposed, case)


@given(texts)
def test_words_are_what_single_spaces_separate(text: str) -> None:
    normalized = normalize_text(text)
    assert " ".join(words(normalized)) == normalized
    assert words(" \u2028" + normalized + "\t") == words(normalized)


@given(texts)
def test_nothing_visible_is_lost(text: str) -> None:
    def visible(text: str) -> str:
        dropped = WHITESPACE | INVISIBLE
        kept = "".join(character for character in text if character not in dropped)
        return unicodedata.normalize("NFD", kept)

    # Without spaces at all, a mark may join a letter that it did not follow: compare decomposed.
    assert visible(normalize_text(text)) == visible(unicodedata.normalize("NFC", text))


def write(folder: Path, data: bytes) -> Path:
    path = folder / "text.txt"
    path.write_bytes(data)
    return path


def test_only_newline_ends_a_line(tmp_path: Path) -> None:
    path = write(tmp_path, "a\u2028b\x85c\vd\fe\x1cf\rg\r\nh\n\ni".encode())
    assert list(read_lines(path)) == [
        (1, "a\u2028b\x85c\vd\fe\x1cf\rg"),
        (2, "h"),
        (3, ""),
        (4, "i"),
    ]


def test_the_byte_order_mark_is_dropped_once_at_the_beginning(tmp_path: Path) -> None:
    path = write(tmp_path, "\ufeffa\n\ufeffb\n".encode())
    assert list(read_lines(path)) == [(1, "a"), (2, "\ufeffb")]


def test_an_empty_file_has_no_lines(tmp_path: Path) -> None:
    assert list(read_lines(write(tmp_path, b""))) == []


@given(lines=st.lists(texts.filter(lambda text: "\n" not in text and not text.endswith("\r"))))
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_every_line_is_kept(
    tmp_path_factory: pytest.TempPathFactory, end: str, lines: list[str]
) -> None:
    folder = tmp_path_factory.getbasetemp()
    path = write(folder, ("\ufeff" + "".join(line + end for line in lines)).encode())
    assert list(read_lines(path)) == list(enumerate(lines, start=1))


def test_a_line_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, b"good\ncaf\xe9\n")
    with pytest.raises(DataError, match=r"text\.txt:2: byte 4 of the line \(0xe9\) is not UTF-8"):
        list(read_lines(path))
    assert list(read_byte_lines(path)) == [(1, b"good"), (2, b"caf\xe9")]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.txt: cannot be read: No such file"):
        list(read_lines(tmp_path / "absent.txt"))


def test_a_file_without_lines_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asr.data.text, "MAX_LINE_BYTES", 4)
    path = write(tmp_path, b"abc\n12345\n")
    with pytest.raises(DataError, match=r"text\.txt:2: a line of more than"):
        list(read_lines(path))
