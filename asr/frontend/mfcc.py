"""Mel-frequency cepstral coefficients.

Reference: S. Davis, P. Mermelstein. Comparison of parametric representations for monosyllabic word
recognition in continuously spoken sentences. 1980.
"""

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor, nn

from asr.frontend.filter_bank import LogMel, MelConfig, emphasise, with_deltas


class MfccConfig(MelConfig):
    """Cepstral coefficients with derivatives; the filters are those of Graves (2012)."""

    name: Literal["mfcc"]
    num_mels: int = Field(default=26, ge=1)  # filters
    num_cepstra: int = Field(default=13, ge=1)  # coefficients, the 0th (the level) included
    preemphasis: float = Field(default=0.97, ge=0, le=1)  # share of the last sample subtracted
    deltas: int = Field(default=2, ge=0, le=3)  # 1: slopes too, 2: and their slopes

    @field_validator("num_cepstra")
    @classmethod
    def _at_most_num_mels(cls, value: int, info: ValidationInfo) -> int:
        if value > info.data.get("num_mels", value):
            raise ValueError(f"at most num_mels ({info.data['num_mels']})")
        return value


class Mfcc(nn.Module):
    """The first coefficients of the cosine transform of log-mel energies, and their derivatives.

    Args:
        mel: the filters; its window is usually "hamming" here.
        preemphasis: share of the sample before that is subtracted before the filters.
        num_cepstra: coefficients kept, from the 0th on; at most the filters.
        deltas: how often derivatives are taken, 0 … 3.

    Attributes:
        sample_rate: samples per second that the waveforms must have.
        window: samples in a frame.
        hop: samples from the start of a frame to the start of the next.
        num_bins: features in a frame, num_cepstra (deltas + 1).
        num_blocks: deltas + 1 runs of num_cepstra bins.
    """

    cosines: Tensor

    def __init__(
        self, mel: LogMel, *, preemphasis: float = 0.97, num_cepstra: int = 13, deltas: int = 2
    ) -> None:
        from torchaudio.functional import create_dct

        super().__init__()
        if num_cepstra > mel.num_bins:
            raise ValueError(f"{num_cepstra} cepstra need as many filters, got {mel.num_bins}")
        self.mel = mel
        self.preemphasis = preemphasis
        self.sample_rate = mel.sample_rate
        self.window = mel.window
        self.hop = mel.hop
        self.num_blocks = deltas + 1
        self.num_bins = num_cepstra * self.num_blocks
        cosines = create_dct(num_cepstra, mel.num_bins, norm="ortho")
        self.register_buffer("cosines", cosines, persistent=False)

    def forward(self, waveforms: Tensor, waveform_lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Cepstral features.

        Args:
            waveforms: (B, N) float32 samples in -1 … 1.
            waveform_lengths: (B,) int64, samples in each utterance.

        Returns:
            (B, T, F) features, zero beyond each length, and their (B,) lengths in frames.
        """
        emphasised = emphasise(waveforms, self.preemphasis)
        log_mel, feature_lengths = self.mel(emphasised, waveform_lengths)
        cepstra = log_mel @ self.cosines
        return with_deltas(cepstra, feature_lengths, self.num_blocks - 1), feature_lengths
