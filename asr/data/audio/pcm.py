"""Containers of plain samples (WAV, RF64, W64, AIFF, AU, SPHERE): how much sound they declare.

libsndfile silently reads a cut file to where it ends, so what the header promised is read here.
Sizes that programs write into a pipe, where they cannot come back to correct them (0, 0x7FFFF000
and above), promise nothing: the file is read to its end. A file of more than 2 GB that was cut
below that size looks the same.
"""

import math
import struct
from typing import Literal

from asr.data.audio.source import Header, Source

STREAMING_SIZE = 0x7FFF_F000  # sox writes this, ffmpeg 0xFFFFFFFF, others something between
MAX_CHUNKS = 1000  # before the sound; a forged file could hold millions of empty ones
# PCM, float, A-law, mu-law; what EXTENSIBLE (0xFFFE) stands for is looked up.
_PLAIN_WAVE_CODECS = {0x0001, 0x0003, 0x0006, 0x0007}
# ADPCM of Microsoft and IMA, GSM, G.726, MP2, MP3, AAC, WMA 1 and 2. FFmpeg takes other codecs too
# for G.726, and makes noise of them.
_COMPRESSED_WAVE_CODECS = {0x0002, 0x0011, 0x0031, 0x0045, 0x0050, 0x0055, 0x00FF, 0x0160, 0x0161}
_PLAIN_AIFF_CODECS = {b"none", b"sowt", b"twos", b"raw ", b"in24", b"in32", b"fl32", b"fl64"}
_PLAIN_AIFF_CODECS |= {b"ulaw", b"alaw"}
_AU_BYTES = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}  # of a sample, by encoding


def wave_header(source: Source) -> Header:
    """The promise of a RIFF, RIFX or RF64 file with WAVE content.

    Raises:
        AudioError: BAD_FORMAT, a codec that is not read.
    """
    order = ">" if source.read_at(0, 4) == b"RIFX" else "<"
    position, sizes, codec = 12, b"", b""
    for _ in range(MAX_CHUNKS):
        name, size = _chunk(source, position, order)
        position += 8
        if name == b"ds64":
            sizes = source.read_at(position, 16)
        elif name == b"fmt ":
            codec = source.read_at(position, min(size, 40))
        elif name == b"data":
            if size == 0xFFFF_FFFF and len(sizes) == 16:
                (size,) = struct.unpack_from("<Q", sizes, 8)
            riff_bytes = _chunk(source, 0, order)[1] + 8
            if not size and riff_bytes < source.size and position < source.size:
                # The recorder was stopped before it wrote the sizes; libsndfile reads nothing.
                return Header(decoder="pyav")
            return _wave_promise(source, codec, order, position, size)
        if not name:
            return Header(decoder="soundfile", cut=position - 8 < source.size)
        position += size + size % 2
    return Header(decoder="soundfile")


def w64_header(source: Source) -> Header:
    """The promise of a Wave64 file: chunks with names of 16 bytes and sizes of 8.

    Raises:
        AudioError: BAD_FORMAT, a codec that is not read.
    """
    position, codec = 40, b""
    for _ in range(MAX_CHUNKS):
        head = source.read_at(position, 24)
        size = int.from_bytes(head[16:], "little") - 24
        if len(head) < 24 or size < 0:
            return Header(decoder="soundfile", cut=bool(head))
        position += 24
        if head.startswith(b"fmt "):
            codec = source.read_at(position, min(size, 40))
        elif head.startswith(b"data"):
            return _wave_promise(source, codec, "<", position, size)
        position += -(-size // 8) * 8
    return Header(decoder="soundfile")


def aiff_header(source: Source) -> Header:
    """The promise of an AIFF or AIFC file."""
    position, seconds = 12, None
    decoder: Literal["soundfile", "pyav"] = "soundfile"
    for _ in range(MAX_CHUNKS):
        name, size = _chunk(source, position, ">")
        position += 8
        if name == b"COMM":
            head = source.read_at(position, min(size, 22))
            if len(head) >= 18:
                rate = _extended(head[8:18])
                seconds = int.from_bytes(head[2:6], "big") / rate if rate else None
            if len(head) == 22 and head[18:].lower() not in _PLAIN_AIFF_CODECS:
                decoder = "pyav"
        elif name == b"SSND":
            cut = 0 < size < STREAMING_SIZE and position + size > source.size
            return Header(decoder=decoder, seconds=seconds if cut else None, cut=cut)
        if not name:
            break
        position += size + size % 2
    return Header(decoder=decoder)


def au_header(source: Source) -> Header:
    """The promise of an AU file.

    Raises:
        AudioError: BAD_FORMAT, an encoding that only old telephone software wrote.
    """
    head = source.read_at(0, 24).ljust(24, b"\0")
    order = ">" if head.startswith(b".snd") else "<"
    start, size, encoding, rate, channels = struct.unpack_from(order + "5I", head, 4)
    if encoding not in _AU_BYTES:
        reason = f"is an AU file of encoding {encoding}, which is not read; convert it to WAV"
        raise source.error(reason, "BAD_FORMAT")
    return _promise(start, size, source.size, rate * channels * _AU_BYTES[encoding])


def sphere_header(source: Source) -> Header:
    """The promise of a NIST SPHERE file, plain or compressed by shorten.

    Raises:
        AudioError: BAD_FORMAT, another compression (convert it with `sph2pipe`).
    """
    head = source.read_at(0, 16).split(b"\n")
    start = _number(head[1]) if len(head) > 2 else 0
    fields: dict[bytes, bytes] = {}
    for line in source.read_at(0, min(start, 1 << 16)).split(b"\n"):
        name, _, value = line.partition(b" ")
        fields[name] = value.partition(b" ")[2].strip()
    coding = fields.get(b"sample_coding", b"pcm").lower()
    rate = _number(fields.get(b"sample_rate", b""))
    frames = _number(fields.get(b"sample_count", b""))
    if b"embedded-shorten" in coding:
        return Header(decoder="pyav", seconds=frames / rate if rate and frames else None)
    if b"," in coding or coding not in (b"pcm", b"ulaw", b"mu-law", b"alaw"):
        shown = coding.decode("ascii", "backslashreplace")
        raise source.error(f"is SPHERE with the coding {shown}; unpack it to WAV", "BAD_FORMAT")
    width = _number(fields.get(b"sample_n_bytes", b"2")) * _number(
        fields.get(b"channel_count", b"1")
    )
    return _promise(start, frames * width, source.size, rate * width)


def _promise(start: int, size: int, file_size: int, bytes_per_second: int) -> Header:
    """Of plain samples: `size` bytes from `start` on."""
    if not 0 < size < STREAMING_SIZE or not bytes_per_second:
        return Header(decoder="soundfile")
    cut = start + size > file_size
    return Header(decoder="soundfile", seconds=size / bytes_per_second, cut=cut)


def _wave_promise(source: Source, codec: bytes, order: str, start: int, size: int) -> Header:
    """`codec` is the content of the `fmt ` chunk."""
    if len(codec) < 16:
        return Header(decoder="soundfile")
    tag, _, rate, _, frame_bytes = struct.unpack_from(order + "HHIIH", codec)
    if tag == 0xFFFE and len(codec) >= 26:
        (tag,) = struct.unpack_from(order + "H", codec, 24)
    promise = _promise(start, size, source.size, rate * frame_bytes)
    if tag in _PLAIN_WAVE_CODECS:
        return promise
    if tag not in _COMPRESSED_WAVE_CODECS:
        reason = f"is a WAV file of codec 0x{tag:04x}, which is not read; convert it to plain WAV"
        raise source.error(reason, "BAD_FORMAT")
    return Header(decoder="pyav", cut=promise.cut)  # its frames are not samples


def _chunk(source: Source, position: int, order: str) -> tuple[bytes, int]:
    head = source.read_at(position, 8)
    return struct.unpack(order + "4sI", head) if len(head) == 8 else (b"", 0)


def _extended(data: bytes) -> float:
    """An 80-bit float, as AIFF stores its sample rate; 0 for what is no rate."""
    exponent, mantissa = struct.unpack(">HQ", data)
    shift = (exponent & 0x7FFF) - 16_383 - 63
    return math.ldexp(mantissa, shift) if -100 < shift < 0 else 0.0


def _number(text: bytes) -> int:
    """The non-negative integer in `text`, 0 when it is none."""
    text = text.strip()
    return int(text) if text.isdigit() and len(text) < 19 else 0
