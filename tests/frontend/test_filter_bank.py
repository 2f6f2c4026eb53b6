"""Mel filters, energy, pre-emphasis and derivatives against direct computations."""

import numpy as np
import pytest
import torch
from torchaudio.functional import compute_deltas

from asr.errors import ConfigError
from asr.frontend.filter_bank import (
    ENERGY_FLOOR,
    FilterBank,
    LogMel,
    deltas,
    emphasise,
    frame_energy,
    mel_filters,
    with_deltas,
)


def noise(samples: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.1 * torch.randn(1, samples, generator=generator)


def filters_by_definition(
    num_mels: int, low: float, high: float, fft_size: int, sample_rate: int
) -> np.ndarray:
    """(fft_size // 2 + 1, num_mels) triangles between equal steps of 2595 log10(1 + f / 700)."""

    def mel(hertz: float) -> float:
        return 2595 * np.log10(1 + hertz / 700)

    points = 700 * (10 ** (np.linspace(mel(low), mel(high), num_mels + 2) / 2595) - 1)
    filters = np.zeros((fft_size // 2 + 1, num_mels))
    for row in range(fft_size // 2 + 1):
        hertz = row * sample_rate / fft_size
        for column in range(num_mels):
            left, peak, right = points[column : column + 3]
            rise, fall = (hertz - left) / (peak - left), (right - hertz) / (right - peak)
            filters[row, column] = max(0.0, min(rise, fall))
    return filters


def log_mel_by_definition(
    waveform: np.ndarray, window_shape: np.ndarray, hop: int, filters: np.ndarray
) -> np.ndarray:
    """(T, num_mels) by a Fourier sum in float64."""
    window, bins = len(window_shape), len(filters)
    kernel = np.exp(-2j * np.pi * np.outer(np.arange(bins), np.arange(window)) / (2 * (bins - 1)))
    starts = range(0, len(waveform) - window + 1, hop)
    frames = np.stack([waveform[start : start + window] * window_shape for start in starts])
    return np.log(np.abs(frames @ kernel.T) ** 2 @ filters + ENERGY_FLOOR)


@pytest.mark.parametrize("num_mels", [80, 40, 23])
def test_filters_are_triangles_on_the_mel_scale(num_mels: int) -> None:
    filters = mel_filters(num_mels, (20.0, 7600.0), 512, 16000).numpy()
    expected = filters_by_definition(num_mels, 20.0, 7600.0, 512, 16000)
    np.testing.assert_allclose(filters, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("sample_rate", "fft_size", "shape"), [(16000, 512, "hann"), (8000, 256, "hamming")]
)
def test_log_mel_equals_a_direct_computation(sample_rate: int, fft_size: int, shape: str) -> None:
    extractor = LogMel(sample_rate=sample_rate, num_mels=40, window_shape=shape)
    waveform = noise(2000)
    features, lengths = extractor(waveform, torch.tensor([2000]))
    window, hop = round(0.025 * sample_rate), round(0.01 * sample_rate)
    weights = np.hanning(window) if shape == "hann" else np.hamming(window)
    filters = filters_by_definition(40, 20.0, sample_rate / 2, fft_size, sample_rate)
    expected = log_mel_by_definition(waveform[0].double().numpy(), weights, hop, filters)
    assert lengths.item() == len(expected)
    np.testing.assert_allclose(features[0].numpy(), expected, atol=1e-3)


def test_the_band_limits_what_is_heard() -> None:
    tone = torch.sin(2 * torch.pi * 4000 * torch.arange(4000) / 16000)[None]
    narrow = LogMel(num_mels=20, low_frequency=300.0, high_frequency=3400.0)
    wide = LogMel(num_mels=20, low_frequency=300.0, high_frequency=8000.0)
    assert narrow(tone, torch.tensor([4000]))[0].max() < 0
    assert wide(tone, torch.tensor([4000]))[0].max() > 5


@pytest.mark.parametrize(
    "band", [{"low_frequency": 9000.0}, {"high_frequency": 9000.0}, {"high_frequency": 10.0}]
)
def test_a_band_outside_the_signal_is_refused(band: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="the band must lie within 0 and 8000 Hz"):
        LogMel(**band)


def test_filters_without_a_bin_are_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"num_mels = 300: \d+ filters are narrower than the 31.25 Hz"
    ):
        LogMel(num_mels=300)


def test_the_filter_bank_of_the_2013_paper_has_123_bins() -> None:
    extractor = FilterBank(LogMel(num_mels=40, window_shape="hamming"))
    features, lengths = extractor(noise(4000), torch.tensor([4000]))
    assert features.shape == (1, 23, 123)
    assert extractor.num_bins == 123
    assert extractor.num_blocks == 3
    assert lengths.tolist() == [23]


def test_the_filter_bank_is_mels_energy_and_their_derivatives() -> None:
    waveform, length = noise(3000), torch.tensor([3000])
    mel = LogMel(num_mels=20)
    features, lengths = FilterBank(mel, preemphasis=0.9, deltas=1)(waveform, length)
    frames = waveform[0].double().unfold(0, 400, 160)
    energy = (frames.square().sum(dim=1) + ENERGY_FLOOR).log().float()
    statics = torch.cat([mel(emphasise(waveform, 0.9), length)[0], energy[None, :, None]], dim=-1)
    torch.testing.assert_close(features[..., :21], statics)
    torch.testing.assert_close(features[..., 21:], deltas(statics, lengths))


def test_preemphasis_begins_in_silence() -> None:
    waveforms = torch.tensor([[1.0, 1.0, 0.5], [2.0, 0.0, -1.0]])
    expected = torch.tensor([[1.0, 0.25, -0.25], [2.0, -1.5, -1.0]])
    torch.testing.assert_close(emphasise(waveforms, 0.75), expected)


def test_frame_energy_of_a_short_waveform_is_empty() -> None:
    assert frame_energy(torch.ones(2, 5), 6, 2).shape == (2, 0)
    assert frame_energy(torch.ones(2, 10), 6, 2).tolist() == [[6.0] * 3] * 2


def test_deltas_of_a_ramp_are_its_slope() -> None:
    ramp = 3.0 * torch.arange(10.0).reshape(1, 10, 1) + 1
    slope = deltas(ramp, torch.tensor([10]))
    assert torch.equal(slope[0, 2:-2], torch.full((6, 1), 3.0))
    # At the ends the first frame is repeated: (1·(1-0) + 2·(2-0)) · 3 / 10 at frame 0.
    assert slope[0, 0].item() == pytest.approx(1.5)


def test_deltas_equal_torchaudio_for_one_utterance() -> None:
    features = noise(60).reshape(1, 12, 5)
    expected = compute_deltas(features.transpose(1, 2)).transpose(1, 2)
    torch.testing.assert_close(deltas(features, torch.tensor([12])), expected)
    second = compute_deltas(expected.transpose(1, 2)).transpose(1, 2)
    both = with_deltas(features, torch.tensor([12]), 2)
    torch.testing.assert_close(both, torch.cat([features, expected, second], dim=-1))


def test_deltas_end_at_each_utterances_own_last_frame() -> None:
    features = noise(7 * 12 * 2).reshape(7, 12, 2)
    lengths = torch.tensor([12, 5, 4, 3, 2, 1, 0])
    batch = with_deltas(features, lengths, 2)
    for index, length in enumerate(lengths.tolist()):
        alone = with_deltas(features[index : index + 1, :length], lengths[index : index + 1], 2)
        assert torch.equal(batch[index, :length], alone[0])
        assert torch.equal(batch[index, length:], torch.zeros(12 - length, 6))


def test_deltas_of_equal_frames_are_exactly_zero() -> None:
    features = noise(3).expand(1, 3).reshape(1, 1, 3).expand(1, 9, 3)
    assert torch.equal(with_deltas(features, torch.tensor([9]), 2)[..., 3:], torch.zeros(1, 9, 6))
