"""The hierarchical VAE as a task: its settings, and which of its layers overfit."""

from collections.abc import Mapping
from pathlib import Path

import torch
from pydantic import Field

from asr.config import Config as Settings
from asr.data.images import Images
from asr.errors import DataError, shown
from asr.image_task import Draw, History, ImageSplits, ImageTask, read_image_splits
from asr.training.plain_task import TaskData
from asr.training.task import Advance, Evaluation

from .model import HierarchicalVAE, Posterior
from .showing import draw_pictures

SMALLEST_SIZE = 8
COMPARED = 1000  # training images whose KL is compared with that of dev or test
OVERFITS_FROM = 1.25  # times the KL on the training images
NOTABLE = 1.0  # nats between both; less is no matter
SHOWN = 8  # images whose centre is painted for the pictures


class Config(Settings):
    """The section `[task]`."""

    q: Posterior = "independent"
    maps: int = Field(default=4, ge=1)  # of the lowest level; each has twice those of the one below
    dense_size: int = Field(default=512, ge=1)  # of the vector of a whole image
    top_size: int = Field(default=256, ge=1)  # dimensions of the highest latent variable
    colour: bool = False
    batch_size: int = Field(default=64, ge=1)


def build(config: Config, data: TaskData, seed: int) -> ImageTask:
    """The task of a recipe.

    Raises:
        DataError: images that cannot be used.
    """
    splits = read_image_splits(data, colour=config.colour)
    model = HierarchicalVAE(
        checked_size(splits.train, data.train),
        3 if config.colour else 1,
        maps=config.maps,
        dense_size=config.dense_size,
        top_size=config.top_size,
        q=config.q,
    )

    def draw(folder: Path, history: History) -> None:
        draw_pictures(
            model, task.sample_of("dev", SHOWN), folder=folder, history=history, seed=seed
        )

    task = InpaintingTask(model, splits, batch_size=config.batch_size, seed=seed, draw=draw)
    return task


def checked_size(images: Images, source: str) -> int:
    """Height and width of images whose sides can be halved down to 2.

    Raises:
        DataError: they are not square, or not a power of two from 8 on.
    """
    height, width = images.shape[1:3]
    if height != width or height < SMALLEST_SIZE or height & (height - 1):
        raise DataError(
            f"{shown(source)}: images of {height} x {width}; they must be square, with a side of "
            f"{SMALLEST_SIZE}, 16, 32, 64 …, so that it can be halved; crop or pad them in a "
            "prepare.py of your own"
        )
    return int(height)


class InpaintingTask(ImageTask):
    """Images whose centre is painted; an evaluation tells which layers overfit."""

    def __init__(
        self,
        model: HierarchicalVAE,
        splits: ImageSplits,
        *,
        batch_size: int,
        seed: int,
        draw: Draw | None = None,
    ) -> None:
        """As `ImageTask`, with grey levels as they are."""
        super().__init__(model, splits, batch_size=batch_size, seed=seed, binarise=False, draw=draw)
        self._names, self._train = model.kl_names(), splits.train

    def evaluate(self, split: str, device: torch.device, advance: Advance) -> Evaluation | None:
        """The bound, its parts, and the KL of each layer beside that on training images."""
        found = super().evaluate(split, device, advance)
        if found is None:
            return None
        means = self.means_of(self._train[:COMPARED], device, lambda done, total: None)
        train = {name: means[name] for name in self._names}
        held_out = {name: found.metrics[name] for name in self._names}
        lines = describe_layers(split, train, held_out)
        return Evaluation(found.metrics, monitor=found.monitor, examples=lines)


def describe_layers(
    split: str, train: Mapping[str, float], held_out: Mapping[str, float]
) -> list[str]:
    """A line with the KL of all layers, and one that names those that overfit.

    A layer overfits when what q knows of a training image is near what the prior expects, and what
    it knows of another image is not: when its KL is larger on images that it has not seen.

    Args:
        split: "dev" or "test".
        train: kl_l → nats per training image.
        held_out: the same for the images of `split`.
    """
    pairs = [f"{name} {train[name]:.1f} / {held_out[name]:.1f}" for name in train]
    lines = [f"nats on train / {split}: {', '.join(pairs)}"]
    far = [name for name in train if is_overfit(train[name], held_out[name])]
    if far:
        lines.append(f"overfitting layers: {', '.join(far)}")
    return lines


def is_overfit(train: float, held_out: float) -> bool:
    """Whether the KL of a layer is much larger where the training has not been."""
    return held_out > OVERFITS_FROM * train and held_out - train > NOTABLE
