"""`asr artifacts`."""

from pathlib import Path
from typing import Annotated

import typer

from asr.cli.options import Device, Overrides, tell


def artifacts_command(
    run: Annotated[Path, typer.Argument(help="A run folder, such as exp/vae/default.")],
    overrides: Overrides = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Where they go. Default: RUN/artifacts/final.")
    ] = None,
    device: Device = "auto",
) -> int:
    """Make the samples and pictures of a training's best model again."""
    from asr.showing import show_run

    for path in show_run(run, overrides=overrides or [], out=out, device=device, say=tell):
        print(path)
    return 0
