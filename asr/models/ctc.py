"""The CTC network: front end, deep recurrent stack, one linear output layer."""

import torch
from torch import Tensor, nn

from asr.frontend.frontend import Frontend
from asr.models.lstm import RecurrentStack


class CTCModel(nn.Module):
    """Waveforms to label scores (Graves & Jaitly 2014, section 2; Graves et al. 2013).

    `Pr(k, t | x) = softmax(y_t)_k` with `y_t` the output layer on both directions of the top layer.
    """

    def __init__(self, frontend: Frontend, encoder: RecurrentStack, vocabulary_size: int) -> None:
        super().__init__()
        self.frontend = frontend
        self.encoder = encoder
        self.output = nn.Linear(encoder.output_size, vocabulary_size)

    def forward(self, waveforms: Tensor, waveform_lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities of the labels.

        Args:
            waveforms: (B, N) float32, zero beyond each length.
            waveform_lengths: (B,) int64, samples.

        Returns:
            log_probs: (B, T, V) float32, natural log, normalised over V.
            log_prob_lengths: (B,) int64, frames.
        """
        features, lengths = self.frontend(waveforms, waveform_lengths)
        encoded = self.encoder(features, lengths)
        logits = self.output(encoded)
        return torch.log_softmax(logits.float(), dim=-1), lengths
