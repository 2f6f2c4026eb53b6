"""Grids, strips, animations and curves, as a viewer reads them."""

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from asr.errors import ConfigError
from asr.pictures import GAP, GREY, as_pixels, enlarged, grid, plot_curves, write_gif, write_png


def test_intensities_become_bytes() -> None:
    assert as_pixels(np.array([-1.0, 0.0, 0.5, 1.0, 7.0])).tolist() == [0, 0, 128, 255, 255]


@pytest.mark.parametrize("colour", [(), (3,)])
def test_a_grid_row_by_row(colour: tuple[int, ...]) -> None:
    images = np.stack([np.full((3, 4, *colour), value, np.uint8) for value in (10, 20, 30)])
    whole = grid(images, 2)
    assert whole.shape == (3 + GAP + 3, 4 + GAP + 4, *colour)
    assert (whole[:3, :4] == 10).all()
    assert (whole[:3, -4:] == 20).all()
    assert (whole[-3:, :4] == 30).all()
    assert (whole[-3:, 4:] == GREY).all(), "nothing stands there"
    assert grid(images, 9).shape == (3, 3 * 4 + 2 * GAP, *colour)


@pytest.mark.parametrize(("shape", "columns"), [((0, 2, 2), 1), ((2, 2), 1), ((1, 2, 2), 0)])
def test_what_makes_no_grid(shape: tuple[int, ...], columns: int) -> None:
    with pytest.raises(ValueError, match=r"needs images \(N, H, W\[, 3\]\) and columns, got"):
        grid(np.zeros(shape, np.uint8), columns)


def test_pixels_grow() -> None:
    assert enlarged(np.array([[1, 2]], np.uint8), 2).tolist() == [[1, 1, 2, 2], [1, 1, 2, 2]]


@pytest.mark.parametrize("colour", [(), (3,)])
def test_png_keeps_every_pixel(tmp_path: Path, colour: tuple[int, ...]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (5, 7, *colour), dtype=np.uint8)
    write_png(tmp_path / "deep" / "a.png", picture)
    with Image.open(tmp_path / "deep" / "a.png") as image:
        assert np.array_equal(np.asarray(image), picture)


def test_gif_shows_the_frames_and_rests_on_the_last(tmp_path: Path) -> None:
    frames = [np.full((4, 4), value, np.uint8) for value in (0, 100, 200)]
    write_gif(tmp_path / "a.gif", frames, seconds=0.05)
    with Image.open(tmp_path / "a.gif") as image:
        shown, times = [], []
        for number in range(image.n_frames):  # type: ignore[attr-defined]
            image.seek(number)
            shown.append(int(np.asarray(image.convert("L"))[0, 0]))
            times.append(image.info["duration"])
        assert image.info["loop"] == 0
    assert shown == [0, 100, 200]
    assert times == [50, 50, 500]
    with pytest.raises(ValueError, match="an animation needs frames"):
        write_gif(tmp_path / "b.gif", [])


def test_curves_are_a_picture(tmp_path: Path) -> None:
    curves = {"train": ([1.0, 2.0], [3.0, 2.0]), "dev": ([1.0, 2.0], [4.0, 3.5])}
    plot_curves(tmp_path / "a.png", curves, x="epoch", y="nats")
    with Image.open(tmp_path / "a.png") as image:
        pixels = np.asarray(image.convert("RGB"))
    assert pixels.shape[0] > 200
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 10
    first = (tmp_path / "a.png").read_bytes()
    plot_curves(tmp_path / "a.png", curves, x="epoch", y="nats")
    assert (tmp_path / "a.png").read_bytes() == first


@pytest.mark.parametrize(("step", "whole"), [(1.0, True), (0.5, False)])
def test_ticks_between_whole_numbers_only_where_there_are_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: float, whole: bool
) -> None:
    figures: list[Any] = []
    monkeypatch.setattr("asr.pictures.write_figure", lambda path, figure: figures.append(figure))
    curve = ([step, 2 * step, 3 * step], [3.0, 2.0, 1.0])
    plot_curves(tmp_path / "a.png", {"dev": curve}, x="epoch", y="nats")
    ticks = figures[0].axes[0].get_xticks()
    assert all(float(tick).is_integer() for tick in ticks) == whole


def test_without_the_libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    imported = builtins.__import__

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name.partition(".")[0] in ("PIL", "matplotlib"):
            raise ImportError(name)
        return imported(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match="pictures need Pillow: pip install"):
        write_png(tmp_path / "a.png", np.zeros((2, 2), np.uint8))
    with pytest.raises(ConfigError, match="pictures need matplotlib: pip install"):
        plot_curves(tmp_path / "a.png", {}, x="x", y="y")
