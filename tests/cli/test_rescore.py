"""`asr rescore`: what it prints and writes, and every fault in one line."""

import json
from pathlib import Path

import numpy as np
import pytest

from asr.decoding.nbest import read_nbest
from tests.cli.conftest import Run
from tests.decoding.made_lm import MadeModel, made_model
from tests.lm.made_neural import characters, write_neural

Scored = dict[str, dict[str, float]]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is in a folder of the test, which is the working directory."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def write(name: str, text: str) -> str:
    Path(name).write_text(text, encoding="utf-8")
    return name


def nbest(name: str, lists: dict[str, Scored]) -> str:
    """Write lists: id → text → scores."""
    entries = [
        {"id": utterance, "nbest": [{"text": text, **scores} for text, scores in one.items()]}
        for utterance, one in lists.items()
    ]
    return write(name, "".join(json.dumps(entry) + "\n" for entry in entries))


def manifest(name: str, texts: dict[str, str]) -> str:
    entries = [
        {"id": key, "audio_filepath": "x.wav", "duration": 1, "text": text}
        for key, text in texts.items()
    ]
    return write(name, "".join(json.dumps(entry) + "\n" for entry in entries))


def bunny_lm() -> str:
    """A bigram model that prefers BUGS BUNNY to BUNNY BUNNY."""
    grams = {
        ("<unk>",): (-3.0, 0.0), ("<s>",): (-99.0, 0.0), ("</s>",): (-1.0, 0.0),
        ("BUGS",): (-1.0, 0.0), ("BUNNY",): (-1.0, 0.0), ("BUGS", "BUNNY"): (-0.1, 0.0),
    }  # fmt: skip
    MadeModel(grams, 2).write(Path("lm.arpa"))
    return "lm.arpa"


BUNNIES: dict[str, Scored] = {
    "u1": {"BUNNY BUNNY": {"score": -0.67}, "BUGS BUNNY": {"score": -0.71}},
    "u2": {"BUGS": {"score": -1.0}},
}
SAID = {"u1": "BUGS BUNNY", "u2": "BUGS"}


def test_help(run: Run) -> None:
    code, out, _ = run("rescore", "--help")
    assert code == 0
    options = "--model --manifest --lm --scores --costs --weight --tune --references --out --json"
    for option in options.split():
        assert f" {option} " in out


def test_a_language_model_flips_the_first_text(run: Run) -> None:
    files = [nbest("n.jsonl", BUNNIES), "--lm", bunny_lm(), "--weight", "score=1"]
    code, out, err = run("rescore", *files, "--weight", "lm=0")
    assert (code, out, err) == (0, "u1\tBUNNY BUNNY\nu2\tBUGS\n", "")
    code, out, err = run("rescore", *files, "--weight", "lm=0.8")
    assert (code, out, err) == (0, "u1\tBUGS BUNNY\nu2\tBUGS\n", "")


def test_out_holds_all_scores(run: Run) -> None:
    files = [nbest("n.jsonl", BUNNIES), "--lm", bunny_lm(), "--weight", "score=1"]
    code, out, err = run("rescore", *files, "--weight", "lm=0.5", "--out", "deep/r.jsonl")
    assert (code, out, err) == (0, "", "asr: written to deep/r.jsonl\n")
    first = read_nbest(Path("deep/r.jsonl"))[0].candidates[0]
    lm = -(1 + 0.1 + 1) * np.log(10)
    assert first.text == "BUGS BUNNY"
    assert first.scores == pytest.approx({"score": -0.71 + 0.5 * lm, "lm": lm}, rel=1e-6)
    code, out, _ = run("rescore", "deep/r.jsonl", "--weight", "score=1")
    assert (code, out) == (0, "u1\tBUGS BUNNY\nu2\tBUGS\n")


def test_weights_tuned_on_other_lists(run: Run) -> None:
    dev = {f"dev-{utterance}": one for utterance, one in BUNNIES.items()}
    code, out, err = run(
        "rescore", nbest("n.jsonl", BUNNIES), "--lm", bunny_lm(), "--tune",
        nbest("dev.jsonl", dev), "--references",
        manifest("said.jsonl", {f"dev-{key}": text for key, text in SAID.items()}),
    )  # fmt: skip
    assert code == 0, err
    assert out == "u1\tBUGS BUNNY\nu2\tBUGS\n"
    tuned, *rates = err.split("\n")[:-1]
    assert tuned.startswith("tuned on dev.jsonl: --weight score=1.0 --weight lm=")
    assert [line.split(" %")[0] for line in rates] == [
        "before: WER 33.33", "rescored: WER 0.00", "oracle: WER 0.00",
    ]  # fmt: skip
    weights = tuned.removeprefix("tuned on dev.jsonl: ").split(" ")
    assert run("rescore", "n.jsonl", "--lm", "lm.arpa", *weights) == (0, out, "")


def test_tuning_begins_with_and_is_limited_to_given_weights(run: Run) -> None:
    lists, said = nbest("n.jsonl", BUNNIES), manifest("said.jsonl", SAID)
    code, _, err = run(
        "rescore", lists, "--lm", bunny_lm(), "--tune", lists, "--references", said,
        "--weight", "score=2", "--weight", "lm=3",
    )  # fmt: skip
    assert code == 0
    assert "words" not in err.split("\n")[0]
    assert "before: WER 33.33 %" in err


def test_references_without_tuning_are_those_of_the_lists(run: Run) -> None:
    said = manifest("said.jsonl", {key: text.lower() for key, text in SAID.items()})
    words = ["rescore", nbest("n.jsonl", BUNNIES), "--weight", "score=1", "--references", said]
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert "n.jsonl and said.jsonl have no word in common" in err
    code, out, err = run(*words, "--case", "upper")
    assert code == 0
    assert err.startswith("before: WER 33.33 % [")
    assert "over speakers" not in err, "none are known"
    code, out, err = run(*words, "--case", "upper", "--out", "r.jsonl")
    assert (code, err) == (0, "asr: written to r.jsonl\n")
    assert [line.split(" %")[0] for line in out.split("\n")[:-1]] == [
        "before: WER 33.33", "rescored: WER 33.33", "oracle: WER 0.00",
    ]  # fmt: skip


def test_scores_of_another_system_for_lists_and_for_tuning(run: Run) -> None:
    """A NAME may have two files; the second system is right where the first is not."""
    other = {"u1": {"BUGS BUNNY": {"score": -1.0}, "BUNNY BUNNY": {"score": -2.0}}}
    test, dev = {"u1": BUNNIES["u1"]}, {"d1": BUNNIES["u1"]}
    code, out, err = run(
        "rescore", nbest("n.jsonl", test), "--tune", nbest("d.jsonl", dev),
        "--references", manifest("said.jsonl", {"d1": "BUGS BUNNY"}),
        "--scores", "two=" + nbest("o1.jsonl", other),
        "--scores", "two=" + nbest("o2.jsonl", {"d1": other["u1"]}),
    )  # fmt: skip
    assert (code, out) == (0, "u1\tBUGS BUNNY\n")
    assert "--weight two.score=" in err
    code, out, _ = run(
        "rescore", "n.jsonl", "--scores", "o1.jsonl", "--weight", "score=1", "--weight",
        "o1.score=0.05",
    )  # fmt: skip
    assert (code, out) == (0, "u1\tBUGS BUNNY\n"), "named as its file"


def test_lists_and_costs_of_kaldi(run: Run) -> None:
    lists = write("words", "u-2 B\nu-1 A\n")
    costs = ["--costs", "ac=" + write("ac.txt", "u-1 50\nu-2 55\n"),
             "--costs", "lm=" + write("lm.txt", "u-1 9\nu-2 7\n")]  # fmt: skip
    code, out, _ = run("rescore", lists, *costs, "--weight", "ac=0.1", "--weight", "lm=1")
    assert (code, out) == (0, "u\tB\n")
    code, out, _ = run("rescore", lists, *costs, "--weight", "ac=1", "--weight", "lm=1")
    assert (code, out) == (0, "u\tA\n")


def test_a_language_model_of_characters(run: Run) -> None:
    made_model(np.random.default_rng(1), [*"BUGNY", "S", "<space>"], 2).write(Path("c.arpa"))
    lists = nbest("n.jsonl", {"u1": BUNNIES["u1"]})
    weights = ["--weight", "score=1", "--weight", "c=0.1"]
    code, _, err = run("rescore", lists, "--lm", "c=c.arpa", *weights)
    assert code == 2
    assert "c.arpa: knows 0 of 4 words of the n-best lists" in err
    code, out, _ = run("rescore", lists, "--lm", "c=c.arpa", "--lm-unit", "character", *weights)
    assert code == 0
    assert out.startswith("u1\tBU")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "nothing says how to rank: give --weight NAME=VALUE, such as --weight score=1"),
        (["--tune", "n.jsonl"], "--tune needs --references, the manifest with the texts of its"),
        (["--out", "r.jsonl"], "nothing says how to rank: give --weight NAME=VALUE"),
        (["--lm", "lm.arpa"], "--tune with --references; or --out, to add scores alone"),
        (["--weight", "score=1", "--model", "best"], "--model needs --manifest, the manifest with"),
        (["--weight", "score=1", "--json", "s.json"], "--json needs --manifest, the manifest with"),
        (["--weight", "score=1", "--manifest", "said.jsonl", "--references", "said.jsonl"],
         "--references and --manifest are the same without --tune; give one"),
        (["--weight", "score=1", "--manifest", "said.jsonl", "--json", "said.jsonl"],
         "said.jsonl: is an input itself; choose another --json"),
        (["--weight", "score=1", "--manifest", "said.jsonl", "--model", "best"],
         "best: no such bundle (a folder made by asr train)"),
        (["--weight", "score=1", "--lm-unit", "word"], "--lm-unit says what the words of --lm are"),
        (["--weight", "score=1", "--case", "lower"], "--case is that of --references; give them"),
        (["--weight", "score"], "--weight must be NAME=VALUE with a number, such as lm=0.5, got"),
        (["--weight", "=1"], "--weight must be NAME=VALUE with a number"),
        (["--weight", "score=high"], "--weight must be NAME=VALUE with a number"),
        (["--weight", "score=1", "--weight", "score=2"], "--weight score is given twice"),
        (["--weight", "score=nan"], "the weight of 'score' must be a finite number"),
        (["--weight", "lm=1", "--weight", "score=1"], "a weight for 'lm', but the n-best lists"),
        (["--weight", "foo=1"], "a weight for 'foo', but the n-best lists have the scores score, "
         "words"),
        (["--weight", "foo=1", "--lm", "lm.arpa"], "a weight for 'foo', but the n-best lists have "
         "the scores score, lm, words"),
        (["--weight", "score=0"], "all weights are 0"),
        (["--weight", "score=1", "--out", "n.jsonl"], "is an input itself; choose another"),
        (["--weight", "score=1", "--lm", "lm.arpa", "--out", "lm.arpa"], "is an input itself"),
        (["--weight", "score=1", "--lm", "lm.arpa"], "--lm lm.arpa: has no effect without a "
         "weight: --weight lm=VALUE"),
        (["--weight", "score=1", "--scores", "n.jsonl"], "--scores n.jsonl: has no effect without "
         "a weight: --weight n.score=VALUE"),
        (["--weight", "score=1", "--costs", "x=costs"], "--costs costs: has no effect without a "
         "weight: --weight x=VALUE"),
        (["--weight", "lm=1", "--lm", "lm.arpa"], "no weight for what the lists had already "
         "(score): give one, such as --weight score=1; 0 if it is not to count"),
        (["--lm", "score=lm.arpa", "--weight", "score=1"], "have a score 'score' already; give the "
         "new one another name, as NAME=FILE"),
        (["--lm", "none.arpa", "--weight", "lm=1"], "none.arpa: cannot be read: No such file or "
         "directory; asr lm train makes such a model of a text"),
        (["--tune", "other.jsonl", "--references", "said.jsonl"], "other.jsonl: has the scores "
         "acoustic, n.jsonl has score; both must have the same"),
        (["--scores", "o=n.jsonl", "--scores", "o=other.jsonl", "--weight", "score=1"],
         "other.jsonl: has the scores acoustic, n.jsonl has score; both must have the same"),
        (["--scores", "o=n.jsonl", "--scores", "o=n.jsonl", "--weight", "score=1"],
         "n.jsonl, n.jsonl: 'u1' is in several of these files; it must be in one"),
        (["--costs", "o=costs", "--costs", "o=costs", "--weight", "score=1"],
         "costs, costs: 'u1-1' is in several of these files"),
        (["--weight", "score=1", "--references", "short.jsonl"],
         "short.jsonl: lacks 1 of the 2 utterances of n.jsonl: 'u2'. Both must have the same ones"),
        (["--scores", "other.jsonl", "--weight", "score=1"], "other.jsonl: lacks 1 of the 2"),
    ],
)  # fmt: skip
def test_faults_are_one_line(run: Run, words: list[str], message: str) -> None:
    nbest("n.jsonl", BUNNIES)
    nbest("other.jsonl", {"u1": {"BUGS BUNNY": {"acoustic": 1.0}}})
    write("costs", "u1-1 1\nu1-2 2\nu2-1 3\n")
    manifest("said.jsonl", SAID)
    manifest("short.jsonl", {"u1": "BUGS"})
    bunny_lm()
    before = {path: path.read_bytes() for path in Path.cwd().iterdir() if path.is_file()}
    code, out, err = run("rescore", "n.jsonl", *words)
    assert (code, out) == (2, "")
    assert message in err
    assert err.startswith("asr: error: ")
    assert err.count("\n") == 1
    assert {path: path.read_bytes() for path in Path.cwd().iterdir() if path.is_file()} == before


def test_a_neural_language_model(run: Run, tmp_path: Path) -> None:
    write_neural(tmp_path / "net", characters("BUGSNY "))
    files = [nbest("n.jsonl", BUNNIES), "--lm", "net", "--weight", "score=1", "--weight", "lm=0.1"]
    assert run("rescore", *files)[0] == 0
    code, _, err = run("rescore", *files, "--lm-unit", "character")
    assert code == 2
    assert "--lm-unit character has no effect: a neural model knows its tokens" in err


def test_scores_alone_are_added_and_the_order_stays(run: Run) -> None:
    lists = nbest("n.jsonl", BUNNIES)
    code, out, err = run("rescore", lists, "--lm", bunny_lm(), "--out", "r.jsonl")
    assert (code, out, err) == (0, "", "asr: written to r.jsonl\n")
    first, second = read_nbest(Path("r.jsonl"))[0].candidates
    assert [first.text, second.text] == ["BUNNY BUNNY", "BUGS BUNNY"]
    assert first.scores["score"] == -0.67
    assert first.scores["lm"] < second.scores["lm"]
    code, out, _ = run(
        "rescore", lists, "--lm", "lm.arpa", "--out", "r.jsonl", "--manifest",
        manifest("said.jsonl", SAID),
    )  # fmt: skip
    assert code == 0
    assert [line.split(" %")[0] for line in out.split("\n")[:-1]] == [
        "before: WER 33.33", "oracle: WER 0.00",
    ]  # fmt: skip


def test_rates_of_both_lists_and_all_in_json(run: Run) -> None:
    """Tuned on one set; the rates of the other are those of evaluation, with intervals."""
    dev = {f"dev-{utterance}": one for utterance, one in BUNNIES.items()}
    code, out, err = run(
        "rescore", nbest("n.jsonl", BUNNIES), "--lm", bunny_lm(), "--tune",
        nbest("dev.jsonl", dev), "--references",
        manifest("dev_said.jsonl", {f"dev-{key}": text for key, text in SAID.items()}),
        "--manifest", manifest("said.jsonl", SAID), "--json", "deep/s.json", "--out", "r.jsonl",
    )  # fmt: skip
    assert code == 0, err
    tuned, *rates = out.split("\n")[:-1]
    assert [line.split(" %")[0] for line in rates] == [
        "before: WER 33.33", "rescored: WER 0.00", "oracle: WER 0.00",
        "n.jsonl, before: WER 33.33", "n.jsonl, rescored: WER 0.00", "n.jsonl, oracle: WER 0.00",
    ]  # fmt: skip
    told = json.loads(Path("deep/s.json").read_text())
    assert list(told) == ["nbest", "weights", "before", "rescored", "oracle"]
    assert told["nbest"] == "n.jsonl"
    weights = [f"{name}={value!r}" for name, value in told["weights"].items()]
    assert tuned == " --weight ".join(["tuned on dev.jsonl:", *weights])
    assert told["before"]["wer"] == pytest.approx(1 / 3)
    assert told["before"]["cer"] == pytest.approx(3 / 14)
    assert told["rescored"]["wer"] == 0
    words = told["before"]["words"]
    assert (words["rate"], words["substitutions"], words["reference_length"]) == (1 / 3, 1, 3)
    assert len(words["interval"]) == 2
    assert words["signature"].startswith("wer|")


def test_a_file_whose_name_has_an_equals_sign(run: Run) -> None:
    bunny_lm()
    Path("lm.arpa").rename("a=b.arpa")
    lists = nbest("n.jsonl", BUNNIES)
    weights = ["--weight", "score=1", "--weight", "lm=1"]
    assert run("rescore", lists, "--lm", "a=b.arpa", *weights)[0] == 0
    assert run("rescore", lists, "--lm", "lm=a=b.arpa", *weights)[0] == 0


def test_the_help_says_that_own_scores_need_a_weight(run: Run) -> None:
    code, out, _ = run("rescore", "--help")
    assert code == 0
    text = " ".join(out.replace("│", "").split())
    assert "one of the lists' own scores must have a weight" in text
