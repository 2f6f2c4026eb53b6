"""Options of every command that decodes."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asr.errors import ConfigError

if TYPE_CHECKING:
    from asr.decoder import Decoding


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


Lm = Annotated[
    Path | None,
    typer.Option("--lm", help="Language model: ARPA, plain or .gz."),
]
Lexicon = Annotated[
    Path | None,
    typer.Option("--lexicon", help="Text file of the only words allowed, one a line."),
]
Hotwords = Annotated[
    Path | None,
    typer.Option("--hotwords", help="Text file of words or phrases, each with a tab and a weight."),
]
LmWeight = Annotated[
    float | None, typer.Option("--lm-weight", help="Default: as tuned for this model, else 0.5.")
]
WordBonus = Annotated[
    float | None, typer.Option("--word-bonus", help="Nats a word. Default: as tuned, else 0.")
]
UnknownPenalty = Annotated[
    float | None,
    typer.Option("--unknown-penalty", help="Nats against words that the model does not know."),
]
LmUnit = Annotated[
    Unit | None, typer.Option("--lm-unit", help="What the words of the model are. Default: word.")
]
FusionOption = Annotated[
    FusionKind | None,
    typer.Option("--fusion", help="prior: a prior of every label, with --lexicon."),
]
BeamSize = Annotated[
    int | None, typer.Option("--beam-size", help="Prefixes kept in a frame. Default: 100.")
]
DecoderOption = Annotated[
    Engine, typer.Option("--decoder", help="pyctcdecode: search with that, to compare.")
]
Nbest = Annotated[
    int, typer.Option("--nbest", help="Hypotheses of each utterance, in JSON.", min=1)
]


def decoding_of(nbest: int, **given: Any) -> "Decoding":
    """What was asked for.

    Raises:
        ConfigError: `--nbest` without a search.
    """
    from asr.decoder import Decoding

    decoding = Decoding(**{name: _plain(value) for name, value in given.items()})
    if nbest > 1 and decoding.is_greedy():
        raise ConfigError(
            "--nbest has no effect on the best path; search with --beam-size, --lm or --lexicon"
        )
    return decoding


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, StrEnum) else value
