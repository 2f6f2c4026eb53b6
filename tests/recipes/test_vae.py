"""The variational autoencoder: its bound in closed form, its pictures, its recipe."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from asr.cli.main import main
from asr.data.images import read_images, write_images
from asr.errors import DataError
from asr.training.plain_task import TaskData
from recipes.vae.model import (
    VariationalAutoencoder,
    kl_to_standard_normal,
    negative_log_likelihood,
    reparameterized,
)
from recipes.vae.prepare import prepare
from recipes.vae.task import Config, build, shown_large

RECIPE = Path(__file__).parents[2] / "recipes" / "vae"


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_kl_is_that_of_torch() -> None:
    mean = torch.randn(5, 3, dtype=torch.float64, generator=generator())
    log_variance = torch.randn(5, 3, dtype=torch.float64, generator=generator(1))
    expected = kl_divergence(Normal(mean, (0.5 * log_variance).exp()), Normal(0.0, 1.0))
    assert torch.allclose(kl_to_standard_normal(mean, log_variance), expected, atol=1e-12)
    assert torch.equal(kl_to_standard_normal(torch.zeros(2), torch.zeros(2)), torch.zeros(2))


def test_reconstruction_is_the_probability_of_the_pixels() -> None:
    logits = torch.randn(2, 3, 4, dtype=torch.float64, generator=generator())
    images = torch.bernoulli(torch.full((2, 3, 4), 0.5, dtype=torch.float64), generator=generator())
    white = torch.sigmoid(logits)
    expected = -torch.where(images > 0, white, 1 - white).log().sum(dim=(1, 2))
    assert torch.allclose(negative_log_likelihood(logits, images), expected, atol=1e-12)


def linear_gaussian(x: Tensor, weights: Tensor, variance: float) -> tuple[Tensor, Tensor, Tensor]:
    """-ln p(x), and mean and covariance of p(z | x), of p(z) = N(0, I), p(x|z) = N(Wz, s2 I)."""
    size, latent = weights.shape
    covariance = weights @ weights.T + variance * torch.eye(size, dtype=x.dtype)
    marginal = torch.distributions.MultivariateNormal(torch.zeros(size, dtype=x.dtype), covariance)
    precision = weights.T @ weights + variance * torch.eye(latent, dtype=x.dtype)
    inverse = torch.linalg.inv(precision)
    return -marginal.log_prob(x), inverse @ weights.T @ x, variance * inverse


def test_the_bound_is_tight_at_the_posterior_of_a_linear_gaussian_model() -> None:
    """With orthogonal columns p(z | x) is diagonal, so that q can be it: -ELBO = -ln p(x).

    Any other q is worse by KL(q || p(z | x)).
    """
    variance, latent = 0.3, 2
    weights = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64, generator=generator())).Q
    weights = weights[:, :latent] * torch.tensor([1.5, 0.7], dtype=torch.float64)
    x = torch.randn(4, dtype=torch.float64, generator=generator(1))
    exact, mean, covariance = linear_gaussian(x, weights, variance)
    assert torch.allclose(covariance, torch.diag(covariance.diag()), atol=1e-12)

    def bound(q_mean: Tensor, q_log_variance: Tensor) -> Tensor:
        """E_q[-ln p(x|z)] in closed form, and the KL of the recipe."""
        residual = (x - weights @ q_mean).square().sum()
        spread = (weights.square().sum(dim=0) * q_log_variance.exp()).sum()
        expected = 0.5 * ((residual + spread) / variance + 4 * math.log(2 * math.pi * variance))
        return expected + kl_to_standard_normal(q_mean, q_log_variance).sum()

    tight = bound(mean, covariance.diag().log())
    assert torch.allclose(tight, exact, atol=1e-10)
    other_mean, other_variance = mean + 0.4, covariance.diag() * 1.7
    loose = bound(other_mean, other_variance.log())
    other = Normal(other_mean, other_variance.sqrt())
    excess = kl_divergence(other, Normal(mean, covariance.diag().sqrt())).sum()
    assert torch.allclose(loose - tight, excess, atol=1e-10)


def test_the_gradient_through_the_sample_is_that_of_the_expectation() -> None:
    """E[z^2] = mean^2 + sigma^2: derivatives 2 mean and, by ln sigma^2, sigma^2."""
    torch.manual_seed(0)
    mean = torch.tensor([0.7], dtype=torch.float64, requires_grad=True)
    log_variance = torch.tensor([-0.4], dtype=torch.float64, requires_grad=True)
    drawn = reparameterized(mean.expand(200_000), log_variance.expand(200_000))
    drawn.square().mean().backward()
    assert mean.grad is not None
    assert log_variance.grad is not None
    assert mean.grad.item() == pytest.approx(1.4, abs=0.02)
    assert log_variance.grad.item() == pytest.approx(math.exp(-0.4), abs=0.02)


def test_images_are_independent_and_samples_need_no_encoder() -> None:
    torch.manual_seed(0)
    model = VariationalAutoencoder((4, 5), hidden_size=7, latent_size=3)
    assert sum(p.numel() for p in model.parameters()) == 21 * 7 + 2 * 8 * 3 + 4 * 7 + 8 * 20
    images = torch.bernoulli(torch.full((6, 4, 5), 0.5))
    together = model.reconstruct(images)
    alone = torch.cat([model.reconstruct(image[None]) for image in images])
    assert torch.allclose(together, alone, atol=1e-6)
    samples = model.sample(2, generator())
    del model.encoder, model.posterior_mean, model.posterior_log_variance
    assert torch.equal(model.sample(2, generator()), samples)
    assert samples.shape == (2, 4, 5)


def test_more_samples_give_a_higher_bound() -> None:
    """ln 1/k sum p(x, z) / q(z) grows with k on average (Burda, Grosse & Salakhutdinov 2016)."""
    torch.manual_seed(0)
    model = VariationalAutoencoder((3, 3), hidden_size=8, latent_size=2)
    image = torch.bernoulli(torch.full((1, 3, 3), 0.5))
    mean, log_variance = model.posterior(image)
    q = Normal(mean.expand(60_000, -1), (0.5 * log_variance).exp().expand(60_000, -1))
    latent = q.sample()
    reconstruction = negative_log_likelihood(model.logits(latent), image.expand(60_000, -1, -1))
    prior = Normal(0.0, 1.0).log_prob(latent)
    weights = (prior - q.log_prob(latent)).sum(dim=1) - reconstruction
    bounds = [
        (weights.view(-1, k).logsumexp(dim=1) - math.log(k)).mean().item() for k in (1, 5, 50)
    ]
    assert bounds == sorted(bounds)
    assert bounds[2] - bounds[0] > 1e-3


def test_the_toy_from_nothing_to_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ASR_CORPORA", raising=False)
    settings = ["training.epochs=2", "training.artifacts=[1]", "task.hidden_size=16"]
    options = [option for setting in settings for option in ("--set", setting)]
    assert main(["train", str(RECIPE / "toy.toml"), *options]) == 0
    assert "test: nats" in capsys.readouterr().out
    for place in ("epoch-0001", "final"):
        folder = tmp_path / "exp" / "vae" / "toy" / "artifacts" / place
        assert {path.name for path in folder.iterdir()} == {
            "elbo.png",
            "reconstructions.png",
            "samples.png",
        }
    with Image.open(folder / "samples.png") as picture:
        assert picture.size == (10 * 60 + 9 * 2, 10 * 60 + 9 * 2), "five times as large"


def test_images_in_colour_are_for_other_models(tmp_path: Path) -> None:
    write_images(tmp_path / "colour.npz", np.zeros((2, 6, 6, 3), np.uint8))
    data = TaskData(train=str(tmp_path / "colour.npz"))
    advice = r"colour\.npz: has colour .* for grey ones, name such ones in data\.train$"
    with pytest.raises(DataError, match=advice):
        build(Config(), data, 1)


def test_large_images_are_shown_as_they_are() -> None:
    assert shown_large(np.zeros((3, 70, 40), np.float32)).shape == (70, 3 * 40 + 2 * 2)
    assert shown_large(np.ones((1, 28, 20), np.float32)).shape == (56, 40)


@pytest.mark.data
def test_squares_and_mnist(corpora: Path, tmp_path: Path) -> None:
    prepare([], tmp_path / "squares", variant="toy")
    images = read_images(tmp_path / "squares" / "train.npz")
    assert images.shape == (2000, 12, 12)
    assert set(np.unique(images)) == {0, 255}
    assert (images.reshape(2000, -1) > 0).sum(axis=1).tolist() == [16] * 2000
    prepare([corpora / "mnist"], tmp_path / "mnist")
    assert read_images(tmp_path / "mnist" / "test.npz").shape == (10_000, 28, 28)
