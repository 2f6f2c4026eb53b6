"""Lines come back as they were read, each with its place."""

import gzip
from pathlib import Path

import pytest

from asr.errors import DataError
from asr.lm.text_lines import read_text_lines
from asr.lm.tokens import split_sentences

LINES = ["ein  schöner Tag", "", "\u00a0été ", "B"]
NORMAL = ["ein schöner Tag", "", "été", "B"]


def written(path: Path, lines: list[str], *, packed: bool = False) -> Path:
    data = "".join(f"{line}\n" for line in lines).encode()
    path.write_bytes(gzip.compress(data) if packed else data)
    return path


@pytest.mark.parametrize("packed", [False, True])
def test_lines_of_files_and_sentences(tmp_path: Path, packed: bool) -> None:
    first = written(tmp_path / "a.txt", LINES, packed=packed)
    second = written(tmp_path / "b.txt", ["X"])
    lines = read_text_lines([first, second, "Y  Z", "W"])
    assert [lines[index] for index in range(len(lines))] == [*NORMAL, "X", "Y Z", "W"]
    assert lines.lengths.tolist() == [15, 0, 3, 1, 1, 3, 1]
    assert lines.num_characters == 24
    assert [lines.place(index) for index in (0, 3, 4, 6)] == [
        f"{first}:1", f"{first}:4", f"{second}:1", "sentence 2",
    ]  # fmt: skip
    sentences = list(split_sentences([first, second], "word"))
    assert [" ".join(words) for words in sentences] == [*NORMAL, "X"]


def test_a_manifest_is_read_for_its_texts(tmp_path: Path) -> None:
    manifest = tmp_path / "m.jsonl"
    entries = [f'{{"audio_filepath": "{n}", "duration": 1, "text": "{n} X"}}' for n in "AB"]
    manifest.write_text("\n".join(entries), encoding="utf-8")
    lines = read_text_lines([manifest])
    assert [lines[0], lines[1]] == ["A X", "B X"]
    assert lines.place(1) == f"{manifest}: utterance 2"


@pytest.mark.parametrize(("case", "expected"), [("upper", "ÉTÉ SS"), ("lower", "été ß")])
def test_case(case: str, expected: str) -> None:
    assert read_text_lines(["Été ß"], case)[0] == expected


def test_no_text_at_all() -> None:
    lines = read_text_lines([])
    assert len(lines) == 0
    assert lines.num_characters == 0
    for index in (0, -1):
        with pytest.raises(IndexError, match=f"line {index} of 0"):
            lines[index]


def test_marks_of_language_models_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.txt:2: '</s>' stands in the text, but is a mark"):
        read_text_lines([written(tmp_path / "a.txt", ["A", "B </s>"])])
    with pytest.raises(DataError, match=r"b\.txt:1: a zero byte; this is not a text file"):
        read_text_lines([written(tmp_path / "b.txt", ["A\0"])])
