"""Leaky units: their limits and what gradients do in them; their equations are in test_lstm."""

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from asr.config import parse
from asr.errors import ConfigError
from asr.models.leaky import leaky_recurrence, leaky_step
from asr.models.lstm import EncoderConfig
from tests.models.test_lstm import LENGTHS, batch_of, gradients, stack_of


def test_without_a_leak_it_is_the_plain_unit() -> None:
    lengths = torch.tensor(LENGTHS)
    plain, leaky = stack_of("tanh"), stack_of("leaky", leak=0.0)
    features = batch_of()
    expected = plain(features, lengths)
    output = leaky(features, lengths)
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-14)
    for own, theirs in zip(
        gradients(output, leaky, features), gradients(expected, plain, features), strict=True
    ):
        torch.testing.assert_close(own, theirs, rtol=0, atol=1e-13)
    assert leaky.state_dict().keys() == plain.state_dict().keys()


@pytest.mark.parametrize("leak", [0.2, 0.9])
def test_without_recurrent_weights_it_is_a_running_mean(leak: float) -> None:
    """h_t = (1 - alpha) sum over s of alpha^(t - s) tanh(x_s)."""
    torch.manual_seed(3)
    inputs = torch.randn(2, 6, 3, 4, dtype=torch.float64)
    hidden = leaky_recurrence(inputs, torch.zeros(2, 4, 4, dtype=torch.float64), leak)
    for t in range(6):
        shares = [(1 - leak) * leak ** (t - s) for s in range(t + 1)]
        summed = zip(shares, torch.tanh(inputs).unbind(1), strict=False)
        expected = torch.stack([share * new for share, new in summed]).sum(0)
        torch.testing.assert_close(hidden[:, t], expected, rtol=1e-12, atol=1e-14)


def state_gradient(recurrent: Tensor, leak: float, steps: int, inputs: Tensor) -> Tensor:
    """(H, H) the derivatives of the state after `steps` with respect to that before them."""

    def run(start: Tensor) -> Tensor:
        hidden = start.view(1, 1, -1)
        for _ in range(steps):
            hidden = leaky_step(inputs.view(1, 1, -1), hidden, recurrent.unsqueeze(0), leak)
        return hidden.flatten()

    jacobian = torch.autograd.functional.jacobian(run, torch.full((len(recurrent),), 0.1).double())
    assert isinstance(jacobian, Tensor)
    return jacobian


def test_gradients_of_saturated_units_fall_by_the_leak_and_no_more() -> None:
    """Where tanh is flat the kept share is the only way back: alpha a step."""
    torch.manual_seed(4)
    recurrent = torch.randn(3, 3, dtype=torch.float64)
    far = torch.full((3,), 50.0, dtype=torch.float64)
    jacobian = state_gradient(recurrent, 0.9, 20, far)
    torch.testing.assert_close(jacobian, 0.9**20 * torch.eye(3).double(), rtol=1e-12, atol=1e-14)
    assert not state_gradient(recurrent, 0.0, 20, far).any(), "nothing is left of the plain unit's"


@pytest.mark.parametrize("norm", [0.5, 0.9])
def test_gradients_of_plain_units_vanish_when_the_weights_are_small(norm: float) -> None:
    """Of norm s < 1: |dh_T / dh_t| <= s^(T - t), the product of s and slopes of at most 1."""
    torch.manual_seed(5)
    recurrent = torch.randn(6, 6, dtype=torch.float64)
    recurrent *= norm / torch.linalg.matrix_norm(recurrent, 2)
    inputs = torch.zeros(6, dtype=torch.float64)
    norms = [
        float(torch.linalg.matrix_norm(state_gradient(recurrent, 0.0, steps, inputs), 2))
        for steps in (1, 5, 20)
    ]
    for found, steps in zip(norms, (1, 5, 20), strict=True):
        assert 0 < found <= norm**steps
    kept = torch.linalg.matrix_norm(state_gradient(recurrent, 0.9, 20, inputs), 2)
    assert norms[-1] < float(kept) <= (0.9 + 0.1 * norm) ** 20


def test_no_frames() -> None:
    weights = torch.zeros(2, 4, 4)
    assert leaky_recurrence(torch.zeros(2, 0, 3, 4), weights, 0.5).shape == (2, 0, 3, 4)


def test_config() -> None:
    config = EncoderConfig(cell="leaky", leak=0.5)
    assert config.model_dump()["leak"] == 0.5
    assert not {"leak", "batch_norm"} & EncoderConfig(cell="tanh").model_dump().keys()
    with pytest.raises(ConfigError, match="'leak' must be above 0 where cell is 'leaky'"):
        parse(EncoderConfig, {"cell": "leaky"}, "recipe.toml")
    with pytest.raises(ConfigError, match=r"'leak' must be 0 where cell is 'tanh', got 0\.5"):
        parse(EncoderConfig, {"cell": "tanh", "leak": 0.5}, "recipe.toml")
    with pytest.raises(ValidationError, match="less than 1"):
        EncoderConfig(cell="leaky", leak=1.0)
