"""Pictures that a recipe makes: grids of images, strips, animations, curves."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.errors import ConfigError
from asr.storage import write_atomically

GAP = 2  # pixels between the images of a grid
GREY = 128  # of the gaps
INSTALL = "pip install 'asr-toolkit[plots]'"

Picture = NDArray[np.uint8]


def as_pixels(intensities: NDArray[Any]) -> Picture:
    """Intensities, 0 black to 1 white, as bytes; what is beyond is cut."""
    pixels: Picture = np.rint(np.clip(intensities, 0.0, 1.0) * 255.0).astype(np.uint8)
    return pixels


def grid(images: Picture, columns: int) -> Picture:
    """Images (N, H, W) or (N, H, W, 3) side by side, row by row, as one (H', W') or (H', W', 3).

    Raises:
        ValueError: no images, no columns, or another shape.
    """
    if images.ndim not in (3, 4) or not len(images) or columns < 1:
        raise ValueError(f"needs images (N, H, W[, 3]) and columns, got {images.shape}, {columns}")
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    height, width, *colour = images.shape[1:]
    size = (rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, *colour)
    whole = np.full(size, GREY, np.uint8)
    for index, image in enumerate(images):
        top, left = index // columns * (height + GAP), index % columns * (width + GAP)
        whole[top : top + height, left : left + width] = image
    return whole


def enlarged(image: Picture, factor: int) -> Picture:
    """Every pixel `factor` x `factor` times."""
    return image.repeat(factor, axis=0).repeat(factor, axis=1)


def write_png(path: Path, picture: Picture) -> None:
    """Write a picture (H, W) or (H, W, 3), in one step.

    Raises:
        ConfigError: Pillow is not installed.
        ResourceError: the disk is full or not writable.
    """
    buffer = io.BytesIO()
    _pillow().fromarray(picture).save(buffer, "PNG", optimize=True)
    write_atomically(path, buffer.getvalue())


def write_gif(path: Path, frames: Sequence[Picture], *, seconds: float = 0.1) -> None:
    """Write an animation that repeats for ever; the last frame stays ten times as long.

    Raises:
        ValueError: no frames.
        ConfigError: Pillow is not installed.
        ResourceError: the disk is full or not writable.
    """
    if not frames:
        raise ValueError("an animation needs frames")
    pillow = _pillow()
    first, *others = [pillow.fromarray(frame) for frame in frames]
    durations = [round(1000 * seconds)] * len(others) + [round(10_000 * seconds)]
    buffer = io.BytesIO()
    first.save(buffer, "GIF", save_all=True, append_images=others, duration=durations, loop=0)
    write_atomically(path, buffer.getvalue())


def plot_curves(
    path: Path,
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    x: str,
    y: str,
) -> None:
    """Write a PNG with one line for each curve.

    Args:
        path: the file.
        curves: name → its x and y values.
        x: what stands at the x axis.
        y: what stands at the y axis.

    Raises:
        ConfigError: matplotlib is not installed.
        ResourceError: the disk is full or not writable.
    """
    figure, axes = new_figure((5.0, 3.4))
    for name, (across, up) in curves.items():
        axes.plot(across, up, marker="." if len(across) < 40 else "", label=name)
    if all(float(value).is_integer() for across, _ in curves.values() for value in across):
        axes.locator_params(axis="x", integer=True)  # no half epochs
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.3)
    if len(curves) > 1:
        axes.legend()
    write_figure(path, figure)


def new_figure(inches: tuple[float, float]) -> tuple[Any, Any]:
    """A figure of matplotlib with axes, without a window.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError(f"pictures need matplotlib: {INSTALL}") from error
    figure = Figure(figsize=inches, dpi=100, layout="constrained")
    return figure, figure.add_subplot()


def write_figure(path: Path, figure: Any) -> None:
    """Write a figure of matplotlib as PNG, in one step.

    Raises:
        ResourceError: the disk is full or not writable.
    """
    buffer = io.BytesIO()
    # Without a version and a time the same figure makes the same file.
    figure.savefig(buffer, format="png", metadata={"Software": None})
    write_atomically(path, buffer.getvalue())


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise ConfigError(f"pictures need Pillow: {INSTALL}") from error
    return Image
