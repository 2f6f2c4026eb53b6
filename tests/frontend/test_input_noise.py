"""Noise on normalised features: what it draws, and that it is ridge regression for a linear one."""

import math
from itertools import product

import pytest
import torch
from torch import Tensor

from asr.config import ConfigError, parse
from asr.frontend.augment import AugmentConfig, SpecAugment
from asr.frontend.building import build_frontend
from asr.frontend.filter_bank import LogMelConfig

DEVIATION = 0.3


def noisy(deviation: float = DEVIATION, **masks: float) -> SpecAugment:
    none = {"time_masks": 0, "frequency_masks": 0}
    return SpecAugment(**(none | masks), input_noise=deviation)  # type: ignore[arg-type]


def test_to_a_linear_model_it_is_ridge_regression(monkeypatch: pytest.MonkeyPatch) -> None:
    """E sum_n (y_n - w (x_n + s e))^2 / 2 = sum_n (y_n - w x_n)^2 / 2 + N s^2 |w|^2 / 2, exactly.

    The mean over the signs of all e is the expectation of the Gaussian for polynomials up to the
    third degree (Gauss-Hermite quadrature with two nodes), so nothing is left to chance.
    """
    torch.manual_seed(0)
    frames, size = 4, 2
    features = torch.randn(1, frames, size, dtype=torch.float64)
    targets = torch.randn(frames, dtype=torch.float64)
    starts = torch.randn(3, size, dtype=torch.float64)
    signs: list[Tensor] = []
    monkeypatch.setattr("asr.frontend.augment.torch.randn", lambda *shape, **options: signs[-1])

    def expected_loss(weights: Tensor) -> Tensor:
        losses = []
        for draw in product([1.0, -1.0], repeat=frames * size):
            signs.append(torch.tensor(draw, dtype=torch.float64).view(1, frames, size))
            varied = noisy()(features, torch.tensor([frames]))
            losses.append((targets - varied[0] @ weights).square().sum() / 2)
        return torch.stack(losses).mean()

    ridge = frames * DEVIATION**2
    for start in starts:
        weights = start.clone().requires_grad_()
        loss = expected_loss(weights)
        (gradient,) = torch.autograd.grad(loss, weights)
        plain = (targets - features[0] @ weights).square().sum() / 2
        penalised = plain + ridge * weights.square().sum() / 2
        (expected,) = torch.autograd.grad(penalised, weights)
        torch.testing.assert_close(loss, penalised, rtol=1e-12, atol=0)
        torch.testing.assert_close(gradient, expected, rtol=1e-11, atol=1e-12)
    covariance = features[0].t() @ features[0] + ridge * torch.eye(size, dtype=torch.float64)
    best = torch.linalg.solve(covariance, features[0].t() @ targets).requires_grad_()
    (flat,) = torch.autograd.grad(expected_loss(best), best)
    torch.testing.assert_close(flat, torch.zeros_like(flat), rtol=0, atol=1e-12)


def test_it_is_gaussian_of_the_asked_deviation_for_each_feature() -> None:
    count = 50 * 400 * 8
    features = torch.full((50, 400, 8), 2.0)
    noise = noisy()(features, torch.full((50,), 400)) - features
    error = DEVIATION / math.sqrt(count)
    assert abs(float(noise.mean())) < 5 * error
    assert float(noise.std()) == pytest.approx(DEVIATION, abs=5 * error)
    assert float((noise.abs() < DEVIATION).float().mean()) == pytest.approx(0.6827, abs=0.006)
    for shift in (1, 8, 3200):  # neighbours in frequency, in time, and in the batch
        flat = noise.flatten()
        correlation = float((flat[shift:] * flat[:-shift]).mean()) / DEVIATION**2
        assert abs(correlation) < 5 / math.sqrt(count)


def test_padding_and_masked_features_stay_zero() -> None:
    lengths = torch.tensor([10, 4, 0])
    real = torch.arange(10) < lengths[:, None]
    features = torch.ones(3, 10, 6) * real[:, :, None]
    varied = noisy(time_masks=1, time_mask_fraction=0.5)(features, lengths)
    assert not varied[~real].any()
    generator = torch.Generator().manual_seed(0)
    masked = noisy(0.0, time_masks=1, time_mask_fraction=0.5)
    where = masked(features, lengths, generator=generator) == 0
    generator.manual_seed(0)
    both = noisy(time_masks=1, time_mask_fraction=0.5)(features, lengths, generator=generator)
    assert torch.equal(both == 0, where), "the masks are those without noise"


def test_only_in_training_and_only_when_asked() -> None:
    features, lengths = torch.ones(2, 5, 3), torch.tensor([5, 5])
    assert noisy().eval()(features, lengths) is features
    assert torch.equal(noisy(0.0)(features, lengths), features)
    followed = []
    for augment in (SpecAugment(), noisy(0.0, time_masks=2, frequency_masks=2), noisy()):
        torch.manual_seed(1)
        augment(features, lengths)
        followed.append(float(torch.rand(1)))
    assert followed[0] == followed[1] != followed[2], "others draw what they drew before"


def test_config_and_building() -> None:
    none = AugmentConfig(time_masks=0, frequency_masks=0)
    assert "input_noise" not in none.model_dump()
    config = LogMelConfig(name="log_mel")
    assert build_frontend(config, none).spec_augment is None
    asked = AugmentConfig(time_masks=0, frequency_masks=0, input_noise=0.6)
    frontend = build_frontend(config, asked)
    assert frontend.spec_augment is not None
    assert frontend.spec_augment.input_noise == 0.6
    waveforms, lengths = torch.randn(2, 8000), torch.tensor([8000, 4000])
    frontend.train()
    first, frames = frontend(waveforms, lengths)
    second, _ = frontend(waveforms, lengths)
    difference = (first - second)[0, : int(frames[0])]
    assert float(difference.std()) == pytest.approx(0.6 * 2**0.5, rel=0.05)
    assert torch.equal(frontend.eval()(waveforms, lengths)[0], frontend(waveforms, lengths)[0])
    with pytest.raises(ConfigError, match="'input_noise' must be greater than or equal to 0"):
        parse(AugmentConfig, {"input_noise": -0.1}, "recipe.toml")
