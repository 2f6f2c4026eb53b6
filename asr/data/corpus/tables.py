"""Transcripts in tables: CSV and TSV with a header (Common Voice and most others), and LJSpeech.

A table says which columns it has, in its first line; the names are those in use for recordings and
for texts. LJSpeech's `metadata.csv` has no header: `NAME|TEXT|NORMALISED TEXT`.
"""

import csv
import math
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from asr.data.corpus.recordings import AUDIO_SUFFIXES, FolderTree, Problem, Recording, split_of
from asr.data.text import normalize_text, read_lines
from asr.errors import DataError, shown

PATH_COLUMNS = (
    "audio_filepath", "path", "file", "filename", "file_name", "filepath", "file_path", "audio",
    "audio_file", "audio_path", "wav", "wav_file", "wav_filename", "wav_path",
)  # fmt: skip
TEXT_COLUMNS = ("text", "transcript", "transcription", "sentence", "normalized_text")
SPEAKER_COLUMNS = ("speaker", "speaker_id", "client_id", "spk", "spk_id")
ID_COLUMNS = ("id", "utt_id", "utterance_id")
OFFSET_COLUMNS = ("offset",)
DURATION_COLUMNS = ("duration",)
DELIMITERS = {".tsv": ("\t",), ".csv": (",", ";", "\t", "|")}


class AudioFinder:
    """Finds the recording that a list means, in whatever sub-folder it lies."""

    def __init__(self, tree: FolderTree) -> None:
        self._by_name: dict[str, list[Path]] = defaultdict(list)
        for path in tree.audio:
            self._by_name[path.name].append(path)
            self._by_name[path.stem].append(path)

    def find(self, name: str, beside: Path) -> Path:
        """The one recording whose path ends with `name`, with or without its suffix.

        Where there is none, the path beside the list, which is then missing.

        Raises:
            ValueError: several end so.
        """
        wanted = Path(name.replace("\\", "/"))
        if (beside / wanted).is_file():  # also where `wanted` is absolute
            return beside / wanted
        tail = wanted.parts
        found = [
            path
            for path in self._by_name.get(wanted.name, [])
            if tail in (path.parts[-len(tail) :], path.with_suffix("").parts[-len(tail) :])
        ]
        if len(found) > 1:
            raise ValueError(f"'{shown(name)}' can be {shown(found[0])} or {shown(found[1])}")
        return found[0] if found else beside / wanted


def is_table(path: Path) -> bool:
    """Whether the first line names a column of recordings and one of texts."""
    return path.suffix.lower() in DELIMITERS and _delimiter(path) is not None


def read_table(path: Path, tree: FolderTree, problems: list[Problem]) -> list[Recording]:
    """The recordings of a table with a header; what is wrong with a row is added to `problems`.

    Raises:
        DataError: not a table, not UTF-8, or broken quotes.
    """
    delimiter = _delimiter(path)
    if delimiter is None:
        raise DataError(f"{shown(path)}: no columns for recordings and texts; {needed_columns()}")
    rows = _rows(path, delimiter)
    header = [normalize_text(name, "lower") for name in next(rows)[1]]
    finder = AudioFinder(tree)
    recordings = []
    for number, row in rows:
        source = f"{path}:{number}"
        if len(row) != len(header):
            reason = f"{len(row)} columns, the header has {len(header)}"
            problems.append(Problem(source, reason))
            continue
        try:
            recordings.append(
                _recording(dict(zip(header, row, strict=True)), path, number, finder=finder)
            )
        except ValueError as error:
            problems.append(Problem(source, str(error)))
    return recordings


def is_ljspeech(path: Path, tree: FolderTree) -> bool:
    """Whether the first line is `NAME|TEXT` or `NAME|TEXT|TEXT` and the name is a recording's."""
    fields = _first_line(path).split("|")
    if len(fields) not in (2, 3):
        return False
    try:
        return AudioFinder(tree).find(fields[0], path.parent).is_file()
    except ValueError:
        return True  # several recordings of that name


def read_ljspeech(path: Path, tree: FolderTree, problems: list[Problem]) -> list[Recording]:
    """The recordings of a `metadata.csv`; the last field is the text as it is spoken.

    Raises:
        DataError: not UTF-8.
    """
    finder = AudioFinder(tree)
    recordings = []
    for number, line in read_lines(path):
        source, fields = f"{path}:{number}", line.split("|")
        if not normalize_text(line):
            continue
        if len(fields) not in (2, 3):
            problems.append(Problem(source, f"{len(fields)} fields; needs NAME|TEXT"))
            continue
        row = {"id": Path(fields[0]).name, "path": fields[0], "text": fields[-1]}
        try:
            recordings.append(_recording(row, path, number, finder=finder))
        except ValueError as error:
            problems.append(Problem(source, str(error)))
    return recordings


def needed_columns() -> str:
    """What a header needs, for messages."""
    return f"needs one of {', '.join(PATH_COLUMNS)} and one of {', '.join(TEXT_COLUMNS)}"


def _recording(row: dict[str, str], path: Path, number: int, *, finder: AudioFinder) -> Recording:
    """What one row says.

    Raises:
        ValueError: it makes no sense, and why.
    """
    name = _value(row, PATH_COLUMNS).strip()
    if not name:
        raise ValueError("names no recording")
    offset, duration = _value(row, OFFSET_COLUMNS), _value(row, DURATION_COLUMNS)
    audio = finder.find(name, path.parent)
    return Recording(
        id=normalize_text(_value(row, ID_COLUMNS)) or _without_suffix(name),
        audio=audio,
        text=_value(row, TEXT_COLUMNS),
        speaker=normalize_text(_value(row, SPEAKER_COLUMNS)) or None,
        offset=_seconds(offset) if offset else 0.0,
        duration=_seconds(duration) if offset else None,
        split=split_of(path.stem),
        source=f"{path}:{number}",
    )


def _without_suffix(name: str) -> str:
    path = Path(name.replace("\\", "/"))
    return (path.with_suffix("") if path.suffix.lower() in AUDIO_SUFFIXES else path).as_posix()


def _value(row: dict[str, str], names: tuple[str, ...]) -> str:
    return next((row[name] for name in names if name in row), "")


def _seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number >= 0):
        raise ValueError(f"'{shown(text)}' is no time in seconds")
    return number


def _delimiter(path: Path) -> str | None:
    """What separates the columns, when the header has those that are needed."""
    line = _first_line(path)
    for delimiter in DELIMITERS[path.suffix.lower()]:
        names = {normalize_text(name, "lower").strip('"') for name in line.split(delimiter)}
        if names & set(PATH_COLUMNS) and names & set(TEXT_COLUMNS):
            return delimiter
    return None


def _first_line(path: Path) -> str:
    try:
        return next((line for _, line in read_lines(path)), "")
    except DataError:
        return ""


def _rows(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of every row that is not blank. TSV knows no quotes, CSV does."""
    lines = (f"{line}\n" for _, line in read_lines(path))
    if path.suffix.lower() == ".tsv":
        reader = csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE, strict=True)
    else:
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                yield reader.line_num, row
    except csv.Error as error:
        raise DataError(f"{shown(path)}:{reader.line_num}: not valid CSV: {error}") from error
