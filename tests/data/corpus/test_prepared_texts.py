"""Texts are written all or none, and found again."""

import gzip
from pathlib import Path

import pytest

from asr.data.corpus.prepared import find_prepared
from asr.data.corpus.prepared_images import find_any
from asr.data.corpus.prepared_texts import find_texts, write_texts
from asr.errors import DataError, ResourceError

TEXTS = {"test": ["c"], "extra": ["d é"], "dev": ["b b"], "train": ["a b c", "d"]}


def test_what_is_written_is_found(tmp_path: Path) -> None:
    written = write_texts(tmp_path / "out", TEXTS, notes=["of a book"])
    assert find_texts(tmp_path / "out") == written == find_any(tmp_path / "out")
    assert find_prepared(tmp_path / "out") is None, "these are no manifests"
    assert list(written.paths) == ["train", "dev", "test", "extra"]
    assert written.counts == {"train": 2, "dev": 1, "test": 1, "extra": 1}
    assert written.words["train"] == 4
    assert written.characters == {"train": 6, "dev": 3, "test": 1, "extra": 3}
    assert gzip.decompress(written.paths["extra"].read_bytes()).decode() == "d é\n"
    assert written.lines() == [
        f"{tmp_path / 'out' / 'train.txt.gz'}: 2 lines, 4 words, 6 characters",
        f"{tmp_path / 'out' / 'dev.txt.gz'}: 1 lines, 2 words, 3 characters",
        f"{tmp_path / 'out' / 'test.txt.gz'}: 1 lines, 1 words, 1 characters",
        f"{tmp_path / 'out' / 'extra.txt.gz'}: 1 lines, 2 words, 3 characters",
        "of a book",
    ]


def test_the_same_lines_make_the_same_files(tmp_path: Path) -> None:
    one, other = (write_texts(tmp_path / name, TEXTS) for name in "ab")
    for name in TEXTS:
        assert one.paths[name].read_bytes() == other.paths[name].read_bytes()


def test_a_set_that_is_missing_needs_a_reason(tmp_path: Path) -> None:
    texts = {name: TEXTS[name] for name in ("train", "dev")}
    with pytest.raises(DataError, match="the corpus has no test set, and nobody said why"):
        write_texts(tmp_path, texts)
    assert list(tmp_path.iterdir()) == []
    written = write_texts(tmp_path, texts, absent={"test": "too short"})
    assert find_texts(tmp_path) == written
    assert written.lines()[-1] == "no test set: too short"


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    written = write_texts(tmp_path, TEXTS)
    before = written.paths["train"].read_bytes()
    with pytest.raises(DataError, match="the set dev would be empty"):
        write_texts(tmp_path, {**TEXTS, "dev": [], "train": ["other"]})
    assert find_texts(tmp_path) == written
    assert written.paths["train"].read_bytes() == before
    assert not list(tmp_path.glob(".*"))


def test_a_text_that_went_away(tmp_path: Path) -> None:
    write_texts(tmp_path, TEXTS).paths["dev"].unlink()
    assert find_texts(tmp_path) is None
    assert find_any(tmp_path / "nowhere") is None


def test_a_disk_that_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ResourceError, match="cannot be written: No space left on device"):
        write_texts(tmp_path / "out", TEXTS)
