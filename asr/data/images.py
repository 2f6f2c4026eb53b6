"""Images of a data set: MNIST's IDX files, and the `.npz` that recipes read.

Images are uint8, 0 black to 255 white: (N, H, W), or (N, H, W, 3) in colour.
"""

import gzip
import io
import math
import zipfile
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asr.errors import DataError, shown
from asr.storage import write_atomically

Images = NDArray[np.uint8]

KEY = "images"
_UNSIGNED_BYTES = b"\0\0\x08"  # how an IDX file of them begins; the number of dimensions follows
_GZIP = b"\x1f\x8b"


def read_idx(path: Path, *, dimensions: int = 3) -> NDArray[np.uint8]:
    """The array in an IDX file (LeCun, Cortes & Burges: MNIST), plain or gzip.

    Args:
        path: the file.
        dimensions: what it must have: 3 for images (N, H, W), 1 for labels (N,).

    Raises:
        DataError: it cannot be read, is cut off, or is no such file.
    """
    data = _unpacked(path)
    if data[:3] != _UNSIGNED_BYTES or len(data) < 4:
        raise DataError(f"{shown(path)}: is no IDX file of bytes; download it again")
    start = 4 + 4 * data[3]
    if data[3] != dimensions or len(data) < start:
        raise DataError(
            f"{shown(path)}: an IDX file with {data[3]} dimensions; {dimensions} are needed, so "
            "this is another file of the set"
        )
    shape = tuple(int(size) for size in np.frombuffer(data, ">u4", dimensions, offset=4))
    expected = start + math.prod(shape)
    if len(data) != expected:
        raise DataError(
            f"{shown(path)}: {len(data):,} bytes, but its header announces {expected:,}; it is cut "
            "off or damaged, download it again"
        )
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def write_images(path: Path, images: Images) -> None:
    """Write images as `.npz`, in one step; the same images make the same file.

    Raises:
        ValueError: they are not uint8 (N, H, W) or (N, H, W, 3).
        ResourceError: the disk is full or not writable.
    """
    if images.dtype != np.uint8 or not _is_shape(images.shape):
        raise ValueError(
            f"images must be uint8 (N, H, W) or (N, H, W, 3), got {images.dtype} {images.shape}"
        )
    content, buffer = io.BytesIO(), io.BytesIO()
    np.save(content, images, allow_pickle=False)
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        member = zipfile.ZipInfo(f"{KEY}.npy")  # numpy's own writer notes the time
        archive.writestr(member, content.getvalue(), zipfile.ZIP_DEFLATED)
    write_atomically(path, buffer.getvalue())


def read_images(path: Path) -> Images:
    """The images in a file of `write_images`.

    Raises:
        DataError: there is none, it is something else, or it has no image.
    """
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            content = io.BytesIO(archive.read(f"{KEY}.npy"))
        images: Images = np.lib.format.read_array(content, allow_pickle=False)  # type: ignore[no-untyped-call]
    except FileNotFoundError as error:
        raise DataError(f"{shown(path)}: no such file; make it with asr prepare") from error
    except (OSError, ValueError, LookupError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(
            f"{shown(path)}: holds no '{KEY}' (an .npz made by asr prepare); prepare it again"
        ) from error
    if images.dtype != np.uint8 or not _is_shape(images.shape) or not len(images):
        raise DataError(
            f"{shown(path)}: needs images, uint8 (N, H, W) or (N, H, W, 3), but has "
            f"{images.dtype} {images.shape}"
        )
    return images


def padded(images: Images, size: int) -> Images:
    """Images in the middle of black ones of `size` x `size`.

    Raises:
        ValueError: they are larger.
    """
    height, width = images.shape[1:3]
    if max(height, width) > size:
        raise ValueError(f"images of {height} x {width} do not fit into {size} x {size}")
    top, left = (size - height) // 2, (size - width) // 2
    margins = [(0, 0), (top, size - height - top), (left, size - width - left)]
    return np.pad(images, margins + [(0, 0)] * (images.ndim - 3))


def _is_shape(shape: tuple[int, ...]) -> bool:
    return (len(shape) == 3 or (len(shape) == 4 and shape[3] == 3)) and min(shape[1:]) > 0


def _unpacked(path: Path) -> bytes:
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if data.startswith(_GZIP) else data
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{shown(path)}: its gzip is damaged; download it again") from error
    except OSError as error:
        raise DataError(f"{shown(path)}: cannot be read: {error.strerror}") from error
