"""All that a training is told besides its task."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import Field, ValidationInfo, field_validator

from asr.config import Config
from asr.training.optimizer import AnyOptimizerConfig
from asr.training.step import Precision


class TrainingConfig(Config):
    """What every task has in the section `[training]` of its recipes; each adds its batch size."""

    epochs: int = Field(default=40, ge=1)
    # All trained weights begin uniform in ± this, as in Graves et al. (2013): 0.1; 0: as each layer
    # draws its own. Weights of bundles stay. Left out when 0: other runs are as they were before.
    initial_range: float = Field(default=0.0, ge=0, exclude_if=lambda value: value == 0)
    # Epochs after which the task shows what the model can do, in artifacts/ of the run folder; it
    # does so at the end in any case. Left out when empty: other runs are as they were before.
    artifacts: list[Annotated[int, Field(ge=1)]] = Field(
        default=[], exclude_if=lambda value: not value
    )
    accumulate: int = Field(default=1, ge=1)  # batches per update
    clip_norm: float = Field(default=5.0, ge=0)  # largest gradient norm; 0 = no clipping
    # Penalties on the weights (asr.training.penalty); the loss that is reported is without them.
    # Left out when 0, as initial_range.
    l1: float = Field(default=0.0, ge=0, exclude_if=lambda value: value == 0)
    l2: float = Field(default=0.0, ge=0, exclude_if=lambda value: value == 0)
    weight_noise: float = Field(default=0.0, ge=0)  # deviation; the papers use 0.075
    # Evaluations without improvement after which training goes back to its best weights and goes on
    # with noise; 0: noise from the start.
    weight_noise_after: int = Field(default=0, ge=0)
    precision: Precision = "float32"
    evaluate_every: int = Field(default=1, ge=1)  # epochs
    patience: int = Field(default=0, ge=0)  # evaluations without improvement; 0 = never stop early
    average_best: int = Field(default=5, ge=1)  # checkpoints averaged for the final model
    checkpoint_minutes: float = Field(default=10.0, gt=0)  # between checkpoints within an epoch
    num_workers: int = Field(default=2, ge=0)  # threads that read the data
    max_bad: int = Field(default=10, ge=0)  # unusable sequences that are tolerated

    @field_validator("weight_noise_after")
    @classmethod
    def _needs_noise(cls, after: int, info: ValidationInfo) -> int:
        if after > 0 and info.data.get("weight_noise") == 0:
            raise ValueError("0 when weight_noise is 0")
        return after


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the loop needs of a recipe.

    Attributes:
        training: how to train.
        optimizer: with its learning-rate schedule.
        seed: of everything random.
        recipe: all settings as JSON, noted in the run folder and compared on resuming.
        judge_start: evaluate the starting weights before the first epoch and let them compete.
        facts: for every bundle, besides what the loop knows.
    """

    training: TrainingConfig
    optimizer: AnyOptimizerConfig
    seed: int
    recipe: Mapping[str, Any] = field(default_factory=dict)
    judge_start: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)
