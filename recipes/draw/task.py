"""DRAW as a task: its settings."""

from pathlib import Path

import numpy as np
from pydantic import Field

from asr.config import Config as Settings
from asr.image_task import History, ImageTask, read_image_splits
from asr.training.plain_task import TaskData

from .model import Draw
from .showing import draw_pictures


class Config(Settings):
    """The section `[task]`."""

    steps: int = Field(default=16, ge=1)  # T: how often it looks and draws
    hidden_size: int = Field(default=256, ge=1)
    latent_size: int = Field(default=100, ge=1)
    attention: bool = False
    read_size: int = Field(default=2, ge=2)  # N of the N x N filters that read, with attention
    write_size: int = Field(default=5, ge=2)  # and of those that write
    colour: bool = False
    batch_size: int = Field(default=128, ge=1)
    binarise: bool = True  # pixels are drawn black or white


def build(config: Config, data: TaskData, seed: int) -> ImageTask:
    """The task of a recipe.

    Raises:
        DataError: images that cannot be used.
    """
    splits = read_image_splits(data, colour=config.colour)
    model = Draw(
        splits.train.shape[1:],
        steps=config.steps,
        hidden_size=config.hidden_size,
        latent_size=config.latent_size,
        read_size=config.read_size if config.attention else 0,
        write_size=config.write_size if config.attention else 0,
        mean_intensity=float(np.clip(splits.train.mean() / 255, 0.01, 0.99)),
    )

    def draw(folder: Path, history: History) -> None:
        draw_pictures(
            model,
            task.sample_of("dev", 20),
            splits.train,
            folder=folder,
            history=history,
            seed=seed,
        )

    task = ImageTask(
        model,
        splits,
        batch_size=config.batch_size,
        seed=seed,
        binarise=config.binarise,
        draw=draw,
    )
    return task
