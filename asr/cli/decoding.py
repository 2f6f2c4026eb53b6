"""Options of every command that decodes: said once, and handed to the command as a `Decoding`."""

import inspect
from collections.abc import Callable, Collection
from enum import StrEnum
from functools import wraps
from inspect import Parameter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asr.errors import ConfigError

if TYPE_CHECKING:
    from asr.decoder import Decoding

Command = Callable[..., int]


class Format(StrEnum):
    """How transcripts are printed."""

    txt = "txt"
    json = "json"
    ctm = "ctm"


class Unit(StrEnum):
    """What the words of a language model are."""

    word = "word"
    token = "token"  # noqa: S105


class Engine(StrEnum):
    """Who searches."""

    asr = "asr"
    pyctcdecode = "pyctcdecode"


class FusionKind(StrEnum):
    """How a language model counts."""

    shallow = "shallow"
    prior = "prior"


Nbest = Annotated[
    int, typer.Option("--nbest", help="Hypotheses of each utterance, in JSON.", min=1)
]


def _option(kind: Any, flag: str, text: str, default: Any = None) -> tuple[Any, Any]:
    return Annotated[kind, typer.Option(flag, help=text)], default


OPTIONS = {  # each with the name of what it sets in a `Decoding`, in the order of the help
    "lm": _option(
        Path | None, "--lm", "Language model: ARPA, plain or .gz, or the folder of a neural one."
    ),
    "lexicon": _option(
        Path | None, "--lexicon", "Text file of the only words allowed, one a line."
    ),
    "hotwords": _option(
        Path | None,
        "--hotwords",
        "Text file of words or phrases, each with a tab and a weight.",
    ),
    "lm_weight": _option(
        float | None, "--lm-weight", "Default: as tuned for this model, else 0.5."
    ),
    "word_bonus": _option(float | None, "--word-bonus", "Nats a word. Default: as tuned, else 0."),
    "unknown_penalty": _option(
        float | None,
        "--unknown-penalty",
        "Nats against words that the model does not know; 10 unless tuned with others.",
    ),
    "lm_unit": _option(Unit | None, "--lm-unit", "What the words of the model are. Default: word."),
    "fusion": _option(
        FusionKind | None, "--fusion", "prior: a prior of every label, with --lexicon."
    ),
    "beam_size": _option(
        int | None, "--beam-size", "Prefixes kept in a frame. Default: 100, of a transducer 16."
    ),
    "engine": _option(
        Engine, "--decoder", "pyctcdecode: search with that, to compare.", Engine.asr
    ),
}


def with_decoding(*, without: Collection[str] = ()) -> Callable[[Command], Command]:
    """A decorator: the options stand where a command has its keyword `decoding: Decoding`.

    Typer makes options of a signature. That of the decorated command has `OPTIONS` instead of
    `decoding`, and the command is handed what was asked for.

    Args:
        without: options that the command does not have.
    """
    options = {name: each for name, each in OPTIONS.items() if name not in without}

    def decorated(command: Command) -> Command:
        @wraps(command)
        def run(**given: Any) -> int:
            asked = {name: _plain(given.pop(name)) for name in options}
            return command(**given, decoding=_decoding(asked))

        signature = inspect.signature(command)
        parameters = [each for p in signature.parameters.values() for each in _replaced(p, options)]
        run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {each.name: each.annotation for each in parameters}
        return run

    return decorated


def check_search(nbest: int, decoding: "Decoding") -> None:
    """Return when as many hypotheses as `nbest` can be found.

    Raises:
        ConfigError: the best path is one.
    """
    if nbest > 1 and decoding.is_greedy():
        raise ConfigError(
            "--nbest has no effect on the best path; search with --beam-size, --lm or --lexicon"
        )


def check_format(nbest: int, output_format: Format) -> None:
    """Return when as many hypotheses as `nbest` can be printed.

    Raises:
        ConfigError: the format has room for one.
    """
    if nbest > 1 and output_format is not Format.json:
        raise ConfigError("--nbest needs --format json, which has a place for them")


def _replaced(parameter: Parameter, options: dict[str, tuple[Any, Any]]) -> list[Parameter]:
    """A parameter of a command, or the options in the place of `decoding`."""
    kind = Parameter.KEYWORD_ONLY
    if parameter.name != "decoding":
        return [parameter.replace(kind=kind)]
    return [
        Parameter(name, kind, annotation=annotation, default=default)
        for name, (annotation, default) in options.items()
    ]


def _decoding(asked: dict[str, Any]) -> "Decoding":
    from asr.decoder import Decoding

    return Decoding(**asked)


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, StrEnum) else value
