"""Cepstral coefficients against the sum of cosines that defines them."""

import math

import numpy as np
import pytest
import torch

from asr.frontend.filter_bank import LogMel, emphasise
from asr.frontend.mfcc import Mfcc


def test_cepstra_are_the_orthonormal_cosine_transform_of_log_mels() -> None:
    waveform = 0.1 * torch.randn(1, 2000, generator=torch.Generator().manual_seed(0))
    length, mel = torch.tensor([2000]), LogMel(num_mels=26, window_shape="hamming")
    log_mel = mel(emphasise(waveform, 0.97), length)[0][0].double().numpy()
    k, n = np.arange(13)[:, None], np.arange(26)
    cosines = np.sqrt(2 / 26) * np.cos(math.pi * k * (2 * n + 1) / 52)
    cosines[0] /= np.sqrt(2)
    features, lengths = Mfcc(mel, deltas=0)(waveform, length)
    np.testing.assert_allclose(features[0].numpy(), log_mel @ cosines.T, atol=1e-4)
    assert lengths.item() == len(log_mel)


def test_the_defaults_are_13_cepstra_with_two_derivatives() -> None:
    extractor = Mfcc(LogMel(num_mels=26))
    features, lengths = extractor(torch.ones(1, 800), torch.tensor([800]))
    assert features.shape == (1, 3, 39)
    assert (extractor.num_bins, extractor.num_blocks, lengths.item()) == (39, 3, 3)


def test_more_cepstra_than_filters_are_refused() -> None:
    with pytest.raises(ValueError, match="27 cepstra need as many filters, got 26"):
        Mfcc(LogMel(num_mels=26), num_cepstra=27)
