"""Any text becomes three sets of neighbouring lines."""

import gzip
from pathlib import Path

import pytest

from asr.data.corpus.prepared_texts import find_texts
from asr.errors import DataError
from asr.preparation import prepare as prepare_recipe
from recipes.charlm.prepare import prepare

RECIPE = Path(__file__).parents[2] / "recipes" / "charlm"


def book(path: Path, count: int, *, packed: bool = False) -> Path:
    data = "".join(f"{path.name} line {n}\n" for n in range(count)).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data) if packed else data)
    return path


def lines_of(out: Path, name: str) -> list[str]:
    return gzip.decompress((out / f"{name}.txt.gz").read_bytes()).decode().split("\n")[:-1]


def test_a_folder_of_texts(tmp_path: Path) -> None:
    book(tmp_path / "books" / "b.txt", 30)
    book(tmp_path / "books" / "a.txt.gz", 30, packed=True)
    book(tmp_path / "books" / "deeper" / "c.txt", 5)
    (tmp_path / "books" / "notes.pdf").touch()
    prepare([tmp_path / "books"], tmp_path / "out")
    found = find_texts(tmp_path / "out")
    assert found is not None
    assert found.counts == {"train": 54, "dev": 3, "test": 3}
    everything = [line for name in found.paths for line in lines_of(tmp_path / "out", name)]
    expected = [f"{name} line {n}" for name in ("a.txt.gz", "b.txt") for n in range(30)]
    assert sorted(everything) == sorted(expected)
    held_out = lines_of(tmp_path / "out", "dev")
    assert held_out == expected[expected.index(held_out[0]) :][:3], "neighbours"


def test_a_file_through_the_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = book(tmp_path / "book.txt", 40)
    path.write_text(path.read_text(encoding="utf-8") + "\n\n", encoding="utf-8")
    prepared = prepare_recipe(RECIPE, corpus=[path])
    assert prepared.out == Path("data/charlm")
    assert prepared.lines()[-1] == "2 empty lines left out"
    assert str(path) in prepared.lines()[-2]
    with pytest.raises(DataError, match="none: no such file or folder; --corpus needs the unp"):
        prepare_recipe(RECIPE, corpus=[tmp_path / "none"])


def test_the_usual_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASR_CORPORA", str(tmp_path / "corpora"))
    book(tmp_path / "corpora" / "text" / "book.txt", 40)
    assert prepare_recipe(RECIPE, out=tmp_path / "out").counts["train"] == 36


def test_no_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ASR_CORPORA", raising=False)
    with pytest.raises(DataError, match="charlm: no text: give a file or folder with --corpus"):
        prepare_recipe(RECIPE, out=tmp_path / "out")
    with pytest.raises(DataError, match=r"no \*\.txt or \*\.txt\.gz in it; give the files"):
        prepare([tmp_path], tmp_path / "out")
    with pytest.raises(DataError, match="charlm: 19 lines are too few to hold any out: give 20"):
        prepare([book(tmp_path / "short.txt", 19)], tmp_path / "out")


@pytest.mark.data
def test_the_real_text(corpora: Path, tmp_path: Path) -> None:
    prepare([corpora / "text"], tmp_path)
    found = find_texts(tmp_path)
    assert found is not None
    assert found.counts == {"train": 834_381, "dev": 4000, "test": 4000}
    assert set("".join(lines_of(tmp_path, "dev"))) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZ' ")
