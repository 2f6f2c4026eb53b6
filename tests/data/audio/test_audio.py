"""What a caller sees: the same waveform from every kind of file."""

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from asr.data.audio import audio_info, read_audio, write_wav
from asr.errors import AudioError
from tests.data.audio.sounds import (
    BY_FFMPEG,
    EXACT,
    LOSSY,
    PLAIN,
    RATE,
    SAMPLES,
    cosine,
    delay,
    example,
    integers,
    made,
    saved,
    voice,
)


@pytest.mark.parametrize("name", PLAIN)
def test_16_bit_samples_are_exact(tmp_path: Path, name: str) -> None:
    audio = read_audio(saved(tmp_path, example(name)), sample_rate=RATE)
    np.testing.assert_array_equal(audio.waveform, EXACT)
    assert audio.waveform.dtype == np.float32
    assert (audio.sample_rate, audio.duration, audio.declared_seconds) == (RATE, 1.0, 1.0)
    assert not audio.truncated
    assert audio.warnings == ()


# Samples. With no place to note it, a file begins with the start-up of its encoder; of WMA,
# FFmpeg leaves out the first packet.
START_UP = {"AAC": 1024, "fragmented MP4": 1024, "MP2": 481, "WMA": -512}


@pytest.mark.parametrize("name", [*LOSSY, *BY_FFMPEG])
def test_every_other_format_holds_the_same_sound(tmp_path: Path, name: str) -> None:
    audio = read_audio(saved(tmp_path, example(name)), sample_rate=RATE)
    assert not audio.truncated
    assert audio.warnings == ()
    assert audio.duration == pytest.approx(1.0, abs=0.1)
    late = delay(audio.waveform, EXACT)
    assert late == START_UP.get(name, 0)
    found, expected = audio.waveform[max(0, late) :], EXACT[max(0, -late) :]
    assert cosine(found[:14_000], expected[:14_000]) > 0.98


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
        data = made(*LOSSY[name], samples=np.stack([voice(), voice() / 2], axis=1))
        audio = read_audio(saved(tmp_path, data), sample_rate=RATE)
        assert cosine(audio.waveform, EXACT) > 0.98
        assert audio.waveform.std() == pytest.approx(0.75 * EXACT.std(), rel=0.02)


@pytest.mark.parametrize("name", ["WAV", "MP3", "M4A"])
def test_a_stream_of_bytes_is_read_like_a_file(tmp_path: Path, name: str) -> None:
    from_file = read_audio(saved(tmp_path, example(name)), sample_rate=8000)
    from_stream = read_audio(io.BytesIO(example(name)), sample_rate=8000)
    np.testing.assert_array_equal(from_stream.waveform, from_file.waveform)


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


def spectrum(waveform: NDArray[Any]) -> NDArray[Any]:
    """Magnitudes up to 3.6 kHz of frames of 25 ms: blind to a delay of some samples."""
    frames = np.lib.stride_tricks.sliding_window_view(waveform, 400)[::160]
    return np.abs(np.fft.rfft(frames * np.hanning(400)))[:, :90].ravel()


@pytest.mark.data
def test_the_same_sentence_sounds_the_same_in_every_format_of_the_zoo(corpora: Path) -> None:
    folder = corpora / "odd_formats" / "derived"
    reference = read_audio(folder / "pcm.sph", sample_rate=RATE).waveform
    others = [path for path in sorted(folder.iterdir()) if path.suffix not in (".g722", ".ul")]
    assert len(others) == 19
    for path in others:
        found = read_audio(path, sample_rate=RATE).waveform
        late = delay(found, reference)
        assert abs(late) <= 512, path.name  # the start-up of a codec
        found, expected = found[max(0, late) :], reference[max(0, -late) :]
        count = min(len(found), len(expected))
        # AMR at 4.75 kbit/s and Speex change the sound most; noise left out by AMR is silence.
        least = {".amr-nb": 0.7, ".ogg": 0.85}.get(path.suffix, 0.93)
        assert cosine(spectrum(found[:count]), spectrum(expected[:count])) > least, path.name
