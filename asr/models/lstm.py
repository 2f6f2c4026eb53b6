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
from pydantic import Field
from torch import Tensor, nn

from asr.config import Config
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
            (Cho et al. 2014) or `tanh` (a plain recurrent network).
        bidirectional: whether a second half of each layer runs from right to left.
        dropout: in training, the probability that an input of a layer but the first is zero.

    Raises:
        ValueError: an argument out of its range.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        *,
        cell: Cell = "lstm",
        bidirectional: bool = True,
        dropout: float = 0.0,
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
        self.input_size = input_size
        self.output_size = hidden_size * (1 + bidirectional)
        self.cell = cell
        self.dropout = dropout
        self.layers = nn.ModuleList(
            RecurrentLayer(size, hidden_size, cell=cell, bidirectional=bidirectional)
            for size in [input_size] + [self.output_size] * (num_layers - 1)
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
            rows = self._run(join_rows(features, joined), partial(peephole_layer, frames=joined))
            return pad_rows(rows, joined)
        padded = pad_frames(feature_lengths, features.shape[1])
        encoded = self._run(enter(features, padded), partial(padded_layer, frames=padded))
        return leave(encoded, padded)

    def _run(self, encoded: Tensor, compute: Callable[[Tensor, LayerWeights], Tensor]) -> Tensor:
        for index, layer in enumerate(self.layers):
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
        self, input_size: int, hidden_size: int, *, cell: Cell, bidirectional: bool
    ) -> None:
        super().__init__()
        directions, outputs = 1 + bidirectional, GATES[cell] * hidden_size
        self.cell = cell
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
        return LayerWeights(
            self.cell, self.input_weight, self.recurrent_weight, self.bias, self.peepholes
        )

    def forward(self, encoded: Tensor, compute: Callable[[Tensor, LayerWeights], Tensor]) -> Tensor:
        """`compute(encoded, weights)`."""
        return compute(encoded, self.weights())
