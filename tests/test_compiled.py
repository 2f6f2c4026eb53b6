"""What is compiled is compiled anew when anything that it draws on changes."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from asr.compiled import compiled, compiled_loop


@compiled
def doubled(values):  # type: ignore[no-untyped-def]
    return 2 * values


@compiled_loop
def summed(values):  # type: ignore[no-untyped-def]
    total = 0.0
    for value in values:
        total += value
    return total


def test_functions_compute() -> None:
    values = np.arange(4.0)
    assert summed(doubled(values)) == 12.0


def test_a_loop_leaves_its_arrays_as_they_were() -> None:
    values = np.arange(1000.0)
    before = sys.getrefcount(values)
    assert [summed(values) for _ in range(3)] == [499500.0] * 3
    assert sys.getrefcount(values) == before


CONSTANT = "NUMBER = {number}\n"
INNER = """
from asr.compiled import compiled_loop
from constant import NUMBER

@compiled_loop
def inner():
    return NUMBER
"""
MIDDLE = """
from asr.compiled import compiled_loop
from inner import inner

@compiled_loop
def middle():
    return 10 * inner()
"""
OUTER = """
from asr.compiled import compiled, is_kept
from middle import middle

@compiled
def outer():
    return middle() + 1

before = is_kept(outer)
print(outer(), before, is_kept(outer))
"""


def test_a_change_three_files_away_is_seen(tmp_path: Path) -> None:
    """numba alone would go on with the old constant: the function's own file did not change."""
    root = Path(__file__).parent.parent
    environment = os.environ | {
        "PYTHONPATH": f"{root}{os.pathsep}{tmp_path}",
        "NUMBA_CACHE_DIR": str(tmp_path / "cache"),
    }
    (tmp_path / "inner.py").write_text(INNER, encoding="utf-8")
    (tmp_path / "middle.py").write_text(MIDDLE, encoding="utf-8")
    (tmp_path / "outer.py").write_text(OUTER, encoding="utf-8")
    found = []
    for number in (4, 4, 5, 6):
        source = tmp_path / "constant.py"
        content = CONSTANT.format(number=number)
        if not source.exists() or source.read_text(encoding="utf-8") != content:
            time.sleep(0.05)
            source.write_text(content, encoding="utf-8")
            if number == 6:  # put back from a backup, or by an installer: older than what is kept
                os.utime(source, (1e9, 1e9))
        ran = subprocess.run(
            [sys.executable, "-B", tmp_path / "outer.py"],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        found.append(ran.stdout.split())
    assert found == [
        ["41", "False", "True"],
        ["41", "True", "True"],
        ["51", "False", "True"],
        ["61", "False", "True"],
    ]
