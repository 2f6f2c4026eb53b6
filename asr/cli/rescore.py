"""`asr rescore`."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asr.cli.lm import Unit
from asr.cli.nbest_files import (
    CaseOption,
    Out,
    check_out,
    give,
    named_files,
    parsed_weights,
    read_references,
    report,
    report_rates,
)
from asr.errors import ConfigError, DataError, shown

if TYPE_CHECKING:
    from asr.decoding.nbest import NbestList


def rescore_command(
    nbest: Annotated[Path, typer.Argument(help="N-best lists, JSON lines or Kaldi's text.")],
    lm: Annotated[
        list[str] | None,
        typer.Option("--lm", metavar="[NAME=]FILE", help="A language model; its score is lm."),
    ] = None,
    unit: Annotated[
        Unit | None, typer.Option("--lm-unit", help="What the words of --lm are. Default: word.")
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
            metavar="[NAME=]FILE",
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
    case: CaseOption = None,
    out: Out = None,
) -> int:
    """Rank n-best lists anew by a weighted sum of scores; the weights given, or tuned for WER."""
    from asr.decoding.nbest import first_texts, score_names
    from asr.decoding.rescoring import oracle_texts, rescore
    from asr.decoding.weight_tuning import tune as tuned_for_wer

    weights = parsed_weights(weight)
    _check_rescoring(weights, lm=lm, unit=unit, tune=tune, references=references)
    check_out(out, [nbest, tune, references, *_files(lm), *_files(scores), *_files(costs)])
    lists, dev = _read_both(nbest, tune)
    own = score_names(lists)
    extended, added = _with_scores([*lists, *dev], lm, unit, scores=scores, costs=costs)
    lists, dev = extended[: len(lists)], extended[len(lists) :]
    if weights:
        _check_counted(weights, own, added)
    measured, place = (lists, nbest) if tune is None else (dev, tune)
    spoken = read_references(references, {str(place): measured}, case)
    if tune is not None:
        texts = {one.id: one.text for one in spoken}
        weights = tuned_for_wer(dev, texts, weights or _all_weights(score_names(dev)))
        found = " ".join(f"--weight {name}={value!r}" for name, value in weights.items())
        report(f"tuned on {shown(tune)}: {found}", out)
    ranked = rescore(lists, weights)
    if spoken:
        best = rescore(measured, weights)
        rated = {"before": first_texts(measured), "rescored": first_texts(best)}
        rated["oracle"] = oracle_texts(measured, {one.id: one.text for one in spoken})
        report_rates(spoken, rated, out)
    give(ranked, out)
    return 0


def _files(options: list[str] | None) -> list[Path]:
    return [file for _, file in named_files(options)]


def _grouped(options: list[str] | None) -> dict[str, list[Path]]:
    """The files of each name."""
    groups: dict[str, list[Path]] = {}
    for name, file in named_files(options):
        groups.setdefault(name, []).append(file)
    return groups


def _check_rescoring(
    weights: Mapping[str, float],
    *,
    lm: list[str] | None,
    unit: Unit | None,
    tune: Path | None,
    references: Path | None,
) -> None:
    if tune is None and not weights:
        raise ConfigError(
            "nothing says how to rank: give --weight NAME=VALUE, such as --weight score=1, or "
            "--tune with --references"
        )
    if tune is not None and references is None:
        raise ConfigError("--tune needs --references, the manifest with the texts of its lists")
    if unit is not None and not lm:
        raise ConfigError("--lm-unit says what the words of --lm are; give --lm, or leave it out")


def _read_both(nbest: Path, tune: Path | None) -> tuple[list["NbestList"], list["NbestList"]]:
    from asr.decoding.nbest import read_nbest

    lists = read_nbest(nbest)
    if tune is None:
        return lists, []
    dev = lists if tune == nbest else read_nbest(tune)
    _check_alike(tune, dev, nbest, lists)
    return lists, dev


def _check_alike(
    path: Path, lists: Sequence["NbestList"], other_path: Path, others: Sequence["NbestList"]
) -> None:
    from asr.decoding.nbest import score_names

    names, other_names = score_names(lists), score_names(others)
    if set(names) != set(other_names):
        raise DataError(
            f"{shown(path)}: has the scores {', '.join(names) or '(none)'}, {shown(other_path)} "
            f"has {', '.join(other_names) or '(none)'}; both must have the same"
        )


def _with_scores(
    lists: list["NbestList"],
    lm: list[str] | None,
    unit: Unit | None,
    *,
    scores: list[str] | None,
    costs: list[str] | None,
) -> tuple[list["NbestList"], dict[str, list[str]]]:
    """The lists with the scores that options add, and the names that each option adds."""
    from asr.decoding.nbest import score_names
    from asr.decoding.rescoring import TextModel, with_costs, with_lm, with_scores_of
    from asr.lm.loading import load_lm

    added: dict[str, list[str]] = {}
    models = [(name, file, load_lm(file)) for name, file in named_files(lm, "lm")]
    if unit is not None and all(isinstance(model, TextModel) for _, _, model in models):
        raise ConfigError(f"--lm-unit {unit.value} has no effect: a neural model knows its tokens")
    for name, file, model in models:
        lists = with_lm(lists, model, name=name, unit=(unit or Unit.word).value)
        added[f"--lm {shown(file)}"] = [name]
    for name, files in _grouped(scores).items():
        before = score_names(lists)
        source = ", ".join(map(shown, files))
        lists = with_scores_of(lists, _joined_lists(files), prefix=name, source=source)
        added[f"--scores {source}"] = [n for n in score_names(lists) if n not in before]
    for name, files in _grouped(costs).items():
        source = ", ".join(map(shown, files))
        lists = with_costs(lists, _joined_costs(files), name=name, source=source)
        added[f"--costs {source}"] = [name]
    return lists, added


def _joined_lists(files: Sequence[Path]) -> list["NbestList"]:
    from asr.decoding.nbest import read_nbest

    joined: list[NbestList] = []
    for file in files:
        lists = read_nbest(file)
        if joined:
            _check_alike(file, lists, files[0], joined)
        joined += lists
    _check_once((one.id for one in joined), files)
    return joined


def _joined_costs(files: Sequence[Path]) -> dict[str, float]:
    from asr.decoding.nbest import read_costs

    every = [read_costs(file) for file in files]
    _check_once((key for costs in every for key in costs), files)
    return {key: value for costs in every for key, value in costs.items()}


def _check_once(names: Iterable[str], files: Sequence[Path]) -> None:
    if repeated := [name for name, count in Counter(names).items() if count > 1]:
        raise DataError(
            f"{', '.join(map(shown, files))}: '{shown(repeated[0])}' is in several of these files; "
            "it must be in one"
        )


def _check_counted(
    weights: Mapping[str, float], own: Sequence[str], added: Mapping[str, Sequence[str]]
) -> None:
    """Return when every score that is added has a weight, and one that was there before has."""
    for option, names in added.items():
        if not any(name in weights for name in names):
            example = shown(names[0])
            raise ConfigError(f"{option}: has no effect without a weight: --weight {example}=VALUE")
    if own and not any(name in weights for name in own):
        raise ConfigError(
            f"no weight for what the lists had already ({', '.join(map(shown, own))}): give one, "
            f"such as --weight {shown(own[0])}=1; 0 if it is not to count"
        )


def _all_weights(names: Sequence[str]) -> dict[str, float]:
    """Where tuning begins: with the order of the lists if they have a score."""
    begin = {name: float("score" not in names or name == "score") for name in names}
    return {**begin, "words": 0.0}
