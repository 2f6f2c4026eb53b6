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
