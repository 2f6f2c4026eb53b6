"""The training loops that the guides show, run as they stand."""

import runpy
from pathlib import Path

import pytest
import torch


def losses_of(name: str, capsys: pytest.CaptureFixture[str]) -> list[float]:
    """What the script NAME_example.py prints: of at most 20 lines, and twice the same."""
    script = Path(__file__).parent / f"{name}_example.py"
    lines = script.read_text(encoding="utf-8").split("\n")
    assert len([line for line in lines if line]) <= 20
    outputs = []
    for _ in range(2):
        with torch.random.fork_rng():
            runpy.run_path(str(script))
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1]
    return list(map(float, outputs[0].split()))
