"""Trains the toy in processes of its own, to be killed: `python -m tests.training.toy_process`.

Importing torch takes seconds (some of it in the first step of an optimiser), forking milliseconds.
So this process trains once, for the imports, and then forks. It reads lines from stdin and answers
each with a number: `start` and a JSON object of `Order` with the process number of the child,
`wait` and a process number with the exit code (negative: the signal), once the child has ended.
"""

import contextlib
import io
import json
import os
import resource
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

import asr.storage
from asr.errors import AsrError, StoppedError
from asr.training.loop import train
from asr.training.optimizer import AdamWConfig
from asr.training.settings import Settings, TrainingConfig
from asr.training.task import Skipped
from tests.training.toy import ToyBatch, ToyTask

MEASURED = 4  # batches before the first step


@dataclass(frozen=True)
class Order:
    """A training to be done.

    Attributes:
        folder: the run folder; what goes wrong is written beside it.
        settings: of the training.
        judge_start: whether the starting weights compete.
        dev_of_epoch: what the evaluations give (see the toy); None: what they find.
        stuck_at: the number of the batch that hangs.
        stuck_in_save: the number of the checkpoint that hangs before its manifest is written.
        full_at: the number of the batch after which no file may be larger than a kilobyte.
    """

    folder: str
    settings: dict[str, Any] = field(default_factory=dict)
    judge_start: bool = False
    dev_of_epoch: list[float] | None = None
    stuck_at: int | None = None
    stuck_in_save: int | None = None
    full_at: int | None = None

    @property
    def hangs(self) -> Path:
        """Is there once the training hangs."""
        return Path(f"{self.folder}.hangs")

    @property
    def goes_on(self) -> Path:
        """To be made for a training that hangs, and it goes on."""
        return Path(f"{self.folder}.goes-on")

    @property
    def errors(self) -> Path:
        """What the training wrote to stderr."""
        return Path(f"{self.folder}.stderr")

    @property
    def consumed(self) -> Path:
        """How many batches a training that ended tidily has consumed."""
        return Path(f"{self.folder}.consumed")


class OrderedTask(ToyTask):
    order = Order("")

    def loss(self, batch: ToyBatch, device: torch.device) -> torch.Tensor:
        done = len(self.consumed) - MEASURED
        if done == self.order.stuck_at:
            hang(self.order)
        if done == self.order.full_at:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
        return super().loss(batch, device)


def hang(order: Order) -> None:
    order.hangs.touch()
    deadline = time.monotonic() + 60
    while not order.goes_on.exists() and time.monotonic() < deadline:
        time.sleep(0.01)


def hang_in_save(order: Order) -> None:
    """Make the seal of the checkpoint of an order hang, with all its other files written."""
    seal = asr.storage._seal

    def hanging(folder: Path) -> None:
        if folder.name.startswith(f"step-{order.stuck_in_save:08d}"):
            hang(order)
        seal(folder)

    asr.storage._seal = hanging


def work(order: Order) -> int:
    """Train; the exit code that the command line would give."""
    task = OrderedTask(
        unreadable={4: "broken"},
        excluded=(Skipped("99", "the text is empty"),),
        dev_of_epoch=order.dev_of_epoch,
    )
    task.order = order
    if order.stuck_in_save is not None:
        hang_in_save(order)
    try:
        train(
            task,
            Settings(
                training=TrainingConfig(**order.settings),
                optimizer=AdamWConfig(name="adamw", learning_rate=0.05),
                seed=7,
                judge_start=order.judge_start,
            ),
            folder=Path(order.folder),
            device=torch.device("cpu"),
        )
    except AsrError as error:
        sys.stderr.write(f"{error}\n")
        return error.status if isinstance(error, StoppedError) else error.exit_code
    finally:
        order.consumed.write_text(str(len(task.consumed) - MEASURED), encoding="utf-8")
    return 0


def fork(order: Order) -> int:
    """The process number of a child that works on the order."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        with order.errors.open("a", encoding="utf-8") as errors:
            os.dup2(errors.fileno(), sys.stderr.fileno())
        code = work(order)
    finally:
        if code == 1:
            traceback.print_exc()
        sys.stderr.flush()
        os._exit(code)


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        work(Order(f"{folder}/run", {"epochs": 1}))
    answer("ready")
    for line in sys.stdin:
        command, content = line.split(" ", 1)
        if command == "start":
            answer(fork(Order(**json.loads(content))))
        else:
            _, status = os.waitpid(int(content), 0)
            answer(os.waitstatus_to_exitcode(status))


def answer(value: object) -> None:
    sys.stdout.write(f"{value}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
