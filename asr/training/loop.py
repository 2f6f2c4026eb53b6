"""The one training loop: epochs, evaluation, checkpoints, early stopping, the final model.

It sees a `Task` and nothing of speech. Everything that is random in a batch follows from
(seed, epoch, position), so a training that was killed anywhere and resumed ends in the same
weights, to the bit, as one that ran through (on the same CPU with the same number of threads).
"""

import math
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import torch

from asr.data.loading import load_ahead
from asr.errors import ConfigError, ResourceError, StoppedError, shown
from asr.lock import FolderLock
from asr.storage import recover_replaced, sweep_temporary
from asr.training import phase
from asr.training.checkpoint import (
    MisfitError,
    TrainingState,
    batch_seed,
    load_latest,
    plan_hash,
    save_checkpoint,
)
from asr.training.ledger import Ledger
from asr.training.optimizer import build_optimizer, learning_rate, set_learning_rate
from asr.training.preflight import check_space, measure_epoch
from asr.training.progress import Reporter, epoch_text, estimate_text, read_history, status_text
from asr.training.run import (
    check_unchanged,
    is_finished,
    mark_finished,
    misfit,
    told_changes,
    unmark_finished,
)
from asr.training.selection import Selection
from asr.training.settings import Settings
from asr.training.signals import StopSignals
from asr.training.step import Part, Stepper, StepResult
from asr.training.task import BatchPlan, Outcome, Skipped, Task

ARTIFACTS = "artifacts"  # in a run folder
RECENT = 50  # updates in the loss that the bar shows


BatchT = TypeVar("BatchT")


def train(
    task: Task[BatchT],
    settings: Settings,
    *,
    folder: Path,
    device: torch.device,
    allow_changed: bool = False,
) -> Outcome:
    """Train `task` in the run folder, or go on where a former call was stopped.

    Writes `checkpoints/`, `candidates/`, `metrics.jsonl`, `skipped.jsonl`, TensorBoard events and,
    at every new best evaluation and at the end, the bundle `best/`; and what the task has to show,
    into `artifacts/`.

    Args:
        task: what to train.
        settings: how.
        folder: the run folder.
        device: where to compute.
        allow_changed: go on although the data or the tokens changed.

    Raises:
        ConfigError: another process trains in the folder, it has another network by its settings,
            the data or tokens changed, or without dev data nothing can tell when weight noise
            begins.
        DataError: too many sequences cannot be used, or none can.
        DivergedError: ten batches in a row had no finite loss or gradient.
        ModelError: no checkpoint is intact, or it does not fit the model.
        ResourceError: the disk is full or not writable.
        StoppedError: a signal came; a checkpoint was written.
    """
    with FolderLock(folder), StopSignals() as signals:
        for place in (folder, folder / "checkpoints", folder / "candidates"):
            sweep_temporary(place)
            recover_replaced(place)
        training = _Training(task, settings, folder, device, signals)
        try:
            return training.run(allow_changed)
        except OSError as error:
            reason = error.strerror or str(error)
            raise ResourceError(
                f"{shown(folder)}: cannot be written: {reason}; free some space, or choose "
                "another --out"
            ) from error


@dataclass(frozen=True, slots=True)
class _Window(Generic[BatchT]):
    """The batches of one update, each with its position in the epoch, and where it ends."""

    batches: Sequence[tuple[int, BatchT]]
    next_position: int


class _Training(Generic[BatchT]):
    """The parts of one training and its state."""

    def __init__(
        self,
        task: Task[BatchT],
        settings: Settings,
        folder: Path,
        device: torch.device,
        signals: StopSignals,
    ) -> None:
        self.task, self.settings, self.folder = task, settings, folder
        self.config, self.device, self.signals = settings.training, device, signals
        self.model = task.model.to(device)
        self.optimizer = build_optimizer(self.model.parameters(), settings.optimizer)
        self.stepper = Stepper(
            self.model,
            self.optimizer,
            clip_norm=self.config.clip_norm,
            precision=self.config.precision,
            device=device,
            l1=self.config.l1,
            l2=self.config.l2,
        )
        self.state = TrainingState(fingerprints=dict(task.fingerprints()))

    def run(self, allow_changed: bool) -> Outcome:
        lines = self._restore(allow_changed)
        recipe, seed = self.settings.recipe, self.settings.seed
        finished = phase.is_done(self.config, self.state) and is_finished(self.folder)
        lines += told_changes(self.folder, recipe, seed, finished=finished)
        with Reporter(self.folder, None if finished else self.state) as self.reporter:
            for line in lines:
                self.reporter.say(line)
            if finished:
                self.reporter.say(phase.finished_text(self.config, self.state))
                return Outcome(self.folder / "best", None, None, already_finished=True)
            unmark_finished(self.folder)
            self.ledger = Ledger(
                self.folder, self.state, self.reporter, max_bad=self.config.max_bad
            )
            self.selection = Selection(
                self.task,
                self.folder,
                device=self.device,
                signals=self.signals,
                reporter=self.reporter,
                keep=self.config.average_best,
                facts=self.settings.facts,
            )
            self.selection.go_on_from(self.state)
            self._introduce()
            self._judge_start()
            while not phase.is_done(self.config, self.state):
                self._run_epoch()
            dev, test = self.selection.finish(self.state)
            self._show("final")
            mark_finished(self.folder, self.state.epoch, phase.is_stale(self.config, self.state))
            return Outcome(self.folder / "best", dev, test)

    def _restore(self, allow_changed: bool) -> list[str]:
        """Load the newest checkpoint, if there is one; lines to show."""
        fresh = self.state.fingerprints
        try:
            loaded = load_latest(self.folder / "checkpoints", self.model, self.optimizer)
        except MisfitError as error:
            raise misfit(self.folder, self.settings.recipe, error) from error
        if loaded is None:
            return []
        self.state, complaints = loaded
        if not allow_changed:
            check_unchanged(self.folder, self.state.fingerprints, fresh)
        self.state.fingerprints = fresh
        if self.state.scaler:
            self.stepper.scaler.load_state_dict(self.state.scaler)
        where = f"epoch {self.state.epoch + 1}, batch {self.state.position}"
        return [*complaints, f"resuming after step {self.state.step} ({where})"]

    def _introduce(self) -> None:
        """Say what is about to be trained and how long it will take."""
        check_space(self.folder, self.model, self.config.average_best)
        parameters = sum(p.numel() for p in self.model.parameters() if p.requires_grad)
        self.reporter.say(f"{parameters:,} parameters, on {self.device}")
        for line in self.task.describe():
            self.reporter.say(line)
        if self.state.epoch == self.state.position == 0:
            for item in self.task.excluded:
                self.reporter.log_skipped(0, 0, item.id, item.reason)
        plans = self.task.plan_epoch(self.state.epoch)
        self.model.train()
        seconds = measure_epoch(plans, self._measure_batch)
        epochs = self.config.epochs - self.state.epoch
        self.reporter.say(estimate_text(len(plans), seconds, epochs))

    def _measure_batch(self, plan: BatchPlan) -> float | None:
        """Seconds of computing for a batch; reading it goes on in the background."""
        self.signals.raise_if_stopped()
        batch, _ = self.task.load_batch(plan, self.state.epoch)
        if batch is None:
            return None
        begun = time.perf_counter()
        deviation = phase.noise_deviation(self.config, self.state)
        self.stepper.measure(self._part(batch, seed=0), deviation=deviation)
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - begun

    def _judge_start(self) -> None:
        """Let the starting weights compete, once."""
        if self.settings.judge_start and phase.is_fresh(self.state):
            self._judge(0, math.nan)
            self._save()

    def _run_epoch(self) -> None:
        plans = self.task.plan_epoch(self.state.epoch)
        epoch = self.state.epoch + 1
        self._check_plan(plans)
        self.reporter.start(f"epoch {epoch}/{self.config.epochs}", len(plans), self.state.position)
        self.model.train()
        losses = self._train_batches(plans)
        if epoch % self.config.evaluate_every == 0 or epoch == self.config.epochs:
            try:
                mean_loss = statistics.fmean(losses) if losses else math.nan
                self._judge(epoch, mean_loss)
            except StoppedError:
                self._save()  # the epoch is trained; resuming begins with this evaluation
                raise
        if epoch in self.config.artifacts:
            self._show(f"epoch-{epoch:04d}")
        self.state.epoch, self.state.position, self.state.skipped = epoch, 0, 0
        self._save()

    def _show(self, place: str) -> None:
        """Let the task show what the weights of now can do."""
        self.model.eval()
        self.task.artifacts(self.folder / ARTIFACTS / place, read_history(self.folder))

    def _judge(self, epoch: int, mean_loss: float) -> None:
        """Evaluate on dev after `epoch`; the noise begins when it is due.

        Should the process die before the checkpoint that follows, all of this is done once more.
        """
        self.selection.judge(self.state, epoch, mean_loss)
        if self.state.best is None and phase.is_quiet(self.config, self.state):
            raise ConfigError(phase.NO_DEV)
        if phase.is_noise_due(self.config, self.state):
            self._begin_noise()

    def _begin_noise(self) -> None:
        """Go back to the best weights, and on from there with noise."""
        best = epoch_text(self.selection.load_best())
        self.optimizer.state.clear()  # its moments belong to other weights
        self.state.noisy, self.state.stale = True, 0
        noise = f"from here on with weight noise {self.config.weight_noise:g}"
        self.reporter.say(f"no better since {best}: back to those weights, {noise}")

    def _check_plan(self, plans: Sequence[BatchPlan]) -> None:
        """Begin an epoch anew when its batches are no longer those that it was begun with."""
        plan = plan_hash(plans)
        if self.state.position and plan != self.state.plan:
            self.reporter.say("the batches have changed: this epoch begins anew")
            self.state.position = 0
        self.state.plan = plan

    def _train_batches(self, plans: Sequence[BatchPlan]) -> list[float]:
        """The updates of the rest of an epoch; their losses."""
        losses: list[float] = []
        saved = counted = time.monotonic()
        for window in self._windows(plans):
            if window.batches:
                result = self._update(window, len(plans))
                if not result.bad_ids:
                    losses.append(result.loss)
            self.state.position = window.next_position
            self.state.seconds += time.monotonic() - counted
            counted = time.monotonic()
            recent = (self.task.loss_name, losses[-RECENT:])
            status = status_text(self.state, self.config.epochs, len(plans), recent)
            self.reporter.advance(self.state.position, status)
            self._stop_if_asked()
            minutes = (counted - saved) / 60
            if minutes > self.config.checkpoint_minutes and self.state.position < len(plans):
                self._save()
                saved = time.monotonic()
        return losses

    def _update(self, window: _Window[BatchT], num_batches: int) -> StepResult:
        progress = (self.state.epoch + self.state.position / num_batches) / self.config.epochs
        rate = learning_rate(self.settings.optimizer, progress)
        set_learning_rate(self.optimizer, rate)
        parts = [
            self._part(batch, batch_seed(self.settings.seed, self.state.epoch, position))
            for position, batch in window.batches
        ]
        deviation = phase.noise_deviation(self.config, self.state)
        result = self.stepper.update(parts, deviation=deviation)
        self.ledger.account(result, rate)
        return result

    def _windows(self, plans: Sequence[BatchPlan]) -> Iterator[_Window[BatchT]]:
        """The batches of each update from the current position on."""
        epoch, first = self.state.epoch, self.state.position

        def load(plan: BatchPlan) -> tuple[BatchT | None, Sequence[Skipped]]:
            return self.task.load_batch(plan, epoch)

        loaded = load_ahead(plans[first:], load, self.config.num_workers)
        batches: list[tuple[int, BatchT]] = []
        for position, (batch, skipped) in enumerate(loaded, start=first):
            self.ledger.left_out(skipped, position + 1)
            if batch is not None:
                batches.append((position, batch))
            if (position + 1) % self.config.accumulate == 0 or position + 1 == len(plans):
                yield _Window(batches, position + 1)
                batches = []

    def _part(self, batch: BatchT, seed: int) -> Part:
        return Part(lambda: self.task.loss(batch, self.device), self.task.ids(batch), seed)

    def _save(self) -> None:
        if self.stepper.scaler.is_enabled():
            self.state.scaler = dict(self.stepper.scaler.state_dict())
        save_checkpoint(self.folder / "checkpoints", self.model, self.optimizer, self.state)

    def _stop_if_asked(self) -> None:
        try:
            self.signals.raise_if_stopped()
        except StoppedError:
            self._save()
            raise
