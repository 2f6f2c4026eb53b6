"""Deep (bi)directional recurrent networks over padded batches, exact for every utterance.

What an utterance gets does not depend on what it is batched with: padding is never read and the
reversed direction begins at an utterance's own last frame. Both directions of a layer feed both
directions of the next (Graves & Jaitly 2014, section 2).

On a CPU the cells `lstm` and `peephole` run compiled over the real frames alone (`peephole.py`);
all else runs with torch's kernels on the padded batch (`padded.py`), on any device.
"""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor, nn

from asr.config import Config
from asr.models.batch_norm import FrameBatchNorm
from asr.models.joined import join_frames, join_rows, pad_rows
from asr.models.padded import enter, leave, pad_frames, padded_layer
from asr.models.peephole import peephole_layer
from asr.models.weights import GATES, Cell, LayerWeights

COMPILED_CELLS = ("lstm", "peephole")
COMPILED_TYPES = (torch.float32, torch.float64, torch.bfloat16)


class EncoderConfig(Config):
    """The section `[encoder]` of a recipe."""

    cell: Cell = "lstm"
    num_layers: int = Field(default=3, ge=1)
    hidden_size: int = Field(default=320, ge=1)  # cells in each direction
    bidirectional: bool = True
    dropout: float = Field(default=0.0, ge=0, lt=1)  # of what each layer but the first gets
    # Left out when they are not used: other bundles and run folders are as they were before.
    leak: float = Field(  # share of its state that a unit keeps; of cell "leaky" alone
        default=0.0, ge=0, lt=1, validate_default=True, exclude_if=lambda value: value == 0
    )
    # normalise what each layer but the first gets over the frames of a batch
    batch_norm: bool = Field(default=False, exclude_if=lambda value: not value)

    @field_validator("leak")
    @classmethod
    def _has_its_cell(cls, leak: float, info: ValidationInfo) -> float:
        return check_leak(leak, info.data.get("cell"))


def check_leak(leak: float, cell: Cell | None, key: str = "cell") -> float:
    """The leak of a cell in a recipe, which says it by a `key`.

    Raises:
        ValueError: a leaky cell has none, or another cell has one.
    """
    if cell == "leaky" and leak == 0:
        raise ValueError(f"above 0 where {key} is 'leaky' (without a leak it is 'tanh')")
    if cell is not None and cell != "leaky" and leak != 0:
        raise ValueError(f"0 where {key} is {cell!r}")
    return leak


class RecurrentStack(nn.Module):
    """Layers of recurrent cells, each (bi)directional.

    One bias a gate, unlike torch's two of which only the sum matters; for `gru`, torch's with
    `b_hn = 0`. Each direction of a layer with F inputs has, with G gates,
    `G * H * (F + H + 1)` weights, and 3 * H more for `peephole`.

    Args:
        input_size: F, of the features.
        hidden_size: H, cells in each direction.
        num_layers: how many layers.
        cell: `lstm`, `peephole` (an LSTM whose gates see the cell: Graves et al. 2013), `gru`
            (Cho et al. 2014), `tanh` (a plain recurrent network) or `leaky` (one whose units keep
            a share of their state: `leaky.py`).
        bidirectional: whether a second half of each layer runs from right to left.
        dropout: in training, the probability that an input of a layer but the first is zero.
        leak: that share, for `leaky`; with 0 it is `tanh`.
        batch_norm: whether the inputs of each layer but the first are normalised over the real
            frames of a batch (`batch_norm.py`), before any dropout.

    Raises:
        ValueError: an argument out of its range.
    """

    def __init__(  # noqa: PLR0913 - what a recipe's [encoder] has
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        *,
        cell: Cell = "lstm",
        bidirectional: bool = True,
        dropout: float = 0.0,
        leak: float = 0.0,
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        if cell not in GATES:
            raise ValueError(f"cell must be one of {', '.join(GATES)}, got {cell!r}")
        if min(input_size, hidden_size, num_layers) < 1:
            raise ValueError(
                "input_size, hidden_size and num_layers must be at least 1, "
                f"got {input_size}, {hidden_size} and {num_layers}"
            )
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, got {dropout}")
        if not 0 <= leak < 1 or (leak and cell != "leaky"):
            raise ValueError(
                f"leak must be at least 0 and below 1, and 0 but for leaky, got {leak} for {cell}"
            )
        self.input_size = input_size
        self.output_size = hidden_size * (1 + bidirectional)
        self.cell, self.leak = cell, leak
        self.dropout = dropout
        self.layers = nn.ModuleList(
            RecurrentLayer(size, hidden_size, cell=cell, bidirectional=bidirectional, leak=leak)
            for size in [input_size] + [self.output_size] * (num_layers - 1)
        )
        self.norms = nn.ModuleList(
            FrameBatchNorm(self.output_size) for _ in range((num_layers - 1) * batch_norm)
        )

    def forward(self, features: Tensor, feature_lengths: Tensor) -> Tensor:
        """What the top layer makes of each frame.

        Args:
            features: (B, T, input_size); what is beyond each length has no effect.
            feature_lengths: (B,) int64, frames, 0 to T.

        Returns:
            (B, T, output_size), zero beyond each length; in the weights' type, or autocast's.

        Raises:
            ValueError: shapes or lengths that do not fit.
        """
        self._check(features, feature_lengths)
        feature_lengths = feature_lengths.to(features.device)
        if self._is_compiled(features):
            joined = join_frames(feature_lengths, features.shape[1])
            rows = join_rows(features, joined)
            every = torch.ones(len(rows), 1, dtype=torch.bool)
            return pad_rows(self._run(rows, every, partial(peephole_layer, frames=joined)), joined)
        padded = pad_frames(feature_lengths, features.shape[1])
        entered = enter(features, padded)
        encoded = self._run(entered, padded.real, partial(padded_layer, frames=padded))
        return leave(encoded, padded)

    def _run(
        self, encoded: Tensor, real: Tensor, compute: Callable[[Tensor, LayerWeights], Tensor]
    ) -> Tensor:
        for index, layer in enumerate(self.layers):
            if index and self.norms:
                encoded = self.norms[index - 1](encoded, real)
            if index and self.dropout:
                encoded = F.dropout(encoded, self.dropout, self.training)
            encoded = layer(encoded, compute)
        return encoded

    def _is_compiled(self, features: Tensor) -> bool:
        return (
            self.cell in COMPILED_CELLS
            and features.device.type == "cpu"
            and next(self.parameters()).dtype in COMPILED_TYPES
        )

    def _check(self, features: Tensor, feature_lengths: Tensor) -> None:
        if features.ndim != 3 or features.shape[2] != self.input_size:
            raise ValueError(
                f"features must be (B, T, {self.input_size}), got {tuple(features.shape)}"
            )
        batch, num_frames, _ = features.shape
        if feature_lengths.shape != (batch,):
            raise ValueError(
                f"feature_lengths must be ({batch},), got {tuple(feature_lengths.shape)}"
            )
        if batch and not 0 <= feature_lengths.min() <= feature_lengths.max() <= num_frames:
            raise ValueError(
                f"feature_lengths must be 0 to {num_frames}, got {feature_lengths.tolist()}"
            )


class RecurrentLayer(nn.Module):
    """The weights of one layer; how to compute it is an argument of its call.

    Input weights begin uniform with Glorot's variance for each gate, recurrent weights uniform in
    `±1 / sqrt(H)`, biases and peepholes at zero, but the forget gates' biases at one: a new network
    remembers (Gers et al. 2000). With CTC this learns sooner than torch's `±1 / sqrt(H)` for all,
    and no later than orthogonal recurrent weights, which take seconds to draw.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        cell: Cell,
        bidirectional: bool,
        leak: float = 0.0,
    ) -> None:
        super().__init__()
        directions, outputs = 1 + bidirectional, GATES[cell] * hidden_size
        self.cell, self.leak = cell, leak
        self.input_weight = nn.Parameter(torch.empty(directions, outputs, input_size))
        self.recurrent_weight = nn.Parameter(torch.empty(directions, outputs, hidden_size))
        self.bias = nn.Parameter(torch.empty(directions, outputs))
        self.peepholes = (
            nn.Parameter(torch.empty(directions, 3, hidden_size)) if cell == "peephole" else None
        )
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw the weights anew from torch's random numbers."""
        gates = GATES[self.cell]
        for direction in self.input_weight:
            for gate in direction.chunk(gates):
                nn.init.xavier_uniform_(gate)
        bound = self.recurrent_weight.shape[2] ** -0.5
        nn.init.uniform_(self.recurrent_weight, -bound, bound)
        nn.init.zeros_(self.bias)
        if gates == 4:
            nn.init.ones_(self.bias.chunk(gates, dim=1)[1])
        if self.peepholes is not None:
            nn.init.zeros_(self.peepholes)

    def weights(self) -> LayerWeights:
        """The parameters under the names of the ways of computing."""
        matrices = (self.input_weight, self.recurrent_weight)
        return LayerWeights(self.cell, *matrices, self.bias, self.peepholes, self.leak)

    def forward(self, encoded: Tensor, compute: Callable[[Tensor, LayerWeights], Tensor]) -> Tensor:
        """`compute(encoded, weights)`."""
        return compute(encoded, self.weights())
