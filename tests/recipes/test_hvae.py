"""The hierarchical VAE: its distributions, what it may see, and one layer at a time."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal
from torch.distributions import kl_divergence as torch_kl

from recipes.hvae.border import central, channels_first, channels_last, pasted, with_mask
from recipes.hvae.distributions import (
    SMALLEST_DEVIATION,
    SMALLEST_SPREAD,
    Gaussian,
    Intensities,
    deviation_of,
    kl_divergence,
    log_normaliser,
    merged,
    spread_of,
)
from recipes.hvae.model import GaussianOf, HierarchicalVAE, Posterior

BOTH: list[Posterior] = ["independent", "ladder"]
KINDS = [(q, channels) for q in BOTH for channels in (1, 3)]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=seeded(seed))


def model_of(size: int = 8, channels: int = 1, q: Posterior = "independent") -> HierarchicalVAE:
    torch.manual_seed(0)
    return HierarchicalVAE(size, channels, maps=3, dense_size=10, top_size=4, q=q).eval()


def images_of(count: int = 3, size: int = 8, channels: int = 1, seed: int = 0) -> Tensor:
    shape = (count, size, size) if channels == 1 else (count, size, size, channels)
    return torch.randint(0, 256, shape, generator=seeded(seed)) / 255


def with_another_centre(images: Tensor) -> Tensor:
    whole = channels_first(images)
    centre = central(whole, whole.shape[2] // 2)
    return channels_last(pasted(1.0 - centre, whole))


# --- distributions -------------------------------------------------------------------------------


def gaussian(seed: int) -> Gaussian:
    return Gaussian(drawn(5, 2, 3, seed=seed), drawn(5, 2, 3, seed=seed + 1).exp())


def test_kl_is_that_of_torch_and_never_negative() -> None:
    q, p = gaussian(0), gaussian(2)
    exact = torch_kl(Normal(q.mean, q.deviation), Normal(p.mean, p.deviation))
    assert torch.allclose(kl_divergence(q, p), exact.flatten(1).sum(dim=1), atol=1e-12)
    assert (kl_divergence(q, p) > 0).all()
    assert torch.equal(kl_divergence(q, q), torch.zeros(5, dtype=torch.float64))


def test_a_ladder_merges_by_precision() -> None:
    """The merged Gaussian is the product of both densities, up to a constant."""
    likelihood, prior = gaussian(0), gaussian(2)
    both = merged(likelihood, prior)
    product = [
        sum(
            Normal(one.mean, one.deviation).log_prob(torch.full_like(one.mean, at))
            for one in (likelihood, prior)
        )
        - Normal(both.mean, both.deviation).log_prob(torch.full_like(both.mean, at))
        for at in (-1.0, 0.3, 2.0)
    ]
    assert torch.allclose(product[0], product[1], atol=1e-10)
    assert torch.allclose(product[0], product[2], atol=1e-10)
    assert (both.deviation < torch.minimum(likelihood.deviation, prior.deviation)).all()
    vague = Gaussian(likelihood.mean, torch.full_like(likelihood.mean, 1e6))
    assert torch.allclose(merged(vague, prior).mean, prior.mean, atol=1e-6)


def test_deviations_begin_at_one_and_have_a_floor() -> None:
    assert deviation_of(torch.zeros(())).item() == pytest.approx(1.0 + SMALLEST_DEVIATION)
    assert deviation_of(torch.tensor(-200.0)).item() == pytest.approx(SMALLEST_DEVIATION)
    assert spread_of(torch.zeros(())).item() == pytest.approx(0.1 + SMALLEST_SPREAD, rel=1e-5)
    assert spread_of(torch.tensor(-200.0)).item() == pytest.approx(SMALLEST_SPREAD)


@pytest.mark.parametrize("spread", [SMALLEST_SPREAD, 0.01, 3.0])
def test_the_levels_of_a_pixel_are_a_softmax(spread: float) -> None:
    means = torch.tensor([-3.0, -0.01, 0.0, 0.4321, 1.0, 1.7], dtype=torch.float64)
    levels = torch.arange(256, dtype=torch.float64) / 255
    expected = torch.log_softmax(-(means[:, None] - levels).square() / spread, dim=1)
    pixels = Intensities(
        means.repeat_interleave(256).view(-1, 1, 1, 1),
        torch.full((6 * 256, 1, 1, 1), spread, dtype=torch.float64),
    )
    found = -pixels.negative_log_likelihood(levels.repeat(6).view(-1, 1, 1, 1)).view(6, 256)
    assert torch.allclose(found, expected, atol=1e-9)
    assert torch.allclose(found.exp().sum(dim=1), torch.ones(6, dtype=torch.float64))
    means_of_levels = (expected.exp() * levels).sum(dim=1)
    assert torch.allclose(pixels.expected().view(6, 256)[:, 0], means_of_levels, atol=1e-12)


def test_the_likelihood_is_a_sum_over_pixels_and_colours() -> None:
    pixels = Intensities(drawn(2, 3, 4, 5).sigmoid(), drawn(2, 3, 4, 5, seed=1).exp())
    images = torch.randint(0, 256, (2, 3, 4, 5), generator=seeded()) / 255
    found = pixels.negative_log_likelihood(images)
    alone = [
        Intensities(
            pixels.mean[:, c : c + 1, y : y + 1, x : x + 1],
            pixels.spread[:, c : c + 1, y : y + 1, x : x + 1],
        ).negative_log_likelihood(images[:, c : c + 1, y : y + 1, x : x + 1])
        for c in range(3)
        for y in range(4)
        for x in range(5)
    ]
    assert torch.allclose(found, torch.stack(alone).sum(dim=0))


def test_the_normaliser_has_the_right_gradient_in_one_part_and_in_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mean = drawn(2, 3).requires_grad_()
    spread = drawn(2, 3, seed=1).exp().requires_grad_()
    assert torch.autograd.gradcheck(log_normaliser, (mean, spread))
    whole = log_normaliser(mean, spread)
    monkeypatch.setattr("recipes.hvae.distributions.AT_ONCE", 4)
    assert torch.allclose(log_normaliser(mean, spread), whole, atol=1e-12)


# --- border and centre ---------------------------------------------------------------------------


def test_the_centre_is_cut_out_and_put_back() -> None:
    whole = torch.arange(64.0).view(1, 1, 8, 8)
    centre = central(whole, 4)
    assert centre[0, 0, 0].tolist() == [18.0, 19.0, 20.0, 21.0]
    assert torch.equal(pasted(centre, whole), whole)
    hidden = with_mask(whole, hidden=True)
    assert torch.equal(hidden[:, :1], pasted(torch.zeros(1, 1, 4, 4), whole))
    expected = pasted(torch.ones(1, 1, 4, 4), torch.zeros(1, 1, 8, 8))
    assert torch.equal(hidden[:, 1:], expected)
    open_ = with_mask(whole, hidden=False)
    assert torch.equal(open_, torch.cat([whole, torch.zeros_like(whole)], dim=1))


# --- the model -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "latents"), [(8, 4), (16, 5), (32, 6), (64, 7)])
def test_latent_variables_follow_from_the_size(size: int, latents: int) -> None:
    model = model_of(size, channels=3)
    assert model.num_latents == latents
    images = images_of(2, size, 3)
    _, drawn_latents = model.generate(images, seeded())
    sides = [size // 2 >> level for level in range(latents - 2)] + [2]
    expected = [(2, 3 << level, side, side) for level, side in enumerate(sides)]
    assert [tuple(latent.shape) for latent in drawn_latents] == [*expected, (2, 4)]
    terms = model.terms(images)
    assert list(terms) == ["reconstruction", *(f"kl_{n}" for n in range(1, latents + 1))]
    assert all(part.shape == (2,) for part in terms.values())


@pytest.mark.parametrize(("q", "channels"), KINDS)
def test_a_border_tells_nothing_of_its_centre(q: Posterior, channels: int) -> None:
    """Another centre changes neither a prior nor what is painted, but it does change q."""
    model = model_of(channels=channels, q=q)
    images = images_of(channels=channels)
    other = with_another_centre(images)
    painted, latents = model.generate(images, seeded())
    painted_other, latents_other = model.generate(other, seeded())
    assert not torch.equal(images, other)
    assert torch.equal(painted, painted_other)
    assert all(map(torch.equal, latents, latents_other))
    prior = Gaussian(torch.zeros(3, 4), torch.ones(3, 4))
    seen = [model.encoder(with_mask(channels_first(x), hidden=False)) for x in (images, other)]
    first, second = (model.posterior(model.num_latents, one, prior).mean for one in seen)
    assert not torch.allclose(first, second)


@pytest.mark.parametrize(("q", "channels"), KINDS)
def test_the_priors_of_the_training_see_the_border_alone(
    q: Posterior, channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the same z, the priors inside of the loss are those of another centre too."""
    model, priors = model_of(channels=channels, q=q), []

    def same(layer: int, full: object, prior: Gaussian) -> Gaussian:
        priors.append(prior.mean)
        return Gaussian(torch.full_like(prior.mean, 0.3), torch.zeros_like(prior.mean) + 1e-9)

    monkeypatch.setattr(model, "posterior", same)
    images = images_of(channels=channels)
    for these in (images, with_another_centre(images)):
        model.terms(these)
    half = len(priors) // 2
    assert half == model.num_latents
    for one, other in zip(priors[:half], priors[half:], strict=True):
        assert torch.allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_border_of_what_is_painted_is_the_border_given(channels: int) -> None:
    images = images_of(channels=channels)
    painted, _ = model_of(channels=channels).generate(images, seeded())
    assert painted.shape == images.shape
    centre = channels_first(torch.ones_like(images))
    outside = channels_last(pasted(torch.zeros_like(central(centre, 4)), centre)) > 0
    assert torch.equal(painted[outside], images[outside])
    assert not torch.allclose(painted[~outside], images[~outside])
    assert 0.0 <= float(painted.min()) <= float(painted.max()) <= 1.0


def test_painting_at_the_means_repeats_itself_and_samples_differ() -> None:
    model, images = model_of(), images_of()
    means = [model.generate(images, seeded(seed), sampled=())[0] for seed in (1, 2)]
    assert torch.equal(*means)
    samples = [model.generate(images, seeded(seed))[0] for seed in (1, 1, 2)]
    assert torch.equal(samples[0], samples[1])
    assert not torch.allclose(samples[0], samples[2])


@pytest.mark.parametrize("layer", [1, 2, 3, 4])
def test_one_layer_that_is_sampled_leaves_those_above_at_their_means(layer: int) -> None:
    model, images = model_of(), images_of()
    _, still = model.generate(images, seeded(), sampled=())
    (image, moved), (other, _) = (
        model.generate(images, seeded(seed), sampled=(layer,)) for seed in (1, 2)
    )
    for above in range(layer, model.num_latents):
        assert torch.equal(moved[above], still[above])
    assert not torch.allclose(moved[layer - 1], still[layer - 1])
    for below in range(layer - 1):  # they are means too, of a prior that knows the layer
        assert not torch.equal(moved[below], still[below])
    assert not torch.allclose(image, other)


def all_alike(model: HierarchicalVAE) -> None:
    """Every Gaussian that a network gives becomes the same, whatever the network sees."""
    for module in model.modules():
        if isinstance(module, GaussianOf):
            for parameter in module.parameters():
                nn.init.zeros_(parameter)


def test_with_a_posterior_like_the_prior_the_loss_is_the_reconstruction() -> None:
    model = model_of()
    all_alike(model)
    terms = model.terms(images_of())
    assert all(torch.equal(terms[name], torch.zeros(3)) for name in model.kl_names())
    assert (terms["reconstruction"] > 0).all()


def test_a_ladder_counts_what_the_encoder_adds_to_the_prior() -> None:
    """Of two equal Gaussians the merged one has half the variance: a KL of (ln 2 - 1/2) / 2."""
    model = model_of(q="ladder")
    all_alike(model)
    terms = model.terms(images_of())
    each = 0.5 * (math.log(2.0) - 0.5)
    sizes = {"kl_1": 3 * 16, "kl_2": 6 * 4, "kl_3": 12 * 4, "kl_4": 4}
    for name, size in sizes.items():
        assert terms[name].tolist() == pytest.approx([each * size] * 3, rel=1e-4)


def test_lower_priors_are_given_samples_of_the_posterior() -> None:
    """Where q is a point there is no noise in the loss, though the priors are wide."""
    model, images = model_of(), images_of()
    for module in (model.top_posterior, *(model.level(layer).posterior for layer in (1, 2, 3))):
        bias = module.layer.bias
        bias.data[len(bias) // 2 :] = -50.0
    model.double()
    first, second = (model.terms(images.double())["reconstruction"] for _ in range(2))
    assert torch.allclose(first, second, rtol=0.02)
    wide = model_of().double()
    first, second = (wide.terms(images.double())["reconstruction"] for _ in range(2))
    assert not torch.allclose(first, second, rtol=0.02)


@pytest.mark.parametrize("q", BOTH)
def test_images_of_a_batch_do_not_touch_and_all_weights_learn(q: Posterior) -> None:
    model, images = model_of(q=q), images_of(5)
    together, _ = model.generate(images, seeded(), sampled=())
    alone = [model.generate(image[None], seeded(), sampled=())[0] for image in images]
    assert torch.allclose(together, torch.cat(alone), atol=1e-5)
    torch.stack(list(model.terms(images).values())).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
