"""`asr train`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from asr.cli.options import Corpus, Device, Overrides, Recipe, show_progress


def train_command(
    recipe: Recipe,
    overrides: Overrides = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Run folder. Default: exp/RECIPE/VARIANT.")
    ] = None,
    corpus: Corpus = None,
    device: Device = "auto",
    allow_changed: Annotated[
        bool, typer.Option("--allow-changed", help="Resume although data or tokens changed.")
    ] = False,
) -> int:
    """Train a recipe, preparing its data first if needed; the same command resumes."""
    from asr.experiment import train_recipe

    show_progress()
    outcome = train_recipe(
        recipe,
        overrides=overrides or [],
        out=out,
        corpus=corpus or [],
        device=device,
        allow_changed=allow_changed,
        say=lambda line: print(line, file=sys.stderr),
    )
    for name, evaluation in (("dev", outcome.dev), ("test", outcome.test)):
        if evaluation is not None:
            scores = [_score(*item) for item in evaluation.metrics.items()]
            print(f"{name}: {'  '.join(scores)}")
    print(outcome.bundle)
    return 0


def _score(metric: str, value: float) -> str:
    """A metric for a person: error rates as percentages."""
    from asr.scoring.table import rates_text

    return rates_text({metric: value}) or f"{metric.replace('_', ' ')} {value:.4g}"
