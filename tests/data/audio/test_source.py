"""Opening: only regular files, at once, whatever their names."""

import errno
import io
import os
import socket
import time
from pathlib import Path

import pytest

from asr.data.audio import audio_info, read_audio
from asr.data.audio.source import AudioLimits
from asr.errors import AudioError, ResourceError
from tests.data.audio.sounds import RATE, example, saved


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


def test_a_file_exchanged_while_opening_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path, example("WAV"))
    open_folder = os.open(tmp_path, os.O_RDONLY)
    monkeypatch.setattr("asr.data.audio.source.os.open", lambda *_: open_folder)
    with pytest.raises(AudioError, match="is a folder, not a sound file"):
        read_audio(path, sample_rate=RATE)


def test_a_file_above_the_limit_is_refused(tmp_path: Path) -> None:
    limits = AudioLimits(max_file_bytes=len(example("WAV")) - 1)
    for source in (saved(tmp_path, example("WAV")), io.BytesIO(example("WAV"))):
        with pytest.raises(AudioError, match=r"is larger than 3.2\d+e-05 GB.*\[TOO_LONG\]"):
            read_audio(source, sample_rate=RATE, limits=limits)
    exactly = AudioLimits(max_file_bytes=len(example("WAV")))
    assert read_audio(io.BytesIO(example("WAV")), sample_rate=RATE, limits=exactly).duration == 1.0


def test_an_endless_stream_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asr.data.audio.source.COPY_BYTES", 1000)

    class Endless(io.RawIOBase):
        def read(self, count: int = -1) -> bytes:
            return bytes(count)

    with pytest.raises(AudioError, match=r"audio stream: is larger than.*TOO_LONG"):
        read_audio(Endless(), sample_rate=RATE, limits=AudioLimits(max_file_bytes=10_000))  # type: ignore[arg-type]


def test_a_stream_is_called_by_its_name() -> None:
    stream = io.BytesIO(b"text")
    stream.name = "<stdin>"  # type: ignore[attr-defined]
    with pytest.raises(AudioError, match=r"^<stdin>: is text"):
        read_audio(stream, sample_rate=RATE)


def test_no_room_for_a_stream_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.BytesIO):
        def flush(self) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("asr.data.audio.source.tempfile.TemporaryFile", Full)
    with pytest.raises(ResourceError, match="no room to keep the incoming sound: No space left"):
        read_audio(io.BytesIO(example("WAV")), sample_rate=RATE)


def test_a_file_without_permission_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("asr.data.audio.source.os.open", refuse)  # root may read everything
    with pytest.raises(AudioError, match=r"cannot be opened: Permission denied \[NOT_A_FILE\]"):
        read_audio(saved(tmp_path, example("WAV")), sample_rate=RATE)


def test_nothing_stays_open(tmp_path: Path) -> None:
    path = saved(tmp_path, example("FLAC"))
    text = saved(tmp_path, b"text", "text.wav")
    descriptors = Path("/proc/self/fd")
    before = len(list(descriptors.iterdir()))
    for _ in range(20):
        read_audio(path, sample_rate=RATE)
        with pytest.raises(AudioError, match="is text"):
            read_audio(text, sample_rate=RATE)
    assert len(list(descriptors.iterdir())) <= before
