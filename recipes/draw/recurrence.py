"""The LSTM of DRAW, one step at a time: one matrix product for all gates."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Cell(nn.Module):
    """An LSTM with forget gates, without peepholes; what torch calls `LSTMCell`.

    Part of its input may be the same at every step: its product with the weights is worked out
    once, by `fixed`.

    Args:
        input_size: of the input that changes.
        hidden_size: cells.
        fixed_size: of the input that stays.
    """

    def __init__(self, input_size: int, hidden_size: int, *, fixed_size: int = 0) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        limit = 1.0 / math.sqrt(hidden_size)

        def drawn(columns: int) -> nn.Parameter:  # rows: of the gates i, f, o and of the input g
            return nn.Parameter(torch.empty(4 * hidden_size, columns).uniform_(-limit, limit))

        # Two parameters: the gradient of a part of one would be as large as all of it, each step.
        self.weights = drawn(input_size + hidden_size)
        self.fixed_weights = drawn(fixed_size) if fixed_size else None
        self.biases = nn.Parameter(torch.zeros(4 * hidden_size))

    def fixed(self, inputs: Tensor) -> Tensor:
        """What the biases and `inputs` (B, fixed_size) add to the gates: (B, 4 hidden_size)."""
        if self.fixed_weights is None:
            return self.biases
        return F.linear(inputs, self.fixed_weights, self.biases)

    def forward(
        self, inputs: Tensor, state: tuple[Tensor, Tensor], fixed: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The next output and cells.

        Args:
            inputs: (B, input_size).
            state: output and cells before it, (B, hidden_size) each.
            fixed: what `fixed` gave; none when no input stays.
        """
        output, cells = state
        gates = torch.addmm(
            self.biases if fixed is None else fixed,
            torch.cat([inputs, output], dim=1),
            self.weights.T,
        )
        three = 3 * self.hidden_size
        i, f, o = torch.sigmoid(gates[:, :three]).chunk(3, dim=1)
        cells = f * cells + i * torch.tanh(gates[:, three:])
        return o * torch.tanh(cells), cells
