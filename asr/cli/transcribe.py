"""`asr transcribe`."""

import json
import sys
from contextlib import nullcontext
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asr.cli.bar import bar
from asr.cli.decoding import (
    BeamSize,
    DecoderOption,
    Engine,
    FusionOption,
    Hotwords,
    Lexicon,
    Lm,
    LmUnit,
    LmWeight,
    Nbest,
    UnknownPenalty,
    WordBonus,
    decoding_of,
)
from asr.cli.options import Device, tell
from asr.errors import ConfigError

if TYPE_CHECKING:
    from asr.transcription import Transcribed


class Format(StrEnum):
    """How transcripts are printed."""

    txt = "txt"
    json = "json"
    ctm = "ctm"


def transcribe_command(
    inputs: Annotated[
        list[str], typer.Argument(help="Sound files, folders of them, or - for stdin.")
    ],
    model: Annotated[
        Path | None,
        typer.Option("--model", help="A bundle. Default: $ASR_MODEL, else the newest in exp/."),
    ] = None,
    output_format: Annotated[
        Format,
        typer.Option(
            "--format",
            help="txt: a line a file; json: an object a line, with word times; ctm: a line a word.",
        ),
    ] = Format.txt,
    strict: Annotated[
        bool, typer.Option("--strict", help="Count a truncated file as failed (exit code 4).")
    ] = False,
    lm: Lm = None,
    lexicon: Lexicon = None,
    hotwords: Hotwords = None,
    lm_weight: LmWeight = None,
    word_bonus: WordBonus = None,
    unknown_penalty: UnknownPenalty = None,
    lm_unit: LmUnit = None,
    fusion: FusionOption = None,
    beam_size: BeamSize = None,
    decoder: DecoderOption = Engine.asr,
    nbest: Nbest = 1,
    device: Device = "auto",
) -> int:
    """Write down what is said in sound files."""
    from asr.recognizer import described, load
    from asr.transcription import exit_code, find_sources, transcribe_sources

    decoding = decoding_of(
        nbest,
        lm=lm,
        lexicon=lexicon,
        hotwords=hotwords,
        lm_weight=lm_weight,
        word_bonus=word_bonus,
        unknown_penalty=unknown_penalty,
        lm_unit=lm_unit,
        fusion=fusion,
        beam_size=beam_size,
        engine=decoder,
    )
    if nbest > 1 and output_format is not Format.json:
        raise ConfigError("--nbest needs --format json, which has a place for them")
    sources = find_sources(inputs)
    recognizer = load(model, device=device, decoding=decoding, say=tell)
    if model is None:
        print(described(recognizer), file=sys.stderr)
    records = []
    # With the transcripts on the same terminal, they themselves are the progress.
    with nullcontext() if sys.stdout.isatty() else bar("transcribing") as advance:
        for record in transcribe_sources(recognizer, sources, nbest=nbest):
            records.append(record)
            _print(record, output_format, alone=len(sources) == 1)
            if advance is not None:
                advance(len(records), len(sources))
    return exit_code(records, strict=strict)


def _print(record: "Transcribed", output_format: Format, *, alone: bool) -> None:
    """One record on stdout; what is wrong with it on stderr."""
    from asr.errors import shown

    for line in record.complaints():
        print(f"asr: {line}", file=sys.stderr)
    if output_format is Format.json:
        print(json.dumps(record.as_dict(), ensure_ascii=False), flush=True)
    elif output_format is Format.ctm:
        for line in record.ctm():
            print(line, flush=True)
    elif record.text is not None:
        print(record.text if alone else f"{shown(record.source)}\t{record.text}", flush=True)
