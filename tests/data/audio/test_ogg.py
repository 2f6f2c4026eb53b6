"""The first and the last page of OGG files."""

import struct
from pathlib import Path

import numpy as np
import pytest

from asr.data.audio import read_audio
from asr.data.audio.ogg import ogg_header
from asr.data.audio.source import AudioLimits, Header, open_source
from tests.data.audio.sounds import LONG, LOSSY, RATE, example, made, made_by_ffmpeg, saved, voice


def header(folder: Path, data: bytes) -> Header:
    with open_source(saved(folder, data), AudioLimits()) as source:
        return ogg_header(source)


def page(content: bytes, *, flags: int = 0, granule: int = 0, serial: int = 7) -> bytes:
    """A page without a valid checksum, which `ogg_header` does not look at."""
    fields = struct.pack("<4sBBqIIIB", b"OggS", 0, flags, granule, serial, 0, 0, 1)
    return fields + bytes([len(content)]) + content


@pytest.mark.parametrize("name", ["Vorbis", "Opus"])
def test_a_complete_file(tmp_path: Path, name: str) -> None:
    found = header(tmp_path, example(name))
    assert found.seconds == pytest.approx(1.0, abs=1e-4)
    assert (found.decoder, found.cut) == ("soundfile", False)


@pytest.mark.parametrize(
    ("identification", "granule", "seconds"),
    [
        (b"\x01vorbis\0\0\0\0\x01" + struct.pack("<I", 44_100) + bytes(14), 22_050, 0.5),
        (b"OpusHead\x01\x01" + struct.pack("<HI", 312, 16_000) + bytes(3), 48_312, 1.0),
        (b"OpusHead\x01\x01" + struct.pack("<HI", 312, 16_000) + bytes(3), 100, 0.0),
        (b"Speex   1.2".ljust(36, b"\0") + struct.pack("<I", 8000) + bytes(40), 12_000, 1.5),
        (b"\x7fFLAC\x01\x00", 16_000, None),
        (b"\x01vorbis\0\0\0\0\x01" + bytes(18), 22_050, None),
        (b"OpusHead\x01\x01" + bytes(9), -1, None),
    ],
)
def test_positions_become_seconds(
    tmp_path: Path, identification: bytes, granule: int, seconds: float | None
) -> None:
    data = page(identification, flags=2) + page(b"x" * 50, flags=4, granule=granule)
    assert header(tmp_path, data).seconds == seconds


def test_an_end_mark_is_needed_with_all_of_its_page(tmp_path: Path) -> None:
    first = page(b"OpusHead\x01\x01" + bytes(9), flags=2)
    last = page(b"x" * 50, flags=4, granule=48_000)
    assert not header(tmp_path, first + last).cut
    assert header(tmp_path, first + page(b"x" * 50, granule=48_000)).cut
    for lost in (1, 49, 60, 77):
        assert header(tmp_path, first + last[:-lost]).cut
    assert header(tmp_path, first[:20]).cut
    assert not header(tmp_path, first + last + b"OggS\xff junk that looks like a page").cut


def test_streams_one_after_another_are_all_read(tmp_path: Path) -> None:
    """What a recorder appends, and what `cat` makes of two files."""
    second = bytearray(made_by_ffmpeg("ogg", "flac", seconds=2.0))
    data = made_by_ffmpeg("ogg", "flac") + bytes(second)
    audio = read_audio(saved(tmp_path, data), sample_rate=RATE)
    assert audio.duration == pytest.approx(3.0, abs=0.1)
    assert not audio.truncated


def test_a_lost_page_is_noticed(tmp_path: Path) -> None:
    for name in ("Vorbis", "Opus"):
        data = bytearray(made(*LOSSY[name], samples=np.tile(LONG, 3)))
        pages = [place for place in range(len(data)) if data[place : place + 4] == b"OggS"]
        assert len(pages) > 4
        data[pages[-2] + 40] ^= 1  # its checksum is wrong now: decoders leave it out
        audio = read_audio(saved(tmp_path, bytes(data)), sample_rate=RATE)
        assert audio.truncated
        assert audio.declared_seconds == pytest.approx(9.0, abs=0.01)
        assert 5.0 < audio.duration < 9.0


def test_cut_files_begin_like_the_whole(tmp_path: Path) -> None:
    data = made("OGG", "VORBIS", np.tile(LONG, 2))
    whole = read_audio(saved(tmp_path, data), sample_rate=RATE).waveform
    cut = read_audio(saved(tmp_path, data[: len(data) * 2 // 3]), sample_rate=RATE)
    assert len(cut.waveform) > RATE
    np.testing.assert_allclose(cut.waveform, whole[: len(cut.waveform)], atol=1e-4)
    assert cut.declared_seconds is None
    assert np.abs(voice()).max() < 1


def test_a_page_mark_inside_the_sound_is_passed_over(tmp_path: Path) -> None:
    first = page(b"OpusHead\x01\x01" + bytes(9), flags=2)
    last = page(b"xx OggS\xff no page header, only its mark" + bytes(60), flags=4, granule=48_000)
    found = header(tmp_path, first + last)
    assert (found.cut, found.seconds) == (False, 1.0)
