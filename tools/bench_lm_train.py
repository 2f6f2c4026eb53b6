"""Time and memory of making an n-gram model: reading the text, counting, smoothing, writing.

    python tools/bench_lm_train.py text.txt.gz [--order 3] [--repeats 3] [--lmplz …/bin/lmplz]

Every run is a process of its own, as a user's would be: starting it, importing and loading compiled
code are counted. Wall time is the smallest of the repetitions, the processor's time belongs to the
same run; memory is the largest resident set. With `--lmplz`, KenLM's program makes a model of the
same text, unpacked for it before; it takes turns with ours, so a busy machine slows both.
"""

import argparse
import gzip
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple


class Cost(NamedTuple):
    """Of one run."""

    wall_seconds: float
    processor_seconds: float
    megabytes: float


def main() -> None:
    """Run, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("text", type=Path)
    parser.add_argument("--order", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--lmplz", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        commands = _commands(arguments, Path(name))
        costs: dict[str, list[Cost]] = {program: [] for program in commands}
        for _ in range(arguments.repeats):
            for program, command in commands.items():
                costs[program].append(_run(command))
    for program, measured in costs.items():
        best = min(measured)
        print(
            f"{program}: {best.wall_seconds:.1f} s, {best.processor_seconds:.1f} s of a processor, "
            f"{max(cost.megabytes for cost in measured):,.0f} MB"
        )


def _commands(arguments: argparse.Namespace, folder: Path) -> dict[str, list[str]]:
    order, out = str(arguments.order), str(folder / "model.arpa")
    asr = [sys.executable, "-m", "asr", "lm", "train", str(arguments.text)]
    commands = {"asr lm train": [*asr, "--order", order, "--out", out]}
    if arguments.lmplz:
        plain = _unpacked(arguments.text, folder / "plain.txt")
        lmplz = [str(arguments.lmplz), "-o", order, "--text", str(plain), "--arpa", out]
        commands["lmplz"] = [*lmplz, "-S", "4G", "-T", str(folder), "--discount_fallback"]
    return commands


def _unpacked(text: Path, plain: Path) -> Path:
    if text.suffix != ".gz":
        return text
    with gzip.open(text) as packed, plain.open("wb") as file:
        shutil.copyfileobj(packed, file)
    return plain


def _run(command: list[str]) -> Cost:
    begin = time.perf_counter()
    process = subprocess.Popen(  # noqa: S603
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1e3)


if __name__ == "__main__":
    main()
