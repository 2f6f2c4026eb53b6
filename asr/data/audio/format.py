"""Which sound format a file is in: its content decides, its extension never."""

import re
from pathlib import Path
from typing import Literal

from asr.data.audio.boxes import boxes_are_cut
from asr.data.audio.mpeg import HEAD_BYTES, first_frame, id3_bytes, mpeg_header
from asr.data.audio.ogg import ogg_header
from asr.data.audio.pcm import aiff_header, au_header, sphere_header, w64_header, wave_header
from asr.data.audio.source import Header, Source

Container = Literal[
    "WAV", "W64", "FLAC", "OGG", "MP3", "AIFF", "AU", "SPHERE", "VOC",
    "CAF", "MP4", "Matroska", "ASF", "AMR", "AAC",
]  # fmt: skip

ACCEPTED = (
    "WAV, FLAC, OGG (Vorbis, Opus, Speex), MP3, M4A/MP4, WebM/Matroska, WMA, AAC, AMR, AIFF, AU, "
    "SPHERE, W64, CAF and VOC"
)

# Bytes at position 0 and, where that is not enough, at a second position.
_MAGIC: tuple[tuple[bytes, int, bytes, Container], ...] = (
    (b"RIFF", 8, b"WAVE", "WAV"),
    (b"RIFX", 8, b"WAVE", "WAV"),
    (b"RF64", 8, b"WAVE", "WAV"),
    (b"riff.\x91\xcf\x11", 24, b"wave\xf3\xac\xd3\x11", "W64"),
    (b"fLaC", 0, b"", "FLAC"),
    (b"OggS", 0, b"", "OGG"),
    (b"FORM", 8, b"AIFF", "AIFF"),
    (b"FORM", 8, b"AIFC", "AIFF"),
    (b".snd", 0, b"", "AU"),
    (b"dns.", 0, b"", "AU"),
    (b"NIST_1A\n", 0, b"", "SPHERE"),
    (b"Creative Voice File\x1a", 0, b"", "VOC"),
    (b"caff", 0, b"", "CAF"),
    (b"", 4, b"ftyp", "MP4"),
    (b"", 4, b"moov", "MP4"),
    (b"", 4, b"mdat", "MP4"),
    (b"", 4, b"wide", "MP4"),
    (b"\x1a\x45\xdf\xa3", 0, b"", "Matroska"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", 0, b"", "ASF"),
    (b"#!AMR\n", 0, b"", "AMR"),
    (b"#!AMR-WB\n", 0, b"", "AMR"),
)

# Extensions that promise a format. Others (.dat, .audio, none) promise nothing.
_EXTENSIONS: dict[Container, str] = {
    "WAV": ".wav .wave .rf64 .bwf",
    "W64": ".w64",
    "FLAC": ".flac",
    "OGG": ".ogg .oga .opus .spx",
    "MP3": ".mp3 .mp2 .mp1 .mpga",
    "AIFF": ".aiff .aif .aifc",
    "AU": ".au .snd",
    "SPHERE": ".sph .wv1 .wv2 .nist .wav",  # TIMIT and AN4 call theirs .wav or .sph
    "VOC": ".voc",
    "CAF": ".caf",
    "MP4": ".m4a .mp4 .m4b .mov .3gp .3g2 .m4v .aac",
    "Matroska": ".mkv .mka .webm",
    "ASF": ".wma .asf .wmv",
    "AMR": ".amr .awb",
    "AAC": ".aac .adts",
}

_PLAYLIST = re.compile(
    rb"\s*(#EXTM3U|\[playlist\]|<asx|<smil|ffconcat|<\?xml[^>]*>\s*<playlist)", re.I
)
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f]")


def container_of(source: Source) -> Container:
    """The format of a file after its first bytes (for MP3: after its first frames).

    Raises:
        AudioError: BAD_AUDIO for text; BAD_FORMAT for a playlist, samples without a header, or
            any other content outside the list of formats that are read.
    """
    head = source.read_at(0, HEAD_BYTES)
    for start, position, further, container in _MAGIC:
        if head.startswith(start) and head.startswith(further, position):
            return container
    if _PLAYLIST.match(head):
        reason = "is a playlist: it names sound files and holds none; give those files"
        raise source.error(reason, "BAD_FORMAT")
    if _is_text(head):
        raise source.error("is text, not sound")
    return _of_frames(source, head)


def header_of(source: Source, container: Container) -> Header:
    """What the header of the file declares, and which library decodes it.

    Raises:
        AudioError: BAD_FORMAT, a codec inside the container that is not read.
    """
    readers = {
        "WAV": wave_header,
        "W64": w64_header,
        "AIFF": aiff_header,
        "AU": au_header,
        "SPHERE": sphere_header,
        "OGG": ogg_header,
        "MP3": mpeg_header,
    }
    if reader := readers.get(container):
        return reader(source)
    decoder: Literal["soundfile", "pyav"] = "soundfile" if container in ("FLAC", "VOC") else "pyav"
    return Header(decoder=decoder, cut=boxes_are_cut(source, container))


def wrong_extension(name: str | Path, container: Container) -> str | None:
    """A warning when the extension promises another format than the content has."""
    suffix = Path(name).suffix.lower()
    promised = [other for other, suffixes in _EXTENSIONS.items() if suffix in suffixes.split()]
    if not promised or container in promised:
        return None
    return f"the name ends in {suffix} but the content is {container}; read as {container}"


def _of_frames(source: Source, head: bytes) -> Container:
    """MP3, AAC or FLAC behind an ID3 tag, or without anything in front."""
    tag_bytes = id3_bytes(source)
    frames = source.read_at(tag_bytes, HEAD_BYTES) if tag_bytes else head
    if tag_bytes and frames.startswith(b"fLaC"):
        return "FLAC"
    if _is_adts(frames):
        return "AAC"
    if first_frame(frames) is not None or (tag_bytes and not frames):
        return "MP3"
    reason = (
        "has no header of a format that is read (samples without a header?); convert it to WAV "
        f"or another of {ACCEPTED}"
    )
    raise source.error(reason, "BAD_FORMAT")


def _is_adts(data: bytes) -> bool:
    """Whether two frames of AAC in its own framing follow one another, or one fills the file."""
    position = 0
    for _ in range(2):
        head = data[position : position + 7]
        if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0:
            return False
        position += (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
        if position >= len(data):
            return True
    return True


def _is_text(head: bytes) -> bool:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return True  # the byte order mark of UTF-16
    if _CONTROL.search(head):
        return False
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:  # the end of the head may cut a character
        return error.start >= len(head) - 3 and error.reason == "unexpected end of data"
    return True
