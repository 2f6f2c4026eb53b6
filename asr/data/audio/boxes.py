"""Files made of boxes or frames one after another: is the last one cut?

Each box of MP4, Matroska, ASF and CAF, and each frame of AAC and AMR, begins with its own length.
A decoder reads a cut file without a word to where it ends; following the lengths shows that the
last box would have gone on. (VOC is left out: what sox writes there is beyond the end.)
"""

from collections.abc import Callable

from asr.data.audio.source import Source

MAX_BOXES = 1_000_000  # an AMR file of 5 hours; about a second to follow
_AMR_FRAME_BYTES = {  # behind the byte that names the type; types without a size are empty
    b"#!AMR\n": (12, 13, 15, 17, 19, 20, 26, 31, 5),
    b"#!AMR-WB\n": (17, 23, 32, 36, 40, 46, 50, 58, 60, 5),
}


def boxes_are_cut(source: Source, container: str) -> bool:
    """Whether the file ends inside a box; False for a container that is not made of boxes."""
    match container:
        case "MP4":
            return _chain_is_cut(source, 0, 8, _mp4_box)
        case "Matroska":
            return _chain_is_cut(source, 0, 5, _matroska_element)
        case "ASF":
            return _chain_is_cut(source, 0, 24, _asf_object)
        case "CAF":
            return _chain_is_cut(source, 8, 12, _caf_chunk)
        case "AAC":
            return _chain_is_cut(source, 0, 7, _adts_frame)
        case "AMR":
            magic = b"#!AMR-WB\n" if source.read_at(5, 1) == b"-" else b"#!AMR\n"
            sizes = _AMR_FRAME_BYTES[magic]
            return _chain_is_cut(source, len(magic), 1, lambda head: _amr_frame(head, sizes))
        case _:
            return False


def _chain_is_cut(
    source: Source, position: int, header_bytes: int, box_bytes: Callable[[bytes], int]
) -> bool:
    """Follow the boxes from `position`; `box_bytes` gives a length from a header, 0 for "open"."""
    for _ in range(MAX_BOXES):
        head = source.read_at(position, 24)
        if not head:
            return False
        if len(head) < header_bytes:
            return True
        length = box_bytes(head.ljust(24, b"\0"))
        if length <= 0:
            return False
        position += length
        if position > source.size:
            return True
    return False


def _mp4_box(head: bytes) -> int:
    length = int.from_bytes(head[:4], "big")
    return int.from_bytes(head[8:16], "big") if length == 1 else length


def _matroska_element(head: bytes) -> int:
    """The EBML header or the segment: an id of 4 bytes, a length whose first byte tells its own."""
    if head[0] >> 4 != 1:
        return 0
    num_bytes = 9 - head[4].bit_length()
    value = int.from_bytes(head[4 : 4 + num_bytes], "big") & ~(1 << 7 * num_bytes)
    unknown = value == (1 << 7 * num_bytes) - 1  # written live
    return 0 if unknown or num_bytes > 8 else 4 + num_bytes + value


def _asf_object(head: bytes) -> int:
    return int.from_bytes(head[16:24], "little")


def _caf_chunk(head: bytes) -> int:
    length = int.from_bytes(head[4:12], "big", signed=True)
    return 12 + length if length >= 0 else 0


def _adts_frame(head: bytes) -> int:
    if head[0] != 0xFF or head[1] & 0xF6 != 0xF0:
        return 0
    return (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5


def _amr_frame(head: bytes, sizes: tuple[int, ...]) -> int:
    kind = head[0] >> 3 & 15
    return 1 + (sizes[kind] if kind < len(sizes) else 0)
