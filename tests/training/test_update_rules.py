"""Update rules against loops over plain arrays, and where they part from torch's."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from asr.training.update_rules import Adagrad, RMSProp, TextbookSGD, UpdateRule

Array = np.ndarray[Any, Any]
random = np.random.default_rng(4)
START = random.normal(size=(2, 3))
GRADIENTS = [random.normal(size=(2, 3)) for _ in range(6)]
RATES = [0.1, 0.1, 0.1, 0.01, 0.01, 0.3]  # it falls, and rises
CURVATURE = np.array([[1.0, 0.3, 2.0], [0.1, 1.5, 0.7]])


def run(
    rule: torch.optim.Optimizer, weight: nn.Parameter, gradients: list[Array], rates: list[float]
) -> Array:
    for gradient, rate in zip(gradients, rates, strict=True):
        rule.param_groups[0]["lr"] = rate
        weight.grad = torch.from_numpy(gradient.copy())
        rule.step()
    return weight.detach().numpy()


def parameter(start: Array = START) -> nn.Parameter:
    return nn.Parameter(torch.from_numpy(start.copy()))


def descend(rule: torch.optim.Optimizer, weight: nn.Parameter, rates: list[float]) -> list[Array]:
    """The places of a descent of `curvature * w^2 / 2`, whose gradients are taken as it goes."""
    places = []
    for rate in rates:
        rule.param_groups[0]["lr"] = rate
        weight.grad = torch.from_numpy(CURVATURE) * weight.detach()
        rule.step()
        places.append(weight.detach().numpy().copy())
    return places


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("decay", [0.0, 0.05])
def test_textbook_momentum(momentum: float, decay: float) -> None:
    """v <- a v - eps g; w <- w + v, whatever the rates do."""
    weight = parameter()
    rule = TextbookSGD([weight], lr=1.0, momentum=momentum, weight_decay=decay)
    expected, velocity = START.copy(), np.zeros_like(START)
    for gradient, rate in zip(GRADIENTS, RATES, strict=True):
        velocity = momentum * velocity - rate * (gradient + decay * expected)
        expected = expected + velocity
    np.testing.assert_allclose(run(rule, weight, GRADIENTS, RATES), expected, rtol=1e-12)


@pytest.mark.parametrize("nesterov", [False, True])
def test_textbook_and_torch_part_when_the_rate_changes_and_not_before(nesterov: bool) -> None:
    ours, theirs = parameter(), parameter()
    rules = (
        TextbookSGD([ours], lr=1.0, momentum=0.9, nesterov=nesterov),
        torch.optim.SGD([theirs], lr=1.0, momentum=0.9, nesterov=nesterov),
    )
    before = [
        run(rule, weight, GRADIENTS[:3], RATES[:3])
        for rule, weight in zip(rules, (ours, theirs), strict=True)
    ]
    np.testing.assert_allclose(before[0], before[1], rtol=1e-12)
    after = [
        run(rule, weight, GRADIENTS[3:4], RATES[3:4])
        for rule, weight in zip(rules, (ours, theirs), strict=True)
    ]
    assert np.abs(after[0] - after[1]).min() > 1e-3


def test_how_far_they_part() -> None:
    """One step of g = 1 at rate 1, then one of g = 0 at rate 0.1 coasts 0.9, or torch's 0.09."""
    ours, theirs = parameter(np.zeros((1, 1))), parameter(np.zeros((1, 1)))
    steps = ([np.ones((1, 1)), np.zeros((1, 1))], [1.0, 0.1])
    own = run(TextbookSGD([ours], lr=1.0, momentum=0.9), ours, *steps)
    other = run(torch.optim.SGD([theirs], lr=1.0, momentum=0.9), theirs, *steps)
    assert float(own[0, 0]) == pytest.approx(-1.9)
    assert float(other[0, 0]) == pytest.approx(-1.09)


def test_nesterov_takes_the_gradient_ahead() -> None:
    """v <- a v - eps g(w + a v); w <- w + v. What is stored is w + a v."""
    weight = parameter()
    rule = TextbookSGD([weight], lr=1.0, momentum=0.8, nesterov=True)
    place, velocity = START.copy(), np.zeros_like(START)
    for found, rate in zip(descend(rule, weight, RATES), RATES, strict=True):
        velocity = 0.8 * velocity - rate * CURVATURE * (place + 0.8 * velocity)
        place = place + velocity
        np.testing.assert_allclose(found, place + 0.8 * velocity, rtol=1e-12)


def test_nesterov_on_a_quadratic_in_closed_form() -> None:
    """With x = 1 - eps c, the places obey w'' = (1 + a) x w' - a x w: powers of the roots."""
    rate, momentum = 0.1, 0.9
    shrunk = 1 - rate * CURVATURE.astype(complex)
    root = np.sqrt(((1 + momentum) * shrunk) ** 2 - 4 * momentum * shrunk)
    high, low = (((1 + momentum) * shrunk + sign * root) / 2 for sign in (1, -1))
    # The stored points are those ahead: the first is the start, the second after one step.
    second = START * (1 - rate * CURVATURE * (1 + momentum))
    share = (second - low * START) / (high - low)
    weight = parameter()
    rule = TextbookSGD([weight], lr=rate, momentum=momentum, nesterov=True)
    places = descend(rule, weight, [rate] * 25)
    for number, place in enumerate(places, start=1):
        expected = share * high**number + (START - share) * low**number
        np.testing.assert_allclose(place, expected.real, atol=1e-12)


def test_adagrad() -> None:
    weight = parameter()
    found = run(Adagrad([weight], lr=1.0, epsilon=0.01), weight, GRADIENTS, RATES)
    expected, squares = START.copy(), np.zeros_like(START)
    for gradient, rate in zip(GRADIENTS, RATES, strict=True):
        squares = squares + gradient**2
        expected = expected - rate * gradient / (0.01 + np.sqrt(squares))
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    weight = parameter()
    theirs = run(torch.optim.Adagrad([weight], lr=1.0, eps=0.01), weight, GRADIENTS, RATES)
    np.testing.assert_allclose(found, theirs, rtol=1e-12)


def test_the_first_step_of_adagrad_is_the_rate() -> None:
    weight = parameter()
    found = run(Adagrad([weight], lr=1.0, epsilon=1e-12), weight, GRADIENTS[:1], [0.1])
    np.testing.assert_allclose(found, START - 0.1 * np.sign(GRADIENTS[0]), rtol=1e-9)


@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
def test_rmsprop(momentum: float, nesterov: bool) -> None:
    """The gradients are those at w + a v with Nesterov, which is what is stored."""
    weight = parameter()
    rule = RMSProp([weight], lr=1.0, decay=0.8, epsilon=0.01, momentum=momentum, nesterov=nesterov)
    place, velocity, squares = START.copy(), np.zeros_like(START), np.zeros_like(START)
    ahead = momentum if nesterov else 0.0
    for found, rate in zip(descend(rule, weight, RATES), RATES, strict=True):
        gradient = CURVATURE * (place + ahead * velocity)
        squares = 0.8 * squares + 0.2 * gradient**2
        velocity = momentum * velocity - rate * gradient / np.sqrt(0.01 + squares)
        place = place + velocity
        np.testing.assert_allclose(found, place + ahead * velocity, rtol=1e-12)


def test_the_first_step_of_rmsprop() -> None:
    """r = (1 - rho) g^2, so the step is eps / sqrt(1 - rho), whatever the gradient."""
    weight = parameter()
    rule = RMSProp([weight], lr=1.0, decay=0.9, epsilon=1e-14)
    found = run(rule, weight, GRADIENTS[:1], [0.1])
    expected = START - 0.1 / math.sqrt(0.1) * np.sign(GRADIENTS[0])
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_epsilon_is_inside_the_root_unlike_torchs() -> None:
    """For a gradient of 1e-8: eps g / sqrt(1e-6) here, eps g / (1e-9 + 1e-6) with torch's."""
    small = [np.full((1, 1), 1e-8)]
    weight, other = parameter(np.zeros((1, 1))), parameter(np.zeros((1, 1)))
    found = run(RMSProp([weight], lr=1.0, decay=0.99, epsilon=1e-6), weight, small, [1.0])
    theirs = run(torch.optim.RMSprop([other], lr=1.0, alpha=0.99, eps=1e-6), other, small, [1.0])
    assert float(found[0, 0]) == pytest.approx(-1e-5)
    assert float(theirs[0, 0]) == pytest.approx(-1e-8 / (1e-9 + 1e-6))


RULES: dict[str, Any] = {
    "textbook": lambda weights: TextbookSGD(weights, lr=0.1, momentum=0.9),
    "adagrad": lambda weights: Adagrad(weights, lr=0.1, epsilon=1e-7),
    "rmsprop": lambda weights: RMSProp(weights, lr=0.1, decay=0.9, epsilon=1e-6, momentum=0.5),
}


@pytest.mark.parametrize("name", RULES)
def test_what_has_no_gradient_stays(name: str) -> None:
    moved, still = parameter(), parameter()
    rule: UpdateRule = RULES[name]([moved, still])
    moved.grad = torch.ones_like(moved)
    rule.step()
    assert not np.allclose(moved.detach().numpy(), START)
    np.testing.assert_array_equal(still.detach().numpy(), START)
    assert still not in rule.state


@pytest.mark.parametrize("name", RULES)
def test_a_cleared_state_begins_anew(name: str) -> None:
    """The loop does so when it goes back to other weights."""
    weight, fresh = parameter(), parameter()
    rule, new = RULES[name]([weight]), RULES[name]([fresh])
    run(rule, weight, GRADIENTS[:3], [0.1] * 3)
    rule.state.clear()
    with torch.no_grad():
        weight.copy_(fresh)
    steps = (GRADIENTS[3:], [0.1] * 3)
    np.testing.assert_array_equal(run(rule, weight, *steps), run(new, fresh, *steps))
