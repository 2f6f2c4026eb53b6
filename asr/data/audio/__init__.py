"""Sound files: any of the usual formats becomes a mono waveform at the rate that is wanted.

The content decides the format, never the extension. Files are decoded in bounded blocks, in this
process, by libsndfile and FFmpeg's libraries; nothing but the one file is ever opened.

A file that is cut off or damaged gives its good beginning and `truncated`. Noticed is what the
format lets one notice: plain samples (WAV, AIFF, AU, SPHERE) against the declared size, FLAC
against the declared samples and its checksums, OGG by a missing end mark or missing pages, MP3
against the number of frames that its first frame may declare, boxes and frames (MP3, MP4, WebM,
WMA, CAF, AAC, AMR) by a last one that is cut. Not noticed: an MP3 without a declared length, AAC or
AMR cut exactly between two frames; a cut VOC; a cut FLAC, WAV or WebM that was written live and so
declares no length; flipped bits in plain samples and in most of the lossy codecs.
"""

import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
from numpy.typing import NDArray

from asr.data.audio.source import AudioLimits
from asr.data.audio.stream import DEFAULT_LIMITS, AudioStream
from asr.storage import write_atomically

__all__ = [
    "Audio",
    "AudioInfo",
    "AudioLimits",
    "AudioStream",
    "audio_info",
    "read_audio",
    "write_wav",
]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Audio:
    """A sound that was read.

    Attributes:
        waveform: (samples,) float32, mono, full scale is 1.
        sample_rate: of the waveform, Hz.
        duration: seconds that were read, counted in the samples of the file.
        truncated: part of what the file declares (of the wanted piece) is cut off or damaged.
        declared_seconds: how long the file declares that to be; None when it declares nothing.
        warnings: what a person should know: channels mixed, wrong extension, peak, damage.
    """

    waveform: NDArray[np.float32]
    sample_rate: int
    duration: float
    truncated: bool
    declared_seconds: float | None
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioInfo:
    """What a file says of its sound: `duration` in seconds, `sample_rate` in Hz."""

    duration: float
    sample_rate: int
    channels: int
    format: str


def read_audio(
    source: str | Path | BinaryIO,
    *,
    sample_rate: int,
    offset: float = 0.0,
    duration: float | None = None,
    limits: AudioLimits = DEFAULT_LIMITS,
) -> Audio:
    """A sound file, or a piece of it, as a mono waveform.

    16-bit samples at the wanted rate come out as exactly `integer / 32768`. Other rates are
    resampled (soxr, high quality), of several channels the mean is taken. A file of floats with a
    peak beyond full scale is divided by it. A piece begins at the sample nearest to `offset`; in
    Matroska and WMA, which count in milliseconds, at the nearest of these.

    Args:
        source: a path, or a stream of the bytes of a file (standard input, a request).
        sample_rate: wanted rate in Hz.
        offset: seconds at the beginning that are left out.
        duration: seconds to read; None reads to the end, more than there is gives a warning.
        limits: what is refused.

    Raises:
        AudioError: NOT_A_FILE, BAD_AUDIO (damaged from the start, no sound, NaN, rate or channels
            beyond the limits, nothing at `offset`), BAD_FORMAT or TOO_LONG.
        ValueError: offset or duration is negative or not finite, or the rate is not positive.
    """
    with AudioStream(
        source, sample_rate=sample_rate, offset=offset, duration=duration, limits=limits
    ) as stream:
        blocks = list(stream)
        waveform = _joined(blocks)
        warnings = stream.warnings
        if stream.peak:
            waveform = waveform / np.float32(stream.peak)
            warnings += (f"the peak of {stream.peak:g} is beyond full scale; divided by it",)
        return Audio(
            waveform=waveform,
            sample_rate=sample_rate,
            duration=stream.seconds,
            truncated=stream.truncated,
            declared_seconds=stream.declared_seconds,
            warnings=warnings,
        )


def audio_info(path: Path) -> AudioInfo:
    """Length and shape of a sound file, from its header where that has them.

    MP3 without a frame count, AAC, AMR and FLAC without a length are gone through in bounded
    blocks. For a file that is cut off, the length is what is there for plain samples, and what is
    declared otherwise.

    Raises:
        AudioError: as `read_audio`, but for faults of the samples themselves and the length.
    """
    limits = AudioLimits(max_seconds=math.inf)
    with AudioStream(path, sample_rate=None, limits=limits) as stream:
        return AudioInfo(
            duration=stream.count_seconds(),
            sample_rate=stream.original_rate,
            channels=stream.channels,
            format=stream.format,
        )


def write_wav(path: Path, waveform: NDArray[np.float32], sample_rate: int) -> None:
    """Write a mono waveform as 16-bit WAV, in one step; what is beyond full scale is clipped.

    Args:
        path: the file to write or replace.
        waveform: (samples,) float, full scale is 1.
        sample_rate: Hz.

    Raises:
        ValueError: the waveform is not one-dimensional or not finite.
        ResourceError: the disk is full or not writable.
    """
    if waveform.ndim != 1:
        raise ValueError(f"waveform must be (samples,), got shape {waveform.shape}")
    if not np.isfinite(waveform).all():
        raise ValueError("waveform must be finite")
    integers = np.clip(np.rint(waveform * 32768.0), -32768, 32767).astype(np.int16)
    buffer = io.BytesIO()
    soundfile.write(buffer, integers, sample_rate, format="WAV", subtype="PCM_16")
    write_atomically(path, buffer.getvalue())


def _joined(blocks: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    if len(blocks) == 1:
        return blocks[0]
    return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
