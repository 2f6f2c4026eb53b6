"""Small square images out of any folder of pictures."""

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from asr.data.images import Images
from asr.errors import ConfigError, DataError, shown
from asr.pictures import INSTALL

ENDINGS = (".png", ".jpg", ".jpeg")
SHARE = 0.05  # of the images, for each of dev and test
FEWEST = 3  # one for each set


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A picture that is not used, and why."""

    where: str
    reason: str


@dataclass(frozen=True, slots=True)
class Photographs:
    """Images by their sets, and the pictures that are in none."""

    sets: dict[str, Images]
    left_out: list[LeftOut]


def read_photographs(folders: Sequence[Path], size: int) -> Photographs:
    """All PNG and JPEG files below some folders, as train, dev and test.

    The middle square of each is made `size` x `size`, in colour. Dev and test are `SHARE` each,
    chosen by a hash of the pixels, so always the same ones. A picture that cannot be read, is
    smaller than that, or is there twice is left out.

    Args:
        folders: of the pictures, searched to any depth.
        size: of the images.

    Raises:
        ConfigError: Pillow is not installed.
        DataError: no folder, no pictures, or less than `FEWEST` that can be used.
    """
    if not folders:
        raise DataError("this recipe needs pictures of your own: give their folder by --corpus DIR")
    places = ", ".join(map(shown, folders))
    files = [path for folder in folders for path in pictures_below(folder)]
    if not files:
        raise DataError(f"{places}: no picture ({', '.join(ENDINGS)}) in it; name another folder")
    images: dict[str, Images] = {}  # by their hashes
    names: dict[str, Path] = {}
    left_out = []
    for path in files:
        found = read_photograph(path, size)
        if isinstance(found, LeftOut):
            left_out.append(found)
            continue
        key = hashlib.sha256(found.tobytes()).hexdigest()
        if key in images:
            left_out.append(LeftOut(str(path), f"the same picture as {names[key]}"))
            continue
        images[key], names[key] = found, path
    if len(images) < FEWEST:
        first = f", such as {shown(left_out[0].where)}: {left_out[0].reason}" if left_out else ""
        raise DataError(
            f"{places}: {len(images)} usable pictures, at least {FEWEST} are needed; "
            f"{len(left_out)} cannot be used{first}"
        )
    return Photographs(split_by_hash(images), left_out)


def pictures_below(folder: Path) -> list[Path]:
    """The files that are pictures by their names, sorted."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS)


def read_photograph(path: Path, size: int) -> Images | LeftOut:
    """The middle square of a picture as (size, size, 3), or why it cannot be used.

    Raises:
        ConfigError: Pillow is not installed.
    """
    pillow = _pillow()
    try:
        # A picture of very many pixels, which may be made to fill the memory, is a warning.
        with warnings.catch_warnings(action="error"), pillow.Image.open(path) as opened:
            upright = pillow.ImageOps.exif_transpose(opened).convert("RGB")
    except (OSError, ValueError, SyntaxError, EOFError, Warning) as error:
        return LeftOut(str(path), f"cannot be read: {shown(str(error) or type(error).__name__)}")
    except pillow.Image.DecompressionBombError:
        return LeftOut(str(path), "has too many pixels")
    if min(upright.size) < size:
        width, height = upright.size
        return LeftOut(str(path), f"{width} x {height} pixels, less than {size} x {size}")
    return np.asarray(pillow.ImageOps.fit(upright, (size, size), pillow.Image.Resampling.LANCZOS))


def split_by_hash(images: dict[str, Images]) -> dict[str, Images]:
    """Train, dev and test of images by their hashes, in the order of these."""
    ordered = [images[key] for key in sorted(images)]
    held_out = max(1, round(SHARE * len(ordered)))
    return {
        "train": np.stack(ordered[2 * held_out :]),
        "dev": np.stack(ordered[:held_out]),
        "test": np.stack(ordered[held_out : 2 * held_out]),
    }


def _pillow() -> Any:
    try:
        import PIL.Image
        import PIL.ImageOps
    except ImportError as error:
        raise ConfigError(f"reading pictures needs Pillow: {INSTALL}") from error
    return PIL
