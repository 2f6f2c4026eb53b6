"""What a training tells: a progress bar, `metrics.jsonl` and TensorBoard events.

`metrics.jsonl` and `skipped.jsonl` have one JSON object a line. A training that goes on first drops
the lines that a killed one had written beyond its last checkpoint, so each thing stands there once.
"""

import json
import math
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from asr.storage import write_atomically
from asr.training.checkpoint import TrainingState

METRICS = "metrics.jsonl"


class Reporter:
    """Writes the log files of a run folder and shows progress on stderr.

    Args:
        folder: the run folder.
        state: where the training goes on: what the files tell beyond it is dropped. None when it
            does not.
        quiet: whether nothing is shown.
    """

    def __init__(self, folder: Path, state: TrainingState | None, *, quiet: bool = False) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._metrics = folder / METRICS
        self._skipped = folder / "skipped.jsonl"
        if state is not None:
            _keep_lines(self._metrics, lambda record: _is_measured(record, state))
            place = (state.epoch + 1, state.position)
            # What was left out beforehand (epoch 0) is told anew until the first batch is done.
            since = 0 if state.epoch or state.position else 1
            _keep_lines(
                self._skipped,
                lambda record: (
                    since <= record["epoch"] and (record["epoch"], record["batch"]) <= place
                ),
            )
        # Without a step there is nothing to purge.
        first = state.step + 1 if state is not None and state.step else None
        self._events = SummaryWriter(str(folder), purge_step=first)
        self._console = Console(file=sys.stderr, quiet=quiet)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[state]}"),
            console=self._console,
            transient=True,
            disable=quiet or not self._console.is_terminal,
        )
        self._row: TaskID | None = None

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.stop()
        self._events.close()

    def say(self, line: str) -> None:
        """One line for the person at the terminal."""
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def start(self, description: str, total: int, done: int = 0) -> None:
        """A new bar of `total` parts, in place of the last."""
        if self._row is not None:
            self._bar.remove_task(self._row)
        self._row = self._bar.add_task(description, total=total, completed=done, state="")

    def advance(self, done: int, state: str = "") -> None:
        """`done` parts of the current bar are done; `state` is shown behind it."""
        if self._row is not None:
            self._bar.update(self._row, completed=done, state=state)

    def log(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        """A line of `metrics.jsonl`, and its numbers for TensorBoard; only the finite ones."""
        finite = {name: value for name, value in values.items() if math.isfinite(value)}
        _append(self._metrics, {"kind": kind, "step": step, **finite})
        for name, value in finite.items():
            self._events.add_scalar(f"{kind}/{name}", value, step)

    def log_text(self, name: str, step: int, lines: str) -> None:
        """A text for TensorBoard, such as sample decodes."""
        self._events.add_text(name, lines, step)

    def log_skipped(self, epoch: int, batch: int, identity: str, reason: str) -> None:
        """A line of `skipped.jsonl`: what was left out of a batch (from 1) of an epoch, and why."""
        record = {"epoch": epoch, "batch": batch, "id": identity, "reason": reason}
        _append(self._skipped, record)


def read_history(folder: Path) -> list[dict[str, float]]:
    """What each evaluation of a run on dev found, in order: `epoch`, `train_loss`, the metrics.

    A number that was not finite is missing.
    """
    path = folder / METRICS
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    records = [json.loads(line) for line in lines if line]
    return [
        {name: value for name, value in record.items() if name not in ("kind", "step")}
        for record in records
        if record["kind"] == "dev"
    ]


def duration_text(seconds: float) -> str:
    """A time for a person: `45 s`, `12 min`, `3 h 20 min`."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"


def epoch_text(epoch: int) -> str:
    """An evaluation for a person, by the epoch that it came after."""
    return f"epoch {epoch}" if epoch else "start"


def estimate_text(num_batches: int, seconds: float, epochs: int) -> str:
    """How long a training will take, for a person; `seconds` is for an epoch."""
    batches = "1 batch" if num_batches == 1 else f"{num_batches} batches"
    whole = "1 epoch" if epochs == 1 else f"{epochs} epochs"
    return (
        f"an epoch ({batches}) takes about {duration_text(seconds)}, evaluation apart; "
        f"{whole} about {duration_text(seconds * epochs)}"
    )


def status_text(
    state: TrainingState, epochs: int, num_batches: int, recent: tuple[str, Sequence[float]]
) -> str:
    """What stands behind the bar: the recent loss, the best evaluation, the time left.

    Args:
        state: where the training stands.
        epochs: of the whole training.
        num_batches: of this epoch.
        recent: what the loss is called, and those of the latest updates.
    """
    name, losses = recent
    parts = [f"{name} {statistics.fmean(losses):.3f}"] if losses else []
    if state.best is not None:
        value, epoch = state.best
        parts.append(f"best dev {value:.4g} ({epoch_text(epoch)})")
    # All runs together: the seconds of the state are those of all its epochs.
    done = state.epoch + state.position / num_batches
    left = state.seconds / done * (epochs - done)
    return "  ".join([*parts, f"{duration_text(left)} left"])


def _append(path: Path, record: Mapping[str, Any]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record, ensure_ascii=False) + "\n")


def _is_measured(record: Mapping[str, Any], state: TrainingState) -> bool:
    """Whether `state` already includes what a line of `metrics.jsonl` tells."""
    match record["kind"]:
        case "train":
            return bool(record["step"] <= state.step)
        case "dev":  # the best is unknown until the first of them, which may be of epoch 0
            return state.best is not None and bool(record["epoch"] <= state.epoch)
        case _:  # of a finished model, which there is not, or not any more
            return False


def _keep_lines(path: Path, is_kept: Callable[[Mapping[str, Any]], bool]) -> None:
    """Keep the whole lines of a JSON-lines file of which `is_kept` is true."""
    if not path.exists():
        return
    kept = []
    for line in path.read_bytes().split(b"\n"):
        try:
            record = json.loads(line.decode("utf-8"))
        except ValueError:
            continue  # the half line of a killed process
        if is_kept(record):
            kept.append(line + b"\n")
    write_atomically(path, b"".join(kept))
