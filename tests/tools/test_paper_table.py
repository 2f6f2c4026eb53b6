"""What is run for the table of Graves & Jaitly, with an `asr` that only writes files."""

import gzip
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.tools.made_runs import write_made_bundle
from tests.tools.made_table import FakeAsr, Made, write
from tools.objective_jobs import read_done
from tools.paper_table import main

LMS = ["lm/1.arpa", "lm/2.arpa", "lm/3.arpa"]
OWN = [
    "best-path", "none", "dictionary", "tune-1", "1-gram", "tune-2", "2-gram", "tune-3", "3-gram",
    "lists-dev", "lists-test", "exact-dev", "exact-test", "rescored-1", "rescored-2", "rescored-3",
]  # fmt: skip
OTHER = [
    "other-exact-dev", "other-exact-test", "other-rescored-1", "other-rescored-2",
    "other-rescored-3",
]  # fmt: skip


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path)


def test_the_steps_in_their_order(made: Made) -> None:
    asr = FakeAsr()
    assert made.run(asr=asr) == 0
    systems = [f"{training}/{name}" for training in ("default", "expected_wer") for name in OWN]
    assert asr.folders() == [*LMS, *systems]


def test_the_commands(made: Made) -> None:
    """Each is one that a user may type; the lists are no longer than the beam is wide."""
    asr = FakeAsr()
    made.run(asr=asr)
    out, lm, data = made.out / "default", made.lm, made.data
    bundle, words = str(made.bundle("default")), ["--lexicon", str(data / "dictionary.txt")]
    calls = dict(zip(asr.folders(), asr.calls, strict=True))
    assert calls["lm/3.arpa"] == [
        "lm", "train", str(data / "lm.txt.gz"), "--order", "3", "--vocabulary",
        str(data / "dictionary.txt"), "-o", str(lm / "3.arpa"),
    ]  # fmt: skip

    def evaluate(name: str, split: str, *options: str) -> list[str]:
        written = ["--out", str(out / name), "--json", str(out / name / "scores.json")]
        return ["evaluate", bundle, str(data / f"{split}.jsonl"), *options, *written]

    bigram = [*words, "--lm", str(lm / "2.arpa")]
    assert calls["default/best-path"] == evaluate("best-path", "test")
    assert calls["default/none"] == evaluate("none", "test", "--beam-size", "100")
    assert calls["default/dictionary"] == evaluate("dictionary", "test", *words)
    assert calls["default/tune-2"] == [
        "tune", bundle, str(data / "dev.jsonl"), *bigram, "--out", str(out / "tune-2"),
    ]  # fmt: skip
    assert calls["default/2-gram"] == evaluate("2-gram", "test", *bigram)
    wide = ["--beam-size", "300", "--nbest", "300"]
    assert calls["default/lists-dev"] == evaluate("lists-dev", "dev", *bigram, *wide)
    assert calls["default/lists-test"] == evaluate("lists-test", "test", *bigram, *wide)
    assert calls["default/exact-dev"] == [
        "rescore", str(out / "lists-dev" / "nbest.jsonl"), "--model", bundle, "--manifest",
        str(data / "dev.jsonl"), "--out", str(out / "exact-dev" / "nbest.jsonl"),
    ]  # fmt: skip
    assert calls["default/rescored-3"] == [
        "rescore", str(out / "exact-test" / "nbest.jsonl"), "--manifest", str(data / "test.jsonl"),
        "--tune", str(out / "exact-dev" / "nbest.jsonl"), "--references", str(data / "dev.jsonl"),
        "--lm", f"ngram={lm / '3.arpa'}", "--weight", "recognizer=1", "--weight", "ngram=1",
        "--weight", "words=0", "--out", str(out / "rescored-3" / "nbest.jsonl"),
        "--json", str(out / "rescored-3" / "scores.json"),
    ]  # fmt: skip


def test_each_command_is_said_and_logged(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    asr = FakeAsr()
    made.run(asr=asr)
    told = capsys.readouterr().err.split("\n")
    number = asr.folders().index("default/tune-1") + 1
    command = " ".join(["asr", *asr.calls[number - 1]])
    assert told[number - 1] == f"{number}/35 default/tune-1: {command}"
    place = made.out / "default" / "tune-1"
    assert (place / "log.txt").read_text(encoding="utf-8") == f"$ {command}\n"
    assert (read_done(place) or {})["command"] == command


def test_lists_of_another_system(made: Made) -> None:
    """Beside own lists; without scores of its own there is nothing to combine."""
    test, dev = made.lists("t.jsonl"), made.lists("d.jsonl")
    asr = FakeAsr()
    assert made.run("--nbest-from", test, "--nbest-dev", dev, asr=asr) == 0
    systems = ("default", "expected_wer")
    assert asr.folders() == [*LMS, *(f"{s}/{name}" for s in systems for name in OWN + OTHER)]
    call = asr.calls[asr.folders().index("default/other-exact-dev")]
    assert call[:4] == ["rescore", dev, "--model", str(made.bundle("default"))]
    call = asr.calls[asr.folders().index("default/other-rescored-1")]
    assert call[1] == str(made.out / "default" / "other-exact-test" / "nbest.jsonl")


@pytest.mark.parametrize("costs", [False, True])
def test_a_combination_with_the_scores_of_another_system(made: Made, costs: bool) -> None:
    scores = {} if costs else {"score": -1.0}
    test, dev = made.lists("t.jsonl", **scores), made.lists("d.jsonl", **scores)
    given = ["--nbest-from", test, "--nbest-dev", dev]
    if costs:
        for option, name in (("--nbest-costs", "t.ac"), ("--nbest-dev-costs", "d.ac")):
            given += [option, f"ac={write(made.folder / name, 'test-1 3')}"]
    asr = FakeAsr()
    made.run(*given, asr=asr)
    call = asr.calls[asr.folders().index("default/other-combination")]
    assert "--weight" not in call, "all scores are tuned"
    assert f"ngram={made.lm / '3.arpa'}" in call
    call = asr.calls[asr.folders().index("default/other-exact-dev")]
    assert (f"ac={made.folder / 'd.ac'}" in call) == costs


def test_what_is_done_is_not_done_again(made: Made) -> None:
    made.run()
    asr = FakeAsr()
    assert made.run(asr=asr) == 0
    assert asr.calls == []


def test_what_follows_from_what_changed_is_done_again(made: Made) -> None:
    made.run()
    write(made.lm / "3.arpa", "another model")
    asr = FakeAsr()
    made.run(asr=asr)
    assert asr.folders() == [
        f"{s}/{name}"
        for s in ("default", "expected_wer")
        for name in ("tune-3", "3-gram", "rescored-3")
    ]  # fmt: skip
    write_made_bundle(made.bundle("default"), "trained on", dev_wer=0.4)
    asr = FakeAsr()
    made.run(asr=asr)
    unchanged = {"rescored-1", "rescored-2", "rescored-3"}  # the fake lists are as before
    assert asr.folders() == [f"default/{name}" for name in OWN if name not in unchanged]


def test_a_text_that_changed_makes_new_models(made: Made) -> None:
    made.run()
    write(made.data / "lm.txt.gz", "another text")
    asr = FakeAsr(fail=lambda arguments: 3 if "2" in arguments else 0)
    assert made.run(asr=asr) == 1
    assert asr.folders()[:3] == LMS
    assert not (made.lm / "2.arpa").exists(), "the old one would be taken for the user's own"
    assert (made.lm / "3.arpa").exists()


def test_models_that_the_user_made_are_taken_as_they_are(made: Made) -> None:
    """And when all are there, the text is not needed."""
    write(made.lm / "2.arpa", "a model")
    asr = FakeAsr()
    assert made.run(asr=asr) == 0
    assert "lm/2.arpa" not in asr.folders()
    assert "default/2-gram" in asr.folders()
    for order in (1, 3):
        write(made.lm / f"{order}.arpa", "a model")
        shutil.rmtree(made.out / f"lm-{order}")
    (made.data / "lm.txt.gz").unlink()
    asr = FakeAsr()
    assert made.run(asr=asr) == 0
    assert not set(LMS) & set(asr.folders())
    assert "default/3-gram" in asr.folders()


def test_failures_are_named_and_the_others_go_on(
    made: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(arguments: Sequence[str]) -> int:
        return 5 if arguments[0] == "tune" and str(made.lm / "2.arpa") in arguments else 0

    asr = FakeAsr(fail=fail)
    assert made.run(asr=asr) == 1
    done = [
        name for name in OWN if name[:5] not in ("lists", "exact", "resco") and name != "2-gram"
    ]
    assert asr.folders() == [*LMS, *(f"{s}/{n}" for s in ("default", "expected_wer") for n in done)]
    told = capsys.readouterr().err.split("\n")
    failed = [line for line in told if line.startswith("failed: default/")]
    assert failed[0].startswith("failed: default/tune-2: exit code 5: error: it is broken (")
    assert failed[1:3] == [
        "failed: default/2-gram: needs default/tune-2, which failed",
        "failed: default/lists-dev: needs default/tune-2, which failed",
    ]
    assert failed[-1] == "failed: default/rescored-3: needs default/exact-dev, which failed"
    asr = FakeAsr()
    assert made.run(asr=asr) == 0
    assert asr.folders()[:2] == ["default/tune-2", "default/2-gram"]


def test_recognisers_that_are_not_trained_are_left_out(
    made: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    (made.bundle("expected_wer") / "manifest.json").unlink()
    asr = FakeAsr()
    assert made.run(asr=asr) == 0
    assert len(asr.calls) == len(LMS) + len(OWN)
    assert "expected_wer/best: not trained; its rows are left out" in capsys.readouterr().err


def test_both_sizes_of_training(tmp_path: Path) -> None:
    trainings = ("default", "expected_wer", "si84", "expected_wer_si84")
    made = Made(tmp_path, trainings=trainings)
    write(made.recipe / "si84.toml", "")
    asr = FakeAsr()
    assert made.run(asr=asr) == 0
    assert asr.folders() == [
        *LMS,
        *(f"{training}/{name}" for training in trainings for name in OWN),
    ]


def test_without_text_or_dictionary_nothing_is_begun(
    made: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    advice = f"which asr prepare {made.recipe} writes; or name the folder that has it with --data"
    text = f"error: {made.data}/lm.txt.gz: no such file; the table needs the text of the language "
    text += f"models, {advice}"
    words = f"error: {made.data}/dictionary.txt: no such file; the table needs the dictionary, "
    words += advice
    asr = FakeAsr()
    (made.data / "dictionary.txt").unlink()
    assert made.run(asr=asr) == 2
    assert capsys.readouterr().err == f"{words}\n"
    (made.data / "lm.txt.gz").unlink()
    assert made.run(asr=asr) == 2
    assert capsys.readouterr().err == f"{text}\n{words}\n"
    assert asr.calls == []
    assert made.run(command="print") == 0, "what was reached is printed all the same"


def test_another_file_that_is_missing(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    (made.data / "dev.jsonl").unlink()
    asr = FakeAsr()
    assert made.run(asr=asr) == 1
    assert asr.folders()[3:5] == ["default/best-path", "default/none"]
    told = capsys.readouterr().err
    assert "dev.jsonl: no such file; asr tune " in told
    assert "failed: default/1-gram: needs default/tune-1, which failed" in told


def test_an_interruption_is_told(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    def stops(arguments: Sequence[str]) -> int:
        raise KeyboardInterrupt

    assert made.run(asr=FakeAsr(fail=stops)) == 130
    assert capsys.readouterr().err.endswith("stopped; the same command goes on\n")


def test_a_log_that_cannot_be_written(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    write(made.out, "a file")
    assert made.run() == 1
    told = capsys.readouterr().err
    assert f"failed: lm-1: {made.out}/lm-1/log.txt: cannot be written: " in told
    assert "check the folder or choose another place" in told


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--nbest-from", "x"], "--nbest-from needs --nbest-dev, lists of the dev set"),
        (["--nbest-dev", "x"], "--nbest-dev and costs are those of --nbest-from; give it as well"),
        (["--nbest-costs", "a=x"], "--nbest-dev and costs are those of --nbest-from"),
        (["--nbest-from", "x", "--nbest-dev", "y", "--nbest-costs", "a=x"],
         "--nbest-costs and --nbest-dev-costs must have the same names"),
        (["--nbest-from", "x", "--nbest-dev", "y", "--nbest-costs", "x"],
         "costs must be NAME=FILE, got 'x'"),
        (["--bundle", "default"], "--bundle must be TRAINING=BUNDLE, got 'default'"),
        (["--bundle", "si84=x"], "--bundle si84=…: no such training in "),
    ],
)  # fmt: skip
def test_options_that_cannot_be_used(
    made: Made, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert made.run(*words) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1


def test_a_recipe_that_cannot_be_used(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(made.folder / "none")], FakeAsr()) == 2
    assert "no such recipe" in capsys.readouterr().err
    recipe = made.recipe / "recipe.toml"
    recipe.write_text(recipe.read_text().replace("test = ", "# "), encoding="utf-8")
    assert made.run() == 2
    assert "needs a recogniser with data.dev and data.test" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["run", "print"])
def test_a_recipe_of_phones(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    asr = FakeAsr()
    assert main([command, "timit"], asr) == 2
    assert capsys.readouterr().err == (
        "error: recipes/timit: scores phones (PER); the table needs words (WER and CER), such as "
        "those of recipes/wsj\n"
    )
    assert asr.calls == []


def test_a_trained_recogniser(
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Every command once with `asr` itself."""
    from asr.cli.main import main as asr_main
    from asr.data.manifest import read_manifest

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    texts = [one.text for one in read_manifest(trained / "data" / "train.jsonl")]
    texts += [one.text for one in read_manifest(trained / "data" / "dev.jsonl")]
    with gzip.open(tmp_path / "lm.txt.gz", "wt", encoding="utf-8") as file:
        file.write("\n".join(texts))
    words = sorted({word for text in texts for word in text.split()})
    write(tmp_path / "dictionary.txt", "\n".join(words))
    bundle = tmp_path / "best"
    bundle.mkdir()
    for part in (trained / "run" / "best").iterdir():
        (bundle / part.name).write_bytes(part.read_bytes())
    given = [
        str(trained / "beeps"), "--data", str(tmp_path), "--out", str(tmp_path / "out"),
        "--lm", str(tmp_path / "lm"), "--bundle", f"default={bundle}",
    ]  # fmt: skip

    def run(arguments: Sequence[str], log: Path) -> int:
        return asr_main(arguments)

    assert main(["run", *given], run) == 0
    scores = tmp_path / "out" / "default" / "rescored-3" / "scores.json"
    assert json.loads(scores.read_text())["rescored"]["wer"] == 0
    capsys.readouterr()
    assert main(given) == 0
    rows = [line for line in capsys.readouterr().out.split("\n") if line.startswith("| CTC")]
    assert len(rows) == 11
    assert not [row for row in rows if "not run" in row or "out of date" in row]
    assert sys.executable not in "".join(rows)
