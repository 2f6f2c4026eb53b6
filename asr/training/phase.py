"""What the evaluations mean for a training: whether it is quiet, stale, done.

Functions of the settings and the state alone, so that a resumed training finds itself where it was.

Weight noise may begin at the best point that is reached without it, as in Graves, Mohamed & Hinton
(2013), section 4. They go back to the weights that give the development set the highest
log-probability, and train those with noise up to the lowest error rate. Here the monitored metric
decides both, as it chooses the best model: a task need not have another.
"""

from asr.training.checkpoint import TrainingState
from asr.training.settings import TrainingConfig

NO_DEV = (
    "training.weight_noise_after: evaluations on dev data tell when the noise begins, and there "
    "are no such data; set data.dev, or weight_noise_after to 0"
)


def is_fresh(state: TrainingState) -> bool:
    """Whether nothing is trained or evaluated yet."""
    return state.best is None and state.epoch == state.position == state.step == 0


def is_quiet(config: TrainingConfig, state: TrainingState) -> bool:
    """Whether weight noise is still to begin."""
    return config.weight_noise_after > 0 and not state.noisy


def noise_deviation(config: TrainingConfig, state: TrainingState) -> float:
    """The deviation of the weight noise of the next update."""
    return 0.0 if is_quiet(config, state) else config.weight_noise


def is_noise_due(config: TrainingConfig, state: TrainingState) -> bool:
    """Whether a quiet training has gone without improvement for as long as it may."""
    return is_quiet(config, state) and state.stale >= config.weight_noise_after


def is_stale(config: TrainingConfig, state: TrainingState) -> bool:
    """Whether to stop early; a training whose noise is still to begin never does."""
    return 0 < config.patience <= state.stale and not is_quiet(config, state)


def is_done(config: TrainingConfig, state: TrainingState) -> bool:
    """Whether nothing is left to train."""
    return state.epoch >= config.epochs or is_stale(config, state)


def finished_text(config: TrainingConfig, state: TrainingState) -> str:
    """For a person: that nothing is left to train, and the setting with which it goes on."""
    more = "patience=0" if is_stale(config, state) else f"epochs={2 * state.epoch}"
    return f"this training is finished ({state.epoch} epochs); to go on: --set training.{more}"
