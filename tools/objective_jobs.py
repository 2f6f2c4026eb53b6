"""Commands of `asr` for tools that make tables: logged, accounted for, side by side, pinned.

Each job of `run_jobs` runs on one thread and, on Linux, on one core of its own, so that what one
does slows the others as little as it can. A job that fails is noted; the others go on.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from queue import SimpleQueue

from asr.errors import AsrError, shown
from asr.storage import read_json, write_json
from tools.objective_arms import read_failures

Runner = Callable[[Sequence[str], Path], int]  # arguments of `asr`, a log to add to → exit code


class JobError(Exception):
    """A command that failed.

    Attributes:
        exit_code: of the command.
    """

    def __init__(self, exit_code: int, message: str) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True)
class Job:
    """Something to do that has a name to be told by; does nothing where it is already done."""

    name: str
    work: Callable[[Runner], None]


def run_asr(arguments: Sequence[str], log: Path, *, threads: int | None = 1) -> int:
    """Run `asr`; what it says is added to `log`.

    Args:
        arguments: of `asr`.
        log: a file.
        threads: how many it computes with; None: as many as it likes.

    Returns:
        The exit code.
    """
    limit = {} if threads is None else {"OMP_NUM_THREADS": str(threads)}
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "asr", *arguments]
    with log.open("ab") as file:
        return subprocess.run(  # noqa: S603 - our own program
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, **limit},
            check=False,
        ).returncode


def checked(run: Runner, arguments: Sequence[str], log: Path) -> None:
    """Run `asr`.

    Raises:
        JobError: it failed; the message has the last line that it wrote.
    """
    if exit_code := run(arguments, log):
        raise JobError(exit_code, f"exit code {exit_code}: {_last_line(log)} ({shown(log)})")


def run_step(
    run: Runner, arguments: Sequence[str], folder: Path, inputs: Mapping[str, str]
) -> None:
    """Run `asr` for the results in `folder`, unless they were made of the same inputs before.

    Args:
        run: runs it.
        arguments: of `asr`.
        folder: gets `done.json` with the inputs when all else is there.
        inputs: what the results follow from, such as hashes of files.

    Raises:
        JobError: it failed.
    """
    done = folder / "done.json"
    if read_done(folder) == inputs:
        return
    done.unlink(missing_ok=True)
    checked(run, arguments, folder / "log.txt")
    write_json(done, dict(inputs))


def tune_arguments(
    bundle: Path, dev: Path, options: Sequence[str], folder: Path
) -> tuple[str, ...]:
    """Of `asr` to find the weights of a language model on dev; its surface goes to `folder`."""
    return ("tune", str(bundle), str(dev), *options, "--out", str(folder))


def evaluate_arguments(
    bundle: Path, manifest: Path, options: Sequence[str], folder: Path
) -> tuple[str, ...]:
    """Of `asr` to score a bundle; all goes to `folder`, with the rates in `scores.json`."""
    written = ("--out", str(folder), "--json", str(folder / "scores.json"))
    return ("evaluate", str(bundle), str(manifest), *options, *written)


def read_done(folder: Path) -> dict[str, str] | None:
    """What the results in `folder` were made of; None while they are not whole."""
    file = folder / "done.json"
    return dict(read_json(file)) if file.is_file() else None


def run_jobs(
    jobs: Sequence[Job],
    *,
    side_by_side: int,
    out: Path,
    run: Runner,
    say: Callable[[str], None],
) -> list[str]:
    """Do all jobs, begun in their order.

    Args:
        jobs: what to do.
        side_by_side: how many at once.
        out: its `failures.json` is brought up to date after each.
        run: runs `asr`.
        say: is given lines for the user.

    Returns:
        The names of those that failed.
    """
    cores = _cores(side_by_side)
    pool = ThreadPoolExecutor(side_by_side, initializer=_pin, initargs=(cores,))
    failed = []
    try:
        futures = {pool.submit(job.work, run): job.name for job in jobs}
        for number, future in enumerate(as_completed(futures), start=1):
            name, error = futures[future], future.exception()
            if error is not None and not isinstance(error, JobError | AsrError):
                raise error
            _note(out, name, error)
            failed += [name] if error else []
            say(f"{number}/{len(jobs)} {name}: {f'failed: {error}' if error else 'done'}")
    finally:  # also when interrupted: what runs was interrupted too, and what waits must not begin
        pool.shutdown(cancel_futures=True)
    return failed


def _note(out: Path, name: str, error: JobError | AsrError | None) -> None:
    """Bring `failures.json` up to date."""
    failures = read_failures(out)
    before = dict(failures)
    failures.pop(name, None)
    if error is not None:
        failures[name] = {"exit_code": error.exit_code, "message": str(error)}
    if failures != before:
        write_json(out / "failures.json", failures)


def _cores(count: int) -> "SimpleQueue[int]":
    """A core for each of `count` workers; none where a thread cannot be bound to one."""
    cores: SimpleQueue[int] = SimpleQueue()
    if sys.platform == "linux":
        for core, _ in zip(cycle(sorted(os.sched_getaffinity(0))), range(count), strict=False):
            cores.put(core)
    return cores


def _pin(cores: "SimpleQueue[int]") -> None:
    """Bind the calling thread to a core, and with it every process that it starts."""
    if sys.platform == "linux":
        os.sched_setaffinity(0, {cores.get()})


def _last_line(log: Path) -> str:
    """The last thing that a command said."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    lines = [line for line in text.split("\n") if line.strip()]
    return shown(lines[-1].strip()) if lines else "it said nothing"
