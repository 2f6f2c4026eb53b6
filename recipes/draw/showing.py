"""The pictures of DRAW: the canvas step by step, samples beside their nearest images, a curve."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asr.data.images import Images
from asr.image_task import BOUND, History
from asr.pictures import Picture, as_pixels, enlarged, grid, plot_curves, write_gif, write_png

from .model import Draw, Drawing, channels_first, channels_last

COLUMNS = 10  # images in a row
SAMPLES = 40
STRIPS, STRIP_STEPS = 5, 16  # samples in the strip, and at most so many steps of each
ANIMATED = 9
CELL, SMALL_CELL = 64, 36  # how wide an image is shown at most, in the strip and in grids: pixels
RED = (255, 64, 48)  # of the window
AT_ONCE = 2000  # training images that are compared

Floats = NDArray[np.float32]


@torch.no_grad()
def draw_pictures(
    model: Draw, originals: Tensor, train: Images, *, folder: Path, history: History, seed: int
) -> None:
    """Write the pictures of a model.

    `canvas.png` and `canvas.gif` show samples step by step, `samples.png` samples and right of
    each the training image that is nearest, `reconstructions.png` images and below each how the
    model draws it again, `bound.png` the bound by epochs.

    Args:
        model: on any device.
        originals: (N, H, W) or (N, H, W, 3) intensities, to be drawn again.
        train: the training images.
        folder: where the pictures go.
        history: what each evaluation found.
        seed: of the samples.
    """
    generator = torch.Generator().manual_seed(seed)
    drawing = model.generate(SAMPLES, generator)
    write_png(folder / "canvas.png", strips(drawing))
    write_gif(folder / "canvas.gif", animation(drawing))
    samples = intensities(drawing.canvases[-1])
    found = train[nearest(samples, train)]
    pairs = np.stack([as_pixels(samples), found], axis=1).reshape(-1, *found.shape[1:])
    write_png(folder / "samples.png", grid(enlarged_to(pairs, SMALL_CELL), COLUMNS))
    device = next(model.parameters()).device
    noise = torch.randn(model.steps, len(originals), model.latent_size, generator=generator)
    again, _ = model.look_and_draw(channels_first(originals.to(device)), noise.to(device))
    both = as_pixels(in_turn(originals.numpy(), intensities(again.canvases[-1])))
    write_png(folder / "reconstructions.png", grid(enlarged_to(both, SMALL_CELL), COLUMNS))
    if history:
        plot_bound(folder / "bound.png", history)


def intensities(canvases: Tensor) -> Floats:
    """The means of the pixels, (…, H, W) or (…, H, W, 3), of canvases (…, C, H, W)."""
    means: Floats = channels_last(torch.sigmoid(canvases)).cpu().numpy()
    return means


def nearest(samples: Floats, train: Images) -> NDArray[np.int64]:
    """(N,) which of the images `train` is nearest to each sample, by the distance of all pixels."""
    wanted = samples.reshape(len(samples), -1)
    best = np.full(len(samples), np.inf, np.float32)
    places = np.zeros(len(samples), np.int64)
    for begin in range(0, len(train), AT_ONCE):
        part = train[begin : begin + AT_ONCE]
        known = part.reshape(len(part), -1).astype(np.float32) / np.float32(255)
        # Without the square of the sample, which is the same for all.
        distances = (known * known).sum(axis=1) - 2.0 * wanted @ known.T
        closest = distances.argmin(axis=1)
        found = distances[np.arange(len(samples)), closest]
        places = np.where(found < best, begin + closest, places)
        best = np.minimum(best, found)
    return places


def strips(drawing: Drawing) -> Picture:
    """A row for each of some samples: its canvas after steps that are evenly spaced."""
    steps = len(drawing.canvases)
    chosen = np.unique(np.linspace(0, steps - 1, min(steps, STRIP_STEPS)).round().astype(int))
    rows = np.stack([framed(drawing, step, STRIPS) for step in chosen.tolist()], axis=1)
    return grid(rows.reshape(-1, *rows.shape[2:]), len(chosen))


def animation(drawing: Drawing) -> list[Picture]:
    """A frame for each step, with the canvases of some samples."""
    columns = round(ANIMATED**0.5)
    return [grid(framed(drawing, step, ANIMATED), columns) for step in range(len(drawing.canvases))]


def framed(drawing: Drawing, step: int, count: int) -> Picture:
    """The first canvases of a step, enlarged, with the windows in which it wrote.

    Returns:
        (count, H', W'), or (count, H', W', 3) in colour or with windows.
    """
    pixels = as_pixels(intensities(drawing.canvases[step, :count]))
    images = enlarged_to(pixels, CELL)
    if drawing.windows is None:
        return images
    if images.ndim == 3:
        images = images[..., None].repeat(3, axis=3)
    windows = drawing.windows[step, :count].cpu().numpy()
    for image, window in zip(images, windows, strict=True):
        outline(image, (window - 0.5) * (images.shape[1] // pixels.shape[1]))
    return images


def enlarged_to(images: Picture, size: int) -> Picture:
    """Images (N, H, W) or (N, H, W, 3), every pixel several times, as long as they fit `size`."""
    factor = max(1, size // max(images.shape[1:3]))
    return np.stack([enlarged(image, factor) for image in images])


def outline(image: Picture, window: Floats) -> None:
    """Draw a window (left, top, right, bottom) into an image (H, W, 3).

    An edge that is outside of the image is drawn at its border.
    """
    height, width = image.shape[:2]
    last = np.array([width, height, width, height]) - 1
    left, top, right, bottom = np.clip(window, 0, last).astype(int).tolist()
    image[top : bottom + 1, [left, right]] = RED
    image[[top, bottom], left : right + 1] = RED


def in_turn(above: Floats, below: Floats) -> Floats:
    """Rows of `COLUMNS` images, one of `above`, one of `below`, and so on."""
    rows = [
        half[begin : begin + COLUMNS]
        for begin in range(0, len(above), COLUMNS)
        for half in (above, below)
    ]
    return np.concatenate(rows)


def plot_bound(path: Path, history: History) -> None:
    """The bound on train and dev, by epochs."""
    epochs = [record["epoch"] for record in history]
    curves = {
        "train": (epochs, [record["train_loss"] for record in history]),
        "dev": (epochs, [record[BOUND] for record in history]),
    }
    plot_curves(path, curves, x="epoch", y="bound on -ln p(x), nats per image")
