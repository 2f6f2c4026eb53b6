"""`asr rescore` and `asr combine`: n-best lists ranked anew, and several systems made one."""

import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asr.errors import ConfigError, DataError, shown

if TYPE_CHECKING:
    from asr.decoding.nbest import NbestList

WORDS = "words"
_NAMED_FILE = re.compile(r"([^=/\\]+)=(.+)")


class Unit(StrEnum):
    """What is a word to the language model."""

    word = "word"
    character = "character"


class Method(StrEnum):
    """How systems are combined."""

    vote = "vote"
    loglinear = "loglinear"


Out = Annotated[
    Path | None, typer.Option("--out", "-o", help="Write n-best lists here instead of texts.")
]
Weights = Annotated[list[str] | None, typer.Option("--weight", metavar="NAME=VALUE")]


def rescore_command(
    nbest: Annotated[Path, typer.Argument(help="N-best lists, JSON lines or Kaldi's text.")],
    lm: Annotated[
        list[str] | None,
        typer.Option("--lm", metavar="[NAME=]FILE", help="A language model; its score is lm."),
    ] = None,
    unit: Annotated[
        Unit | None, typer.Option("--unit", help="What the words of --lm are. Default: word.")
    ] = None,
    scores: Annotated[
        list[str] | None,
        typer.Option(
            "--scores",
            metavar="[NAME=]FILE",
            help="Lists of the same texts by another system; scores are NAME.score and so on. "
            "A NAME may have several files, such as those of NBEST and of --tune.",
        ),
    ] = None,
    costs: Annotated[
        list[str] | None,
        typer.Option(
            "--costs",
            metavar="NAME=FILE",
            help="Lines UTTERANCE-N COST, as Kaldi's nbest-to-linear writes; their negatives are "
            "the score NAME. A NAME may have several files.",
        ),
    ] = None,
    weight: Annotated[
        list[str] | None,
        typer.Option(
            "--weight",
            metavar="NAME=VALUE",
            help="Factor of a score, or of the number of words. Those without do not count. With "
            "--tune: the only ones to tune, and where to begin. Repeatable.",
        ),
    ] = None,
    tune: Annotated[
        Path | None,
        typer.Option("--tune", help="N-best lists of a development set to find the weights on."),
    ] = None,
    references: Annotated[
        Path | None,
        typer.Option("--references", help="Manifest of --tune; without --tune, of NBEST."),
    ] = None,
    out: Out = None,
) -> int:
    """Rank n-best lists anew by a weighted sum of scores; the weights given, or tuned for WER."""
    from asr.decoding.nbest import first_texts
    from asr.decoding.rescoring import oracle_texts, rescore

    weights = _weights(weight)
    if tune is None and not weights:
        raise ConfigError(
            "nothing says how to rank: give --weight NAME=VALUE, such as --weight score=1, or "
            "--tune with --references"
        )
    if tune is not None and references is None:
        raise ConfigError("--tune needs --references, the manifest of those lists")
    if unit is not None and not lm:
        raise ConfigError("--unit says what the words of --lm are; give --lm, or leave it out")
    _check_out(out, [nbest, tune, references, *(file for _, file in _named_files(scores))])
    lists, dev, own = _read(nbest, tune)
    lists, dev, added = _with_scores(lists, dev, lm=lm, unit=unit, scores=scores, costs=costs)
    if weights:
        _check_counted(weights, own, added)
    said = {} if references is None else _references(references)
    if tune is not None:
        weights = _tuned(dev, said, weights)
        print("tuned: " + " ".join(f"--weight {n}={w:g}" for n, w in weights.items()), file=sys.stderr)
    ranked = rescore(lists, weights)
    if said:
        measured, best = (lists, ranked) if tune is None else (dev, rescore(dev, weights))
        texts = {
            "before": first_texts(measured),
            "rescored": first_texts(best),
            "oracle": oracle_texts(measured, said),
        }
        _print_rates(said, texts, to_stdout=out is not None)
    _give(ranked, out)
    return 0


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
    out: Out = None,
) -> int:
    """Combine the n-best lists of several systems."""
    from asr.decoding.nbest import first_texts, read_nbest
    from asr.decoding.rescoring import check_references
    from asr.decoding.voting import combine, vote_systems

    if method is Method.loglinear and not (alpha is None and nbest is None):
        raise ConfigError("--alpha and --nbest are for --method vote; leave them out")
    if method is Method.vote and scale is not None and (nbest or 1) == 1:
        raise ConfigError("--scale has no effect when one candidate of a list votes; give --nbest")
    files = _named_files(systems)
    _check_unique(name for name, _ in files)
    _check_out(out, [references, *(file for _, file in files)])
    lists = {name: read_nbest(file) for name, file in files}
    weights = _weights(weight) or dict.fromkeys(lists, 1.0)
    factor = 1.0 if scale is None else scale
    if method is Method.vote:
        share = 0.5 if alpha is None else alpha
        combined = vote_systems(lists, weights, alpha=share, nbest=nbest or 1, scale=factor)
    else:
        combined = combine(lists, weights, scale=factor)
    if references is not None:
        said = _references(references)
        for one in lists.values():
            check_references(one, said)
        texts = {name: first_texts(one) for name, one in lists.items()}
        texts["combination"] = first_texts(combined)
        _print_rates(said, texts, to_stdout=out is not None)
    _give(combined, out)
    return 0
