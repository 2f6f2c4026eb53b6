"""The text and the dictionary that a corpus has for language models."""

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest

from asr.data.corpus.lm_text import extended_dictionary, write_dictionary, write_lm_text
from asr.errors import ResourceError

LINES = ["THE CAT SAT", "THE DOG SAT", "A CAT"]


def test_lines_and_counts(tmp_path: Path) -> None:
    counts = write_lm_text(tmp_path / "new", iter(LINES))
    assert counts == {"THE": 2, "CAT": 2, "SAT": 2, "DOG": 1, "A": 1}
    file = tmp_path / "new" / "lm.txt.gz"
    assert gzip.decompress(file.read_bytes()).decode() == "THE CAT SAT\nTHE DOG SAT\nA CAT\n"
    first = file.read_bytes()
    write_lm_text(tmp_path / "new", LINES)
    assert file.read_bytes() == first, "the same lines make the same file"


def test_a_text_that_breaks_off_leaves_what_was_there(tmp_path: Path) -> None:
    def broken() -> Iterator[str]:
        yield "HALF"
        raise KeyboardInterrupt

    write_lm_text(tmp_path, LINES)
    before = (tmp_path / "lm.txt.gz").read_bytes()
    with pytest.raises(KeyboardInterrupt):
        write_lm_text(tmp_path, broken())
    assert (tmp_path / "lm.txt.gz").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["lm.txt.gz"]


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ResourceError, match="file: cannot be written"):
        write_lm_text(tmp_path / "file", LINES)
    (tmp_path / "lm.txt.gz").mkdir()
    with pytest.raises(ResourceError, match=r"lm\.txt\.gz: cannot be written"):
        write_lm_text(tmp_path, LINES)


def test_the_most_frequent_words_beside_the_known() -> None:
    counts = {"D": 9, "C": 3, "B": 3, "A": 3, "ONCE": 1, "KNOWN": 1}
    assert extended_dictionary(counts, ["KNOWN", "NEVER"], most=4) == ["A", "D", "KNOWN", "NEVER"]
    assert extended_dictionary(counts, most=3) == ["A", "B", "D"]
    assert extended_dictionary(counts) == ["A", "B", "C", "D"]
    assert extended_dictionary(counts, ["X", "Y"], most=1) == ["X", "Y"]


def test_a_word_a_line(tmp_path: Path) -> None:
    write_dictionary(tmp_path, ["A", "B'S"])
    assert (tmp_path / "dictionary.txt").read_text(encoding="utf-8") == "A\nB'S\n"
