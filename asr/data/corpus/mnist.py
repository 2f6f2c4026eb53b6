"""MNIST, handwritten digits: 60,000 images for training and 10,000 for test, 28 x 28, grey.

LeCun, Cortes & Burges. Four IDX files, of which the two with images are used here. The test set is
the published one; dev is the end of the training set.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from asr.data.corpus.download import download
from asr.data.corpus.prepared_images import published_sets
from asr.data.images import Images, read_idx
from asr.errors import DataError, shown

URL = "https://ossci-datasets.s3.amazonaws.com/mnist"
# Of the original archives; copies that somebody packed again have the same content.
MD5 = {
    "train-images-idx3-ubyte": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "t10k-images-idx3-ubyte": "9fb629c4189551a2d022fa330f9573f3",
}
COUNTS = {"train": 60_000, "test": 10_000}
SIZE = 28
DEV_IMAGES = 5_000


def mnist_sets(
    corpus: Sequence[Path],
    out: Path,
    *,
    url: str = URL,
    md5: Mapping[str, str] = MD5,
    counts: Mapping[str, int] = COUNTS,
    dev_images: int = DEV_IMAGES,
) -> dict[str, Images]:
    """The images (N, 28, 28) of train, dev and test.

    Args:
        corpus: folders that hold the IDX files; empty: they are downloaded into `out`/corpus.
        out: folder of the prepared data.
        url: where they are published.
        md5: of the published archives.
        counts: images that train (before dev is taken out) and test must have.
        dev_images: how many of the training images are dev.

    Raises:
        DataError: not to be had, incomplete or damaged.
        ResourceError: the disk is too small or not writable.
    """
    folders = list(corpus) or [_fetched(out / "corpus", url, md5)]
    train, test = (_read(folders, name) for name in MD5)
    return published_sets(folders[0], train, test, counts, dev_images=dev_images)


def _fetched(folder: Path, url: str, md5: Mapping[str, str]) -> Path:
    for name, checksum in md5.items():
        download(f"{url}/{name}.gz", folder / f"{name}.gz", md5=checksum)
    return folder


def _read(folders: Sequence[Path], name: str) -> Images:
    """The images of the file `name`, plain or gzip, right in a folder or one below."""
    files = [
        f"{spelling}{end}"
        for spelling in (name, name.replace("-idx", ".idx"))  # some copies write a dot
        for end in ("", ".gz")
    ]
    patterns = [f"{place}{file}" for place in ("", "*/") for file in files]
    for folder in folders:
        for pattern in patterns:
            for path in sorted(folder.glob(pattern)):
                images = read_idx(path)
                if images.shape[1:] != (SIZE, SIZE):
                    raise DataError(
                        f"{shown(path)}: images of {images.shape[1]} x {images.shape[2]}; MNIST's "
                        f"are {SIZE} x {SIZE}, so this is another data set"
                    )
                return images
    places = ", ".join(map(shown, folders))
    raise DataError(
        f"{places}: no {name} or {name}.gz in it; give the folder with MNIST's files, or leave out "
        "--corpus to download them"
    )
