"""What FFmpeg does with damaged files, comfort noise and foreign codecs."""

import io
from pathlib import Path

import av
import numpy as np
import pytest

from asr.data.audio import read_audio
from asr.errors import AudioError
from tests.data.sounds import EXACT_LONG, RATE, made_by_ffmpeg, saved


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
