"""MNIST for the variational autoencoder; for `toy.toml`, white squares that need nothing."""

from pathlib import Path

from asr.data.corpus.made_images import squares
from asr.data.corpus.mnist import mnist_sets
from asr.data.corpus.prepared_images import write_image_sets

CORPUS_FOLDER = "mnist"


def prepare(corpus: list[Path], out: Path, *, variant: str = "recipe") -> None:
    """Write train.npz, dev.npz and test.npz.

    Args:
        corpus: folders with MNIST's IDX files; empty: they are downloaded into `out`.
        out: folder of the images.
        variant: "toy" makes squares and reads no corpus.

    Raises:
        DataError: MNIST is not to be had, incomplete or damaged.
        ResourceError: the disk is too small or not writable.
    """
    if variant == "toy":
        write_image_sets(out, squares(), notes=["made up: white squares on black"])
    else:
        write_image_sets(out, mnist_sets(corpus, out), notes=["MNIST; dev is the end of train"])
