"""One update of the weights: forward, backward, and every check before the weights move."""

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from asr.training.noise import weight_noise
from asr.training.penalty import add_penalty_gradients, penalised

Precision = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True, slots=True)
class Part:
    """One loaded batch of an update: how to compute its losses, and what seeds it."""

    losses: Callable[[], Tensor]
    ids: Sequence[str]
    seed: int


@dataclass(frozen=True, slots=True)
class StepResult:
    """What an update did.

    Attributes:
        loss: the mean loss of a sequence.
        gradient_norm: before clipping.
        bad_ids: the sequences to blame when the update was not made; empty when it was.
        reason: why the update was not made.
    """

    loss: float
    gradient_norm: float
    bad_ids: tuple[str, ...] = ()
    reason: str = ""


class Stepper:
    """Makes updates: accumulation, weight noise, mixed precision, penalties, clipping, checks.

    The loss of an update is the mean over all sequences of its parts, so accumulating over parts
    equals one larger batch. The penalties `l2 / 2 * w^2` and `l1 * |w|` of every weight count in
    the gradient that is clipped, and not in the loss that is reported.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        clip_norm: float,
        precision: Precision,
        device: torch.device,
        l1: float = 0.0,
        l2: float = 0.0,
    ) -> None:
        if precision == "float16" and device.type != "cuda":
            raise ValueError("precision float16 needs a CUDA device")
        self._model = model
        self._optimizer = optimizer
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        self._penalised = penalised(model) if l1 or l2 else []
        self._l1, self._l2 = l1, l2
        self._clip_norm = clip_norm
        self._precision: Precision = precision
        self._device = device
        self.scaler = torch.amp.grad_scaler.GradScaler(device.type, enabled=precision == "float16")

    def update(self, parts: Sequence[Part], *, deviation: float = 0.0) -> StepResult:
        """One update from the mean gradient of `parts`; none when anything is not finite.

        Args:
            parts: the batches of the update.
            deviation: of the weight noise.
        """
        buffers = self._buffers()
        result = self._try(parts, deviation)
        if result.bad_ids:
            self._reset(buffers)
        return result

    def measure(self, part: Part, *, deviation: float = 0.0) -> None:
        """The work of one part without an update, for timing; it leaves no trace in the model."""
        buffers = self._buffers()
        self._backward(part, len(part.ids), deviation)
        self._reset(buffers)

    def _buffers(self) -> list[Tensor]:
        """Copies of what a forward pass may change, such as the running means of BatchNorm."""
        return [buffer.clone() for buffer in self._model.buffers()]

    def _reset(self, buffers: Sequence[Tensor]) -> None:
        self._optimizer.zero_grad(set_to_none=True)
        for buffer, before in zip(self._model.buffers(), buffers, strict=True):
            buffer.copy_(before)

    def _try(self, parts: Sequence[Part], deviation: float) -> StepResult:
        self._optimizer.zero_grad(set_to_none=True)
        total = sum(len(part.ids) for part in parts)
        loss_sum = 0.0
        for part in parts:
            losses = self._backward(part, total, deviation)
            bad = [i for i, loss in enumerate(losses.tolist()) if not math.isfinite(loss)]
            if bad:
                names = tuple(part.ids[index] for index in bad)
                return StepResult(math.nan, math.nan, names, "the loss is not finite")
            loss_sum += float(losses.sum())
        return self._apply(parts, loss_sum / total)

    def _backward(self, part: Part, total: int, deviation: float) -> Tensor:
        """Add the gradient of a part; its (B,) losses. Nothing is added when one is not finite."""
        _seed(part.seed, self._device)
        with weight_noise(self._parameters, deviation):
            with self._autocast():
                losses = part.losses()
            if bool(torch.isfinite(losses).all()):
                scaled: Tensor = self.scaler.scale(losses.sum() / total)
                scaled.backward()  # type: ignore[no-untyped-call]
        return losses.detach()

    def _apply(self, parts: Sequence[Part], loss: float) -> StepResult:
        self.scaler.unscale_(self._optimizer)
        add_penalty_gradients(self._penalised, l1=self._l1, l2=self._l2)
        limit = self._clip_norm if self._clip_norm > 0 else math.inf
        norm = float(nn.utils.clip_grad_norm_(self._parameters, limit))
        if not math.isfinite(norm) and not self._is_scaled_up():
            self.scaler.update()
            names = tuple(name for part in parts for name in part.ids)
            return StepResult(loss, norm, names, "the gradient is not finite")
        # A gradient that only the scaling of float16 made overflow is no fault of the training:
        # the scaler passes over it and scales less.
        self.scaler.step(self._optimizer)
        self.scaler.update()
        return StepResult(loss, norm)

    def _is_scaled_up(self) -> bool:
        return self.scaler.is_enabled() and self.scaler.get_scale() > 1

    def _autocast(self) -> AbstractContextManager[object]:
        if self._precision == "float32":
            return nullcontext()
        kind = torch.bfloat16 if self._precision == "bfloat16" else torch.float16
        return torch.autocast(self._device.type, dtype=kind)


def _seed(seed: int, device: torch.device) -> None:
    """As `torch.manual_seed`, which asks every kind of device there is: a millisecond a batch."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed_all(seed)
