"""A sound file as a stream of mono blocks at the wanted rate, in memory that does not grow with it.

File → decoder (libsndfile or FFmpeg) → the piece that was asked for → checks → mean of the channels
→ resampler. Everything that is wrong with a file is found here, whichever library decodes it.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol, Self

import numpy as np
import soxr
from numpy.typing import NDArray

from asr.data.audio.format import container_of, header_of, wrong_extension
from asr.data.audio.pyav_decoder import PyAVDecoder
from asr.data.audio.soundfile_decoder import SoundFileDecoder
from asr.data.audio.source import AudioLimits, open_source
from asr.errors import AudioError

DEFAULT_LIMITS = AudioLimits()
SHORT_BY_SECONDS = 0.1  # from here on, a piece that ends early is worth a warning


class Decoder(Protocol):
    """What the two decoders share; `SoundFileDecoder` describes the attributes."""

    sample_rate: int
    channels: int
    declared_seconds: float | None
    tolerance: float
    peak_allowed: float | None
    position: int
    damaged: bool

    @property
    def notes(self) -> list[str]:
        """Warnings about what was decoded so far."""

    def blocks(self, start: int, stop: int | None = None) -> Iterator[NDArray[np.float32]]:
        """Blocks of (frames, channels) from frame `start` to `stop`, or to the end."""

    def count_seconds(self) -> float:
        """The length, decoding only where nothing declares it."""

    def close(self) -> None:
        """Close the library's side."""


class AudioStream:
    """A sound file, or a piece of one, read once from front to back.

    Use as a context manager and iterate over it: each item is a float32 array of samples at
    `sample_rate`. A sample beyond full scale (1.0) is passed on as it is; `peak` tells.

    Args:
        source: a path, or a stream of the bytes of a file.
        sample_rate: wanted rate in Hz; None for the rate of the file.
        offset: seconds at the beginning that are left out.
        duration: seconds that are read; None reads to the end.
        limits: what is refused.

    Attributes:
        format: name of the container, as "WAV".
        original_rate: rate of the file in Hz.
        channels: channels of the file.
        declared_seconds: how long the file declares the wanted piece to be; None if it does not.
        seconds: length of what was read so far.
        peak: largest absolute sample so far, known when it is greater than 1, else 0.
        truncated: after the last block: part of the wanted piece is cut off or damaged.

    Raises:
        AudioError: at the beginning, NOT_A_FILE, BAD_FORMAT, BAD_AUDIO or TOO_LONG; while reading,
            BAD_AUDIO for samples that are no sound, TOO_LONG beyond `limits.max_seconds`.
        ValueError: offset or duration is negative or not finite, or the rate is not positive.
    """

    def __init__(
        self,
        source: str | Path | BinaryIO,
        *,
        sample_rate: int | None,
        offset: float = 0.0,
        duration: float | None = None,
        limits: AudioLimits = DEFAULT_LIMITS,
    ) -> None:
        _check_arguments(sample_rate, offset, duration)
        self._limits = limits
        self._exit = ExitStack()
        with self._exit as cleanup:
            self._source = cleanup.enter_context(open_source(source, limits))
            self.format = container_of(self._source)
            header = header_of(self._source, self.format)
            self._decoder: Decoder = (
                SoundFileDecoder(self._source, header)
                if header.decoder == "soundfile"
                else PyAVDecoder(self._source, header, self.format)
            )
            cleanup.callback(self._decoder.close)
            self._check_shape()
            self._cut = header.cut
            self._offset, self._duration = offset, duration
            self.original_rate, self.channels = self._decoder.sample_rate, self._decoder.channels
            self.sample_rate = sample_rate or self.original_rate
            self.declared_seconds = self._declared_seconds()
            self._check_length(self.declared_seconds or 0.0)
            self._exit = cleanup.pop_all()
        self._num_frames = 0
        self.peak = 0.0
        self.truncated = False
        self._ending: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._exit.close()

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        if self.sample_rate == self.original_rate:
            yield from self._mono_blocks()
            return
        resampler = soxr.ResampleStream(
            self.original_rate, self.sample_rate, 1, dtype="float32", quality="HQ"
        )
        for block in self._mono_blocks():
            if len(resampled := resampler.resample_chunk(block)):
                yield resampled
        nothing = np.zeros(0, np.float32)
        if len(resampled := resampler.resample_chunk(nothing, last=True)):
            yield resampled

    @property
    def seconds(self) -> float:
        """Length of what was read so far, counted in the samples of the file."""
        return self._num_frames / self.original_rate

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person should know of the file, complete after the last block."""
        found = [wrong_extension(self._source.name, self.format)]
        if self.channels > 1:
            found.append(f"{self.channels} channels; their mean is taken")
        found += self._decoder.notes + self._ending
        return tuple(warning for warning in found if warning)

    def count_seconds(self) -> float:
        """The length of the whole file, decoding only where nothing declares it."""
        return self._decoder.count_seconds()

    def _mono_blocks(self) -> Iterator[NDArray[np.float32]]:
        """The wanted piece at the rate of the file, checked."""
        rate = self.original_rate
        start = round(self._offset * rate)
        wanted = None if self._duration is None else round(self._duration * rate)
        stop = None if wanted is None else start + wanted
        for block in self._decoder.blocks(start, stop):
            self._check_samples(block, start + self._num_frames)
            self._num_frames += len(block)
            self._check_length(self.seconds)
            yield _mean(block)
        self._finish(start, wanted)

    def _finish(self, start: int, wanted: int | None) -> None:
        """Judge what is missing, now that the end was reached."""
        if wanted != 0 and not self._num_frames and (start or self._decoder.damaged):
            raise self._source.error(self._why_nothing())
        if wanted is not None and self._num_frames == wanted:
            self.truncated = self._decoder.damaged
            return
        declared = self.declared_seconds or 0.0
        missing = declared - self.seconds > self._decoder.tolerance + 0.5 / self.original_rate
        self.truncated = self._decoder.damaged or self._cut or missing
        if self.truncated:
            whole = f" of {declared:.2f} s" if declared > self.seconds else ""
            self._ending.append(f"cut off or damaged: {self.seconds:.2f} s{whole} read")
        elif self._duration is not None and self._duration - self.seconds > SHORT_BY_SECONDS:
            self._ending.append(
                f"{self._duration:g} s wanted, but the sound ends after {self.seconds:.2f} s"
            )

    def _why_nothing(self) -> str:
        if self._decoder.damaged and not self._offset:
            return "is damaged from its beginning"
        end = self._decoder.position / self.original_rate
        ending = "file is damaged" if self._decoder.damaged else "sound ends"
        return f"the piece begins at {self._offset:g} s, but the {ending} at {end:g} s"

    def _declared_seconds(self) -> float | None:
        """What the file declares of the wanted piece."""
        whole = self._decoder.declared_seconds
        if whole is None:
            return None
        rest = max(0.0, whole - self._offset)
        return rest if self._duration is None else min(rest, self._duration)

    def _check_shape(self) -> None:
        limits, decoder = self._limits, self._decoder
        lowest, highest = limits.min_sample_rate, limits.max_sample_rate
        if not lowest <= decoder.sample_rate <= highest:
            reason = f"has a rate of {decoder.sample_rate} Hz; {lowest} to {highest} Hz are read"
            raise self._source.error(reason)
        if not 1 <= decoder.channels <= limits.max_channels:
            reason = f"has {decoder.channels} channels; 1 to {limits.max_channels} are read"
            raise self._source.error(reason)

    def _check_length(self, seconds: float) -> None:
        if seconds > self._limits.max_seconds:
            raise AudioError(
                self._source.name,
                f"is longer than {self._limits.max_seconds / 3600:g} h; read it in pieces",
                "TOO_LONG",
            )

    def _check_samples(self, block: NDArray[np.float32], position: int) -> None:
        """Refuse what is no sound; integers need no check."""
        if self._decoder.peak_allowed is None or not block.size:
            return
        peak = float(max(block.max(), -block.min()))
        if not peak <= self._limits.max_abs_sample:  # NaN fails every comparison
            strange = ~(np.abs(block).max(axis=1) <= self._limits.max_abs_sample)
            first = int(strange.argmax())
            value = block[first][~(np.abs(block[first]) <= self._limits.max_abs_sample)][0]
            raise self._source.error(
                f"sample {position + first} is {value:g}; samples are between -1 and 1"
            )
        if peak > self._decoder.peak_allowed:
            self.peak = max(self.peak, peak)


def _mean(block: NDArray[np.float32]) -> NDArray[np.float32]:
    channels = block.shape[1]
    if channels == 1:
        return block[:, 0]
    return block @ np.full(channels, 1 / channels, np.float32)


def _check_arguments(sample_rate: int | None, offset: float, duration: float | None) -> None:
    if sample_rate is not None and sample_rate < 1:
        raise ValueError(f"sample_rate must be positive, got {sample_rate}")
    if not (np.isfinite(offset) and offset >= 0):
        raise ValueError(f"offset must be finite and not negative, got {offset}")
    if duration is not None and not (np.isfinite(duration) and duration >= 0):
        raise ValueError(f"duration must be finite and not negative, got {duration}")
