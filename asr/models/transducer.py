"""The transducer network: an encoder of audio, a prediction network of tokens, and what joins them.

At node (t, u) the joint network gives the logits of what comes next, from what the encoder makes of
frame t and the prediction network of the first u tokens. Each is projected once; only what depends
on both is computed for every node.

Reference: Graves, "Sequence transduction with recurrent neural networks", 2012; Graves, Mohamed and
Hinton, "Speech recognition with deep recurrent neural networks", ICASSP 2013, section 3.
"""

from typing import Literal

import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor, nn

from asr.config import Config
from asr.frontend.frontend import Frontend
from asr.models.lstm import RecurrentStack, check_leak
from asr.models.tokens import TokenNetwork
from asr.models.weights import Cell

JointKind = Literal["tanh", "additive"]


class TransducerConfig(Config):
    """Train an RNN transducer; the prediction network is that of Graves et al. 2013 by default."""

    name: Literal["transducer"]
    joint: JointKind = "tanh"
    joint_size: int = Field(default=250, ge=1)  # of "tanh"; "additive" has none
    prediction_cell: Cell = "lstm"
    prediction_layers: int = Field(default=1, ge=1)
    prediction_size: int = Field(default=250, ge=1)
    prediction_embedding: int = Field(default=0, ge=0)  # 0: one-hot, the beginning all zeros
    prediction_dropout: float = Field(default=0.0, ge=0, lt=1)
    ctc_weight: float = Field(default=0.0, ge=0)  # of a CTC loss of the encoder
    # Of the cell "leaky". Left out when 0: other bundles and run folders are as they were before.
    prediction_leak: float = Field(
        default=0.0, ge=0, lt=1, validate_default=True, exclude_if=lambda value: value == 0
    )

    @field_validator("prediction_leak")
    @classmethod
    def _has_its_cell(cls, leak: float, info: ValidationInfo) -> float:
        return check_leak(leak, info.data.get("prediction_cell"), "prediction_cell")


class PredictionNetwork(TokenNetwork):
    """What the tokens so far say of the next one; arguments as for `TokenNetwork`."""

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """(B, U + 1, H), see `TokenNetwork.encode`."""
        return self.encode(tokens, lengths)


class TanhJoint(nn.Module):
    """`y = W tanh(l + p) + b` (Graves, Mohamed & Hinton 2013).

    Args:
        joint_size: J.
        vocabulary_size: V, blank included.
    """

    def __init__(self, joint_size: int, vocabulary_size: int) -> None:
        super().__init__()
        self.output = nn.Linear(joint_size, vocabulary_size)

    def forward(self, encoded: Tensor, predicted: Tensor) -> Tensor:
        """(…, V) logits of projections (…, J) that can be added."""
        logits: Tensor = self.output(torch.tanh(encoded + predicted))
        return logits


class AdditiveJoint(nn.Module):
    """`y = f + g`: the product of two distributions, normalised again (Graves 2012)."""

    def forward(self, encoded: Tensor, predicted: Tensor) -> Tensor:
        """(…, V) logits of projections (…, V) that can be added."""
        return encoded + predicted


class TransducerModel(nn.Module):
    """Waveforms and tokens to what `joint_transducer_loss` and the decoders take.

    Args:
        frontend: waveforms to features.
        encoder: features to (B, T, E), as for CTC.
        prediction: tokens to (B, U + 1, P).
        joint: "tanh" (2013), or "additive" (2012), which has no size of its own: J is V.
        joint_size: J.
        with_ctc: whether there is an output layer for a CTC loss of the encoder as well.
    """

    def __init__(
        self,
        frontend: Frontend,
        encoder: RecurrentStack,
        prediction: PredictionNetwork,
        *,
        joint: JointKind = "tanh",
        joint_size: int = 250,
        with_ctc: bool = False,
    ) -> None:
        super().__init__()
        self.frontend, self.encoder, self.prediction = frontend, encoder, prediction
        vocabulary_size, hidden = prediction.vocabulary_size, prediction.stack.output_size
        self.joint: nn.Module
        self.encoder_projection: nn.Module
        if joint == "additive":
            self.encoder_projection = nn.Linear(encoder.output_size, vocabulary_size)
            self.prediction_projection = nn.Linear(hidden, vocabulary_size)
            self.joint = AdditiveJoint()
        else:
            # Two linear layers, as in the paper: l = W_f h_f + W_b h_b + b_l, then W_l l.
            self.encoder_projection = nn.Sequential(
                nn.Linear(encoder.output_size, joint_size),
                nn.Linear(joint_size, joint_size, bias=False),
            )
            self.prediction_projection = nn.Linear(hidden, joint_size)
            self.joint = TanhJoint(joint_size, vocabulary_size)
        size = vocabulary_size if joint == "additive" else joint_size
        self.ctc_output = nn.Linear(size, vocabulary_size) if with_ctc else None

    def forward(self, waveforms: Tensor, waveform_lengths: Tensor) -> tuple[Tensor, Tensor]:
        """What the encoder makes of the frames, projected.

        Args:
            waveforms: (B, N) float32, zero beyond each length.
            waveform_lengths: (B,) int64, samples.

        Returns:
            encoded: (B, T, J) float32.
            lengths: (B,) int64, frames.
        """
        features, lengths = self.frontend(waveforms, waveform_lengths)
        projected: Tensor = self.encoder_projection(self.encoder(features, lengths))
        return projected.float(), lengths

    def predict(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """(B, U + 1, J) float32: what the prediction network makes of every beginning, projected.

        Args:
            tokens: (B, U) int64; what is beyond each length has no effect.
            lengths: (B,) int64.
        """
        projected: Tensor = self.prediction_projection(self.prediction(tokens, lengths))
        return projected.float()

    def begin(self, batch: int) -> Tensor:
        """The prediction network's states (K, L, P, H) before the beginning; see `TokenNetwork`."""
        return self.prediction.begin(batch)

    def advance(self, tokens: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
        """One more token, the first of which is the beginning: (K, J) as `predict`, and states.

        Args:
            tokens: (K,) int64.
            states: (K, L, P, H) from `begin` or `advance`.
        """
        hidden, states = self.prediction.advance(tokens, states)
        return self.prediction_projection(hidden).float(), states

    def ctc_log_probs(self, encoded: Tensor) -> Tensor:
        """(B, T, V) float32: what the frames say by themselves, normalised over V.

        Args:
            encoded: (B, T, J) of `forward`.

        Raises:
            ValueError: there is no output layer for it.
        """
        if self.ctc_output is None:
            raise ValueError("a transducer without with_ctc has no CTC output")
        return torch.log_softmax(self.ctc_output(encoded).float(), dim=-1)
