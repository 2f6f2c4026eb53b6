"""Transcribed recordings before anybody has listened: what importers collect, and looking into it.

A `Recording` is what a corpus says: here is a file, this is spoken in it. `measure` opens the files
and turns what is usable into utterances and the rest into problems. Both together are all that
came in: nothing is dropped without a name and a reason.
"""

import os
import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from asr.data.audio import audio_info
from asr.data.manifest import Utterance
from asr.data.text import normalize_text, words
from asr.errors import AudioError, DataError, shown

SplitName = Literal["train", "dev", "test"]

# Also of sound that is not read here: such a file is then refused by name, not passed over.
_SOUND = (
    "wav wave bwf rf64 w64 flac ogg oga opus spx mp3 mp2 mp1 mpga m4a m4b mp4 m4v mov 3gp 3g2 aac "
    "adts webm mka mkv wma asf wmv amr awb aif aiff aifc au snd sph nist wv1 wv2 caf voc gsm ape "
    "wv tta"
)
AUDIO_SUFFIXES = frozenset(f".{name}" for name in words(_SOUND))
SPLIT_NAMES: dict[str, SplitName] = {
    "train": "train",
    "training": "train",
    "dev": "dev",
    "valid": "dev",
    "val": "dev",
    "validation": "dev",
    "development": "dev",
    "test": "test",
    "testing": "test",
}
MAX_SHOWN_PROBLEMS = 50
ROUNDING_SECONDS = 0.1  # how far a piece may reach beyond its recording: lists round their times
NUM_THREADS = 8  # the files wait for the disk more than for a core


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A sound file, or a piece of one, and what is spoken in it.

    Attributes:
        id: unique in its corpus; what cannot be printed in it will be escaped.
        audio: the file, which may turn out to be missing.
        text: what is spoken.
        speaker: who speaks, where the corpus says it.
        offset: seconds from the beginning of the file.
        duration: seconds; none: to the end of the file.
        split: the set that the corpus puts it into, where it does.
        source: the file (and line) that says all this, for messages.
    """

    id: str
    audio: Path
    text: str
    speaker: str | None = None
    offset: float = 0.0
    duration: float | None = None
    split: SplitName | None = None
    source: str


@dataclass(frozen=True, slots=True)
class Problem:
    """What keeps a recording or a line out, and where it is."""

    where: str
    reason: str

    def __str__(self) -> str:
        return f"{shown(self.where)}: {self.reason}"


@dataclass(frozen=True)
class FolderTree:
    """The files below a folder: those that hold sound, and the others; hidden ones left out.

    Attributes:
        folder: absolute.
        audio: files whose name ends like a sound file's, sorted.
        others: all other files, sorted.
    """

    folder: Path
    audio: tuple[Path, ...]
    others: tuple[Path, ...]

    @classmethod
    def of(cls, folder: Path) -> Self:
        """What lies below `folder`; links to folders are followed, into each folder once.

        Raises:
            DataError: there is no such folder.
        """
        if not folder.is_dir():
            raise DataError(f"{shown(folder)}: no such folder; give the folder of the recordings")
        files: list[Path] = []
        seen: set[str] = set()
        for parent, folders, names in os.walk(folder.absolute(), followlinks=True):
            place = os.path.realpath(parent)
            if place in seen:
                folders.clear()
                continue
            seen.add(place)
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            files += [Path(parent, name) for name in names if not name.startswith(".")]
        files.sort()
        audio = tuple(path for path in files if path.suffix.lower() in AUDIO_SUFFIXES)
        held = set(audio)
        others = tuple(path for path in files if path not in held)
        return cls(folder.absolute(), audio, others)

    def name_of(self, path: Path) -> str:
        """The name of a file below the folder: its path from there, without the suffix."""
        return shown(path.relative_to(self.folder).with_suffix("").as_posix())


def split_of(name: str) -> SplitName | None:
    """The set that a list or folder of this name is: `train-clean-100` → `train`."""
    return SPLIT_NAMES.get(re.split(r"[-_. ]", name.lower())[0])


def measure(recordings: Sequence[Recording]) -> tuple[list[Utterance], list[Problem]]:
    """Utterances of the usable recordings, in order, and a problem for each of the others.

    Of several recordings with one id, or of one piece of sound, the first is used.
    """
    clean, problems = _without_doubles(recordings)
    paths = list(dict.fromkeys(recording.audio for recording in clean))
    with ThreadPoolExecutor(NUM_THREADS, thread_name_prefix="asr-measure") as pool:
        seconds = dict(zip(paths, pool.map(_seconds, paths), strict=True))
    utterances = []
    for recording in clean:
        outcome = _utterance(recording, seconds[recording.audio])
        if isinstance(outcome, Problem):
            problems.append(outcome)
        else:
            utterances.append(outcome)
    return utterances, problems


def utterances_of(recordings: Sequence[Recording], corpus: Path) -> list[Utterance]:
    """Utterances of recordings that must all be usable; `corpus` names them in the message.

    Raises:
        DataError: every problem, one a line.
    """
    utterances, problems = measure(recordings)
    if problems:
        raise problems_error(corpus, problems, "mend the corpus, or download it again")
    return utterances


def problems_error(corpus: Path, problems: Sequence[Problem], advice: str) -> DataError:
    """One error with every problem on a line of its own (the first 50), and what to do."""
    lines = [str(problem) for problem in problems[:MAX_SHOWN_PROBLEMS]]
    more = len(problems) - len(lines)
    if more:
        lines.append(f"… and {more} more")
    count = counted(len(problems), "problem")
    return DataError("\n".join([*lines, f"{shown(corpus)}: {count}; {advice}"]))


def counted(number: int, noun: str) -> str:
    """`1 speaker`, `2 speakers`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _without_doubles(
    recordings: Iterable[Recording],
) -> tuple[list[Recording], list[Problem]]:
    clean: list[Recording] = []
    problems: list[Problem] = []
    ids: dict[str, str] = {}
    pieces: dict[tuple[Path, float], str] = {}
    for recording in recordings:
        piece = (recording.audio, recording.offset)
        name = shown(recording.id)
        if not normalize_text(recording.text):
            problems.append(Problem(recording.source, "the transcript is empty"))
        elif name in ids:
            reason = f"the id '{name}' is taken by {shown(ids[name])}"
            problems.append(Problem(recording.source, reason))
        elif piece in pieces:
            file = shown(recording.audio.name)
            reason = f"{file} has a transcript already, in {shown(pieces[piece])}"
            problems.append(Problem(recording.source, reason))
        else:
            clean.append(recording)
            ids[name] = pieces[piece] = recording.source
    return clean, problems


def _seconds(path: Path) -> float | str:
    """How long a file is, or why that cannot be said."""
    if not path.exists():
        return f"the recording {shown(path)} is missing"
    try:
        return audio_info(path).duration
    except AudioError as error:
        return f"{shown(path.name)}: {error.reason} [{error.code}]"


def _utterance(recording: Recording, seconds: float | str) -> Utterance | Problem:
    if isinstance(seconds, str):
        return Problem(recording.source, seconds)
    left = seconds - recording.offset
    duration = left if recording.duration is None else recording.duration
    if left <= 0 or duration <= 0 or duration > left + ROUNDING_SECONDS:
        piece = f"{recording.offset:.2f} s to {recording.offset + duration:.2f} s"
        return Problem(
            recording.source,
            f"{shown(recording.audio.name)} is {seconds:.2f} s long; nothing to cut from {piece}",
        )
    return Utterance(
        id=shown(recording.id),
        audio=recording.audio,
        duration=min(duration, left),
        text=normalize_text(recording.text),
        offset=recording.offset,
        speaker=shown(recording.speaker) if recording.speaker else None,
    )
