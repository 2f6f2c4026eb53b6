"""What commands on n-best lists share: options NAME=VALUE and NAME=FILE, rates, output."""

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asr.cli.options import tell
from asr.errors import ConfigError, shown

if TYPE_CHECKING:
    from asr.data.manifest import Utterance
    from asr.decoding.nbest import NbestList
    from asr.scoring.error_rate import CorpusScore


class CaseName(StrEnum):
    """What becomes of upper and lower case."""

    LOWER = "lower"
    UPPER = "upper"


_NAMED_FILE = re.compile(r"([^=/\\]+)=(.+)")

CaseOption = Annotated[
    CaseName | None,
    typer.Option("--case", help="Put the references into the case that the lists are in."),
]
Out = Annotated[
    Path | None, typer.Option("--out", "-o", help="Write n-best lists here instead of texts.")
]


def parsed_weights(options: list[str] | None) -> dict[str, float]:
    """The numbers of options `NAME=VALUE`."""
    weights: dict[str, float] = {}
    for option in options or []:
        name, _, value = option.rpartition("=")
        try:
            number = float(value)
        except ValueError:
            name = ""
        if not name:
            raise ConfigError(
                f"--weight must be NAME=VALUE with a number, such as lm=0.5, got '{shown(option)}'"
            )
        if name in weights:
            raise ConfigError(f"--weight {shown(name)} is given twice; give it once")
        weights[name] = number
    return weights


def named_files(options: list[str] | None, default: str = "") -> list[tuple[str, Path]]:
    """Names and files of options `NAME=FILE` or `FILE`, which is called as it or by `default`."""
    named = []
    for option in options or []:
        match = None if Path(option).exists() else _NAMED_FILE.fullmatch(option)
        file = Path(match[2] if match else option)
        named.append((match[1] if match else default or file.stem, file))
    return named


def check_out(out: Path | None, inputs: Iterable[Path | None], option: str = "--out") -> None:
    """Return when writing `out` would replace none of the inputs."""
    if out is None or not out.exists():
        return
    if any(file is not None and file.exists() and file.samefile(out) for file in inputs):
        raise ConfigError(f"{shown(out)}: is an input itself; choose another {option}")


def read_references(
    manifest: Path | None, lists: Mapping[str, Sequence["NbestList"]], case: CaseName | None
) -> list["Utterance"]:
    """What was said in the utterances of lists, which are named for messages; none without one."""
    from asr.data.manifest import read_manifest
    from asr.data.text import normalize_text
    from asr.decoding.rescoring import check_references

    if manifest is None:
        if case is not None:
            raise ConfigError("--case is that of --references; give them, or leave it out")
        return []
    spoken = read_manifest(manifest)
    if case is not None:
        spoken = [replace(one, text=normalize_text(one.text, case.value)) for one in spoken]
    texts = {one.id: one.text for one in spoken}
    for name, one in lists.items():
        check_references(one, texts, lists_name=shown(name), name=shown(manifest))
    return spoken


def report(line: str, out: Path | None) -> None:
    """Print what was found out: on stderr where the texts themselves go to stdout."""
    print(line, file=sys.stderr if out is None else sys.stdout)


def report_rates(
    spoken: Sequence["Utterance"], texts: Mapping[str, Mapping[str, str]], out: Path | None
) -> dict[str, "CorpusScore"]:
    """The scores of each set of hypotheses, of which the word error rate is told."""
    from asr.scoring.error_rate import score_corpus
    from asr.scoring.table import summary

    references = {one.id: one.text for one in spoken}
    speakers = {one.id: one.speaker for one in spoken if one.speaker is not None} or None
    scores = {}
    for name, hypotheses in texts.items():
        scores[name] = score_corpus(references, hypotheses, speakers=speakers)
        wer, *_ = summary(scores[name]).split("\n")
        report(f"{shown(name)}: {wer}", out)
    return scores


def rates_as_dict(score: "CorpusScore") -> dict[str, Any]:
    """Error rates for JSON, as `asr evaluate --json` has them."""
    return {
        "wer": score.wer.rate,
        "cer": score.cer.rate,
        "words": {"rate": score.wer.rate, **asdict(score.wer)},
        "characters": {"rate": score.cer.rate, **asdict(score.cer)},
    }


def give(lists: Sequence["NbestList"], out: Path | None) -> None:
    """Print the best text of each list, or write the lists; name those without candidates."""
    from asr.decoding.nbest import first_texts, write_nbest

    for one in lists:
        if not one.candidates:
            tell(f"warning: utterance '{shown(one.id)}' has no candidates: {shown(one.error)}")
    if out is None:
        for utterance, text in first_texts(lists).items():
            print(f"{utterance}\t{text}")
    else:
        write_nbest(out, lists)
        tell(f"written to {shown(out)}")
