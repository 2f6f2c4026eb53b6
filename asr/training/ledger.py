"""What became of every batch: updates made, and what was left out or refused, with why."""

from collections.abc import Sequence
from pathlib import Path

from asr.errors import DataError, DivergedError, shown
from asr.training.checkpoint import TrainingState
from asr.training.progress import Reporter
from asr.training.step import StepResult
from asr.training.task import Skipped

MAX_NON_FINITE = 10
LOG_EVERY = 10  # steps


class Ledger:
    """Counts in the state of a training, and writes what is left out into its run folder."""

    def __init__(
        self, folder: Path, state: TrainingState, reporter: Reporter, *, max_bad: int
    ) -> None:
        self._skipped_file = folder / "skipped.jsonl"
        self._state, self._reporter, self._max_bad = state, reporter, max_bad

    def account(self, result: StepResult, rate: float) -> None:
        """Count an update, or the failure to make one.

        Raises:
            DivergedError: ten in a row were not made.
        """
        state = self._state
        if result.bad_ids:
            state.non_finite += 1
            for identity in result.bad_ids:
                self._log(Skipped(identity, f"{result.reason}; step not made"), state.position + 1)
            if state.non_finite >= MAX_NON_FINITE:
                names = ", ".join(map(shown, result.bad_ids[:3]))
                raise DivergedError(
                    f"{MAX_NON_FINITE} batches in a row have no finite loss or gradient (last: "
                    f"{names}); lower optimizer.learning_rate or training.clip_norm. The last "
                    "checkpoint is intact"
                )
            return
        state.non_finite = 0
        state.step += 1
        if state.step % LOG_EVERY == 0:
            values = {"epoch": state.epoch + 1, "loss": result.loss, "learning_rate": rate}
            values["gradient_norm"] = result.gradient_norm
            self._reporter.log("train", state.step, values)

    def left_out(self, skipped: Sequence[Skipped], batch: int) -> None:
        """Record what could not be loaded for a batch.

        Raises:
            DataError: that are too many in one epoch.
        """
        for item in skipped:
            self._log(item, batch)
            self._reporter.say(f"left out {shown(item.id)}: {shown(item.reason)}")
        self._state.skipped += len(skipped)
        if self._state.skipped > self._max_bad:
            raise DataError(
                f"{self._state.skipped} sequences of this epoch cannot be used (see "
                f"{shown(self._skipped_file)}); mend them, or allow more with "
                f"--set training.max_bad={2 * self._state.skipped}"
            )

    def _log(self, item: Skipped, batch: int) -> None:
        self._reporter.log_skipped(self._state.epoch + 1, batch, item.id, item.reason)
