"""Several commands at one experiment, corpora by name, and runs that the plan's settings made.

What one command does is in test_compare_objectives.py.
"""

import fcntl
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest

from asr.errors import ResourceError
from asr.recipe import load_recipe
from tests.tools.made_runs import FakeAsr, make_recipe
from tools.compare_objectives import claim, main, share_jobs
from tools.objective_arms import Run, open_experiment, read_failures
from tools.objective_jobs import Job, JobError, Runner

TRAIN = ["--rates", "1e-4", "3e-5", "--epochs", "4"]


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.compare_objectives.POLL_SECONDS", 0.01)


@contextmanager
def held(file: Path) -> Iterator[None]:
    """What another process would do: a lock goes with the open file, whoever opened it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def until(told: Callable[[], str], text: str) -> str:
    """All that is told until `text` is."""
    found, wait = "", Event()
    for _ in range(3000):
        found += told()
        if text in found:
            return found
        wait.wait(0.01)
    raise AssertionError(f"no '{text}' in: {found}")


def test_a_claim_is_for_one(tmp_path: Path) -> None:
    with claim(tmp_path, "ctc/lr-1e-4/seed-1") as first:
        with claim(tmp_path, "ctc/lr-1e-4/seed-1") as second:
            assert (first, second) == (True, False)
        with claim(tmp_path, "ctc/lr-1e-4/seed-2") as other:
            assert other
    with claim(tmp_path, "ctc/lr-1e-4/seed-1") as again:
        assert again
    assert (tmp_path / "ctc/lr-1e-4/.seed-1.lock").is_file()


def test_a_claim_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "ctc").write_text("no folder", encoding="utf-8")
    with (
        pytest.raises(ResourceError, match=r"\.lr-1e-4\.lock"),
        claim(tmp_path, "ctc/lr-1e-4"),
    ):
        pass


def test_what_another_command_is_at_comes_last(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done: list[str] = []
    jobs = [Job(name, lambda runner, name=name: done.append(name)) for name in ("a", "b", "c")]
    arguments = {"out": tmp_path, "side_by_side": 2, "run": lambda arguments, log: 0}
    failed: list[list[str]] = []
    ours = Thread(target=lambda: failed.append(share_jobs(jobs, **arguments)))  # type: ignore[arg-type]
    with held(tmp_path / ".a.lock"):
        ours.start()
        told = until(lambda: capsys.readouterr().err, "a: another command is at it\n")
        assert sorted(done) == ["b", "c"]
        assert " a: done" not in told
    ours.join(60)
    assert (sorted(done), done[-1], failed) == (["a", "b", "c"], "a", [[]])
    assert capsys.readouterr().err == "1/1 a: done\n"


def test_what_another_command_left_half_done_can_fail_here(tmp_path: Path) -> None:
    def fails(runner: Runner) -> None:
        raise JobError(6, "exit code 6: diverged")

    found: list[list[str]] = []

    def share() -> None:
        jobs = [Job("a", fails), Job("b", fails)]
        found.append(share_jobs(jobs, out=tmp_path, side_by_side=1, run=FakeAsr()))

    with held(tmp_path / ".a.lock"):
        ours = Thread(target=share)
        ours.start()
        until(lambda: " ".join(read_failures(tmp_path)), "b")
    ours.join(60)
    assert found == [["b", "a"]]


def test_two_commands_train_each_run_once(tmp_path: Path) -> None:
    recipe, asr, exits = make_recipe(tmp_path), FakeAsr(), []

    def command() -> None:
        exits.append(main(["train", str(recipe), "--out", str(tmp_path / "out"), *TRAIN], asr))

    both = [Thread(target=command) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join(60)
    assert exits == [0, 0]
    folders = asr.folders("train")
    assert len(folders) == len(set(folders)) == 6 * 2 + 6 * 2


def test_a_failure_that_another_command_mended_is_none(tmp_path: Path) -> None:
    """What the other wrote into failures.json counts, not what this one remembers."""
    recipe, out = make_recipe(tmp_path), tmp_path / "out"
    first = "ctc/lr-1e-4/seed-1"

    def fail(arguments: Sequence[str]) -> int:
        (out / "failures.json").unlink(missing_ok=True)  # as if mended meanwhile
        return 5 if first in arguments[-1] else 0

    assert main(["train", str(recipe), "--out", str(out), *TRAIN], FakeAsr(fail=fail)) == 0


@pytest.mark.parametrize(
    ("arm", "settings"),
    [
        ("reinforce-5", ["estimator=reinforce", "num_samples=5"]),
        ("nbest-4", ["estimator=nbest", "num_samples=4"]),
        ("exchange-1", ["estimator=exchange", "num_samples=1"]),
        ("exchange-5", ["estimator=exchange", "num_samples=5"]),
        ("exchange-20", ["estimator=exchange", "num_samples=20"]),
    ],
)
@pytest.mark.parametrize("corpus", ["an4", "speechocean762"])
def test_runs_begun_by_hand_are_recognised(corpus: str, arm: str, settings: list[str]) -> None:
    """`asr train … --set` of the same settings is the same recipe, to the last default."""
    file = Path(f"recipes/{corpus}/expected_wer.toml")
    given = ["optimizer.learning_rate=3e-4", "training.epochs=4", "seed=2", "data.test="]
    by_hand = load_recipe(file, [f"objective.{each}" for each in settings] + given)
    experiment = open_experiment(file, None, (3e-4,), (1, 2))
    assert experiment.recipe_of(Run(arm, 3e-4, 2), 4) == by_hand


def made_corpus(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`recipes/made/expected_wer.toml` and what `decode` looks for, below `folder`."""
    recipe = make_recipe(folder)
    (folder / "recipes").mkdir()
    recipe.parent.rename(folder / "recipes" / "made")
    (folder / "recipes" / "made" / "recipe.toml").rename(folder / "recipes/made/expected_wer.toml")
    (folder / "exp" / "lm").mkdir(parents=True)
    monkeypatch.chdir(folder)
    return folder / "exp"


def test_a_corpus_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    exp, asr = made_corpus(tmp_path, monkeypatch), FakeAsr()
    assert main(["decode", "made"], asr) == 2
    assert "exp/lm/made_words.txt: no such file" in capsys.readouterr().err
    (exp / "lm" / "made_words.txt").write_text("A\n", encoding="utf-8")
    (exp / "lm" / "made_3.arpa").write_text("a model", encoding="utf-8")
    assert main(["decode", "made"], asr) == 0
    lm = ["--lexicon", "exp/lm/made_words.txt", "--lm", "exp/lm/made_3.arpa"]
    assert asr.calls[0][3:7] == lm
    assert (exp / "compare/made/decode/start/lm/hypotheses.jsonl").is_file()
    assert main(["report", "made"], asr) == 0
    assert "start, greedy / start, dictionary" in capsys.readouterr().out


def test_weights_found_on_other_dev_data_are_used_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exp = made_corpus(tmp_path, monkeypatch)
    (exp / "lm" / "made_words.txt").write_text("A\n", encoding="utf-8")
    (exp / "lm" / "made_3.arpa").write_text("a model", encoding="utf-8")
    main(["decode", "made"], FakeAsr())
    dev = tmp_path / "data" / "dev.jsonl"
    lines = dev.read_text(encoding="utf-8").splitlines()
    dev.write_text(json.dumps(json.loads(lines[0])) + "\n", encoding="utf-8")
    asr = FakeAsr()
    assert main(["decode", "made"], asr) == 0
    assert [(call[0], Path(call[call.index("--out") + 1]).name) for call in asr.calls] == [
        ("tune", "tuning"),
        ("evaluate", "lm"),
    ]
