"""MNIST for DRAW; SVHN and CIFAR-10 for its variants; for `toy.toml`, made-up squares."""

from pathlib import Path

from asr.data.corpus.cifar import cifar_sets
from asr.data.corpus.made_images import squares
from asr.data.corpus.mnist import mnist_sets
from asr.data.corpus.prepared_images import write_image_sets
from asr.data.corpus.svhn import svhn_sets

CORPUS_FOLDER = {
    "recipe": "mnist",
    "attention": "mnist",
    "mnist": "mnist",
    "svhn": "svhn",
    "cifar": "cifar10",
}


def prepare(corpus: list[Path], out: Path, *, variant: str = "recipe") -> None:
    """Write train.npz, dev.npz and test.npz.

    Args:
        corpus: folders with the files of the data set; empty: they are downloaded into `out`.
        out: folder of the images.
        variant: "toy" makes squares and reads no corpus; "svhn" and "cifar" have their own; all
            others read MNIST.

    Raises:
        ConfigError: SciPy is not installed, which SVHN needs.
        DataError: the corpus is not to be had, incomplete or damaged.
        ResourceError: the disk is too small or not writable.
    """
    note = "dev is the end of train"
    if variant == "toy":
        write_image_sets(out, squares(), notes=["made up: white squares on black"])
    elif variant == "svhn":
        write_image_sets(out, svhn_sets(corpus, out), notes=[f"SVHN, cropped digits; {note}"])
    elif variant == "cifar":
        write_image_sets(out, cifar_sets(corpus, out), notes=[f"CIFAR-10; {note}"])
    else:
        write_image_sets(out, mnist_sets(corpus, out), notes=[f"MNIST; {note}"])
