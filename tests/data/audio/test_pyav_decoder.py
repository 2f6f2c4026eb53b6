"""What FFmpeg does with damaged files, comfort noise and foreign codecs."""

import errno
import io
from io import FileIO
from pathlib import Path

import av
import numpy as np
import pytest

from asr.data.audio import audio_info, read_audio
from asr.data.audio.pyav_decoder import OPTIONS, QuietFile
from asr.errors import AudioError
from tests.data.audio.sounds import (
    EXACT,
    EXACT_LONG,
    RATE,
    cosine,
    delay,
    example,
    made,
    made_by_ffmpeg,
    saved,
    voice,
)


def test_packets_that_cannot_be_decoded_become_silence(tmp_path: Path) -> None:
    data = bytearray(made_by_ffmpeg("matroska", "flac", seconds=3.0))
    third = data.index(b"\xff\xf8", data.index(b"\xff\xf8", data.index(b"\xff\xf8") + 2) + 2)
    data[third : third + 40] = bytes(40)
    audio = read_audio(saved(tmp_path, bytes(data)), sample_rate=RATE)
    assert audio.truncated
    assert audio.warnings[0] == "1 damaged packets were replaced by silence"
    exact = EXACT_LONG
    frame = np.flatnonzero(audio.waveform != exact)
    assert (frame[0], frame[-1]) == (2 * 1152, 3 * 1152 - 1)
    assert not audio.waveform[2 * 1152 : 3 * 1152].any()


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


def test_a_codec_outside_the_list_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, made_by_ffmpeg("matroska", "tta"))
    with pytest.raises(AudioError, match=r"holds tta, which is not read; .*\[BAD_FORMAT\]"):
        read_audio(path, sample_rate=RATE)


def test_ffmpeg_may_open_no_other_file(tmp_path: Path) -> None:
    """With our options a playlist is not even a format, nor can one format name a file."""
    target = saved(tmp_path, example("WAV"), "secret.wav")
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{target}\n#EXT-X-ENDLIST\n".encode()
    concat = f"ffconcat version 1.0\nfile '{target.name}'\n".encode()
    for data, format in [(playlist, "hls"), (concat, "concat")]:
        with pytest.raises(av.error.FFmpegError):
            av.open(io.BytesIO(data), mode="r", format=format, options=OPTIONS)
    without_formats = {"protocol_whitelist": OPTIONS["protocol_whitelist"]}
    with pytest.raises(av.error.FFmpegError):
        av.open(io.BytesIO(playlist), mode="r", format="hls", options=without_formats)


def test_a_file_that_fails_looks_like_its_end(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    class Failing(FileIO):
        def read(self, size: int = -1) -> bytes:
            raise OSError(errno.EIO, "Input/output error")

    with Failing(saved(tmp_path, b"abc")) as file:
        quiet = QuietFile(file)
        assert quiet.read(3) == b""
        assert quiet.seek(-5) == -errno.EINVAL
        assert quiet.seek(2**70) == -errno.EINVAL
        assert quiet.seek(2) == 2 == quiet.tell()
    assert capfd.readouterr().err == ""


@pytest.mark.skipif("libopencore_amrnb" not in av.codecs_available, reason="no encoder for AMR")
def test_comfort_noise_of_amr_is_silence(tmp_path: Path) -> None:
    """Frames without speech keep their time; FFmpeg cannot decode them."""
    data = made_by_ffmpeg("amr", "libopencore_amrnb", rate=8000)
    frames = [data[6 + 32 * index : 6 + 32 * index + 32] for index in range((len(data) - 6) // 32)]
    nothing, noise = b"\x7c", b"\x44" + bytes(5)
    assert all(frame[0] == 0x3C for frame in frames)  # 12.2 kbit/s: 31 bytes behind the type
    mixed = [nothing, *frames[:20], noise, nothing, *frames[20:], nothing, noise]
    path = saved(tmp_path, b"#!AMR\n" + b"".join(mixed))
    audio = read_audio(path, sample_rate=8000)
    assert audio.warnings == ("5 packets of comfort noise were read as silence",)
    assert len(audio.waveform) == len(mixed) * 160
    assert audio_info(path).duration == len(mixed) * 0.02
    assert not audio.truncated
    for silent in (0, 21, 22, len(mixed) - 2, len(mixed) - 1):
        assert not audio.waveform[silent * 160 : silent * 160 + 160].any()
    assert np.abs(audio.waveform[160:3360]).max() > 0.1


def test_unreadable_packets_at_the_end_are_no_silence(tmp_path: Path) -> None:
    """Junk behind the sound, as taggers leave it, adds nothing."""
    junk = np.random.default_rng(0).bytes(3000)
    audio = read_audio(saved(tmp_path, example("MP3") + junk), sample_rate=RATE)
    assert audio.duration == pytest.approx(1.0, abs=0.05)


def test_a_change_of_the_rate_ends_the_sound(tmp_path: Path) -> None:
    data = made_by_ffmpeg("mp2", "mp2", rate=16_000) + made_by_ffmpeg("mp2", "mp2", rate=24_000)
    audio = read_audio(saved(tmp_path, data), sample_rate=RATE)
    assert 0 < audio.duration < 1.1
    assert audio.truncated
    assert audio.warnings[0] == "the sample rate changes inside the file; read up to there"


def test_a_change_of_the_channels_is_followed(tmp_path: Path) -> None:
    stereo = made("MP3", "MPEG_LAYER_III", np.stack([voice(), voice() / 2], axis=1))
    data = example("MP3") + stereo
    audio = read_audio(saved(tmp_path, data), sample_rate=RATE)
    assert audio.duration == pytest.approx(2.0, abs=0.2)
    assert np.isfinite(audio.waveform).all()


@pytest.mark.parametrize("codec", ["pcm_f32le", "pcm_f64le", "pcm_u8", "pcm_s24le", "pcm_s32le"])
def test_samples_of_every_width_are_scaled(tmp_path: Path, codec: str) -> None:
    path = saved(tmp_path, made_by_ffmpeg("matroska", codec))
    audio = read_audio(path, sample_rate=RATE)
    np.testing.assert_allclose(audio.waveform, EXACT, atol=1 / 100 if codec == "pcm_u8" else 1e-6)
    assert not audio.truncated


def test_a_damaged_film_is_counted_as_far_as_it_goes(tmp_path: Path) -> None:
    data = made_by_ffmpeg("adts", "aac", seconds=3.0)
    path = saved(tmp_path, data[: len(data) // 2])
    assert audio_info(path).duration == pytest.approx(1.5, abs=0.2)


def test_a_file_of_unreadable_packets_only_is_refused(tmp_path: Path) -> None:
    data = bytearray(made_by_ffmpeg("matroska", "flac"))
    first = data.index(b"\xff\xf8")
    data[first:] = (b"\xff\xf8" + bytes(30)) * ((len(data) - first) // 32 + 1)
    with pytest.raises(AudioError, match="is damaged"):
        read_audio(saved(tmp_path, bytes(data)), sample_rate=RATE)


def test_a_failure_between_packets_ends_the_sound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path, made_by_ffmpeg("wav", "adpcm_ima_wav", seconds=10.0))
    read = QuietFile.read

    def fails_far_in(file: QuietFile, count: int) -> bytes:
        if file.tell() > 60_000:
            raise av.error.InvalidDataError(1, "made to fail")
        return read(file, count)

    monkeypatch.setattr(QuietFile, "read", fails_far_in)
    audio = read_audio(path, sample_rate=RATE)
    assert 2.0 < audio.duration < 9.0
    assert audio.truncated
    declared = "asr.data.audio.pyav_decoder.PyAVDecoder._container_seconds"
    monkeypatch.setattr(declared, lambda _: None)
    assert audio_info(path).duration == pytest.approx(audio.duration, abs=0.2)


@pytest.mark.parametrize("codec", ["g726", "adpcm_ima_wav", "adpcm_ms"])
def test_far_pieces_of_adaptive_codecs_are_exact(tmp_path: Path, codec: str) -> None:
    """G.726 adapts from the first sample on; the others begin each block afresh."""
    path = saved(tmp_path, made_by_ffmpeg("wav", codec, rate=8000, seconds=4.0))
    whole = read_audio(path, sample_rate=8000).waveform
    piece = read_audio(path, sample_rate=8000, offset=3.0, duration=0.5).waveform
    np.testing.assert_array_equal(piece, whole[24_000:28_000])


def surround(layout: str, channels: int, *, codec: str = "aac", format: str = "mp4") -> bytes:
    """A second of `voice`, louder from channel to channel."""
    samples = voice(rate=48_000)[:, None] * np.arange(1, channels + 1) / channels
    whole = av.AudioFrame.from_ndarray(
        samples.astype(np.float32).reshape(1, -1), format="flt", layout=layout
    )
    whole.rate = 48_000
    buffer = io.BytesIO()
    with av.open(buffer, mode="w", format=format) as container:
        stream = container.add_stream(codec, rate=48_000)
        stream.layout = layout
        kind = stream.codec_context.format.name
        resampler = av.AudioResampler(format=kind, layout=layout, rate=48_000, frame_size=1024)
        for frame in resampler.resample(whole) + resampler.resample(None):
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()


@pytest.mark.parametrize(("layout", "channels"), [("5.1", 6), ("7.1", 8)])
def test_surround_sound_is_mixed(tmp_path: Path, layout: str, channels: int) -> None:
    """Eight planes are one more than PyAV's own conversion can tell from none."""
    audio = read_audio(saved(tmp_path, surround(layout, channels)), sample_rate=RATE)
    assert f"{channels} channels; their mean is taken" in audio.warnings
    late = delay(audio.waveform, EXACT)
    assert cosine(audio.waveform[late : late + 15_000], EXACT[:15_000]) > 0.9


def test_more_channels_than_that_are_refused(tmp_path: Path) -> None:
    data = surround("9.1.6", 16, codec="pcm_s16le", format="matroska")
    with pytest.raises(AudioError, match="has 16 channels; 1 to 8 are read"):
        read_audio(saved(tmp_path, data), sample_rate=RATE)
