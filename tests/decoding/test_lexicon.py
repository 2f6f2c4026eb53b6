from pathlib import Path

import pytest

from asr.data.labels import read_labels
from asr.decoding.lexicon import check_spellable, read_lexicon, unspellable
from asr.errors import DataError

CHARACTERS = read_labels(["_", " ", "A", "B", "\u00c9"])
PIECES = read_labels(["_", "▁A", "B", "▁AB", "C"])


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
