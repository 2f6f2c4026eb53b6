"""Step by step is the same as all at once."""

import pytest
import torch

from asr.models.lstm import RecurrentStack
from asr.models.stepping import start_states, step
from tests.models.test_lstm import CELLS, stack_of


@pytest.mark.parametrize("cell", CELLS)
def test_steps_are_the_long_pass(cell: str) -> None:
    stack = stack_of(cell, bidirectional=False, num_layers=3)
    features = torch.randn(5, 6, 4, dtype=torch.float64)
    expected = stack(features, torch.full((5,), 6))
    states = start_states(stack, 5)
    for t in range(6):
        output, states = step(stack, features[:, t], states)
        torch.testing.assert_close(output, expected[:, t], rtol=0, atol=1e-12)


@pytest.mark.parametrize("cell", CELLS)
def test_sequences_part_and_join_between_steps(cell: str) -> None:
    """Rows of states can be gathered in any order, several times or not at all."""
    stack = stack_of(cell, bidirectional=False)
    features = torch.randn(3, 2, 4, dtype=torch.float64)
    _, states = step(stack, features[:, 0], start_states(stack, 3))
    order = torch.tensor([2, 0, 0, 2, 2])
    output, _ = step(stack, features[order, 1], states[order])
    expected = stack(features, torch.full((3,), 2))[order, 1]
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("cell", CELLS)
def test_gradients_are_those_of_the_long_pass(cell: str) -> None:
    stack = stack_of(cell, bidirectional=False)
    features = torch.randn(2, 3, 4, dtype=torch.float64)
    stack(features, torch.tensor([3, 3]))[:, -1].sum().backward()
    expected = [parameter.grad for parameter in stack.parameters()]
    stack.zero_grad()
    states = start_states(stack, 2)
    for t in range(3):
        output, states = step(stack, features[:, t], states)
    output.sum().backward()
    for parameter, gradient in zip(stack.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=0, atol=1e-12)


def test_no_sequences() -> None:
    stack = stack_of("lstm", bidirectional=False)
    output, states = step(stack, torch.zeros(0, 4, dtype=torch.float64), start_states(stack, 0))
    assert output.shape == (0, 3)
    assert states.shape == (0, 2, 2, 3)


def test_both_directions_are_refused() -> None:
    with pytest.raises(ValueError, match="also reads from right to left has no next step"):
        start_states(RecurrentStack(2, 2, 1), 1)
