"""The picture of sentence vectors in two dimensions (Sutskever, Vinyals & Le 2014, figure 2)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asr.pictures import new_figure, write_figure

# Where names stand, in points from their point; neighbours in a group take turns.
PLACES = ((4, 4, "left"), (-4, -11, "right"), (4, -11, "left"), (-4, 4, "right"))
COLOURS = ("tab:blue", "tab:red", "tab:green", "tab:orange", "tab:purple", "tab:brown")


def principal_components(vectors: Tensor, count: int = 2) -> Tensor:
    """(N, count) coordinates in the directions of the largest variance (PCA).

    The sign of each direction is such that the coordinate of largest magnitude is positive; where
    there are fewer directions than asked for, the rest is zero.

    Args:
        vectors: (N, D).
        count: how many directions.
    """
    centred = (vectors - vectors.mean(dim=0)).double()
    left, scales, _ = torch.linalg.svd(centred, full_matrices=False)
    coordinates = (left * scales)[:, :count]
    largest = coordinates.gather(0, coordinates.abs().argmax(dim=0, keepdim=True))
    coordinates = coordinates * torch.where(largest < 0, -1.0, 1.0)
    return torch.nn.functional.pad(coordinates, (0, count - coordinates.shape[1]))


def draw_vectors(
    path: Path, names: Sequence[str], groups: Sequence[int], coordinates: NDArray[np.float64]
) -> None:
    """Write a PNG with a named point for each sentence.

    Args:
        path: the file.
        names: (N,) of the sentences.
        groups: (N,) which have the same colour.
        coordinates: (N, 2).

    Raises:
        ConfigError: matplotlib is not installed.
        ResourceError: the disk is full or not writable.
    """
    figure, axes = new_figure((6.4, 4.6))
    colours = [COLOURS[group % len(COLOURS)] for group in groups]
    axes.scatter(coordinates[:, 0], coordinates[:, 1], c=colours, s=14)
    turns = [groups[:number].count(group) for number, group in enumerate(groups)]
    for name, colour, turn, point in zip(names, colours, turns, coordinates, strict=True):
        right, above, side = PLACES[turn % len(PLACES)]
        axes.annotate(
            name.replace("$", r"\$"), point, (right, above), textcoords="offset points",
            fontsize=8, color=colour, ha=side,
        )  # fmt: skip
    axes.margins(0.2)
    axes.set_xlabel("first principal component")
    axes.set_ylabel("second principal component")
    axes.grid(alpha=0.3)
    write_figure(path, figure)
