"""MNIST for the hierarchical VAE; for `colour.toml` a folder of pictures; made-up images to try."""

import json
from collections.abc import Sequence
from pathlib import Path

from asr.data.corpus.made_images import two_colours
from asr.data.corpus.mnist import mnist_sets
from asr.data.corpus.prepared_images import write_image_sets
from asr.data.images import padded
from asr.storage import write_atomically

from .photographs import LeftOut, read_photographs

CORPUS_FOLDER = {"recipe": "mnist", "colour": "photographs"}
MNIST_SIZE = 32  # a power of two, as the model needs it
COLOUR_SIZE = 64
SKIPPED = "skipped.jsonl"


def prepare(corpus: list[Path], out: Path, *, variant: str = "recipe") -> None:
    """Write train.npz, dev.npz and test.npz.

    Args:
        corpus: folders with MNIST's IDX files, or for "colour" with pictures. Empty: MNIST is
            downloaded into `out`.
        out: folder of the images.
        variant: "colour" reads pictures; "toy" makes images and reads no corpus; all others read
            MNIST.

    Raises:
        ConfigError: Pillow is not installed, which pictures need.
        DataError: the corpus is not to be had, incomplete or damaged, or has no pictures.
        ResourceError: the disk is too small or not writable.
    """
    if variant == "toy":
        notes = ["made up: borders of two colours, the centre is lighter or darker than their mean"]
        write_image_sets(out, two_colours(), notes=notes)
    elif variant == "colour":
        prepare_photographs(corpus, out)
    else:
        sets = {
            name: padded(images, MNIST_SIZE) for name, images in mnist_sets(corpus, out).items()
        }
        notes = [f"MNIST on {MNIST_SIZE} x {MNIST_SIZE} black pixels; dev is the end of train"]
        write_image_sets(out, sets, notes=notes)


def prepare_photographs(folders: Sequence[Path], out: Path) -> None:
    """Images of pictures, and a list of those that are left out."""
    found = read_photographs(folders, COLOUR_SIZE)
    notes = [f"pictures cut to squares; dev and test are {len(found.sets['dev'])} each"]
    if found.left_out:
        notes.append(f"{len(found.left_out)} pictures left out, listed in {SKIPPED}")
    write_skipped(out / SKIPPED, found.left_out)
    write_image_sets(out, found.sets, notes=notes)


def write_skipped(path: Path, left_out: Sequence[LeftOut]) -> None:
    """One JSON object a line for everything left out; no file when nothing was."""
    if not left_out:
        path.unlink(missing_ok=True)
        return
    lines = [json.dumps({"where": one.where, "reason": one.reason}) for one in left_out]
    write_atomically(path, "\n".join(lines) + "\n")
