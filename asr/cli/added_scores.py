"""What `asr rescore` adds to n-best lists: scores of recognisers, language models, other files."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asr.cli.bar import bar
from asr.cli.lm import Unit
from asr.cli.nbest_files import named_files
from asr.cli.options import tell
from asr.errors import ConfigError, DataError, shown

if TYPE_CHECKING:
    from asr.data.manifest import Utterance
    from asr.decoding.nbest import NbestList

Lists = list["NbestList"]
RECOGNIZER = "recognizer"

ModelsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        metavar="[NAME=]BUNDLE",
        help="A recogniser; the log-probability that it gives a text is the score recognizer.",
    ),
]
LmOption = Annotated[
    list[str] | None,
    typer.Option("--lm", metavar="[NAME=]FILE", help="A language model; its score is lm."),
]
ScoresOption = Annotated[
    list[str] | None,
    typer.Option(
        "--scores",
        metavar="[NAME=]FILE",
        help="Lists of the same texts by another system; scores are NAME.score and so on. "
        "A NAME may have several files, such as those of NBEST and of --tune.",
    ),
]
CostsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--costs",
        metavar="[NAME=]FILE",
        help="Lines UTTERANCE-N COST, as Kaldi's nbest-to-linear writes; their negatives are "
        "the score NAME. A NAME may have several files.",
    ),
]


@dataclass(frozen=True, kw_only=True)
class Sources:
    """The options that add scores, each `[NAME=]FILE` any number of times.

    Attributes:
        models: bundles of recognisers.
        lm: language models.
        unit: what the words of the language models are.
        scores: lists of the same texts.
        costs: lines UTTERANCE-N COST.
        device: where recognisers compute.
    """

    models: list[str] | None
    lm: list[str] | None
    unit: Unit | None
    scores: list[str] | None
    costs: list[str] | None
    device: str

    def files(self) -> list[Path]:
        """All that is read."""
        options = (self.models, self.lm, self.scores, self.costs)
        return [file for each in options for _, file in named_files(each)]


def add_recognizers(
    sources: Sources, parts: Sequence[tuple[Lists, Sequence["Utterance"]]]
) -> tuple[list[Lists], dict[str, list[str]]]:
    """The lists of each part with the scores of `--model`, and the names that each option adds.

    Args:
        sources: the options.
        parts: lists, each with the utterances whose audio they are of.
    """
    from asr.decoding.text_scores import TextScorer
    from asr.recognizer import load

    extended = [lists for lists, _ in parts]
    added: dict[str, list[str]] = {}
    for name, bundle in named_files(sources.models, RECOGNIZER):
        recognizer = load(bundle, device=sources.device)
        scorer = TextScorer(
            recognizer.model,
            recognizer.tokenizer,
            recognizer.device,
            case=recognizer.recipe.data.case,
            source=shown(bundle),
        )
        for place, (_, utterances) in enumerate(parts):
            if not extended[place]:
                continue
            with bar("scoring texts") as advance:
                extended[place], unwritten = scorer.with_scores(
                    extended[place], utterances, name=name, advance=advance
                )
            if line := unwritten.line():
                tell(f"warning: {shown(bundle)}: {line}")
        added[f"--model {shown(bundle)}"] = [name]
    return extended, added


def add_others(lists: Lists, sources: Sources) -> tuple[Lists, dict[str, list[str]]]:
    """The lists with the scores of the other options, and the names that each option adds."""
    from asr.decoding.nbest import score_names
    from asr.decoding.rescoring import TextModel, with_costs, with_lm, with_scores_of
    from asr.lm.loading import load_lm

    added: dict[str, list[str]] = {}
    unit = sources.unit
    models = [(name, file, load_lm(file)) for name, file in named_files(sources.lm, "lm")]
    if unit is not None and all(isinstance(model, TextModel) for _, _, model in models):
        raise ConfigError(f"--lm-unit {unit.value} has no effect: a neural model knows its tokens")
    for name, file, model in models:
        lists = with_lm(lists, model, name=name, unit=(unit or Unit.word).value)
        added[f"--lm {shown(file)}"] = [name]
    for name, files in _grouped(sources.scores).items():
        before = score_names(lists)
        source = ", ".join(map(shown, files))
        lists = with_scores_of(lists, _joined_lists(files), prefix=name, source=source)
        added[f"--scores {source}"] = [n for n in score_names(lists) if n not in before]
    for name, files in _grouped(sources.costs).items():
        source = ", ".join(map(shown, files))
        lists = with_costs(lists, _joined_costs(files), name=name, source=source)
        added[f"--costs {source}"] = [name]
    return lists, added


def check_alike(
    path: Path, lists: Sequence["NbestList"], other_path: Path, others: Sequence["NbestList"]
) -> None:
    """Return when the lists of two files have the same scores.

    Raises:
        DataError: they have not.
    """
    from asr.decoding.nbest import score_names

    names, other_names = score_names(lists), score_names(others)
    if set(names) != set(other_names):
        raise DataError(
            f"{shown(path)}: has the scores {', '.join(names) or '(none)'}, {shown(other_path)} "
            f"has {', '.join(other_names) or '(none)'}; both must have the same"
        )


def _grouped(options: list[str] | None) -> dict[str, list[Path]]:
    """The files of each name."""
    groups: dict[str, list[Path]] = {}
    for name, file in named_files(options):
        groups.setdefault(name, []).append(file)
    return groups


def _joined_lists(files: Sequence[Path]) -> Lists:
    from asr.decoding.nbest import read_nbest

    joined: Lists = []
    for file in files:
        lists = read_nbest(file)
        if joined:
            check_alike(file, lists, files[0], joined)
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
