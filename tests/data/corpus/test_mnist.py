"""MNIST from a folder or from where it is published."""

import gzip
import hashlib
from pathlib import Path

import numpy as np
import pytest

from asr.data.corpus.mnist import MD5, mnist_sets
from asr.errors import DataError
from tests.data.corpus.local_server import serve
from tests.data.test_images import idx, made

COUNTS = {"train": 12, "test": 5}
TRAIN, TEST = MD5


def folder(root: Path, *, packed: bool = True, size: int = 28) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for name, count in ((TRAIN, 12), (TEST, 5)):
        data = idx(made(count, size, size))
        (root / f"{name}{'.gz' if packed else ''}").write_bytes(
            gzip.compress(data, mtime=0) if packed else data
        )
    return root


@pytest.mark.parametrize("packed", [False, True])
def test_from_a_folder(tmp_path: Path, packed: bool) -> None:
    folder(tmp_path / "mnist" / "raw", packed=packed)
    for given in (tmp_path / "mnist", tmp_path / "mnist" / "raw"):
        sets = mnist_sets([given], tmp_path / "out", counts=COUNTS, dev_images=4)
        assert {name: len(images) for name, images in sets.items()} == {
            "train": 8,
            "dev": 4,
            "test": 5,
        }
        whole = made(12, 28, 28)
        assert np.array_equal(np.concatenate([sets["train"], sets["dev"]]), whole)
    assert not (tmp_path / "out").exists()


def test_a_dot_in_the_names(tmp_path: Path) -> None:
    for path in folder(tmp_path).iterdir():
        path.rename(path.with_name(path.name.replace("-idx", ".idx")))
    assert len(mnist_sets([tmp_path], tmp_path, counts=COUNTS, dev_images=4)["test"]) == 5


def test_downloaded_and_checked(tmp_path: Path) -> None:
    site = folder(tmp_path / "site")
    md5 = {
        name: hashlib.md5((site / f"{name}.gz").read_bytes(), usedforsecurity=False).hexdigest()
        for name in MD5
    }
    out = tmp_path / "out"
    with serve(site) as address:
        sets = mnist_sets([], out, url=address, md5=md5, counts=COUNTS, dev_images=4)
        wrong = {**md5, TEST: "0" * 32}
        with pytest.raises(DataError, match="t10k-images"):
            mnist_sets([], tmp_path / "other", url=address, md5=wrong, counts=COUNTS)
    assert len(sets["train"]) == 8
    # The files are there now: nothing is asked of the server, which is gone.
    again = mnist_sets([], out, url=address, md5=md5, counts=COUNTS, dev_images=4)
    assert np.array_equal(again["test"], sets["test"])


def test_what_is_missing_or_something_else(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no train-images-idx3-ubyte or .*\.gz in it; give"):
        mnist_sets([tmp_path], tmp_path)
    folder(tmp_path / "mnist")
    with pytest.raises(DataError, match="train has 12 of 60000, test has 5 of 10000"):
        mnist_sets([tmp_path / "mnist"], tmp_path)
    folder(tmp_path / "small", size=20)
    with pytest.raises(DataError, match="images of 20 x 20; MNIST's are 28 x 28, so this is anoth"):
        mnist_sets([tmp_path / "small"], tmp_path)


@pytest.mark.data
def test_the_real_images(corpora: Path, tmp_path: Path) -> None:
    sets = mnist_sets([corpora / "mnist"], tmp_path)
    assert {name: images.shape for name, images in sets.items()} == {
        "train": (55_000, 28, 28),
        "dev": (5_000, 28, 28),
        "test": (10_000, 28, 28),
    }
    assert sets["test"].mean() == pytest.approx(33.79, abs=0.01)  # of 255, as published
