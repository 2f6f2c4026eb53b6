"""What became of every batch."""

import json
from pathlib import Path

import pytest

from asr.errors import DataError, DivergedError
from asr.training.checkpoint import TrainingState
from asr.training.ledger import LOG_EVERY, MAX_NON_FINITE, Ledger
from asr.training.progress import Reporter
from asr.training.step import StepResult
from asr.training.task import Skipped

GOOD = StepResult(1.5, 0.5)
BAD = StepResult(float("nan"), float("nan"), ("a", "b"), "the loss is not finite")


def records(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def test_steps_are_counted_and_every_tenth_is_logged(tmp_path: Path) -> None:
    state = TrainingState()
    with Reporter(tmp_path, None, quiet=True) as reporter:
        ledger = Ledger(tmp_path, state, reporter, max_bad=0)
        for _ in range(2 * LOG_EVERY + 1):
            ledger.account(GOOD, 0.1)
    assert state.step == 2 * LOG_EVERY + 1
    logged = records(tmp_path / "metrics.jsonl")
    assert [record["step"] for record in logged] == [LOG_EVERY, 2 * LOG_EVERY]
    assert logged[0] == {
        "kind": "train", "step": 10, "epoch": 1, "loss": 1.5, "learning_rate": 0.1,
        "gradient_norm": 0.5,
    }  # fmt: skip


def test_a_good_step_forgives_the_bad_ones_before(tmp_path: Path) -> None:
    state = TrainingState()
    with Reporter(tmp_path, None, quiet=True) as reporter:
        ledger = Ledger(tmp_path, state, reporter, max_bad=0)
        for _ in range(MAX_NON_FINITE - 1):
            ledger.account(BAD, 0.1)
        ledger.account(GOOD, 0.1)
        for _ in range(MAX_NON_FINITE - 1):
            ledger.account(BAD, 0.1)
        with pytest.raises(DivergedError, match=r"10 batches in a row .* \(last: a, b\); lower"):
            ledger.account(BAD, 0.1)
    assert state.step == 1
    assert len(records(tmp_path / "skipped.jsonl")) == 2 * (2 * MAX_NON_FINITE - 1)


def test_too_many_left_out(tmp_path: Path) -> None:
    state = TrainingState(epoch=2)
    with Reporter(tmp_path, None, quiet=True) as reporter:
        ledger = Ledger(tmp_path, state, reporter, max_bad=2)
        ledger.left_out([Skipped("a", "broken"), Skipped("b", "gone")], 4)
        message = r"3 sequences of this epoch cannot be used .*--set training\.max_bad=6"
        with pytest.raises(DataError, match=message):
            ledger.left_out([Skipped("c", "broken")], 5)
    assert records(tmp_path / "skipped.jsonl") == [
        {"epoch": 3, "batch": 4, "id": "a", "reason": "broken"},
        {"epoch": 3, "batch": 4, "id": "b", "reason": "gone"},
        {"epoch": 3, "batch": 5, "id": "c", "reason": "broken"},
    ]
