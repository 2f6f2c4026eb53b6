"""SVHN from a folder or from where it is published."""

import hashlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from asr.data.corpus.svhn import TEST, TRAIN, read_svhn, svhn_sets
from asr.errors import ConfigError, DataError
from tests.data.corpus.local_server import serve

COUNTS = {"train": 7, "test": 3}


def write_matlab(path: Path, **arrays: NDArray[Any]) -> None:
    scipy_io = pytest.importorskip("scipy.io")
    scipy_io.savemat(path, arrays, do_compression=True)


def made(count: int, seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


def folder(root: Path) -> Path:
    root.mkdir(parents=True)
    for seed, (name, count) in enumerate(((TRAIN, 7), (TEST, 3))):
        images = made(count, seed).transpose(1, 2, 3, 0)
        write_matlab(root / name, X=images, y=np.ones((count, 1), np.uint8))
    return root


def test_from_a_folder(tmp_path: Path) -> None:
    folder(tmp_path / "svhn" / "cropped")
    sets = svhn_sets([tmp_path / "svhn"], tmp_path / "out", counts=COUNTS, dev_images=2)
    assert {name: len(images) for name, images in sets.items()} == {"train": 5, "dev": 2, "test": 3}
    assert np.array_equal(np.concatenate([sets["train"], sets["dev"]]), made(7, 0))
    assert np.array_equal(sets["test"], made(3, 1))
    assert not (tmp_path / "out").exists()


def test_downloaded_and_checked(tmp_path: Path) -> None:
    site = folder(tmp_path / "site")
    md5 = {
        name: hashlib.md5((site / name).read_bytes(), usedforsecurity=False).hexdigest()
        for name in (TRAIN, TEST)
    }
    with serve(site) as address:
        sets = svhn_sets([], tmp_path / "out", url=address, md5=md5, counts=COUNTS, dev_images=2)
        wrong = {**md5, TEST: "0" * 32}
        with pytest.raises(DataError, match=r"test_32x32\.mat.*has md5"):
            svhn_sets([], tmp_path / "other", url=address, md5=wrong, counts=COUNTS)
    assert len(sets["train"]) == 5


def test_what_is_missing_or_something_else(tmp_path: Path) -> None:
    pytest.importorskip("scipy")
    with pytest.raises(DataError, match=r"no train_32x32\.mat in it; give the folder"):
        svhn_sets([tmp_path], tmp_path)
    folder(tmp_path / "svhn")
    with pytest.raises(DataError, match=r"7 of 73257, test has 3 of 26032 images; .* download"):
        svhn_sets([tmp_path / "svhn"], tmp_path)
    (tmp_path / "svhn" / TEST).unlink()
    with pytest.raises(DataError, match=r"test_32x32\.mat: no such file; SVHN has train_32x32"):
        svhn_sets([tmp_path / "svhn"], tmp_path)


def test_damaged_files(tmp_path: Path) -> None:
    path = folder(tmp_path / "svhn") / TRAIN
    whole = path.read_bytes()
    broken = bytearray(whole)
    broken[400] ^= 0xFF
    for content in (b"", b"<html>no such page</html>" * 9, whole[: len(whole) // 2], bytes(broken)):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"train_32x32\.mat: no MATLAB file, or damaged \("):
            read_svhn(path)
    for arrays in (
        {"Y": made(2, 0)},
        {"X": made(2, 0)},
        {"X": made(2, 0).transpose(1, 2, 3, 0).astype(np.float64)},
    ):
        write_matlab(path, **arrays)
        with pytest.raises(DataError, match="has no X of 32 x 32 x 3 x N bytes; SVHN's cropped"):
            read_svhn(path)


def test_without_scipy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy", None)
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    with pytest.raises(ConfigError, match=r"SVHN need SciPy: pip install 'asr-toolkit\[svhn\]'"):
        svhn_sets([], tmp_path)
    assert not (tmp_path / "corpus").exists()
