"""The images of a recipe, written together and found again."""

import json
from pathlib import Path

import numpy as np
import pytest

from asr.data.corpus.prepared_images import find_images, write_image_sets
from asr.data.images import read_images
from asr.errors import DataError
from tests.data.test_images import made

SETS = {"test": made(2, 4, 4), "train": made(5, 4, 4), "dev": made(3, 4, 4)}


def test_written_and_found(tmp_path: Path) -> None:
    assert find_images(tmp_path) is None
    written = write_image_sets(tmp_path, SETS, notes=["digits"])
    assert written.lines() == [
        f"{tmp_path}/train.npz: 5 images of 4 x 4",
        f"{tmp_path}/dev.npz: 3 images of 4 x 4",
        f"{tmp_path}/test.npz: 2 images of 4 x 4",
        "digits",
    ]
    assert find_images(tmp_path) == written
    for name, images in SETS.items():
        assert np.array_equal(read_images(tmp_path / f"{name}.npz"), images)
    (tmp_path / "dev.npz").unlink()
    assert find_images(tmp_path) is None


def test_sets_that_are_missing(tmp_path: Path) -> None:
    without = {"train": SETS["train"], "dev": SETS["dev"]}
    with pytest.raises(DataError, match="the corpus has no test set, and nobody said why"):
        write_image_sets(tmp_path, without)
    written = write_image_sets(tmp_path, without, absent={"test": "nobody drew one"})
    assert written.lines()[-1] == "no test set: nobody drew one"
    with pytest.raises(DataError, match="the set dev would be empty"):
        write_image_sets(tmp_path, {**SETS, "dev": made(0, 4, 4)})
    assert find_images(tmp_path) == written


def test_a_marker_of_something_else_is_not_taken_for_images(tmp_path: Path) -> None:
    write_image_sets(tmp_path, SETS)
    (tmp_path / "prepared.json").write_text(json.dumps({"texts": {}}), encoding="utf-8")
    assert find_images(tmp_path) is None
