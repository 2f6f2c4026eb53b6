"""What DRAW shows, and its recipes from images to pictures."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from asr.building import build_task
from asr.cli.main import main
from asr.config import read_toml
from asr.data.corpus.prepared_images import find_images
from asr.data.images import Images, read_images, write_images
from asr.errors import DataError
from asr.recipe import load_recipe
from asr.storage import load_tensors
from recipes.draw.model import Drawing
from recipes.draw.prepare import prepare
from recipes.draw.showing import (
    RED,
    animation,
    enlarged_to,
    framed,
    in_turn,
    nearest,
    outline,
    strips,
)

RECIPE = Path(__file__).parents[2] / "recipes" / "draw"
PICTURES = {"bound.png", "canvas.gif", "canvas.png", "reconstructions.png", "samples.png"}


def random_images(*shape: int) -> Images:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def drawing(steps: int = 3, count: int = 20, size: int = 8, *, windows: bool) -> Drawing:
    canvases = torch.linspace(-9.0, 9.0, steps).view(steps, 1, 1, 1, 1)
    window = torch.tensor([2.0, 3.0, 5.0, 7.0]).expand(steps, count, 4)
    return Drawing(canvases.expand(steps, count, 1, size, size), window if windows else None)


def test_the_nearest_image_is_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recipes.draw.showing.AT_ONCE", 7)
    train = random_images(30, 4, 5)
    samples = np.random.default_rng(1).random((6, 4, 5), dtype=np.float32)
    distances = ((samples[:, None] - train[None] / 255.0) ** 2).sum(axis=(2, 3))
    assert nearest(samples, train).tolist() == distances.argmin(axis=1).tolist()
    itself = (train[[29, 3, 14]] / 255.0).astype(np.float32)
    assert nearest(itself, train).tolist() == [29, 3, 14]
    colour = random_images(9, 4, 5, 3)
    assert nearest((colour[[8, 1]] / 255.0).astype(np.float32), colour).tolist() == [8, 1]


def red(image: Images) -> Images:
    marked: Images = (image == np.array(RED)).all(axis=2)
    return marked


def test_a_window_is_outlined() -> None:
    image = np.zeros((6, 8, 3), np.uint8)
    outline(image, np.array([1.0, 2.0, 5.0, 4.0], np.float32))
    expected = np.zeros((6, 8), bool)
    expected[2:5, 1:6] = True
    expected[3, 2:5] = False
    assert np.array_equal(red(image), expected)


def test_a_window_beyond_the_image_is_outlined_at_its_border() -> None:
    image = np.zeros((6, 8, 3), np.uint8)
    outline(image, np.array([-np.inf, -3.0, 90.0, np.inf], np.float32))
    expected = np.ones((6, 8), bool)
    expected[1:5, 1:7] = False
    assert np.array_equal(red(image), expected)


def test_the_canvas_step_by_step() -> None:
    without = strips(drawing(windows=False))
    assert without.shape == (5 * 66 - 2, 3 * 66 - 2)  # 8 pixels are shown as 64, 2 are between
    assert without[0, [0, 66, 132]].tolist() == [0, 128, 255]
    frames = animation(drawing(windows=False))
    assert [frame.shape for frame in frames] == [(3 * 66 - 2, 3 * 66 - 2)] * 3
    assert frames[2][0, 0] == 255
    assert strips(drawing(steps=40, windows=False)).shape == (5 * 66 - 2, 16 * 66 - 2)


def test_windows_are_where_their_centres_are() -> None:
    """The centre of pixel 2 is 1.5 pixels from the border: 12 of 64 where a pixel is 8."""
    images = framed(drawing(windows=True), 0, 2)
    assert images.shape == (2, 64, 64, 3)
    rows, columns = np.nonzero(red(images[1]))
    assert (columns.min(), columns.max()) == (12, 36)
    assert (rows.min(), rows.max()) == (20, 52)


def test_images_grow_as_long_as_they_fit() -> None:
    images = random_images(2, 12, 10, 3)
    grown = enlarged_to(images, 36)
    assert grown.shape == (2, 36, 30, 3)
    assert np.array_equal(grown[:, 1::3, 2::3], images)
    assert np.array_equal(enlarged_to(images, 5), images)


def test_rows_in_turn() -> None:
    above, below = np.zeros((12, 2, 2), np.float32), np.ones((12, 2, 2), np.float32)
    assert (
        in_turn(above, below)[:, 0, 0].tolist() == [0.0] * 10 + [1.0] * 10 + [0.0] * 2 + [1.0] * 2
    )


def train_options(*settings: str) -> list[str]:
    tiny = ["training.epochs=1", "training.artifacts=[]", "task.hidden_size=8", "task.steps=2"]
    return [option for setting in (*tiny, *settings) for option in ("--set", setting)]


def test_the_toy_from_nothing_to_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ASR_CORPORA", raising=False)
    assert main(["train", str(RECIPE / "toy.toml"), *train_options()]) == 0
    assert "test: nats" in capsys.readouterr().out
    run = tmp_path / "exp" / "draw" / "toy"
    assert {path.name for path in (run / "artifacts" / "final").iterdir()} == PICTURES
    with Image.open(run / "artifacts" / "final" / "samples.png") as picture:
        assert picture.size == (10 * 36 + 9 * 2, 8 * 36 + 7 * 2)
    with Image.open(run / "artifacts" / "final" / "canvas.gif") as picture:
        assert picture.n_frames == 2
    pictures = {path: path.read_bytes() for path in (run / "artifacts" / "final").iterdir()}
    assert main(["artifacts", str(run)]) == 0
    assert {path: path.read_bytes() for path in pictures} == pictures
    # The first canvas began as bright as the squares are on average: 16 of 144 pixels.
    first = load_tensors(run / "best" / "model.safetensors")["first_canvas"]
    assert torch.sigmoid(first).mean().item() == pytest.approx(16 / 144, abs=0.02)


@pytest.mark.parametrize("variant", ["recipe", "attention", "mnist", "svhn", "cifar"])
def test_every_variant_trains_on_images_of_its_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variant: str
) -> None:
    monkeypatch.chdir(tmp_path)
    file = RECIPE / f"{variant}.toml"
    recipe = read_toml(file)
    colour = recipe["task"].get("colour", False)
    for number, name in enumerate(("train", "dev", "test")):
        path = tmp_path / recipe["data"][name]
        path.parent.mkdir(parents=True, exist_ok=True)
        shape = (4 + number, 32, 32, 3) if colour else (4 + number, 28, 28)
        write_images(path, random_images(*shape))
    assert recipe["task"].get("attention", False) == (variant != "recipe")
    assert main(["train", str(file), "--out", "run", *train_options()]) == 0
    assert {path.name for path in Path("run/artifacts/final").iterdir()} == PICTURES
    other = (4, 28, 28) if colour else (4, 28, 28, 3)
    write_images(tmp_path / recipe["data"]["train"], random_images(*other))
    with pytest.raises(DataError, match=f"this model is for {'colour' if colour else 'grey'} ones"):
        build_task(load_recipe(file), Path("other"), command="", say=lambda line: None)


def test_made_up_squares(tmp_path: Path) -> None:
    prepare([], tmp_path, variant="toy")
    assert read_images(tmp_path / "train.npz").shape == (2000, 12, 12)


@pytest.mark.parametrize(
    ("variant", "corpus", "note"),
    [("recipe", "mnist", "MNIST"), ("svhn", "svhn", "SVHN"), ("cifar", "cifar", "CIFAR-10")],
)
def test_each_variant_has_its_corpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variant: str, corpus: str, note: str
) -> None:
    def sets(folders: list[Path], out: Path) -> dict[str, Images]:
        assert (folders, out) == ([Path("corpus")], tmp_path)
        return {name: random_images(2, 3, 4) for name in ("train", "dev", "test")}

    monkeypatch.setattr(f"recipes.draw.prepare.{corpus}_sets", sets)
    prepare([Path("corpus")], tmp_path, variant=variant)
    prepared = find_images(tmp_path)
    assert prepared is not None
    assert prepared.notes[0].startswith(note)
    assert list(prepared.paths) == ["train", "dev", "test"]
