"""Options that several commands share."""

import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

Device = Annotated[
    str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.", metavar="DEVICE")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override a setting: section.key=value. Repeatable."),
]
Corpus = Annotated[
    list[Path] | None,
    typer.Option("--corpus", help="Where the corpus lies. Repeatable. Default: download."),
]
Recipe = Annotated[Path, typer.Argument(help="A recipe folder or a .toml file.")]


class _ToStderr(logging.Handler):
    """Lines on whatever stderr is when they come."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr)


def show_progress() -> None:
    """Let the package's log lines, such as the progress of a download, appear on stderr."""
    handler = _ToStderr()
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("asr")
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)


def tell(line: str) -> None:
    """Say something beside the result."""
    print(f"asr: {line}", file=sys.stderr)
