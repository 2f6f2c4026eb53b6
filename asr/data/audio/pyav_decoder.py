"""Sound decoded by FFmpeg's libraries (PyAV): MP3, M4A/MP4, WebM, WMA, AMR, Speex, shorten ….

A file is opened from a file object, as one named format, with lists of the formats and codecs that
may be used, and with nothing that may be opened besides: FFmpeg's playlists, its network and
references from one file to another cannot be reached. MP3 is decoded here rather than by
libsndfile, whose MP3 decoder writes its complaints, also about good files, to standard error.
"""

import contextlib
import errno
import os
from collections.abc import Iterator
from io import FileIO
from itertools import chain
from typing import Any, TypeAlias

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from numpy.typing import NDArray

from asr.data.audio.format import Container
from asr.data.audio.source import Header, Source

av.logging.set_level(av.logging.PANIC)  # faults are raised; FFmpeg's own words would only confuse

SoundPacket: TypeAlias = "Packet[AudioStream]"  # strings: generic for the type checker only
Timed: TypeAlias = "AudioFrame | Packet[AudioStream]"

BLOCK_FRAMES = 1 << 16  # frames gathered into a block
MAX_CHANNELS = 8  # no frame of more is looked into
MICROSECONDS = 1_000_000  # FFmpeg's unit of the duration of a container
RUN_UP_SECONDS = 1.0  # decoded in front of a piece, so that the decoder is in its stride there

_FORMATS: dict[Container, str] = {
    "WAV": "wav",
    "W64": "w64",
    "AIFF": "aiff",
    "SPHERE": "nistsphere",
    "OGG": "ogg",
    "MP3": "mp3",
    "CAF": "caf",
    "MP4": "mov",
    "Matroska": "matroska",
    "ASF": "asf",
    "AMR": "amr",
    "AAC": "aac",
}
CODECS = frozenset([
    "aac", "ac3", "adpcm_ima_qt", "adpcm_ima_wav", "adpcm_ms", "alac", "amrnb", "amrwb", "eac3",
    "flac", "g722", "g726", "gsm", "gsm_ms", "libopus", "libvorbis", "mp1float", "mp2", "mp2float",
    "mp3", "mp3float", "opus", "pcm_alaw", "pcm_f32be", "pcm_f32le", "pcm_f64be", "pcm_f64le",
    "pcm_mulaw", "pcm_s16be", "pcm_s16le", "pcm_s24be", "pcm_s24le", "pcm_s32be", "pcm_s32le",
    "pcm_s8", "pcm_u8", "shorten", "speex", "vorbis", "wmalossless", "wmapro", "wmav1", "wmav2",
    "wmavoice",
])  # fmt: skip
OPTIONS = {
    "codec_whitelist": ",".join(sorted(CODECS)),
    "format_whitelist": ",".join([*_FORMATS.values(), "mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"]),
    "protocol_whitelist": "none",
}
# Each packet needs the one before it: a piece is decoded from the beginning of the file.
_CHAINED_CODECS = frozenset(["g722", "g726", "shorten"])
LENIENCE_SECONDS = 0.1  # containers round their duration, to whole packets or more
_DTYPES: dict[str, Any] = {
    "u8": np.uint8,
    "s16": np.int16,
    "s32": np.int32,
    "flt": np.float32,
    "dbl": np.float64,
}
_COMFORT_NOISE = 8  # AMR frame types from here on hold no speech


class QuietFile:
    """The file as FFmpeg may use it: a failure is a value, because PyAV would print an exception.

    A position from a damaged header that cannot be sought, or a disk that cannot be read, then
    looks like the end of the file.
    """

    def __init__(self, file: FileIO) -> None:
        self._file = file
        self.tell = file.tell

    def read(self, count: int) -> bytes:
        """Up to `count` bytes, none when reading fails."""
        try:
            return self._file.read(count)
        except OSError:
            return b""

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """The new position, a negative number when there is no such place."""
        try:
            return self._file.seek(offset, whence)
        except (OSError, OverflowError):
            return -errno.EINVAL


class PyAVDecoder:
    """One open file and what FFmpeg says of its first sound track.

    A packet that cannot be decoded becomes silence of its length if sound follows it, so that times
    stay right; `damaged` and a note say so.

    Attributes: as in `SoundFileDecoder`.
    """

    def __init__(self, source: Source, header: Header, container: Container) -> None:
        self._source = source
        self._container = container
        self._input = self._open()
        try:
            self._stream = self._sound_track()
            self._start = self.position = 0
            self._origin: float | None = None  # time stamp of the first sound, in seconds
            self._lost_packets = self._noise_packets = self._noise_frames = 0
            self._pending_packets = self._pending_frames = 0  # lost since the last sound
            self.damaged = self._rate_changed = False
            self.sample_rate = int(self._stream.codec_context.sample_rate or 0)
            self.channels = int(self._stream.codec_context.channels or 0)
            self._pieces = self._decoded()
            self._first = next(self._pieces, None)
        except BaseException:
            self._input.close()
            raise
        self.peak_allowed: float | None = _peak_allowed(self._stream)
        self.declared_seconds, self.tolerance = header.seconds, header.tolerance
        if header.seconds is None:
            self.declared_seconds, self.tolerance = self._container_seconds(), LENIENCE_SECONDS

    @property
    def notes(self) -> list[str]:
        """Warnings about what was decoded so far."""
        notes = []
        if self._lost_packets:
            notes.append(f"{self._lost_packets} damaged packets were replaced by silence")
        if self._noise_packets:
            notes.append(f"{self._noise_packets} packets of comfort noise were read as silence")
        if self._rate_changed:
            notes.append("the sample rate changes inside the file; read up to there")
        return notes

    def blocks(self, start: int, stop: int | None = None) -> Iterator[NDArray[np.float32]]:
        """Blocks of (frames, channels) from frame `start` to `stop`, integers scaled to [-1, 1)."""
        self._start = start
        gathered: list[NDArray[np.float32]] = []
        num_frames = 0
        for piece in self._from_start():
            if gathered and len(piece) != len(gathered[0]):  # the number of channels changed
                yield np.concatenate(gathered, axis=1).T
                gathered, num_frames = [], 0
            beyond = 0 if stop is None else max(0, self.position - stop)
            gathered.append(piece[:, : piece.shape[1] - beyond])
            num_frames += piece.shape[1]
            if beyond or self.position == stop:
                break
            if num_frames >= BLOCK_FRAMES:
                yield np.concatenate(gathered, axis=1).T
                gathered, num_frames = [], 0
        if gathered:
            yield np.concatenate(gathered, axis=1).T

    def count_seconds(self) -> float:
        """The length in seconds: as declared, else the sum over all packets, without decoding."""
        if self.declared_seconds is not None:
            return self.declared_seconds
        with self._open() as container:
            stream = container.streams.audio[0]
            ticks = 0
            with contextlib.suppress(FFmpegError):  # damaged: what is there counts
                for packet in container.demux(stream):
                    ticks += packet.duration or 0
            return ticks * float(stream.time_base or 0)

    def close(self) -> None:
        """Close FFmpeg's side; the source stays open."""
        self._input.close()

    def _open(self) -> InputContainer:
        self._source.file.seek(0)
        try:
            return av.open(
                QuietFile(self._source.file),
                mode="r",
                format=_FORMATS[self._container],
                options=OPTIONS,
                metadata_errors="replace",
            )
        except (FFmpegError, ValueError) as error:
            raise self._source.error("is damaged, cut off or no sound") from error

    def _sound_track(self) -> AudioStream:
        if not self._input.streams.audio:
            raise self._source.error(f"is {self._container} without a sound track")
        stream = self._input.streams.audio[0]
        codec = getattr(stream.codec_context, "name", "an unknown codec")  # None if FFmpeg has none
        if codec not in CODECS:
            reason = f"holds {codec}, which is not read; convert it to WAV or FLAC"
            raise self._source.error(reason, "BAD_FORMAT")
        return stream

    def _container_seconds(self) -> float | None:
        """The duration where it is a declaration; elsewhere FFmpeg guesses from the bit rate."""
        if self._container in ("MP4", "CAF", "WAV", "W64", "AIFF") and self._stream.duration:
            # Of cut plain samples, FFmpeg gives the duration of what is there.
            return self._stream.duration * float(self._stream.time_base or 0)
        alone = len(self._input.streams) == 1  # pictures may last longer than the sound
        if self._container in ("Matroska", "ASF") and alone and self._input.duration:
            return self._input.duration / MICROSECONDS
        return None

    def _from_start(self) -> Iterator[NDArray[np.float32]]:
        """The decoded pieces from frame `_start` on; `position` runs ahead of them."""
        for piece in chain([] if self._first is None else [self._first], self._pieces):
            drop = max(0, self._start - self.position)
            self.position += piece.shape[1]
            if drop < piece.shape[1]:
                yield piece[:, drop:]

    def _decoded(self) -> Iterator[NDArray[np.float32]]:
        """Everything from the current packet on as (channels, frames), in the order of time."""
        jumped = False
        for packet in self._demuxed():
            if end := self._end_before_start(packet):
                self.position, jumped = end, True
                continue
            for frame in self._decode(packet):
                yield from self._lost_silence()
                self._begin(frame)
                if frame.rate != self.sample_rate:
                    self._rate_changed = self.damaged = True
                    return
                if jumped and self.position < self._start and frame.pts is not None:
                    self.position = self._place(frame)
                yield _scaled(frame)
            if self._noise_frames:
                self._begin(packet)
                yield np.zeros((self.channels, self._noise_frames), np.float32)
        if self._pending_packets and self._origin is None:
            self.damaged = True  # packets, but nothing in them

    def _decode(self, packet: SoundPacket) -> list[AudioFrame]:
        """The frames in a packet; one that cannot be decoded is remembered as noise or as lost."""
        self._noise_frames = 0
        try:
            return packet.decode()
        except FFmpegError:
            seconds = (packet.duration or 0) * float(packet.time_base or 0)
            num_frames = min(round(seconds * self.sample_rate), self.sample_rate)
        head = bytes(packet)[:1]
        if self._container == "AMR" and head and head[0] >> 3 & 15 >= _COMFORT_NOISE:
            self._noise_packets += 1
            self._noise_frames = num_frames
        else:
            self._pending_packets += 1
            self._pending_frames += num_frames
        return []

    def _lost_silence(self) -> Iterator[NDArray[np.float32]]:
        """Silence for the packets that were lost since the last sound; none before the first."""
        if self._pending_packets and self._origin is not None:
            self._lost_packets += self._pending_packets
            self.damaged = True
            for begin in range(0, self._pending_frames, BLOCK_FRAMES):
                count = min(BLOCK_FRAMES, self._pending_frames - begin)
                yield np.zeros((self.channels, count), np.float32)
        self._pending_packets = self._pending_frames = 0

    def _demuxed(self) -> Iterator[SoundPacket]:
        try:
            yield from self._input.demux(self._stream)
        except FFmpegError:
            self.damaged = True

    def _begin(self, first: Timed) -> None:
        """Take the properties of the sound from the first piece: headers may be wrong."""
        if self._origin is None:
            self._origin = _seconds(first)
            if isinstance(first, AudioFrame):
                self.sample_rate = first.rate
                self.channels = first.layout.nb_channels

    def _end_before_start(self, packet: SoundPacket) -> int | None:
        """Where a packet ends, if that is so long before the piece that it need not be decoded."""
        if not self._start or packet.pts is None or self._origin is None:
            return None
        if self._stream.codec_context.name in _CHAINED_CODECS:
            return None
        end = _seconds(packet) - self._origin + (packet.duration or 0) * float(packet.time_base)
        before = end < self._start / self.sample_rate - RUN_UP_SECONDS
        return max(self.position, round(end * self.sample_rate)) if before else None

    def _place(self, frame: AudioFrame) -> int:
        """The position of a frame after its time stamp."""
        return round((_seconds(frame) - (self._origin or 0.0)) * self.sample_rate)


def _seconds(item: Timed) -> float:
    """The time stamp of a frame or packet, 0 without one."""
    return item.pts * float(item.time_base) if item.pts is not None and item.time_base else 0.0


def _scaled(frame: AudioFrame) -> NDArray[np.float32]:
    """The samples as (channels, frames) float32, integers scaled to [-1, 1).

    Not by PyAV's `to_ndarray`: that takes the first eight pointers of a frame for a list that ends
    with a null pointer, and reads beyond it when there are eight channels or more.
    """
    channels, kind = frame.layout.nb_channels, frame.format.name
    dtype = _DTYPES.get(kind.removesuffix("p"))
    if channels > MAX_CHANNELS or dtype is None:
        return np.zeros((channels, 0), np.float32)
    planes: tuple[Any, ...] = frame.planes
    if kind.endswith("p"):
        count = frame.samples
        samples = np.stack([np.frombuffer(planes[i], dtype, count) for i in range(channels)])
    else:
        samples = np.frombuffer(planes[0], dtype, frame.samples * channels)
        samples = samples.reshape(-1, channels).T
    if dtype is np.uint8:
        return (samples.astype(np.float32) - 128) / 128
    with np.errstate(over="ignore"):  # a double too large becomes infinite and is refused as such
        scale = 0.5 ** (8 * samples.itemsize - 1) if samples.dtype.kind == "i" else 1.0
        return samples.astype(np.float32) * np.float32(scale)


def _peak_allowed(stream: AudioStream) -> float:
    """See `SoundFileDecoder.peak_allowed`; lossy decoders overshoot full scale by themselves."""
    return 1.0 if stream.codec_context.name.startswith("pcm_f") else 2.0
