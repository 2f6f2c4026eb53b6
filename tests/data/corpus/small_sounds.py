"""Small sound files and text files for the tests of importers and recipes."""

import wave
from pathlib import Path

RATE = 8000


def record(path: Path, seconds: float = 0.25) -> Path:
    """A WAV file of that length; what is in it does not matter."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(b"\x01\x02" * round(seconds * RATE))
    return path


def write(path: Path, *lines: str) -> Path:
    """A text file of these lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="")
    return path
