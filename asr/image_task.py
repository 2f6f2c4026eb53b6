"""Generative models of images as a `Task`: a bound on their negative log-probability, in nats."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from asr.data.images import Images, read_images
from asr.errors import ConfigError, DataError, shown
from asr.training.plain_task import PlainTask, TaskData
from asr.training.task import Advance, BatchPlan, Evaluation, Skipped

BOUND = "nats"  # the metric that chooses: an upper bound on -ln p(x), per image
EVALUATED_AT_ONCE = 500  # images

History = Sequence[Mapping[str, float]]  # what each evaluation found, in order
Draw = Callable[[Path, History], None]


class BoundedModel(nn.Module, ABC):
    """A network that gives a bound on the probability of images."""

    @abstractmethod
    def terms(self, images: Tensor) -> dict[str, Tensor]:
        """The parts (B,) in nats, of which the sum is the bound on -ln p of each image.

        Args:
            images: (B, H, W) or (B, H, W, 3) intensities in 0 … 1.
        """


@dataclass(frozen=True, slots=True)
class ImageSplits:
    """The images of a recipe; dev and test may have none."""

    train: Images
    dev: Images | None
    test: Images | None


def read_image_splits(data: TaskData, *, colour: bool, fixed: bool = False) -> ImageSplits:
    """The images that a recipe's `[data]` names; dev and test may be left out.

    Args:
        data: their files.
        colour: whether they must have colour, or must not.
        fixed: the model is for no others; else the setting `task.colour` tells which.

    Raises:
        ConfigError: no training images are named.
        DataError: a file cannot be used, or its images are not like those of the training.
    """
    if not data.train:
        raise ConfigError("data.train: is empty; name the training images (an .npz)")
    train = read_images(Path(data.train))
    if (train.ndim == 4) != colour:
        have, need = ("grey", "colour") if colour else ("colour", "grey")
        other = "false" if colour else "true"
        advice = "name such ones in data.train" if fixed else f"set task.colour = {other}"
        raise DataError(
            f"{shown(data.train)}: has {have} images; this model is for {need} ones, {advice}"
        )

    def read_other(path: str) -> Images | None:
        images = read_images(Path(path)) if path else None
        if images is not None and images.shape[1:] != train.shape[1:]:
            raise DataError(
                f"{shown(path)}: images of {_size(images)}, but {shown(data.train)} has images of "
                f"{_size(train)}; prepare them together"
            )
        return images

    return ImageSplits(train, read_other(data.dev), read_other(data.test))


def _size(images: Images) -> str:
    return " x ".join(map(str, images.shape[1:]))


@dataclass(frozen=True, slots=True)
class ImageBatch:
    """B images, (B, H, W) or (B, H, W, 3) float32 in 0 … 1."""

    ids: tuple[str, ...]
    images: Tensor


class ImageTask(PlainTask):
    """A model of images with its data, for the training loop.

    With `binarise`, every pixel is drawn black or white with its intensity as the probability of
    white: anew in every epoch of the training, once and for all for dev and test (Salakhutdinov &
    Murray 2008). Bounds of grey images are of Bernoulli means and compare with no others.
    """

    def __init__(
        self,
        model: BoundedModel,
        splits: ImageSplits,
        *,
        batch_size: int,
        seed: int,
        binarise: bool,
        draw: Draw | None = None,
    ) -> None:
        """Keep the data.

        Args:
            model: the network.
            splits: its images.
            batch_size: images of a batch.
            seed: of the order, and of the black and white.
            binarise: whether pixels are drawn.
            draw: writes pictures of the model into a folder.
        """
        super().__init__(model, num_items=len(splits.train), batch_size=batch_size, seed=seed)
        self._bounded = model
        self._splits, self._binarise, self._draw = splits, binarise, draw

    def describe(self) -> list[str]:
        """How many images, of what size."""
        named = {"train": self._splits.train, "dev": self._splits.dev, "test": self._splits.test}
        as_they_are = "grey levels" if self._splits.train.ndim == 3 else "intensities as they are"
        how = "drawn black or white" if self._binarise else as_they_are
        return [
            f"{name}: {len(images):,} images of {_size(images)}, {how}"
            for name, images in named.items()
            if images is not None
        ]

    def fingerprints(self) -> dict[str, str]:
        """A hash of the training images."""
        train = self._splits.train
        content = hashlib.sha256(f"{train.shape} {self._binarise}".encode())
        content.update(train.tobytes())
        return {"training data": content.hexdigest()}

    def load_batch(self, plan: BatchPlan, epoch: int) -> tuple[ImageBatch, list[Skipped]]:
        """The images of a batch."""
        seed = (self.seed, epoch + 1, plan.items[0])
        images = self._intensities(self._splits.train[list(plan.items)], seed)
        return ImageBatch(tuple(f"image {index}" for index in plan.items), images), []

    def ids(self, batch: ImageBatch) -> Sequence[str]:
        """Which images they are."""
        return batch.ids

    def loss(self, batch: ImageBatch, device: torch.device) -> Tensor:
        """(B,) bounds on -ln p of the images, one sample of the latent variables each."""
        return torch.stack(list(self._bounded.terms(batch.images.to(device)).values())).sum(dim=0)

    def evaluate(self, split: str, device: torch.device, advance: Advance) -> Evaluation | None:
        """The mean bound and its parts; the same weights give the same figures."""
        images = {"dev": self._splits.dev, "test": self._splits.test}[split]
        if images is None:
            return None
        means = self.means_of(images, device, advance)
        return Evaluation({BOUND: sum(means.values()), **means}, monitor=BOUND)

    @torch.no_grad()
    def means_of(self, images: Images, device: torch.device, advance: Advance) -> dict[str, float]:
        """The means over images of the parts of the bound; the same weights give the same."""
        advance(0, len(images))
        sums: dict[str, float] = {}
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(self.seed)
            for begin in range(0, len(images), EVALUATED_AT_ONCE):
                part = images[begin : begin + EVALUATED_AT_ONCE]
                intensities = self._intensities(part, (self.seed, 0, begin))
                for name, values in self._bounded.terms(intensities.to(device)).items():
                    sums[name] = sums.get(name, 0.0) + float(values.double().sum())
                advance(min(begin + EVALUATED_AT_ONCE, len(images)), len(images))
        return {name: total / len(images) for name, total in sums.items()}

    def sample_of(self, split: str, count: int) -> Tensor:
        """The first `count` images of a split as the model is shown them, the same every time."""
        images = {"train": self._splits.train, "dev": self._splits.dev, "test": self._splits.test}
        chosen = images[split]
        if chosen is None:
            chosen = self._splits.train
        return self._intensities(chosen[:count], (self.seed, 0, 0))

    def artifacts(self, folder: Path, history: History) -> None:
        """Write the pictures of the recipe."""
        if self._draw is not None:
            self._draw(folder, history)

    def _intensities(self, images: Images, seed: tuple[int, int, int]) -> Tensor:
        intensities = images.astype(np.float32) / np.float32(255)
        if self._binarise:
            drawn = np.random.default_rng(seed).random(intensities.shape, dtype=np.float32)
            intensities = (drawn < intensities).astype(np.float32)
        return torch.from_numpy(intensities)
