"""Optimisers and learning-rate schedules.

A schedule is a function of the progress of the training from 0 to 1, not of a counter: resuming,
extending (`--set training.epochs=80`) and changing the batch size need nothing recomputed.
"""

import math
from collections.abc import Iterable
from typing import Annotated, Literal

import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import nn

from asr.config import Config


class SgdConfig(Config):
    """Stochastic gradient descent with momentum, as in the papers of Graves."""

    name: Literal["sgd"]
    learning_rate: float = Field(default=1e-4, gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    nesterov: bool = False
    weight_decay: float = Field(default=0.0, ge=0)
    schedule: "Schedule" = "constant"
    warmup: float = Field(default=0.0, ge=0, lt=1)  # share of the training

    @field_validator("nesterov")
    @classmethod
    def _needs_momentum(cls, nesterov: bool, info: ValidationInfo) -> bool:
        if nesterov and info.data.get("momentum") == 0:
            raise ValueError("false when momentum is 0")
        return nesterov


class AdamWConfig(Config):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019); decay 0 is plain Adam."""

    name: Literal["adamw", "adam"] = "adamw"
    learning_rate: float = Field(default=2e-3, gt=0)
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.98, ge=0, lt=1)
    epsilon: float = Field(default=1e-8, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    schedule: "Schedule" = "one_cycle"
    warmup: float = Field(default=0.1, ge=0, lt=1)  # share of the training


# constant | linear (to 0) | cosine (to 0) | one_cycle (cosine up from 1/25, cosine down to 1e-4)
# | exponential (to 1/100) | inverse_sqrt (of the progress after the warm-up)
Schedule = Literal["constant", "linear", "cosine", "one_cycle", "exponential", "inverse_sqrt"]
SgdConfig.model_rebuild()
AdamWConfig.model_rebuild()
OptimizerConfig = Annotated[SgdConfig | AdamWConfig, Field(discriminator="name")]


def build_optimizer(
    parameters: Iterable[nn.Parameter], config: SgdConfig | AdamWConfig
) -> torch.optim.Optimizer:
    """The torch optimiser of a config; vectors (biases, peepholes) are not decayed."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if isinstance(config, SgdConfig):
        return torch.optim.SGD(
            groups,
            lr=config.learning_rate,
            momentum=config.momentum,
            nesterov=config.nesterov,
        )
    kind = torch.optim.AdamW if config.name == "adamw" else torch.optim.Adam
    return kind(
        groups,
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
        eps=config.epsilon,
    )


def learning_rate(config: SgdConfig | AdamWConfig, progress: float) -> float:
    """The learning rate at `progress` (0 at the start, 1 at the end) of the training."""
    return config.learning_rate * schedule_factor(config.schedule, config.warmup, progress)


def schedule_factor(schedule: Schedule, warmup: float, progress: float) -> float:
    """The factor on the learning rate, in [0, 1].

    During the warm-up it rises linearly (`one_cycle`: by a cosine, from 1/25); then the schedule
    runs over the rest.
    """
    if progress < warmup:
        rise = progress / warmup
        if schedule == "one_cycle":
            return 1 / 25 + (1 - 1 / 25) * (1 - math.cos(math.pi * rise)) / 2
        return rise
    done = min(1.0, (progress - warmup) / (1 - warmup))
    match schedule:
        case "constant":
            return 1.0
        case "linear":
            return 1.0 - done
        case "cosine":
            return (1 + math.cos(math.pi * done)) / 2
        case "one_cycle":
            return 1e-4 + (1 - 1e-4) * (1 + math.cos(math.pi * done)) / 2
        case "exponential":
            return float(0.01**done)
        case "inverse_sqrt":
            reference = max(warmup, 1e-3)
            return math.sqrt(reference / max(reference, progress))


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Use `rate` for all parameters from the next step on."""
    for group in optimizer.param_groups:
        group["lr"] = rate
