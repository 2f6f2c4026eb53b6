"""Stopping when asked: the first signal lets the step finish, the second ends the process."""

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

from asr.errors import StoppedError

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class StopSignals:
    """While entered, remembers a signal instead of dying of it.

    Only the main thread of a process receives signals; elsewhere (a training inside somebody's
    thread) nothing is caught.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._handle) for number in SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def raise_if_stopped(self) -> None:
        """Return when no signal came.

        Raises:
            StoppedError: one came.
        """
        if self.received is not None:
            name = signal.Signals(self.received).name
            raise StoppedError(
                f"stopped by {name}; the same command continues from here", self.received
            )

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            os._exit(128 + number)
        self.received = number
