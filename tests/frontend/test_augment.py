"""Masks, noise, speed and rooms do what is asked and nothing else."""

import math

import numpy as np
import pytest
import torch

from asr.config import ConfigError, parse
from asr.frontend.augment import (
    AugmentConfig,
    SpecAugment,
    add_noise,
    change_speed,
    reverberate,
    room_response,
)
from asr.frontend.framing import zero_beyond


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def tone(hertz: float, samples: int, sample_rate: int = 16000) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(samples) / sample_rate).astype(np.float32)


def peak_hertz(waveform: np.ndarray, sample_rate: int = 16000) -> float:
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform))))
    return float(spectrum.argmax() * sample_rate / len(waveform))


def runs(masked: torch.Tensor) -> list[int]:
    """The lengths of the runs of true in a (positions,) mask."""
    text = "".join("x" if value else " " for value in masked.tolist())
    return [len(run) for run in text.split()]


def test_evaluation_masks_nothing() -> None:
    features = torch.ones(2, 50, 8)
    augment = SpecAugment(time_mask_fraction=1.0).eval()
    assert augment(features, torch.tensor([50, 20])) is features


def test_a_generator_makes_the_masks_repeatable() -> None:
    features, lengths, augment = torch.ones(4, 50, 8), torch.tensor([50, 20, 3, 0]), SpecAugment()
    once = augment(features, lengths, generator=seeded(1))
    again = augment(features, lengths, generator=seeded(1))
    other = augment(features, lengths, generator=seeded(2))
    assert torch.equal(once, again)
    assert not torch.equal(once, other)
    torch.manual_seed(1)  # the default is the global generator
    assert torch.equal(augment(features, lengths), once)


def test_time_masks_are_whole_frames_within_each_utterance_and_its_bound() -> None:
    augment = SpecAugment(
        time_masks=1, time_mask_frames=12, time_mask_fraction=0.3, frequency_masks=0
    )
    lengths = torch.tensor([100, 30, 7, 3, 1, 0])
    longest = [12, 9, 2, 0, 0, 0]
    seen = [0] * 6
    for seed in range(200):
        masked = augment(torch.ones(6, 100, 3), lengths, generator=seeded(seed)) == 0
        assert torch.equal(masked.any(dim=2), masked.all(dim=2))
        for index, frames in enumerate(masked.all(dim=2)):
            assert not frames[lengths[index] :].any()  # the padding keeps what it had
            seen[index] = max(seen[index], *runs(frames), 0)
    assert seen == longest


def test_every_position_can_be_masked() -> None:
    augment = SpecAugment(
        time_masks=1, time_mask_fraction=0.25, frequency_masks=1, frequency_mask_bins=2
    )
    masked = augment(torch.ones(500, 9, 5), torch.full((500,), 8), generator=seeded()) == 0
    assert masked.all(dim=2).any(dim=0).tolist() == [True] * 8 + [False]
    assert masked[:, 0].any(dim=0).all()
    assert not masked[:, 8].any()  # the padding keeps what it had


def test_frequency_masks_are_whole_bins_up_to_the_widest() -> None:
    augment = SpecAugment(time_masks=0, frequency_masks=1, frequency_mask_bins=4)
    widths = set()
    for seed in range(100):
        masked = augment(torch.ones(2, 5, 10), torch.tensor([5, 5]), generator=seeded(seed)) == 0
        assert torch.equal(masked.any(dim=1), masked.all(dim=1))
        widths |= {sum(runs(bins)) for bins in masked.all(dim=1)}
    assert widths == {0, 1, 2, 3, 4}


def test_more_bins_than_there_are_can_mask_all_but_do_not_fail() -> None:
    augment = SpecAugment(time_masks=0, frequency_masks=1, frequency_mask_bins=99)
    share = [(augment(torch.ones(1, 2, 3), torch.tensor([2])) == 0).sum().item() for _ in range(60)]
    assert set(share) == {0, 2, 4, 6}


def test_a_frequency_mask_covers_the_same_bins_of_each_derivative() -> None:
    augment = SpecAugment(time_masks=0, frequency_masks=2, frequency_mask_bins=5)
    features = torch.ones(8, 4, 30)
    masked = augment(features, torch.full((8,), 4), blocks=3, generator=seeded()) == 0
    first, second, third = masked.split(10, dim=2)
    assert first.any()
    assert torch.equal(first, second)
    assert torch.equal(first, third)


def test_utterances_draw_their_own_masks() -> None:
    masked = SpecAugment()(torch.ones(8, 200, 40), torch.full((8,), 200), generator=seeded()) == 0
    assert len({tuple(mask.flatten().tolist()) for mask in masked}) == 8


def test_the_masked_share_is_the_expected_one() -> None:
    """One mask of width uniform in 0 … 20 of 100 frames covers 10 % on average."""
    augment = SpecAugment(
        time_masks=1, time_mask_frames=20, time_mask_fraction=1.0, frequency_masks=0
    )
    batch = 20000
    masked = augment(torch.ones(batch, 100, 1), torch.full((batch,), 100), generator=seeded()) == 0
    width_std = math.sqrt((21**2 - 1) / 12) / 100
    assert masked.float().mean().item() == pytest.approx(0.1, abs=5 * width_std / math.sqrt(batch))
    widths = torch.bincount(masked.sum(dim=1).flatten(), minlength=21) / batch
    assert (widths - 1 / 21).abs().max() < 5 * math.sqrt(1 / 21 / batch)


def test_masks_do_not_depend_on_the_padding() -> None:
    augment, lengths = SpecAugment(time_mask_fraction=0.5), torch.tensor([40, 25])
    features = torch.ones(2, 60, 8)
    features[:, 40:] = torch.nan
    long = augment(features, lengths, generator=seeded())
    short = augment(features[:, :40], lengths, generator=seeded())
    assert torch.equal(long[:, :40], short)


def test_no_frames_are_no_problem() -> None:
    assert SpecAugment()(torch.ones(2, 0, 8), torch.tensor([0, 0])).shape == (2, 0, 8)


@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 20.0])
def test_noise_has_the_asked_ratio_over_the_utterance(snr_db: float) -> None:
    lengths = torch.tensor([4000, 2500, 1])
    clean = zero_beyond(torch.randn(3, 4000, generator=seeded()), lengths)
    clean *= torch.tensor([1.0, 1e-3, 1.0])[:, None]
    noisy = add_noise(clean, lengths, snr_db=(snr_db, snr_db), generator=seeded(1))
    noise = (noisy - clean).double()
    ratio = clean.double().square().sum(dim=1) / noise.square().sum(dim=1)
    torch.testing.assert_close(
        10 * ratio.log10(), torch.full((3,), snr_db).double(), atol=1e-3, rtol=0
    )
    assert torch.equal(noise, zero_beyond(noise, lengths))


def test_noise_ratios_are_uniform_in_the_range_whoever_gets_noise() -> None:
    clean, lengths = torch.randn(4000, 64, generator=seeded()), torch.full((4000,), 64)
    noisy = add_noise(clean, lengths, snr_db=(5.0, 15.0), probability=0.5, generator=seeded(1))
    noise = noisy - clean
    ratio_db = 10 * (clean.square().sum(dim=1) / noise.square().sum(dim=1)).log10()
    ratio_db = ratio_db[torch.isfinite(ratio_db)]
    assert ratio_db.min() > 4.99
    assert ratio_db.max() < 15.01
    assert ratio_db.mean().item() == pytest.approx(10, abs=5 * 10 / math.sqrt(12 * 2000))
    assert ratio_db.std().item() == pytest.approx(10 / math.sqrt(12), rel=0.1)


def test_noise_has_no_offset() -> None:
    clean, lengths = torch.ones(10, 4096), torch.full((10,), 4096)
    noise = add_noise(clean, lengths, snr_db=(0.0, 0.0), generator=seeded()) - clean
    assert noise.mean(dim=1).abs().max() < 1e-6


def test_silence_stays_silence_and_padding_has_no_effect() -> None:
    waveforms = torch.randn(2, 500, generator=seeded())
    waveforms[0] = 0
    garbage = waveforms.clone()
    garbage[1, 300:] = torch.nan
    lengths = torch.tensor([500, 300])
    noisy = add_noise(waveforms, lengths, snr_db=(0.0, 10.0), generator=seeded(1))
    from_garbage = add_noise(garbage, lengths, snr_db=(0.0, 10.0), generator=seeded(1))
    assert torch.equal(noisy[0], torch.zeros(500))
    assert torch.equal(from_garbage[1, :300], noisy[1, :300])
    assert torch.equal(noisy[1, 300:], waveforms[1, 300:])
    assert not torch.equal(noisy[1, :300], waveforms[1, :300])


def test_noise_is_made_on_the_device_of_the_waveforms() -> None:
    waveforms, lengths = torch.ones(2, 50, device="meta"), torch.ones(2, device="meta")
    assert add_noise(waveforms, lengths, snr_db=(0.0, 10.0)).device.type == "meta"


def test_the_probability_is_the_share_of_noisy_utterances() -> None:
    clean, lengths = torch.ones(4000, 16), torch.full((4000,), 16)
    noisy = add_noise(clean, lengths, snr_db=(0.0, 0.0), probability=0.3, generator=seeded())
    share = (noisy != clean).any(dim=1).float().mean().item()
    assert share == pytest.approx(0.3, abs=5 * math.sqrt(0.3 * 0.7 / 4000))
    assert torch.equal(add_noise(clean, lengths, snr_db=(0.0, 0.0), probability=0.0), clean)


def test_noise_colours_lie_between_white_and_brown() -> None:
    """The slope of log power over log frequency is 0 for white and -2 for brown noise."""
    clean, lengths = torch.ones(40, 8192), torch.full((40,), 8192)
    noise = (add_noise(clean, lengths, snr_db=(0.0, 0.0), generator=seeded()) - clean).numpy()
    power = np.abs(np.fft.rfft(noise * np.hanning(8192), axis=1)[:, 100:4000]) ** 2
    frequency = np.log(np.arange(100, 4000))
    slopes = np.array([np.polyfit(frequency, np.log(row), 1)[0] for row in power])
    assert slopes.min() > -2.2
    assert slopes.max() < 0.2
    assert slopes.min() < -1.5
    assert slopes.max() > -0.5


@pytest.mark.parametrize("factor", [0.5, 0.9, 1.1, 2.0])
def test_speed_shortens_and_raises(factor: float) -> None:
    faster = change_speed(tone(1000, 16000), 16000, factor)
    assert faster.dtype == np.float32
    assert len(faster) == round(16000 / factor)
    assert peak_hertz(faster) == pytest.approx(1000 * factor, abs=2)
    middle = faster[len(faster) // 4 : -len(faster) // 4]
    assert np.abs(middle).max() == pytest.approx(1, abs=0.01)


def test_speed_keeps_the_exact_length_of_any_waveform() -> None:
    for samples in [*range(1, 60), 997, 1600, 12345]:
        for factor in (0.9, 1.1, 4 / 3):
            changed = change_speed(np.ones(samples, np.float32), 16000, factor)
            assert len(changed) == round(samples / factor)


def test_speed_one_is_the_waveform_itself() -> None:
    waveform = tone(440, 100)
    assert change_speed(waveform, 16000, 1.0) is waveform


@pytest.mark.parametrize("factor", [0.0, -1.0, math.nan])
def test_speed_must_be_positive(factor: float) -> None:
    with pytest.raises(ValueError, match="the speed factor must be positive"):
        change_speed(tone(440, 100), 16000, factor)


@pytest.mark.parametrize("rt60_seconds", [0.2, 0.8])
def test_a_room_dies_away_by_60_db_in_its_reverberation_time(rt60_seconds: float) -> None:
    """The slope of Schroeder's backward integral, which is how rooms are measured."""
    response = room_response(
        16000,
        rt60_seconds=rt60_seconds,
        direct_to_reverberant_db=-10.0,
        generator=np.random.default_rng(0),
    )
    left_db = 10 * np.log10(np.cumsum(response[1:][::-1] ** 2)[::-1])
    seconds = np.arange(len(left_db)) / 16000
    fitted = slice(round(0.1 * rt60_seconds * 16000), round(0.6 * rt60_seconds * 16000))
    slope = np.polyfit(seconds[fitted], left_db[fitted], 1)[0]
    assert -60 / slope == pytest.approx(rt60_seconds, rel=0.1)


@pytest.mark.parametrize("ratio_db", [-6.0, 0.0, 12.0])
def test_a_room_has_the_asked_direct_sound(ratio_db: float) -> None:
    response = room_response(
        8000,
        rt60_seconds=0.3,
        direct_to_reverberant_db=ratio_db,
        generator=np.random.default_rng(1),
    )
    assert response[0] == 1
    assert 10 * np.log10(1 / np.sum(response[1:] ** 2)) == pytest.approx(ratio_db)


def test_reverberation_is_the_convolution_at_equal_power() -> None:
    waveform = np.random.default_rng(0).normal(size=700).astype(np.float32)
    wet = reverberate(waveform, 8000, rt60_seconds=0.05, generator=np.random.default_rng(3))
    response = room_response(
        8000,
        rt60_seconds=0.05,
        direct_to_reverberant_db=0.0,
        generator=np.random.default_rng(3),
    )
    expected = np.convolve(waveform.astype(np.float64), response)[:700]
    expected *= np.linalg.norm(waveform) / np.linalg.norm(expected)
    np.testing.assert_allclose(wet, expected, atol=1e-5)
    assert wet.dtype == np.float32
    assert np.linalg.norm(wet) == pytest.approx(np.linalg.norm(waveform), rel=1e-6)


def test_a_dry_room_changes_nothing() -> None:
    waveform = tone(300, 2000)
    generator = np.random.default_rng(0)
    dry = reverberate(
        waveform, 16000, rt60_seconds=0.3, direct_to_reverberant_db=120.0, generator=generator
    )
    np.testing.assert_allclose(dry, waveform, atol=1e-4)


def test_reverberated_silence_is_silence() -> None:
    silence = np.zeros(300, np.float32)
    wet = reverberate(silence, 16000, rt60_seconds=0.3, generator=np.random.default_rng(0))
    assert np.array_equal(wet, silence)


@pytest.mark.parametrize("rt60_seconds", [0.0, -0.3, math.nan])
def test_a_reverberation_time_must_be_positive(rt60_seconds: float) -> None:
    generator = np.random.default_rng(0)
    with pytest.raises(ValueError, match="rt60_seconds must be positive"):
        reverberate(tone(300, 100), 16000, rt60_seconds=rt60_seconds, generator=generator)


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"noise_snr_db": [10.0]}, "'noise_snr_db' must be two numbers, the lower one first"),
        ({"noise_snr_db": [10.0, 5.0]}, "'noise_snr_db' must be two numbers, the lower one first"),
        ({"speed_factors": []}, "'speed_factors' must be one or more numbers in 0.5 … 2"),
        ({"speed_factors": [1.0, 3.0]}, "'speed_factors' must be one or more numbers in 0.5 … 2"),
    ],
)
def test_config_says_what_is_wrong(mapping: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(AugmentConfig, mapping, "recipe.toml")


def test_config_takes_whole_numbers_from_toml() -> None:
    config = parse(AugmentConfig, {"noise_snr_db": [5, 20], "speed_factors": [1]}, "recipe.toml")
    assert config.noise_snr_db == [5.0, 20.0]
