"""A model from its file: its content says of which kind it is, its name nothing."""

import gzip
from pathlib import Path

import pytest

from asr.errors import DataError, ModelError
from asr.lm import cache, loading
from asr.lm.arpa import read_arpa
from asr.lm.loading import load_lm, model_name
from asr.lm.ngram import NgramModel
from tests.lm.plain_ngram import random_model


def test_the_name_says_nothing(tmp_path: Path) -> None:
    text = random_model(1, 3).arpa().encode()
    models = []
    for name, content in [("plain.gz", text), ("packed.arpa", gzip.compress(text)), ("a", text)]:
        (tmp_path / name).write_bytes(content)
        models.append(load_lm(tmp_path / name))
    assert len({tuple(model.score_sentence(["w0", "w1"])) for model in models}) == 1


def test_what_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file or directory; asr lm train makes such"):
        load_lm(tmp_path / "missing")
    with pytest.raises(ModelError, match="is a folder, but no language model; give an ARPA file"):
        load_lm(tmp_path)
    (tmp_path / "note.txt").write_text("Dear all\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"note\.txt:1: the file ends without a line \\data\\"):
        load_lm(tmp_path / "note.txt")


def test_a_file_that_cannot_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise PermissionError(13, "Permission denied")

    path = random_model(1, 2).write(tmp_path / "a.arpa")
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match=r"a\.arpa: cannot be read: Permission denied"):
        load_lm(path)


def test_a_file_that_changes_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = random_model(1, 2).write(tmp_path / "a.arpa")

    def read_and_change(path: Path) -> NgramModel:
        model = read_arpa(path)
        path.write_text("more", encoding="utf-8")
        return model

    monkeypatch.setattr(loading, "read_arpa", read_and_change)
    monkeypatch.setattr(cache, "SMALL_BYTES", 0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(DataError, match="changed while it was read; try again when it is whole"):
        load_lm(path)
    assert not (tmp_path / "cache").exists()


def test_what_to_call_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "charlm" / "default" / "best"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    assert model_name(Path("a/b/trigram.arpa")) == "trigram.arpa"
    assert model_name(Path()) == model_name(folder) == "charlm/default/best"
