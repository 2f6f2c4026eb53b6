"""The pictures of the hierarchical VAE: painted centres, one layer at a time, curves."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asr.image_task import BOUND, History
from asr.pictures import Picture, as_pixels, enlarged, grid, plot_curves, write_png

from .border import central, channels_first, channels_last, pasted
from .model import HierarchicalVAE

SAMPLES = 8  # centres of every image
HOLE = 0.5  # the grey that stands for a hidden centre
CELL = 64  # about how wide an image is in a picture, in pixels


@torch.no_grad()
def draw_pictures(
    model: HierarchicalVAE, originals: Tensor, *, folder: Path, history: History, seed: int
) -> None:
    """Write the pictures of a model.

    `inpaintings.png` has a row for each image: itself, its border, the centre with all layers at
    their means, and samples. `layer-1.png` … have the same rows, the first image with all layers at
    their means, the others with the noise of that layer alone. `bound.png` and `kl.png` are curves
    by epochs, of the bound and of its KL in each layer.

    Args:
        model: on any device.
        originals: (N, H, W) or (N, H, W, 3) intensities.
        folder: where the pictures go.
        history: what each evaluation found.
        seed: of the samples.
    """
    images = originals.to(next(model.parameters()).device)
    middle = generated(model, images, 1, seed, sampled=())
    columns = [images[None], hollow(images)[None], middle, generated(model, images, SAMPLES, seed)]
    write_png(folder / "inpaintings.png", table(columns))
    for layer in range(1, model.num_latents + 1):
        one = generated(model, images, SAMPLES, seed, sampled=(layer,))
        write_png(folder / f"layer-{layer}.png", table([middle, one]))
    if history:
        plot_history(model, folder, history)


def generated(
    model: HierarchicalVAE,
    images: Tensor,
    count: int,
    seed: int,
    *,
    sampled: tuple[int, ...] | None = None,
) -> Tensor:
    """(count, …) images with centres of the model's own; `sampled` as in `generate`."""
    generator = torch.Generator().manual_seed(seed)
    repeated = images.repeat(count, *[1] * (images.ndim - 1))
    painted, _ = model.generate(repeated, generator, sampled=sampled)
    return painted.view(count, *images.shape)


def hollow(images: Tensor) -> Tensor:
    """Images with a grey centre."""
    whole = channels_first(images)
    hole = torch.full_like(central(whole, whole.shape[2] // 2), HOLE)
    return channels_last(pasted(hole, whole))


def table(columns: list[Tensor]) -> Picture:
    """A row for each image, of columns (K, N, H, W) or (K, N, H, W, 3)."""
    cells: NDArray[np.float32] = torch.cat(columns).transpose(0, 1).flatten(0, 1).cpu().numpy()
    pixels = as_pixels(cells)
    factor = max(1, CELL // pixels.shape[1])
    return grid(np.stack([enlarged(image, factor) for image in pixels]), sum(map(len, columns)))


def plot_history(model: HierarchicalVAE, folder: Path, history: History) -> None:
    """The bound on train and dev, and the KL of each layer on dev."""
    epochs = [record["epoch"] for record in history]
    bounds = {
        "train": (epochs, [record["train_loss"] for record in history]),
        "dev": (epochs, [record[BOUND] for record in history]),
    }
    plot_curves(folder / "bound.png", bounds, x="epoch", y="bound on -ln p, nats per image")
    layers = {name: (epochs, [record[name] for record in history]) for name in model.kl_names()}
    plot_curves(folder / "kl.png", layers, x="epoch", y="KL on dev, nats per image")
