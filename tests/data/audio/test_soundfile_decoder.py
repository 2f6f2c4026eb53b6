"""What libsndfile does with damaged, forged and endless files."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from asr.data.audio import audio_info, read_audio
from asr.errors import AudioError
from tests.data.audio.sounds import EXACT_LONG, LONG, RATE, made, saved


@pytest.mark.parametrize("position", [0.1, 0.3, 0.5, 0.77, 0.98])
def test_of_a_damaged_flac_the_blocks_before_are_kept(tmp_path: Path, position: float) -> None:
    data = bytearray(made("FLAC", "PCM_16", LONG))
    data[int(len(data) * position)] ^= 0x10
    audio = read_audio(saved(tmp_path, bytes(data)), sample_rate=RATE)
    assert audio.truncated
    kept = len(audio.waveform)
    np.testing.assert_array_equal(audio.waveform, EXACT_LONG[:kept])
    assert kept >= len(LONG) * position - 2 * 4096
    assert audio.declared_seconds == 3.0


def test_pieces_around_a_damage(tmp_path: Path) -> None:
    data = bytearray(made("FLAC", "PCM_16", LONG))
    data[len(data) // 2] ^= 0x10
    path = saved(tmp_path, bytes(data))
    before = read_audio(path, sample_rate=RATE, offset=0.5, duration=0.5)
    np.testing.assert_array_equal(before.waveform, EXACT_LONG[8000:16_000])
    assert not before.truncated
    across = read_audio(path, sample_rate=RATE, offset=1.0, duration=1.0)
    assert across.truncated
    assert 0 < across.duration < 1.0
    assert across.declared_seconds == 1.0


def test_a_flac_damaged_in_its_first_block_is_refused(tmp_path: Path) -> None:
    data = bytearray(made("FLAC", "PCM_16", LONG))
    data[1000] ^= 0x10
    with pytest.raises(AudioError, match="is damaged from its beginning"):
        read_audio(saved(tmp_path, bytes(data)), sample_rate=RATE)


def test_a_piece_beyond_a_cut_is_refused(tmp_path: Path) -> None:
    for format in ("WAV", "FLAC"):
        data = made(format, "PCM_16", LONG)
        path = saved(tmp_path, data[: len(data) // 2])
        message = r"begins at 2.9 s, but the (sound ends|file is damaged) at 1\.\d"
        with pytest.raises(AudioError, match=message):
            read_audio(path, sample_rate=RATE, offset=2.9)


def test_a_flac_that_declares_no_length_is_read_to_the_end(tmp_path: Path) -> None:
    data = bytearray(made("FLAC", "PCM_16", LONG))
    data[21] &= 0xF0
    data[22:26] = bytes(4)  # STREAMINFO: 0 samples means unknown
    path = saved(tmp_path, bytes(data))
    audio = read_audio(path, sample_rate=RATE)
    np.testing.assert_array_equal(audio.waveform, EXACT_LONG)
    assert (audio.truncated, audio.declared_seconds) == (False, None)
    assert audio_info(path).duration == 3.0
    tail = read_audio(path, sample_rate=RATE, offset=2.999)
    np.testing.assert_array_equal(tail.waveform, audio.waveform[-16:])


def forged_flac() -> bytes:
    """A header that declares 2^36 - 1 samples, the greatest number."""
    data = bytearray(made("FLAC", "PCM_16", LONG))
    data[21] |= 0x0F
    data[22:26] = b"\xff" * 4
    return bytes(data)


def test_a_forged_length_is_refused_by_the_limit(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"is longer than 24 h; read it in pieces \[TOO_LONG\]"):
        read_audio(saved(tmp_path, forged_flac()), sample_rate=RATE)


def test_a_forged_length_is_not_allocated(tmp_path: Path) -> None:
    """Without the limit: read in blocks, in a process that may not have 1.5 GB."""
    path = saved(tmp_path, forged_flac())
    program = (
        "import resource, sys, math; from pathlib import Path\n"
        "from asr.data.audio import AudioLimits, read_audio\n"
        "resource.setrlimit(resource.RLIMIT_AS, (3 << 29, 3 << 29))\n"
        "limits = AudioLimits(max_seconds=math.inf)\n"
        "audio = read_audio(Path(sys.argv[1]), sample_rate=16000, limits=limits)\n"
        "print(len(audio.waveform), audio.truncated)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)],
        capture_output=True, text=True, check=False, env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("48000 True\n", "")


def test_information_of_a_long_file_is_given(tmp_path: Path) -> None:
    info = audio_info(saved(tmp_path, forged_flac()))
    assert info.duration == pytest.approx((2**36 - 1) / RATE)


@pytest.mark.parametrize(("format", "subtype"), [("OGG", "VORBIS"), ("OGG", "OPUS")])
def test_pieces_near_the_end_of_an_ogg_are_in_their_place(
    tmp_path: Path, format: str, subtype: str
) -> None:
    path = saved(tmp_path, made(format, subtype, LONG))
    whole = read_audio(path, sample_rate=RATE).waveform
    for start in range(30_000, 48_000, 700):
        piece = read_audio(path, sample_rate=RATE, offset=start / RATE, duration=0.02).waveform
        np.testing.assert_allclose(piece, whole[start : start + 320], atol=1e-3)


@pytest.mark.parametrize("seed", range(40))
def test_whatever_is_damaged_in_a_flac_what_is_read_is_right(tmp_path: Path, seed: int) -> None:
    generator = np.random.default_rng(seed)
    data = bytearray(made("FLAC", "PCM_16", LONG))
    first = data.index(b"\xff\xf8")
    for _ in range(generator.integers(1, 4)):
        data[generator.integers(first, len(data))] ^= int(generator.integers(1, 256))
    path = saved(tmp_path, bytes(data))
    for offset, duration in [(0.0, None), (0.7, None), (1.1, 0.5)]:
        start = round(offset * RATE)
        try:
            audio = read_audio(path, sample_rate=RATE, offset=offset, duration=duration)
        except AudioError as error:
            found, message = 0, str(error)
        else:
            found, message = len(audio.waveform), str(audio.warnings)
            np.testing.assert_array_equal(audio.waveform, EXACT_LONG[start : start + found])
            assert audio.truncated == ("damaged" in message)
        assert "damaged" in message or found == (len(LONG) - start if duration is None else 8000)


def test_blocks_of_a_long_file_join_without_a_seam(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asr.data.audio.soundfile_decoder.BLOCK_SAMPLES", 1000)
    for format, subtype in [("WAV", "PCM_16"), ("FLAC", "PCM_16")]:
        path = saved(tmp_path, made(format, subtype, LONG))
        np.testing.assert_array_equal(read_audio(path, sample_rate=RATE).waveform, EXACT_LONG)
        tail = read_audio(path, sample_rate=RATE, offset=1.0).waveform
        np.testing.assert_array_equal(tail, EXACT_LONG[RATE:])
    data = bytearray(made("FLAC", "PCM_16", LONG))
    data[len(data) // 2] ^= 0x10
    audio = read_audio(saved(tmp_path, bytes(data)), sample_rate=RATE)
    assert audio.truncated
    assert len(audio.waveform) > 15_000
    np.testing.assert_array_equal(audio.waveform, EXACT_LONG[: len(audio.waveform)])


def test_a_flac_behind_a_tag_is_read(tmp_path: Path) -> None:
    tag = b"ID3\x04\x00\x00\x00\x00\x00\x20" + bytes(32)
    path = saved(tmp_path, tag + made("FLAC", "PCM_16", LONG))
    np.testing.assert_array_equal(read_audio(path, sample_rate=RATE).waveform, EXACT_LONG)
    assert audio_info(path).format == "FLAC"
