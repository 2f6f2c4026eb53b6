"""CIFAR-10 from a folder or from where it is published."""

import hashlib
import tarfile
from pathlib import Path

import numpy as np
import pytest

from asr.data.corpus.cifar import RECORD, TEST, TRAIN, cifar_sets, read_cifar
from asr.data.corpus.published import Archive
from asr.data.images import Images
from asr.errors import DataError
from tests.data.corpus.local_server import serve

COUNTS = {"train": 15, "test": 2}


def made(count: int, seed: int) -> Images:
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


def record_file(images: Images, label: int = 9) -> bytes:
    """As published: the label, all red bytes, all green ones, all blue ones."""
    parts = []
    for image in images:
        parts.append(bytes([label]))
        parts += [image[:, :, channel].tobytes() for channel in range(3)]
    return b"".join(parts)


def folder(root: Path) -> Path:
    root.mkdir(parents=True)
    for seed, name in enumerate(TRAIN):
        (root / name).write_bytes(record_file(made(3, seed)))
    (root / TEST).write_bytes(record_file(made(2, 9)))
    return root


def test_from_a_folder(tmp_path: Path) -> None:
    folder(tmp_path / "cifar" / "cifar-10-batches-bin")
    sets = cifar_sets([tmp_path / "cifar"], tmp_path / "out", counts=COUNTS, dev_images=4)
    assert list(sets) == ["train", "dev", "test"]
    whole = np.concatenate([made(3, seed) for seed in range(5)])
    assert np.array_equal(np.concatenate([sets["train"], sets["dev"]]), whole)
    assert len(sets["dev"]) == 4
    assert np.array_equal(sets["test"], made(2, 9))
    assert not (tmp_path / "out").exists()


def test_downloaded_and_checked(tmp_path: Path) -> None:
    folder(tmp_path / "cifar-10-batches-bin")
    packed = tmp_path / "site" / "cifar-10-binary.tar.gz"
    packed.parent.mkdir()
    with tarfile.open(packed, "w:gz") as archive:
        archive.add(tmp_path / "cifar-10-batches-bin", "cifar-10-batches-bin")
    md5 = hashlib.md5(packed.read_bytes(), usedforsecurity=False).hexdigest()

    def get(address: str, out: Path, checksum: str) -> dict[str, Images]:
        source = Archive(url=f"{address}/{packed.name}", max_bytes=10**6, md5=checksum)
        return cifar_sets([], out, archive=source, counts=COUNTS, dev_images=4)

    with serve(packed.parent) as address:
        sets = get(address, tmp_path / "out", md5)
        with pytest.raises(DataError, match=r"cifar-10-binary\.tar\.gz\.part: has md5"):
            get(address, tmp_path / "other", "0" * 32)
    assert len(sets["train"]) == 11
    # It is there now: nothing is asked of the server, which is gone.
    assert np.array_equal(get(address, tmp_path / "out", md5)["test"], sets["test"])


def test_what_is_missing_or_something_else(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no data_batch_1\.bin in it; give the folder"):
        cifar_sets([tmp_path], tmp_path)
    folder(tmp_path / "cifar")
    with pytest.raises(DataError, match="train has 15 of 50000, test has 2 of 10000"):
        cifar_sets([tmp_path / "cifar"], tmp_path)
    (tmp_path / "cifar" / TEST).unlink()
    with pytest.raises(DataError, match=r"test_batch\.bin: cannot be read: No such file"):
        cifar_sets([tmp_path / "cifar"], tmp_path)


def test_damaged_files(tmp_path: Path) -> None:
    path = tmp_path / "data_batch_1.bin"
    for content in (b"", record_file(made(2, 0))[:-1]):
        path.write_bytes(content)
        with pytest.raises(DataError, match="bytes are no whole number of images of 3,073; it is"):
            read_cifar(path)
    path.write_bytes(record_file(made(2, 0), label=10))
    with pytest.raises(DataError, match="a label is 10, CIFAR-10's are 0 to 9; it is damaged or"):
        read_cifar(path)
    assert len(record_file(made(1, 0))) == RECORD
