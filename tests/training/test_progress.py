"""Log files that tell each thing once, however often a training was killed."""

import json
from pathlib import Path
from typing import Any

import pytest

from asr.training.checkpoint import TrainingState
from asr.training.progress import Reporter, duration_text, estimate_text


class Events:
    """In place of TensorBoard's writer."""

    made: list["Events"]

    def __init__(self, folder: str, purge_step: int | None) -> None:
        self.folder, self.purge_step = folder, purge_step
        self.scalars: list[tuple[str, float, int]] = []
        self.texts: list[tuple[str, str, int]] = []
        self.closed = False
        Events.made.append(self)

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.scalars.append((name, value, step))

    def add_text(self, name: str, text: str, step: int) -> None:
        self.texts.append((name, text, step))

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Events]:
    Events.made = []
    monkeypatch.setattr("torch.utils.tensorboard.SummaryWriter", Events)
    return Events.made


def records(path: Path) -> list[dict[str, Any]]:
    text = path.read_text(encoding="utf-8")
    assert text == "" or text.endswith("\n")
    return [json.loads(line) for line in text.split("\n")[:-1]]


def report(folder: Path, state: TrainingState | None = None) -> Reporter:
    return Reporter(folder, state or TrainingState(), quiet=True)


def steps(folder: Path, kind: str) -> list[int]:
    return [line["step"] for line in records(folder / "metrics.jsonl") if line["kind"] == kind]


def test_numbers_go_to_the_file_and_to_tensorboard(tmp_path: Path, made: list[Events]) -> None:
    with report(tmp_path) as reporter:
        reporter.log("train", 10, {"epoch": 1, "loss": 0.5})
        reporter.log_text("dev/examples", 10, "größer")
    assert records(tmp_path / "metrics.jsonl") == [
        {"kind": "train", "step": 10, "epoch": 1, "loss": 0.5}
    ]
    (events,) = made
    assert events.folder == str(tmp_path)
    assert events.scalars == [("train/epoch", 1, 10), ("train/loss", 0.5, 10)]
    assert events.texts == [("dev/examples", "größer", 10)]
    assert events.purge_step is None
    assert events.closed


def test_what_is_not_finite_stands_in_no_file(tmp_path: Path, made: list[Events]) -> None:
    """It would make a line that is no JSON."""
    with report(tmp_path) as reporter:
        reporter.log("train", 10, {"loss": float("nan"), "gradient_norm": float("inf"), "a": 1})
    assert records(tmp_path / "metrics.jsonl") == [{"kind": "train", "step": 10, "a": 1}]
    assert made[0].scalars == [("train/a", 1, 10)]


def test_lines_beyond_the_checkpoint_are_dropped(tmp_path: Path, made: list[Events]) -> None:
    with report(tmp_path) as reporter:
        for step in (10, 20, 30):
            reporter.log("train", step, {"epoch": 1})
        for epoch, step in ((1, 20), (2, 30)):
            reporter.log("dev", step, {"epoch": epoch})
    with report(tmp_path, TrainingState(step=20, epoch=1, best=(0.5, 1))):
        pass
    assert steps(tmp_path, "train") == [10, 20]
    assert steps(tmp_path, "dev") == [20]
    assert made[1].purge_step == 21


def test_an_evaluation_that_the_checkpoint_does_not_know_is_dropped(
    tmp_path: Path, made: list[Events]
) -> None:
    """Its step may be that of the checkpoint: the last batches of the epoch made no update."""
    with report(tmp_path) as reporter:
        reporter.log("dev", 20, {"epoch": 1})
    with report(tmp_path, TrainingState(step=20, epoch=0, position=5)):
        pass
    assert steps(tmp_path, "dev") == []


def test_the_evaluation_of_the_start_stays_once_a_checkpoint_knows_it(
    tmp_path: Path, made: list[Events]
) -> None:
    for state, kept in ((TrainingState(best=(0.5, 0)), [0]), (TrainingState(), [])):
        with report(tmp_path, TrainingState()) as reporter:
            reporter.log("dev", 0, {"epoch": 0})
        with report(tmp_path, state):
            pass
        assert steps(tmp_path, "dev") == kept


def test_the_scores_of_a_finished_model_stay_until_the_training_goes_on(
    tmp_path: Path, made: list[Events]
) -> None:
    with report(tmp_path) as reporter:
        reporter.log("dev", 20, {"epoch": 1})
        reporter.log("final_test", 20, {"error": 0.1})
    with Reporter(tmp_path, None, quiet=True):
        pass
    assert steps(tmp_path, "final_test") == [20]
    with report(tmp_path, TrainingState(step=20, epoch=1, best=(0.5, 1))):
        pass
    assert steps(tmp_path, "final_test") == []
    assert steps(tmp_path, "dev") == [20]


def test_left_out_sequences_are_told_once(tmp_path: Path, made: list[Events]) -> None:
    """They belong to a batch: the step may be the same before and after it."""
    places = [(1, 1), (1, 3), (1, 4), (2, 1), (2, 2)]
    for state, kept in (
        (TrainingState(epoch=0, position=0), 0),
        (TrainingState(epoch=0, position=1), 1),
        (TrainingState(epoch=0, position=3), 2),
        (TrainingState(epoch=1, position=0), 3),
        (TrainingState(epoch=1, position=1), 4),
        (TrainingState(epoch=1, position=9), 5),
    ):
        folder = tmp_path / f"{state.epoch}-{state.position}"
        folder.mkdir()
        with report(folder) as reporter:
            for epoch, batch in places:
                reporter.log_skipped(epoch, batch, "é", "broken")
        with report(folder, state):
            pass
        left = records(folder / "skipped.jsonl")
        assert [(line["epoch"], line["batch"]) for line in left] == places[:kept]
        assert all((line["id"], line["reason"]) == ("é", "broken") for line in left)


@pytest.mark.parametrize(
    ("state", "kept"),
    [
        (TrainingState(), 0),
        (TrainingState(best=(0.5, 0)), 0),
        (TrainingState(position=1), 1),
        (TrainingState(epoch=1), 1),
    ],
)
def test_what_was_left_out_beforehand_is_told_anew_by_a_training_that_begins(
    tmp_path: Path, made: list[Events], state: TrainingState, kept: int
) -> None:
    with report(tmp_path) as reporter:
        reporter.log_skipped(0, 0, "a", "the text is empty")
    with report(tmp_path, state):
        pass
    assert len(records(tmp_path / "skipped.jsonl")) == kept


LINE = b'{"kind": "train", "step": 10, "name": "\xc3\xa9"}'


@pytest.mark.parametrize("length", range(len(LINE)))
def test_half_lines_are_dropped(tmp_path: Path, made: list[Events], length: int) -> None:
    """Wherever the line was cut, in the middle of a character too."""
    (tmp_path / "metrics.jsonl").write_bytes(LINE + b"\n" + LINE[:length])
    with report(tmp_path, TrainingState(step=10)):
        pass
    assert (tmp_path / "metrics.jsonl").read_bytes() == LINE + b"\n"


def test_a_fresh_training_begins_fresh_files(tmp_path: Path, made: list[Events]) -> None:
    """A training that was killed before its first checkpoint has written lines."""
    with report(tmp_path) as reporter:
        reporter.log("train", 10, {})
        reporter.log_skipped(1, 1, "a", "broken")
    with report(tmp_path):
        pass
    assert records(tmp_path / "metrics.jsonl") == []
    assert records(tmp_path / "skipped.jsonl") == []


def test_lines_are_shown_as_they_are(
    tmp_path: Path, made: list[Events], capsys: pytest.CaptureFixture[str]
) -> None:
    with Reporter(tmp_path, TrainingState()) as reporter:
        reporter.say("[bold]a[/bold] " + "long " * 40)
        reporter.start("epoch 1/2", 10)
        reporter.advance(3, "loss 0.5")
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == "[bold]a[/bold] " + "long " * 40 + "\n", "no bar without a terminal"


def test_quiet_is_quiet(
    tmp_path: Path, made: list[Events], capsys: pytest.CaptureFixture[str]
) -> None:
    with report(tmp_path) as reporter:
        reporter.say("a")
    assert capsys.readouterr() == ("", "")


def test_the_bar_is_that_of_the_current_work(tmp_path: Path, made: list[Events]) -> None:
    with report(tmp_path) as reporter:
        reporter.advance(1)
        reporter.start("epoch 1/2", 10, done=4)
        reporter.start("evaluating dev", 7)
        reporter.advance(2, "half way")
        (task,) = reporter._bar.tasks
        assert (task.description, task.completed, task.total) == ("evaluating dev", 2, 7)
        assert task.fields["state"] == "half way"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"),
        (45.4, "45 s"),
        (99.4, "99 s"),
        (99.5, "2 min"),
        (12 * 60, "12 min"),
        (99.4 * 60, "99 min"),
        (99.6 * 60, "1 h 40 min"),
        (3 * 3600 + 20 * 60, "3 h 20 min"),
        (2 * 3600 + 59.7 * 60, "3 h 00 min"),
        (100 * 3600 + 5 * 60, "100 h 05 min"),
    ],
)
def test_durations_for_a_person(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


def test_tensorboard_reads_what_was_written(tmp_path: Path) -> None:
    """With its own reader, after a training that went on from a checkpoint of step 2."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with report(tmp_path) as reporter:
        for step in (1, 2, 3):
            reporter.log("train", step, {"loss": float(step)})
    with report(tmp_path, TrainingState(step=2)) as reporter:
        reporter.log("train", 3, {"loss": 30.0})
        reporter.log_text("dev/examples", 3, "a text")
    read = EventAccumulator(str(tmp_path))
    read.Reload()
    found = [(event.step, event.value) for event in read.Scalars("train/loss")]
    assert found == [(1, 1.0), (2, 2.0), (3, 30.0)]
    assert read.Tags()["tensors"] == ["dev/examples/text_summary"]


def test_how_long_a_training_will_take() -> None:
    assert estimate_text(20, 30, 3) == (
        "an epoch (20 batches) takes about 30 s, evaluation apart; 3 epochs about 90 s"
    )
    assert estimate_text(1, 30, 1) == (
        "an epoch (1 batch) takes about 30 s, evaluation apart; 1 epoch about 30 s"
    )
