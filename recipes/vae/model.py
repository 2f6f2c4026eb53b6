"""The variational autoencoder (Kingma & Welling 2014; Rezende, Mohamed & Wierstra 2014).

An image x is explained by a latent vector z with p(z) = N(0, I) and p(x | z) = Bernoulli(f(z)).
Everything is in nats and for one image: sums over pixels and latent dimensions, means over nothing.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asr.image_task import BoundedModel


class VariationalAutoencoder(BoundedModel):
    """Two networks: q(z | x), which guesses z, and p(x | z), which draws.

    Args:
        image_shape: (H, W) of the images.
        hidden_size: units of the one hidden layer of each network.
        latent_size: dimensions of z.
    """

    def __init__(self, image_shape: tuple[int, int], *, hidden_size: int, latent_size: int) -> None:
        super().__init__()
        self.image_shape, self.latent_size = image_shape, latent_size
        pixels = math.prod(image_shape)
        self.encoder = nn.Sequential(nn.Linear(pixels, hidden_size), nn.ReLU())
        self.posterior_mean = nn.Linear(hidden_size, latent_size)
        self.posterior_log_variance = nn.Linear(hidden_size, latent_size)
        self.decoder = nn.Sequential(
            nn.Linear(latent_size, hidden_size), nn.ReLU(), nn.Linear(hidden_size, pixels)
        )

    def posterior(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """q(z | x) = N(mean, diag exp(log_variance)): both (B, latent_size) of images (B, H, W)."""
        hidden = self.encoder(images.flatten(1))
        return self.posterior_mean(hidden), self.posterior_log_variance(hidden)

    def logits(self, latent: Tensor) -> Tensor:
        """Of p(x | z): (B, H, W) log-odds of white, of z (B, latent_size)."""
        logits: Tensor = self.decoder(latent)
        return logits.view(-1, *self.image_shape)

    def terms(self, images: Tensor) -> dict[str, Tensor]:
        """-ELBO = E_q[-ln p(x | z)] + KL(q(z | x) || p(z)), with one sample of q: (B,) each."""
        mean, log_variance = self.posterior(images)
        latent = reparameterized(mean, log_variance)
        return {
            "reconstruction": negative_log_likelihood(self.logits(latent), images),
            "kl": kl_to_standard_normal(mean, log_variance).sum(dim=1),
        }

    def reconstruct(self, images: Tensor) -> Tensor:
        """f(mean of q(z | x)): intensities (B, H, W)."""
        return torch.sigmoid(self.logits(self.posterior(images)[0]))

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """f(z) with z drawn from p(z): intensities (count, H, W)."""
        latent = torch.randn(count, self.latent_size, generator=generator)
        return torch.sigmoid(self.logits(latent.to(next(self.parameters()).device)))


def reparameterized(mean: Tensor, log_variance: Tensor) -> Tensor:
    """A sample of N(mean, diag exp(log_variance)) as mean + sigma * epsilon, epsilon ~ N(0, I).

    So it has derivatives with respect to both (Kingma & Welling 2014, section 2.4).
    """
    return mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)


def kl_to_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, diag exp(log_variance)) || N(0, I)) of each dimension, in closed form.

    1/2 (mean^2 + sigma^2 - ln sigma^2 - 1) (Kingma & Welling 2014, appendix B).
    """
    return 0.5 * (mean.square() + log_variance.exp() - log_variance - 1.0)


def negative_log_likelihood(logits: Tensor, images: Tensor) -> Tensor:
    """-ln Bernoulli(x; sigmoid(logits)), summed over the pixels: (B,)."""
    pixels = F.binary_cross_entropy_with_logits(logits, images, reduction="none")
    return pixels.flatten(1).sum(dim=1)
