"""What can go wrong for a user: each class is one kind of fault with its exit code.

An `AsrError` carries a message that is complete in itself: what, where, what is needed, what to do.
The command line prints it as one line, without a traceback. Faults of a calling programmer are
`ValueError` and `TypeError` instead.
"""

from pathlib import Path
from typing import ClassVar, Literal

AudioFault = Literal["NOT_A_FILE", "BAD_AUDIO", "BAD_FORMAT", "TOO_LONG"]


class AsrError(Exception):
    """A fault that the user can mend; `exit_code` is what the command line returns for it."""

    exit_code: ClassVar[int] = 2


class ConfigError(AsrError):
    """A recipe, an option or an environment variable that cannot be used."""


class DataError(AsrError):
    """A manifest, transcript, corpus or vocabulary that cannot be used."""


class AudioError(DataError):
    """One sound file that cannot be used.

    Attributes:
        code: the kind of fault, stable for programs that read it.
    """

    exit_code: ClassVar[int] = 3

    def __init__(self, path: Path | str, reason: str, code: AudioFault) -> None:
        super().__init__(f"{shown(path)}: {reason} [{code}]")
        self.path = Path(path)
        self.reason = reason
        self.code: AudioFault = code


class ModelError(AsrError):
    """A bundle or checkpoint that is broken, foreign, or does not fit."""


class ResourceError(AsrError):
    """The disk or the memory did not suffice."""

    exit_code: ClassVar[int] = 5


class DivergedError(AsrError):
    """The training produced no finite numbers any more."""

    exit_code: ClassVar[int] = 6


class StoppedError(AsrError):
    """A signal asked the program to stop, and it did so tidily."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.signal_number = signal_number

    @property
    def status(self) -> int:
        """What a shell reports for a program stopped by this signal."""
        return 128 + self.signal_number


def shown(text: Path | str) -> str:
    """`text` safe for a terminal: control characters and undecodable bytes escaped."""
    characters = str(text)
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in characters
    )
