"""`asr transcribe`."""

import json
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asr.cli.bar import bar
from asr.cli.decoding import Format, Nbest, check_format, check_search, with_decoding
from asr.cli.options import Device, tell

if TYPE_CHECKING:
    from asr.decoder import Decoding
    from asr.transcription import Transcribed


@with_decoding()
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
    *,
    decoding: "Decoding",
    nbest: Nbest = 1,
    device: Device = "auto",
) -> int:
    """Write down what is said in sound files."""
    from asr.recognizer import described, load
    from asr.transcription import exit_code, find_sources, transcribe_sources

    check_search(nbest, decoding)
    check_format(nbest, output_format)
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
