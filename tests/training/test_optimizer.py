"""Optimisers against their update rules, schedules against their closed forms."""

import math
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from asr.config import parse
from asr.errors import ConfigError
from asr.training.optimizer import (
    AdagradConfig,
    AdamWConfig,
    RmsPropConfig,
    Schedule,
    SgdConfig,
    build_optimizer,
    learning_rate,
    schedule_factor,
    set_learning_rate,
)
from asr.training.update_rules import Adagrad, RMSProp, TextbookSGD

SCHEDULES = get_args(Schedule)
# With a warm-up of 0.2: the factor at 0, in the middle of the rest (0.6) and at the end.
AT = {
    "constant": (0.0, 1.0, 1.0),
    "linear": (0.0, 0.5, 0.0),
    "cosine": (0.0, 0.5, 0.0),
    "one_cycle": (1 / 25, (1 + 1e-4) / 2, 1e-4),
    "exponential": (0.0, 0.1, 0.01),
    "inverse_sqrt": (0.0, math.sqrt(1 / 3), math.sqrt(1 / 5)),
    "halving": (0.0, 1.0, 1 / 32),
}
NAMES: dict[Any, str] = {
    SgdConfig: "sgd", AdagradConfig: "adagrad", RmsPropConfig: "rmsprop", AdamWConfig: "adamw",
}  # fmt: skip
share = st.floats(0.0, 1.0)
warmups = st.floats(0.0, 0.95)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_schedule_values(schedule: Schedule) -> None:
    start, middle, end = AT[schedule]
    assert schedule_factor(schedule, 0.2, 0.0) == pytest.approx(start)
    assert schedule_factor(schedule, 0.2, 0.2) == pytest.approx(1.0)
    assert schedule_factor(schedule, 0.2, 0.6) == pytest.approx(middle)
    assert schedule_factor(schedule, 0.2, 1.0) == pytest.approx(end)
    assert schedule_factor(schedule, 0.0, 0.0) == pytest.approx(1.0), "no warm-up: full at once"


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_half_of_the_warm_up(schedule: Schedule) -> None:
    half = (1 + 1 / 25) / 2 if schedule == "one_cycle" else 0.5
    assert schedule_factor(schedule, 0.4, 0.2) == pytest.approx(half)


def test_one_cycle_rises_by_a_cosine() -> None:
    third = 1 / 25 + (1 - 1 / 25) * (1 - math.cos(math.pi / 3)) / 2
    assert schedule_factor("one_cycle", 0.3, 0.1) == pytest.approx(third)


def test_inverse_sqrt_without_warm_up_begins_with_its_first_thousandth() -> None:
    assert schedule_factor("inverse_sqrt", 0.0, 0.001) == 1.0
    assert schedule_factor("inverse_sqrt", 0.0, 0.004) == pytest.approx(0.5)


def test_halving_is_that_of_the_paper() -> None:
    """0.7 for 5 of 7.5 passes, then half every half pass, here in 15 epochs of half a pass."""
    config = SgdConfig(name="sgd", learning_rate=0.7, momentum=0.0, schedule="halving")
    passes = {0: 0.7, 4.5: 0.7, 5: 0.35, 5.5: 0.175, 6: 0.0875, 6.5: 0.04375, 7: 0.021875}
    for passed, rate in passes.items():
        epoch = round(2 * passed)
        assert learning_rate(config, epoch / 15) == pytest.approx(rate, rel=1e-12)
        assert learning_rate(config, (epoch + 0.999) / 15) == pytest.approx(rate, rel=1e-12)
    assert learning_rate(config, 1.0) == pytest.approx(0.021875, rel=1e-12)


@pytest.mark.parametrize("schedule", SCHEDULES)
@settings(deadline=None)
@given(warmup=warmups, first=share, second=share)
def test_schedules_rise_then_fall_and_stay_between_0_and_1(
    schedule: Schedule, warmup: float, first: float, second: float
) -> None:
    early, late = sorted((first, second))
    before = schedule_factor(schedule, warmup, early)
    after = schedule_factor(schedule, warmup, late)
    assert 0.0 <= before <= 1.0
    assert 0.0 <= after <= 1.0
    if late <= warmup:
        assert before <= after
    if early >= warmup:
        assert before >= after


@pytest.mark.parametrize("schedule", SCHEDULES)
@settings(deadline=None)
@given(warmup=st.floats(0.01, 0.95))
def test_schedules_do_not_jump_at_the_end_of_the_warm_up(schedule: Schedule, warmup: float) -> None:
    assert schedule_factor(schedule, warmup, warmup * (1 - 1e-9)) == pytest.approx(1.0, abs=1e-6)
    assert schedule_factor(schedule, warmup, warmup) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(("floor", "floor_at"), [(0.1, 0.5), (0.3, 1.0), (0.0, 0.25)])
def test_linear_reaches_its_floor_exactly_and_stays(floor: float, floor_at: float) -> None:
    """eps_k = (1 - a) eps_0 + a eps_tau with a = min(1, k / tau), tau a share of what is left."""

    def factor(progress: float) -> float:
        return schedule_factor("linear", 0.2, progress, floor=floor, floor_at=floor_at)

    end = 0.2 + 0.8 * floor_at
    assert factor(0.2) == 1.0
    assert factor(0.2 + 0.4 * floor_at) == pytest.approx((1 + floor) / 2)
    assert factor(end - 1e-9) > floor
    for later in (end + 1e-9, (1 + end) / 2 + 1e-9, 1.0):
        assert factor(later) == floor
    for steps in (4, 10):
        rates = [factor(0.2 + 0.8 * floor_at * step / steps) for step in range(steps)]
        np.testing.assert_allclose(np.diff(rates), (floor - 1) / steps, rtol=1e-9)


def test_a_floor_is_of_the_configured_learning_rate() -> None:
    config = AdamWConfig(
        learning_rate=0.01, schedule="linear", warmup=0.0, floor=0.25, floor_at=0.5
    )
    assert [learning_rate(config, at) for at in (0.0, 0.25, 0.5, 1.0)] == pytest.approx(
        [0.01, 0.00625, 0.0025, 0.0025]
    )


@pytest.mark.parametrize("kind", [SgdConfig, AdagradConfig, RmsPropConfig, AdamWConfig])
@pytest.mark.parametrize("given", [{"floor": 0.1}, {"floor_at": 0.5}])
def test_only_linear_has_a_floor(kind: Any, given: dict[str, float]) -> None:
    name = {"name": NAMES[kind]}
    for other in ("constant", "cosine"):
        needed = f"'schedule' must be 'linear' when floor or floor_at is set, got '{other}'"
        with pytest.raises(ConfigError, match=needed):
            parse(kind, name | {"schedule": other} | given, "recipe.toml")
    with pytest.raises(ConfigError, match="'schedule' must be 'linear' when floor"):
        parse(kind, name | given, "recipe.toml")  # none of them has it by default
    config = parse(kind, name | {"schedule": "linear"} | given, "recipe.toml")
    assert given.items() <= config.model_dump().items()


@pytest.mark.parametrize("kind", [SgdConfig, AdagradConfig, RmsPropConfig, AdamWConfig])
def test_what_is_not_used_is_not_stored(kind: Any) -> None:
    """Older versions read such recipes, and a training that goes on is not said to have changed."""
    stored = kind(name=NAMES[kind]).model_dump()
    assert not {"floor", "floor_at", "style"} & stored.keys()
    assert next(iter(stored)) == "name"


def test_the_learning_rate_is_the_factor_of_the_configured_one() -> None:
    config = AdamWConfig(learning_rate=0.01, schedule="linear", warmup=0.5)
    assert learning_rate(config, 0.25) == pytest.approx(0.005)
    assert learning_rate(config, 0.75) == pytest.approx(0.005)


def sgd_by_loop(
    start: np.ndarray[Any, Any], gradients: list[np.ndarray[Any, Any]], config: SgdConfig
) -> np.ndarray[Any, Any]:
    weights, velocity = start.copy(), np.zeros_like(start)
    for gradient in gradients:
        decayed = gradient + config.weight_decay * weights
        velocity = config.momentum * velocity + decayed
        ahead = decayed + config.momentum * velocity if config.nesterov else velocity
        weights = weights - config.learning_rate * ahead
    return weights


def adam_by_loop(
    start: np.ndarray[Any, Any], gradients: list[np.ndarray[Any, Any]], config: AdamWConfig
) -> np.ndarray[Any, Any]:
    """Kingma & Ba 2015, algorithm 1; AdamW: Loshchilov & Hutter 2019, algorithm 2."""
    weights = start.copy()
    mean, square = np.zeros_like(start), np.zeros_like(start)
    for time, raw in enumerate(gradients, start=1):
        gradient = raw
        if config.name == "adamw":
            weights = weights - config.learning_rate * config.weight_decay * weights
        else:
            gradient = raw + config.weight_decay * weights
        mean = config.beta1 * mean + (1 - config.beta1) * gradient
        square = config.beta2 * square + (1 - config.beta2) * gradient**2
        unbiased = mean / (1 - config.beta1**time)
        scale = np.sqrt(square / (1 - config.beta2**time)) + config.epsilon
        weights = weights - config.learning_rate * unbiased / scale
    return weights


def by_torch(
    start: np.ndarray[Any, Any],
    gradients: list[np.ndarray[Any, Any]],
    config: SgdConfig | AdamWConfig,
) -> np.ndarray[Any, Any]:
    weight = nn.Parameter(torch.from_numpy(start.copy()))
    optimizer = build_optimizer([weight], config)
    for gradient in gradients:
        weight.grad = torch.from_numpy(gradient.copy())
        optimizer.step()
    result: np.ndarray[Any, Any] = weight.detach().numpy()
    return result


random = np.random.default_rng(4)
START = random.normal(size=(2, 3))
GRADIENTS = [random.normal(size=(2, 3)) for _ in range(5)]


@pytest.mark.parametrize(
    "config",
    [
        SgdConfig(name="sgd", learning_rate=0.1, momentum=0.0),
        SgdConfig(name="sgd", learning_rate=0.1, momentum=0.9),
        SgdConfig(name="sgd", learning_rate=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    ],
    ids=["plain", "momentum", "nesterov"],
)
def test_sgd_follows_its_rule(config: SgdConfig) -> None:
    np.testing.assert_allclose(
        by_torch(START, GRADIENTS, config), sgd_by_loop(START, GRADIENTS, config), rtol=1e-12
    )


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_adam_follows_its_rule(name: Any) -> None:
    config = AdamWConfig(name=name, learning_rate=0.1, weight_decay=0.3)
    np.testing.assert_allclose(
        by_torch(START, GRADIENTS, config), adam_by_loop(START, GRADIENTS, config), rtol=1e-10
    )


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_the_first_step_of_adam_is_the_learning_rate(name: Any) -> None:
    """Bias correction leaves g / (|g| + epsilon), which is the sign of the gradient."""
    config = AdamWConfig(name=name, learning_rate=0.1, weight_decay=0.0)
    moved = by_torch(START, GRADIENTS[:1], config)
    np.testing.assert_allclose(moved, START - 0.1 * np.sign(GRADIENTS[0]), rtol=1e-6)


@pytest.mark.parametrize(
    "config",
    [
        SgdConfig(name="sgd", learning_rate=0.5, weight_decay=0.1),
        AdamWConfig(name="adamw", learning_rate=0.5, weight_decay=0.1),
    ],
    ids=["sgd", "adamw"],
)
def test_vectors_are_not_decayed(config: SgdConfig | AdamWConfig) -> None:
    """With a gradient of 0 only the decay moves weights: by 1 - 0.5 · 0.1."""
    model = nn.Linear(3, 2)
    model.weight.grad, model.bias.grad = torch.zeros(2, 3), torch.zeros(2)
    weight, bias = model.weight.detach().clone(), model.bias.detach().clone()
    build_optimizer(model.parameters(), config).step()
    torch.testing.assert_close(model.weight.detach(), 0.95 * weight)
    assert torch.equal(model.bias.detach(), bias)


@pytest.mark.parametrize("bias", [True, False])
def test_every_trained_parameter_is_in_one_group_and_frozen_ones_in_none(bias: bool) -> None:
    model = nn.Sequential(nn.Linear(3, 2, bias=bias), nn.Linear(2, 2, bias=bias))
    model[0].weight.requires_grad = False
    optimizer = build_optimizer(model.parameters(), AdamWConfig())
    optimised = [p for group in optimizer.param_groups for p in group["params"]]
    trained = [p for p in model.parameters() if p.requires_grad]
    assert sorted(map(id, optimised)) == sorted(map(id, trained))


def test_a_set_learning_rate_holds_for_all_parameters_from_the_next_step() -> None:
    model = nn.Linear(3, 2)
    optimizer = build_optimizer(model.parameters(), SgdConfig(name="sgd", momentum=0.0))
    set_learning_rate(optimizer, 0.25)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.detach(), before[name] - 0.25)


@pytest.mark.parametrize("kind", [SgdConfig, RmsPropConfig])
def test_nesterov_without_momentum_is_the_fault_of_the_recipe(kind: Any) -> None:
    given = {"name": NAMES[kind], "momentum": 0.0, "nesterov": True}
    with pytest.raises(ConfigError, match="'nesterov' must be false when momentum is 0, got True"):
        parse(kind, given, "recipe.toml")
    assert parse(kind, given | {"momentum": 0.5}, "recipe.toml").nesterov


def settings_of(config: Any) -> tuple[type, list[dict[str, Any]]]:
    """The kind of the optimiser for a matrix and a vector, and what it knows of each."""
    optimizer = build_optimizer(nn.Linear(3, 2).parameters(), config)
    groups = [
        {key: value for key, value in group.items() if key != "params"}
        for group in optimizer.param_groups
    ]
    assert [[p.ndim for p in group["params"]] for group in optimizer.param_groups] == [[2], [1]]
    return type(optimizer), groups


def test_the_settings_reach_the_rules() -> None:
    textbook = SgdConfig(name="sgd", style="textbook", learning_rate=0.3, weight_decay=0.01)
    kind, groups = settings_of(textbook)
    common = {"lr": 0.3, "momentum": 0.9, "nesterov": False}
    assert (kind, groups) == (
        TextbookSGD,
        [common | {"weight_decay": 0.01}, common | {"weight_decay": 0.0}],
    )
    kind, groups = settings_of(AdagradConfig(name="adagrad", learning_rate=0.3, epsilon=0.1))
    assert (kind, groups) == (Adagrad, [{"lr": 0.3, "epsilon": 0.1}] * 2)
    config = RmsPropConfig(
        name="rmsprop", learning_rate=0.3, decay=0.7, epsilon=0.1, momentum=0.5, nesterov=True
    )
    kind, groups = settings_of(config)
    settings = {"lr": 0.3, "decay": 0.7, "epsilon": 0.1, "momentum": 0.5, "nesterov": True}
    assert (kind, groups) == (RMSProp, [settings] * 2)


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        (SgdConfig, "learning_rate", 0.0),
        (SgdConfig, "momentum", 1.0),
        (SgdConfig, "warmup", 1.0),
        (AdamWConfig, "beta2", 1.0),
        (AdamWConfig, "epsilon", 0.0),
        (AdamWConfig, "weight_decay", -0.1),
        (AdamWConfig, "learning_rate", math.nan),
        (AdamWConfig, "schedule", "cosinus"),
        (SgdConfig, "style", "nesterov"),
        (AdagradConfig, "epsilon", 0.0),
        (AdagradConfig, "floor", 1.0),
        (AdagradConfig, "floor_at", 0.0),
        (RmsPropConfig, "decay", 1.0),
        (RmsPropConfig, "momentum", 1.0),
    ],
)
def test_what_no_optimizer_can_use_is_refused(kind: Any, key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"recipe.toml: '{key}' must be "):
        parse(kind, {"name": NAMES[kind], key: value}, "recipe.toml")
