"""`asr lm`: what it prints and writes, and the exit code."""

import io
import math
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from asr.cli import main as cli
from tests.lm.plain_kneser_ney import PlainModel

Run = Callable[..., tuple[int, str, str]]
TEXT = ["GO ON", "GO", "ON AND ON", "STOP", "GO AND STOP"]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `asr lm`, with a text as stdin; its exit code, stdout and stderr."""

    def call(*words: object, stdin: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        capsys.readouterr()
        code = cli.main(["lm", *map(str, words)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Models that are read are kept in a folder of the test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("".join(f"{line}\n" for line in TEXT), encoding="utf-8")
    return path


def counts(path: Path) -> list[str]:
    """The header of an ARPA file."""
    lines = path.read_text(encoding="utf-8").split("\n")
    return [line for line in lines if line.startswith("ngram ")]


def test_help(run: Run) -> None:
    for words in (["--help"], ["train", "--help"], ["perplexity", "--help"]):
        assert run(*words)[0] == 0
    assert run()[0] == 2


def test_train_prints_what_it_made(run: Run, text: Path, tmp_path: Path) -> None:
    out_file = tmp_path / "deep" / "model.arpa"
    code, out, err = run("train", text, "--order", 2, "-o", out_file)
    assert code == 0, err
    assert out.split("\n") == [
        "5 sentences, 10 words, a vocabulary of 4",
        "1-grams: 7, discounts 0.2000 1.4000 3.0000",
        "2-grams: 11, discounts 0.6667 1.0000 3.0000",
        str(out_file),
        "",
    ]
    assert "counting the n-grams of 20 tokens, order 2" in err
    assert counts(out_file) == ["ngram 1=7", "ngram 2=11"]


def test_perplexity_is_that_of_the_definition(run: Run, text: Path, tmp_path: Path) -> None:
    model = tmp_path / "model.arpa.gz"
    assert run("train", text, "-o", model)[0] == 0
    plain = PlainModel([line.split() for line in TEXT], [0, 0, 0])
    probs = [
        plain.prob(("<s>",), "GO"), plain.prob(("<s>", "GO"), "<unk>"), plain.prob((), "</s>"),
        plain.prob(("<s>",), "</s>"),
    ]  # fmt: skip
    expected = math.exp(-sum(map(math.log, probs)) / 4)
    known = math.exp(-sum(math.log(prob) for k, prob in enumerate(probs) if k != 1) / 3)
    code, out, err = run("perplexity", model, "-", stdin="GO AWAY\n\n")
    assert code == 0, err
    assert out.split("\n")[:2] == [
        "2 sentences, 2 words, 1 unknown (50.00%)",
        f"perplexity {expected:.2f}, without unknown words {known:.2f}",
    ]


def test_several_texts_of_several_kinds(run: Run, text: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "m.jsonl"
    manifest.write_text('{"audio_filepath": "a", "duration": 1, "text": "X"}', encoding="utf-8")
    code, out, _ = run("train", text, manifest, "-", "-o", tmp_path / "a.arpa", stdin="Y Z")
    assert code == 0
    assert "7 sentences, 13 words, a vocabulary of 7" in out
    code, out, _ = run("perplexity", tmp_path / "a.arpa", manifest, text)
    assert code == 0
    assert "6 sentences, 11 words, 0 unknown (0.00%)" in out


@pytest.mark.parametrize("prune", [["0,0,1"], ["0 0 1"], ["0", "--prune", "0", "--prune", "1"]])
def test_prune(prune: list[str], run: Run, text: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.arpa"
    assert run("train", text, text, "-o", out)[0] == 0
    assert counts(out) == ["ngram 1=7", "ngram 2=11", "ngram 3=10"]
    text.write_text(text.read_text(encoding="utf-8") + "GO ON\n", encoding="utf-8")
    assert run("train", text, "--prune", *prune, "-o", out)[0] == 0
    assert counts(out) == ["ngram 1=7", "ngram 2=11", "ngram 3=2"]


def test_vocabulary(run: Run, text: Path, tmp_path: Path) -> None:
    words = tmp_path / "words.txt"
    words.write_text("GO\nON\nNEVER\n", encoding="utf-8")
    code, out, err = run("train", text, "-o", tmp_path / "a.arpa", "--vocabulary", words)
    assert code == 0
    assert "a vocabulary of 2" in out
    assert "2 of the 3 words of the vocabulary are in the text" in err


def test_characters(run: Run, text: Path, tmp_path: Path) -> None:
    model = tmp_path / "a.arpa"
    code, out, _ = run("train", text, "--unit", "character", "-o", model)
    assert code == 0
    assert "5 sentences, 31 characters, a vocabulary of 9" in out
    assert "\t<space>\t" in model.read_text(encoding="utf-8")
    code, out, _ = run("perplexity", model, text, "--unit", "character")
    assert code == 0
    assert "5 sentences, 31 characters, 0 unknown (0.00%)" in out
    perplexity = float(out.split("perplexity ")[1].split(",")[0])
    bits, per_word = math.log2(perplexity), perplexity ** (36 / 15)
    lines = out.split("\n")
    assert lines[3].startswith(f"{bits:.2f}")
    assert lines[3].endswith(" per word: 10 words, 31 characters")
    assert float(lines[3].split("perplexity ")[1].split()[0]) == pytest.approx(per_word, rel=0.01)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["text.txt"], "Missing option '--out' / '-o'"),
        (["text.txt", "-o", "text.txt"], "text.txt: is the text itself; choose another --out"),
        (["none.txt", "-o", "a"], "none.txt: cannot be read: No such file or directory"),
        (["text.txt", "-o", "a", "--order", "7"], "the order of a model must be 1 to 6, got 7"),
        (["text.txt", "-o", "a", "--prune", "x"], "--prune must be whole numbers with commas"),
        (["text.txt", "-o", "a", "--prune", "0", "0", "1"], "0: no such text; the numbers of"),
        (["text.txt", "-o", "a", "--vocabulary", "no"], "no: cannot be read: No such file"),
        (["text.txt", "-o", "a", "--unit", "letter"], "'letter' is not one of 'word'"),
    ],
)
def test_faults(
    words: list[str], message: str, run: Run, text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(text.parent)
    code, out, err = run("train", *words)
    assert code == 2
    assert out == ""
    assert message in err
    assert not Path("a").exists()
    assert text.read_text(encoding="utf-8").startswith("GO ON\n")


def test_a_failed_training_leaves_the_old_model(run: Run, text: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.arpa"
    out.write_text("old", encoding="utf-8")
    text.write_text("A <s> B\n", encoding="utf-8")
    code, _, err = run("train", text, "-o", out)
    assert code == 2
    assert "text.txt:1: '<s>' stands in the text" in err
    assert out.read_text(encoding="utf-8") == "old"
