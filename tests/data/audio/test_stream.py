"""Pieces, cuts and samples that are no sound: what is found whoever decodes."""

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from asr.data.audio import audio_info, read_audio
from asr.data.audio.source import AudioLimits
from asr.data.audio.stream import AudioStream
from asr.errors import AudioError
from tests.data.audio.sounds import (
    BY_FFMPEG,
    EXACT,
    LONG,
    LOSSY,
    PLAIN,
    RATE,
    SAMPLES,
    example,
    made,
    saved,
    voice,
    wav_header,
)


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
    path = saved(tmp_path, example(name, 4.0))
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


# Share of the bytes of 3 s before which there may be no sound: headers, a FLAC block, an OGG page.
NOTHING_BEFORE = {"Vorbis": 0.85, "Opus": 0.85, "FLAC": 0.2, "FLAC in OGG": 0.4, "SPHERE": 0.02}
NOTHING_BEFORE |= dict.fromkeys(["WAV", "RF64", "W64", "AIFF", "AU", "24 bits", "mu-law"], 0.01)
CUT = ["WAV", "RF64", "W64", "AIFF", "AU", "SPHERE", "FLAC", "8 bits", "24 bits", "mu-law"]
CUT_LOSSY = ["Vorbis", "Opus", "MP3", "IMA ADPCM", "GSM", "fragmented MP4", "Matroska", "WMA",
             "MP2", "FLAC in OGG", "CAF"]  # fmt: skip


@pytest.mark.parametrize("name", [*CUT, *CUT_LOSSY])
def test_every_cut_is_noticed_and_the_beginning_is_kept(tmp_path: Path, name: str) -> None:
    data = example(name, 3.0)
    whole = read_audio(saved(tmp_path, data), sample_rate=RATE).waveform
    generator = np.random.default_rng(len(data))
    cuts = {1, 30, 41, 43, 44, 45, 100, len(data) - 1, len(data) - 30}
    for cut in cuts | set(generator.integers(1, len(data), 20).tolist()):
        path = saved(tmp_path, data[:cut])
        if cut < NOTHING_BEFORE.get(name, 0.4) * len(data):
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


@pytest.mark.parametrize("name", ["Vorbis", "MP3", "M4A"])
def test_damage_inside_a_lossy_file_costs_only_itself(tmp_path: Path, name: str) -> None:
    """Half of the bytes of a stretch are wrong: reading goes on, in time or flagged as shorter."""
    data = bytearray(example(name, 3.0))
    middle = len(data) // 2
    data[middle : middle + 400 : 2] = bytes(200)
    audio = read_audio(saved(tmp_path, bytes(data)), sample_rate=RATE)
    assert 1.0 < audio.duration < 3.1
    assert audio.truncated or audio.duration > 2.99


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


def empty_flac() -> bytes:
    header = bytearray(example("FLAC")[:42])
    header[4] |= 0x80  # STREAMINFO is the last block of the header
    header[21] &= 0xF0
    header[22:26] = bytes(4)
    return bytes(header)


@pytest.mark.parametrize("name", ["WAV", "AIFF", "AU", "SPHERE", "W64", "FLAC"])
def test_a_header_without_samples_is_no_fault(tmp_path: Path, name: str) -> None:
    nothing = np.zeros(0, np.int16)
    data = empty_flac() if name == "FLAC" else made(*PLAIN[name], samples=nothing)
    audio = read_audio(saved(tmp_path, data), sample_rate=RATE)
    assert (len(audio.waveform), audio.duration, audio.truncated) == (0, 0.0, False)


@pytest.mark.parametrize("count", [1, 7, 100])
def test_a_few_samples_are_read(tmp_path: Path, count: int) -> None:
    path = saved(tmp_path, made("WAV", "PCM_16", SAMPLES[:count]))
    np.testing.assert_array_equal(read_audio(path, sample_rate=RATE).waveform, EXACT[:count])
    assert len(read_audio(path, sample_rate=8000).waveform) == pytest.approx(count / 2, abs=1)


def test_a_bomb_is_refused_by_its_header_or_while_decoding(tmp_path: Path) -> None:
    silence = np.zeros(RATE * 40, np.int16)
    limits = AudioLimits(max_seconds=36)
    declared = made("FLAC", "PCM_16", silence)
    assert len(declared) < 20_000
    undeclared = bytearray(declared)
    undeclared[21] &= 0xF0
    undeclared[22:26] = bytes(4)
    for data in (declared, bytes(undeclared), made("OGG", "OPUS", silence)):
        path = saved(tmp_path, data)
        with pytest.raises(AudioError, match=r"is longer than 0.01 h.*TOO_LONG"):
            read_audio(path, sample_rate=RATE, limits=limits)
        piece = read_audio(path, sample_rate=RATE, offset=20, duration=1, limits=limits)
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
    tmp_path: Path, samples: NDArray[Any], format: tuple[str, str]
) -> None:
    audio = read_audio(saved(tmp_path, made(*format, samples=samples)), sample_rate=8000)
    assert len(audio.waveform) == pytest.approx(8000, abs=1)
    assert np.isfinite(audio.waveform).all()
    assert np.abs(audio.waveform).max() < 2.0
    assert audio.warnings == ()


def test_a_stream_of_blocks_is_the_whole_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FLAC", "Opus", "M4A"):
        path = saved(tmp_path, example(name, 3.0))
        whole = read_audio(path, sample_rate=11_025).waveform
        with monkeypatch.context() as patch:
            patch.setattr("asr.data.audio.soundfile_decoder.BLOCK_SAMPLES", 1000)
            patch.setattr("asr.data.audio.pyav_decoder.BLOCK_FRAMES", 1000)
            with AudioStream(path, sample_rate=11_025) as stream:
                blocks = list(stream)
        assert max(map(len, blocks)) < 2000  # bounded, however long the file
        np.testing.assert_allclose(np.concatenate(blocks), whole, atol=1e-6)
        assert stream.seconds == pytest.approx(3.0, abs=0.1)


def test_a_stream_knows_its_file_before_reading(tmp_path: Path) -> None:
    data = made("WAV", "PCM_16", np.stack([SAMPLES, SAMPLES], axis=1))
    with AudioStream(saved(tmp_path, data), sample_rate=8000, duration=0.5) as stream:
        assert (stream.format, stream.original_rate, stream.channels) == ("WAV", RATE, 2)
        assert (stream.declared_seconds, stream.seconds) == (0.5, 0.0)
        assert stream.count_seconds() == 1.0
    with AudioStream(saved(tmp_path, data), sample_rate=None) as stream:
        assert len(next(iter(stream))) == RATE


def test_resampling_loses_and_adds_nothing_at_the_ends(tmp_path: Path) -> None:
    """A constant stays constant but for the edges, and the length is exact to a sample."""
    for rate, wanted in [(8000, 16_000), (44_100, 16_000), (16_000, 44_100), (11_025, 16_000)]:
        constant = np.full(rate, 8192, np.int16)
        path = saved(tmp_path, made("WAV", "PCM_16", constant, rate))
        waveform = read_audio(path, sample_rate=wanted).waveform
        assert abs(len(waveform) - wanted) <= 1
        np.testing.assert_allclose(waveform[500:-500], 0.25, atol=1e-4)
