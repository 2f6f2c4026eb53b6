"""Trains the toy in processes of its own, to be killed: `python -m tests.training.toy_process`.

Importing torch takes seconds and forking milliseconds. So this process only imports, and forks a
child for every line that it reads from stdin, a JSON object of `Order`. It answers with the process
number of the child at once, and with its exit code (negative: the signal) when it has ended.
"""

import json
import os
import resource
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.utils.tensorboard  # noqa: F401 - imported here, once, for all children

import asr.storage
from asr.errors import AsrError, StoppedError
from asr.training.loop import train
from asr.training.optimizer import AdamWConfig
from asr.training.settings import TrainingConfig
from tests.training.toy import ToyBatch, ToyTask

MEASURED = 4  # batches before the first step


@dataclass(frozen=True)
class Order:
    """A training to be done.

    Attributes:
        folder: the run folder; what goes wrong is written beside it.
        settings: of the training.
        seconds: that every batch takes in addition.
        stuck_at: the number of the batch that hangs.
        stuck_in_save: the number of the checkpoint that hangs before its manifest is written.
        full_at: the number of the batch after which no file may be larger than 300 bytes.
    """

    folder: str
    settings: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    stuck_at: int = -1
    stuck_in_save: int = -1
    full_at: int = -1

    @property
    def hangs(self) -> Path:
        """Is there once the training hangs."""
        return Path(f"{self.folder}.hangs")

    @property
    def errors(self) -> Path:
        """What the training wrote to stderr."""
        return Path(f"{self.folder}.stderr")

    @property
    def consumed(self) -> Path:
        """How many batches a training that ended tidily has consumed."""
        return Path(f"{self.folder}.consumed")

    def line(self) -> str:
        return json.dumps(asdict(self)) + "\n"


class OrderedTask(ToyTask):
    order = Order("")

    def loss(self, batch: ToyBatch, device: torch.device) -> torch.Tensor:
        done = len(self.consumed) - MEASURED
        time.sleep(self.order.seconds)
        if done == self.order.stuck_at:
            hang(self.order)
        if done == self.order.full_at:
            resource.setrlimit(resource.RLIMIT_FSIZE, (300, resource.RLIM_INFINITY))
        return super().loss(batch, device)


def hang(order: Order) -> None:
    order.hangs.touch()
    time.sleep(60)


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
    task = OrderedTask(unreadable={4: "broken"})
    task.order = order
    if order.stuck_in_save >= 0:
        hang_in_save(order)
    try:
        train(
            task,
            folder=Path(order.folder),
            config=TrainingConfig(**order.settings),
            optimizer=AdamWConfig(name="adamw", learning_rate=0.05),
            seed=7,
            device=torch.device("cpu"),
        )
    except AsrError as error:
        print(error, file=sys.stderr)
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
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        os._exit(code)


def main() -> None:
    torch.set_num_threads(1)
    print("ready", flush=True)
    for line in sys.stdin:
        child = fork(Order(**json.loads(line)))
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
