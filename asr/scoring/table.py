"""Scores as text for people: rates, the worst utterances word by word, frequent confusions."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from asr.errors import shown
from asr.scoring.alignment import Edit
from asr.scoring.error_rate import CorpusScore, ErrorRate, UtteranceScore

LETTERS = {"correct": " ", "substitution": "S", "deletion": "D", "insertion": "I"}
LABELS = ("REF:  ", "HYP:  ", "EVAL: ")
RATES = {  # names of metrics that are rates, and what people call them
    "wer": "WER",
    "cer": "CER",
    "per": "PER",
    "wer_merged": "WER with repeats merged",
    "per_merged": "PER with repeats merged",
}


@dataclass(frozen=True, kw_only=True)
class Confusions:
    """The most frequent word errors of a test set, each with its count, the most frequent first.

    Attributes:
        substitutions: (said, recognised instead, count).
        deletions: (said, count).
        insertions: (recognised, count).
    """

    substitutions: tuple[tuple[str, str, int], ...]
    deletions: tuple[tuple[str, int], ...]
    insertions: tuple[tuple[str, int], ...]


def summary(score: CorpusScore) -> str:
    """The rates of a test set in a few lines, with the signatures."""
    total = len(score.utterances)
    main, units = ("PER", "phones") if score.unit == "phone" else ("WER", "words")
    lines = [_rate_line(main, score.wer, units)]
    if score.merged is not None:
        lines.append(_rate_line(f"{main} with repeats merged", score.merged, units))
    if score.unit == "word":
        lines.append(_rate_line("CER", score.cer, "characters"))
    lines.append(f"{score.wrong_utterances} of {total} utterances have an error")
    if score.missing:
        lines.append(f"{len(score.missing)} of {total} utterances have no hypothesis")
    return "\n".join(lines)


def rates_text(metrics: Mapping[str, float]) -> str:
    """The rates among metrics in one line, such as "WER 10.00 %, CER 4.32 %"."""
    return ", ".join(
        f"{RATES[name]} {100 * value:.2f} %" for name, value in metrics.items() if name in RATES
    )


def worst(score: CorpusScore, count: int) -> list[UtteranceScore]:
    """The `count` utterances with the most word errors, those of equal errors by id."""
    wrong = [utterance for utterance in score.utterances if utterance.words.errors]
    return sorted(wrong, key=lambda one: (-one.words.errors, one.utterance))[:count]


def confusions(score: CorpusScore, count: int) -> Confusions:
    """The `count` most frequent substitutions, deletions and insertions; equal counts by word."""
    edits = [edit for utterance in score.utterances for edit in utterance.edits()]
    pairs = _most_frequent(edits, "substitution", count)
    return Confusions(
        substitutions=tuple((edit.reference or "", edit.hypothesis or "", n) for edit, n in pairs),
        deletions=tuple(
            (edit.reference or "", n) for edit, n in _most_frequent(edits, "deletion", count)
        ),
        insertions=tuple(
            (edit.hypothesis or "", n) for edit, n in _most_frequent(edits, "insertion", count)
        ),
    )


def aligned_text(edits: Sequence[Edit], *, width: int = 100) -> str:
    """An alignment as three lines, one column per word: reference, hypothesis, S, D or I below.

    Asterisks stand for the word that one of them lacks. What is wider than `width` columns goes on
    in a further three lines after an empty one.
    """
    blocks: list[list[tuple[str, str, str]]] = [[]]
    used = len(LABELS[0])
    for edit in edits:
        column = _column(edit)
        wide = display_width(column[0]) + 1
        if blocks[-1] and used + wide - 1 > width:
            blocks.append([])
            used = len(LABELS[0])
        blocks[-1].append(column)
        used += wide
    return "\n\n".join(_block(columns) for columns in blocks)


def display_width(text: str) -> int:
    """Columns of a terminal that `text` fills: two for wide characters, none for combining ones."""
    return sum(
        0
        if unicodedata.category(character) in ("Mn", "Me")
        else 2
        if unicodedata.east_asian_width(character) in ("W", "F")
        else 1
        for character in text
    )


def _column(edit: Edit) -> tuple[str, str, str]:
    reference, hypothesis = edit.reference, edit.hypothesis
    spoken = "" if reference is None else shown(reference)
    recognised = "" if hypothesis is None else shown(hypothesis)
    wide = max(display_width(spoken), display_width(recognised), 1)
    rows = (
        "*" * wide if reference is None else spoken,
        "*" * wide if hypothesis is None else recognised,
        LETTERS[edit.kind],
    )
    first, second, third = (row + " " * (wide - display_width(row)) for row in rows)
    return first, second, third


def _block(columns: Iterable[tuple[str, str, str]]) -> str:
    rows = zip(*columns, strict=True)
    cells = [" ".join(row) for row in rows] or ["", "", ""]
    return "\n".join((label + row).rstrip() for label, row in zip(LABELS, cells, strict=True))


def _rate_line(name: str, rate: ErrorRate, units: str) -> str:
    intervals = ""
    if rate.interval is not None:
        intervals += f" [{100 * rate.interval[0]:.2f}, {100 * rate.interval[1]:.2f}]"
    if rate.speaker_interval is not None:
        low, high = rate.speaker_interval
        intervals += f", over speakers [{100 * low:.2f}, {100 * high:.2f}]"
    return (
        f"{name} {100 * rate.rate:.2f} %{intervals}: {rate.errors} errors in "
        f"{rate.reference_length} {units} ({rate.substitutions} substitutions, {rate.deletions} "
        f"deletions, {rate.insertions} insertions) {rate.signature}"
    )


def _most_frequent(
    edits: Iterable[Edit], kind: Literal["substitution", "deletion", "insertion"], count: int
) -> list[tuple[Edit, int]]:
    counts = Counter(edit for edit in edits if edit.kind == kind)
    return sorted(
        counts.items(),
        key=lambda item: (-item[1], item[0].reference or "", item[0].hypothesis or ""),
    )[:count]
