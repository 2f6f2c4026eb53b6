"""Images from IDX files, and as recipes store them."""

import gzip
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from asr.data.images import padded, read_idx, read_images, write_images
from asr.errors import DataError


def idx(array: np.ndarray) -> bytes:
    head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.tobytes()


def made(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("shape", [(3, 4, 5), (0, 4, 5), (1, 1, 1)])
def test_idx_files(tmp_path: Path, packed: bool, shape: tuple[int, ...]) -> None:
    images, path = made(*shape), tmp_path / "some"
    path.write_bytes(gzip.compress(idx(images)) if packed else idx(images))
    assert np.array_equal(read_idx(path), images)


def test_labels_have_one_dimension(tmp_path: Path) -> None:
    path = tmp_path / "labels"
    path.write_bytes(idx(made(7)))
    assert len(read_idx(path, dimensions=1)) == 7
    with pytest.raises(DataError, match="an IDX file with 1 dimensions; 3 are needed, so this is"):
        read_idx(path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is no IDX file of bytes; download it again"),
        (b"PK\3\4 something else", "is no IDX file of bytes"),
        (b"\0\0\x0d\x03" + bytes(12), "is no IDX file of bytes"),  # floats
        (b"\0\0\x08\x03" + bytes(5), "an IDX file with 3 dimensions; 3 are needed"),
        (idx(made(2, 3, 4))[:-1], r"39 bytes, but its header announces 40; it is cut off"),
        (idx(made(2, 3, 4)) + b"x", r"41 bytes, but its header announces 40"),
        (b"\0\0\x08\x03" + b"\xff" * 12 + b"x", "17 bytes, but its header announces 79,228"),
        (gzip.compress(idx(made(2, 3, 4)))[:-9], "its gzip is damaged; download it again"),
        (b"\x1f\x8bnonsense", "its gzip is damaged"),
    ],
)
def test_damaged_idx_files(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "some"
    path.write_bytes(data)
    with pytest.raises(DataError, match=f"some: {message}"):
        read_idx(path)


def test_an_idx_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none: cannot be read: No such file"):
        read_idx(tmp_path / "none")


@pytest.mark.parametrize("shape", [(3, 4, 5), (3, 4, 5, 3)])
def test_stored_images(tmp_path: Path, shape: tuple[int, ...]) -> None:
    images, path = made(*shape), tmp_path / "deep" / "train.npz"
    write_images(path, images)
    assert np.array_equal(read_images(path), images)
    first = path.read_bytes()
    write_images(path, images)
    assert path.read_bytes() == first


@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 5, 2), (3, 0, 5)])
def test_what_is_no_set_of_images(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"must be uint8 \(N, H, W\) or \(N, H, W, 3\), got uint8"):
        write_images(tmp_path / "a.npz", np.zeros(shape, np.uint8))
    with pytest.raises(ValueError, match="got float64"):
        write_images(tmp_path / "a.npz", np.zeros((1, 2, 2)))


def test_files_that_hold_no_images(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with pytest.raises(DataError, match=r"a\.npz: no such file; make it with asr prepare"):
        read_images(path)
    for content in (b"", b"nonsense", b"PK\3\4"):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"a\.npz: holds no 'images' .* prepare it again"):
            read_images(path)
    np.savez(path, other=made(2, 2, 2))
    with pytest.raises(DataError, match="holds no 'images'"):
        read_images(path)
    np.savez(path, images=np.array([{"code": 1}], dtype=object))
    with pytest.raises(DataError, match="holds no 'images'"):
        read_images(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", b"not an array")
    with pytest.raises(DataError, match="holds no 'images'"):
        read_images(path)
    np.savez(path, images=np.zeros((2, 2, 2)))
    with pytest.raises(DataError, match=r"needs images, uint8 .* but has float64 \(2, 2, 2\)"):
        read_images(path)
    np.savez(path, images=made(0, 2, 2))
    with pytest.raises(DataError, match=r"needs images, uint8 .* but has uint8 \(0, 2, 2\)"):
        read_images(path)


@pytest.mark.parametrize("colour", [(), (3,)])
def test_padding_puts_images_in_the_middle(colour: tuple[int, ...]) -> None:
    images = made(2, 3, 4, *colour) | np.uint8(1)
    large = padded(images, 8)
    assert large.shape == (2, 8, 8, *colour)
    assert np.array_equal(large[:, 2:5, 2:6], images)
    assert large.astype(int).sum() == images.astype(int).sum()
    assert np.array_equal(padded(images, 4)[:, :3], images)
    with pytest.raises(ValueError, match="images of 3 x 4 do not fit into 3 x 3"):
        padded(images, 3)
