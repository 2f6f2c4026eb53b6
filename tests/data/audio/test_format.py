"""The content decides the format; what holds no sound is refused with a reason."""

import contextlib
import io
import itertools
import random
import time
from pathlib import Path

import numpy as np
import pytest

from asr.data.audio import audio_info, read_audio
from asr.data.audio.format import container_of, wrong_extension
from asr.data.audio.source import AudioLimits, open_source
from asr.errors import AudioError
from tests.data.audio.sounds import BY_FFMPEG, LOSSY, PLAIN, RATE, SAMPLES, example, saved


@pytest.mark.parametrize(
    ("data", "message", "code"),
    [
        (b"", "is empty", "BAD_AUDIO"),
        (b"hello, world\n", "is text, not sound", "BAD_AUDIO"),
        ("żółć".encode() * 3000, "is text, not sound", "BAD_AUDIO"),
        ("text".encode("utf-16"), "is text, not sound", "BAD_AUDIO"),
        (b"<!DOCTYPE html><title>404</title>", "is text, not sound", "BAD_AUDIO"),
        (b"#EXTM3U\nhttp://example.com/a.ts\n", "is a playlist", "BAD_FORMAT"),
        (b"[playlist]\nFile1=/etc/passwd\n", "is a playlist", "BAD_FORMAT"),
        (b"ffconcat version 1.0\nfile x.wav\n", "is a playlist", "BAD_FORMAT"),
        (b"\xf0\x7e\x00\x01" + bytes(200), "has no header of a format that is read", "BAD_FORMAT"),
        (SAMPLES.tobytes(), "samples without a header.*WAV, FLAC, OGG", "BAD_FORMAT"),
        (b"RIFF\x00\x00\x00\x00AVI LIST" + bytes(99), "has no header", "BAD_FORMAT"),
        (b"RIFF\x24\x00\x00\x00WAVE", "is damaged, cut off or no sound", "BAD_AUDIO"),
        (b"OggS" + bytes(100), "is damaged, cut off or no sound", "BAD_AUDIO"),
        (b"ID3\x04\0\0\0\0\0\x02ab", "is damaged, cut off or no sound", "BAD_AUDIO"),
        (b"\x1aE\xdf\xa3" + bytes(100), "is damaged, cut off or no sound", "BAD_AUDIO"),
    ],
)
def test_what_holds_no_sound_is_refused(
    tmp_path: Path, data: bytes, message: str, code: str
) -> None:
    path = saved(tmp_path, data, "sound.wav")
    with pytest.raises(AudioError, match=message) as caught:
        read_audio(path, sample_rate=RATE)
    assert caught.value.code == code
    with pytest.raises(AudioError, match=message):
        read_audio(io.BytesIO(data), sample_rate=RATE)


@pytest.mark.parametrize(("name", "shown"), [("FLAC", "FLAC"), ("MP3", "MP3"), ("M4A", "MP4")])
def test_the_content_decides_and_a_wrong_extension_is_said(
    tmp_path: Path, name: str, shown: str
) -> None:
    audio = read_audio(saved(tmp_path, example(name), "speech.WAV"), sample_rate=RATE)
    message = f"the name ends in .wav but the content is {shown}; read as {shown}"
    assert audio.warnings == (message,)
    assert not read_audio(saved(tmp_path, example(name), "speech.dat"), sample_rate=RATE).warnings


@pytest.mark.parametrize(
    ("head", "container"),
    [
        (b"RIFF....WAVE", "WAV"),
        (b"RIFX....WAVE", "WAV"),
        (b"RF64....WAVE", "WAV"),
        (b"fLaC", "FLAC"),
        (b"OggS", "OGG"),
        (b"FORM....AIFC", "AIFF"),
        (b".snd", "AU"),
        (b"NIST_1A\n", "SPHERE"),
        (b"caff", "CAF"),
        (b"\0\0\0\x20ftypM4A ", "MP4"),
        (b"\0\0\0\x08wide", "MP4"),
        (b"\x1aE\xdf\xa3", "Matroska"),
        (b"#!AMR\n", "AMR"),
        (b"#!AMR-WB\n", "AMR"),
        (b"ID3\x04\0\0\0\0\0\x05.....fLaC", "FLAC"),
        (b"\xff\xf1\x50\x80\x01\x7f\xfc" + bytes(4) + b"\xff\xf1\x50\x80\x01\x7f\xfc", "AAC"),
    ],
)
def test_the_first_bytes_name_the_container(tmp_path: Path, head: bytes, container: str) -> None:
    with open_source(saved(tmp_path, head), AudioLimits()) as source:
        assert container_of(source) == container


def test_extensions_that_fit_are_not_mentioned() -> None:
    for name, container in [
        ("a.wav", "WAV"), ("a.WAV", "SPHERE"), ("a.wv1", "SPHERE"), ("a.opus", "OGG"),
        ("a.aac", "MP4"), ("a", "FLAC"), ("a.tmp", "MP3"), (".wav", "MP3"),
    ]:  # fmt: skip
        assert wrong_extension(Path(name), container) is None  # type: ignore[arg-type]
    assert "ends in .sph" in str(wrong_extension("x/y.sph", "WAV"))


def test_a_character_cut_by_the_end_of_the_first_read_is_still_text(tmp_path: Path) -> None:
    for shift in range(4):
        data = b"x" * shift + "€".encode() * 4000
        with pytest.raises(AudioError, match="is text"):
            read_audio(saved(tmp_path, data), sample_rate=RATE)


@pytest.mark.parametrize("seed", range(4))
def test_random_changes_give_sound_or_our_own_error(tmp_path: Path, seed: int) -> None:
    """Bits, bytes and lengths at random places, most of them in the header."""
    generator = random.Random(seed)  # noqa: S311
    for name in [*PLAIN, *LOSSY, *BY_FFMPEG]:
        data = bytearray(example(name)[: generator.choice([2000, 8000, 40_000])])
        for _ in range(generator.choice([1, 3, 10])):
            place = generator.randrange(min(len(data), generator.choice([64, 600, 40_000])))
            data[place : place + generator.choice([0, 1, 4])] = generator.choice(
                [b"\0", b"\xff", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", generator.randbytes(4)]
            )
        path = saved(tmp_path, bytes(data))
        with contextlib.suppress(AudioError):
            audio_info(path)
        with contextlib.suppress(AudioError):
            audio = read_audio(path, sample_rate=RATE, offset=generator.choice([0.0, 0.1]))
            assert np.isfinite(audio.waveform).all()


@pytest.mark.soak
def test_random_changes_for_a_minute(tmp_path: Path) -> None:
    end = time.monotonic() + 60
    for seed in itertools.count(1000):
        test_random_changes_give_sound_or_our_own_error(tmp_path, seed)
        if time.monotonic() > end:
            break
