"""A recurrent network over tokens: what a language model and a prediction network have in common.

Token 0 is no token but the beginning, before the first; the network has read it and the first u
tokens when it gives its u-th vector. With `embedding_size=0` tokens are one-hot vectors, and the
beginning is the zero vector, as in the papers of Graves.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asr.models.lstm import RecurrentStack
from asr.models.stepping import start_states, step
from asr.models.weights import Cell

BEGINNING = 0


class TokenNetwork(nn.Module):
    """The embedding of tokens and the recurrent stack over it; subclasses say what comes of it.

    Args:
        vocabulary_size: V, token 0 included.
        embedding_size: of the vector that a token becomes; 0: one-hot, V - 1.
        hidden_size: H, cells in each layer.
        num_layers: L, how many layers.
        cell: of `asr.models.lstm.RecurrentStack`.
        dropout: in training, the probability that an input of a layer, or of what comes after, is
            zero.
        leak: of the cell `leaky`.
    """

    def __init__(
        self,
        vocabulary_size: int,
        *,
        embedding_size: int,
        hidden_size: int,
        num_layers: int,
        cell: Cell = "lstm",
        dropout: float = 0.0,
        leak: float = 0.0,
    ) -> None:
        super().__init__()
        self.vocabulary_size = vocabulary_size
        self.dropout = dropout
        self.embedding: nn.Module = (
            nn.Embedding(vocabulary_size, embedding_size)
            if embedding_size
            else OneHot(vocabulary_size)
        )
        self.stack = RecurrentStack(
            embedding_size or vocabulary_size - 1,
            hidden_size,
            num_layers,
            cell=cell,
            bidirectional=False,
            dropout=dropout,
            leak=leak,
        )

    def encode(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """What the network makes of every beginning of each sequence.

        Args:
            tokens: (B, U) int64; what is beyond each length has no effect.
            lengths: (B,) int64, 0 to U.

        Returns:
            (B, U + 1, H): `[:, u]` after the first u tokens; zero beyond `[:, length]`.
        """
        inputs = F.pad(tokens, (1, 0), value=BEGINNING)
        return self._dropped(self.stack(self._dropped(self.embedding(inputs)), lengths + 1))

    def begin(self, batch: int) -> Tensor:
        """The states (K, L, P, H) of K = `batch` sequences before they begin.

        A row is a sequence: rows can be gathered and scattered. See `asr.models.stepping`.
        """
        return start_states(self.stack, batch)

    def advance(self, tokens: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
        """One more token of each sequence, the first of which is the beginning. No dropout.

        Args:
            tokens: (K,) int64.
            states: (K, L, P, H) from `begin` or `advance`.

        Returns:
            What the top layer gives (K, H), and the states after the token.
        """
        return step(self.stack, self.embedding(tokens), states)

    def _dropped(self, values: Tensor) -> Tensor:
        return F.dropout(values, self.dropout, self.training) if self.dropout else values


class OneHot(nn.Module):
    """Tokens to vectors of zeros with a one each; token 0 to zeros alone."""

    def __init__(self, vocabulary_size: int) -> None:
        super().__init__()
        vectors = torch.eye(vocabulary_size)[:, 1:].contiguous()
        self.register_buffer("vectors", vectors, persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """(…, V - 1) of tokens (…)."""
        return F.embedding(tokens, self.get_buffer("vectors"))
