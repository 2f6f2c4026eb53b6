"""Trainings that are killed, stopped and starved, as real processes, go on as if nothing was."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from asr.storage import is_valid, load_tensors, read_json, verify_folder
from tests.training.toy_process import Order

ROOT = Path(__file__).parents[2]
# So small that every update is followed by a checkpoint.
ALWAYS = {"checkpoint_minutes": 1e-9}
SETTINGS = {"epochs": 3, "num_workers": 2, "weight_noise": 0.05, "average_best": 2}


class Trainings:
    """Processes that train."""

    def __init__(self) -> None:
        self._running: set[int] = set()
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.training.toy_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert self._answer() == "ready"

    def start(self, order: Order) -> int:
        """The number of the process."""
        order.hangs.unlink(missing_ok=True)
        process = self._ask(f"start {json.dumps(asdict(order))}")
        self._running.add(process)
        return process

    def end(self, process: int) -> int:
        """The exit code of a process, once it has ended."""
        code = self._ask(f"wait {process}")
        self._running.remove(process)
        return code

    def run(self, order: Order) -> int:
        return self.end(self.start(order))

    def close(self) -> None:
        for process in self._running:  # of tests that failed
            os.kill(process, signal.SIGKILL)
        self._server.kill()
        self._server.communicate()

    def _ask(self, line: str) -> int:
        assert self._server.stdin is not None
        self._server.stdin.write(line + "\n")
        self._server.stdin.flush()
        return int(self._answer())

    def _answer(self) -> str:
        assert self._server.stdout is not None
        return self._server.stdout.readline().strip()


@pytest.fixture(scope="module")
def trainings() -> Iterator[Trainings]:
    started = Trainings()
    yield started
    started.close()


def wait_for(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "waited for 30 s"
        time.sleep(0.002)


def checkpoints(folder: Path) -> list[Path]:
    """Those with their final name, the newest last."""
    found = (folder / "checkpoints").glob("step-*")
    return sorted(path for path in found if re.fullmatch(r"step-\d+", path.name))


def newest_step(folder: Path) -> int:
    """The step from which the next start must go on; 0 without a checkpoint."""
    intact = [path for path in checkpoints(folder) if is_valid(path)]
    assert intact or not checkpoints(folder), "there are checkpoints, but none is intact"
    return int(intact[-1].name[5:]) if intact else 0


def said(order: Order) -> str:
    return order.errors.read_text(encoding="utf-8")


def assert_same_training(folder: Path, expected: Path) -> None:
    """The same weights, moments, finished model and logs; nothing half-done is left."""
    newest, wanted = checkpoints(folder)[-1], checkpoints(expected)[-1]
    assert newest.name == wanted.name
    for path in (newest, folder / "best"):
        verify_folder(path)
    for name in ("model.safetensors", "optimizer.safetensors"):
        assert_same_tensors(newest / name, wanted / name)
    assert_same_tensors(
        folder / "best" / "model.safetensors", expected / "best" / "model.safetensors"
    )
    assert read_json(folder / "finished.json") == read_json(expected / "finished.json")
    for name in ("metrics.jsonl", "skipped.jsonl"):
        assert lines(folder / name) == lines(expected / name)
    leftovers = [path.name for path in folder.rglob("*") if re.search(r"\.(tmp|old)-", path.name)]
    assert leftovers == []


def assert_same_tensors(path: Path, expected: Path) -> None:
    found, wanted = load_tensors(path), load_tensors(expected)
    assert found.keys() == wanted.keys()
    for name in wanted:
        assert torch.equal(found[name], wanted[name]), name


def lines(path: Path) -> list[str]:
    """The mean loss of an epoch is only of the part since the last start."""
    text = path.read_text(encoding="utf-8")
    return [re.sub(r'"train_loss": [^,}]+, ', "", line) for line in text.split("\n")]


@pytest.fixture(scope="module")
def uninterrupted(trainings: Trainings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    order = Order(str(tmp_path_factory.mktemp("whole") / "run"), SETTINGS)
    assert trainings.run(order) == 0, said(order)
    return Path(order.folder)


# The starting weights compete, and weight noise begins after epoch 3, with the weights of epoch 1.
QUIET = Order(
    "",
    {**SETTINGS, "epochs": 5, "weight_noise_after": 2},
    judge_start=True,
    dev_of_epoch=[0.5, 0.3, 0.4, 0.3, 0.2, 0.35],
)
KILLS = [pytest.param(8), pytest.param(200, marks=pytest.mark.soak)]


@pytest.mark.parametrize("kills", KILLS)
def test_killed_at_any_time_it_goes_on_to_the_same_end(
    trainings: Trainings, uninterrupted: Path, tmp_path: Path, kills: int
) -> None:
    kill_and_compare(trainings, Order(str(tmp_path), SETTINGS), uninterrupted, kills)


@pytest.mark.parametrize("kills", KILLS)
def test_killed_around_the_beginning_of_the_noise_it_goes_on_to_the_same_end(
    trainings: Trainings, tmp_path: Path, kills: int
) -> None:
    whole = replace(QUIET, folder=str(tmp_path / "whole"))
    assert trainings.run(whole) == 0, said(whole)
    assert "no better since epoch 1: back to those weights, from here on with" in said(whole)
    kill_and_compare(trainings, replace(QUIET, folder=str(tmp_path)), Path(whole.folder), kills)


def kill_and_compare(trainings: Trainings, plan: Order, expected: Path, kills: int) -> None:
    """With a checkpoint after every update, so that many kills fall into the saving of one.

    Args:
        trainings: where to run them.
        plan: the training; run after run of it lies in its folder.
        expected: the run folder of one that was not killed.
        kills: how often to kill one.
    """
    chance = np.random.default_rng(kills)
    settings = {**plan.settings, **ALWAYS}
    killed = finished = 0
    while killed < kills or not finished:
        order = replace(plan, folder=f"{plan.folder}/run-{finished}", settings=settings)
        folder = Path(order.folder)
        step = newest_step(folder)
        process = trainings.start(order)
        if killed < kills:
            # Later and later: before the first step, in the saves, at the end.
            time.sleep(chance.uniform(0.0, 0.1 * (1 + killed % 6)))
            os.kill(process, signal.SIGKILL)
        code = trainings.end(process)
        if code == -signal.SIGKILL:
            killed += 1
            assert newest_step(folder) >= step, "what was saved stays saved"
            continue
        assert code == 0, said(order)
        assert_same_training(folder, expected)
        finished += 1


def hanging(trainings: Trainings, order: Order) -> int:
    """The number of a process that has come to where it hangs."""
    process = trainings.start(order)
    wait_for(order.hangs.exists)
    return process


def has_ended(process: int) -> bool:
    state = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2]
    return state.split()[0] == "Z"


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGUSR1, 138)]
)
def test_a_signal_lets_the_step_finish(
    trainings: Trainings,
    uninterrupted: Path,
    tmp_path: Path,
    number: signal.Signals,
    status: int,
) -> None:
    order = Order(str(tmp_path / "run"), SETTINGS, stuck_at=8)
    folder = Path(order.folder)
    process = hanging(trainings, order)
    os.kill(process, number)
    order.goes_on.touch()
    begun = time.monotonic()
    assert trainings.end(process) == status, said(order)
    assert time.monotonic() - begun < 10
    assert f"stopped by {number.name}; the same command continues from here" in said(order)
    assert "Traceback" not in said(order)
    verify_folder(checkpoints(folder)[-1])
    assert order.consumed.read_text(encoding="utf-8") == "9", "the step that hung is finished"
    assert newest_step(folder) == 9
    assert trainings.run(Order(order.folder, SETTINGS)) == 0
    assert_same_training(folder, uninterrupted)


@pytest.mark.parametrize("where", [{"stuck_at": 8}, {"stuck_in_save": 9}], ids=["batch", "save"])
def test_the_second_signal_does_not_wait(
    trainings: Trainings, uninterrupted: Path, tmp_path: Path, where: dict[str, int]
) -> None:
    order = Order(str(tmp_path / "run"), {**SETTINGS, **ALWAYS}, **where)
    folder = Path(order.folder)
    process = hanging(trainings, order)
    begun = time.monotonic()
    os.kill(process, signal.SIGTERM)
    assert not has_ended(process)
    while not has_ended(process) and time.monotonic() - begun < 10:
        os.kill(process, signal.SIGTERM)  # again and again: two that come at once count as one
        time.sleep(0.01)
    assert time.monotonic() - begun < 10
    assert trainings.end(process) == 143
    assert newest_step(folder) == 8, "the last checkpoint is intact"
    assert trainings.run(Order(order.folder, SETTINGS)) == 0
    assert_same_training(folder, uninterrupted)


def test_a_full_disk_ends_it_with_the_last_checkpoint_intact(
    trainings: Trainings, uninterrupted: Path, tmp_path: Path
) -> None:
    order = Order(str(tmp_path / "run"), {**SETTINGS, **ALWAYS}, full_at=8)
    folder = Path(order.folder)
    assert trainings.run(order) == 5, said(order)
    assert newest_step(folder) == 8
    assert "Traceback" not in said(order)
    errors = [line for line in said(order).split("\n") if "cannot be written" in line]
    assert len(errors) == 1
    assert "free some space" in errors[0]
    assert trainings.run(Order(order.folder, SETTINGS)) == 0, said(order)
    assert_same_training(folder, uninterrupted)


def test_two_trainings_in_one_folder_exclude_each_other(
    trainings: Trainings, uninterrupted: Path, tmp_path: Path
) -> None:
    order = Order(str(tmp_path / "run"), SETTINGS, stuck_at=3)
    process = hanging(trainings, order)
    second = Order(order.folder, SETTINGS)
    assert trainings.run(second) == 2
    assert f"in use by process {process}; wait for it, stop it, or choose another" in said(second)
    os.kill(process, signal.SIGKILL)
    assert trainings.end(process) == -signal.SIGKILL
    assert trainings.run(second) == 0
    assert_same_training(Path(order.folder), uninterrupted)
