"""What is told of a bundle that gives its weights, and of one that does not fit."""

from pathlib import Path

import pytest

from asr.bundle_fit import check_fit, weights_of
from asr.errors import ConfigError

BEST = Path("exp/x/best")


@pytest.mark.parametrize(
    ("dev", "told"),
    [
        ({"wer": 0.1234, "cer": 0.05}, " (dev WER 12.34 %)"),
        ({"per": 0.186, "per_merged": 0.18}, " (dev PER 18.60 %)"),
        ({"perplexity": 3.0, "bits_per_character": 1.5}, " (dev 1.50 bits per character)"),
        ({"perplexity": 3.0, "bits_per_phone": 1.5}, " (dev 1.50 bits per phone)"),
        ({}, ""),
    ],
)
def test_how_good_the_weights_were(dev: dict[str, float], told: str) -> None:
    assert weights_of(BEST, {"dev": dev}) == f"the weights of exp/x/best{told}"


def test_without_a_dev_set_nothing_is_told() -> None:
    assert weights_of(BEST, {}) == "the weights of exp/x/best"


def test_what_differs_and_what_to_do() -> None:
    check_fit("init_from", BEST, [])
    with pytest.raises(ConfigError) as caught:
        check_fit("init_from", BEST, ["encoder.num_layers is 5 here and 2 there", "and so on"])
    assert str(caught.value) == (
        "init_from: exp/x/best does not fit this recipe: encoder.num_layers is 5 here and 2 there; "
        "and so on; give the same --set as there, or another bundle"
    )
