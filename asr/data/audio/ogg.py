"""OGG: the codec in the first page, and the length and the end mark in the last one.

A page is `OggS`, version, flags (2 begins a stream, 4 ends it), position ("granule", 8 bytes),
serial number, page number, checksum, and a table of segment lengths. Reference: RFC 3533.
"""

import struct
from dataclasses import dataclass

from asr.data.audio.source import Header, Source

PAGE_HEADER = struct.Struct("<4sBBqIIIB")
LONGEST_PAGE = PAGE_HEADER.size + 255 + 255 * 255  # bytes
END_OF_STREAM = 4
OPUS_RATE = 48_000  # Opus counts at 48 kHz whatever the original rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The header of a page; `payload` and `end` are positions in the file."""

    flags: int
    granule: int
    serial: int
    payload: int
    end: int


def ogg_header(source: Source) -> Header:
    """Who decodes an OGG file, its declared length, and whether its end mark is missing.

    libsndfile takes complete files of Vorbis and Opus. It is no use for cut ones (it finds no
    length and then no sound) nor for several streams one after another (it reads the first only):
    PyAV does these, and Speex and FLAC in OGG. A recording without an end mark counts as cut.
    """
    first = _page(source.read_at(0, LONGEST_PAGE), 0)
    if first is None:
        return Header(decoder="pyav", cut=True)
    last = _last_page(source)
    cut = last is None or not last.flags & END_OF_STREAM or last.end > source.size
    if last is None or cut or last.serial != first.serial:
        return Header(decoder="pyav", cut=cut)
    identification = source.read_at(first.payload, 64).ljust(64, b"\0")
    seconds = _seconds(identification, last.granule)
    native = identification.startswith((b"\x01vorbis", b"OpusHead"))
    # Speex counts in whole packets of 20 ms; libsndfile rounds Opus to its original rate.
    return Header(decoder="soundfile" if native else "pyav", seconds=seconds, tolerance=0.03)


def _page(data: bytes, position: int) -> Page | None:
    if position + PAGE_HEADER.size > len(data):
        return None
    mark, version, flags, granule, serial, _, _, num_segments = PAGE_HEADER.unpack_from(
        data, position
    )
    table = data[position + PAGE_HEADER.size :][:num_segments]
    if mark != b"OggS" or version or flags > 7 or len(table) < num_segments:
        return None
    payload = position + PAGE_HEADER.size + num_segments
    return Page(
        flags=flags,
        granule=granule,
        serial=serial,
        payload=payload,
        end=payload + sum(table),
    )


def _last_page(source: Source) -> Page | None:
    """The last page whose header is whole; its content may be cut off."""
    start = max(0, source.size - LONGEST_PAGE)
    tail = source.read_at(start, LONGEST_PAGE)
    position = tail.rfind(b"OggS")
    while position >= 0:
        if page := _page(tail, position):
            return Page(
                flags=page.flags,
                granule=page.granule,
                serial=page.serial,
                payload=start + page.payload,
                end=start + page.end,
            )
        position = tail.rfind(b"OggS", 0, position)
    return None


def _seconds(identification: bytes, granule: int) -> float | None:
    """The time that a granule means for the codec with this identification header."""
    if granule < 0:
        return None
    if identification.startswith(b"OpusHead"):
        skipped = int.from_bytes(identification[10:12], "little")  # the encoder's start-up
        return max(0, granule - skipped) / OPUS_RATE
    at = {b"\x01vorbi": 12, b"Speex ": 36}.get(identification[:6])
    rate = int.from_bytes(identification[at : at + 4], "little") if at else 0
    return granule / rate if rate else None
