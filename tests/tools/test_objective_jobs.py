"""Commands side by side: what they run on, what is done again, and what failures leave behind."""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Barrier

import pytest

from asr.errors import ConfigError
from tools.objective_arms import read_failures
from tools.objective_jobs import (
    Job,
    JobError,
    Runner,
    checked,
    read_done,
    run_asr,
    run_jobs,
    run_step,
)


def nothing(arguments: Sequence[str], log: Path) -> int:
    return 0


def jobs_of(**works: Callable[[Runner], None]) -> list[Job]:
    return [Job(name, work) for name, work in works.items()]


def do(jobs: list[Job], out: Path, *, side_by_side: int = 1) -> tuple[list[str], list[str]]:
    """What failed, and what was said."""
    said: list[str] = []
    return run_jobs(jobs, side_by_side=side_by_side, out=out, run=nothing, say=said.append), said


def test_asr_runs_on_one_thread_into_a_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "python"
    program.write_text('#!/bin/sh\necho "$OMP_NUM_THREADS $*"\necho oh >&2\nexit 3\n')
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))
    log = tmp_path / "logs" / "x.log"
    assert run_asr(["train", "x.toml"], log) == 3
    assert run_asr(["train", "y.toml"], log) == 3
    assert log.read_text() == "1 -m asr train x.toml\noh\n1 -m asr train y.toml\noh\n"
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert run_asr(["train", "z.toml"], log, threads=None) == 3
    assert log.read_text().endswith("7 -m asr train z.toml\noh\n"), "as many as the user says"


def test_a_failure_has_the_last_line_of_the_log(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    with pytest.raises(JobError, match=r"^exit code 3: it said nothing \(.*x\.log\)$"):
        checked(lambda arguments, log: 3, ["train"], log)
    log.write_text("one\nerror: no such bundle\n\n", encoding="utf-8")
    with pytest.raises(JobError, match="exit code 6: error: no such bundle") as caught:
        checked(lambda arguments, log: 6, ["train"], log)
    assert caught.value.exit_code == 6
    checked(nothing, ["train"], log)


@pytest.mark.skipif(sys.platform != "linux", reason="threads are bound on Linux alone")
def test_each_worker_has_a_core(tmp_path: Path) -> None:
    before = os.sched_getaffinity(0)
    met, cores = Barrier(2, timeout=60), []

    def work(runner: Runner) -> None:
        met.wait()  # both workers are at it
        cores.append(os.sched_getaffinity(0))

    assert do(jobs_of(a=work, b=work), tmp_path, side_by_side=2)[0] == []
    assert [len(each) for each in cores] == [1, 1]
    assert len(set.union(*cores)) == min(2, len(before))
    assert os.sched_getaffinity(0) == before


def test_jobs_begin_in_their_order(tmp_path: Path) -> None:
    done: list[str] = []
    jobs = [Job(name, lambda runner, name=name: done.append(name)) for name in "cabd"]
    assert do(jobs, tmp_path) == ([], ["1/4 c: done", "2/4 a: done", "3/4 b: done", "4/4 d: done"])
    assert done == list("cabd")


def test_failures_are_noted_until_they_are_mended(tmp_path: Path) -> None:
    def fails(runner: Runner) -> None:
        raise JobError(6, "exit code 6: diverged")

    def is_wrong(runner: Runner) -> None:
        raise ConfigError("begun otherwise")

    def works(runner: Runner) -> None:
        pass

    failed, said = do(jobs_of(a=fails, b=works, c=is_wrong), tmp_path)
    assert failed == ["a", "c"]
    assert said[0] == "1/3 a: failed: exit code 6: diverged"
    assert read_failures(tmp_path) == {
        "a": {"exit_code": 6, "message": "exit code 6: diverged"},
        "c": {"exit_code": 2, "message": "begun otherwise"},
    }
    assert do(jobs_of(a=works), tmp_path)[0] == []
    assert list(read_failures(tmp_path)) == ["c"]


def test_what_waits_does_not_begin_after_a_fault(tmp_path: Path) -> None:
    begun: list[str] = []

    def stops(runner: Runner) -> None:
        begun.append("a")
        raise KeyboardInterrupt

    jobs = jobs_of(a=stops, **{f"b{n}": lambda runner: begun.append("b") for n in range(200)})
    with pytest.raises(KeyboardInterrupt):
        do(jobs, tmp_path)
    assert len(begun) < 201


def test_a_step_is_made_again_when_its_inputs_change(tmp_path: Path) -> None:
    calls: list[Sequence[str]] = []

    def counted(arguments: Sequence[str], log: Path) -> int:
        calls.append(arguments)
        return 0

    for inputs, count in (({"lm": "1"}, 1), ({"lm": "1"}, 1), ({"lm": "2"}, 2)):
        run_step(counted, ["tune"], tmp_path, inputs)
        assert len(calls) == count
        assert read_done(tmp_path) == inputs


def test_a_step_that_fails_leaves_no_older_results(tmp_path: Path) -> None:
    run_step(nothing, ["tune"], tmp_path, {"lm": "1"})
    with pytest.raises(JobError, match="exit code 5"):
        run_step(lambda arguments, log: 5, ["tune"], tmp_path, {"lm": "2"})
    assert read_done(tmp_path) is None
