"""The variational autoencoder as a task: its settings, and its pictures."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from asr.config import Config as Settings
from asr.image_task import BOUND, History, ImageTask, read_image_splits
from asr.pictures import Picture, as_pixels, enlarged, grid, plot_curves, write_png
from asr.training.plain_task import TaskData

from .model import VariationalAutoencoder

COLUMNS = 10
SHOWN = 20  # images that are reconstructed
SAMPLES = 100
CELL = 64  # how wide an image is shown at most, in pixels


class Config(Settings):
    """The section `[task]`."""

    hidden_size: int = Field(default=400, ge=1)
    latent_size: int = Field(default=20, ge=1)
    batch_size: int = Field(default=128, ge=1)
    binarise: bool = True  # pixels are drawn black or white


def build(config: Config, data: TaskData, seed: int) -> ImageTask:
    """The task of a recipe.

    Raises:
        DataError: images that cannot be used.
    """
    splits = read_image_splits(data, colour=False, fixed=True)
    height, width = splits.train.shape[1:]
    model = VariationalAutoencoder(
        (height, width), hidden_size=config.hidden_size, latent_size=config.latent_size
    )

    def draw(folder: Path, history: History) -> None:
        draw_pictures(task, model, folder, history, seed)

    task = ImageTask(
        model,
        splits,
        batch_size=config.batch_size,
        seed=seed,
        binarise=config.binarise,
        draw=draw,
    )
    return task


def in_turn(above: Tensor, below: Tensor) -> NDArray[np.float32]:
    """Rows of `COLUMNS` images, one of `above`, one of `below`, and so on: (2 N, H, W)."""
    rows = [
        half[begin : begin + COLUMNS]
        for begin in range(0, len(above), COLUMNS)
        for half in (above, below)
    ]
    images: NDArray[np.float32] = torch.cat(rows).numpy()
    return images


def shown_large(images: NDArray[np.float32]) -> Picture:
    """A grid of images (N, H, W), every pixel several times, as long as they fit `CELL`."""
    factor = max(1, CELL // max(images.shape[1:]))
    return grid(np.stack([enlarged(image, factor) for image in as_pixels(images)]), COLUMNS)


@torch.no_grad()
def draw_pictures(
    task: ImageTask, model: VariationalAutoencoder, folder: Path, history: History, seed: int
) -> None:
    """Write `reconstructions.png` (below each original), `samples.png` and `elbo.png`."""
    device = next(model.parameters()).device
    originals = task.sample_of("dev", SHOWN)
    rebuilt = model.reconstruct(originals.to(device)).cpu()
    write_png(folder / "reconstructions.png", shown_large(in_turn(originals, rebuilt)))
    samples = model.sample(SAMPLES, torch.Generator().manual_seed(seed)).cpu()
    write_png(folder / "samples.png", shown_large(samples.numpy()))
    if history:
        epochs = [record["epoch"] for record in history]
        curves = {
            "train": (epochs, [-record["train_loss"] for record in history]),
            "dev": (epochs, [-record[BOUND] for record in history]),
        }
        plot_curves(folder / "elbo.png", curves, x="epoch", y="ELBO, nats per image")
