"""Sound files made on the spot, for the tests of everything that reads them."""

import functools
import io
import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile
from numpy.typing import NDArray

RATE = 16_000
Int16 = NDArray[np.int16]


@functools.cache
def voice(seconds: float = 1.0, rate: int = RATE) -> NDArray[np.float64]:
    """Tones with a slow beat and noise below 3.4 kHz: the same sound at whatever rate."""
    generator = np.random.default_rng(5)
    time = np.arange(round(seconds * rate)) / rate
    frequencies = np.concatenate([[220.0, 660.0, 1500.0], generator.uniform(100, 3400, 20)])
    loudness = np.concatenate([[0.2, 0.1, 0.05], np.full(20, 0.007)])
    phases = generator.uniform(0, 2 * np.pi, len(frequencies))
    tones = np.sin(2 * np.pi * frequencies * time[:, None] + phases) @ loudness
    waveform: NDArray[np.float64] = tones * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * time))
    waveform.setflags(write=False)  # it is shared by the tests
    return waveform


def integers(waveform: NDArray[np.float64]) -> Int16:
    """16-bit samples."""
    return np.round(waveform * 32767).astype(np.int16)


def made(
    format: str,
    subtype: str,
    samples: NDArray[np.int16] | NDArray[np.float64] | None = None,
    rate: int = RATE,
) -> bytes:
    """A file written by libsndfile; `samples` is (frames,) or (frames, channels)."""
    buffer = io.BytesIO()
    samples = integers(voice()) if samples is None else samples
    soundfile.write(buffer, samples, rate, format=format, subtype=subtype)
    return buffer.getvalue()


@functools.cache
def made_by_ffmpeg(
    format: str, codec: str, *, rate: int = RATE, seconds: float = 1.0, movflags: str = ""
) -> bytes:
    """A mono file written by FFmpeg's libraries."""
    options = {"movflags": movflags} if movflags else {}
    buffer = io.BytesIO()
    with av.open(buffer, mode="w", format=format, options=options) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.layout = "mono"
        stream.bit_rate = 64_000 if rate >= RATE else 12_200
        sample_format = stream.codec_context.format.name
        whole = av.AudioFrame.from_ndarray(
            integers(voice(seconds, rate))[None], format="s16", layout="mono"
        )
        whole.rate = rate
        resampler = av.AudioResampler(format=sample_format, layout="mono", rate=rate)
        queue = av.AudioFifo()
        for frame in resampler.resample(whole) + resampler.resample(None):
            frame.pts = None
            queue.write(frame)
        stream.codec_context.open()
        position, size = 0, stream.codec_context.frame_size or 1024
        while queue.samples:
            frame = queue.read(min(size, queue.samples))
            frame.pts, frame.time_base = position, Fraction(1, rate)
            position += frame.samples
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def sphere(samples: Int16, coding: str, content: bytes, byte_order: str = "01") -> bytes:
    """A NIST SPHERE file with `content` behind its header."""
    header = (
        f"NIST_1A\n   1024\nsample_count -i {len(samples)}\nsample_n_bytes -i 2\n"
        f"channel_count -i 1\nsample_byte_format -s2 {byte_order}\nsample_rate -i {RATE}\n"
        f"sample_coding -s{len(coding)} {coding}\nend_head\n"
    )
    return header.encode().ljust(1024, b"\0") + content


def shorten(samples: Int16, *, energy: int = 11) -> bytes:
    """The simplest shorten stream: blocks of 256 samples, no prediction, Rice codes."""
    bits: list[int] = []

    def put(value: int, low_bits: int) -> None:
        bits.extend([0] * (value >> low_bits) + [1])
        bits.extend(value >> bit & 1 for bit in reversed(range(low_bits)))

    def put_number(value: int) -> None:
        put(value.bit_length(), 2)
        put(value, value.bit_length())

    for number in (5, 1, 256, 0, 0, 0):  # 16 bits low byte first, 1 channel, block, no prediction
        put_number(number)
    for start in range(0, len(samples), 256):
        block = samples[start : start + 256]
        if len(block) < 256:
            put(5, 2)  # command: another block size
            put_number(len(block))
        put(0, 2)  # command: differences of order 0
        put(energy, 3)
        for sample in block.tolist():
            put(2 * sample if sample >= 0 else -2 * sample - 1, energy + 1)
    put(4, 2)  # command: quit
    bits += [0] * (-len(bits) % 32)
    return b"ajkg\x02" + np.packbits(np.array(bits, np.uint8)).tobytes()


def wav_header(
    size: int, *, rate: int = RATE, channels: int = 1, tag: int = 1, bits: int = 16
) -> bytes:
    """44 bytes that declare `size` bytes of samples."""
    frame = channels * bits // 8 & 0xFFFF
    shape = struct.pack("<HHIIHH", tag, channels, rate, rate * frame & 0xFFFFFFFF, frame, bits)
    riff = min(size + 36, 0xFFFFFFFF)
    start = b"RIFF" + struct.pack("<I", riff) + b"WAVEfmt " + struct.pack("<I", 16)
    return start + shape + b"data" + struct.pack("<I", size)


def cosine(first: NDArray[Any], second: NDArray[Any]) -> float:
    """How alike two waveforms are, whatever their loudness: 1 for the same."""
    first, second = first.astype(np.float64), second.astype(np.float64)
    return float(first @ second / np.sqrt((first @ first) * (second @ second)))


def delay(late: NDArray[Any], early: NDArray[Any]) -> int:
    """Samples by which one waveform is behind the other: the peak of their correlation."""
    size = 1 << 19
    product = np.fft.rfft(late, size) * np.conj(np.fft.rfft(early, size))
    return int((np.fft.irfft(product).argmax() + size // 2) % size - size // 2)


def saved(folder: Path, data: bytes, name: str = "sound.bin") -> Path:
    """`data` as a file."""
    path = folder / name
    path.write_bytes(data)
    return path


PLAIN = {
    "WAV": ("WAV", "PCM_16"),
    "RF64": ("RF64", "PCM_16"),
    "W64": ("W64", "PCM_16"),
    "AIFF": ("AIFF", "PCM_16"),
    "AU": ("AU", "PCM_16"),
    "SPHERE": ("NIST", "PCM_16"),
    "VOC": ("VOC", "PCM_16"),
    "FLAC": ("FLAC", "PCM_16"),
    "24 bits": ("WAV", "PCM_24"),
    "32 bits": ("WAV", "PCM_32"),
    "big-endian AU": ("AU", "PCM_24"),
}
LOSSY = {
    "Vorbis": ("OGG", "VORBIS"),
    "Opus": ("OGG", "OPUS"),
    "MP3": ("MP3", "MPEG_LAYER_III"),
    "mu-law": ("WAV", "ULAW"),
    "A-law": ("AU", "ALAW"),
    "8 bits": ("WAV", "PCM_U8"),
    "IMA ADPCM": ("WAV", "IMA_ADPCM"),
    "GSM": ("WAV", "GSM610"),
}
BY_FFMPEG = {
    "M4A": ("mp4", "aac", ""),
    "ALAC": ("mp4", "alac", ""),
    "fragmented MP4": ("mp4", "aac", "frag_keyframe+empty_moov"),
    "Matroska": ("matroska", "flac", ""),
    "WMA": ("asf", "wmav2", ""),
    "AAC": ("adts", "aac", ""),
    "MP2": ("mp2", "mp2", ""),
    "FLAC in OGG": ("ogg", "flac", ""),
    "CAF": ("caf", "pcm_s16le", ""),
}


@functools.cache
def example(name: str, seconds: float = 1.0) -> bytes:
    """`voice` in the format that a key of the tables above names."""
    if name in BY_FFMPEG:
        container, codec, movflags = BY_FFMPEG[name]
        return made_by_ffmpeg(container, codec, seconds=seconds, movflags=movflags)
    return made(*(PLAIN | LOSSY)[name], samples=integers(voice(seconds)))


SAMPLES = integers(voice())
EXACT = SAMPLES.astype(np.float32) / np.float32(32768)  # what reading 16 bits must give
LONG = integers(voice(3.0))  # enough FLAC blocks to lose some and to keep some
EXACT_LONG = LONG.astype(np.float32) / np.float32(32768)
