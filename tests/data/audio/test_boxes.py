"""Lengths of boxes and frames, followed to the end of the file."""

import struct
from pathlib import Path

import av
import pytest

from asr.data.audio.boxes import boxes_are_cut
from asr.data.audio.format import container_of
from asr.data.audio.source import AudioLimits, open_source
from tests.data.audio.sounds import example, made_by_ffmpeg, saved


def cut(folder: Path, data: bytes) -> bool:
    with open_source(saved(folder, data), AudioLimits()) as source:
        return boxes_are_cut(source, container_of(source))


def sound(name: str) -> bytes:
    if name != "AMR":
        return example(name)
    if "libopencore_amrnb" not in av.codecs_available:
        pytest.skip("this FFmpeg has no encoder for AMR")
    return made_by_ffmpeg("amr", "libopencore_amrnb", rate=8000)


@pytest.mark.parametrize("name", ["M4A", "fragmented MP4", "Matroska", "WMA", "CAF", "AAC", "AMR"])
def test_a_whole_file_is_not_cut_and_a_cut_one_is(tmp_path: Path, name: str) -> None:
    data = sound(name)
    assert not cut(tmp_path, data)
    unnoticed = [lost for lost in range(1, 800, 7) if not cut(tmp_path, data[:-lost])]
    # Frames and boxes may end where the cut is: frames of AAC and AMR do so now and then.
    assert len(unnoticed) <= {"AAC": 3, "AMR": 12, "M4A": 1}.get(name, 0), unnoticed


@pytest.mark.parametrize("name", ["MP2", "FLAC in OGG"])
def test_other_containers_are_not_made_of_boxes(tmp_path: Path, name: str) -> None:
    assert not cut(tmp_path, example(name)[:2000])


def box(kind: bytes, content: bytes, *, length: int | None = None) -> bytes:
    return struct.pack(">I4s", len(content) + 8 if length is None else length, kind) + content


def test_lengths_of_mp4(tmp_path: Path) -> None:
    start = box(b"ftyp", b"M4A \0\0\0\0")
    assert not cut(tmp_path, start + box(b"mdat", bytes(50)))
    assert not cut(tmp_path, start + box(b"mdat", bytes(50), length=0))  # up to the end
    assert cut(tmp_path, start + box(b"mdat", bytes(50), length=59))
    large = struct.pack(">I4sQ", 1, b"mdat", 66) + bytes(50)
    assert not cut(tmp_path, start + large)
    assert cut(tmp_path, start + large[:-1])
    assert cut(tmp_path, start + b"\0\0\0")
    assert cut(tmp_path, start + struct.pack(">I4sQ", 1, b"mdat", 2**64 - 1))


def test_lengths_of_matroska(tmp_path: Path) -> None:
    start = b"\x1a\x45\xdf\xa3\x83abc"
    segment = b"\x18\x53\x80\x67"
    assert not cut(tmp_path, start + segment + b"\x85" + bytes(5))
    assert cut(tmp_path, start + segment + b"\x86" + bytes(5))
    assert not cut(tmp_path, start + segment + b"\xff" + bytes(5))  # all ones: written live
    assert not cut(tmp_path, start + segment + b"\x01" + b"\xff" * 7 + bytes(5))
    assert cut(tmp_path, start + segment + b"\x01" + bytes(6) + b"\x06" + bytes(5))
    assert not cut(tmp_path, start + b"junk that is no element")


def test_an_endless_caf_is_not_cut(tmp_path: Path) -> None:
    start = b"caff\0\1\0\0" + b"desc" + struct.pack(">q", 4) + bytes(4)
    assert not cut(tmp_path, start + b"data" + struct.pack(">q", -1) + bytes(50))
    assert not cut(tmp_path, start + b"data" + struct.pack(">q", 50) + bytes(50))
    assert cut(tmp_path, start + b"data" + struct.pack(">q", 51) + bytes(50))


def test_lengths_of_amr_wide_band(tmp_path: Path) -> None:
    frames = b"\x04" + bytes(17) + b"\x7c" + b"\x4c" + bytes(5)  # 6.6 kbit/s, nothing, noise
    assert not cut(tmp_path, b"#!AMR-WB\n" + frames)
    assert cut(tmp_path, b"#!AMR-WB\n" + frames[:-1])


def test_a_forged_chain_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asr.data.audio.boxes.MAX_BOXES", 3)
    data = box(b"ftyp", b"M4A \0\0\0\0") + box(b"free", b"") * 5 + box(b"mdat", b"", length=99)
    assert not cut(tmp_path, data)
    monkeypatch.setattr("asr.data.audio.boxes.MAX_BOXES", 10)
    assert cut(tmp_path, data)
