"""A recurrent network that predicts the next token from all tokens before it.

`h_t = LSTM(E[w_t], h_{t-1})`, `p(w_{t+1}) = softmax(W h_t + b)`. Tokens are those of a tokenizer.
Token 0, which is the blank where the tokenizer serves CTC, is here the boundary of a sentence: the
input before the first token, and the output after the last. So a sentence of U tokens has U + 1
predictions, and the probabilities of all sentences sum to one.

Reference: Graves, "Generating Sequences With Recurrent Neural Networks", 2013; dropout on what is
not recurrent alone: Zaremba, Sutskever & Vinyals, "Recurrent Neural Network Regularization", 2014.
"""

import torch
import torch.nn.functional as F
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor, nn

from asr.config import Config
from asr.models.lstm import check_leak
from asr.models.tokens import BEGINNING, TokenNetwork
from asr.models.weights import Cell

BOUNDARY = BEGINNING


class NeuralConfig(Config):
    """The section `[model]` of a language model's recipe."""

    cell: Cell = "lstm"
    num_layers: int = Field(default=2, ge=1)
    hidden_size: int = Field(default=256, ge=1)
    embedding_size: int = Field(default=64, ge=0)  # 0: one-hot vectors, the boundary all zeros
    dropout: float = Field(default=0.0, ge=0, lt=1)  # of what each layer and the output get
    # Of the cell "leaky". Left out when 0: other bundles and run folders are as they were before.
    leak: float = Field(
        default=0.0, ge=0, lt=1, validate_default=True, exclude_if=lambda value: value == 0
    )

    @field_validator("leak")
    @classmethod
    def _has_its_cell(cls, leak: float, info: ValidationInfo) -> float:
        return check_leak(leak, info.data.get("cell"))


class NeuralNetwork(TokenNetwork):
    """Tokens to the log-probabilities of the next ones; arguments as for `TokenNetwork`."""

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
        super().__init__(
            vocabulary_size,
            embedding_size=embedding_size,
            hidden_size=hidden_size,
            num_layers=num_layers,
            cell=cell,
            dropout=dropout,
            leak=leak,
        )
        self.output = nn.Linear(hidden_size, vocabulary_size)

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """What may follow each beginning of each sentence.

        Args:
            tokens: (B, U) int64; what is beyond each length has no effect.
            lengths: (B,) int64, 0 to U.

        Returns:
            (B, U + 1, V) float32, natural log, normalised over V: `[:, u]` after the first u
            tokens. Beyond `[:, length]` they mean nothing.
        """
        return self._log_probs(self.encode(tokens, lengths))

    def step(self, tokens: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
        """One more token of each sentence; the first one is the boundary. No dropout.

        Args:
            tokens: (K,) int64.
            states: (K, L, P, H) from `begin` or `step`.

        Returns:
            log_probs: (K, V) float32 of what follows, natural, normalised over V.
            states: after the token.
        """
        encoded, states = self.advance(tokens, states)
        return self._log_probs(encoded), states

    def _log_probs(self, encoded: Tensor) -> Tensor:
        # In float32 whatever autocast makes of the product: a difference of large numbers.
        return torch.log_softmax(self.output(encoded).float(), dim=-1)


def build_network(config: NeuralConfig, vocabulary_size: int) -> NeuralNetwork:
    """The untrained network of a config."""
    return NeuralNetwork(vocabulary_size, **config.model_dump())


def config_of(network: NeuralNetwork) -> NeuralConfig:
    """The config that `build_network` would make a network like this one of."""
    stack, embedding = network.stack, network.embedding
    return NeuralConfig(
        cell=stack.cell,
        num_layers=len(stack.layers),
        hidden_size=stack.output_size,
        embedding_size=embedding.embedding_dim if isinstance(embedding, nn.Embedding) else 0,
        dropout=network.dropout,
        leak=stack.leak,
    )


def sentence_losses(
    network: NeuralNetwork, tokens: Tensor, lengths: Tensor, *, label_smoothing: float = 0.0
) -> Tensor:
    """(B,) nats that each sentence costs with its end, differentiable.

    Args:
        network: what predicts.
        tokens: (B, U) int64, zero beyond each length.
        lengths: (B,) int64.
        label_smoothing: s, from 0 to below 1: each target is its token with the probability
            `1 - s`, and any of the V - 1 others with `s / (V - 1)`, the boundary included. The
            least cost is then the entropy of such targets.
    """
    log_probs = network(tokens, lengths)
    targets = F.pad(tokens, (0, 1), value=BOUNDARY)
    losses = F.nll_loss(log_probs.flatten(0, 1), targets.flatten(), reduction="none")
    if label_smoothing:
        others = -log_probs.flatten(0, 1).sum(1) - losses
        share = label_smoothing / (log_probs.shape[2] - 1)
        losses = (1 - label_smoothing) * losses + share * others
    real = torch.arange(targets.shape[1], device=lengths.device) <= lengths.unsqueeze(1)
    return torch.where(real, losses.view_as(targets), 0).sum(1)
