"""Made-up images for trying out models of images: nothing to download, a minute to learn."""

from collections.abc import Mapping

import numpy as np

from asr.data.images import Images

COUNTS = {"train": 2000, "dev": 200, "test": 500}


def squares(
    size: int = 12, *, side: int = 4, counts: Mapping[str, int] = COUNTS, seed: int = 1
) -> dict[str, Images]:
    """Black images (N, size, size), each with one white square anywhere.

    Args:
        size: of the images.
        side: of the square.
        counts: images of each set.
        seed: of the places.
    """
    sets = {}
    for number, (name, count) in enumerate(counts.items()):
        generator = np.random.default_rng((seed, number))
        images = np.zeros((count, size, size), np.uint8)
        places = generator.integers(0, size - side + 1, (count, 2))
        for image, (top, left) in zip(images, places, strict=True):
            image[top : top + side, left : left + side] = 255
        sets[name] = images
    return sets


def two_colours(
    size: int = 16, *, step: int = 50, counts: Mapping[str, int] = COUNTS, seed: int = 1
) -> dict[str, Images]:
    """Images (N, size, size, 3) with two colours, left and right, and a centre of one colour.

    The centre, half as high and half as wide, is the mean of the border, in every channel lighter
    or darker by `step`: a choice that the border does not tell.

    Args:
        size: of the images, a multiple of four.
        step: levels between the mean and the centre.
        counts: images of each set.
        seed: of the colours and choices.
    """
    sets = {}
    edge, middle = size // 4, size // 2
    for number, (name, count) in enumerate(counts.items()):
        generator = np.random.default_rng((seed, number))
        left, right = generator.integers(step, 256 - step, (2, count, 1, 1, 3))
        images = np.empty((count, size, size, 3), np.uint8)
        images[:, :, :middle], images[:, :, middle:] = left, right
        choices = generator.choice([-step, step], (count, 1, 1, 1))
        images[:, edge : edge + middle, edge : edge + middle] = (left + right) // 2 + choices
        sets[name] = images
    return sets
