"""The command `asr`: its subcommands, and what every one does with an error."""

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from asr.cli import (
    artifacts,
    combine,
    decode,
    evaluate,
    inspect,
    lm,
    prepare,
    rescore,
    train,
    transcribe,
    tune,
)
from asr.errors import AsrError, ResourceError, StoppedError
from asr.version import __version__

app = typer.Typer(
    name="asr",
    help="End-to-end speech recognition: train, transcribe and score on one laptop.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("prepare")(prepare.prepare_command)
app.command("train")(train.train_command)
app.command("transcribe")(transcribe.transcribe_command)
app.command("evaluate")(evaluate.evaluate_command)
app.command("decode")(decode.decode_command)
app.command("tune")(tune.tune_command)
app.command("rescore")(rescore.rescore_command)
app.command("combine")(combine.combine_command)
app.command("artifacts")(artifacts.artifacts_command)
app.command("config")(inspect.config_command)
app.command("info")(inspect.info_command)
app.add_typer(lm.app, name="lm")

# Typer does not export the base of its usage errors; it is the parent of the one it does export.
UsageError: type[BaseException] = typer.BadParameter.__base__ or typer.BadParameter
DEBUG = "--debug"
SMALLER = "lower training.batch_seconds (of a language model: training.batch_characters)"


def _version(wanted: bool) -> None:
    if wanted:
        print(f"asr {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
    debug: Annotated[bool, typer.Option(DEBUG, help="Show the traceback of an error.")] = False,
) -> None:
    """The options before the command; `--debug` is read by `main`, wherever it stands."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code.

    0 all done, 1 a fault of the program itself, 2 usage or config, 3 no input succeeded, 4 some
    inputs failed, 5 disk or memory, 6 training diverged, 128 + N stopped by signal N.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = DEBUG in words
    words = [word for word in words if word != DEBUG]
    try:
        return _run(words)
    except BaseException as error:
        if debug and not isinstance(error, SystemExit):
            raise
        return _report(error)


def _run(words: list[str]) -> int:
    """The exit code of a command; flushes, so that a broken pipe shows here."""
    result = app(words, standalone_mode=False, prog_name="asr")
    sys.stdout.flush()
    return int(result or 0)


def _report(error: BaseException) -> int:
    """Say what went wrong in one line a problem; the exit code."""
    match error:
        case StoppedError():
            return _say(str(error), error.status)
        case AsrError():
            return _say(str(error), error.exit_code)
        case _ if isinstance(error, UsageError):
            command = getattr(getattr(error, "ctx", None), "command_path", "asr")
            return _say(f"{_message(error)} (see {command} --help)", 2)
        case KeyboardInterrupt() | typer.Abort():
            return _say("stopped by SIGINT", 130)
        case _ if isinstance(error, BrokenPipeError) or _is_broken_pipe(error):
            # Whoever read our output has gone: not an error of ours, and nobody to tell.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 141
        case MemoryError():
            return _say(f"out of memory; {SMALLER}", ResourceError.exit_code)
        case typer.Exit():
            return error.exit_code
        case SystemExit():
            raise error
        case _ if type(error).__name__ == "OutOfMemoryError":
            text = f"out of GPU memory; {SMALLER}, or use --device cpu"
            return _say(text, ResourceError.exit_code)
        case _:
            kind = type(error).__name__
            return _say(f"a fault of asr itself: {kind}: {error}; --debug shows where", 1)


def _is_broken_pipe(error: BaseException) -> bool:
    """Whether this is how typer leaves the program when the reader of its output has gone."""
    return isinstance(error, SystemExit) and isinstance(error.__context__, BrokenPipeError)


def _message(error: BaseException) -> str:
    formatted = getattr(error, "format_message", None)
    return str(formatted() if formatted else error).rstrip(".")


def _say(message: str, code: int) -> int:
    for line in message.split("\n"):
        print(f"asr: error: {line}", file=sys.stderr)
    return code
