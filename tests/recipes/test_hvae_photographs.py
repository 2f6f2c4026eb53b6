"""A folder of pictures as images: what is read, what is left out, and that it is said."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from asr.cli.main import main
from asr.data.images import Images, read_images
from asr.errors import ConfigError, DataError
from recipes.hvae.photographs import (
    LeftOut,
    pictures_below,
    read_photograph,
    read_photographs,
)
from recipes.hvae.prepare import prepare

RECIPE = Path(__file__).parents[2] / "recipes" / "hvae"
ORIENTATION = 0x0112  # in EXIF: 6 is a quarter turn


def flat(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (9, 8)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


def folder_of(root: Path, count: int) -> Path:
    for number in range(count):
        flat(root / f"{number % 3}" / f"{number}.png", (number, 100, 255 - number))
    return root


def reason(path: Path, size: int = 8) -> str:
    found = read_photograph(path, size)
    assert isinstance(found, LeftOut)
    assert found.where == str(path)
    return found.reason


def test_the_middle_square_is_taken_and_made_small(tmp_path: Path) -> None:
    pixels = np.zeros((16, 40, 3), np.uint8)
    pixels[:, 12:28] = [10, 20, 30]
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    found = read_photograph(tmp_path / "wide.png", 8)
    assert isinstance(found, np.ndarray)
    assert (found.shape, found.dtype) == ((8, 8, 3), np.uint8)
    assert np.abs(found.astype(int) - [10, 20, 30]).max() <= 2  # a filter sees a little beyond


def test_grey_and_turned_pictures_are_like_others(tmp_path: Path) -> None:
    Image.new("L", (8, 8), 7).save(tmp_path / "grey.png")
    grey = read_photograph(tmp_path / "grey.png", 8)
    assert isinstance(grey, np.ndarray)
    assert (grey == 7).all()
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:4] = 255  # above, so right of the picture as it is to be seen
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    turned = read_photograph(tmp_path / "turned.png", 8)
    assert isinstance(turned, np.ndarray)
    assert (turned[:, 4:] == 255).all()
    assert (turned[:, :4] == 0).all()


def test_what_cannot_be_used_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "text.png").write_text("not a picture", encoding="utf-8")
    assert reason(tmp_path / "text.png").startswith("cannot be read: cannot identify image file")
    whole = flat(tmp_path / "whole.jpg", (1, 2, 3), (300, 300)).read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    assert reason(tmp_path / "cut.jpg").startswith("cannot be read: ")
    flat(tmp_path / "small.png", (0, 0, 0), (40, 7))
    assert reason(tmp_path / "small.png") == "40 x 7 pixels, less than 8 x 8"
    (tmp_path / "folder.png").mkdir()
    assert reason(tmp_path / "folder.png").startswith("cannot be read: ")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    flat(tmp_path / "large.png", (0, 0, 0), (9, 8))
    assert reason(tmp_path / "large.png").startswith("cannot be read: Image size (72 pixels)")
    flat(tmp_path / "bomb.png", (0, 0, 0), (20, 20))
    assert reason(tmp_path / "bomb.png") == "has too many pixels"


def test_pictures_are_found_at_any_depth_by_their_endings(tmp_path: Path) -> None:
    for name in ("b.JPG", "deep/er/a.png", "c.jpeg", "notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    names = [str(path.relative_to(tmp_path)) for path in pictures_below(tmp_path)]
    assert names == ["b.JPG", "c.jpeg", "deep/er/a.png"]


def colours(images: Images) -> set[tuple[int, ...]]:
    return {tuple(image[0, 0].tolist()) for image in images}


def test_sets_are_apart_and_always_the_same(tmp_path: Path) -> None:
    first = read_photographs([folder_of(tmp_path / "a", 40)], 8)
    assert {name: len(images) for name, images in first.sets.items()} == {
        "train": 36,
        "dev": 2,
        "test": 2,
    }
    assert not first.left_out
    found = [colours(images) for images in first.sets.values()]
    assert len(set.union(*found)) == 40
    (tmp_path / "b").mkdir()
    for path in pictures_below(tmp_path / "a"):
        path.rename(tmp_path / "b" / f"renamed-{path.name}")
    second = read_photographs([tmp_path / "b"], 8)
    for name, images in first.sets.items():
        assert np.array_equal(images, second.sets[name])


def test_the_same_picture_is_used_once(tmp_path: Path) -> None:
    folder_of(tmp_path, 5)
    again = flat(tmp_path / "z.png", (0, 100, 255))
    found = read_photographs([tmp_path], 8)
    assert found.left_out == [
        LeftOut(str(again), f"the same picture as {tmp_path / '0' / '0.png'}")
    ]
    assert sum(map(len, found.sets.values())) == 5


def test_a_folder_without_enough_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="needs pictures of your own: give their folder by --corp"):
        read_photographs([], 8)
    with pytest.raises(DataError, match=r"no picture \(\.png, \.jpg, \.jpeg\) in it; name another"):
        read_photographs([tmp_path], 8)
    flat(tmp_path / "a.png", (0, 0, 0))
    with pytest.raises(DataError, match="1 usable pictures, at least 3 are needed; 0 cannot be us"):
        read_photographs([tmp_path], 8)
    flat(tmp_path / "b.png", (0, 0, 0), (2, 2))
    with pytest.raises(DataError, match=r"1 cannot be used, such as .*b\.png: 2 x 2 pixels"):
        read_photographs([tmp_path], 8)


def test_without_pillow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flat(tmp_path / "a.png", (0, 0, 0))
    monkeypatch.setitem(sys.modules, "PIL.ImageOps", None)
    with pytest.raises(ConfigError, match=r"reading pictures needs Pillow: pip install"):
        read_photograph(tmp_path / "a.png", 8)


def test_what_is_left_out_is_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "pictures"
    for number in range(4):
        flat(root / f"{number}.png", (number, 0, 0), (70, 64))
    small = flat(root / "small.png", (9, 9, 9), (63, 64))
    assert main(["prepare", str(RECIPE / "colour.toml"), "--corpus", str(root)]) == 0
    assert "1 pictures left out, listed in skipped.jsonl" in capsys.readouterr().out
    out = tmp_path / "data" / "photographs"
    assert read_images(out / "train.npz").shape == (2, 64, 64, 3)
    lines = (out / "skipped.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [
        {"where": str(small), "reason": "63 x 64 pixels, less than 64 x 64"}
    ]
    small.unlink()
    prepare([root], out, variant="colour")
    assert not (out / "skipped.jsonl").exists()
