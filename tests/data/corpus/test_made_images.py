"""Made-up images: what is in them is what their descriptions say."""

import numpy as np
import pytest

from asr.data.corpus.made_images import squares, two_colours
from asr.data.images import Images

COUNTS = {"train": 60, "dev": 20, "test": 30}


def test_squares_are_whole_and_anywhere() -> None:
    sets = squares(7, side=3, counts=COUNTS)
    assert {name: images.shape for name, images in sets.items()} == {
        name: (count, 7, 7) for name, count in COUNTS.items()
    }
    places = set()
    for image in np.concatenate(list(sets.values())):
        (rows, columns) = np.nonzero(image)
        top, left = int(rows.min()), int(columns.min())
        expected = np.zeros((7, 7), np.uint8)
        expected[top : top + 3, left : left + 3] = 255
        assert np.array_equal(image, expected)
        places.add((top, left))
    assert places == {(top, left) for top in range(5) for left in range(5)}


def border_of(images: Images) -> Images:
    """(N, pixels, 3) of everything but the centre."""
    size = images.shape[1]
    outside = np.ones((size, size), bool)
    outside[size // 4 : -(size // 4), size // 4 : -(size // 4)] = False
    return images[:, outside]


@pytest.mark.parametrize("size", [8, 16])
def test_the_centre_is_the_mean_of_the_border_and_a_choice(size: int) -> None:
    sets = two_colours(size, step=40, counts=COUNTS)
    assert {name: len(images) for name, images in sets.items()} == COUNTS
    images = np.concatenate(list(sets.values()))
    assert images.shape[1:] == (size, size, 3)
    edge = size // 4
    centre = images[:, edge:-edge, edge:-edge].reshape(len(images), -1, 3)
    assert np.array_equal(centre, centre[:, :1].repeat(size * size // 4, axis=1))
    means = np.floor(border_of(images).mean(axis=1))
    choices = centre[:, 0] - means
    assert set(choices.ravel()) == {-40.0, 40.0}
    assert np.array_equal(choices, choices[:, :1].repeat(3, axis=1))
    assert 0.3 < (choices > 0).mean() < 0.7


def test_a_border_has_two_colours_left_and_right() -> None:
    images = two_colours(8, counts={"train": 5})["train"]
    top = images[:, 0]
    assert np.array_equal(top[:, :4], top[:, :1].repeat(4, axis=1))
    assert np.array_equal(top[:, 4:], top[:, 7:].repeat(4, axis=1))
    assert not np.array_equal(top[:, 0], top[:, 7])
    assert np.array_equal(images[:, -1], top)


@pytest.mark.parametrize("make", [squares, two_colours])
def test_sets_differ_and_repeat_themselves(make) -> None:  # type: ignore[no-untyped-def]
    once, again, other = (make(8, counts=COUNTS, seed=seed) for seed in (1, 1, 2))
    for name in COUNTS:
        assert np.array_equal(once[name], again[name])
        assert not np.array_equal(once[name], other[name])
    assert not np.array_equal(once["train"][:20], once["dev"])
