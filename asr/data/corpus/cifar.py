"""CIFAR-10: 50,000 small photographs for training and 10,000 for test, 32 x 32, in colour.

Krizhevsky 2009. Its binary version: six files of records, each a byte that is the label, 0 to 9,
and 3 x 32 x 32 bytes, all red ones, all green ones, all blue ones. The version for Python is a
pickle, which can run code, and is not read. Dev is the end of the training set.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from asr.data.corpus.prepared_images import published_sets
from asr.data.corpus.published import Archive, fetch, find_corpus
from asr.data.images import Images
from asr.errors import DataError, shown

ARCHIVE = Archive(
    url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    max_bytes=400_000_000,
    max_members=20,
    md5="c32a1d4ab5d03f1284b67883e8d87530",  # as published beside it
)
TRAIN = [f"data_batch_{number}.bin" for number in range(1, 6)]
TEST = "test_batch.bin"
COUNTS = {"train": 50_000, "test": 10_000}
SIZE = 32
RECORD = 1 + 3 * SIZE * SIZE  # bytes
CLASSES = 10
DEV_IMAGES = 5_000


def cifar_sets(
    corpus: Sequence[Path],
    out: Path,
    *,
    archive: Archive = ARCHIVE,
    counts: Mapping[str, int] = COUNTS,
    dev_images: int = DEV_IMAGES,
) -> dict[str, Images]:
    """The images (N, 32, 32, 3) of train, dev and test.

    Args:
        corpus: folders that hold the six files; empty: they are downloaded into `out`/corpus.
        out: folder of the prepared data.
        archive: where they are published.
        counts: images that train (before dev is taken out) and test must have.
        dev_images: how many of the training images are dev.

    Raises:
        DataError: not to be had, incomplete or damaged.
        ResourceError: the disk is too small or not writable.
        ConfigError: another process is fetching into the same place.
    """
    folders = list(corpus) or [_fetched(out / "corpus" / "cifar10", archive)]
    folder = find_corpus(folders, TRAIN[0])
    train = np.concatenate([read_cifar(folder / name) for name in TRAIN])
    test = read_cifar(folder / TEST)
    return published_sets(folder, train, test, counts, dev_images=dev_images)


def read_cifar(path: Path) -> Images:
    """The images (N, 32, 32, 3) in one file of the binary version.

    Raises:
        DataError: it cannot be read, is cut off, or is no such file.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{shown(path)}: cannot be read: {error.strerror}") from error
    if not data or len(data) % RECORD:
        raise DataError(
            f"{shown(path)}: {len(data):,} bytes are no whole number of images of {RECORD:,}; it "
            "is cut off or not CIFAR-10's binary version, download that again"
        )
    records = np.frombuffer(data, np.uint8).reshape(-1, RECORD)
    if records[:, 0].max() >= CLASSES:
        raise DataError(
            f"{shown(path)}: a label is {records[:, 0].max()}, CIFAR-10's are 0 to "
            f"{CLASSES - 1}; it is damaged or another data set, download it again"
        )
    planes = records[:, 1:].reshape(-1, 3, SIZE, SIZE)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1))


def _fetched(folder: Path, archive: Archive) -> Path:
    fetch(archive, folder)
    return folder
