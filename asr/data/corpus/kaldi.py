"""Kaldi data folders: `wav.scp`, `text`, and optionally `utt2spk` and `segments`.

    wav.scp    RECORDING PATH              text      UTTERANCE WORDS…
    utt2spk    UTTERANCE SPEAKER           segments  UTTERANCE RECORDING BEGIN END

Kaldi runs an entry of `wav.scp` that ends with `|` as a shell command. Here such an entry is
refused: a list of recordings can start no program.
"""

import math
import re
from collections.abc import Container, Mapping
from dataclasses import dataclass
from pathlib import Path

from asr.data.corpus.recordings import Problem, Recording, SplitName
from asr.data.text import read_lines, words
from asr.errors import DataError, shown

_ENTRY = re.compile(r"[ \t]*([^ \t]+)[ \t]*(.*?)[ \t]*")


@dataclass(frozen=True, slots=True)
class _Line:
    """One entry of a list: where it stands, and what follows its first column."""

    source: str
    rest: str


@dataclass(frozen=True, slots=True)
class _Segment:
    """A piece of a recording, in seconds; without a duration, its rest."""

    source: str
    recording: str
    offset: float = 0.0
    duration: float | None = None


def is_kaldi_folder(folder: Path) -> bool:
    """Whether the folder holds a `wav.scp`."""
    return (folder / "wav.scp").is_file()


def read_kaldi(
    folder: Path, roots: list[Path], split: SplitName | None = None
) -> tuple[list[Recording], list[Problem]]:
    """The recordings of a Kaldi folder, and what is wrong with its lists.

    Args:
        folder: with `wav.scp` and `text`.
        roots: folders that relative paths may start from; the first where the file exists counts.
        split: the set that the folder is, where its place says so.

    Raises:
        DataError: a list cannot be read at all.
    """
    problems: list[Problem] = []
    wavs = _read_list(folder / "wav.scp", problems)
    texts = _read_list(folder / "text", problems)
    speakers = _read_optional(folder / "utt2spk", problems)
    segments = _segments(folder, wavs, problems)
    problems += _missing(texts, segments, "has no recording")
    problems += _missing(segments, texts, "has no transcript")
    problems += _missing(texts, speakers, "has no speaker") if speakers else []
    recordings = []
    for utterance, line in texts.items():
        segment = segments.get(utterance)
        if segment is None or wavs[segment.recording].rest.endswith("|"):
            continue  # a problem says so
        speaker = speakers.get(utterance)
        recordings.append(
            Recording(
                id=utterance,
                audio=_locate(wavs[segment.recording].rest, roots),
                text=line.rest,
                speaker=speaker.rest if speaker else None,
                offset=segment.offset,
                duration=segment.duration,
                split=split,
                source=line.source,
            )
        )
    return recordings, problems


def _read_list(path: Path, problems: list[Problem]) -> dict[str, _Line]:
    """First column → entry. The rest of a line is kept as it is: it may be the name of a file."""
    entries: dict[str, _Line] = {}
    for number, line in read_lines(path):
        match = _ENTRY.fullmatch(line)
        if match is None:
            continue  # a blank line
        key, rest = match.groups()
        if key in entries:
            problems.append(Problem(f"{path}:{number}", f"'{shown(key)}' comes twice"))
        elif not rest and path.name != "text":
            problems.append(Problem(f"{path}:{number}", "has one column, needs more"))
        else:
            entries[key] = _Line(f"{path}:{number}", rest)
    if not entries:
        raise DataError(f"{shown(path)}: is empty; give a complete Kaldi data folder")
    return entries


def _read_optional(path: Path, problems: list[Problem]) -> dict[str, _Line]:
    return _read_list(path, problems) if path.exists() else {}


def _segments(
    folder: Path, wavs: dict[str, _Line], problems: list[Problem]
) -> dict[str, _Segment | None]:
    """Utterance → where it lies, none where the list is wrong about it.

    Without a list of segments, each recording is an utterance.
    """
    problems += [
        Problem(line.source, "a command instead of a file; run it yourself and list what it wrote")
        for line in wavs.values()
        if line.rest.endswith("|")
    ]
    lines = _read_optional(folder / "segments", problems)
    if not lines:
        return {name: _Segment(line.source, name) for name, line in wavs.items()}
    segments: dict[str, _Segment | None] = {}
    for utterance, line in lines.items():
        try:
            segments[utterance] = _segment(line, wavs)
        except ValueError as error:
            segments[utterance] = None
            problems.append(Problem(line.source, str(error)))
    used = {segment.recording for segment in segments.values() if segment}
    problems += _missing(wavs, used, "has no segment")
    return segments


def _segment(line: _Line, wavs: Container[str]) -> _Segment:
    """What a line of `segments` says.

    Raises:
        ValueError: nothing that makes sense, and why.
    """
    columns = words(line.rest)
    if len(columns) != 3:
        raise ValueError("needs four columns: UTTERANCE RECORDING BEGIN END")
    recording, begin, end = columns[0], _seconds(columns[1]), _seconds(columns[2])
    if recording not in wavs:
        raise ValueError(f"recording '{shown(recording)}' is not in wav.scp")
    if end == -1 and begin >= 0:  # Kaldi's way to say: to the end
        return _Segment(line.source, recording, begin)
    if not 0 <= begin < end:
        raise ValueError(f"{begin} s to {end} s is no stretch of time")
    return _Segment(line.source, recording, begin, end - begin)


def _seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"'{shown(text)}' is no time in seconds")
    return number


def _missing(
    entries: Mapping[str, _Line | _Segment | None], needed: Container[str], reason: str
) -> list[Problem]:
    """A problem for every entry that `needed` lacks."""
    return [
        Problem(entry.source, f"'{shown(key)}' {reason}")
        for key, entry in entries.items()
        if key not in needed and entry is not None
    ]


def _locate(path: str, roots: list[Path]) -> Path:
    candidates = [root / path for root in roots]
    return next((place for place in candidates if place.exists()), candidates[0])
