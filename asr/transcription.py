"""Files, folders and stdin → transcripts: one record for each, whatever happens to the others."""

import io
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asr.data.audio import Audio, read_audio
from asr.data.corpus.importers import AUDIO_SUFFIXES
from asr.data.loading import load_ahead
from asr.decoding.hypothesis import ctm_lines
from asr.errors import AudioError, DataError, shown
from asr.recognizer import Recognizer, Transcript

BATCH_SECONDS = 120.0  # of audio, padding included
BATCH_FILES = 16
NUM_WORKERS = 2
STDIN = "-"
SOME_FAILED = 4


@dataclass(frozen=True, slots=True)
class Transcribed:
    """One input and what became of it: a transcript, or the reason why there is none."""

    source: str
    result: Transcript | AudioError

    @property
    def text(self) -> str | None:
        """The transcript, or None when the input could not be used."""
        return self.result.text if isinstance(self.result, Transcript) else None

    def as_dict(self) -> dict[str, Any]:
        """For JSON: `file`, and either the transcript or `error` and `code`."""
        if isinstance(self.result, Transcript):
            return {"file": _encodable(self.source), **self.result.as_dict()}
        return {
            "file": _encodable(self.source),
            "error": self.result.reason,
            "code": self.result.code,
        }

    def ctm(self) -> list[str]:
        """A line for each word, as NIST's sclite reads them; a comment for an input of no use."""
        if isinstance(self.result, AudioError):
            return [f";; not transcribed: {self.result}"]
        return ctm_lines(_encodable(self.source), self.result.words)

    def complaints(self) -> list[str]:
        """Lines for a person: why it failed, or what is odd about the audio."""
        if isinstance(self.result, AudioError):
            return [f"error: {self.result}"]
        return [f"warning: {shown(self.source)}: {text}" for text in self.result.warnings]


def find_sources(inputs: Sequence[str]) -> list[str]:
    """Files as they are named, the audio files in and below folders, sorted, and `-`.

    Raises:
        DataError: a folder without audio files.
    """
    sources: list[str] = []
    for name in inputs:
        path = Path(name)
        if name == STDIN or not path.is_dir():
            sources.append(name)
            continue
        inside = sorted(
            str(file)
            for file in path.rglob("*")
            if file.suffix.lower() in AUDIO_SUFFIXES and file.is_file()
        )
        if not inside:
            kinds = " ".join(sorted(AUDIO_SUFFIXES))
            raise DataError(f"{shown(path)}: no audio files in this folder ({kinds})")
        sources += inside
    return sources


def transcribe_sources(
    recognizer: Recognizer, sources: Sequence[str], *, nbest: int = 1
) -> Iterator[Transcribed]:
    """A record for every source, in their order; files are read ahead and batched."""

    def load(source: str) -> tuple[str, Audio | AudioError]:
        return source, _read(source, recognizer.sample_rate)

    waiting: list[tuple[str, Audio | AudioError]] = []
    longest = 0.0
    for source, audio in load_ahead(sources, load, NUM_WORKERS):
        seconds = audio.duration if isinstance(audio, Audio) else 0.0
        longest = max(longest, seconds)
        full = longest * (len(waiting) + 1) > BATCH_SECONDS or len(waiting) == BATCH_FILES
        if waiting and full:
            yield from _flush(recognizer, waiting, nbest)
            waiting, longest = [], seconds
        waiting.append((source, audio))
    yield from _flush(recognizer, waiting, nbest)


def exit_code(records: Sequence[Transcribed], *, strict: bool = False) -> int:
    """0 all done, 3 no input succeeded, 4 some failed (with `strict`, or were truncated)."""
    failed = sum(isinstance(record.result, AudioError) for record in records)
    if failed == len(records) and records:
        return AudioError.exit_code
    truncated = any(
        isinstance(record.result, Transcript) and record.result.truncated for record in records
    )
    return SOME_FAILED if failed or (strict and truncated) else 0


def _flush(
    recognizer: Recognizer, waiting: Sequence[tuple[str, Audio | AudioError]], nbest: int
) -> Iterator[Transcribed]:
    readable = [audio for _, audio in waiting if isinstance(audio, Audio)]
    transcripts = iter(recognizer.transcribe_all(readable, nbest=nbest))
    for source, audio in waiting:
        result = audio if isinstance(audio, AudioError) else next(transcripts)
        yield Transcribed(source, result)


def _read(source: str, sample_rate: int) -> Audio | AudioError:
    try:
        if source == STDIN:
            return read_audio(io.BytesIO(sys.stdin.buffer.read()), sample_rate=sample_rate)
        return read_audio(Path(source), sample_rate=sample_rate)
    except AudioError as error:
        return error


def _encodable(name: str) -> str:
    """A file name as valid Unicode: bytes that are no UTF-8 are escaped."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")
