"""A sound file as bytes: opened without ever hanging or following anything but a regular file."""

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import BinaryIO, Literal

from asr.errors import AudioError, AudioFault, ResourceError

COPY_BYTES = 1 << 20  # piece of a stream that is copied at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioLimits:
    """What a sound file may at most be: walls against bombs, forged headers and mistakes."""

    max_file_bytes: int = 2_000_000_000
    max_seconds: float = 86_400.0  # of sound decoded at once; silence compresses 1000 : 1
    min_sample_rate: int = 4_000  # Hz; speech below is not understood
    max_sample_rate: int = 192_000
    max_channels: int = 8
    max_abs_sample: float = 1e4  # full scale is 1; beyond this a file of floats is broken


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a container says of the sound in it, and who decodes it."""

    decoder: Literal["soundfile", "pyav"]
    seconds: float | None = None  # declared length; None when the container declares none
    cut: bool = False  # the file visibly ends before its own declared end
    tolerance: float = 0.0  # seconds by which an intact file may be shorter than declared


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """An open regular file with the name that messages call it by."""

    name: Path | str
    file: FileIO
    size: int  # bytes

    def read_at(self, position: int, count: int) -> bytes:
        """Up to `count` bytes from `position`; fewer at the end of the file, none beyond it."""
        if position >= self.size:  # a forged length may lead to where no system can seek
            return b""
        self.file.seek(position)
        return self.file.read(count)

    def error(self, reason: str, code: AudioFault = "BAD_AUDIO") -> AudioError:
        """An error about this file, to be raised."""
        return AudioError(self.name, reason, code)


@contextmanager
def open_source(source: str | Path | BinaryIO, limits: AudioLimits) -> Iterator[Source]:
    """`source`, open for reading, closed at the end.

    A stream (standard input, a request) is copied into an unnamed temporary file first, because
    decoders have to seek.

    Raises:
        AudioError: NOT_A_FILE (missing, directory, pipe, device, dangling link, no permission),
            BAD_AUDIO (empty) or TOO_LONG (more bytes than the limit).
        ResourceError: no room for the copy of a stream.
    """
    name: Path | str
    opened: AbstractContextManager[FileIO]
    if isinstance(source, str | Path):
        name, opened = source, _open_path(Path(source))
    else:
        name = _stream_name(source)
        opened = _spooled(source, limits)
    with opened as file:
        size = os.fstat(file.fileno()).st_size
        if size > limits.max_file_bytes:
            reason = f"is larger than {limits.max_file_bytes / 1e9:g} GB, the most that is read"
            raise AudioError(name, reason, "TOO_LONG")
        if size == 0:
            raise AudioError(name, "is empty (0 bytes)", "BAD_AUDIO")
        yield Source(name, file, size)


def _open_path(path: Path) -> FileIO:
    """The regular file at `path`.

    Checked before opening (a device may act on being opened) and after (the path may have been
    exchanged); `O_NONBLOCK` lets the opening of a pipe return at once.
    """
    try:
        _check_regular(path, path.stat().st_mode)
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        descriptor = os.open(path, flags)
    except FileNotFoundError as error:
        dangling = path.is_symlink()
        reason = "is a link to a file that does not exist" if dangling else "does not exist"
        raise AudioError(path, reason, "NOT_A_FILE") from error
    except OSError as error:
        raise AudioError(path, f"cannot be opened: {error.strerror}", "NOT_A_FILE") from error
    except ValueError as error:  # a NUL character in the name
        raise AudioError(path, "is not a possible file name", "NOT_A_FILE") from error
    try:
        _check_regular(path, os.fstat(descriptor).st_mode)
    except AudioError:
        os.close(descriptor)
        raise
    return FileIO(descriptor)


def _check_regular(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
        kind = kinds.get(stat.S_IFMT(mode), "a device")
        raise AudioError(path, f"is {kind}, not a sound file", "NOT_A_FILE")


@contextmanager
def _spooled(stream: BinaryIO, limits: AudioLimits) -> Iterator[FileIO]:
    with tempfile.TemporaryFile() as file:
        try:
            while piece := stream.read(COPY_BYTES):
                file.write(piece)
                if file.tell() > limits.max_file_bytes:
                    break  # enough to be refused for
            file.flush()
        except OSError as error:
            raise ResourceError(
                f"{tempfile.gettempdir()}: no room to keep the incoming sound: "
                f"{error.strerror}; free some space or set TMPDIR"
            ) from error
        yield FileIO(file.fileno(), closefd=False)


def _stream_name(stream: BinaryIO) -> str:
    name = getattr(stream, "name", None)
    return name if isinstance(name, str) else "audio stream"
