"""Evaluations, and which weights become the finished model."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from asr.models.state import load_state
from asr.storage import folder_writer
from asr.training.candidates import Candidates
from asr.training.checkpoint import TrainingState
from asr.training.progress import Reporter, duration_text, epoch_text
from asr.training.signals import StopSignals
from asr.training.task import Evaluation, Task


class Selection:
    """Evaluates a task, keeps the best weights, and writes the bundle `best/`."""

    def __init__(
        self,
        task: Task[Any],
        folder: Path,
        *,
        device: torch.device,
        signals: StopSignals,
        reporter: Reporter,
        keep: int,
        facts: Mapping[str, Any],
    ) -> None:
        self._facts = facts
        self._task, self._folder, self._device = task, folder, device
        self._signals, self._reporter = signals, reporter
        self._candidates = Candidates(folder / "candidates", keep=keep)

    def go_on_from(self, state: TrainingState) -> None:
        """Forget evaluations that `state` does not know: made again, or those of another run."""
        self._candidates.drop_after(-1 if state.best is None else state.epoch)

    def evaluate(self, split: str) -> Evaluation | None:
        """The scores on a split, with a bar; None when the task has no such data.

        Raises:
            StoppedError: a signal came meanwhile.
        """

        def advance(done: int, total: int) -> None:
            if done <= 1:
                self._reporter.start(f"evaluating {split}", total)
            self._reporter.advance(done)
            self._signals.raise_if_stopped()

        self._task.model.eval()
        return self._task.evaluate(split, self._device, advance)

    def judge(self, state: TrainingState, epoch: int, mean_loss: float) -> None:
        """Evaluate on dev after `epoch`, note it in `state`, keep what is good.

        Args:
            state: where the training stands.
            epoch: from 1 on; 0 for the starting weights.
            mean_loss: of the epoch; NaN when unknown.
        """
        evaluation = self.evaluate("dev")
        if evaluation is None:
            return
        self._candidates.add(self._task.model, epoch, evaluation.value)
        better = state.best is None or evaluation.value < state.best[0]
        state.stale = 0 if better else state.stale + 1
        if better:
            state.best = (evaluation.value, epoch)
            self.write_bundle(state, epoch, {"dev": dict(evaluation.metrics), "finished": False})
        self._tell(state, epoch, mean_loss, evaluation)

    def load_best(self) -> int:
        """Load the weights of the best evaluation so far into the model; its epoch."""
        epoch = self._candidates.load_best(self._task.model)
        if epoch is None:
            raise ValueError("nothing has been evaluated yet")
        return epoch

    def finish(self, state: TrainingState) -> tuple[Evaluation | None, Evaluation | None]:
        """Load the final weights into the model, score them on dev and test, write the bundle."""
        dev = self._choose()
        test = self.evaluate("test")
        facts: dict[str, object] = {"finished": True}
        for split, evaluation in (("dev", dev), ("test", test)):
            if evaluation is not None:
                facts[split] = dict(evaluation.metrics)
                self._reporter.log(f"final_{split}", state.step, dict(evaluation.metrics))
        self.write_bundle(state, state.epoch, facts)
        return dev, test

    def write_bundle(self, state: TrainingState, epoch: int, facts: Mapping[str, object]) -> None:
        """Write the model as it is into `best/`, with facts for its card."""
        with folder_writer(self._folder / "best") as temporary:
            self._task.write_bundle(
                temporary, {**self._facts, "epochs": epoch, "steps": state.step, **facts}
            )

    def _choose(self) -> Evaluation | None:
        """The average of the best checkpoints when it is at least as good as the best of them."""
        model = self._task.model
        average = self._candidates.average()
        if average is not None:
            load_state(model, average, "the average of the best checkpoints")
            averaged = self.evaluate("dev")
            best = self._candidates.best_value()
            if averaged is not None and averaged.value <= best:
                self._reporter.say(f"using the average of {self._candidates.count} checkpoints")
                return averaged
        self._candidates.load_best(model)
        return self.evaluate("dev")

    def _tell(
        self, state: TrainingState, epoch: int, mean_loss: float, evaluation: Evaluation
    ) -> None:
        values = {"epoch": epoch, "train_loss": mean_loss, **evaluation.metrics}
        self._reporter.log("dev", state.step, values)
        metrics = "  ".join(f"{name} {value:.4g}" for name, value in evaluation.metrics.items())
        loss = f"{self._task.loss_name} {mean_loss:.3f}  " if math.isfinite(mean_loss) else ""
        spent = f"  {duration_text(state.seconds)}" if epoch else ""
        star = "  (best)" if epoch and state.best == (evaluation.value, epoch) else ""
        self._reporter.say(f"{epoch_text(epoch)}: {loss}dev {metrics}{spent}{star}")
        for line in evaluation.examples:
            self._reporter.say(f"    {line}")
        if evaluation.examples:
            self._reporter.log_text("dev/examples", state.step, "\n\n".join(evaluation.examples))
