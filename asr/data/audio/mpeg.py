"""MP3 (and MP1, MP2) as a chain of frames: recognised, measured and checked without decoding.

An MP3 file has no header of its own. Each frame starts with four bytes that give its own length,
so frames form a chain; the first one may be a dummy that carries the number of frames ("Xing" or
"Info", with the encoder's delay and padding in a "LAME" part; "VBRI" from Fraunhofer's encoder).

Reference: ISO/IEC 11172-3 and 13818-3, 2.4.1.3 (frame header).
"""

import struct
from dataclasses import dataclass

from asr.data.audio.source import Header, Source

HEAD_BYTES = 8192  # more than three of the longest frames: enough to be sure of a chain
DECODER_DELAY = 529  # samples by which any decoder is late; cut off at both ends
_TAGS = (b"TAG", b"APETAGEX", b"LYRICSBEGIN", b"ID3")  # what players allow after the last frame

# kbit/s by the four bits of the header, for (MPEG 1?, layer); 0 is "free format", never seen.
_BITRATES = {
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = (44_100, 48_000, 32_000)  # of MPEG 1
_HALVINGS = {3: 0, 2: 1, 0: 2}  # of the rate, by the version bits: MPEG 1, 2, 2.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What the four bytes at the start of a frame say."""

    kind: tuple[int, int, int]  # version bits, layer, sample rate: the same in a whole file
    num_bytes: int
    num_samples: int  # per channel
    side_bytes: int  # layer III: between the header and the data


def frame_at(data: bytes, position: int) -> Frame | None:
    """The frame that starts at `position`, or None when no valid frame header is there."""
    if position + 4 > len(data):
        return None
    (word,) = struct.unpack_from(">I", data, position)
    version, layer = word >> 19 & 3, 4 - (word >> 17 & 3)
    rate_index, bitrate_index = word >> 10 & 3, word >> 12 & 15
    if word >> 21 != 0x7FF or version == 1 or layer == 4 or rate_index == 3:
        return None
    bitrate = (*_BITRATES[version == 3, layer], 0)[bitrate_index] * 1000
    if not bitrate:
        return None
    rate = _RATES[rate_index] >> _HALVINGS[version]
    samples = 384 if layer == 1 else 576 if layer == 3 and version != 3 else 1152
    slot = 4 if layer == 1 else 1
    num_bytes = (samples // 8 * bitrate // (rate * slot) + (word >> 9 & 1)) * slot
    mono = word >> 6 & 3 == 3
    side_bytes = (17 if mono else 32) if version == 3 else (9 if mono else 17)
    return Frame(
        kind=(version, layer, rate),
        num_bytes=num_bytes,
        num_samples=samples,
        side_bytes=side_bytes,
    )


def first_frame(data: bytes, *, links: int = 3) -> int | None:
    """Where a chain of `links` frames begins in `data`, or None.

    A chain that reaches the end of `data` sooner counts when it begins at the very start.
    """
    position = data.find(b"\xff")
    while position >= 0:
        reached, length = _follow(data, position, links)
        if length == links or (length and position == 0 and reached >= len(data)):
            return position
        position = data.find(b"\xff", position + 1)
    return None


def id3_bytes(source: Source, position: int = 0) -> int:
    """The bytes that ID3v2 tags take from `position` on; 0 without one."""
    start = position
    while (head := source.read_at(position, 10))[:3] == b"ID3" and len(head) == 10:
        size = 0
        for byte in head[6:]:
            size = size << 7 | byte & 0x7F
        position += 10 + size + (10 if head[5] & 0x10 else 0)
    return position - start


def mpeg_header(source: Source) -> Header:
    """The declared length of an MP3 file, and whether its last frame is cut off.

    The length is known only when the first frame carries the number of frames; without it, a file
    that was cut exactly between two frames cannot be told from a complete one.
    """
    start = id3_bytes(source)
    data = source.read_at(start, HEAD_BYTES)
    offset = first_frame(data)
    frame = None if offset is None else frame_at(data, offset)
    if offset is None or frame is None:
        return Header(decoder="pyav")
    rate = frame.kind[2]
    samples = _declared_samples(data[offset : offset + frame.num_bytes], frame)
    return Header(
        decoder="pyav",
        seconds=None if samples is None else samples / rate,
        cut=_last_frame_is_cut(source, frame.kind),
        tolerance=0.5 / rate,
    )


def _follow(data: bytes, position: int, links: int) -> tuple[int, int]:
    """Where a chain of frames from `position` leads, and its number of frames, at most `links`."""
    kind, length = None, 0
    while length < links and (frame := frame_at(data, position)):
        if kind not in (None, frame.kind):
            break
        kind = frame.kind
        position += frame.num_bytes
        length += 1
    return position, length


def _declared_samples(data: bytes, frame: Frame) -> int | None:
    """The samples per channel of the whole file after the information in its first frame."""
    if data[36:40] == b"VBRI" and len(data) >= 54:
        return int.from_bytes(data[50:54], "big") * frame.num_samples
    tag = 4 + frame.side_bytes
    if data[tag : tag + 4] not in (b"Xing", b"Info") or len(data) < tag + 12:
        return None
    flags, num_frames = (int.from_bytes(data[tag + at : tag + at + 4], "big") for at in (4, 8))
    if not flags & 1:
        return None
    # Number of frames, of bytes, table of contents, quality: each present if its flag is set.
    encoder = tag + 8 + sum(size for bit, size in enumerate((4, 4, 100, 4)) if flags >> bit & 1)
    samples = num_frames * frame.num_samples
    if data[encoder : encoder + 4] not in (b"LAME", b"Lavf", b"Lavc"):
        return samples
    gaps = int.from_bytes(data[encoder + 21 : encoder + 24], "big")
    delay, padding = gaps >> 12, gaps & 0xFFF
    return max(0, samples - delay - DECODER_DELAY - max(0, padding - DECODER_DELAY))


def _last_frame_is_cut(source: Source, kind: tuple[int, int, int]) -> bool:
    """Whether the chain of frames at the end of the file reaches beyond it."""
    start = max(0, source.size - HEAD_BYTES)
    tail = source.read_at(start, HEAD_BYTES)
    position = tail.find(b"\xff")
    while position >= 0:
        frame = frame_at(tail, position)
        if frame and frame.kind == kind:
            end, length = _follow(tail, position, len(tail))
            if length >= 3 or end > len(tail):
                return length >= 2 and (end > len(tail) or _starts_frame(tail[end:]))
        position = tail.find(b"\xff", position + 1)
    return False


def _starts_frame(rest: bytes) -> bool:
    """Whether what follows the last whole frame is the beginning of a further one, not a tag."""
    return 0 < len(rest) < 4 and rest[0] == 0xFF and not rest.startswith(_TAGS)
