"""A hierarchical conditional variational autoencoder that paints the centre of an image.

Of a border x_out it generates the centre x_in, by latent variables z_1 (at the pixels) to z_L (a
vector for the whole image):

    p(x_in, z_1 .. z_L | x_out) = p(x_in | z_1 .., x_out) prod_{l<L} p(z_l | z_{l+1} .., x_out)
                                  p(z_L | x_out)
    q(z_1 .. z_L | x)           = prod_l q(z_l | x)                          ("independent")
                                  prod_l q(z_l | z_{l+1} .., x)              ("ladder")
    -ln p(x_in | x_out)        <= E_q[-ln p(x_in | z_1 .., x_out)] + sum_l E_q[KL(q(z_l) || p(z_l))]

References: S. Tan, an entry to the inpainting task of the course IFT6266, 2017. I. Gulrajani
et al., "PixelVAE", ICLR 2017 (the independent q). C. K. Sønderby et al., "Ladder variational
autoencoders", NIPS 2016 (the other q).
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asr.image_task import BoundedModel

from .border import central, channels_first, channels_last, pasted, with_mask
from .distributions import Gaussian, Intensities, deviation_of, kl_divergence, merged, spread_of

TOP_SIDE = 2  # of the maps of the highest level
Posterior = Literal["independent", "ladder"]
Choose = Callable[[int, Gaussian], Tensor]


@dataclass(frozen=True, slots=True)
class Features:
    """What the encoder says of images.

    Attributes:
        maps: of each level, the lowest first: (B, C_l, S_l, S_l), each half as wide as before.
        vector: (B, D), of the whole image.
    """

    maps: list[Tensor]
    vector: Tensor


class HierarchicalVAE(BoundedModel):
    """The encoder, the same for whole images and for borders, and the levels that generate.

    Args:
        size: height and width of the images, a power of two from 8 on: 64 has 7 latent variables,
            32 has 6.
        channels: 1 grey, 3 in colour.
        maps: of the lowest level; every level has twice as many as the one below.
        dense_size: of the vector that the encoder makes of an image.
        top_size: dimensions of z_L.
        q: what the posterior of a latent variable depends on.
    """

    def __init__(
        self,
        size: int,
        channels: int,
        *,
        maps: int,
        dense_size: int,
        top_size: int,
        q: Posterior = "independent",
    ) -> None:
        super().__init__()
        self.size, self.channels, self.q = size, channels, q
        sides = [size >> level for level in range(size.bit_length() - TOP_SIDE.bit_length() + 1)]
        widths = [maps << level for level in range(len(sides))]
        self.num_latents = len(sides) + 1
        self.encoder = Encoder(channels + 1, widths, dense_size)
        self.levels = nn.ModuleList(
            Level(side, width, width_below, scale=2 if side < size else 1)
            for side, width, width_below in zip(
                sides, widths, [widths[0], *widths[:-1]], strict=True
            )
        )
        self.top_posterior = GaussianOf(nn.Linear(dense_size, 2 * top_size))
        self.top_prior = GaussianOf(nn.Linear(dense_size, 2 * top_size))
        self.from_top = nn.Linear(dense_size + top_size, widths[-1] * TOP_SIDE**2)
        self.pixels = nn.Conv2d(widths[0], 2 * channels, 1)

    def terms(self, images: Tensor) -> dict[str, Tensor]:
        """-ln p(x_in | z) and the KL of every layer, with one sample of q: (B,) each."""
        whole = channels_first(images)
        full, border = (self.encoder(with_mask(whole, hidden=hidden)) for hidden in (False, True))
        divergences: dict[str, Tensor] = {}

        def from_posterior(layer: int, prior: Gaussian) -> Tensor:
            q = self.posterior(layer, full, prior)
            divergences[f"kl_{layer}"] = kl_divergence(q, prior)
            return q.at(torch.randn_like(q.mean))

        found = self.descend(border, from_posterior)
        centre = central(whole, self.size // 2)
        by_layer = {name: divergences[name] for name in self.kl_names()}
        return {"reconstruction": found.negative_log_likelihood(centre), **by_layer}

    def kl_names(self) -> list[str]:
        """kl_1 … kl_L."""
        return [f"kl_{layer}" for layer in range(1, self.num_latents + 1)]

    def level(self, layer: int) -> "Level":
        """The networks of z_layer, 1 … L - 1."""
        return cast(Level, self.levels[layer - 1])

    def posterior(self, layer: int, full: Features, prior: Gaussian) -> Gaussian:
        """q(z_layer | x), or with a ladder q(z_layer | z above, x), by what the prior made of them.

        Args:
            layer: 1 … L.
            full: of the whole images.
            prior: p(z_layer | z above, x_out).
        """
        if layer == self.num_latents:
            q: Gaussian = self.top_posterior(full.vector)
        else:
            q = self.level(layer).posterior_of(full.maps[layer - 1])
        return merged(q, prior) if self.q == "ladder" else q

    def descend(self, border: Features, choose: Choose) -> Intensities:
        """p(x_in | z_1 .., x_out), from z_L down.

        Args:
            border: of images whose centre is hidden.
            choose: is given l and p(z_l | z above, x_out), and gives z_l.
        """
        latent = choose(self.num_latents, self.top_prior(border.vector))
        hidden = F.elu(self.from_top(torch.cat([border.vector, latent], dim=1)))
        painted = hidden.view(len(hidden), -1, TOP_SIDE, TOP_SIDE)
        for layer in range(self.num_latents - 1, 0, -1):
            level = self.level(layer)
            seen = level.beside(painted, border.maps[layer - 1])
            painted = level.below(seen, choose(layer, level.prior(seen)))
        mean, spread = self.pixels(painted).chunk(2, dim=1)
        return Intensities(mean, spread_of(spread))

    def generate(
        self,
        images: Tensor,
        generator: torch.Generator,
        *,
        sampled: Collection[int] | None = None,
    ) -> tuple[Tensor, list[Tensor]]:
        """Images with a centre of the model's own, of which the border is all that it sees.

        Args:
            images: (B, H, W) or (B, H, W, 3) intensities.
            generator: of the noise, on the CPU.
            sampled: layers of which z is drawn; the others are at the mean of their prior. None:
                all are drawn.

        Returns:
            Images of the shape of `images`, with the expected intensities in the centre; and z_1 …
            z_L.
        """
        whole = channels_first(images)
        latents: dict[int, Tensor] = {}

        def from_prior(layer: int, prior: Gaussian) -> Tensor:
            # It is drawn for every layer, so that a layer's noise is the same whatever others do.
            noise = torch.randn(prior.mean.shape, generator=generator).to(whole.device)
            drawn = sampled is None or layer in sampled
            latents[layer] = prior.at(noise) if drawn else prior.mean
            return latents[layer]

        found = self.descend(self.encoder(with_mask(whole, hidden=True)), from_prior)
        painted = channels_last(pasted(found.expected(), whole))
        return painted, [latents[layer] for layer in sorted(latents)]


class Encoder(nn.Module):
    """A convolution 3 x 3 at each level, on half the side of the one below, and a vector."""

    def __init__(self, channels: int, widths: list[int], dense_size: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, width, 3, padding=1)
            for before, width in zip([channels, *widths[:-1]], widths, strict=True)
        )
        self.dense = nn.Linear(widths[-1] * TOP_SIDE**2, dense_size)

    def forward(self, images: Tensor) -> Features:
        """The features of images (B, C, S, S)."""
        maps: list[Tensor] = []
        for convolution in self.convolutions:
            below = F.max_pool2d(maps[-1], 2) if maps else images
            maps.append(F.elu(convolution(below)))
        return Features(maps, F.elu(self.dense(maps[-1].flatten(1))))


class Level(nn.Module):
    """The networks of one z_l that lies on maps S x S, of which it has the centre.

    Where the maps are too small for a centre, it has them all.

    Args:
        side: S.
        width: maps of this level, and of z_l.
        width_below: maps of the level below, or of what becomes pixels.
        scale: how much larger the maps below are.
    """

    def __init__(self, side: int, width: int, width_below: int, *, scale: int) -> None:
        super().__init__()
        self.side, self.scale = max(side // 2, TOP_SIDE), scale
        self.join = nn.Conv2d(width, width, 3, padding=1)
        self.prior = GaussianOf(nn.Conv2d(width, 2 * width, 1))
        self.posterior = GaussianOf(nn.Conv2d(width, 2 * width, 1))
        self.down = nn.Conv2d(2 * width, width_below, 3, padding=1)

    def posterior_of(self, maps: Tensor) -> Gaussian:
        """What the features (B, C, S, S) of whole images say of z_l."""
        found: Gaussian = self.posterior(central(maps, self.side))
        return found

    def beside(self, painted: Tensor, border: Tensor) -> Tensor:
        """What is painted so far, after a look at the border: the centre of (B, C, S, S)."""
        joined = F.elu(self.join(pasted(central(painted, self.side), border)))
        return central(joined, self.side)

    def below(self, seen: Tensor, latent: Tensor) -> Tensor:
        """What the level below begins with."""
        both = torch.cat([seen, latent], dim=1)
        if self.scale > 1:
            both = F.interpolate(both, scale_factor=float(self.scale))
        painted: Tensor = F.elu(self.down(both))
        return painted


class GaussianOf(nn.Module):
    """A Gaussian whose mean and deviation are halves of what a layer gives."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, features: Tensor) -> Gaussian:
        """The Gaussian of features (B, C) or (B, C, H, W)."""
        mean, raw = self.layer(features).chunk(2, dim=1)
        return Gaussian(mean, deviation_of(raw))
