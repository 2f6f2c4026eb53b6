"""N-best lists: the best texts of an utterance with their scores, one JSON object a line.

    {"id": "an4-1", "nbest": [
        {"text": "GO ON", "score": -3.1, "acoustic": -1.2, "lm": -4.5, "words": [
            {"word": "GO", "start": 0.1, "end": 0.3, "confidence": 0.98}, …]}, …]}

The best candidate is the first. `score` is what the decoder ranked by, `acoustic` the
log-probability of the labels given the audio, `lm` that of the text, both natural. Any other number
of a candidate is a further score, named by its key. Of every score more is better, and all
candidates of a file have the same ones. Where the score per label ranks (`fusion.Fusion.by_length`)
that is `score`, and `total` the sum. A score of -1e9 or less says that the candidate cannot be: it
stands for minus infinity, which JSON lacks. `words` may be absent. An utterance that could not be
decoded has an empty list and says why in `error`. Other keys beside `id` are ignored.

Lists of other systems are read as Kaldi writes them: `UTTERANCE-N TEXT`, where N is the rank from 1
(`lattice-to-nbest`, `nbest-to-linear`). They have no scores; `read_costs` reads those that Kaldi
keeps in files of their own, `UTTERANCE-N COST`. A file is one of Kaldi's unless it is named
`.jsonl` or begins with a brace.
"""

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from asr.data.json_lines import LineProblem, brief, json_lines, json_object, text_problem
from asr.data.text import normalize_text, read_lines, words
from asr.decoding.hypothesis import Hypothesis, Word
from asr.errors import DataError, shown
from asr.storage import write_atomically

SCORE, TOTAL, WORDS = "score", "total", "words"
NEVER = -1e9  # the log-probability of what cannot be, in a file
MAX_SECONDS = 1e15
NAMED = 5  # utterances that an error message names
_KALDI_LINE = re.compile(r"[ \t]*(\S+)-([1-9][0-9]{0,5})(?:[ \t]+(.*))?")
_WORD_KEYS = {"word", "start", "end", "confidence"}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A text that an utterance may have said.

    Attributes:
        text: normalised.
        scores: by name; the more the better.
        words: those of the text with times and confidences; none if they are not known.
    """

    text: str
    scores: Mapping[str, float]
    words: tuple[Word, ...] = ()


@dataclass(frozen=True, slots=True)
class NbestList:
    """The candidates of an utterance, the best first; none: `error` says why."""

    id: str
    candidates: tuple[Candidate, ...]
    error: str = ""


def score_names(lists: Sequence[NbestList]) -> tuple[str, ...]:
    """The scores that every candidate has, in the order of the file."""
    return next((tuple(each.scores) for one in lists for each in one.candidates), ())


def first_texts(lists: Iterable[NbestList]) -> dict[str, str]:
    """Id → the text of the first candidate; empty where there is none."""
    return {one.id: one.candidates[0].text if one.candidates else "" for one in lists}


def read_nbest(path: Path) -> list[NbestList]:
    """The lists of a file, in its order, with normalised texts; JSON lines or Kaldi's text.

    Raises:
        DataError: the file cannot be read, has no lists, or a line that cannot be used.
    """
    lines = ((number, line) for number, line in read_lines(path) if line.strip())
    first = next(lines, None)
    if first is None:
        raise DataError(f"{shown(path)}: has no n-best lists; give a file with one a line")
    every = chain([first], lines)
    if path.suffix == ".jsonl" or first[1].lstrip().startswith("{"):
        return _read_json(path, every)
    return _read_kaldi(path, every)


def nbest_entries(found: Sequence[Hypothesis], *, by_length: bool = False) -> list[dict[str, Any]]:
    """What a decoder found, the best first, as the `nbest` of a line.

    Args:
        found: of an utterance.
        by_length: whether it was ranked by the score per label.
    """
    entries = [hypothesis.as_dict() for hypothesis in found]
    if not by_length:
        return entries
    return [
        {**entry, SCORE: round(one.log_prob / max(1, len(one.tokens)), 6), TOTAL: entry[SCORE]}
        for entry, one in zip(entries, found, strict=True)
    ]


def write_nbest(path: Path, lists: Iterable[NbestList]) -> None:
    """Write lists as JSON lines, in one step.

    Raises:
        ValueError: lists that would be refused when they are read.
        ResourceError: the disk is full or not writable.
    """
    entries = [
        {
            "id": one.id,
            "nbest": [_candidate_entry(each) for each in one.candidates],
            **({"error": one.error} if one.error else {}),
        }
        for one in lists
    ]
    try:
        _checked(enumerate(entries, start=1))
    except LineProblem as problem:
        raise ValueError(f"list {problem}") from problem
    write_atomically(path, json_lines(entries))


def read_costs(path: Path) -> dict[str, float]:
    """`UTTERANCE-N` → the negated cost, of a file such as `nbest-to-linear` writes.

    Raises:
        DataError: the file cannot be read, or a line that cannot be used.
    """
    scores: dict[str, float] = {}
    for number, line in read_lines(path):
        if not line.strip():
            continue
        match = _KALDI_LINE.fullmatch(line.rstrip())
        cost = _number(match[3]) if match else None
        if match is None or cost is None:
            raise DataError(
                f"{shown(path)}:{number}: must be UTTERANCE-N COST with a finite number, got "
                f"{brief(line)}"
            )
        key = f"{match[1]}-{match[2]}"
        if key in scores:
            raise DataError(f"{shown(path)}:{number}: '{shown(key)}' has a cost already")
        scores[key] = 0.0 - cost
    return scores


def check_same_utterances(
    name: str, utterances: Collection[str], other_name: str, others: Collection[str]
) -> None:
    """Return when two files are about the same utterances; `name` and `other_name` are the files.

    Raises:
        DataError: they are not; it says which file lacks which.
    """
    for lacking, has, full, wanted in (
        (name, set(utterances), other_name, others),
        (other_name, set(others), name, utterances),
    ):
        if missing := [one for one in wanted if one not in has]:
            raise DataError(
                f"{lacking}: lacks {len(missing)} of the {len(wanted)} utterances of {full}: "
                f"{listed(missing)}. Both must have the same ones"
            )


def listed(names: Sequence[str]) -> str:
    """The first few names in quotes, for a message."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(f"'{shown(name)}'" for name in names[:NAMED]) + more


def is_score_name(name: str) -> bool:
    """Whether a score can be called so: one word that is no other key, without `=`."""
    taken = name in ("", "text", WORDS) or "=" in name or " " in name
    return not taken and name.isprintable()


def _read_json(path: Path, lines: Iterable[tuple[int, str]]) -> list[NbestList]:
    try:
        lists = _checked(lines)
    except LineProblem as problem:
        raise DataError(f"{shown(path)}:{problem}") from problem
    if not any(one.candidates for one in lists):
        raise DataError(
            f"{shown(path)}: has no candidates, since no utterance could be decoded, such as "
            f"'{shown(lists[0].id)}': {shown(lists[0].error)}"
        )
    return lists


def _checked(entries: Iterable[tuple[int, str | dict[str, Any]]]) -> list[NbestList]:
    """The lists in numbered lines or objects; ids differ, scores have the same names.

    Raises:
        LineProblem: with the number in front.
    """
    checked: list[NbestList] = []
    first_lines: dict[str, int] = {}
    for number, entry in entries:
        try:
            one = _nbest_list(
                json_object(entry, allow_nan=True) if isinstance(entry, str) else entry
            )
            if (first := first_lines.setdefault(one.id, number)) != number:
                raise LineProblem(f"the id '{shown(one.id)}' is already used in line {first}")
            checked.append(one)
            _check_names(one, score_names(checked))
        except LineProblem as problem:
            raise LineProblem(f"{number}: {problem}") from None
    return checked


def _check_names(one: NbestList, expected: Sequence[str]) -> None:
    for rank, candidate in enumerate(one.candidates, start=1):
        if set(candidate.scores) != set(expected):
            raise LineProblem(
                f"utterance '{shown(one.id)}', candidate {rank} has the scores "
                f"{_names(candidate.scores)}, the first of the file has {_names(expected)}; all "
                "must have the same"
            )


def _names(names: Iterable[str]) -> str:
    return ", ".join(shown(name) for name in names) or "(none)"


def _nbest_list(entry: dict[str, Any]) -> NbestList:
    name, candidates = entry.get("id"), entry.get("nbest")
    if "id" not in entry:
        raise LineProblem("'id' is missing")
    if not isinstance(name, str) or not name or not name.isprintable():
        raise LineProblem(f"'id' must be text without control characters, got {brief(name)}")
    error = _text(entry, "error") if candidates == [] and "error" in entry else ""
    if not isinstance(candidates, list) or not (candidates or error):
        raise LineProblem(
            f"utterance '{shown(name)}' needs 'nbest', a list of at least one candidate, whose "
            f"text may be empty (or of none, and 'error' with the reason); got {brief(candidates)}"
        )
    checked = []
    for rank, candidate in enumerate(candidates, start=1):
        try:
            checked.append(_candidate(candidate))
        except LineProblem as problem:
            raise LineProblem(f"utterance '{shown(name)}', candidate {rank}: {problem}") from None
    return NbestList(name, tuple(checked), error)


def _candidate(entry: Any) -> Candidate:
    if not isinstance(entry, dict):
        raise LineProblem(f"must be an object with keys, got {brief(entry)}")
    scores = {key: value for key, value in entry.items() if key not in ("text", WORDS)}
    for name, value in scores.items():
        if not is_score_name(name):
            raise LineProblem(f"'{shown(name)}' is no name of a score: one word without '='")
        if _number(value) is None or isinstance(value, str):
            raise LineProblem(f"'{shown(name)}' must be a finite number, got {brief(value)}")
    text = _text(entry, "text")
    timed = entry.get(WORDS, [])
    if not isinstance(timed, list):
        raise LineProblem(f"'{WORDS}' must be a list, got {brief(timed)}")
    spoken = tuple(map(_word, timed))
    if spoken and [one.word for one in spoken] != words(text):
        raise LineProblem(f"its words do not spell its text {brief(text)}")
    return Candidate(text, {name: float(value) for name, value in scores.items()}, spoken)


def _word(entry: Any) -> Word:
    if not isinstance(entry, dict) or entry.keys() != _WORD_KEYS:
        raise LineProblem(f"a word needs {', '.join(sorted(_WORD_KEYS))}, got {brief(entry)}")
    start, end, confidence = entry["start"], entry["end"], entry["confidence"]
    if not {type(start), type(end), type(confidence)} <= {int, float}:
        raise LineProblem(f"start, end and confidence must be numbers, got {brief(entry)}")
    if not (0 <= start <= end < MAX_SECONDS and 0 <= confidence <= 1):  # NaN is none of this
        raise LineProblem(
            f"needs 0 <= start <= end, in seconds, and 0 <= confidence <= 1, got {brief(entry)}"
        )
    return Word(_text(entry, "word"), float(start), float(end), float(confidence))


def _text(entry: dict[str, Any], key: str) -> str:
    value = entry.get(key)
    if problem := text_problem(key, value):
        raise LineProblem(problem)
    return normalize_text(str(value))


def _number(value: Any) -> float | None:
    """`value` as a finite number, if it is one or spells one."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _read_kaldi(path: Path, lines: Iterable[tuple[int, str]]) -> list[NbestList]:
    ranked: dict[str, dict[int, tuple[int, str]]] = {}
    for number, line in lines:
        match = _KALDI_LINE.fullmatch(line.rstrip())
        if match is None or not match[1].isprintable():
            raise DataError(
                f"{shown(path)}:{number}: must be UTTERANCE-N TEXT as Kaldi writes it, or a JSON "
                f"object with 'id' and 'nbest', got {brief(line)}"
            )
        ranks, rank = ranked.setdefault(match[1], {}), int(match[2])
        if rank in ranks:
            raise DataError(
                f"{shown(path)}:{number}: '{shown(match[1])}-{rank}' is already in line "
                f"{ranks[rank][0]}"
            )
        ranks[rank] = (number, normalize_text(match[3] or ""))
    for utterance, ranks in ranked.items():
        gap = next((rank for rank in range(1, len(ranks) + 1) if rank not in ranks), None)
        if gap is not None:
            raise DataError(
                f"{shown(path)}:{ranks[max(ranks)][0]}: '{shown(utterance)}-{max(ranks)}' is here "
                f"but not '{shown(utterance)}-{gap}'; candidates are numbered from 1 without gaps"
            )
    return [
        NbestList(utterance, tuple(Candidate(ranks[rank][1], {}) for rank in sorted(ranks)))
        for utterance, ranks in ranked.items()
    ]


def _candidate_entry(candidate: Candidate) -> dict[str, Any]:
    entry: dict[str, Any] = {"text": candidate.text}
    entry |= {name: float(value) for name, value in candidate.scores.items()}
    if candidate.words:
        entry[WORDS] = [
            {"word": w.word, "start": w.start, "end": w.end, "confidence": w.confidence}
            for w in candidate.words
        ]
    return entry
