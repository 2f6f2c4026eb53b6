"""The power spectrogram against matplotlib, a direct Fourier sum, and a tone."""

import numpy as np
import pytest
import torch
from matplotlib import mlab

from asr.frontend.spectrogram import DENSITY_FLOOR, Spectrogram


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(scale=0.1, size=samples).astype(np.float32)


def spectrogram_of(waveform: np.ndarray, extractor: Spectrogram) -> np.ndarray:
    features, lengths = extractor(torch.from_numpy(waveform)[None], torch.tensor([len(waveform)]))
    assert lengths.item() == features.shape[1]
    return features[0].numpy()


@pytest.mark.parametrize(
    ("sample_rate", "window", "hop", "samples"),
    [
        (16000, 254, 127, 16000),
        (16000, 254, 127, 4000),
        (8000, 256, 100, 5000),
        (11025, 255, 80, 3000),
    ],
)
def test_equals_matplotlib(sample_rate: int, window: int, hop: int, samples: int) -> None:
    waveform = noise(samples)
    expected, _, _ = mlab.specgram(
        waveform.astype(np.float64),
        NFFT=window,
        Fs=sample_rate,
        noverlap=window - hop,
        window=np.hanning(window),
    )
    extractor = Spectrogram(sample_rate=sample_rate, window=window, hop=hop, compress="none")
    features = spectrogram_of(waveform, extractor)
    assert features.shape == expected.T.shape
    assert np.abs(features - expected.T).max() < 1e-6 * expected.max()


def test_one_second_of_16_khz_is_124_frames_of_128_bins() -> None:
    assert spectrogram_of(noise(16000), Spectrogram()).shape == (124, 128)


def test_a_frame_is_the_fourier_sum_of_the_definition() -> None:
    waveform, frame = noise(1000, seed=1).astype(np.float64), 3
    n = np.arange(254)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * n / 253)
    segment = hann * waveform[127 * frame : 127 * frame + 254]
    kernel = np.exp(-2j * np.pi * np.outer(np.arange(128), n) / 254)
    both_signs = np.where(np.isin(np.arange(128), [0, 127]), 1, 2)
    density = both_signs * np.abs(kernel @ segment) ** 2 / (16000 * np.sum(hann**2))
    features = spectrogram_of(waveform.astype(np.float32), Spectrogram(compress="none"))
    np.testing.assert_allclose(features[frame], density, rtol=1e-4, atol=1e-6 * density.max())


@pytest.mark.parametrize("compress", ["log", "none"])
def test_a_tone_of_1_khz_peaks_at_bin_16(compress: str) -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000).astype(np.float32)
    features = spectrogram_of(tone, Spectrogram(compress=compress))
    assert set(features.argmax(axis=1)) == {16}


def test_log_is_the_logarithm_of_the_density_and_finite_for_silence() -> None:
    waveform = noise(2000)
    waveform[1000:] = 0
    density = spectrogram_of(waveform, Spectrogram(compress="none"))
    logarithm = spectrogram_of(waveform, Spectrogram(compress="log"))
    np.testing.assert_allclose(logarithm, np.log(density + DENSITY_FLOOR), atol=1e-5)
    np.testing.assert_allclose(logarithm[-1], np.log(DENSITY_FLOOR), rtol=1e-6)
