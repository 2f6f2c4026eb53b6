"""The weights of one recurrent layer, as the ways of computing it take them."""

from typing import Literal, NamedTuple

from torch import Tensor

Cell = Literal["lstm", "peephole", "gru", "tanh", "leaky"]
GATES: dict[Cell, int] = {"lstm": 4, "peephole": 4, "gru": 3, "tanh": 1, "leaky": 1}


class LayerWeights(NamedTuple):
    """D directions of time (left to right, then right to left), G gates in torch's order."""

    cell: Cell
    input: Tensor  # (D, G * H, F)
    recurrent: Tensor  # (D, G * H, H)
    bias: Tensor  # (D, G * H)
    peepholes: Tensor | None  # (D, 3, H) of input, forget and output gate; cell peephole only
    leak: float = 0.0  # share of its state that a unit keeps; cell leaky only
