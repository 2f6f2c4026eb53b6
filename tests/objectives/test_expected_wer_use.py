"""What the expected loss refuses, its settings in a recipe, and its use in an ordinary loop."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from asr.objectives.expected_wer import ExpectedWERConfig, expected_loss
from tests.objectives.examples import losses_of
from tests.objectives.sampling_reference import random_log_probs

NAMES = ["-", " ", "a", "b"]
ONE = torch.tensor([2])


@pytest.mark.parametrize(
    ("references", "settings", "message"),
    [
        (["a"], {"loss": "per"}, "loss must be 'wer', 'cer' or a function, got 'per'"),
        (["a"], {"num_samples": 0}, "num_samples must be at least 1, got 0"),
        (["a"], {"probability_floor": -0.1}, "probability_floor must be 0 to 1, got -0.1"),
        (["a"], {"probability_floor": 1.0}, "probability_floor must be 0 to 1, got 1.0"),
        (["a"], {"probability_floor": math.nan}, "probability_floor must be 0 to 1, got nan"),
        (["a", "b"], {}, "hold 1 utterances, .* references 2"),
        (["a"], {"labels": NAMES[:3]}, "3 labels for scores of 4"),
        (["a"], {"labels": ["-", "a", "a", "b"]}, "labels must differ"),
        (["a b"], {"labels": ["-", "a", "b", "c"]}, "'a b' has 2 words, but no label begins"),
    ],
)
@pytest.mark.parametrize("learns", [True, False])
def test_misuse_is_named(
    references: list[str], settings: dict[str, object], message: str, learns: bool
) -> None:
    log_probs = random_log_probs(1, 2, 4).requires_grad_(learns)
    with pytest.raises(ValueError, match=message):
        expected_loss(log_probs, ONE, references, **({"labels": NAMES} | settings))


def test_logits_are_refused() -> None:
    with pytest.raises(ValueError, match=r"log_probs must be normalised .*add up to 4"):
        expected_loss(torch.zeros(1, 2, 4), ONE, ["a"], labels=NAMES)


def test_dtypes_are_named() -> None:
    with pytest.raises(TypeError, match=r"float32 or float64, got torch\.bfloat16"):
        expected_loss(random_log_probs(1, 2, 4).bfloat16(), ONE, ["a"], labels=NAMES)


@pytest.mark.parametrize("estimator", ["reinforce", "nbest"])
def test_the_config_knows_how_many_samples_an_estimator_needs(estimator: str) -> None:
    make: Callable[..., ExpectedWERConfig] = ExpectedWERConfig
    assert make(name="expected_wer", num_samples=1).estimator == "exchange"
    with pytest.raises(ValueError, match="at least 2 for this estimator"):
        make(name="expected_wer", estimator=estimator, num_samples=1)
    assert make(name="expected_wer", estimator=estimator, num_samples=2).num_samples == 2


@pytest.mark.parametrize("estimator", ["reinforce", "nbest"])
def test_a_floor_is_for_the_exchange_alone(estimator: str) -> None:
    make: Callable[..., ExpectedWERConfig] = ExpectedWERConfig
    assert make(name="expected_wer", probability_floor=0.1).probability_floor == 0.1
    assert make(name="expected_wer", estimator=estimator, probability_floor=0).num_samples == 5
    with pytest.raises(ValueError, match="0 for this estimator, which exchanges no labels"):
        make(name="expected_wer", estimator=estimator, probability_floor=0.1)


def test_a_training_loop_of_a_few_lines_learns(capsys: pytest.CaptureFixture[str]) -> None:
    losses = losses_of("expected_wer", capsys)
    assert np.mean(losses[:5]) > 0.5
    assert np.mean(losses[-5:]) < 0.1
