"""Normalisation, its statistics, and stacking."""

import numpy as np
import pytest
import torch

from asr.errors import DataError, ModelError
from asr.frontend.framing import zero_beyond
from asr.frontend.normalize import (
    FeatureStatistics,
    TrainingSetNormalization,
    UtteranceNormalization,
    stack_frames,
)

LENGTHS = torch.tensor([9, 4, 1, 0])


def random_features(seed: int = 0, offset: float = -5.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    values = 3 * torch.randn(4, 9, 3, generator=generator) + offset
    return zero_beyond(values, LENGTHS)


def test_an_utterance_gets_mean_0_and_variance_1_over_its_own_frames() -> None:
    normalised = UtteranceNormalization()(random_features(), LENGTHS)
    for values, length in zip(normalised[:2], LENGTHS[:2].tolist(), strict=True):
        torch.testing.assert_close(values[:length].mean(dim=0), torch.zeros(3), atol=1e-6, rtol=0)
        torch.testing.assert_close(values[:length].square().mean(dim=0), torch.ones(3))
        assert torch.equal(values[length:], torch.zeros(9 - length, 3))
    assert torch.equal(normalised[2:], torch.zeros(2, 9, 3))  # one frame has no variance


def test_loudness_does_not_matter_to_an_utterance() -> None:
    features = random_features()
    louder = zero_beyond(2 * features + 7, LENGTHS)
    normalise = UtteranceNormalization()
    torch.testing.assert_close(normalise(louder, LENGTHS), normalise(features, LENGTHS))


@pytest.mark.parametrize("level", [0.0, -23.02585, 1e-14, 1e6, 0.1])
@pytest.mark.parametrize("length", [1, 7, 999])
def test_a_constant_bin_becomes_exactly_zero(level: float, length: int) -> None:
    features = torch.full((1, length, 2), level, requires_grad=True)
    normalised = UtteranceNormalization()(features, torch.tensor([length]))
    assert torch.equal(normalised, torch.zeros(1, length, 2))
    normalised.sum().backward()
    assert features.grad is not None
    assert torch.isfinite(features.grad).all()


def test_rounding_is_not_blown_up() -> None:
    """Neighbouring float32 numbers around -20 are no signal, whatever their variance is."""
    features = torch.full((1, 100, 1), -20.0)
    features[:, ::2] = torch.nextafter(features[:, ::2], torch.tensor(0.0))
    assert (features != -20).any()
    assert UtteranceNormalization()(features, torch.tensor([100])).abs().max() < 0.01


def test_power_of_quiet_audio_is_normalised_too() -> None:
    features = 1e-14 * torch.rand(1, 200, 2, generator=torch.Generator().manual_seed(0))
    normalised = UtteranceNormalization()(features, torch.tensor([200]))
    torch.testing.assert_close(normalised.square().mean(dim=1), torch.ones(1, 2))


def test_statistics_are_those_of_all_real_frames() -> None:
    statistics = FeatureStatistics(3)
    batches = [random_features(seed, offset=1e4) for seed in range(5)]
    for features in batches:
        statistics.add(features, LENGTHS)
    frames = np.concatenate(
        [
            values[:length]
            for batch in batches
            for values, length in zip(batch, LENGTHS, strict=True)
        ]
    ).astype(np.float64)
    mean, std = statistics.result()
    assert statistics.num_frames == len(frames) == 5 * 14
    np.testing.assert_allclose(mean.numpy(), frames.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(std.numpy(), frames.std(axis=0), rtol=1e-12)


def test_statistics_do_not_depend_on_the_order_or_the_batches() -> None:
    batches = [random_features(seed) for seed in range(6)]
    forward, backward, singly = (FeatureStatistics(3) for _ in range(3))
    for features in batches:
        forward.add(features, LENGTHS)
    for features in reversed(batches):
        backward.add(features, LENGTHS)
    for features in batches:
        for index in range(4):
            singly.add(features[index : index + 1], LENGTHS[index : index + 1])
    for other in (backward, singly):
        torch.testing.assert_close(other.result(), forward.result(), rtol=1e-13, atol=0)


def test_statistics_do_not_see_the_padding() -> None:
    clean, spoilt = FeatureStatistics(3), FeatureStatistics(3)
    features, padding = random_features(), torch.arange(9) >= LENGTHS[:, None]
    clean.add(features, LENGTHS)
    spoilt.add(features.masked_fill(padding[..., None], torch.nan), LENGTHS)
    assert all(map(torch.equal, spoilt.result(), clean.result()))


def test_statistics_of_a_constant_bin_can_divide() -> None:
    statistics = FeatureStatistics(2)
    statistics.add(torch.zeros(1, 5, 2), torch.tensor([5]))
    _, std = statistics.result()
    assert (std > 0).all()


def test_statistics_without_frames_are_refused() -> None:
    statistics = FeatureStatistics(3)
    statistics.add(torch.zeros(2, 0, 3), torch.tensor([0, 0]))
    with pytest.raises(DataError, match="no frames to estimate mean and variance from"):
        statistics.result()


def test_the_training_set_gets_mean_0_and_variance_1() -> None:
    features, statistics = random_features(), FeatureStatistics(3)
    statistics.add(features, LENGTHS)
    normalization = TrainingSetNormalization(3)
    assert not normalization.is_set()
    normalization.set_statistics(*statistics.result())
    assert normalization.is_set()
    normalised = normalization(features, LENGTHS)
    frames = torch.cat([values[:n] for values, n in zip(normalised, LENGTHS, strict=True)])
    torch.testing.assert_close(frames.mean(dim=0), torch.zeros(3), atol=1e-6, rtol=0)
    torch.testing.assert_close(frames.square().mean(dim=0), torch.ones(3))
    assert torch.equal(normalised, zero_beyond(normalised, LENGTHS))


def test_training_set_statistics_travel_in_the_state_dict() -> None:
    trained, loaded = TrainingSetNormalization(3), TrainingSetNormalization(3)
    trained.set_statistics(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([4.0, 5.0, 6.0]))
    loaded.load_state_dict(trained.state_dict())
    features = random_features()
    assert torch.equal(loaded(features, LENGTHS), trained(features, LENGTHS))


def test_training_set_statistics_must_be_there() -> None:
    with pytest.raises(ModelError, match="no mean and variance of its training set"):
        TrainingSetNormalization(3)(random_features(), LENGTHS)


def test_training_set_statistics_must_fit() -> None:
    normalization = TrainingSetNormalization(3)
    with pytest.raises(ValueError, match=r"must have shape \(3,\), got \(2,\) and \(3,\)"):
        normalization.set_statistics(torch.zeros(2), torch.ones(3))
    with pytest.raises(ValueError, match="every std must be positive"):
        normalization.set_statistics(torch.zeros(3), torch.tensor([1.0, 0.0, 1.0]))
    with pytest.raises(ValueError, match="every std must be positive"):
        normalization.set_statistics(torch.zeros(3), torch.tensor([1.0, torch.nan, 1.0]))


def test_stacking_joins_neighbours_and_drops_the_incomplete_tail() -> None:
    features = torch.arange(1.0, 15.0).reshape(1, 7, 2).repeat(2, 1, 1)
    features[1, 5:] = 0
    stacked, lengths = stack_frames(features, torch.tensor([7, 5]), 3)
    assert lengths.tolist() == [2, 1]
    assert stacked.tolist() == [
        [[1, 2, 3, 4, 5, 6], [7, 8, 9, 10, 11, 12]],
        [[1, 2, 3, 4, 5, 6], [0] * 6],  # frames 4 and 5 are an incomplete tail
    ]


def test_stacking_by_one_changes_nothing() -> None:
    features = random_features()
    stacked, lengths = stack_frames(features, LENGTHS, 1)
    assert torch.equal(stacked, features)
    assert torch.equal(lengths, LENGTHS)
