"""What a caller sees of a sound file: the waveform, what is missing in it, and every refusal."""

import contextlib
import csv
import io
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from asr.data.audio import AudioLimits, audio_info, read_audio, write_wav
from asr.errors import AudioError
from tests.data.sounds import (
    BY_FFMPEG,
    LOSSY,
    PLAIN,
    RATE,
    example,
    integers,
    made,
    made_by_ffmpeg,
    saved,
    voice,
    wav_header,
)

SAMPLES = integers(voice())
EXACT = SAMPLES.astype(np.float32) / np.float32(32768)
# Whole seconds over the size of a FLAC block: enough blocks to lose some and keep some.
LONG = integers(voice(3.0))


def cosine(first: np.ndarray, second: np.ndarray) -> float:
    first, second = first.astype(np.float64), second.astype(np.float64)
    return float(first @ second / np.sqrt((first @ first) * (second @ second)))


def spectrum(waveform: np.ndarray) -> np.ndarray:
    """Magnitudes up to 3.6 kHz of frames of 25 ms: blind to a delay of some samples."""
    frames = np.lib.stride_tricks.sliding_window_view(waveform, 400)[::160]
    return np.abs(np.fft.rfft(frames * np.hanning(400)))[:, :90].ravel()


# --- exact samples, the same words from any file -------------------------------------------------


@pytest.mark.parametrize("name", PLAIN)
def test_16_bit_samples_are_exact(tmp_path: Path, name: str) -> None:
    audio = read_audio(saved(tmp_path, example(name)), sample_rate=RATE)
    np.testing.assert_array_equal(audio.waveform, EXACT)
    assert audio.waveform.dtype == np.float32
    assert (audio.sample_rate, audio.duration, audio.declared_seconds) == (RATE, 1.0, 1.0)
    assert not audio.truncated
    assert audio.warnings == ()


def delay(late: np.ndarray, early: np.ndarray) -> int:
    """Samples by which one waveform is behind the other: the peak of their correlation."""
    size = 1 << 16
    product = np.fft.rfft(late, size) * np.conj(np.fft.rfft(early, size))
    return int(np.fft.irfft(product)[:4000].argmax())


@pytest.mark.parametrize("name", [*LOSSY, *BY_FFMPEG])
def test_every_other_format_holds_the_same_sound(tmp_path: Path, name: str) -> None:
    audio = read_audio(saved(tmp_path, example(name)), sample_rate=RATE)
    assert not audio.truncated
    assert audio.warnings == ()
    assert audio.duration == pytest.approx(1.0, abs=0.1)
    late = delay(audio.waveform, EXACT)
    # Without a place to note it (AAC, MP2), a file begins with the start-up of its encoder.
    assert late <= (1024 if name in ("AAC", "fragmented MP4", "MP2") else 0)
    assert cosine(audio.waveform[late : late + 14_000], EXACT[:14_000]) > 0.98


@pytest.mark.parametrize("rate", [8000, 11_025, 22_050, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("format", ["WAV", "FLAC"])
def test_any_rate_gives_the_same_waveform(tmp_path: Path, rate: int, format: str) -> None:
    data = made(format, "PCM_16", integers(voice(1.0, rate)), rate)
    audio = read_audio(saved(tmp_path, data), sample_rate=RATE)
    assert abs(len(audio.waveform) - RATE) <= 1
    assert audio.duration == pytest.approx(1.0, abs=1 / rate)
    inner = slice(400, 15_600)  # the resampler sees silence beyond the ends
    assert cosine(audio.waveform[inner], EXACT[inner]) > 0.9999


def test_float64_is_read_like_integers(tmp_path: Path) -> None:
    data = made("WAV", "DOUBLE", SAMPLES.astype(np.float64) / 32768)
    np.testing.assert_array_equal(
        read_audio(saved(tmp_path, data), sample_rate=RATE).waveform, EXACT
    )


@pytest.mark.parametrize("channels", [2, 3, 8])
def test_of_several_channels_the_mean_is_taken_and_said(tmp_path: Path, channels: int) -> None:
    shares = np.linspace(0.1, 1.0, channels)
    data = made("WAV", "PCM_16", np.round(SAMPLES[:, None] * shares).astype(np.int16))
    audio = read_audio(saved(tmp_path, data), sample_rate=RATE)
    np.testing.assert_allclose(audio.waveform, EXACT * shares.mean(), atol=1 / 32768)
    assert audio.warnings == (f"{channels} channels; their mean is taken",)


def test_channels_of_a_compressed_file_are_mixed_too(tmp_path: Path) -> None:
    for name in ("MP3", "Opus"):
        data = made(*LOSSY[name], samples=np.stack([SAMPLES, SAMPLES // 2], axis=1))
        audio = read_audio(saved(tmp_path, data), sample_rate=RATE)
        assert cosine(audio.waveform, EXACT) > 0.98
        assert audio.waveform.std() == pytest.approx(0.75 * EXACT.std(), rel=0.02)


@pytest.mark.parametrize("name", ["WAV", "MP3", "M4A"])
def test_a_stream_of_bytes_is_read_like_a_file(tmp_path: Path, name: str) -> None:
    from_file = read_audio(saved(tmp_path, example(name)), sample_rate=8000)
    from_stream = read_audio(io.BytesIO(example(name)), sample_rate=8000)
    np.testing.assert_array_equal(from_stream.waveform, from_file.waveform)


# --- pieces --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*PLAIN, *LOSSY, *BY_FFMPEG])
def test_a_piece_is_a_slice_of_the_whole(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path, example(name))
    whole = read_audio(path, sample_rate=audio_info(path).sample_rate)
    for offset, duration in [(0.0, 0.25), (0.3, 0.5), (0.95, 0.02), (0.6, None)]:
        piece = read_audio(path, sample_rate=whole.sample_rate, offset=offset, duration=duration)
        start = round(offset * whole.sample_rate)
        stop = None if duration is None else start + round(duration * whole.sample_rate)
        np.testing.assert_allclose(piece.waveform, whole.waveform[start:stop], atol=1e-3)
        assert not piece.truncated
        assert piece.warnings == ()


@pytest.mark.parametrize("name", ["M4A", "ALAC", "WMA", "AAC", "MP2", "FLAC in OGG"])
def test_far_pieces_are_found_without_decoding_all(tmp_path: Path, name: str) -> None:
    """Beyond the run-up of a second, packets are skipped: the place comes from time stamps."""
    container, codec, options = BY_FFMPEG[name]
    path = saved(tmp_path, made_by_ffmpeg(container, codec, seconds=4.0, **options))
    whole = read_audio(path, sample_rate=RATE).waveform
    piece = read_audio(path, sample_rate=RATE, offset=2.5, duration=1.0).waveform
    np.testing.assert_allclose(piece, whole[40_000:56_000], atol=0.01)


@pytest.mark.parametrize("name", ["WAV", "FLAC", "Opus", "Vorbis", "MP3", "M4A", "Matroska"])
def test_an_offset_beyond_the_end_is_refused(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path, example(name))
    with pytest.raises(AudioError, match=r"the piece begins at 2.5 s, but the sound ends at 1"):
        read_audio(path, sample_rate=RATE, offset=2.5)


def test_a_piece_that_ends_early_is_said(tmp_path: Path) -> None:
    path = saved(tmp_path, example("FLAC"))
    audio = read_audio(path, sample_rate=RATE, offset=0.5, duration=0.75)
    assert (audio.duration, audio.declared_seconds, audio.truncated) == (0.5, 0.5, False)
    assert audio.warnings == ("0.75 s wanted, but the sound ends after 0.50 s",)
    nearly = read_audio(path, sample_rate=RATE, duration=1.0001)
    assert nearly.warnings == ()


def test_a_piece_of_no_length_is_empty(tmp_path: Path) -> None:
    for name in ("FLAC", "M4A"):
        audio = read_audio(saved(tmp_path, example(name)), sample_rate=RATE, offset=0.5, duration=0)
        assert len(audio.waveform) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"offset": -1.0}, "offset must be finite and not negative"),
        ({"offset": float("nan")}, "offset must be finite and not negative"),
        ({"duration": float("inf")}, "duration must be finite and not negative"),
        ({"duration": -0.1}, "duration must be finite and not negative"),
        ({"sample_rate": 0}, "sample_rate must be positive"),
    ],
)
def test_impossible_arguments_are_refused(
    tmp_path: Path, arguments: dict[str, float], message: str
) -> None:
    path = saved(tmp_path, example("WAV"))
    with pytest.raises(ValueError, match=message):
        read_audio(path, **({"sample_rate": RATE} | arguments))  # type: ignore[arg-type]


# --- cut off and damaged -------------------------------------------------------------------------

NOTHING_BEFORE = 13_000  # bytes: a FLAC block of 4096 samples at 24 bits, and a header
CUT = ["WAV", "RF64", "W64", "AIFF", "AU", "SPHERE", "FLAC", "8 bits", "24 bits", "mu-law"]
CUT_LOSSY = ["Vorbis", "Opus", "MP3", "IMA ADPCM", "GSM", "fragmented MP4", "Matroska", "WMA",
             "MP2", "FLAC in OGG", "CAF"]  # fmt: skip


def example_of_3_seconds(name: str) -> bytes:
    if name in BY_FFMPEG:
        container, codec, options = BY_FFMPEG[name]
        return made_by_ffmpeg(container, codec, seconds=3.0, **options)
    return made(*(PLAIN | LOSSY)[name], samples=LONG)


@pytest.mark.parametrize("name", [*CUT, *CUT_LOSSY])
def test_every_cut_is_noticed_and_the_beginning_is_kept(tmp_path: Path, name: str) -> None:
    data = example_of_3_seconds(name)
    whole = read_audio(saved(tmp_path, data), sample_rate=RATE).waveform
    generator = np.random.default_rng(len(data))
    cuts = {1, 30, 41, 43, 44, 45, 100, 13_000, len(data) - 1, len(data) - 30}
    for cut in cuts | set(generator.integers(1, len(data), 20).tolist()):
        path = saved(tmp_path, data[:cut])
        if cut < (NOTHING_BEFORE if name in CUT else len(data) * 0.4):
            with contextlib.suppress(AudioError):  # the beginning may be too short for any sound
                assert read_audio(path, sample_rate=RATE).truncated
            continue
        audio = read_audio(path, sample_rate=RATE)
        assert audio.truncated, f"{name} cut at {cut} of {len(data)}"
        assert "cut off or damaged" in audio.warnings[-1]
        kept = len(audio.waveform)
        assert kept <= len(whole)
        if name in CUT:
            np.testing.assert_array_equal(audio.waveform, whole[:kept])


@pytest.mark.parametrize(("name", "lost"), [("WAV", 1), ("AU", 1), ("FLAC", 4096), ("MP3", 1800)])
def test_a_cut_loses_little(tmp_path: Path, name: str, lost: int) -> None:
    """At most a block of the format, compared with the share of the bytes that are there."""
    format, subtype = (PLAIN | LOSSY)[name]
    data = made(format, subtype, LONG)
    audio = read_audio(saved(tmp_path, data[: len(data) // 2]), sample_rate=RATE)
    assert len(audio.waveform) >= len(LONG) * 0.45 - lost
    assert audio.declared_seconds == pytest.approx(3.0)


@pytest.mark.parametrize("position", [0.1, 0.3, 0.5, 0.77, 0.98])
def test_of_a_damaged_flac_the_blocks_before_are_kept(tmp_path: Path, position: float) -> None:
    data = bytearray(made("FLAC", "PCM_16", LONG))
    data[int(len(data) * position)] ^= 0x10
    audio = read_audio(saved(tmp_path, bytes(data)), sample_rate=RATE)
    assert audio.truncated
    kept = len(audio.waveform)
    np.testing.assert_array_equal(audio.waveform, LONG[:kept].astype(np.float32) / 32768)
    assert kept >= len(LONG) * position - 2 * 4096
    assert audio.declared_seconds == 3.0


def test_pieces_around_a_damage(tmp_path: Path) -> None:
    data = bytearray(made("FLAC", "PCM_16", LONG))
    data[len(data) // 2] ^= 0x10
    path = saved(tmp_path, bytes(data))
    before = read_audio(path, sample_rate=RATE, offset=0.5, duration=0.5)
    np.testing.assert_array_equal(before.waveform, LONG[8000:16_000].astype(np.float32) / 32768)
    assert not before.truncated
    across = read_audio(path, sample_rate=RATE, offset=1.0, duration=1.0)
    assert across.truncated
    assert 0 < across.duration < 1.0
    assert across.declared_seconds == 1.0


def test_a_piece_beyond_a_cut_is_refused(tmp_path: Path) -> None:
    for format in ("WAV", "FLAC"):
        data = made(format, "PCM_16", LONG)
        path = saved(tmp_path, data[: len(data) // 2])
        with pytest.raises(AudioError, match=r"begins at 2.9 s, but the sound ends at 1\.\d"):
            read_audio(path, sample_rate=RATE, offset=2.9)


@pytest.mark.parametrize("name", ["Vorbis", "MP3", "M4A"])
def test_damage_inside_a_lossy_file_costs_only_itself(tmp_path: Path, name: str) -> None:
    """Half of the bytes of a stretch are wrong: reading goes on, in time or flagged as shorter."""
    data = bytearray(example_of_3_seconds(name))
    middle = len(data) // 2
    data[middle : middle + 400 : 2] = bytes(200)
    audio = read_audio(saved(tmp_path, bytes(data)), sample_rate=RATE)
    assert 1.5 < audio.duration < 3.1
    assert audio.truncated or audio.duration > 2.99


def test_packets_that_cannot_be_decoded_become_silence(tmp_path: Path) -> None:
    data = bytearray(made_by_ffmpeg("matroska", "flac", seconds=3.0))
    third = data.index(b"\xff\xf8", data.index(b"\xff\xf8", data.index(b"\xff\xf8") + 2) + 2)
    data[third : third + 40] = bytes(40)
    audio = read_audio(saved(tmp_path, bytes(data)), sample_rate=RATE)
    assert audio.truncated
    assert audio.warnings[0] == "1 damaged packets were replaced by silence"
    exact = LONG.astype(np.float32) / 32768
    frame = np.flatnonzero(audio.waveform != exact)
    assert (frame[0], frame[-1]) == (2 * 4608, 3 * 4608 - 1)
    assert not audio.waveform[2 * 4608 : 3 * 4608].any()


def test_nothing_is_printed_about_damaged_files(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The C libraries write to the descriptor, past Python."""
    for name in [*PLAIN, *LOSSY, *BY_FFMPEG]:
        data = bytearray(example(name))
        data[len(data) // 2] ^= 0xFF
        path = saved(tmp_path, bytes(data[: len(data) * 3 // 4]))
        try:
            read_audio(path, sample_rate=RATE, offset=0.2)
        except AudioError:
            continue
    assert capfd.readouterr() == ("", "")


# --- what headers say ----------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
def test_sizes_of_streams_are_read_to_the_end_without_a_flag(tmp_path: Path, size: int) -> None:
    data = wav_header(size) + SAMPLES.tobytes()
    audio = read_audio(saved(tmp_path, data), sample_rate=RATE)
    np.testing.assert_array_equal(audio.waveform, EXACT)
    assert not audio.truncated


def test_a_flac_that_declares_no_length_is_read_to_the_end(tmp_path: Path) -> None:
    data = bytearray(made("FLAC", "PCM_16", LONG))
    data[21] &= 0xF0
    data[22:26] = bytes(4)  # STREAMINFO: 0 samples means unknown
    path = saved(tmp_path, bytes(data))
    audio = read_audio(path, sample_rate=RATE)
    np.testing.assert_array_equal(audio.waveform, LONG.astype(np.float32) / 32768)
    assert (audio.truncated, audio.declared_seconds) == (False, None)
    assert audio_info(path).duration == 3.0
    tail = read_audio(path, sample_rate=RATE, offset=2.999)
    np.testing.assert_array_equal(tail.waveform, audio.waveform[-16:])


def empty_flac() -> bytes:
    header = bytearray(example("FLAC")[:42])
    header[4] |= 0x80  # STREAMINFO is the last block of the header
    header[21] &= 0xF0
    header[22:26] = bytes(4)
    return bytes(header)


@pytest.mark.parametrize("name", ["WAV", "AIFF", "AU", "SPHERE", "W64", "FLAC", "MP3"])
def test_a_header_without_samples_is_no_fault(tmp_path: Path, name: str) -> None:
    nothing = np.zeros(0, np.int16)
    data = empty_flac() if name == "FLAC" else made(*(PLAIN | LOSSY)[name], samples=nothing)
    audio = read_audio(saved(tmp_path, data), sample_rate=RATE)
    assert (len(audio.waveform), audio.duration, audio.truncated) == (0, 0.0, False)


@pytest.mark.parametrize("count", [1, 7, 100])
def test_a_few_samples_are_read(tmp_path: Path, count: int) -> None:
    path = saved(tmp_path, made("WAV", "PCM_16", SAMPLES[:count]))
    np.testing.assert_array_equal(read_audio(path, sample_rate=RATE).waveform, EXACT[:count])
    assert len(read_audio(path, sample_rate=8000).waveform) == pytest.approx(count / 2, abs=1)


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


def test_a_bomb_is_refused_by_its_header_or_while_decoding(tmp_path: Path) -> None:
    silence = np.zeros(RATE * 100, np.int16)
    limits = AudioLimits(max_seconds=60)
    declared = made("FLAC", "PCM_16", silence)
    assert len(declared) < 20_000
    undeclared = bytearray(declared)
    undeclared[21] &= 0xF0
    undeclared[22:26] = bytes(4)
    for data in (declared, bytes(undeclared), made("OGG", "OPUS", silence)):
        path = saved(tmp_path, data)
        with pytest.raises(AudioError, match=r"is longer than 0.0166667 h.*TOO_LONG"):
            read_audio(path, sample_rate=RATE, limits=limits)
        piece = read_audio(path, sample_rate=RATE, offset=50, duration=1, limits=limits)
        assert piece.duration == 1.0


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (wav_header(32_000, rate=1), "has a rate of 1 Hz; 4000 to 192000 Hz are read"),
        (wav_header(32_000, rate=3999), "has a rate of 3999 Hz"),
        (wav_header(32_000, rate=192_001), "has a rate of 192001 Hz"),
        (wav_header(32_000, channels=9), "has 9 channels; 1 to 8 are read"),
        (wav_header(32_000, channels=64), "has 64 channels"),
        (wav_header(32_000, rate=0), "BAD_AUDIO"),
        (wav_header(32_000, rate=2**32 - 1), "BAD_AUDIO"),
        (wav_header(32_000, channels=0), "BAD_AUDIO"),
        (wav_header(32_000, channels=65_535), "BAD_AUDIO"),
    ],
)
def test_impossible_rates_and_channels_are_refused(
    tmp_path: Path, header: bytes, message: str
) -> None:
    path = saved(tmp_path, header + SAMPLES.tobytes())
    with pytest.raises(AudioError, match=message) as caught:
        read_audio(path, sample_rate=RATE)
    assert caught.value.code == "BAD_AUDIO"
    with pytest.raises(AudioError, match=message):
        audio_info(path)


# --- samples that are no sound -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "shown"),
    [(np.nan, "nan"), (np.inf, "inf"), (-np.inf, "-inf"), (1e30, "1e\\+30"), (-10_001.0, "-10001")],
)
@pytest.mark.parametrize("channels", [1, 2])
def test_samples_that_are_no_sound_are_named(
    tmp_path: Path, value: float, shown: str, channels: int
) -> None:
    samples = np.repeat(voice()[:, None], channels, axis=1)
    samples[12_345, -1] = samples[13_000, 0] = value
    path = saved(tmp_path, made("WAV", "FLOAT", samples))
    with pytest.raises(AudioError, match=rf"sample 12345 is {shown}; samples are.*BAD_AUDIO"):
        read_audio(path, sample_rate=RATE)
    with pytest.raises(AudioError, match=f"sample 12345 is {shown}"):
        read_audio(path, sample_rate=RATE, offset=0.5, duration=0.4)
    assert read_audio(path, sample_rate=RATE, duration=0.5).duration == 0.5


@pytest.mark.parametrize("scale", [1.5, 32_768.0 / 4])
def test_a_peak_beyond_full_scale_is_divided_by(tmp_path: Path, scale: float) -> None:
    samples = voice() / np.abs(voice()).max() * scale
    audio = read_audio(saved(tmp_path, made("WAV", "FLOAT", samples)), sample_rate=RATE)
    np.testing.assert_allclose(audio.waveform, samples / scale, atol=1e-6)
    assert audio.warnings == (f"the peak of {scale:g} is beyond full scale; divided by it",)


def test_floats_within_full_scale_are_left_alone(tmp_path: Path) -> None:
    samples = voice() / np.abs(voice()).max()
    audio = read_audio(saved(tmp_path, made("WAV", "FLOAT", samples)), sample_rate=RATE)
    np.testing.assert_array_equal(audio.waveform, samples.astype(np.float32))
    assert audio.warnings == ()


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros(RATE, np.int16),
        np.full(RATE, 12_000, np.int16),
        np.where(np.arange(RATE) // 40 % 2, 32_767, -32_768).astype(np.int16),
        np.round(np.random.default_rng(0).standard_normal(RATE) * 33).astype(np.int16),
    ],
    ids=["silence", "constant", "clipped square", "-60 dB noise"],
)
@pytest.mark.parametrize(
    "format", [("WAV", "PCM_16"), ("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III")]
)
def test_strange_but_possible_sounds_are_read(
    tmp_path: Path, samples: np.ndarray, format: tuple[str, str]
) -> None:
    audio = read_audio(saved(tmp_path, made(*format, samples=samples)), sample_rate=8000)
    assert len(audio.waveform) == pytest.approx(8000, abs=1)
    assert np.isfinite(audio.waveform).all()
    assert np.abs(audio.waveform).max() < 2.0
    assert audio.warnings == ()


# --- what is no sound file -----------------------------------------------------------------------


def test_what_is_not_a_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "link.wav").symlink_to(tmp_path / "gone.wav")
    (tmp_path / "loop.wav").symlink_to(tmp_path / "loop.wav")
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "s"))
    cases = {
        tmp_path / "pipe.wav": "is a pipe, not a sound file",
        tmp_path / "folder.wav": "is a folder, not a sound file",
        tmp_path / "s": "is a socket, not a sound file",
        Path("/dev/zero"): "is a device, not a sound file",
        tmp_path / "link.wav": "is a link to a file that does not exist",
        tmp_path / "loop.wav": "cannot be opened: ",
        tmp_path / "absent.wav": "does not exist",
        tmp_path / "absent" / "x.wav": "does not exist",
        tmp_path / ("n" * 300): "cannot be opened: File name too long",
        tmp_path / "nul\0.wav": "is not a possible file name",
    }
    start = time.monotonic()
    for path, message in cases.items():
        for read in (lambda path: read_audio(path, sample_rate=RATE), audio_info):
            with pytest.raises(AudioError, match=message) as caught:
                read(path)
            assert caught.value.code == "NOT_A_FILE"
    server.close()
    assert time.monotonic() - start < 5


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


@pytest.mark.parametrize(("subtype", "tag"), [("NMS_ADPCM_16", "0x0038"), ("G721_32", "0x0040")])
def test_exotic_codecs_are_refused(tmp_path: Path, subtype: str, tag: str) -> None:
    path = saved(tmp_path, made("WAV", subtype, rate=8000))
    with pytest.raises(AudioError, match=f"is a WAV file of codec {tag}, which is not read"):
        read_audio(path, sample_rate=RATE)


def test_a_film_without_sound_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with av.open(buffer, mode="w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 16
        stream.pix_fmt = "yuv420p"
        container.mux(stream.encode(av.VideoFrame(16, 16, "yuv420p")))
        container.mux(stream.encode(None))
    with pytest.raises(AudioError, match=r"is MP4 without a sound track \[BAD_AUDIO\]"):
        read_audio(saved(tmp_path, buffer.getvalue()), sample_rate=RATE)


@pytest.mark.parametrize(("name", "shown"), [("FLAC", "FLAC"), ("MP3", "MP3"), ("M4A", "MP4")])
def test_the_content_decides_and_a_wrong_extension_is_said(
    tmp_path: Path, name: str, shown: str
) -> None:
    audio = read_audio(saved(tmp_path, example(name), "speech.WAV"), sample_rate=RATE)
    message = f"the name ends in .wav but the content is {shown}; read as {shown}"
    assert audio.warnings == (message,)
    assert not read_audio(saved(tmp_path, example(name), "speech.dat"), sample_rate=RATE).warnings


@pytest.mark.parametrize(
    "name",
    [
        b"-rf.wav", b"line\nbreak.wav", b";$(touch x).wav", b"'quotes\".wav", b"caf\xe9.wav",
        b"http:__x.wav", b"file:x.wav", b"concat:a|b.wav", b"n" * 250 + b".wav", b"%03d.wav",
    ],
)  # fmt: skip
@pytest.mark.parametrize("format", ["WAV", "M4A"])
def test_odd_names_are_read(tmp_path: Path, name: bytes, format: str) -> None:
    path = tmp_path / os.fsdecode(name)
    path.write_bytes(example(format))
    assert read_audio(path, sample_rate=RATE).duration == pytest.approx(1.0, abs=0.1)
    inside = tmp_path / "folder"
    inside.mkdir()
    assert read_audio(inside / ".." / path.name, sample_rate=RATE).duration > 0.9


# --- information, writing ------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*PLAIN, *LOSSY, *BY_FFMPEG])
def test_information_agrees_with_reading(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path, example(name))
    info = audio_info(path)
    audio = read_audio(path, sample_rate=RATE)
    assert info.duration == pytest.approx(audio.duration, abs=0.1)
    assert (info.sample_rate, info.channels) == (RATE, 1)


def test_information_names_the_format(tmp_path: Path) -> None:
    formats = {name: audio_info(saved(tmp_path, example(name))).format for name in [*PLAIN, *LOSSY]}
    assert formats["RF64"] == formats["WAV"] == formats["mu-law"] == "WAV"
    assert formats["Vorbis"] == formats["Opus"] == "OGG"
    assert formats["SPHERE"] == "SPHERE"


def test_information_of_a_long_file_is_given(tmp_path: Path) -> None:
    info = audio_info(saved(tmp_path, forged_flac()))
    assert info.duration == pytest.approx((2**36 - 1) / RATE)


def test_written_samples_come_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "sound.wav"
    write_wav(path, EXACT, RATE)
    np.testing.assert_array_equal(read_audio(path, sample_rate=RATE).waveform, EXACT)
    samples, rate = soundfile.read(path, dtype="int16")
    np.testing.assert_array_equal(samples, SAMPLES)
    assert rate == RATE


def test_what_is_beyond_full_scale_is_clipped_when_written(tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    write_wav(path, np.array([1.0, -1.0, 3.0, -3.0, 0.0], np.float32), RATE)
    assert soundfile.read(path, dtype="int16")[0].tolist() == [32767, -32768, 32767, -32768, 0]


def test_impossible_waveforms_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"waveform must be \(samples,\), got shape \(2, 3\)"):
        write_wav(tmp_path / "x.wav", np.zeros((2, 3), np.float32), RATE)
    with pytest.raises(ValueError, match="waveform must be finite"):
        write_wav(tmp_path / "x.wav", np.array([np.nan], np.float32), RATE)
    assert not list(tmp_path.iterdir())


# --- the zoo -------------------------------------------------------------------------------------

# What the table of the corpus cannot say: its lengths are FFmpeg's, which are guesses here.
ZOO_SECONDS = {
    "derived/amr_nb.amr-nb": 10.44,  # 522 frames of 20 ms, comfort noise included
    "real/aeneas/mono.zero.wav": 0.0,
}
ZOO_ERRORS = {
    "derived/g722.g722": "BAD_FORMAT",  # samples without a header: nothing tells what they are
    "derived/raw_mulaw_8k.ul": "BAD_FORMAT",
    "real/pocketsphinx/numbers.raw": "BAD_FORMAT",
    "real/pocketsphinx/something.raw": "BAD_FORMAT",
    "real/aeneas/mono.empty.wav": "BAD_AUDIO",
    "real/pocketsphinx/awful.wav": "BAD_AUDIO",  # 1,092,676 Hz
    "real/pocketsphinx/evil.wav": "BAD_AUDIO",
}


@pytest.mark.data
def test_every_file_of_the_zoo_has_its_outcome(corpora: Path) -> None:
    zoo = corpora / "odd_formats"
    with (zoo / "MANIFEST.tsv").open(encoding="utf-8") as table:
        rows = list(csv.DictReader(table, delimiter="\t"))
    assert len(rows) >= 60
    for row in rows:
        name = row["file"]
        if name in ZOO_ERRORS:
            with pytest.raises(AudioError) as caught:
                read_audio(zoo / name, sample_rate=RATE)
            assert caught.value.code == ZOO_ERRORS[name], name
            continue
        audio = read_audio(zoo / name, sample_rate=RATE)
        seconds = ZOO_SECONDS.get(name) if name in ZOO_SECONDS else float(row["seconds"])
        assert audio.duration == pytest.approx(seconds, abs=0.1), name
        assert len(audio.waveform) == pytest.approx(audio.duration * RATE, abs=1), name
        assert audio.truncated == (name == "derived/truncated_s24.wav"), name
        assert np.isfinite(audio.waveform).all(), name
        assert audio_info(zoo / name).duration == pytest.approx(seconds, abs=0.1), name


@pytest.mark.data
def test_the_same_sentence_sounds_the_same_in_every_format_of_the_zoo(corpora: Path) -> None:
    folder = corpora / "odd_formats" / "derived"
    reference = spectrum(read_audio(folder / "pcm.sph", sample_rate=RATE).waveform)
    others = [path for path in sorted(folder.iterdir()) if path.suffix not in (".g722", ".ul")]
    assert len(others) == 19
    for path in others:
        found = spectrum(read_audio(path, sample_rate=RATE).waveform)
        count = min(len(found), len(reference)) // 90 * 90
        # AMR at 4.75 kbit/s and packets that were thrown away as comfort noise keep less.
        least = 0.7 if "amr" in path.name else 0.93
        assert cosine(found[:count], reference[:count]) > least, path.name
