"""DRAW: its filters, its steps, its bound."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from asr.data.corpus.made_images import squares
from asr.recipe import TaskRecipe, load_recipe
from recipes.draw.model import (
    AttentiveReader,
    AttentiveWriter,
    Draw,
    channels_first,
    channels_last,
    filter_banks,
    filtered,
    kl_to_standard_normal,
    spread,
)
from recipes.draw.recurrence import Cell

RECIPE = Path(__file__).parents[2] / "recipes" / "draw"
HEIGHT, WIDTH = 7, 9


def made(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def small(shape: tuple[int, ...] = (5, 5), **sizes: int) -> Draw:
    torch.manual_seed(0)
    model = Draw(shape, **{"steps": 3, "hidden_size": 6, "latent_size": 2, **sizes})
    with torch.no_grad():
        for first in (model.first_canvas, model.first_encoder_output, model.first_decoder_output):
            first.normal_()
    return model


def test_each_filter_sums_to_one() -> None:
    """Also far outside of the image, narrower than a pixel and wider than all of it."""
    parameters = torch.cat([3.0 * made(50, 5), torch.tensor([[9.0, -9.0, -60.0, 3.0, 0.0]])])
    parameters.requires_grad_()
    banks = filter_banks(parameters, 3, HEIGHT, WIDTH)
    assert banks.rows.shape == (51, 3, HEIGHT)
    assert banks.columns.shape == (51, 3, WIDTH)
    for filters in (banks.rows, banks.columns):
        assert torch.allclose(filters.sum(dim=2), torch.ones(51, 3, dtype=torch.float64))
    (banks.rows.square().sum() + banks.columns.square().sum()).backward()
    assert parameters.grad is not None
    assert parameters.grad.isfinite().all()


def test_the_filters_are_those_of_the_paper() -> None:
    """(19) to (26) written out, every index from 1."""
    parameters, size = 0.3 * made(1, 5), 3
    x, y, log_variance, log_stride, log_intensity = parameters[0].tolist()
    g_x, g_y = (WIDTH + 1) / 2 * (x + 1), (HEIGHT + 1) / 2 * (y + 1)
    stride = (max(WIDTH, HEIGHT) - 1) / (size - 1) * math.exp(log_stride)
    variance = math.exp(log_variance)

    def bank(centre: float, pixels: int) -> Tensor:
        rows = []
        for i in range(1, size + 1):
            mean = centre + (i - size / 2 - 0.5) * stride
            row = [math.exp(-((a - mean) ** 2) / (2 * variance)) for a in range(1, pixels + 1)]
            rows.append([value / sum(row) for value in row])
        return torch.tensor(rows, dtype=torch.float64)

    banks = filter_banks(parameters, size, HEIGHT, WIDTH)
    assert torch.allclose(banks.columns[0], bank(g_x, WIDTH), atol=1e-12)
    assert torch.allclose(banks.rows[0], bank(g_y, HEIGHT), atol=1e-12)
    assert banks.intensity.item() == pytest.approx(math.exp(log_intensity))
    expected = [g_x - stride, g_y - stride, g_x + stride, g_y + stride]
    assert banks.window[0].tolist() == pytest.approx(expected)


@pytest.mark.parametrize("size", [2, 5])
def test_parameters_of_zero_are_the_whole_image(size: int) -> None:
    banks = filter_banks(torch.zeros(1, 5), size, 12, 12)
    assert banks.window.tolist() == [[1.0, 1.0, 12.0, 12.0]]
    assert banks.intensity.item() == 1.0


def test_narrow_filters_on_every_pixel_change_nothing() -> None:
    parameters = torch.tensor([[0.0, 0.0, -20.0, 0.0, 0.0]], dtype=torch.float64)
    banks = filter_banks(parameters, 6, 6, 6)
    images = made(1, 2, 6, 6)
    assert torch.equal(banks.rows[0], torch.eye(6, dtype=torch.float64))
    assert torch.allclose(filtered(images, banks), images)
    assert torch.allclose(spread(images, banks), images)


def test_what_is_read_of_one_grey_is_that_grey() -> None:
    banks = filter_banks(made(4, 5), 3, HEIGHT, WIDTH)
    images = torch.full((4, 1, HEIGHT, WIDTH), 0.7, dtype=torch.float64)
    grey = torch.full((4, 1, 3, 3), 0.7, dtype=torch.float64)
    assert torch.allclose(filtered(images, banks), grey)


def test_reading_and_writing_are_adjoint() -> None:
    """<F_Y x F_X^T, w> = <x, F_Y^T w F_X>, in every channel."""
    banks = filter_banks(made(4, 5), 3, HEIGHT, WIDTH)
    images, patch = made(4, 3, HEIGHT, WIDTH, seed=1), made(4, 3, 3, 3, seed=2)
    read, written = filtered(images, banks) * patch, images * spread(patch, banks)
    assert torch.allclose(read.sum(dim=(2, 3)), written.sum(dim=(2, 3)), atol=1e-12)
    one = banks.rows[2] @ images[2, 1] @ banks.columns[2].T
    assert torch.allclose(filtered(images, banks)[2, 1], one, atol=1e-12)


def test_the_intensity_multiplies_what_is_read_and_divides_what_is_written() -> None:
    torch.manual_seed(0)
    reader, writer = AttentiveReader((1, 7, 9), 4, 3), AttentiveWriter((1, 7, 9), 4, 3)
    images, error, output = torch.rand(2, 1, 7, 9), torch.rand(2, 1, 7, 9), torch.randn(2, 4)
    glimpse, (stroke, _) = reader(images, error, output), writer(output)
    with torch.no_grad():
        reader.window.bias[4] += math.log(3.0)
        writer.window.bias[4] += math.log(3.0)
    assert torch.allclose(reader(images, error, output), 3.0 * glimpse, atol=1e-6)
    assert torch.allclose(writer(output)[0], stroke / 3.0, atol=1e-6)
    assert glimpse.shape == (2, reader.output_size) == (2, 18)


def test_kl_is_that_of_torch() -> None:
    mean, log_deviation = made(5, 3), made(5, 3, seed=1)
    expected = kl_divergence(Normal(mean, log_deviation.exp()), Normal(0.0, 1.0))
    assert torch.allclose(kl_to_standard_normal(mean, log_deviation), expected, atol=1e-12)


def lstm_of(cell: Cell, input_size: int) -> nn.LSTMCell:
    """torch's cell with the weights of ours, its input first what stays and then the rest."""
    lstm = nn.LSTMCell(input_size, cell.hidden_size)
    size, inputs = cell.hidden_size, cell.weights.shape[1] - cell.hidden_size
    fixed = cell.weights[:, :0] if cell.fixed_weights is None else cell.fixed_weights
    order = [*range(2 * size), *range(3 * size, 4 * size), *range(2 * size, 3 * size)]  # i f g o
    with torch.no_grad():
        lstm.weight_ih.copy_(torch.cat([fixed, cell.weights[:, :inputs]], dim=1)[order])
        lstm.weight_hh.copy_(cell.weights[order, inputs:])
        lstm.bias_ih.copy_(cell.biases[order])
        lstm.bias_hh.zero_()
    return lstm


@pytest.mark.parametrize("fixed_size", [0, 3])
def test_the_cell_is_torchs(fixed_size: int) -> None:
    torch.manual_seed(0)
    cell = Cell(4, 5, fixed_size=fixed_size)
    nn.init.normal_(cell.biases)
    stays, inputs = torch.randn(2, fixed_size), torch.randn(2, 4)
    state = torch.randn(2, 5), torch.randn(2, 5)
    found = cell(inputs, state, cell.fixed(stays))
    expected = lstm_of(cell, fixed_size + 4)(torch.cat([stays, inputs], dim=1), state)
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6)


def plain_canvases(model: Draw, images: Tensor, noise: Tensor) -> tuple[list[Tensor], Tensor]:
    """(3) to (8) as they stand in the paper, with torch's cells: the canvases, and the KL."""
    count, pixels = len(images), images[0].numel()
    glimpse_size = model.reader.fixed_size + model.reader.output_size
    size = model.first_encoder_output.numel()
    encoder, decoder = lstm_of(model.encoder, glimpse_size + size), lstm_of(model.decoder, 2)
    h_enc, h_dec = (
        first.expand(count, size)
        for first in (model.first_encoder_output, model.first_decoder_output)
    )
    c_enc = c_dec = torch.zeros(count, size)
    canvas, canvases, kl = model.first_canvas.expand(count, *model.shape), [], torch.zeros(count)
    for eps in noise:
        error = images - 1 / (1 + torch.exp(-canvas))
        if model.reader.fixed_size:
            glimpse = torch.cat([images.view(count, pixels), error.view(count, pixels)], dim=1)
        else:
            glimpse = model.reader(images, error, h_dec)
        h_enc, c_enc = encoder(torch.cat([glimpse, h_dec], dim=1), (h_enc, c_enc))
        mean, log_deviation = model.posterior(h_enc).split(2, dim=1)
        z = mean + log_deviation.exp() * eps
        kl = kl + kl_divergence(Normal(mean, log_deviation.exp()), Normal(0.0, 1.0)).sum(dim=1)
        h_dec, c_dec = decoder(z, (h_dec, c_dec))
        canvas = canvas + model.writer(h_dec)[0]
        canvases.append(canvas)
    return canvases, kl


@pytest.mark.parametrize("attention", [{}, {"read_size": 2, "write_size": 3}])
def test_the_steps_are_those_of_the_paper(attention: dict[str, int]) -> None:
    model = small(**attention)
    images = torch.bernoulli(torch.full((4, 1, 5, 5), 0.5))
    torch.manual_seed(3)
    noise = torch.randn(3, 4, 2)
    drawing, kl = model.look_and_draw(images, noise)
    canvases, expected_kl = plain_canvases(model, images, noise)
    assert torch.allclose(drawing.canvases, torch.stack(canvases), atol=1e-5)
    assert torch.allclose(kl, expected_kl, atol=1e-5)
    assert (drawing.windows is None) == (not attention)
    torch.manual_seed(3)
    terms = model.terms(images[:, 0])
    white = torch.sigmoid(canvases[-1])
    reconstruction = -torch.where(images > 0, white, 1 - white).log().flatten(1).sum(dim=1)
    assert torch.allclose(terms["reconstruction"], reconstruction, atol=1e-4)
    assert torch.allclose(terms["kl"], expected_kl, atol=1e-5)


def test_one_step_without_attention_is_a_variational_autoencoder() -> None:
    """One sample of q(z | x), and a decoder of z alone."""
    model = small(steps=1)
    images = torch.bernoulli(torch.full((4, 1, 5, 5), 0.5))
    noise = torch.randn(1, 4, 2)
    drawing, kl = model.look_and_draw(images, noise)
    start = model.first_decoder_output.expand(4, -1)
    zeros = torch.zeros(4, 6)
    error = images - torch.sigmoid(model.first_canvas)
    seen = torch.cat([error.flatten(1), start], dim=1)
    fixed = model.encoder.fixed(images.flatten(1))
    hidden, _ = model.encoder(seen, (model.first_encoder_output.expand(4, -1), zeros), fixed)
    mean, log_deviation = model.posterior(hidden).chunk(2, dim=1)
    latent = mean + log_deviation.exp() * noise[0]
    decoded, _ = model.decoder(latent, (start, zeros))
    logits = model.first_canvas.flatten() + model.writer.stroke(decoded)
    assert torch.allclose(drawing.canvases[-1].flatten(1), logits, atol=1e-6)
    assert torch.allclose(kl, kl_to_standard_normal(mean, log_deviation).sum(dim=1), atol=1e-6)


def test_a_canvas_is_the_sum_of_what_was_written() -> None:
    model = small(read_size=2, write_size=3)
    strokes = []
    model.writer.register_forward_hook(lambda module, inputs, output: strokes.append(output[0]))
    drawing = model.generate(2, torch.Generator().manual_seed(1))
    assert len(strokes) == 3
    assert torch.allclose(drawing.canvases[-1], model.first_canvas + sum(strokes), atol=1e-6)
    assert drawing.windows is not None
    assert drawing.windows.shape == (3, 2, 4)


@pytest.mark.parametrize("attention", [{}, {"read_size": 2, "write_size": 3}])
def test_generation_needs_neither_encoder_nor_images(attention: dict[str, int]) -> None:
    model = small(**attention)
    first = model.generate(2, torch.Generator().manual_seed(1)).canvases
    first.sum().backward()
    unused = {name for name, weights in model.named_parameters() if weights.grad is None}
    parts = {name.split(".")[0] for name in unused}
    assert parts == {"encoder", "posterior", "first_encoder_output"} | (
        {"reader"} if attention else set()
    )
    del model.encoder, model.posterior, model.reader
    again = model.generate(2, torch.Generator().manual_seed(1)).canvases
    assert torch.equal(again, first)
    assert again.shape == (3, 2, 1, 5, 5)
    other = model.generate(2, torch.Generator().manual_seed(2)).canvases
    assert not torch.equal(other, first)


def test_images_are_independent() -> None:
    model = small(read_size=2, write_size=3)
    images, noise = torch.bernoulli(torch.full((4, 1, 5, 5), 0.5)), torch.randn(3, 4, 2)
    together, kl = model.look_and_draw(images, noise)
    for index in range(4):
        one = slice(index, index + 1)
        alone, its_kl = model.look_and_draw(images[one], noise[:, one])
        assert torch.allclose(together.canvases[:, one], alone.canvases, atol=1e-5)
        assert torch.allclose(kl[one], its_kl, atol=1e-5)


def test_colours_share_the_filters() -> None:
    model = small((5, 6, 3), read_size=2, write_size=3)
    grey = torch.rand(2, 5, 6, 1).expand(2, 5, 6, 3)
    images = channels_first(grey)
    assert images.shape == (2, 3, 5, 6)
    assert torch.equal(channels_last(images), grey)
    glimpse = model.reader(images, images, torch.randn(2, 6)).view(2, 6, 4)
    assert torch.allclose(glimpse, glimpse[:, :1].expand_as(glimpse), atol=1e-6)
    assert {name: values.shape for name, values in model.terms(grey).items()} == {
        "reconstruction": (2,),
        "kl": (2,),
    }
    assert model.generate(1, torch.Generator()).canvases.shape == (3, 1, 3, 5, 6)


def test_the_paper_sized_model_has_as_many_weights_as_its_equations() -> None:
    recipe = load_recipe(RECIPE / "mnist.toml")
    assert isinstance(recipe, TaskRecipe)
    sizes = {
        name: getattr(recipe.task, name)
        for name in ("steps", "hidden_size", "latent_size", "read_size", "write_size")
    }
    assert list(sizes.values()) == [64, 256, 100, 2, 5]
    model = Draw((28, 28), **sizes)
    encoder, decoder = 1024 * (2 * 4 + 256 + 256 + 1), 1024 * (100 + 256 + 1)
    heads = 257 * (200 + 5 + 5 + 25)
    first = 784 + 2 * 256
    assert encoder + decoder + heads + first == 960_763
    assert sum(p.numel() for p in model.parameters()) == encoder + decoder + heads + first


def test_attention_learns_where_the_squares_are() -> None:
    """The bound falls below the best code of independent pixels; the windows follow the squares."""
    torch.manual_seed(0)
    data = squares(8, side=3, counts={"train": 1000})["train"]
    images = torch.from_numpy(data.astype(np.float32) / 255)
    share = images.mean(dim=0)
    independent = nn.functional.binary_cross_entropy(share, share, reduction="sum").item()
    model = Draw(
        (8, 8),
        steps=3,
        hidden_size=32,
        latent_size=4,
        read_size=3,
        write_size=3,
        mean_intensity=9 / 64,
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(150):
        batch = images[torch.randint(len(images), (64,))]
        optimizer.zero_grad()
        torch.stack(list(model.terms(batch).values())).sum(dim=0).mean().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
    with torch.no_grad():
        bound = sum(values.mean().item() for values in model.terms(images).values())
        noise = torch.randn(3, len(images), 4)
        windows = model.look_and_draw(channels_first(images), noise)[0].windows
    assert bound < independent / 2
    assert windows is not None
    across = images.amax(dim=1).argmax(dim=1).double()
    down = images.amax(dim=2).argmax(dim=1).double()
    for place, edges in ((across, [0, 2]), (down, [1, 3])):
        centres = windows[-1][:, edges].mean(dim=1).double()
        assert torch.corrcoef(torch.stack([place, centres]))[0, 1].item() > 0.8
