"""The text for language models on WSJ's discs: unpacked, cut into sentences, counted."""

import errno
import gzip
import io
import sys
from pathlib import Path

import numpy as np
import pytest

from asr.errors import DataError, ResourceError
from recipes.wsj import lm_text
from recipes.wsj.discs import Discs
from recipes.wsj.lm_text import (
    BLOCK_BYTES,
    find_lm_text,
    is_spellable,
    open_compressed,
    read_compressed_lines,
    read_vocabulary,
    sentences,
    split_at_full_stops,
    write_language_data,
)
from recipes.wsj.prepare import prepare
from tests.recipes.made_discs import COUNTS, NP_DATA, VOCAB, compress, files, lay_out

TEXT = "".join(f"{w:x} " for w in np.random.default_rng(1).integers(0, 5000, 60_000)).encode()


def made_discs(root: Path, changes: dict[str, bytes]) -> Discs:
    return Discs.of(lay_out(root, "merged", files() | changes))


def kept(root: Path, *, keep: str) -> Discs:
    made = {key: content for key, content in files().items() if key.startswith(keep)}
    return Discs.of(lay_out(root, "published", made)[1:])


@pytest.mark.parametrize("max_width", [9, 12, 16])
def test_what_compress_packed_is_unpacked(tmp_path: Path, max_width: int) -> None:
    """Beyond the width where the table of codes is full, too."""
    path = tmp_path / "x.z"
    path.write_bytes(compress(TEXT, max_width))
    assert "\n".join(read_compressed_lines(path)) == TEXT.decode()


def test_lines_are_put_together_across_blocks(tmp_path: Path) -> None:
    long = 3 * TEXT  # of several blocks
    text = b"\n".join(long[start : start + 777] for start in range(0, len(long), 777)) + b"\nend"
    assert len(text) > 2 * BLOCK_BYTES
    for name, packed in (("x.gz", gzip.compress(text)), ("x.z", compress(text))):
        (tmp_path / name).write_bytes(packed)
        assert list(read_compressed_lines(tmp_path / name)) == text.decode().split("\n")


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["one two", "", "three"], ["one two", "three"]),
        (["<s id='1'>", "one two", " three", "</s>", "four"], ["one two three", "four"]),
        (["<s>one</s> <s> two </s>", "</p>"], ["one", "two"]),
        (["<s> one", "two </s> three", "four"], ["one two", "three", "four"]),
        (["<p>", "<s>", "a", "<s>", "b", "<p>", "c", "d"], ["a", "b", "c", "d"]),
        (["<art id=1", "one"], ["one"]),
        (["<S>", "one", "two"], ["one two"]),
        (["<sub>", "one", "two"], ["one", "two"]),
    ],
)  # fmt: skip
def test_sentences_between_marks_and_lines(lines: list[str], expected: list[str]) -> None:
    assert list(sentences(lines)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("it fell", ["IT FELL"]),
        ("it fell. mr. x rose.  he", ["IT FELL", "MR. X ROSE", "HE"]),
        ("the u. s. a.m. is", ["THE U", "S", "A.M. IS"]),
        ("one . two", ["ONE", "TWO"]),
        ("wait... no", ["WAIT... NO"]),
        ("three .point five .", ["THREE .POINT FIVE"]),
        (" . ", []),
        ("  ", []),
        ("tab\there\x1a", ["TAB HERE"]),
    ],
)
def test_full_stops_end_a_sentence(text: str, expected: list[str]) -> None:
    assert list(split_at_full_stops(text, {"MR."})) == expected


@pytest.mark.parametrize(
    ("word", "spellable"),
    [
        ("O'BRIEN", True),
        ("AT&T", True),
        ("MR.", True),
        (",COMMA", True),
        ("...", False),
        ("B2", False),
        ("CAFÉ", False),
        ("A_B", False),
        ("", False),
    ],
)
def test_what_the_43_characters_spell(word: str, spellable: bool) -> None:
    assert is_spellable(word) is spellable


def test_text_and_dictionary(tmp_path: Path) -> None:
    prepare(lay_out(tmp_path / "discs", "mounted"), tmp_path / "out", counts=COUNTS)
    with gzip.open(tmp_path / "out" / "lm.txt.gz", "rt", encoding="utf-8") as file:
        assert file.read() == (
            "THE BANK FELL AND A BOND ROSE\nMR. BELL SOLD THE BANK\nA BOND FELL\nTHE BANK ROSE\n"
            "MR. BELL SOLD A BOND\nA BANK SOLD\nZYMURGY 12 AND AND\n"
        )
    dictionary = (tmp_path / "out" / "dictionary.txt").read_text(encoding="utf-8").split("\n")
    assert dictionary == [
        *("A", "AND", "BANK", "BELL", "BOND", "FELL", "MR.", "ROSE", "SOLD", "THE", "UNSEEN", "")
    ]


def test_words_of_both_lists_may_end_in_a_full_stop(tmp_path: Path) -> None:
    text = gzip.compress(b"mr. bell sold corp. stock to inc. today\n")
    discs = made_discs(tmp_path / "discs", {f"{NP_DATA}/87/w7_001.z": text})
    notes = write_language_data(discs, find_lm_text(discs)[:1], tmp_path)
    with gzip.open(tmp_path / "lm.txt.gz", "rt", encoding="utf-8") as file:
        assert file.read() == "MR. BELL SOLD CORP. STOCK TO INC\nTODAY\n"
    assert notes[0].startswith("lm.txt.gz: 2 sentences, 8 words")


def test_words_that_cannot_be_spelt_are_left_out_and_counted(tmp_path: Path) -> None:
    lines = b"caf\xe9 7up caf\xe9 7up __ __ ok ok\n"
    changes = {
        f"{VOCAB}/wlist20o.nvp": b"THE\nNA\xcfVE\n4TH\n",
        f"{NP_DATA}/87/w7_001.z": gzip.compress(lines),
    }
    discs = made_discs(tmp_path / "discs", changes)
    notes = write_language_data(discs, find_lm_text(discs)[:1], tmp_path)
    assert notes == [
        "lm.txt.gz: 1 sentences, 8 words, of 1 files of the years 87",
        "dictionary.txt: 2 words, 1 of them of wlist20o.nvp (2 left out: other characters)",
    ]
    assert (tmp_path / "dictionary.txt").read_text(encoding="utf-8") == "OK\nTHE\n"
    with gzip.open(tmp_path / "lm.txt.gz", "rt", encoding="utf-8") as file:
        assert file.read() == "CAFÉ 7UP CAFÉ 7UP __ __ OK OK\n"


def test_the_lists_of_words(tmp_path: Path) -> None:
    of_wsj0 = {f"{VOCAB}/wlist20o.nvp".replace("wsj1", "wsj0"): b"OTHER"}
    listed, frequent = read_vocabulary(made_discs(tmp_path / "a", of_wsj0))
    assert listed == {"A", "THE", "BANK", "BELL", "BOND", "MR.", "ROSE", "UNSEEN"}
    assert frequent == {"THE", "CORP."}
    discs = kept(tmp_path / "b", keep=NP_DATA)
    assert read_vocabulary(discs) == (set(), set())
    notes = write_language_data(discs, find_lm_text(discs), tmp_path)
    assert notes[1] == "dictionary.txt: 10 words, 0 of them of wlist20o.nvp"
    dictionary = (tmp_path / "dictionary.txt").read_text(encoding="utf-8").split()
    assert "MR" in dictionary  # not known to be written with a full stop


def test_the_text_of_wsj0_does_where_wsj1_has_none(tmp_path: Path) -> None:
    key = f"{NP_DATA.replace('wsj1', 'wsj0')}/88/w8_002.gz"
    changes = {key: gzip.compress(b"one")}
    both = find_lm_text(made_discs(tmp_path / "both", changes))
    assert [path.name for path in both] == ["w7_001.z", "w8_001.z", "w9_001.z"]
    made = {k: v for k, v in (files() | changes).items() if not k.startswith(NP_DATA)}
    alone = find_lm_text(Discs.of(lay_out(tmp_path / "alone", "mounted", made)))
    assert [path.name for path in alone] == ["W8_002.GZ;1"]
    assert find_lm_text(kept(tmp_path / "none", keep=VOCAB)) == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (gzip.compress(TEXT)[:-50], "Compressed file ended before"),
        (gzip.compress(TEXT)[:200] + b"xxxxxxxx" * 20, ""),
        (gzip.compress(TEXT)[:-8] + bytes(8), "CRC check failed"),
        (compress(b"some text")[:-5] + b"\xff\xff\xff\xff", "Invalid code"),
        (compress(TEXT)[:60_000], "partial code"),
        (b"\x1f\x9d\x88", "Max code width less than"),
        (b"\x1f\x9d", "missing header"),
    ],
)
def test_damage_is_named(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "x.z"
    path.write_bytes(content)
    expected = rf"x\.z: damaged or cut off \(.*{reason}.*\); copy the disc again"
    with pytest.raises(DataError, match=expected):
        list(read_compressed_lines(path))


def test_damage_leaves_what_was_there(tmp_path: Path) -> None:
    discs = made_discs(tmp_path / "discs", {f"{NP_DATA}/89/w9_001.z": gzip.compress(TEXT)[:-50]})
    (tmp_path / "lm.txt.gz").write_bytes(b"old")
    with pytest.raises(DataError, match="w9_001"):
        write_language_data(discs, find_lm_text(discs), tmp_path)
    assert (tmp_path / "lm.txt.gz").read_bytes() == b"old"
    assert {path.name for path in tmp_path.iterdir()} == {"discs", "lm.txt.gz"}


def test_other_compression_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.z"
    path.write_bytes(b"plain text")
    expected = r"x\.z: compressed neither by gzip nor by compress \(begins with b'pl'\); copy the d"
    with pytest.raises(DataError, match=expected):
        open_compressed(path)


def test_a_file_that_cannot_be_opened_or_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match=r"gone\.z: cannot be read: No such file"):
        open_compressed(tmp_path / "gone.z")

    class Scratched(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(lm_text, "open_compressed", lambda path: Scratched())
    with pytest.raises(DataError, match=r"x\.z: cannot be read: Input/output error"):
        list(read_compressed_lines(tmp_path / "x.z"))


def test_a_missing_package_is_named_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "uncompresspy", None)
    made = {key: b"" if key.endswith(".wv1") else content for key, content in files().items()}
    expected = (
        r"w8_001\.z: is compressed by Unix compress, which needs uncompresspy: "
        r"pip install 'asr-toolkit\[wsj\]'"
    )
    with pytest.raises(DataError, match=expected):
        prepare(lay_out(tmp_path, "merged", made), tmp_path / "out", counts=COUNTS)


def test_a_disk_that_is_not_writable(tmp_path: Path) -> None:
    discs = made_discs(tmp_path / "discs", {})
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ResourceError, match="cannot be written"):
        write_language_data(discs, find_lm_text(discs), tmp_path / "file" / "out")
