"""`asr tune`."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asr.cli.bar import bar
from asr.cli.decoding import with_decoding
from asr.cli.options import Device, tell
from asr.errors import shown

if TYPE_CHECKING:
    from asr.decoder import Decoding
    from asr.tuning import Surface


@with_decoding(without={"lm_weight", "word_bonus", "engine"})
def tune_command(
    bundle: Annotated[Path, typer.Argument(help="A bundle, such as exp/an4/default/best.")],
    manifest: Annotated[
        Path, typer.Argument(help="Development data, such as data/an4/dev.jsonl; no test set.")
    ],
    *,
    decoding: "Decoding",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Folder for the surface. Default: tuning/LM, or tuning/LM+LEXICON and so on, "
            "beside the bundle.",
        ),
    ] = None,
    device: Device = "auto",
) -> int:
    """Find the weights of a language model on dev data and store them in the bundle."""
    from asr.tuning import tune, write_surface

    folder = out or bundle.resolve().parent / "tuning" / _name(decoding)
    with bar("searching") as advance:
        surface = tune(
            bundle,
            manifest,
            decoding,
            device=device,
            command=shlex.join(["asr", *sys.argv[1:]]),
            say=tell,
            advance=advance,
        )
    tell(f"stored in {shown(bundle)}, for every command with the same --lm, --lexicon and so on")
    try:  # files first: whoever reads the table may leave off, as `head` does
        written = write_surface(surface, folder)
        tell(f"written to {' and '.join(map(shown, written))}")
        if len(written) == 1:
            tell("no picture: matplotlib is not installed (pip install 'asr-toolkit[plots]')")
    finally:  # even if a file cannot be written
        _print(surface)
    return 0


def _print(surface: "Surface") -> None:
    """What was found, on stdout."""
    from asr.scoring.surface import RATE_NAMES

    best, rate = surface.best, RATE_NAMES[surface.unit]
    print(surface.table(), end="")
    print(
        f"weight {best.lm_weight:g}, word bonus {best.word_bonus:g}: dev {rate} "
        f"{100 * best.wer:.2f} % (greedy {100 * surface.greedy_wer:.2f} %)"
    )
    print(surface.confidences.line())


def _name(decoding: "Decoding") -> str:
    """What was weighed: the names of its files, and of the ways that are not the usual ones."""
    from asr.lm.loading import model_name

    files = [file for file in (decoding.lm, decoding.lexicon, decoding.hotwords) if file]
    names = [
        model_name(file).replace("/", "-")
        if file.is_dir()
        else Path(file.name.removesuffix(".gz")).stem
        for file in files
    ]
    ways = [f"{way}" for way in (decoding.lm_unit, decoding.fusion) if way in ("token", "prior")]
    return "+".join([*names, *ways])
