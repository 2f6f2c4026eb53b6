"""Sentences of a text file: one rule for white space, strict UTF-8, plain or compressed."""

import gzip
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asr.data.text import normalize_text, words
from asr.errors import DataError
from asr.lm import blocks
from asr.lm.text import read_sentences


def write(tmp_path: Path, content: bytes, name: str = "text.txt") -> Path:
    path = tmp_path / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("size", [1, 3, 1 << 20])
def test_one_sentence_a_line(
    tmp_path: Path, packed: bool, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "BLOCK_BYTES", size)
    text = "\ufeffIt  was\ta\u00a0dark\r\n\nnight e\u0301, \u200bx\u2028y\n \nend".encode()
    path = write(tmp_path, gzip.compress(text, mtime=0) if packed else text)
    expected = [["It", "was", "a", "dark"], [], ["night", "é,", "x", "y"], [], ["end"]]
    assert list(read_sentences(path)) == expected


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"))))
def test_every_line_is_normalised_by_the_one_rule(tmp_path: Path, lines: list[str]) -> None:
    path = write(tmp_path, "".join(f"-{line}\n" for line in ["", *lines]).encode())
    expected = [words(normalize_text(f"-{line}")) for line in ["", *lines]]
    assert list(read_sentences(path)) == expected


def test_case(tmp_path: Path) -> None:
    path = write(tmp_path, "Straße İ\n".encode())
    assert list(read_sentences(path, "upper")) == [["STRASSE", "İ"]]
    assert list(read_sentences(path, "lower")) == [["straße", "i̇"]]


def test_only_a_block_is_read_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 4)
    path = write(tmp_path, b"one\ntwo\n\xff\n")
    sentences = read_sentences(path)
    assert [next(sentences), next(sentences)] == [["one"], ["two"]]
    with pytest.raises(DataError, match=r":3: byte 1 of the line \(0xff\) is not UTF-8; save the"):
        next(sentences)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"fine\ncaf\xe9\n", r":2: byte 4 of the line \(0xe9\) is not UTF-8; save the file as UTF"),
        ("UTF-16\n".encode("utf-16"), ":1: is UTF-16; save the file as UTF-8"),
        (b"", r"text\.txt: is empty"),
        (gzip.compress(b"a b\n", mtime=0)[:-3], ":1: the compressed file is cut off in or after"),
    ],
)
def test_what_is_no_text(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        list(read_sentences(write(tmp_path, content)))


def test_a_line_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asr.lm.text.MAX_LINE_BYTES", 8)
    path = write(tmp_path, b"12345678\n123456789\n")
    with pytest.raises(DataError, match=":2: a line of more than 8 bytes: the file is damaged"):
        list(read_sentences(path))
