"""Sound decoded by libsndfile: plain samples, FLAC, complete OGG files of Vorbis and Opus."""

import contextlib
import os
from collections.abc import Iterator

import numpy as np
import soundfile
from numpy.typing import NDArray

from asr.data.audio.source import Header, Source

BLOCK_SAMPLES = 1 << 20  # over all channels: 4 MB, a minute of mono at 16 kHz
STEP_FRAMES = 256  # at the last good frames before a damage; 16 ms at 16 kHz
FAILED_SEEK = 39  # libsndfile's SFE_PSF_FSEEK
_INTEGERS = ("PCM_", "ULAW", "ALAW")  # beginnings of subtypes that cannot go beyond full scale
_FLOATS = ("FLOAT", "DOUBLE")
# In the last page of a Vorbis file libsndfile finds places some hundred samples off, so it has to
# come from an earlier page. Pages last a second or so; their limit is 65 kB.
VORBIS_LAST_PAGE_SECONDS = 10.0


class SoundFileDecoder:
    """One open file and what libsndfile says of it.

    Attributes:
        sample_rate: Hz; for Opus the rate before encoding.
        channels: number of channels.
        declared_seconds: length after the header, None when it is open.
        peak_allowed: the largest sample that is no fault of the file, None when the sample format
            cannot hold one beyond full scale.
        tolerance: seconds by which an intact file may be shorter than that.
        position: frames before the end of the last block.
        damaged: whether something that could not be decoded was met so far.
        notes: warnings about what was decoded so far.
    """

    def __init__(self, source: Source, header: Header) -> None:
        self._source = source
        self._file = self._open()
        self.sample_rate = int(self._file.samplerate)
        self.channels = int(self._file.channels)
        self.declared_seconds = header.seconds
        if header.seconds is None and self._num_frames is not None:
            self.declared_seconds = self._num_frames / self.sample_rate
        self.peak_allowed = _peak_allowed(self._file.subtype)
        self.tolerance = header.tolerance
        self.position = 0
        self.damaged = False
        self.notes: list[str] = []

    @property
    def _num_frames(self) -> int | None:
        """Frames after the header; None for a FLAC that was written without knowing its length.

        Of plain samples libsndfile counts those that are there, whatever the header declares.
        """
        frames = int(self._file.frames)
        return frames if frames < 1 << 60 else None

    def blocks(self, start: int, stop: int | None = None) -> Iterator[NDArray[np.float32]]:
        """Blocks of (frames, channels) from frame `start` to `stop`, integers scaled to [-1, 1).

        The last block ends where the file ends or decoding fails (`damaged`).
        """
        if start:
            self._seek(start)
        ends = [frames for frames in (self._num_frames, stop) if frames is not None]
        while not self.damaged and (wanted := self._until(ends)) > 0:
            block = self._read(wanted)
            if len(block):
                yield block
            if len(block) < wanted:
                break

    def count_seconds(self) -> float:
        """The length in seconds after the header, decoding only what declares none."""
        if self._num_frames is None:
            for _ in self.blocks(0):
                pass
            return self.position / self.sample_rate
        return self._num_frames / self.sample_rate

    def close(self) -> None:
        """Close libsndfile's side; the source stays open."""
        self._file.close()

    def _open(self) -> soundfile.SoundFile:
        descriptor = self._source.file.fileno()
        os.lseek(descriptor, 0, os.SEEK_SET)
        try:
            return soundfile.SoundFile(descriptor, closefd=False)
        except soundfile.SoundFileRuntimeError as error:
            raise self._source.error("is damaged, cut off or no sound") from error

    def _until(self, ends: list[int]) -> int:
        """Frames to read next, so that a block stays in bounds and ends at the first end."""
        return min([BLOCK_SAMPLES // self.channels, *(end - self.position for end in ends)])

    def _read(self, wanted: int) -> NDArray[np.float32]:
        """Up to `wanted` frames; fewer at the end of the file and before a damage.

        libsndfile does not say how much it wrote before an error, and integers never become NaN: so
        the buffer is filled with NaN first. A failed seek is only soundfile's own, behind the last
        frame of a file that declares no length or too great a one.
        """
        block = np.full((wanted, self.channels), np.nan, np.float32)
        try:
            block = self._file.read(out=block)
        except soundfile.LibsndfileError as error:
            self.damaged = error.code != FAILED_SEEK
            block = self._before_damage(wanted) if self.damaged else _written(block)
        self.position += len(block)
        return block

    def _before_damage(self, wanted: int) -> NDArray[np.float32]:
        """What is good of the `wanted` frames at `position`, read again in small steps.

        In a large block, libFLAC leaves a damaged frame out, or puts silence in its place, and goes
        on. Only a step that was read without an error is surely good and where it belongs.
        """
        self._file.close()
        self._file = self._open()
        good = np.full((wanted, self.channels), np.nan, np.float32)
        count = 0
        with contextlib.suppress(soundfile.LibsndfileError):
            self._file.seek(self.position)
            while count < wanted:
                step = good[count : count + STEP_FRAMES]
                try:
                    read = len(self._file.read(out=step))
                except soundfile.LibsndfileError as error:
                    read = len(_written(step)) if error.code == FAILED_SEEK else 0
                count += read
                if read < len(step):
                    break
        return good[:count]

    def _seek(self, start: int) -> None:
        """Go to frame `start`, or to the end when that comes first.

        Where libsndfile cannot seek (in a damaged file, or near the end of one that declares no
        length) the file is decoded up to there instead.
        """
        target = min(start, self._num_frames or start)
        if self._file.subtype == "VORBIS":
            last_page = round(VORBIS_LAST_PAGE_SECONDS * self.sample_rate)
            target = max(0, min(target, (self._num_frames or 0) - last_page))
        try:
            self.position = int(self._file.seek(target))
        except soundfile.LibsndfileError:
            self._file.close()
            self._file = self._open()
            self.position = 0
        while self.position < start and not self.damaged:
            if not len(self._read(self._until([start]))):
                break


def _written(block: NDArray[np.float32]) -> NDArray[np.float32]:
    """The frames before the first that is still filled with NaN."""
    unwritten = np.isnan(block).any(axis=1)
    return block[: int(unwritten.argmax())] if unwritten.any() else block


def _peak_allowed(subtype: str) -> float | None:
    """See `SoundFileDecoder.peak_allowed`; lossy decoders overshoot full scale by themselves."""
    if subtype.startswith(_INTEGERS):
        return None
    return 1.0 if subtype in _FLOATS else 2.0
