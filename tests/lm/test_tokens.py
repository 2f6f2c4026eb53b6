"""A text as numbers: the same words as by the rule of `asr.data.text`, from every kind of file."""

import gzip
import io
import random
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from asr.data.manifest import Utterance, write_manifest
from asr.data.text import INVISIBLE, WHITESPACE, normalize_text, words
from asr.errors import DataError
from asr.lm import blocks, tokens
from asr.lm.tokens import (
    BEGIN,
    END,
    SPECIAL,
    TokenStream,
    Unit,
    read_tokens,
    split_sentences,
    text_blocks,
)

TEXT = "ONE TWO\n\nTWO THREE TWO\n"


def sentences_in(stream: TokenStream) -> list[list[str]]:
    """What the numbers stand for; the marks must stand where they should."""
    sentences: list[list[str]] = []
    ids = [END, *stream.ids.tolist()]
    for before, now in pairwise(ids):
        assert (now == BEGIN) == (before == END)
        if now == BEGIN:
            sentences.append([])
        elif now != END:
            sentences[-1].append(stream.words[now])
    assert ids[-1] == END
    return sentences


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_words_are_numbered_in_the_order_of_the_text(tmp_path: Path) -> None:
    stream = read_tokens([write(tmp_path / "a.txt", TEXT)], "word")
    assert stream.words == [*SPECIAL, "ONE", "TWO", "THREE"]
    assert stream.ids.tolist() == [1, 3, 4, 2, 1, 2, 1, 4, 5, 4, 2]


def test_characters(tmp_path: Path) -> None:
    stream = read_tokens([write(tmp_path / "a.txt", " AB\tA \r\n\nB")], "character")
    assert stream.words == [*SPECIAL, "A", "B", "<space>"]
    assert sentences_in(stream) == [["A", "B", "<space>", "A"], [], ["B"]]


def test_str_split_knows_the_white_space_of_the_toolkit() -> None:
    characters = map(chr, range(sys.maxunicode + 1))
    assert {c for c in characters if len(f"a{c}b".split()) == 2} == WHITESPACE


PIECES = [*"aAbß", "\u0301", "e\u0301", "\u00e9", "\u200d", "\u1112\u1161\u11ab", "𝄞", "<t", ">"]
PIECES += sorted(WHITESPACE | INVISIBLE) + ["\r\n", "\n", " "] * 5


@pytest.mark.parametrize("unit", ["word", "character"])
@pytest.mark.parametrize("seed", range(10))
def test_every_line_is_split_as_by_the_rule(
    seed: int, unit: Unit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "".join(random.Random(seed).choices(PIECES, k=2000)) + "end"  # noqa: S311
    lines = [normalize_text(line) for line in text.removeprefix("\ufeff").split("\n")]
    if unit == "word":
        expected = [words(line) for line in lines]
    else:
        expected = [["<space>" if c == " " else c for c in line] for line in lines]
    path = write(tmp_path / "text.txt", text)
    assert sentences_in(read_tokens([path], unit)) == expected
    assert list(split_sentences([path], unit)) == expected
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 64)
    assert sentences_in(read_tokens([path], unit)) == expected


def test_tabs_part_columns_in_any_line(tmp_path: Path) -> None:
    path = tmp_path / "pairs.txt"
    path.write_text("a b\tc\n\u00a0na\u0131ve  x\te\u0301\n", encoding="utf-8")
    (block,) = text_blocks([path])
    assert block.lines() == ["a b\tc", "naıve x\té"]


def test_all_kinds_of_texts_are_equal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = TEXT.removesuffix("\n").split("\n")
    write_manifest(
        tmp_path / "m.jsonl",
        [
            Utterance(id=str(k), audio=tmp_path / "a.wav", duration=1.0, text=line)
            for k, line in enumerate(lines)
        ],
    )
    data = b"\xef\xbb\xbf" + TEXT.replace("\n", "\r\n").encode()
    stdin = io.TextIOWrapper(io.BytesIO(TEXT.removesuffix("\n").encode()))
    monkeypatch.setattr(sys, "stdin", stdin)
    monkeypatch.setattr(tokens, "_BLOCK_SENTENCES", 2)
    monkeypatch.setattr(tokens, "_BLOCK_BYTES", 4)
    expected = read_tokens([write(tmp_path / "plain.txt", TEXT)], "word")
    for texts in (
        [write(tmp_path / "a.gz", gzip.compress(data))],
        [tmp_path / "m.jsonl"],
        [Path("-")],
        lines,
        [lines[0], write(tmp_path / "part.txt", "\nTWO THREE TWO")],
    ):
        stream = read_tokens(texts, "word")
        assert stream.words == expected.words
        assert stream.ids.tolist() == expected.ids.tolist()


@pytest.mark.parametrize("word", SPECIAL)
def test_special_words_are_refused_where_they_stand(
    word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 7)
    monkeypatch.setattr(tokens, "_BLOCK_SENTENCES", 1)
    path = write(tmp_path / "a.txt", f"A\nB\n\nC D\n{word}s\nE\u2003{word}\n")
    with pytest.raises(DataError, match=f"a.txt:6: '{word}' stands in the text"):
        read_tokens([path], "word")
    with pytest.raises(DataError, match=f"sentence 2: '{word}' stands in the text"):
        read_tokens(["A", f"B {word}"], "character")
    good = write(tmp_path / "good.txt", "A\n")
    with pytest.raises(DataError, match=f"sentence 2: '{word}' stands in the text"):
        read_tokens(["A", good, f"B {word}"], "word")
    entry = f'{{"audio_filepath": "a.wav", "duration": 1, "text": "{word}"}}'
    manifest = write(tmp_path / "a.jsonl", entry)
    with pytest.raises(DataError, match=f"a.jsonl: utterance 1: '{word}' stands in the text"):
        read_tokens([manifest], "word")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"A\nB\0C\n", "a.txt:2: a zero byte; this is not a text file"),
        (b"A\n\xff\n", r"a.txt:2: byte 1 of the line \(0xff\) is not UTF-8"),
        (b"\n \n", "no word in the text"),
        (b"", "a.txt: is empty"),
        (b"x" * 2001, "a word of 2,001 characters in the text, 'xxxxxxxxxxxxxxxxxxxx…'"),
    ],
)
def test_what_is_no_text(content: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read_tokens([write(tmp_path / "a.txt", content)], "word")


def test_faults_of_stdin_name_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"A\n\xff")))
    with pytest.raises(DataError, match="stdin:2: byte 1 of the line"):
        read_tokens([Path("-")], "word")


def test_packed_manifests_are_not_taken_for_text(tmp_path: Path) -> None:
    path = write(tmp_path / "m.jsonl.gz", gzip.compress(b"{}"))
    with pytest.raises(DataError, match="a manifest is read unpacked; unpack it with gunzip"):
        read_tokens([path], "word")


def test_nothing_at_all() -> None:
    with pytest.raises(DataError, match="no word in the text"):
        read_tokens([], "word")


def test_one_text_is_not_several() -> None:
    with pytest.raises(TypeError, match="texts must be several"):
        read_tokens("text.txt", "word")


def test_more_tokens_than_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "MAX_TOKENS", 5)
    assert len(read_tokens(["A B C"], "word").ids) == 5
    with pytest.raises(DataError, match="a text of more than 5 tokens; use a part of it"):
        read_tokens(["A B C D"], "word")
