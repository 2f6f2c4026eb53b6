"""`asr combine`: what it prints and writes, and every fault in one line."""

import json
from pathlib import Path

import pytest

from asr.decoding.nbest import read_nbest
from tests.cli.conftest import Run
from tests.cli.test_rescore import folder, manifest, nbest, write

__all__ = ["folder"]


def spoken(name: str, texts: dict[str, str], confidence: float = 0.9) -> str:
    """Write lists of one candidate each, with word times."""
    entries = []
    for utterance, text in texts.items():
        words = [
            {"word": word, "start": k, "end": k + 1, "confidence": confidence}
            for k, word in enumerate(text.split())
        ]
        entries.append({"id": utterance, "nbest": [{"text": text, "score": -1.0, "words": words}]})
    return write(name, "".join(json.dumps(entry) + "\n" for entry in entries))


def three_systems() -> list[str]:
    """Each has one error in four words, and a different one."""
    return [
        spoken("a.jsonl", {"u1": "THE RAT SAT", "u2": "ON"}),
        spoken("b.jsonl", {"u1": "A CAT SAT", "u2": "ON"}),
        spoken("c.jsonl", {"u2": "OFF", "u1": "THE CAT SAT"}),
    ]


SAID = {"u1": "THE CAT SAT", "u2": "ON"}


def test_help(run: Run) -> None:
    code, out, _ = run("combine", "--help")
    assert code == 0
    for option in ("--method", "--weight", "--alpha", "--nbest", "--scale", "--references"):
        assert option in out


def test_three_systems_vote(run: Run) -> None:
    assert run("combine", *three_systems()) == (0, "u1\tTHE CAT SAT\nu2\tON\n", "")


def test_the_rates_of_each_and_of_the_combination(run: Run) -> None:
    words = ["combine", *three_systems(), "--references", manifest("said.jsonl", SAID)]
    expected = [
        "a: WER 25.00", "b: WER 25.00", "c: WER 25.00", "combination: WER 0.00",
    ]  # fmt: skip
    code, out, err = run(*words)
    assert (code, out) == (0, "u1\tTHE CAT SAT\nu2\tON\n")
    assert [line.split(" %")[0] for line in err.split("\n")[:-1]] == expected
    code, out, err = run(*words, "--out", "c2.jsonl")
    assert (code, err) == (0, "asr: written to c2.jsonl\n")
    assert [line.split(" %")[0] for line in out.split("\n")[:-1]] == expected
    (first, _) = read_nbest(Path("c2.jsonl"))
    assert [(w.word, w.start, w.end) for w in first.candidates[0].words] == [
        ("THE", 0, 1), ("CAT", 1, 2), ("SAT", 2, 3),
    ]  # fmt: skip


def test_weights_and_names(run: Run) -> None:
    systems = [f"{name}={file}" for name, file in zip("xyz", three_systems(), strict=True)]
    weights = ["--weight", "x=0", "--weight", "y=1", "--weight", "z=0"]
    for method in ("vote", "loglinear"):
        code, out, _ = run("combine", *systems, *weights, "--method", method)
        assert (code, out) == (0, "u1\tA CAT SAT\nu2\tON\n")


def test_alpha_changes_the_vote(run: Run) -> None:
    """One sure system against two unsure ones."""
    systems = [
        spoken("a.jsonl", {"u": "A B"}, 0.95),
        spoken("b.jsonl", {"u": "A C"}, 0.3),
        spoken("c.jsonl", {"u": "A C"}, 0.3),
    ]
    assert run("combine", *systems, "--alpha", 0)[1] == "u\tA B\n"
    assert run("combine", *systems)[1] == "u\tA B\n"
    assert run("combine", *systems, "--alpha", 1)[1] == "u\tA C\n"


def test_nbest_and_scale_change_the_vote(run: Run) -> None:
    systems = [
        nbest("a.jsonl", {"u": {"A": {"score": 0.2}, "B": {"score": 0.0}}}),
        nbest("b.jsonl", {"u": {"B": {"score": 0.1}, "A": {"score": -2.0}}}),
    ]
    vote = ["combine", *systems, "--alpha", 1]
    assert run(*vote)[1] == "u\tA\n"
    assert run(*vote, "--nbest", 2)[1] == "u\tB\n"
    weights = ["--weight", "a=4", "--weight", "b=1"]
    assert run(*vote, "--nbest", 2, *weights)[1] == "u\tB\n"
    assert run(*vote, "--nbest", 2, *weights, "--scale", 20)[1] == "u\tA\n"


def test_the_loglinear_combination_can_be_tuned(run: Run) -> None:
    """Its lists have the log-posterior of each system as scores, which `asr rescore` weighs."""
    systems = [
        nbest("a.jsonl", {"u": {"A": {"score": 0.0}, "B": {"score": -1.0}}}),
        nbest("b.jsonl", {"u": {"B": {"score": 0.0}, "A": {"score": -0.5}}}),
    ]
    code, out, _ = run("combine", *systems, "--method", "loglinear", "--out", "ab.jsonl")
    assert (code, out) == (0, "")
    assert read_nbest(Path("ab.jsonl"))[0].candidates[0].text == "A"
    said = manifest("said.jsonl", {"u": "B"})
    code, out, err = run("rescore", "ab.jsonl", "--tune", "ab.jsonl", "--references", said)
    assert (code, out) == (0, "u\tB\n")
    assert "rescored: WER 0.00 %" in err


def test_the_scale_changes_what_a_missing_text_loses(run: Run) -> None:
    """C is listed by both; A by the first alone, which is a little surer of it."""
    systems = [
        nbest("a.jsonl", {"u": {"A": {"score": 0.0}, "C": {"score": -12.0}}}),
        nbest("b.jsonl", {"u": {"C": {"score": 0.0}}}),
    ]
    loglinear = ["combine", *systems, "--method", "loglinear"]
    assert run(*loglinear)[1] == "u\tA\n"
    assert run(*loglinear, "--scale", 0.5)[1] == "u\tC\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a.jsonl"], "a combination needs two systems or more, got 1"),
        (["a.jsonl", "a.jsonl"], "several systems are called 'a'; name them, such as a=a.jsonl"),
        (["a.jsonl", "b.jsonl", "--weight", "a=1"], "weights are given for all systems or for "
         "none, got none for 'b'; the systems are a, b"),
        (["a.jsonl", "b.jsonl", "--weight", "c.jsonl=1"], "got a weight for 'c.jsonl'"),
        (["a.jsonl", "b.jsonl", "--weight", "a=1", "--weight", "b=-1"], "must be 0 or more"),
        (["a.jsonl", "b.jsonl", "--method", "loglinear", "--alpha", "1"], "--alpha and --nbest are "
         "for --method vote; leave them out"),
        (["a.jsonl", "b.jsonl", "--method", "loglinear", "--nbest", "1"], "are for --method vote"),
        (["a.jsonl", "b.jsonl", "--scale", "2"], "--scale has no effect when one candidate of a "
         "list votes; give --nbest"),
        (["a.jsonl", "b.jsonl", "--alpha", "2"], "alpha must be 0 to 1, got 2.0"),
        (["a.jsonl", "b.jsonl", "--alpha", "nan"], "alpha must be 0 to 1, got nan"),
        (["a.jsonl", "b.jsonl", "--nbest", "0"], "Invalid value for '--nbest'"),
        (["a.jsonl", "b.jsonl", "--nbest", "2", "--scale", "0"], "scale must be above 0"),
        (["a.jsonl", "b.jsonl", "--case", "upper"], "--case is that of --references"),
        (["a.jsonl", "short.jsonl"], "short: lacks 1 of the 2 utterances of a: 'u2'. Both must"),
        (["a.jsonl", "b.jsonl", "--references", "said.jsonl"], "said.jsonl: lacks 1 of the 2 "
         "utterances of a: 'u2'"),
        (["a.jsonl", "k=words"], "k: utterance 'u1' has no 'words' with confidences; vote by "
         "frequency alone (--alpha 1), or give lists that have them"),
        (["a.jsonl", "words", "--method", "loglinear"], "'words' cannot name a system"),
        (["a.jsonl", "k=words", "--method", "loglinear"], "k: its candidates have no 'score'"),
        (["a.jsonl", "lower.jsonl"], "lower and a have no word in common, such as 'on' and 'ON'"),
        (["a.jsonl", "b.jsonl", "--out", "b.jsonl"], "b.jsonl: is an input itself"),
        (["a.jsonl", "none.jsonl"], "none.jsonl: cannot be read: No such file or directory"),
    ],
)  # fmt: skip
def test_faults_are_one_line(run: Run, words: list[str], message: str) -> None:
    three_systems()
    spoken("short.jsonl", {"u1": "THE"})
    spoken("lower.jsonl", {"u1": "the cat", "u2": "on"})
    write("words", "u1-1 THE\nu2-1 ON\n")
    manifest("said.jsonl", {"u1": "THE"})
    before = {path: path.read_bytes() for path in Path.cwd().iterdir() if path.is_file()}
    code, out, err = run("combine", *words)
    assert (code, out) == (2, "")
    assert message in err
    assert err.startswith("asr: error: ")
    assert err.count("\n") == 1
    assert {path: path.read_bytes() for path in Path.cwd().iterdir() if path.is_file()} == before
