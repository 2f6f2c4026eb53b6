"""What the headers of plain samples promise."""

import struct
from pathlib import Path

import numpy as np
import pytest

from asr.data.audio import audio_info, read_audio
from asr.errors import AudioError
from tests.data.audio.sounds import (
    EXACT,
    RATE,
    SAMPLES,
    example,
    made,
    saved,
    shorten,
    sphere,
    wav_header,
)


@pytest.mark.parametrize("size", [0, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
def test_sizes_of_streams_are_read_to_the_end_without_a_flag(tmp_path: Path, size: int) -> None:
    data = wav_header(size) + SAMPLES.tobytes()
    audio = read_audio(saved(tmp_path, data), sample_rate=RATE)
    np.testing.assert_array_equal(audio.waveform, EXACT)
    assert not audio.truncated


@pytest.mark.parametrize(("subtype", "tag"), [("NMS_ADPCM_16", "0x0038"), ("G721_32", "0x0040")])
def test_exotic_codecs_are_refused(tmp_path: Path, subtype: str, tag: str) -> None:
    path = saved(tmp_path, made("WAV", subtype, rate=8000))
    with pytest.raises(AudioError, match=f"is a WAV file of codec {tag}, which is not read"):
        read_audio(path, sample_rate=RATE)


def test_a_header_cut_inside_is_refused_and_behind_it_is_flagged(tmp_path: Path) -> None:
    data = wav_header(32_000) + SAMPLES.tobytes()
    with pytest.raises(AudioError, match="is damaged, cut off or no sound"):
        read_audio(saved(tmp_path, data[:36]), sample_rate=RATE)
    for kept in (43, 44, 45):
        audio = read_audio(saved(tmp_path, data[:kept]), sample_rate=RATE)
        assert (len(audio.waveform), audio.truncated) == (0, True)


def test_chunks_before_and_after_the_samples_are_passed(tmp_path: Path) -> None:
    """A RIFF size greater than the file is no fault when the samples are all there."""
    header, size = wav_header(32_000)[:36], struct.pack("<I", 32_000)
    odd = b"junk" + struct.pack("<I", 5) + b"12345\0"
    data = header + odd + b"data" + size + SAMPLES.tobytes()
    for tail in (b"", b"LIST" + struct.pack("<I", 1000) + bytes(10)):
        audio = read_audio(saved(tmp_path, data + tail), sample_rate=RATE)
        np.testing.assert_array_equal(audio.waveform, EXACT)
        assert not audio.truncated


def test_a_wav_with_no_samples_but_more_chunks_is_empty(tmp_path: Path) -> None:
    tail = b"LIST" + struct.pack("<I", 4) + b"INFO"
    header = bytearray(wav_header(0) + tail)
    header[4:8] = struct.pack("<I", len(header) - 8)
    audio = read_audio(saved(tmp_path, bytes(header)), sample_rate=RATE)
    assert (len(audio.waveform), audio.truncated) == (0, False)


def test_big_endian_wav_is_read(tmp_path: Path) -> None:
    shape = struct.pack(">HHIIHH", 1, 1, RATE, RATE * 2, 2, 16)
    data = b"RIFX" + struct.pack(">I", 32_036) + b"WAVEfmt " + struct.pack(">I", 16) + shape
    data += b"data" + struct.pack(">I", 32_000) + SAMPLES.astype(">i2").tobytes()
    np.testing.assert_array_equal(
        read_audio(saved(tmp_path, data), sample_rate=RATE).waveform, EXACT
    )
    assert read_audio(saved(tmp_path, data[:-100]), sample_rate=RATE).truncated


@pytest.mark.parametrize("subtype", ["PCM_16", "ULAW", "FLOAT"])
def test_aifc_with_plain_codecs(tmp_path: Path, subtype: str) -> None:
    samples = EXACT if subtype == "FLOAT" else SAMPLES
    path = saved(tmp_path, made("AIFF", subtype, samples))
    audio = read_audio(path, sample_rate=RATE)
    assert np.abs(audio.waveform - EXACT).max() < 0.02
    cut = read_audio(saved(tmp_path, path.read_bytes()[:9000]), sample_rate=RATE)
    assert cut.truncated
    assert cut.declared_seconds == 1.0


def test_aifc_with_a_compressed_codec(tmp_path: Path) -> None:
    path = saved(tmp_path, made("AIFF", "IMA_ADPCM"))
    audio = read_audio(path, sample_rate=RATE)
    assert audio.duration == pytest.approx(1.0, abs=0.01)
    assert np.corrcoef(audio.waveform[:RATE], EXACT)[0, 1] > 0.99


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
def test_an_au_of_unknown_size_is_read_to_the_end(tmp_path: Path, size: int) -> None:
    data = bytearray(example("AU"))
    data[8:12] = struct.pack(">I", size)
    audio = read_audio(saved(tmp_path, bytes(data)), sample_rate=RATE)
    assert not audio.truncated
    assert size == 0 or len(audio.waveform) == RATE


def test_au_of_old_encodings_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, made("AU", "G721_32", rate=8000))
    with pytest.raises(
        AudioError, match=r"is an AU file of encoding 23, which is not read.*FORMAT"
    ):
        read_audio(path, sample_rate=RATE)


@pytest.mark.parametrize("count", [5000, 4096])
def test_sphere_compressed_by_shorten(tmp_path: Path, count: int) -> None:
    samples = SAMPLES[:count]
    data = sphere(samples, "pcm,embedded-shorten-v2.00", shorten(samples))
    path = saved(tmp_path, data, "speech.wv1")
    audio = read_audio(path, sample_rate=RATE)
    np.testing.assert_array_equal(audio.waveform, EXACT[:count])
    assert (audio.truncated, audio.warnings) == (False, ())
    assert audio_info(path).duration == count / RATE
    piece = read_audio(path, sample_rate=RATE, offset=0.2, duration=0.01)
    np.testing.assert_array_equal(piece.waveform, EXACT[3200:3360])
    cut = read_audio(saved(tmp_path, data[: len(data) // 2]), sample_rate=RATE)
    assert cut.truncated
    assert cut.declared_seconds == count / RATE
    sure = len(cut.waveform) - 256  # the block that is cut is filled up with zeros
    assert sure > count * 0.3
    np.testing.assert_array_equal(cut.waveform[:sure], EXACT[:sure])


def test_plain_sphere_in_both_byte_orders(tmp_path: Path) -> None:
    for order, content in [("01", SAMPLES), ("10", SAMPLES.astype(">i2"))]:
        path = saved(tmp_path, sphere(SAMPLES, "pcm", content.tobytes(), order))
        np.testing.assert_array_equal(read_audio(path, sample_rate=RATE).waveform, EXACT)


def test_sphere_with_another_compression_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, sphere(SAMPLES, "pcm,embedded-wavpack", bytes(99)))
    message = r"is SPHERE with the coding pcm,embedded-wavpack; unpack it to WAV \[BAD_FORMAT\]"
    with pytest.raises(AudioError, match=message):
        read_audio(path, sample_rate=RATE)


@pytest.mark.parametrize(
    "header", [b"NIST_1A\n", b"NIST_1A\nxyz\n", b"NIST_1A\n   1024\n" + b"x" * 50]
)
def test_broken_sphere_headers_are_refused(tmp_path: Path, header: bytes) -> None:
    with pytest.raises(AudioError, match="is damaged, cut off or no sound"):
        read_audio(saved(tmp_path, header), sample_rate=RATE)


def test_broken_aiff_and_w64_headers_are_refused(tmp_path: Path) -> None:
    aiff, w64 = example("AIFF"), example("W64")
    for data in (aiff[:12], aiff[:12] + b"COMM\0\0\0\x04abcd", aiff[:40], w64[:40], w64[:70]):
        with pytest.raises(AudioError, match="is damaged, cut off or no sound"):
            read_audio(saved(tmp_path, data), sample_rate=RATE)
    backwards = bytearray(w64)
    backwards[56:64] = bytes(8)  # a chunk smaller than its own header
    with pytest.raises(AudioError, match="is damaged, cut off or no sound"):
        read_audio(saved(tmp_path, bytes(backwards)), sample_rate=RATE)


def test_endless_chunks_are_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The promise is not known then; what libsndfile makes of the file is read."""
    monkeypatch.setattr("asr.data.audio.pcm.MAX_CHUNKS", 0)
    for name in ("WAV", "W64", "AIFF"):
        audio = read_audio(saved(tmp_path, example(name)[:-1000]), sample_rate=RATE)
        assert 0.9 < audio.duration < 1.0
        assert not audio.truncated


def test_a_format_chunk_that_is_too_short_is_refused(tmp_path: Path) -> None:
    data = wav_header(32_000)
    data = data[:16] + struct.pack("<I", 8) + data[20:28] + data[36:] + SAMPLES.tobytes()
    with pytest.raises(AudioError, match="is damaged, cut off or no sound"):
        read_audio(saved(tmp_path, data), sample_rate=RATE)
