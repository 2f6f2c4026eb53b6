"""Tables of made-up runs, whose numbers can be worked out by hand."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest

from asr.errors import DataError
from asr.scoring.bootstrap import paired_difference
from tests.tools.made_runs import (
    SPEAKERS,
    TEXTS,
    make_experiment,
    put_json,
    write_decoded,
    write_made_bundle,
    write_run,
)
from tools.objective_arms import Experiment, Run, keep_start, model_hash
from tools.objective_report import before, least_detectable, report

WORDS = 15  # of all texts
ONE_OFF = ["A B C", *TEXTS[1:]]
TWO_OFF = ["A B C", "B C", "D A B", "C A", "D D A", "A"]
ALL_OFF = ["X X X X", "X X", "X X X", "X X", "X X X", "X X"]
MODES = ("greedy", "lexicon", "lm")


def decoded(
    experiment: Experiment, name: str, heard: Sequence[str], modes: Sequence[str] = MODES
) -> None:
    """A bundle's test data as the tool leaves it."""
    model = model_hash(experiment.out / name / "best")
    for mode in modes:
        folder = experiment.out / "decode" / name / mode
        write_decoded(folder, heard)
        put_json(folder / "done.json", {"model": model, "manifest": "m"})


def trained(experiment: Experiment, run: Run, heard: Sequence[str], **facts: float) -> None:
    write_run(experiment.out / run.name, **facts)  # type: ignore[arg-type]
    decoded(experiment, run.name, heard)


def tables(lines: Sequence[str]) -> list[list[list[str]]]:
    """The cells of each table."""
    found: list[list[list[str]]] = []
    for previous, line in zip(["", *lines], lines, strict=False):
        if line.startswith("|"):
            if not previous.startswith("|"):
                found.append([])
            if not line.startswith("| ---"):
                found[-1].append([cell.strip() for cell in line.strip("|").split("|")])
    return found


def of_arm(table: list[list[str]], *first: str) -> dict[str, str]:
    """The row that begins with some cells, by its column."""
    [row] = [row for row in table[1:] if row[: len(first)] == list(first)]
    return dict(zip(table[0], row, strict=True))


@pytest.fixture
def whole(tmp_path: Path) -> Experiment:
    """Seeds of ctc with 1, 1 and 2 errors; of exchange-5 with none; the start with 2."""
    experiment = make_experiment(tmp_path)
    keep_start(experiment)
    decoded(experiment, "start", TWO_OFF)
    for arm, dev_wer in (("ctc", 0.4), ("exchange-5", 0.3)):
        write_run(experiment.out / Run(arm, 3e-5, 1).name, dev_wer=dev_wer + 0.1)
        for seed in (1, 2, 3):
            heard = TEXTS if arm == "exchange-5" else TWO_OFF if seed == 3 else ONE_OFF
            trained(
                experiment,
                Run(arm, 1e-4, seed),
                heard,
                dev_wer=dev_wer + 0.01 * seed,
                seconds=40.0 * seed,
                train_loss=0.6 + 0.01 * seed,
            )
    return experiment


def test_the_table_of_the_arms(whole: Experiment) -> None:
    _, arms, _, _ = tables(list(report(whole)))
    assert [row[0] for row in arms[1:]][:2] == ["start", "ctc"]
    own = of_arm(arms, "ctc")
    assert own["rate"] == "1e-4"
    assert own["epochs"] == "2"
    assert own["ms / step"] == "4000", "(40 + 80 + 120) s in 60 steps"
    assert own["minutes"] == f"{80 / 60:.1f}"
    assert own["dev"] == "42.00 (41.00–43.00)"
    mean = 100 * (1 + 1 + 2) / 3 / WORDS
    assert own["test, greedy"] == f"{mean:.2f} ({100 / WORDS:.2f}–{200 / WORDS:.2f})"
    assert own["train loss"] == "–", "nats are no error rate"
    assert of_arm(arms, "exchange-5")["train loss"] == "0.620 (0.610–0.630)"
    start = of_arm(arms, "start")
    assert (start["dev"], start["test, trigram"]) == ("50.00", f"{200 / WORDS:.2f}")


def test_what_was_not_run_is_not_guessed(whole: Experiment) -> None:
    _, arms, differences, search = tables(list(report(whole)))
    assert set(list(of_arm(arms, "nbest-4").values())[1:]) == {"not run"}
    assert set(list(of_arm(differences, "nbest-4", "greedy").values())[2:]) == {"not run"}
    assert of_arm(search, "nbest-4") == {"arm": "nbest-4", "1e-4": "not run", "3e-5": "not run"}


def test_differences_are_paired_over_utterances_and_speakers(whole: Experiment) -> None:
    """The first utterance has a word wrong in all trainings of ctc, the fifth in one of three."""
    _, _, differences, _ = tables(list(report(whole)))
    row = of_arm(differences, "exchange-5", "dictionary")
    lengths = [len(text.split()) for text in TEXTS]
    arguments = [0.0] * 6, [1, 0, 0, 0, 1 / 3, 0], lengths
    own = paired_difference(*arguments)
    grouped = paired_difference(*arguments, groups=SPEAKERS)
    assert own is not None
    assert grouped is not None
    assert row["difference"] == f"{-100 * (4 / 3) / WORDS:+.2f}"
    low, high = own.interval
    assert row["95 %"] == f"[{100 * low:+.2f}, {100 * high:+.2f}]"
    assert row["p"] == f"{own.p:.3f}"
    low, high = grouped.interval
    assert row["95 %, speakers"] == f"[{100 * low:+.2f}, {100 * high:+.2f}]"
    assert row["p, speakers"] == f"{grouped.p:.3f}"
    worse = of_arm(differences, "start", "greedy")
    assert worse["difference"] == f"{100 * (2 / 3) / WORDS:+.2f}"


def test_without_speakers_there_are_none_to_draw(tmp_path: Path) -> None:
    experiment = make_experiment(tmp_path, speakers=False)
    keep_start(experiment)
    decoded(experiment, "start", TWO_OFF)
    write_run(experiment.out / Run("ctc", 3e-5, 1).name)
    for seed in (1, 2, 3):
        trained(experiment, Run("ctc", 1e-4, seed), ONE_OFF, dev_wer=0.4)
    row = of_arm(tables(list(report(experiment)))[2], "start", "greedy")
    assert row["difference"] == f"{100 / WORDS:+.2f}"
    assert (row["95 %, speakers"], row["p, speakers"]) == ("–", "–")


def test_a_certain_difference_has_a_small_p(whole: Experiment) -> None:
    for seed in (1, 2, 3):
        decoded(whole, Run("ctc", 1e-4, seed).name, ALL_OFF)
    row = of_arm(tables(list(report(whole)))[2], "exchange-5", "greedy")
    assert row["p"] == "< 0.001"


def test_what_epochs_were_measured_on_is_told(whole: Experiment) -> None:
    calibration = {arm: {"machine": "a laptop", "load": 0.1} for arm in ("ctc", "exchange-5")}
    put_json(whole.out / "calibration.json", calibration)
    assert "Epochs were measured on: a laptop, load 0.1 before." in list(report(whole))


def test_a_missing_seed_is_told_and_not_pooled(whole: Experiment) -> None:
    run = Run("exchange-5", 1e-4, 3)
    (whole.out / "decode" / run.name / "lm" / "done.json").unlink()
    _, arms, differences, _ = tables(list(report(whole)))
    assert of_arm(arms, "exchange-5")["test, trigram"] == "0.00 (0.00–0.00; 2 of 3)"
    assert of_arm(differences, "exchange-5", "trigram")["difference"] == "not run"
    assert of_arm(differences, "exchange-5", "greedy")["difference"] != "not run"


def test_a_model_that_trained_on_is_not_the_one_that_was_decoded(whole: Experiment) -> None:
    run = Run("exchange-5", 1e-4, 3)
    write_made_bundle(whole.out / run.name / "best", "later weights", dev_wer=0.3)
    _, arms, _, _ = tables(list(report(whole)))
    assert of_arm(arms, "exchange-5")["test, greedy"] == "0.00 (0.00–0.00; 2 of 3)"


def test_the_table_of_the_search(whole: Experiment) -> None:
    failed = {Run("nbest-4", 3e-5, 1).name: {"exit_code": 6, "message": "it did"}}
    put_json(whole.out / "failures.json", failed)
    search = tables(list(report(whole)))[3]
    assert of_arm(search, "ctc") == {"arm": "ctc", "1e-4": "41.00 *", "3e-5": "50.00"}
    assert of_arm(search, "nbest-4")["3e-5"] == "failed (exit 6)"


def test_before_anything_there_is_nothing(tmp_path: Path) -> None:
    lines = list(before(make_experiment(tmp_path)))
    assert lines[-1] == "not run: needs the starting bundle decoded (`decode`)"


def test_what_could_be_detected_from_the_start_alone(tmp_path: Path) -> None:
    experiment = make_experiment(tmp_path)
    keep_start(experiment)
    decoded(experiment, "start", TWO_OFF, ["greedy"])
    decoded(experiment, "start", TEXTS, ["lexicon"])
    lines = list(before(experiment))
    assert f"6 utterances, {WORDS} words" in lines[2]
    [[_, row]] = tables(lines)
    lengths = [len(text.split()) for text in TEXTS]
    found = paired_difference([1.0, 0, 0, 0, 1, 0], [0.0] * 6, lengths)
    assert found is not None
    assert row[0] == "start, greedy / start, dictionary"
    assert row[1] == f"{200 / WORDS:.2f} / 0.00"
    assert row[2] == f"{100 * found.standard_error:.3f}"
    assert row[3] == row[4] == f"{280.16 * found.standard_error:.2f}", "one has no errors at all"


def test_seeds_of_the_baseline_come_in_when_they_are_there(whole: Experiment) -> None:
    [table] = tables(list(before(whole)))
    names = [row[0] for row in table[1:]]
    assert "ctc, seed 1, greedy / ctc, seed 3, greedy" in names
    assert len(names) == 3 + 3, "three ways to decode the start, and three seeds"


def test_the_least_detectable_difference_is_found_in_four_of_five_test_sets() -> None:
    """By simulation: normal differences of utterances whose mean is what is to be found."""
    generator, utterances = np.random.default_rng(5), 400
    effect = least_detectable(1 / math.sqrt(utterances))
    drawn = generator.normal(effect, 1, size=(4000, utterances))
    errors = drawn.std(axis=1, ddof=1) / math.sqrt(utterances)
    found = np.abs(drawn.mean(axis=1)) > NormalDist().inv_cdf(0.975) * errors
    assert found.mean() == pytest.approx(0.8, abs=0.02)
    assert least_detectable(1) == pytest.approx(2.8016, abs=1e-4)


def test_texts_must_add_up_to_their_scores(whole: Experiment) -> None:
    file = whole.out / "decode/start/lm/hypotheses.jsonl"
    record = {"id": "u9", "reference": "A B", "hypothesis": "A"}
    file.write_text(file.read_text() + json.dumps(record) + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"has other errors than scores\.json beside it"):
        list(report(whole))


def test_an_utterance_that_was_not_transcribed_counts_as_deleted(whole: Experiment) -> None:
    folder = whole.out / "decode/start/lm"
    write_decoded(folder, ["", *TEXTS[1:]])
    text = (folder / "hypotheses.jsonl").read_text(encoding="utf-8")
    broken = text.replace('"hypothesis": ""', '"error": "no such file", "code": "NOT_A_FILE"')
    assert broken != text
    (folder / "hypotheses.jsonl").write_text(broken, encoding="utf-8")
    arms = tables(list(report(whole)))[1]
    assert of_arm(arms, "start")["test, trigram"] == f"{400 / WORDS:.2f}"


@pytest.mark.parametrize(
    ("done", "message"), [("another", "made with other files than others; decode again")]
)
def test_all_must_be_decoded_alike(whole: Experiment, done: str, message: str) -> None:
    folder = whole.out / "decode" / Run("ctc", 1e-4, 2).name
    model = json.loads((folder / "lm" / "done.json").read_text())["model"]
    put_json(folder / "lm" / "done.json", {"model": model, "manifest": "m", "lm": done})
    with pytest.raises(DataError, match=message):
        list(report(whole))


def test_all_must_have_the_same_utterances(whole: Experiment) -> None:
    file = whole.out / "decode" / Run("ctc", 1e-4, 2).name / "lm" / "hypotheses.jsonl"
    file.write_text(file.read_text().replace('"u5"', '"u6"'), encoding="utf-8")
    with pytest.raises(DataError, match="has other utterances than others; decode again"):
        list(report(whole))
