"""Manifests: which sound has which text, one JSON object a line.

    {"id": "an4-1", "audio_filepath": "wav/an4-1.flac", "duration": 2.4, "text": "ENTER SIX"}

`offset` (seconds into the file) and `speaker` may be added; other keys are tolerated, because
manifests of other toolkits carry some. Relative paths are relative to the manifest.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asr.data.json_lines import LineProblem, brief, encodes, json_object, text_problem
from asr.data.text import normalize_text, not_utf8, read_byte_lines
from asr.errors import DataError, shown
from asr.storage import write_atomically

MAX_LINE_BYTES = 64 * 1024  # of one utterance: no transcript is longer, so this is another file
MAX_LISTED = 20  # problems in one message


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterance:
    """A piece of sound and what is said in it.

    Attributes:
        id: unique in its manifest.
        audio: the sound file.
        duration: seconds.
        text: what is said, normalised; may be empty.
        offset: seconds into the file at which it begins.
        speaker: who speaks, if known.
    """

    id: str
    audio: Path
    duration: float
    text: str
    offset: float = 0.0
    speaker: str | None = None


def read_manifest(path: Path) -> list[Utterance]:
    """The utterances of a manifest, in its order, with normalised text.

    Without an `id`, the path as written is one, with `@offset` behind it for a piece of a file.
    Blank lines are skipped. Whether the sound files exist is for `missing_audio` to say.

    Raises:
        DataError: the file cannot be read, or lines that cannot be used: all of them are listed
            (beyond the first 20: counted), each with its number.
    """
    utterances: list[Utterance] = []
    problems: list[str] = []
    first_lines: dict[str, int] = {}
    for number, line in read_byte_lines(path):
        if not line.strip():
            continue
        try:
            utterance = _utterance(_entry(line), path.parent)
            if (first := first_lines.setdefault(utterance.id, number)) != number:
                raise LineProblem(f"the id '{shown(utterance.id)}' is already used in line {first}")
        except LineProblem as problem:
            problems.append(f"{shown(path)}:{number}: {problem}")
        else:
            utterances.append(utterance)
    if problems:
        raise DataError(_listed(problems))
    return utterances


def write_manifest(path: Path, utterances: Iterable[Utterance]) -> None:
    """Write a manifest in one step.

    Sound files below the folder of the manifest are written relative to it, so that the folder can
    be moved; others with their absolute path.

    Raises:
        ValueError: two utterances have the same id, or one would be refused when it is read.
        ResourceError: the disk is full or not writable.
    """
    utterances = list(utterances)
    counts = Counter(utterance.id for utterance in utterances)
    if repeated := [name for name, count in counts.items() if count > 1]:
        raise ValueError(f"ids must be unique, got twice: {', '.join(sorted(repeated)[:3])}")
    folder = path.parent.absolute()  # not resolved: links in a corpus are the user's own order
    write_atomically(path, b"".join(_line(utterance, folder) for utterance in utterances))


def missing_audio(utterances: Iterable[Utterance]) -> list[Utterance]:
    """The utterances whose sound file does not exist (each file is looked for once)."""
    exists: dict[Path, bool] = {}
    missing = []
    for utterance in utterances:
        if utterance.audio not in exists:
            exists[utterance.audio] = _is_file(utterance.audio)
        if not exists[utterance.audio]:
            missing.append(utterance)
    return missing


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long
        return False


def _entry(line: bytes) -> dict[str, Any]:
    """The JSON object in a line."""
    if len(line) > MAX_LINE_BYTES:
        raise LineProblem(
            f"{len(line)} bytes; an utterance has at most {MAX_LINE_BYTES}. Is this a manifest?"
        )
    try:
        return json_object(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise LineProblem(not_utf8(error)) from error


def _utterance(entry: dict[str, Any], folder: Path) -> Utterance:
    """One entry, checked; all of its problems are named together."""
    problems: list[str] = []

    def take(key: str, check: Callable[[str, Any], str | None], default: Any = None) -> Any:
        if key not in entry:
            if default is None:
                problems.append(f"'{key}' is missing")
            return default
        if problem := check(key, entry[key]):
            problems.append(problem)
        return entry[key]

    audio = take("audio_filepath", _path_problem)
    duration = take("duration", _seconds_problem)
    text = take("text", text_problem)
    offset = take("offset", _seconds_problem, 0.0)
    name = take("id", _name_problem, "")
    speaker = take("speaker", _name_problem, "")
    if problems:
        raise LineProblem("; ".join(problems))
    return Utterance(
        id=name or shown(audio) + (f"@{float(offset)!r}" if offset else ""),
        audio=folder / audio,
        duration=float(duration),
        text=normalize_text(text),
        offset=float(offset),
        speaker=speaker or None,
    )


def _name_problem(key: str, value: Any) -> str | None:
    if problem := text_problem(key, value):
        return problem
    usable = value and value.isprintable()
    return None if usable else f"'{key}' is empty or holds control characters"


def _path_problem(key: str, value: Any) -> str | None:
    """Bytes of a name that are not UTF-8 are certain lone surrogates in Python: those may be."""
    if not isinstance(value, str):
        return f"'{key}' must be text, got {brief(value)}"
    usable = value and "\0" not in value and encodes(value, "surrogateescape")
    return None if usable else f"'{key}' is empty or no file name"


def _seconds_problem(key: str, value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"'{key}' must be a number of seconds, got {brief(value)}"
    # An integer of hundreds of digits is a number to JSON, but not to arithmetic.
    return None if 0 <= value < 1e15 else f"'{key}' must be 0 or more seconds, got {brief(value)}"


def _line(utterance: Utterance, folder: Path) -> bytes:
    audio = utterance.audio.absolute()
    entry: dict[str, Any] = {
        "id": utterance.id,
        "audio_filepath": (
            audio.relative_to(folder) if audio.is_relative_to(folder) else audio
        ).as_posix(),
        "duration": utterance.duration,
        "text": utterance.text,
    }
    if utterance.offset:
        entry["offset"] = utterance.offset
    if utterance.speaker is not None:
        entry["speaker"] = utterance.speaker
    try:
        _utterance(entry, folder)
    except LineProblem as problem:
        raise ValueError(f"utterance '{shown(utterance.id)}': {problem}") from problem
    try:
        return json.dumps(entry, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:  # the path has bytes that are not UTF-8
        return json.dumps(entry).encode() + b"\n"


def _listed(problems: list[str]) -> str:
    more = len(problems) - MAX_LISTED
    return "\n".join(problems[:MAX_LISTED] + ([f"and {more} more"] if more > 0 else []))
