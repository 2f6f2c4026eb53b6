"""`asr prepare`."""

from pathlib import Path
from typing import Annotated

import typer

from asr.cli.options import Corpus


def prepare_command(
    folder: Annotated[
        Path, typer.Argument(help="A recipe folder, or a folder of your own recordings.")
    ],
    corpus: Corpus = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Where the manifests go. Default: data/NAME.")
    ] = None,
) -> int:
    """Make the manifests train.jsonl, dev.jsonl and test.jsonl from a corpus."""
    from asr.preparation import prepare

    prepared = prepare(folder, corpus=corpus or [], out=out)
    for line in prepared.lines():
        print(line)
    return 0
