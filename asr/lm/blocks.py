"""Large text files, plain or gzip, as blocks of whole lines: for loops that are compiled."""

import gzip
import hashlib
import os
import stat
import zlib
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from asr.errors import DataError, shown

BLOCK_BYTES = 8 << 20
GZIP_MAGIC = b"\x1f\x8b"
DEFLATE_RATIO = 1032  # gzip makes nothing smaller than by this
_BOM = b"\xef\xbb\xbf"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


class LineBlocks:
    """A file from its beginning to its end, once.

    `data[at:]` are the lines of the present block that nobody has taken yet; the first of them has
    the number `line`, from 1. A block ends with a line, so that no line lies in two.

    Attributes:
        path: the file.
        most_bytes: of text that it can hold, from its size.
    """

    def __init__(self, path: Path, *, max_line_bytes: int) -> None:
        """Open `path`.

        Args:
            path: a plain file, or a gzip file by its first bytes; the name says nothing.
            max_line_bytes: a longer line is refused.

        Raises:
            DataError: not a readable regular file, empty, or UTF-16.
        """
        self.path = path
        self.data, self.at, self.line = b"", 0, 1
        self._max_line_bytes = max_line_bytes
        self._rest = b""
        self._raw = self._opened()
        self._file: BufferedReader | gzip.GzipFile = self._raw
        try:
            self._begin()
        except BaseException:
            self._raw.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._raw.close()

    def fault(self, what: str, line: int | None = None) -> DataError:
        """What to raise about the present line, or another one."""
        return DataError(f"{shown(self.path)}:{self.line if line is None else line}: {what}")

    def array(self) -> NDArray[np.uint8]:
        """The present block (n,); what was taken of it included."""
        return np.frombuffer(self.data, dtype=np.uint8)

    def more(self) -> bool:
        """Go on to the next block; False at the end of the file, where no data remain.

        Raises:
            DataError: a cut or damaged gzip file, a line too long, or a failing disk.
        """
        parts = [self._rest]
        length = len(self._rest)
        self._rest = b""
        while piece := self._read():
            end = piece.rfind(b"\n") + 1
            if end:
                parts.append(piece[:end])
                self._rest = piece[end:]
                break
            parts.append(piece)
            length += len(piece)
            if length > self._max_line_bytes:
                self.data = b""
                raise self.too_long()
        self.data, self.at = b"".join(parts), 0
        return bool(self.data)

    def peek_line(self) -> bytes | None:
        r"""The next line, without its `\n` or `\r\n`, not taken; none at the end of the file.

        Raises:
            DataError: as `more`.
        """
        if self.at == len(self.data) and not self.more():
            return None
        end = self._line_end()
        if end - self.at > self._max_line_bytes:
            raise self.too_long()
        return self.data[self.at : end].removesuffix(b"\r")

    def next_line(self) -> bytes | None:
        """Take the line that `peek_line` gives.

        Raises:
            DataError: as `more`.
        """
        line = self.peek_line()
        if line is not None:
            self.at = min(self._line_end() + 1, len(self.data))
            self.line += 1
        return line

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """The lines that remain, with their numbers.

        Raises:
            DataError: as `more`.
        """
        while (line := self.next_line()) is not None:
            yield self.line - 1, line

    def digest(self) -> str:
        """The SHA-256 of the file as it lies on the disk, in hexadecimal; no line can follow.

        Raises:
            DataError: it cannot be read.
        """
        try:
            self._raw.seek(0)
            return hashlib.file_digest(self._raw, "sha256").hexdigest()
        except OSError as error:
            raise self._unreadable(error) from error

    def too_long(self) -> DataError:
        """What to raise about a present line that is too long."""
        return self.fault(
            f"a line of more than {self._max_line_bytes} bytes: the file is damaged or no text; "
            "copy or make it again"
        )

    def _begin(self) -> None:
        """See what kind of file it is, and read the first block."""
        try:
            self.most_bytes = os.fstat(self._raw.fileno()).st_size
            packed = self._raw.read(len(GZIP_MAGIC)) == GZIP_MAGIC
            self._raw.seek(0)
        except OSError as error:
            raise self._unreadable(error) from error
        if packed:
            self.most_bytes *= DEFLATE_RATIO
            self._file = gzip.GzipFile(fileobj=self._raw)
        if not self.more():
            raise DataError(f"{shown(self.path)}: is empty; copy or make the file again")
        if self.data.startswith(_UTF16_MARKS):
            raise self.fault("is UTF-16; save the file as UTF-8")
        self.at = len(_BOM) if self.data.startswith(_BOM) else 0

    def _unreadable(self, error: OSError) -> DataError:
        return DataError(f"{shown(self.path)}: cannot be read: {error.strerror}")

    def _line_end(self) -> int:
        end = self.data.find(b"\n", self.at)
        return len(self.data) if end < 0 else end

    def _opened(self) -> BufferedReader:
        try:
            mode = self.path.stat().st_mode
            if stat.S_ISDIR(mode):
                raise DataError(f"{shown(self.path)}: is a folder; give the file")
            if not stat.S_ISREG(mode):
                raise DataError(f"{shown(self.path)}: is no regular file; save its content as one")
            return self.path.open("rb")
        except OSError as error:
            raise self._unreadable(error) from error

    def _read(self) -> bytes:
        try:
            return self._file.read(BLOCK_BYTES)
        except EOFError as error:
            raise self.fault(
                "the compressed file is cut off in or after this line; copy or make it again"
            ) from error
        except (gzip.BadGzipFile, zlib.error) as error:
            raise self.fault(
                f"the compressed file is damaged in or after this line ({error}); copy or make it "
                "again"
            ) from error
        except OSError as error:
            raise self._unreadable(error) from error
