"""`asr rescore`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asr.cli.added_scores import (
    CostsOption,
    LmOption,
    ModelsOption,
    ScoresOption,
    Sources,
    add_others,
    add_recognizers,
    check_alike,
)
from asr.cli.lm import Unit
from asr.cli.nbest_files import (
    CaseOption,
    Out,
    check_out,
    give,
    parsed_weights,
    rates_as_dict,
    read_references,
    report,
    report_rates,
)
from asr.cli.options import Device
from asr.errors import ConfigError, shown

if TYPE_CHECKING:
    from asr.data.manifest import Utterance
    from asr.decoding.nbest import NbestList


def rescore_command(
    nbest: Annotated[Path, typer.Argument(help="N-best lists, JSON lines or Kaldi's text.")],
    model: ModelsOption = None,
    manifest: Annotated[
        Path | None,
        typer.Option(
            "--manifest", help="Manifest of NBEST: its audio for --model, its texts for rates."
        ),
    ] = None,
    lm: LmOption = None,
    unit: Annotated[
        Unit | None, typer.Option("--lm-unit", help="What the words of --lm are. Default: word.")
    ] = None,
    scores: ScoresOption = None,
    costs: CostsOption = None,
    weight: Annotated[
        list[str] | None,
        typer.Option(
            "--weight",
            metavar="NAME=VALUE",
            help="Factor of a score, or of the number of words. Those without do not count, but "
            "one of the lists' own scores must have a weight: 0 if it is not to count. With "
            "--tune: the only ones to tune, and where to begin. Repeatable. Without a weight and "
            "--tune, scores are added to --out and the order stays.",
        ),
    ] = None,
    tune: Annotated[
        Path | None,
        typer.Option("--tune", help="N-best lists of a development set to find the weights on."),
    ] = None,
    references: Annotated[
        Path | None,
        typer.Option(
            "--references",
            help="Manifest of --tune: texts, and audio for --model. Without --tune as --manifest.",
        ),
    ] = None,
    case: CaseOption = None,
    out: Out = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="File for weights and error rates as JSON.")
    ] = None,
    device: Device = "auto",
) -> int:
    """Rank n-best lists anew by a weighted sum of scores; the weights given, or tuned for WER."""
    from asr.decoding.nbest import score_names
    from asr.decoding.rescoring import check_weights, rescore

    weights = parsed_weights(weight)
    sources = Sources(models=model, lm=lm, unit=unit, scores=scores, costs=costs, device=device)
    _check_places(tune=tune, manifest=manifest, references=references)
    if tune is None:
        manifest, references = manifest or references, None
    _check_rescoring(weights, sources, tune=tune, out=out)
    _check_manifest(manifest, sources, json_file=json_file)
    inputs = [nbest, tune, references, manifest, *sources.files()]
    check_out(out, inputs)
    check_out(json_file, inputs, option="--json")
    lists, dev = _read_both(nbest, tune)
    own = score_names(lists)
    dev_spoken = read_references(references, {str(tune): dev}, case if references else None)
    spoken = read_references(manifest, {str(nbest): lists}, case if manifest or not tune else None)
    (lists, dev), added = add_recognizers(sources, [(lists, spoken), (dev, dev_spoken)])
    extended, more = add_others([*lists, *dev], sources)
    lists, dev = extended[: len(lists)], extended[len(lists) :]
    if weights:
        check_weights(lists, weights)  # a name that is wrong is why others have no weight
        _check_counted(weights, own if not added else (), added | more)
    if tune is not None:
        weights = _tuned(tune, dev, dev_spoken, weights, out)
        _rated("", dev, rescore(dev, weights), dev_spoken, out)
    ranked = rescore(lists, weights) if weights else lists
    rates = _rated(f"{shown(nbest)}, " if tune else "", lists, ranked, spoken, out)
    if json_file is not None:
        _write_json(json_file, nbest, weights, rates)
    give(ranked, out)
    return 0


def _check_places(*, tune: Path | None, manifest: Path | None, references: Path | None) -> None:
    if tune is not None and references is None:
        raise ConfigError("--tune needs --references, the manifest with the texts of its lists")
    if tune is None and manifest is not None and references is not None:
        raise ConfigError("--references and --manifest are the same without --tune; give one")


def _check_rescoring(
    weights: Mapping[str, float], sources: Sources, *, tune: Path | None, out: Path | None
) -> None:
    adds = any((sources.models, sources.lm, sources.scores, sources.costs)) and out is not None
    if tune is None and not weights and not adds:
        raise ConfigError(
            "nothing says how to rank: give --weight NAME=VALUE, such as --weight score=1, or "
            "--tune with --references; or --out, to add scores alone"
        )
    if sources.unit is not None and not sources.lm:
        raise ConfigError("--lm-unit says what the words of --lm are; give --lm, or leave it out")


def _check_manifest(manifest: Path | None, sources: Sources, *, json_file: Path | None) -> None:
    if manifest is None and sources.models:
        raise ConfigError("--model needs --manifest, the manifest with the audio of NBEST")
    if manifest is None and json_file is not None:
        raise ConfigError("--json needs --manifest, the manifest with the texts of NBEST")


def _read_both(nbest: Path, tune: Path | None) -> tuple[list["NbestList"], list["NbestList"]]:
    from asr.decoding.nbest import read_nbest

    lists = read_nbest(nbest)
    if tune is None:
        return lists, []
    dev = lists if tune == nbest else read_nbest(tune)
    check_alike(tune, dev, nbest, lists)
    return lists, dev


def _tuned(
    tune: Path,
    dev: Sequence["NbestList"],
    spoken: Sequence["Utterance"],
    weights: Mapping[str, float],
    out: Path | None,
) -> dict[str, float]:
    """The weights found on development lists, which are told."""
    from asr.decoding.nbest import score_names
    from asr.decoding.weight_tuning import tune as tuned_for_wer

    texts = {one.id: one.text for one in spoken}
    found = tuned_for_wer(dev, texts, weights or _all_weights(score_names(dev)))
    options = " ".join(f"--weight {name}={value!r}" for name, value in found.items())
    report(f"tuned on {shown(tune)}: {options}", out)
    return found


def _rated(
    prefix: str,
    before: Sequence["NbestList"],
    ranked: Sequence["NbestList"],
    spoken: Sequence["Utterance"],
    out: Path | None,
) -> dict[str, Any]:
    """The error rates of lists, ranked if they were, and of the best texts; told, and for JSON."""
    from asr.decoding.nbest import first_texts
    from asr.decoding.rescoring import oracle_texts

    if not spoken:
        return {}
    texts = {"before": first_texts(before)}
    if ranked is not before:
        texts["rescored"] = first_texts(ranked)
    texts["oracle"] = oracle_texts(before, {one.id: one.text for one in spoken})
    found = report_rates(spoken, {f"{prefix}{name}": each for name, each in texts.items()}, out)
    return dict(zip(texts, map(rates_as_dict, found.values()), strict=True))


def _write_json(
    file: Path, nbest: Path, weights: Mapping[str, float], rates: Mapping[str, Any]
) -> None:
    from asr.storage import write_json

    write_json(file, {"nbest": str(nbest), "weights": dict(weights), **rates})


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
