"""`asr evaluate`."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from asr.cli.bar import bar
from asr.cli.options import Device


def evaluate_command(
    bundle: Annotated[Path, typer.Argument(help="A bundle, such as exp/an4/default/best.")],
    manifest: Annotated[Path, typer.Argument(help="A manifest, such as data/an4/test.jsonl.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for hypotheses.jsonl and report.txt.")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="File for the scores as JSON.")
    ] = None,
    device: Device = "auto",
) -> int:
    """Transcribe a manifest and score it: WER and CER with intervals, the worst utterances."""
    from asr.evaluation import evaluate, write_results
    from asr.recognizer import load

    recognizer = load(bundle, device=device)
    with bar("transcribing") as advance:
        result = evaluate(recognizer, manifest, advance)
    print(result.report())
    if out is not None:
        write_results(result, out)
        print(f"written to {out}", file=sys.stderr)
    if json_file is not None:
        from asr.storage import write_atomically

        write_atomically(json_file, json.dumps(result.as_dict(), indent=1) + "\n")
    return result.exit_code
