"""`asr prepare`."""

from pathlib import Path
from typing import Annotated

import typer

from asr.cli.options import Corpus, show_progress


def prepare_command(
    folder: Annotated[
        Path,
        typer.Argument(help="A recipe (folder or .toml file), or a folder of your own recordings."),
    ],
    corpus: Corpus = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Where the manifests go. Default: data/NAME.")
    ] = None,
    drop_bad: Annotated[
        bool,
        typer.Option("--drop-bad", help="Leave out unusable recordings of your own, listing them."),
    ] = False,
    hours: Annotated[
        float | None,
        typer.Option("--hours", help="Training speech, for a recipe that makes its speech."),
    ] = None,
) -> int:
    """Make the manifests train.jsonl, dev.jsonl and test.jsonl from a corpus."""
    from asr.preparation import prepare

    show_progress()
    prepared = prepare(folder, corpus=corpus or [], out=out, drop_bad=drop_bad, hours=hours)
    for line in prepared.lines():
        print(line)
    return 0
