"""One process at a time in a folder."""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from asr.errors import ConfigError, shown
from asr.storage import cannot_write


class FolderLock:
    """Only one process at a time works in a folder; the system frees it when the process dies."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / ".lock"
        self._descriptor = -1

    def __enter__(self) -> Self:
        """Take the lock.

        Raises:
            ConfigError: another process has it.
            ResourceError: the folder cannot be written.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise cannot_write(self._path, error) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(self._descriptor, 0)
            os.write(self._descriptor, str(os.getpid()).encode("ascii"))
        except OSError as error:
            owner = os.read(self._descriptor, 20).decode("ascii", "replace").strip() or "unknown"
            os.close(self._descriptor)
            if not isinstance(error, BlockingIOError):
                raise cannot_write(self._path, error) from error
            raise ConfigError(
                f"{shown(self._path.parent)}: in use by process {owner}; wait for it, stop it, or "
                "choose another --out"
            ) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.close(self._descriptor)
