"""One command of `asr` whose results the table shows, and whether they are there and up to date."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from pathlib import Path

from asr.errors import ConfigError, shown
from asr.storage import MANIFEST, cannot_write, file_hash
from tools.objective_arms import model_hash
from tools.objective_jobs import Runner, read_done, run_step

DONE_FILE = "done.json"


class State(StrEnum):
    """Of the results of a step."""

    DONE = "done"
    OUT_OF_DATE = "out of date"  # made by another command, or of other files
    NOT_RUN = "not run"


@dataclass(frozen=True, kw_only=True)
class Step:
    """A command and what it needs.

    Attributes:
        name: of the step, and of its folder below that of the table.
        arguments: of `asr`.
        folder: gets the results, the log, and last `done.json`.
        files: what the results follow from, by name.
        bundle: a recogniser from which they follow as well.
        after: names of steps that make what it needs.
        output: a file that is the result, where it is not in `folder`. If it is there without
            `done.json`, the user made it, and it is taken as it is.
    """

    name: str
    arguments: tuple[str, ...]
    folder: Path
    files: Mapping[str, Path] = field(default_factory=dict)
    bundle: Path | None = None
    after: tuple[str, ...] = ()
    output: Path | None = None

    @property
    def command(self) -> str:
        """As a user types it."""
        return shlex.join(["asr", *self.arguments])

    def state(self) -> State:
        """Of the results, compared with the files as they are now."""
        done = read_done(self.folder)
        if self.output is not None and done is None and self.output.is_file():
            return State.DONE
        if done is None or (self.output is not None and not self.output.is_file()):
            return State.NOT_RUN
        return State.DONE if not self.missing() and done == self.inputs() else State.OUT_OF_DATE

    def missing(self) -> list[Path]:
        """What it needs and is not there."""
        bundle = [] if self.bundle is None else [self.bundle / MANIFEST]
        return [file for file in (*bundle, *self.files.values()) if not file.is_file()]

    def inputs(self) -> dict[str, str]:
        """What the results follow from: the command and the hashes of what it reads."""
        found = {"command": self.command}
        if self.bundle is not None:
            found["model"] = model_hash(self.bundle)
        return found | {name: _hash(file) for name, file in self.files.items()}

    def do(self, run: Runner) -> None:
        """Run the command, unless its results are there and up to date.

        Raises:
            ConfigError: a file is missing.
            JobError: the command failed.
            ResourceError: the disk is full or not writable.
        """
        state = self.state()
        if state is State.DONE:
            return
        if missing := self.missing():
            raise ConfigError(f"{shown(missing[0])}: no such file; {self.command} needs it")
        if self.output is not None and state is State.OUT_OF_DATE:
            self.output.unlink()  # else it would be taken for the user's if this is interrupted
        self._log()
        run_step(run, self.arguments, self.folder, self.inputs())

    def _log(self) -> None:
        """Write the command into the log, before what it says."""
        file = self.folder / "log.txt"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with file.open("a", encoding="utf-8") as log:
                log.write(f"$ {self.command}\n")
        except OSError as error:
            raise cannot_write(file, error) from error


def _hash(file: Path) -> str:
    status = file.stat()
    return _hash_of(file, status.st_size, status.st_mtime_ns)


@cache
def _hash_of(file: Path, size: int, modified: int) -> str:
    """A language model of gigabytes is needed by many steps."""
    return file_hash(file)
