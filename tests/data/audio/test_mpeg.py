"""Frames of MP3 by the tables of the standard, and what the first and the last one tell."""

from pathlib import Path

import av
import numpy as np
import pytest

from asr.data.audio import audio_info, read_audio
from asr.data.audio.mpeg import first_frame, frame_at, id3_bytes, mpeg_header
from asr.data.audio.source import AudioLimits, open_source
from tests.data.audio.sounds import (
    LOSSY,
    RATE,
    example,
    integers,
    made,
    made_by_ffmpeg,
    saved,
    voice,
)


@pytest.mark.parametrize(
    ("head", "num_bytes", "num_samples", "rate"),
    [
        ("fffb9064", 417, 1152, 44_100),  # MPEG 1 layer III, 128 kbit/s: 144 · 128000 / 44100
        ("fffb9264", 418, 1152, 44_100),  # the same with a byte of padding
        ("fffb5000", 208, 1152, 44_100),  # 64 kbit/s: 208.98 cut to 208
        ("fff348c4", 144, 576, 16_000),  # MPEG 2 layer III, 32 kbit/s: 72 · 32000 / 16000
        ("fff388c4", 288, 576, 16_000),  # 64 kbit/s
        ("ffe318c4", 72, 576, 8_000),  # MPEG 2.5, 8 kbit/s
        ("fffda404", 576, 1152, 48_000),  # MPEG 1 layer II, 192 kbit/s: 144 · 192000 / 48000
        ("ffff1404", 32, 384, 48_000),  # MPEG 1 layer I, 32 kbit/s: 12 · 32000 / 48000 · 4
    ],
)
def test_frame_headers(head: str, num_bytes: int, num_samples: int, rate: int) -> None:
    frame = frame_at(bytes.fromhex(head), 0)
    assert frame is not None
    assert (frame.num_bytes, frame.num_samples, frame.kind[2]) == (num_bytes, num_samples, rate)


@pytest.mark.parametrize(
    "head", ["fffb0064", "fffbf064", "fffb9c64", "ffeb9064", "fff99064", "7ffb9064", "fffb90"]
)
def test_what_is_no_frame_header(head: str) -> None:
    """Free and forbidden bit rate, forbidden rate, version and layer, no sync, too short."""
    assert frame_at(bytes.fromhex(head), 0) is None


def test_a_chain_of_frames_is_found_behind_junk() -> None:
    data = made_by_ffmpeg("mp2", "mp2")
    assert first_frame(data) == 0
    assert first_frame(b"\xff\xfb\x90\x64 junk" + data) == 9
    assert first_frame(np.random.default_rng(0).bytes(8192)) is None
    assert first_frame(data[:300]) == 0  # a single frame, cut


def test_a_chain_keeps_to_one_kind_of_frame() -> None:
    """Three headers in a row that contradict one another are chance, not sound."""
    stereo = bytes.fromhex("fffb9064") + bytes(413)  # 44.1 kHz
    other = bytes.fromhex("fffb9464") + bytes(380)  # 48 kHz
    assert first_frame(stereo * 3 + bytes(9000)) == 0
    assert first_frame(stereo + other + stereo + bytes(9000)) is None


def test_tags_in_front_are_skipped(tmp_path: Path) -> None:
    tag = b"ID3\x04\x00\x00\x00\x00\x02\x00" + bytes(256)
    with_footer = b"ID3\x04\x00\x10\x00\x00\x00\x05" + bytes(15)
    data = tag + with_footer + example("MP3")
    path = saved(tmp_path, data)
    with open_source(path, AudioLimits()) as source:
        assert id3_bytes(source) == len(tag) + len(with_footer)
    whole = read_audio(saved(tmp_path, example("MP3"), "plain"), sample_rate=RATE)
    np.testing.assert_array_equal(read_audio(path, sample_rate=RATE).waveform, whole.waveform)


@pytest.mark.parametrize(
    "data",
    [
        made(*LOSSY["MP3"], samples=integers(voice(2.0))),
        made(*LOSSY["MP3"], samples=integers(voice(2.0, 44_100)), rate=44_100),
        made_by_ffmpeg("mp3", "libmp3lame", seconds=2.0),
    ],
    ids=["LAME", "LAME 44.1 kHz", "FFmpeg"],
)
def test_the_declared_length_is_exact(tmp_path: Path, data: bytes) -> None:
    audio = read_audio(saved(tmp_path, data), sample_rate=RATE)
    assert audio.declared_seconds == pytest.approx(audio.duration, abs=1e-9)
    assert audio.duration == 2.0


def test_frame_counts_of_other_encoders(tmp_path: Path) -> None:
    """`Xing` without LAME's part declares whole frames; `VBRI` stands at its own place."""
    frame = bytearray(bytes.fromhex("fffb9064") + bytes(413))
    cases = [
        (b"Xing", 1, 7),
        (b"Info", 1, 7),
        (b"VBRI", 1, 9),
        (b"Xing", 0, None),
        (b"no", 1, None),
    ]
    for mark, flags, expected in cases:
        first = bytearray(frame)
        first[36:40] = mark.ljust(4)
        first[40:48] = bytes([0, 0, 0, flags, 0, 0, 0, 7])
        first[50:54] = b"\0\0\0\x09"
        with open_source(saved(tmp_path, bytes(first) + bytes(frame) * 4), AudioLimits()) as source:
            seconds = mpeg_header(source).seconds
        assert seconds == (None if expected is None else expected * 1152 / 44_100)


def test_tags_behind_the_last_frame_are_no_cut(tmp_path: Path) -> None:
    data = example("MP3")
    for tail in (b"TAG" + b"x" * 125, b"APETAGEX" + bytes(24), bytes(1000), b"LYRICSBEGIN"):
        audio = read_audio(saved(tmp_path, data + tail), sample_rate=RATE)
        assert not audio.truncated
        assert audio.duration == pytest.approx(1.0, abs=0.05)


def test_a_cut_last_frame_is_noticed_without_a_declared_length(tmp_path: Path) -> None:
    data = made_by_ffmpeg("mp2", "mp2", seconds=2.0)
    frame = frame_at(data, 0)
    assert frame is not None
    for lost in range(1, frame.num_bytes):
        with open_source(saved(tmp_path, data[:-lost]), AudioLimits()) as source:
            assert mpeg_header(source).cut, lost
    with open_source(saved(tmp_path, data[: -frame.num_bytes]), AudioLimits()) as source:
        assert not mpeg_header(source).cut  # exactly between two frames: nothing tells


def test_information_counts_frames_where_nothing_is_declared(tmp_path: Path) -> None:
    path = saved(tmp_path, made_by_ffmpeg("mp2", "mp2", seconds=2.0))
    assert audio_info(path).duration == pytest.approx(2.0, abs=0.1)
    with av.open(str(path)) as container:
        decoded = sum(frame.samples for frame in container.decode(audio=0))
    assert audio_info(path).duration == decoded / RATE
