"""Weight noise is on the weights while the gradient is taken, and nowhere else."""

import pytest
import torch
from torch import Tensor, nn

from asr.training.checkpoint import batch_seed
from asr.training.noise import weight_noise


def parameters(*shapes: tuple[int, ...]) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(3)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]


def values(weights: list[nn.Parameter]) -> list[Tensor]:
    return [weight.detach().clone() for weight in weights]


def noisy(seed: int, deviation: float) -> list[Tensor]:
    weights = parameters((4, 3), (4,))
    torch.manual_seed(seed)
    with weight_noise(weights, deviation):
        return values(weights)


def test_deviation_zero_touches_neither_weights_nor_generator() -> None:
    weights = parameters((4, 3), (4,))
    clean, state = values(weights), torch.get_rng_state()
    with weight_noise(weights, 0.0):
        assert all(map(torch.equal, values(weights), clean))
    assert all(map(torch.equal, values(weights), clean))
    assert torch.equal(torch.get_rng_state(), state)


def test_inside_the_weights_are_clean_plus_noise_and_outside_clean_to_the_bit() -> None:
    weights = parameters((4, 3), (4,))
    clean = values(weights)
    torch.manual_seed(5)
    noise = [torch.randn(4, 3), torch.randn(4)]
    torch.manual_seed(5)
    with weight_noise(weights, 0.075):
        for weight, before, drawn in zip(values(weights), clean, noise, strict=True):
            torch.testing.assert_close(weight, before + 0.075 * drawn)
    assert all(map(torch.equal, values(weights), clean))


def test_every_weight_gets_its_own_normal_noise() -> None:
    weight = nn.Parameter(torch.zeros(1000, 100))
    torch.manual_seed(0)
    with weight_noise([weight], 0.075):
        drawn = weight.detach().double()
        # The standard errors are 0.075 / sqrt(1e5) = 2.4e-4 and 0.075 / sqrt(2e5) = 1.7e-4.
        assert abs(float(drawn.mean())) < 5 * 2.4e-4
        assert float(drawn.std()) == pytest.approx(0.075, abs=5 * 1.7e-4)
        assert drawn.unique().numel() > 99_000


def test_an_error_inside_restores_the_weights() -> None:
    weights = parameters((3,))
    clean = values(weights)
    with pytest.raises(KeyError, match="inside"), weight_noise(weights, 0.5):
        raise KeyError("inside")
    assert torch.equal(values(weights)[0], clean[0])


def test_the_gradient_is_that_at_the_noisy_weights_and_moves_the_clean_ones() -> None:
    """Of w²/2 the gradient is w, so of the noisy weights it is the noisy weights themselves."""
    (weight,) = parameters((4, 3))
    clean = weight.detach().clone()
    optimizer = torch.optim.SGD([weight], lr=0.1)
    torch.manual_seed(9)
    with weight_noise([weight], 0.2):
        at = weight.detach().clone()
        (weight.square().sum() / 2).backward()
    assert weight.grad is not None
    torch.testing.assert_close(weight.grad, at)
    gradient = weight.grad.clone()
    optimizer.step()
    assert torch.equal(weight.detach(), clean.add(gradient, alpha=-0.1))


def test_the_seed_of_a_batch_decides_the_noise() -> None:
    first = noisy(batch_seed(1, epoch=2, position=3), 0.1)
    assert all(map(torch.equal, noisy(batch_seed(1, epoch=2, position=3), 0.1), first))
    for other in (batch_seed(1, 2, 4), batch_seed(1, 3, 3), batch_seed(2, 2, 3)):
        assert not torch.equal(noisy(other, 0.1)[0], first[0])


def test_frozen_weights_stay() -> None:
    trained, frozen = parameters((3,), (3,))
    before = frozen.detach().clone()
    with weight_noise([trained], 1.0):
        assert torch.equal(frozen.detach(), before)
