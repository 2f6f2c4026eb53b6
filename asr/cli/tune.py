"""`asr tune`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from asr.cli.bar import bar
from asr.cli.decoding import (
    BeamSize,
    FusionOption,
    Hotwords,
    Lexicon,
    Lm,
    LmUnit,
    UnknownPenalty,
    decoding_of,
)
from asr.cli.options import Device, tell


def tune_command(
    bundle: Annotated[Path, typer.Argument(help="A bundle, such as exp/an4/default/best.")],
    manifest: Annotated[
        Path, typer.Argument(help="Development data, such as data/an4/dev.jsonl; no test set.")
    ],
    lm: Lm = None,
    lexicon: Lexicon = None,
    hotwords: Hotwords = None,
    unknown_penalty: UnknownPenalty = None,
    lm_unit: LmUnit = None,
    fusion: FusionOption = None,
    beam_size: BeamSize = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for the surface. Default: tuning/LM beside the bundle."),
    ] = None,
    device: Device = "auto",
) -> int:
    """Find the weights of a language model on dev data and store them in the bundle."""
    from asr.tuning import tune, write_surface

    decoding = decoding_of(
        1,
        lm=lm,
        lexicon=lexicon,
        hotwords=hotwords,
        unknown_penalty=unknown_penalty,
        lm_unit=lm_unit,
        fusion=fusion,
        beam_size=beam_size,
    )
    name = lm.name.removesuffix(".gz").removesuffix(".arpa") if lm is not None else ""
    folder = out or bundle.resolve().parent / "tuning" / name
    with bar("searching") as advance:
        surface = tune(
            bundle,
            manifest,
            decoding,
            device=device,
            command=" ".join(["asr", *sys.argv[1:]]),
            say=tell,
            advance=advance,
        )
    print(surface.table(), end="")
    best = surface.best
    print(
        f"weight {best.lm_weight:g}, word bonus {best.word_bonus:g}: dev WER {100 * best.wer:.2f} %"
        f" (greedy {100 * surface.greedy_wer:.2f} %); stored in {bundle}"
    )
    before, after = surface.entropies
    curve = surface.calibration
    print(
        f"confidences: log-odds x {curve.scale:.3g} + {curve.offset:.3g}; "
        f"normalised cross-entropy {after:.3f} ({before:.3f} before)"
    )
    written = write_surface(surface, folder)
    tell(f"written: {', '.join(map(str, written))}")
    if len(written) == 1:
        tell("no picture: matplotlib is not installed (pip install 'asr-toolkit[plots]')")
    return 0
