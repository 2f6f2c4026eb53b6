"""Optimisers and learning-rate schedules.

A schedule is a function of the progress of the training from 0 to 1, not of a counter: resuming,
extending (`--set training.epochs=80`) and changing the batch size need nothing recomputed.
"""

import math
from collections.abc import Iterable
from typing import Annotated, Any, Literal

import torch
from pydantic import ConfigDict, Field, ValidationInfo, field_validator
from torch import nn

from asr.config import Config
from asr.training.update_rules import Adagrad, RMSProp, TextbookSGD

MomentumStyle = Literal["torch", "textbook"]  # see asr.training.update_rules


class ScheduledConfig(Config):
    """What the section `[optimizer]` has of every optimiser: where its schedule "linear" ends."""

    model_config = ConfigDict(validate_default=True)

    # Left out when they are what they were before there were any, so that other runs and bundles
    # are stored as they were.
    floor: float = Field(default=0.0, ge=0, lt=1, exclude_if=lambda value: value == 0)
    # share of the training after the warm-up, from which on the rate is floor * learning_rate
    floor_at: float = Field(default=1.0, gt=0, le=1, exclude_if=lambda value: value == 1)

    @field_validator("schedule", check_fields=False)
    @classmethod
    def _has_a_floor(cls, schedule: str, info: ValidationInfo) -> str:
        given = info.data.get("floor", 0) != 0 or info.data.get("floor_at", 1) != 1
        if given and schedule != "linear":
            raise ValueError("'linear' when floor or floor_at is set")
        return schedule


class SgdConfig(ScheduledConfig):
    """Stochastic gradient descent with momentum, as in the papers of Graves."""

    name: Literal["sgd"]
    learning_rate: float = Field(default=1e-4, gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    nesterov: bool = False
    # What the velocity makes of a change of the learning rate; left out as the floor is.
    style: MomentumStyle = Field(default="torch", exclude_if=lambda value: value == "torch")
    weight_decay: float = Field(default=0.0, ge=0)
    schedule: "Schedule" = "constant"
    warmup: float = Field(default=0.0, ge=0, lt=1)  # share of the training

    @field_validator("nesterov")
    @classmethod
    def _needs_momentum(cls, nesterov: bool, info: ValidationInfo) -> bool:
        return _with_momentum(nesterov, info)


class AdagradConfig(ScheduledConfig):
    """Adagrad (Duchi, Hazan & Singer 2011)."""

    name: Literal["adagrad"]
    learning_rate: float = Field(default=1e-2, gt=0)
    epsilon: float = Field(default=1e-7, gt=0)  # added to the root
    schedule: "Schedule" = "constant"
    warmup: float = Field(default=0.0, ge=0, lt=1)  # share of the training


class RmsPropConfig(ScheduledConfig):
    """RMSProp (Hinton 2012), with momentum where asked for."""

    name: Literal["rmsprop"]
    learning_rate: float = Field(default=1e-3, gt=0)
    decay: float = Field(default=0.9, ge=0, lt=1)  # of the running mean of squared gradients
    epsilon: float = Field(default=1e-6, gt=0)  # added to that mean, inside the root
    momentum: float = Field(default=0.0, ge=0, lt=1)
    nesterov: bool = False
    schedule: "Schedule" = "constant"
    warmup: float = Field(default=0.0, ge=0, lt=1)  # share of the training

    @field_validator("nesterov")
    @classmethod
    def _needs_momentum(cls, nesterov: bool, info: ValidationInfo) -> bool:
        return _with_momentum(nesterov, info)


class AdamWConfig(ScheduledConfig):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019); decay 0 is plain Adam."""

    name: Literal["adamw", "adam"] = "adamw"
    learning_rate: float = Field(default=2e-3, gt=0)
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.98, ge=0, lt=1)
    epsilon: float = Field(default=1e-8, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    schedule: "Schedule" = "one_cycle"
    warmup: float = Field(default=0.1, ge=0, lt=1)  # share of the training


def _with_momentum(nesterov: bool, info: ValidationInfo) -> bool:
    if nesterov and info.data.get("momentum") == 0:
        raise ValueError("false when momentum is 0")
    return nesterov


# constant | linear (to 0, or to the floor and held) | cosine (to 0) | one_cycle (cosine up from
# 1/25, cosine down to 1e-4) | exponential (to 1/100) | inverse_sqrt (of the progress after the
# warm-up)
# | halving (constant for 2/3, then half at once and after every further 1/15)
Schedule = Literal[
    "constant", "linear", "cosine", "one_cycle", "exponential", "inverse_sqrt", "halving"
]
for _config in (SgdConfig, AdagradConfig, RmsPropConfig, AdamWConfig):
    _config.model_rebuild()
AnyOptimizerConfig = SgdConfig | AdagradConfig | RmsPropConfig | AdamWConfig
OptimizerConfig = Annotated[AnyOptimizerConfig, Field(discriminator="name")]


def build_optimizer(
    parameters: Iterable[nn.Parameter], config: AnyOptimizerConfig
) -> torch.optim.Optimizer:
    """The optimiser of a config.

    `weight_decay` is decoupled for `adamw`: weights shrink by `1 - rate * decay`, whatever the
    gradient. For `sgd` and `adam` it is added to the gradient, after clipping. Vectors (the biases
    of linear layers) are not decayed; the biases and peepholes of recurrent layers, which lie side
    by side as matrices, are.
    """
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    parts = ([p for p in trained if p.ndim > 1], [p for p in trained if p.ndim <= 1])
    groups: list[dict[str, Any]] = [{"params": part} for part in parts]
    rate = config.learning_rate
    if isinstance(config, AdagradConfig):
        return Adagrad(groups, lr=rate, epsilon=config.epsilon)
    if isinstance(config, RmsPropConfig):
        return RMSProp(
            groups,
            lr=rate,
            decay=config.decay,
            epsilon=config.epsilon,
            momentum=config.momentum,
            nesterov=config.nesterov,
        )
    groups[0]["weight_decay"], groups[1]["weight_decay"] = config.weight_decay, 0.0
    if isinstance(config, SgdConfig):
        kind = torch.optim.SGD if config.style == "torch" else TextbookSGD
        return kind(groups, lr=rate, momentum=config.momentum, nesterov=config.nesterov)
    adam = torch.optim.AdamW if config.name == "adamw" else torch.optim.Adam
    return adam(groups, lr=rate, betas=(config.beta1, config.beta2), eps=config.epsilon)


def learning_rate(config: AnyOptimizerConfig, progress: float) -> float:
    """The learning rate at `progress` (0 at the start, 1 at the end) of the training."""
    factor = schedule_factor(
        config.schedule, config.warmup, progress, floor=config.floor, floor_at=config.floor_at
    )
    return config.learning_rate * factor


def schedule_factor(
    schedule: Schedule,
    warmup: float,
    progress: float,
    *,
    floor: float = 0.0,
    floor_at: float = 1.0,
) -> float:
    """The factor on the learning rate, in [0, 1].

    During the warm-up it rises linearly (`one_cycle`: by a cosine, from 1/25); then the schedule
    runs over the rest. `linear` goes down to `floor` over the share `floor_at` of the rest, and
    stays there.
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
            fallen = min(1.0, done / floor_at)
            return (1.0 - fallen) + fallen * floor
        case "cosine":
            return (1 + math.cos(math.pi * done)) / 2
        case "one_cycle":
            return 1e-4 + (1 - 1e-4) * (1 + math.cos(math.pi * done)) / 2
        case "exponential":
            return float(0.01**done)
        case "inverse_sqrt":
            reference = max(warmup, 1e-3)
            return math.sqrt(reference / max(reference, progress))
        case "halving":
            return halving_factor(done)


def halving_factor(done: float) -> float:
    """1 for two thirds of the training, then half at once and after every further fifteenth: 1/32.

    With 7.5 passes over the data: after 5 of them half, and half again after every half pass
    (Sutskever, Vinyals & Le 2014, section 3.4).

    Args:
        done: share of the training, 0 to 1.
    """
    fifteenths = math.floor(15 * done + 1e-9)  # 15 * (11 / 15) may come out just below 11
    return float(0.5 ** min(max(fifteenths - 9, 0), 5))


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Use `rate` for all parameters from the next step on."""
    for group in optimizer.param_groups:
        group["lr"] = rate
