"""Quiet, noisy, stale, done: what a training is by its settings and its state."""

from typing import Any

import pytest

from asr.config import parse
from asr.errors import ConfigError
from asr.training.checkpoint import TrainingState
from asr.training.phase import (
    finished_text,
    is_done,
    is_fresh,
    is_noise_due,
    is_quiet,
    is_stale,
    noise_deviation,
)
from asr.training.settings import TrainingConfig

NOISE = 0.075


def config(**settings: Any) -> TrainingConfig:
    return TrainingConfig(**{"weight_noise": NOISE, **settings})


@pytest.mark.parametrize(
    ("after", "noisy", "deviation"),
    [(0, False, NOISE), (0, True, NOISE), (3, False, 0.0), (3, True, NOISE)],
)
def test_the_noise_begins_at_once_or_when_the_state_says_so(
    after: int, noisy: bool, deviation: float
) -> None:
    training, state = config(weight_noise_after=after), TrainingState(noisy=noisy)
    assert noise_deviation(training, state) == deviation
    assert is_quiet(training, state) == (deviation == 0)


def test_without_noise_there_is_none() -> None:
    assert noise_deviation(TrainingConfig(), TrainingState()) == 0.0
    assert not is_quiet(TrainingConfig(), TrainingState())


@pytest.mark.parametrize(("stale", "due"), [(0, False), (2, False), (3, True), (4, True)])
def test_the_noise_is_due_once(stale: int, due: bool) -> None:
    """With more evaluations than were asked for when they were asked for later."""
    assert is_noise_due(config(weight_noise_after=3), TrainingState(stale=stale)) == due
    assert not is_noise_due(config(weight_noise_after=3), TrainingState(stale=stale, noisy=True))
    assert not is_noise_due(config(), TrainingState(stale=stale))


@pytest.mark.parametrize(
    ("settings", "state", "stale"),
    [
        ({}, {"stale": 99}, False),
        ({"patience": 2}, {"stale": 1}, False),
        ({"patience": 2}, {"stale": 2}, True),
        ({"patience": 2, "weight_noise_after": 5}, {"stale": 2}, False),
        ({"patience": 2, "weight_noise_after": 5}, {"stale": 1, "noisy": True}, False),
        ({"patience": 2, "weight_noise_after": 5}, {"stale": 2, "noisy": True}, True),
    ],
)
def test_patience_ends_no_quiet_training(
    settings: dict[str, int], state: dict[str, Any], stale: bool
) -> None:
    training, here = config(epochs=9, **settings), TrainingState(epoch=6, **state)
    assert is_stale(training, here) == stale
    assert is_done(training, here) == stale
    more = "patience=0" if stale else "epochs=12"
    assert finished_text(training, here) == (
        f"this training is finished (6 epochs); to go on: --set training.{more}"
    )


def test_epochs_end_a_quiet_training() -> None:
    assert is_done(config(epochs=6, weight_noise_after=5), TrainingState(epoch=6))


def test_a_fresh_training_has_neither_trained_nor_evaluated() -> None:
    assert is_fresh(TrainingState(fingerprints={"data": "a"}))
    for begun in ({"step": 1}, {"epoch": 1}, {"position": 1}, {"best": (0.1, 0)}):
        assert not is_fresh(TrainingState(**begun))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"weight_noise_after": 3},
            "recipe: 'weight_noise_after' must be 0 when weight_noise is 0, got 3",
        ),
        (
            {"weight_noise": 0.075, "weight_noise_after": -1},
            "recipe: 'weight_noise_after' must be greater than or equal to 0, got -1",
        ),
    ],
)
def test_a_schedule_without_noise_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(TrainingConfig, settings, "recipe")
    assert parse(TrainingConfig, {"weight_noise_after": 0}, "recipe").weight_noise == 0
