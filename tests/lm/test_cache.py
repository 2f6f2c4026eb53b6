"""The cache of models: used when whole, made again when not, done without where there is none."""

import logging
import multiprocessing
import os
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from asr.lm import cache, loading
from asr.lm.arpa import read_arpa
from asr.lm.cache import cache_folder, keep, load_cached
from asr.lm.loading import load_lm
from asr.lm.ngram import NgramModel
from asr.storage import is_valid, read_json, write_json
from tests.lm.plain_ngram import random_model

SENTENCE = ["w0", "w1", "w0", "other"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(cache, "SMALL_BYTES", 0)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # hundreds of entries
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "asr" / "lm"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return random_model(1, 3).write(tmp_path / "model.arpa")


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The ARPA files that were read, not taken from the cache."""
    found: list[Path] = []

    def read(path: Path) -> NgramModel:
        found.append(path)
        return read_arpa(path)

    monkeypatch.setattr(loading, "read_arpa", read)
    return found


def same(first: NgramModel, second: NgramModel) -> bool:
    fields = ("counts", "unk", "bos", "eos", "source", "digest", "words")
    arrays = zip(first.automaton, second.automaton, strict=True)
    plain = all(getattr(first, field) == getattr(second, field) for field in fields)
    return plain and all(np.array_equal(*pair) for pair in arrays)


def test_the_second_time_nothing_is_read(path: Path, folder: Path, readings: list[Path]) -> None:
    first, second = load_lm(path), load_lm(path)
    assert readings == [path]
    assert same(first, second)
    assert first.score_sentence(SENTENCE) == second.score_sentence(SENTENCE)
    (entry,) = folder.iterdir()
    assert is_valid(entry)
    for one, other in zip(first.automaton, second.automaton, strict=True):
        assert type(one) is type(other) is np.ndarray
        assert one.flags.writeable == other.flags.writeable is False
        assert one.flags.c_contiguous
        assert other.flags.c_contiguous
        assert other.flags.aligned


def test_both_kinds_of_arrays_run_the_same_compiled_code(path: Path) -> None:
    from asr.lm.ngram import _score_all

    load_lm(path).score([0], [0])
    compiled = len(_score_all.signatures)
    load_lm(path).score([0], [0])
    assert len(_score_all.signatures) == compiled


def test_a_changed_file_is_read_again(path: Path, folder: Path, readings: list[Path]) -> None:
    old = load_lm(path)
    random_model(2, 3).write(path)
    new = load_lm(path)
    assert readings == [path, path]
    assert not same(old, new)
    assert same(new, load_lm(path))
    assert len(list(folder.iterdir())) == 1, "the entry of the old content is gone"


def test_other_files_have_entries_of_their_own(path: Path, folder: Path) -> None:
    other = path.with_name("other.arpa")
    shutil.copyfile(path, other)
    assert load_lm(path).source == path
    assert load_lm(other).source == other
    assert len(list(folder.iterdir())) == 2


def test_a_path_is_the_same_however_it_is_written(
    path: Path, readings: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    load_lm(path)
    path.with_name("link").symlink_to(path)
    monkeypatch.chdir(path.parent)
    for name in (Path(path.name), Path("link"), path.parent / "." / path.name):
        assert load_lm(name).source == name
    assert readings == [path]


def test_verify_sees_a_change_that_keeps_size_and_time(
    path: Path, folder: Path, readings: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    load_lm(path)
    status = path.stat()
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("w0", "v0"), encoding="utf-8")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert "w0" in load_lm(path)
    with caplog.at_level(logging.INFO):
        assert "v0" in load_lm(path, verify=True)
    assert "changed since it was kept in the cache; read again" in caplog.text
    assert "v0" in load_lm(path, verify=True)
    assert readings == [path, path]


def test_verify_sees_a_damaged_number(path: Path, folder: Path, readings: list[Path]) -> None:
    model = load_lm(path)
    (file,) = folder.glob("*/arc_log_probs.npy")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert not same(load_lm(path), model)
    assert same(load_lm(path, verify=True), model)
    assert same(load_lm(path), model)
    assert readings == [path, path]


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def longer(file: Path) -> None:
    array = np.load(file)
    np.save(file, np.append(array, array[:1]))


def other_type(file: Path) -> None:
    np.save(file, np.load(file).astype(np.float64))


def objects(file: Path) -> None:
    np.save(file, np.array([{}], dtype=object), allow_pickle=True)


def changed(place: int, value: int) -> Callable[[Path], None]:
    def change(file: Path) -> None:
        array = np.load(file)
        array[place] = value
        np.save(file, array)

    return change


@pytest.mark.parametrize("name", ["arc_words", "backoff_log_probs", "text", "arc_begin"])
@pytest.mark.parametrize("damage", [cut, longer, other_type, objects, Path.unlink, Path.touch])
def test_a_damaged_array_is_made_again(
    path: Path, folder: Path, readings: list[Path], name: str, damage: Callable[[Path], None]
) -> None:
    model = load_lm(path)
    (file,) = folder.glob(f"*/{name}.npy")
    damage(file)
    if damage is Path.touch:
        file.write_bytes(b"")
    assert same(load_lm(path), model)
    assert same(load_lm(path), model)
    assert readings == [path, path]


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("arc_targets", changed(-1, 10**6)),
        ("arc_targets", changed(0, -1)),
        ("backoff_states", changed(0, 0)),
        ("backoff_states", changed(3, 3)),
        ("backoff_states", changed(3, -1)),
        ("arc_begin", changed(0, 1)),
        ("arc_begin", changed(1, 2)),
        ("arc_begin", changed(3, -1)),
        ("arc_begin", changed(-1, 0)),
    ],
)
def test_links_that_lead_nowhere_are_noticed(
    path: Path, folder: Path, readings: list[Path], name: str, damage: Callable[[Path], None]
) -> None:
    model = load_lm(path)
    (file,) = folder.glob(f"*/{name}.npy")
    damage(file)
    assert same(load_lm(path), model)
    assert readings == [path, path]


@pytest.mark.parametrize(
    "change",
    [
        {"counts": "many"},
        {"counts": [1, 2, 3]},
        {"counts": []},
        {"special": [0, 1]},
        {"special": [0, 1, 10**6]},
        {"special": [-1, 1, 2]},
        {"bytes_of_text": 3},
        {"bytes_of_text": None},
        None,
    ],
)
def test_a_damaged_description_is_made_again(
    path: Path, folder: Path, readings: list[Path], change: dict[str, object] | None
) -> None:
    model = load_lm(path)
    (file,) = folder.glob(f"*/{cache.DESCRIPTION}")
    write_json(file, [] if change is None else {**read_json(file), **change})
    assert same(load_lm(path), model)
    assert readings == [path, path]


def test_without_a_place_for_the_cache(
    path: Path, readings: list[Path], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be", encoding="utf-8")
    assert same(load_lm(path), load_lm(path))
    assert readings == [path, path]
    (first, _) = caplog.messages
    assert first.startswith("the model is read anew each time, because its cache fails: ")
    assert "cannot be written" in first


def test_a_full_disk(
    path: Path, folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache.np, "save", full)
    load_lm(path)
    assert "No space left on device; free some space" in caplog.text
    assert list(folder.iterdir()) == []


def test_a_user_without_a_home(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", homeless)
    load_lm(path)
    assert "because its cache fails: Could not determine home directory" in caplog.text


def test_the_folder_of_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_folder() == tmp_path / "cache" / "asr" / "lm"
    monkeypatch.setenv("HOME", str(tmp_path))
    for value in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert cache_folder() == tmp_path / ".cache" / "asr" / "lm"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == tmp_path / ".cache" / "asr" / "lm"


def test_small_models_are_not_kept(
    path: Path, folder: Path, readings: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "SMALL_BYTES", path.stat().st_size + 1)
    load_lm(path)
    assert not folder.exists()
    monkeypatch.setattr(cache, "SMALL_BYTES", path.stat().st_size)
    load_lm(path)
    load_lm(path)
    assert readings == [path, path]


def test_what_killed_processes_left_is_removed_when_it_is_old(path: Path, folder: Path) -> None:
    load_lm(path)
    (entry,) = folder.iterdir()
    shutil.rmtree(entry)
    old, new = entry.with_name(f"{entry.name}.tmp-1"), entry.with_name(f"{entry.name}.tmp-2")
    other = entry.with_name("0123-4567")
    for leftover in (old, new, other):
        leftover.mkdir()
    os.utime(old, (0, 0))
    load_lm(path)
    assert set(folder.iterdir()) == {entry, new, other}


def keep_again_and_again(path: Path, cache_home: Path, times: int) -> None:
    """Write the same entry many times."""
    os.environ["XDG_CACHE_HOME"] = str(cache_home)
    cache.SMALL_BYTES = 0
    model = read_arpa(path)
    for _ in range(times):
        keep(model)


def check_the_entry(path: Path, folder: Path) -> None:
    model = load_cached(path, verify=True)
    assert model is not None
    assert same(model, read_arpa(path))
    assert len(list(folder.iterdir())) == 1


def test_two_writers_of_the_same_entry(
    path: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getpid", threading.get_ident)  # as if they were processes
    monkeypatch.setattr(cache, "_writing", nullcontext())
    with ThreadPoolExecutor(2) as pool:
        for task in [
            pool.submit(keep_again_and_again, path, tmp_path / "cache", 40) for _ in range(2)
        ]:
            task.result()
    check_the_entry(path, folder)


def test_two_threads_of_a_process(path: Path, folder: Path, tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        for task in [
            pool.submit(keep_again_and_again, path, tmp_path / "cache", 20) for _ in range(2)
        ]:
            task.result()
    check_the_entry(path, folder)


@pytest.mark.soak
def test_two_processes_write_the_same_entry(path: Path, folder: Path, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        for task in [
            pool.submit(keep_again_and_again, path, tmp_path / "cache", 300) for _ in range(2)
        ]:
            task.result()
    check_the_entry(path, folder)
