"""DRAW, a network that draws an image step by step (Gregor et al. 2015).

Two LSTMs and a canvas. At every step the encoder looks at the image and at what the canvas still
lacks, a latent vector z is drawn, and the decoder adds to the canvas. The numbers of equations are
the paper's. Images are (B, C, H, W) in here, the paper's B x A: H rows, W columns; C is 1 or 3.
Everything is in nats and for one image.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asr.image_task import BoundedModel

from .recurrence import Cell

MIN_LOG_VARIANCE = -30.0  # of a filter


@dataclass(frozen=True, slots=True)
class Drawing:
    """What happened, step by step.

    Attributes:
        canvases: (T, B, C, H, W) log-odds of white after each step.
        windows: (T, B, 4) left, top, right and bottom centre of the filters with which each step
            wrote, in pixels, the first pixel being 1; none without attention.
    """

    canvases: Tensor
    windows: Tensor | None


class Draw(BoundedModel):
    """Encoder, decoder, and how they read and write.

    Args:
        image_shape: (H, W), or (H, W, 3) in colour.
        steps: T, how often it looks and draws.
        hidden_size: cells of each LSTM.
        latent_size: dimensions of z at each step.
        read_size: N of the grid that reads; 0: no attention, the whole image is read.
        write_size: N of the grid that writes; 0: the whole canvas is written.
        mean_intensity: of the images, between 0 and 1, with which the first canvas begins. On dark
            images and a grey canvas, windows learn to erase what is around an object instead of
            going to it.
    """

    def __init__(
        self,
        image_shape: tuple[int, ...],
        *,
        steps: int,
        hidden_size: int,
        latent_size: int,
        read_size: int = 0,
        write_size: int = 0,
        mean_intensity: float = 0.5,
    ) -> None:
        super().__init__()
        self.shape = (*image_shape[2:], *image_shape[:2]) if image_shape[2:] else (1, *image_shape)
        self.steps, self.latent_size = steps, latent_size
        self.reader: WholeReader | AttentiveReader = WholeReader(self.shape)
        if read_size:
            self.reader = AttentiveReader(self.shape, hidden_size, read_size)
        self.encoder = Cell(
            self.reader.output_size + hidden_size, hidden_size, fixed_size=self.reader.fixed_size
        )
        self.posterior = nn.Linear(hidden_size, 2 * latent_size)
        self.decoder = Cell(latent_size, hidden_size)
        self.writer: WholeWriter | AttentiveWriter = WholeWriter(self.shape, hidden_size)
        if write_size:
            self.writer = AttentiveWriter(self.shape, hidden_size, write_size)
        # What the network begins with is learned too; the cells of the LSTMs begin at zero.
        log_odds = math.log(mean_intensity / (1.0 - mean_intensity))
        self.first_canvas = nn.Parameter(torch.full(self.shape, log_odds))
        self.first_encoder_output = nn.Parameter(torch.zeros(hidden_size))
        self.first_decoder_output = nn.Parameter(torch.zeros(hidden_size))

    def terms(self, images: Tensor) -> dict[str, Tensor]:
        """L_x = -ln D(x | c_T) and L_z = sum_t KL(Q_t || N(0, I)), (9) and (11): (B,) each."""
        images = channels_first(images)
        shape = self.steps, len(images), self.latent_size
        drawing, kl = self.look_and_draw(images, torch.randn(shape, device=images.device))
        pixels = F.binary_cross_entropy_with_logits(drawing.canvases[-1], images, reduction="none")
        return {"reconstruction": pixels.flatten(1).sum(dim=1), "kl": kl}

    def look_and_draw(self, images: Tensor, noise: Tensor) -> tuple[Drawing, Tensor]:
        """Draw images again, with one sample of z_1 … z_T.

        Args:
            images: (B, C, H, W) intensities.
            noise: (T, B, latent_size) from N(0, I), of which the sample is made.

        Returns:
            The drawing, and (B,) the sum of KL(Q_t || N(0, I)) over the steps.
        """
        encoder, decoder, canvas = self._start(len(images))
        fixed = self.encoder.fixed(self.reader.fixed(images))
        canvases, windows, kl = [], [], images.new_zeros(len(images))
        for drawn in noise:
            error = images - torch.sigmoid(canvas)  # (3)
            glimpse = self.reader(images, error, decoder[0])  # (4)
            encoder = self.encoder(torch.cat([glimpse, decoder[0]], dim=1), encoder, fixed)  # (5)
            mean, log_deviation = self.posterior(encoder[0]).chunk(2, dim=1)  # (1), (2)
            latent = mean + torch.exp(log_deviation) * drawn  # (6)
            kl = kl + kl_to_standard_normal(mean, log_deviation).sum(dim=1)  # (10)
            decoder = self.decoder(latent, decoder)  # (7)
            stroke, window = self.writer(decoder[0])
            canvas = canvas + stroke  # (8)
            canvases.append(canvas)
            windows.append(window)
        return _drawing(canvases, windows), kl

    def generate(self, count: int, generator: torch.Generator) -> Drawing:
        """Draw `count` images with z_1 … z_T from N(0, I), by (7) and (8) alone."""
        _, decoder, canvas = self._start(count)
        drawn = torch.randn(self.steps, count, self.latent_size, generator=generator)
        canvases, windows = [], []
        for latent in drawn.to(canvas.device):
            decoder = self.decoder(latent, decoder)
            stroke, window = self.writer(decoder[0])
            canvas = canvas + stroke
            canvases.append(canvas)
            windows.append(window)
        return _drawing(canvases, windows)

    def _start(self, count: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor], Tensor]:
        """Outputs and cells of both LSTMs, and the canvas, before the first step."""
        outputs = self.first_encoder_output, self.first_decoder_output
        encoder, decoder = (
            (first.expand(count, -1), first.new_zeros(count, len(first))) for first in outputs
        )
        return encoder, decoder, self.first_canvas.expand(count, *self.shape)


def kl_to_standard_normal(mean: Tensor, log_deviation: Tensor) -> Tensor:
    """KL(N(mean, diag sigma^2) || N(0, I)) of each dimension.

    (mean^2 + sigma^2 - ln sigma^2 - 1) / 2; (11) is its sum over dimensions and steps.
    """
    return 0.5 * (mean.square() + torch.exp(2.0 * log_deviation) - 1.0) - log_deviation


class WholeReader(nn.Module):
    """Reads without attention: read = [x, error] (17).

    x is the same at every step, so its product with the weights of the encoder is worked out once.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.fixed_size = self.output_size = math.prod(shape)

    def fixed(self, images: Tensor) -> Tensor:
        """What is read alike at every step: (B, C H W)."""
        return images.flatten(1)

    def forward(self, images: Tensor, error: Tensor, decoder_output: Tensor) -> Tensor:
        """What else a step reads: (B, C H W)."""
        return error.flatten(1)


class WholeWriter(nn.Module):
    """Writes without attention: write = W(h_dec) (18)."""

    def __init__(self, shape: tuple[int, ...], hidden_size: int) -> None:
        super().__init__()
        self.shape = shape
        self.stroke = nn.Linear(hidden_size, math.prod(shape))

    def forward(self, decoder_output: Tensor) -> tuple[Tensor, None]:
        """What is added to the canvas: (B, C, H, W); and no window."""
        return self.stroke(decoder_output).view(-1, *self.shape), None


@dataclass(frozen=True, slots=True)
class FilterBanks:
    """A grid of N x N Gaussian filters on each image.

    Attributes:
        rows: F_Y (B, N, H), each filter summing to 1 over the rows of pixels.
        columns: F_X (B, N, W), likewise over the columns.
        intensity: gamma (B, 1).
        window: (B, 4) left, top, right and bottom of the centres, in pixels from 1.
    """

    rows: Tensor
    columns: Tensor
    intensity: Tensor
    window: Tensor


def filter_banks(parameters: Tensor, size: int, height: int, width: int) -> FilterBanks:
    """The filters that five numbers stand for, (19) to (26).

    Args:
        parameters: (B, 5) g~_X, g~_Y, ln sigma^2, ln delta~ and ln gamma.
        size: N, at least 2.
        height: B of the paper, H here.
        width: A of the paper, W here.
    """
    x, y, log_variance, log_stride, log_intensity = parameters.unsqueeze(2).unbind(1)  # (21)
    stride = (max(width, height) - 1) / (size - 1) * torch.exp(log_stride)  # (24)
    grid = torch.arange(1, size + 1, device=parameters.device) - size / 2 - 0.5
    across = (width + 1) / 2 * (x + 1) + grid * stride  # (22) and (19): (B, N)
    down = (height + 1) / 2 * (y + 1) + grid * stride  # (23) and (20)
    return FilterBanks(
        rows=gaussian_filters(down, log_variance, height),
        columns=gaussian_filters(across, log_variance, width),
        intensity=torch.exp(log_intensity),
        window=torch.cat([across[:, :1], down[:, :1], across[:, -1:], down[:, -1:]], dim=1),
    )


def gaussian_filters(centres: Tensor, log_variance: Tensor, pixels: int) -> Tensor:
    """(B, N, pixels): exp(-(a - centre)^2 / (2 sigma^2)) / Z at the pixels a = 1 …, (25) and (26).

    The softmax is the same with nothing to divide by that could be zero: a filter outside of the
    image sees the pixel that is nearest.

    Args:
        centres: (B, N) in pixels, the first being 1.
        log_variance: (B, 1) ln sigma^2.
        pixels: how many there are.
    """
    places = torch.arange(1, pixels + 1, device=centres.device)
    distances = (places - centres.unsqueeze(2)).square()
    # Narrower filters are one pixel already, and infinite exponents would be no numbers.
    precision = torch.exp(-log_variance.clamp(min=MIN_LOG_VARIANCE)).unsqueeze(2)
    return torch.softmax(-0.5 * distances * precision, dim=2)


class AttentiveReader(nn.Module):
    """Reads a grid of N x N: read = gamma [F_Y x F_X^T, F_Y error F_X^T] (27)."""

    fixed_size = 0

    def __init__(self, shape: tuple[int, ...], hidden_size: int, size: int) -> None:
        super().__init__()
        self.size = size
        self.output_size = 2 * shape[0] * size * size
        self.window = nn.Linear(hidden_size, 5)

    def fixed(self, images: Tensor) -> Tensor:
        """Nothing is read alike at every step: (B, 0)."""
        return images.new_zeros(len(images), 0)

    def forward(self, images: Tensor, error: Tensor, decoder_output: Tensor) -> Tensor:
        """What a step reads: (B, 2 C N N)."""
        banks = filter_banks(self.window(decoder_output), self.size, *images.shape[2:])
        glimpses = filtered(torch.cat([images, error], dim=1), banks)
        return banks.intensity * glimpses.flatten(1)


class AttentiveWriter(nn.Module):
    """Writes a grid of N x N: write = 1 / gamma^ F^_Y^T w F^_X (29), with a window of its own."""

    def __init__(self, shape: tuple[int, ...], hidden_size: int, size: int) -> None:
        super().__init__()
        self.shape, self.size = shape, size
        self.window = nn.Linear(hidden_size, 5)
        self.patch = nn.Linear(hidden_size, shape[0] * size * size)

    def forward(self, decoder_output: Tensor) -> tuple[Tensor, Tensor]:
        """What is added to the canvas, (B, C, H, W), and the window (B, 4) of `FilterBanks`."""
        banks = filter_banks(self.window(decoder_output), self.size, *self.shape[1:])
        patch = self.patch(decoder_output) / banks.intensity  # (28)
        patch = patch.view(-1, self.shape[0], self.size, self.size)
        return spread(patch, banks), banks.window


def filtered(images: Tensor, banks: FilterBanks) -> Tensor:
    """F_Y x F_X^T of every channel: (B, C, N, N) of (B, C, H, W)."""
    narrow = images.flatten(1, 2) @ banks.columns.transpose(1, 2)  # (B, C H, N)
    return banks.rows.unsqueeze(1) @ narrow.view(*images.shape[:3], -1)


def spread(patch: Tensor, banks: FilterBanks) -> Tensor:
    """F_Y^T w F_X of every channel: (B, C, H, W) of (B, C, N, N)."""
    high = banks.rows.transpose(1, 2).unsqueeze(1) @ patch  # (B, C, H, N)
    return (high.flatten(1, 2) @ banks.columns).view(*high.shape[:3], -1)


def channels_first(images: Tensor) -> Tensor:
    """(B, C, H, W) of (B, H, W) or (B, H, W, 3)."""
    return images.unsqueeze(1) if images.ndim == 3 else images.movedim(3, 1)


def channels_last(images: Tensor) -> Tensor:
    """(…, H, W) or (…, H, W, 3) of (…, C, H, W)."""
    return images.squeeze(-3) if images.shape[-3] == 1 else images.movedim(-3, -1)


def _drawing(canvases: list[Tensor], windows: list[Tensor | None]) -> Drawing:
    seen = [window for window in windows if window is not None]
    return Drawing(torch.stack(canvases), torch.stack(seen) if seen else None)
