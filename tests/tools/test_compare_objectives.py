"""The protocol, with an `asr` that only writes files."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from asr.recipe import Recipe
from tests.tools.made_runs import FakeAsr, make_recipe, write_made_bundle
from tools.compare_objectives import main
from tools.objective_arms import ARMS
from tools.objective_jobs import read_done

RATES = ["--rates", "1e-4", "3e-5"]


def best_is(best: dict[str, float]) -> FakeAsr:
    """An `asr` whose dev rate is lowest at a learning rate that each kind of objective has."""

    def dev_wer(recipe: Recipe) -> float:
        kind = getattr(recipe.objective, "estimator", "ctc")
        return 0.4 if recipe.optimizer.learning_rate == best.get(kind, 1e-4) else 0.5

    return FakeAsr(dev_wer=dev_wer)


class Made:
    """The commands of one experiment."""

    def __init__(self, folder: Path) -> None:
        self.recipe, self.out = make_recipe(folder), folder / "out"
        self.lexicon, self.lm = folder / "words.txt", folder / "3.arpa"
        self.lexicon.write_text("A\n", encoding="utf-8")
        self.lm.write_text("a model", encoding="utf-8")

    def run(self, command: str, *options: str, asr: FakeAsr) -> int:
        given = [command, str(self.recipe), "--out", str(self.out), *RATES, *options]
        return main(given, asr)

    def decode(self, asr: FakeAsr) -> int:
        files = ["--lexicon", str(self.lexicon), "--lm", str(self.lm)]
        return self.run("decode", *files, asr=asr)


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path)


def test_all_arms_train_for_as_long(made: Made) -> None:
    """Six minutes are 6 epochs of 60 s, 4 of 90 s, 3 of 120 s, and 1.5, thus 2, of 240 s."""
    asr = best_is({})
    assert made.run("train", asr=asr) == 0
    epochs = {}
    for arm in ARMS:
        run = made.out / arm / "lr-1e-4" / "seed-1"
        epochs[arm] = json.loads((run / "finished.json").read_text())["epochs"]
    assert epochs == {
        "ctc": 6,
        "reinforce-5": 4,
        "nbest-4": 3,
        "exchange-1": 2,
        "exchange-5": 2,
        "exchange-20": 2,
    }
    calibration = json.loads((made.out / "calibration.json").read_text())
    assert calibration["nbest-4"]["seconds_per_epoch"] == 120
    assert "1 side by side" in calibration["nbest-4"]["machine"]


def test_a_busy_machine_is_told(
    made: Made, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    warning = "warning: a load of 3.2 before an epoch is measured"
    monkeypatch.setattr("os.getloadavg", lambda: (3.21, 2.0, 1.0))
    made.run("train", asr=best_is({}))
    assert warning in capsys.readouterr().err
    assert json.loads((made.out / "calibration.json").read_text())["ctc"]["load"] == 3.2
    made.run("train", asr=best_is({}))
    assert warning not in capsys.readouterr().err, "nothing is measured any more"


def test_the_order_of_the_trainings(made: Made) -> None:
    """Epochs are measured, all rates are tried, and the best of each arm runs with other seeds."""
    asr = best_is({"exchange": 3e-5})
    made.run("train", asr=asr)
    folders = asr.folders("train")
    assert folders[:6] == [f"calibration/{arm}" for arm in ARMS]
    search = [f"{arm}/lr-{rate}/seed-1" for arm in ARMS for rate in ("1e-4", "3e-5")]
    assert folders[6:18] == search
    chosen = {arm: "3e-5" if arm.startswith("exchange") else "1e-4" for arm in ARMS}
    assert folders[18:] == [f"{arm}/lr-{chosen[arm]}/seed-{s}" for arm in ARMS for s in (2, 3)]
    assert asr.calls[6][1] == str(made.out / "ctc/lr-1e-4/seed-1.toml")
    assert (made.out / "ctc/lr-1e-4/seed-1.toml").is_file()


def test_what_is_finished_is_not_done_again(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    made.run("train", asr=best_is({}))
    half = made.out / "nbest-4/lr-1e-4/seed-2"
    (half / "finished.json").unlink()
    again = best_is({})
    assert made.run("train", asr=again) == 0
    assert again.folders("train") == ["nbest-4/lr-1e-4/seed-2"]
    capsys.readouterr()
    assert made.run("train", "--jobs", "2", asr=best_is({})) == 0
    assert "ctc: an epoch was measured on" in capsys.readouterr().err


def test_the_same_number_of_epochs_for_all(made: Made) -> None:
    asr = FakeAsr()
    assert made.run("train", "--epochs", "4", "--jobs", "2", asr=asr) == 0
    assert not [folder for folder in asr.folders("train") if folder.startswith("calibration")]
    for run in made.out.glob("*/lr-*/seed-*/finished.json"):
        assert json.loads(run.read_text())["epochs"] == 4


def test_failures_are_named_and_the_others_go_on(
    made: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    asr = best_is({"ctc": 3e-5})

    def fail(arguments: Sequence[str]) -> int:
        if "calibration/nbest-4" in arguments[-1]:
            return 2
        return 6 if "ctc/lr-3e-5" in arguments[-1] else 0

    asr.fail = fail
    assert made.run("train", asr=asr) == 1
    folders = asr.folders("train")
    assert not [name for name in folders if name.startswith("nbest-4/")], "how long is not known"
    assert "ctc/lr-1e-4/seed-2" in folders, "of what diverged the other rate is the best"
    end = capsys.readouterr().err.split("\n")[-3:-1]
    assert end[0].startswith("failed: calibration/nbest-4: exit code 2: error: it is broken (")
    assert end[1].startswith("failed: ctc/lr-3e-5/seed-1: exit code 6: error: it is broken (")
    assert made.run("train", asr=FakeAsr()) == 0
    assert json.loads((made.out / "failures.json").read_text()) == {}


def test_a_run_that_was_begun_otherwise_is_a_failure(
    made: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    made.run("train", "--epochs", "4", asr=FakeAsr())
    capsys.readouterr()
    asr = FakeAsr()
    assert made.run("train", "--epochs", "5", asr=asr) == 1
    assert asr.calls == []
    told = capsys.readouterr().err
    assert "was begun otherwise (training.epochs: 4 → 5); choose another --out" in told


def test_bundles_are_decoded_in_every_mode(made: Made) -> None:
    made.run("train", asr=best_is({}))
    asr = FakeAsr()
    assert made.decode(asr) == 0
    names = ["start", *(f"{arm}/lr-1e-4/seed-{seed}" for arm in ARMS for seed in (1, 2, 3))]
    assert asr.folders("tune") == [f"decode/{name}/tuning" for name in names]
    modes = ("greedy", "lexicon", "lm")
    assert asr.folders("evaluate") == [f"decode/{name}/{mode}" for name in names for mode in modes]
    bundle, data, place = made.out / "start" / "best", made.recipe.parents[1] / "data", ""
    lexicon = ["--lexicon", str(made.lexicon)]
    given = {"greedy": [], "lexicon": lexicon, "lm": [*lexicon, "--lm", str(made.lm)]}
    place = str(made.out / "decode" / "start")
    tune = ["tune", str(bundle), str(data / "dev.jsonl"), *given["lm"]]
    assert asr.calls[0] == [*tune, "--out", f"{place}/tuning"]
    for call, (mode, options) in zip(asr.calls[1:4], given.items(), strict=True):
        written = ["--out", f"{place}/{mode}", "--json", f"{place}/{mode}/scores.json"]
        assert call == ["evaluate", str(bundle), str(data / "test.jsonl"), *options, *written]
    again = FakeAsr()
    assert made.decode(again) == 0
    assert again.calls == []


def test_before_any_training_the_start_is_decoded(
    made: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    asr = FakeAsr()
    assert made.decode(asr) == 0
    assert [call[0] for call in asr.calls] == ["tune", "evaluate", "evaluate", "evaluate"]
    assert "ctc: 0 of 3 chosen runs are finished" in capsys.readouterr().err
    assert made.run("report", "--before", asr=asr) == 0
    assert "start, greedy / start, dictionary" in capsys.readouterr().out


def test_another_model_or_another_training_is_decoded_anew(made: Made) -> None:
    made.decode(FakeAsr())
    made.lm.write_text("another model", encoding="utf-8")
    asr = FakeAsr()
    made.decode(asr)
    assert asr.folders("tune") == ["decode/start/tuning"]
    assert asr.folders("evaluate") == ["decode/start/lm"], "the others do not use it"
    made.run("train", asr=best_is({}))
    made.decode(FakeAsr())
    trained_on = made.out / "ctc/lr-1e-4/seed-2"
    write_made_bundle(trained_on / "best", "other weights", dev_wer=0.4)
    asr = FakeAsr()
    made.decode(asr)
    name = "ctc/lr-1e-4/seed-2"
    assert asr.folders("evaluate") == [f"decode/{name}/{m}" for m in ("greedy", "lexicon", "lm")]


def test_a_bundle_that_cannot_be_decoded_is_a_failure(made: Made) -> None:
    asr = FakeAsr(fail=lambda arguments: 4 if arguments[0] == "evaluate" else 0)
    assert made.decode(asr) == 1
    assert read_done(made.out / "decode/start/greedy") is None
    assert list(json.loads((made.out / "failures.json").read_text())) == ["decode/start"]


def test_faults_are_one_line(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    made.lm.unlink()
    assert made.decode(FakeAsr()) == 2
    assert capsys.readouterr().err.endswith("3.arpa: no such file\n")
    assert main(["train", str(made.recipe.with_name("none.toml"))], FakeAsr()) == 2
    assert "no such recipe" in capsys.readouterr().err


def test_an_interruption_is_told(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    def stops(arguments: Sequence[str]) -> int:
        raise KeyboardInterrupt

    assert made.run("train", asr=FakeAsr(fail=stops)) == 130
    assert capsys.readouterr().err.endswith("stopped; the same command goes on\n")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--rates", "0"], "must be above 0 and below 1"),
        (["--rates", "nan"], "must be above 0 and below 1"),
        (["--jobs", "0"], "must be at least 1"),
        (["--minutes", "nan"], "must be above 0"),
        (["--minutes", "3", "--epochs", "3"], "not allowed with"),
    ],
)
def test_options_that_make_no_sense(
    made: Made, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["train", str(made.recipe), *options], FakeAsr())
    assert message in capsys.readouterr().err
