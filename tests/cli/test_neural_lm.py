"""Neural language models on the command line: trained, measured, drawn from, and told apart."""

from pathlib import Path

import pytest

from asr.lm.arpa import write_arpa
from asr.lm.estimate import estimate
from asr.lm.loading import load_lm
from tests.cli.conftest import Run
from tests.lm.made_neural import write_neural
from tests.made_text import write_text, write_text_recipe


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_neural(tmp_path / "exp" / "charlm" / "default" / "best")


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("AB BA\nB\n\nAXB\n", encoding="utf-8")
    return path


@pytest.fixture
def arpa(tmp_path: Path) -> Path:
    model = estimate(["AB BA", "BA", "B AB"], order=2, unit="character")
    write_arpa(tmp_path / "m.arpa", model.words, model.orders)
    return tmp_path / "m.arpa"


def test_from_the_recipe_to_samples(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_text_recipe(tmp_path / "commands", write_text(tmp_path / "data"))
    code, out, _ = run("config", "commands", "--set", "model.cell=gru")
    assert code == 0
    assert out.startswith('task = "language_model"\nseed = 1\n')
    assert 'cell = "gru"' in out
    code, out, err = run("train", "commands", "--set", "training.epochs=1")
    assert code == 0, err
    assert [line.split()[0] for line in out.split("\n")[:-1]] == [
        "dev:",
        "test:",
        "exp/commands/default/best",
    ]
    assert "bits per character" in out
    assert "temperature 0.25: GO" in err
    best = "exp/commands/default/best"
    code, out, _ = run("lm", "sample", best, "--prompt", "TURN ", "--seed", 1, "--length", 5)
    assert code == 0
    assert out.startswith("TURN ")
    code, out, _ = run("info", best)
    assert code == 0
    assert out.startswith("# A language model made with `asr`")
    assert "asr train commands --set training.epochs=1" in out
    code, out, err = run("train", "commands", "--set", "training.epochs=1")
    assert code == 0
    assert "this training is finished" in err


def test_perplexity(run: Run, bundle: Path, text: Path) -> None:
    code, out, err = run("lm", "perplexity", bundle, text)
    assert code == 0, err
    lines = out.split("\n")
    assert lines[0] == "4 sentences, 9 tokens, 1 unknown (11.11%)"
    assert "bits per character, perplexity " in lines[3]
    nats = -sum(load_lm(bundle).score_texts(["AB BA", "B", "", "AXB"]))
    assert lines[2] == f"log-probability {-nats:.2f} nats"


def test_samples_by_seed_and_temperature(run: Run, bundle: Path) -> None:
    sample = ("lm", "sample", bundle, "--count", 3, "--length", 30)
    first, again, other = (run(*sample, "--seed", seed)[1] for seed in (1, 1, 2))
    assert first == again != other
    assert first.count("\n") == 3
    greedy = {run(*sample, "--temperature", 0)[1] for _ in range(2)}
    assert len(greedy) == 1
    assert len({run(*sample, "--temperature", 1)[1] for _ in range(3)}) > 1, "another seed each"


def test_samples_of_an_arpa_file(run: Run, arpa: Path) -> None:
    code, out, err = run("lm", "sample", arpa, "--unit", "character", "--prompt", "B", "--count", 2)
    assert code == 0, err
    assert set(out) <= set("AB \n")
    assert all(line.startswith("B") for line in out.split("\n")[:-1])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sample", "BUNDLE", "--temperature", "-1"], "the temperature must be a number from 0"),
        (["sample", "BUNDLE", "--temperature", "nan"], "the temperature must be a number from 0"),
        (["sample", "BUNDLE", "--count", "0"], "count and length must be at least 1, got 0"),
        (["sample", "BUNDLE", "--seed", "-1"], "--seed must be 0 or more, got -1"),
        (["sample", "BUNDLE", "--prompt", "xy"], "the prompt has 'x', 'y', which the language"),
        (["sample", "BUNDLE", "--unit", "word"], "best: is a neural model, whose words are its"),
        (["sample", "none"], "none: cannot be read: No such file or directory"),
        (["perplexity", "BUNDLE", "TEXT", "--unit", "character"], "leave out --unit"),
        (["perplexity", "BUNDLE", "none.txt"], "none.txt: cannot be read: No such file"),
        (["perplexity", "RUN", "TEXT"], "is the folder of a training; its language model is "),
    ],
)
def test_faults(run: Run, bundle: Path, text: Path, words: list[str], message: str) -> None:
    names = {"BUNDLE": bundle, "TEXT": text, "RUN": bundle.parent}
    code, out, err = run("lm", *(names.get(word, word) for word in words))
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_a_damaged_model(run: Run, bundle: Path, text: Path) -> None:
    (bundle / "language_model.json").write_text("{}", encoding="utf-8")
    code, _, err = run("lm", "perplexity", bundle, text)
    assert code == 2
    assert "language_model.json: checksum differs from manifest.json" in err


def test_a_language_model_is_no_recogniser(run: Run, bundle: Path, text: Path) -> None:
    code, _, err = run("transcribe", text, "--model", bundle)
    assert code == 2
    assert err == (
        f"asr: error: {bundle}: is a language model, no speech recogniser; give it as --lm, and a "
        "recogniser as the model\n"
    )


def test_a_recogniser_is_no_language_model(run: Run, trained: Path, text: Path) -> None:
    code, _, err = run("lm", "perplexity", trained / "run" / "best", text)
    assert code == 2
    assert "best: is a speech recogniser, no language model; give an ARPA file or a lang" in err


def test_the_default_model_is_a_recogniser(
    run: Run, bundle: Path, text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The only finished training here is of a language model."""
    monkeypatch.chdir(bundle.parents[3])
    monkeypatch.delenv("ASR_MODEL", raising=False)
    (bundle.parent / "finished.json").write_text("{}", encoding="utf-8")
    code, _, err = run("transcribe", text)
    assert code == 2
    assert "no model: name one with --model" in err


def test_text_and_counts_of_info_as_json(run: Run, bundle: Path) -> None:
    code, out, _ = run("info", bundle, "--json")
    assert code == 0
    assert '"bits_per_character": 1.5' in out
    assert '"train": "train.txt"' in out
