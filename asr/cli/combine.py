"""`asr combine`."""

from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from asr.cli.nbest_files import (
    CaseOption,
    Out,
    check_out,
    give,
    named_files,
    parsed_weights,
    read_references,
    report_rates,
)
from asr.errors import ConfigError, shown


class Method(StrEnum):
    """How systems are combined."""

    vote = "vote"
    loglinear = "loglinear"


def combine_command(
    systems: Annotated[
        list[str],
        typer.Argument(
            metavar="[NAME=]FILE...", help="N-best lists of each system, the best system first."
        ),
    ],
    method: Annotated[
        Method,
        typer.Option(
            "--method",
            help="vote: word by word (ROVER); loglinear: sum of log-posteriors of whole texts.",
        ),
    ] = Method.vote,
    weight: Annotated[
        list[str] | None,
        typer.Option(
            "--weight",
            metavar="NAME=VALUE",
            help="Of each system. NAME is that of the file without its suffix. Default: 1.",
        ),
    ] = None,
    alpha: Annotated[
        float | None,
        typer.Option(
            "--alpha", help="vote: how much frequency counts against confidence. Default: 0.5."
        ),
    ] = None,
    nbest: Annotated[
        int | None,
        typer.Option(
            "--nbest", min=1, help="vote: candidates of a list, by their posteriors. Default: 1."
        ),
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option("--scale", help="Factor of the scores in posteriors. Default: 1."),
    ] = None,
    references: Annotated[
        Path | None, typer.Option("--references", help="Manifest, for the WER of each.")
    ] = None,
    case: CaseOption = None,
    out: Out = None,
) -> int:
    """Combine the n-best lists of several systems."""
    from asr.decoding.nbest import first_texts, read_nbest
    from asr.decoding.voting import combine, vote_systems

    if method is Method.loglinear and not (alpha is None and nbest is None):
        raise ConfigError("--alpha and --nbest are for --method vote; leave them out")
    if method is Method.vote and scale is not None and (nbest or 1) == 1:
        raise ConfigError("--scale has no effect when one candidate of a list votes; give --nbest")
    files = named_files(systems)
    check_out(out, [references, *(file for _, file in files)])
    lists = {name: read_nbest(file) for name, file in files}
    if len(lists) < len(files):
        repeated = next(name for name, count in Counter(n for n, _ in files).items() if count > 1)
        raise ConfigError(
            f"several systems are called '{shown(repeated)}'; name them, such as "
            f"a={shown(files[0][1])}"
        )
    weights = parsed_weights(weight) or dict.fromkeys(lists, 1.0)
    factor = 1.0 if scale is None else scale
    if method is Method.vote:
        share = 0.5 if alpha is None else alpha
        combined = vote_systems(lists, weights, alpha=share, nbest=nbest or 1, scale=factor)
    else:
        combined = combine(lists, weights, scale=factor)
    if spoken := read_references(references, lists, case):
        report_rates(spoken, {name: first_texts(one) for name, one in lists.items()}, out)
        report_rates(spoken, {"combination": first_texts(combined)}, out)
    give(combined, out)
    return 0
