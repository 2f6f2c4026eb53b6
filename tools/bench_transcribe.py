"""How long `asr transcribe` takes for one 10 s file, as a whole process.

    python tools/bench_transcribe.py exp/an4/default/best [--rounds 7] [--audio FILE]

Starts the command anew every time, after one warm-up, and prints minimum, median and maximum of
the wall time, and of a process that only imports torch: the floor of any program on torch.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from asr.data.audio import write_wav

SECONDS = 10.0
RATE = 16000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--audio", type=Path, help="default: 10 s of noise")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        audio = arguments.audio or _noise(Path(folder) / "noise.wav")
        transcribe = [sys.executable, "-m", "asr", "transcribe", str(audio)]
        commands = {
            "asr transcribe": [*transcribe, "--model", str(arguments.bundle)],
            "import torch": [sys.executable, "-c", "import torch"],
            "asr --help": [sys.executable, "-m", "asr", "--help"],
        }
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(arguments.rounds + 1):
            for name, command in commands.items():
                times[name].append(_seconds(command))
    for name, values in times.items():
        counted = values[1:]
        print(
            f"{name:15s} {statistics.median(counted):.2f} s "
            f"({min(counted):.2f} … {max(counted):.2f}), {len(counted)} runs"
        )


def _noise(path: Path) -> Path:
    random = np.random.default_rng(0)
    noise = 0.01 * random.standard_normal(round(SECONDS * RATE))
    write_wav(path, noise.astype(np.float32), RATE)
    return path


def _seconds(command: list[str]) -> float:
    begun = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603  # our own command
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
