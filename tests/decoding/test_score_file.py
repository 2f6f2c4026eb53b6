from pathlib import Path

import numpy as np
import pytest

from asr.data.labels import labels_of
from asr.data.vocabulary import Piece
from asr.decoding.score_file import read_label_file, read_scores, write_label_file, write_scores
from asr.errors import DataError


def test_what_is_written_is_read(tmp_path: Path) -> None:
    scores = {
        "a/b.wav": np.zeros((3, 2), np.float32),
        "": np.ones((0, 2)),
        "ü": np.full((1, 2), -1.5, np.float16),
    }
    write_scores(tmp_path / "x.npz", scores)
    found = read_scores(tmp_path / "x.npz")
    assert list(found) == list(scores)
    for name, array in scores.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype


def test_files_that_have_no_scores(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    with pytest.raises(DataError, match=r"x.npz: no such file of scores"):
        read_scores(path)
    path.write_bytes(b"not a zip")
    with pytest.raises(DataError, match=r"x.npz: not an .npz file of arrays"):
        read_scores(path)
    np.savez_compressed(path, a=np.random.default_rng(0).random((50, 2)))
    damaged = bytearray(path.read_bytes())
    damaged[60:90] = bytes(30)
    path.write_bytes(damaged)
    with pytest.raises(
        DataError, match=r"not an .npz file of arrays: Error -3 while decompressing"
    ):
        read_scores(path)
    encrypted = bytearray(_stored(path))
    encrypted[6] = encrypted[encrypted.rindex(b"PK\x01\x02") + 8] = 1  # the flag of encryption
    path.write_bytes(encrypted)
    with pytest.raises(DataError, match=r"not an .npz file of arrays: .* is encrypted"):
        read_scores(path)
    np.savez(path, a=np.zeros((2, 2), dtype=object))
    with pytest.raises(DataError, match=r"not an .npz file of arrays: Object arrays cannot be"):
        read_scores(path)
    np.savez(path)
    with pytest.raises(DataError, match="has no arrays"):
        read_scores(path)
    np.savez(path, utterance=np.zeros((1, 2, 2)))
    with pytest.raises(
        DataError, match=r"array 'utterance' must be \(T, V\) floats, got \(1, 2, 2\)"
    ):
        read_scores(path)
    np.savez(path, utterance=np.zeros((2, 2), dtype=np.int64))
    with pytest.raises(DataError, match=r"must be .* floats, got .* int64"):
        read_scores(path)
    np.save(tmp_path / "x.npy", np.zeros((2, 2)))
    with pytest.raises(DataError, match=r"x.npy: one array; save an .npz"):
        read_scores(tmp_path / "x.npy")


def test_labels_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_bytes(b"<blank>\r\n \r\nA\r\n")
    assert read_label_file(path, blank=0).names == ("<blank>", " ", "A")
    path.write_text("A\n\nB\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"labels.txt: label 1 is empty"):
        read_label_file(path, blank=0)
    path.write_text("A\nB\nC\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"labels.txt: blank must be 0 to 2, got 7"):
        read_label_file(path, blank=7)
    with pytest.raises(DataError, match=r"none.txt: cannot be read"):
        read_label_file(tmp_path / "none.txt", blank=0)


def test_labels_that_are_written_are_read(tmp_path: Path) -> None:
    """What a name does not say stands behind a tab; the blank is never text."""
    path = tmp_path / "labels.txt"
    pieces = (Piece(""), Piece("", True), Piece("|"), Piece("A", True), Piece("\ufffd"), Piece("B"))
    labels = labels_of(pieces, ("<blank>", " ", "|", "A", "<unknown>", "B"))
    write_label_file(path, labels)
    lines = ["<blank>", " ", "|\t|", "A\t A", "<unknown>\t\ufffd", "B"]
    assert path.read_text(encoding="utf-8").split("\n")[:-1] == lines
    assert read_label_file(path, blank=0) == labels
    path.write_text("A\n<b>\t\n_\tX\n", encoding="utf-8")
    assert read_label_file(path, blank=2).pieces == (Piece("A"), Piece(""), None)


def _stored(path: Path) -> bytes:
    np.savez(path, a=np.zeros((2, 2)))
    return path.read_bytes()
