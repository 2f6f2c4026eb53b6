"""SVHN, house numbers in photographs: 73,257 digits for training, 26,032 for test, 32 x 32, colour.

Netzer, Wang, Coates, Bissacco, Wu & Ng 2011. Its "cropped digits": two MATLAB files with X, 32 x 32
x 3 x N bytes. Dev is the end of the training set. The whole house numbers, which are published as
photographs with boxes in HDF5, are not read.
"""

import importlib
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np

from asr.data.corpus.download import download
from asr.data.corpus.prepared_images import published_sets
from asr.data.corpus.published import find_corpus
from asr.data.images import Images
from asr.errors import ConfigError, DataError, shown

URL = "http://ufldl.stanford.edu/housenumbers"
TRAIN, TEST = "train_32x32.mat", "test_32x32.mat"
MD5 = {
    TRAIN: "e26dedcc434d2e4c54c9b2d4a06d8373",
    TEST: "eb5a983be6a315427106f1b164d9cef3",
}
COUNTS = {"train": 73_257, "test": 26_032}
SIZE = 32
DEV_IMAGES = 5_000
INSTALL = "pip install 'asr-toolkit[svhn]'"


def svhn_sets(
    corpus: Sequence[Path],
    out: Path,
    *,
    url: str = URL,
    md5: Mapping[str, str] = MD5,
    counts: Mapping[str, int] = COUNTS,
    dev_images: int = DEV_IMAGES,
) -> dict[str, Images]:
    """The images (N, 32, 32, 3) of train, dev and test.

    Args:
        corpus: folders that hold the two files; empty: they are downloaded into `out`/corpus.
        out: folder of the prepared data.
        url: where they are published.
        md5: of the published files.
        counts: images that train (before dev is taken out) and test must have.
        dev_images: how many of the training images are dev.

    Raises:
        ConfigError: SciPy is not installed.
        DataError: not to be had, incomplete or damaged.
        ResourceError: the disk is too small or not writable.
    """
    _matlab()  # before anything is downloaded
    folders = list(corpus) or [_fetched(out / "corpus", url, md5)]
    folder = find_corpus(folders, TRAIN)
    train, test = read_svhn(folder / TRAIN), read_svhn(folder / TEST)
    return published_sets(folder, train, test, counts, dev_images=dev_images)


def read_svhn(path: Path) -> Images:
    """The images (N, 32, 32, 3) in one file of the cropped digits.

    Raises:
        ConfigError: SciPy is not installed.
        DataError: it cannot be read, is damaged, or is no such file.
    """
    matlab = _matlab()
    try:
        with path.open("rb") as file:
            found = matlab.loadmat(file, variable_names=["X"]).get("X")
    except FileNotFoundError as error:
        raise DataError(f"{shown(path)}: no such file; SVHN has {TRAIN} and {TEST}") from error
    except (
        *(OSError, ValueError, TypeError, LookupError, NotImplementedError, zlib.error),
        matlab.matlab.MatReadError,
    ) as error:
        raise DataError(
            f"{shown(path)}: no MATLAB file, or damaged ({shown(str(error))}); download it again"
        ) from error
    shape = getattr(found, "shape", ())
    if len(shape) != 4 or shape[:3] != (SIZE, SIZE, 3) or found.dtype != np.uint8:
        raise DataError(
            f"{shown(path)}: has no X of {SIZE} x {SIZE} x 3 x N bytes; SVHN's cropped digits are "
            f"needed ({TRAIN}, {TEST})"
        )
    return np.ascontiguousarray(found.transpose(3, 0, 1, 2))


def _fetched(folder: Path, url: str, md5: Mapping[str, str]) -> Path:
    for name, checksum in md5.items():
        download(f"{url}/{name}", folder / name, md5=checksum)
    return folder


def _matlab() -> ModuleType:
    try:
        return importlib.import_module("scipy.io")
    except ImportError as error:
        raise ConfigError(f"the files of SVHN need SciPy: {INSTALL}") from error
