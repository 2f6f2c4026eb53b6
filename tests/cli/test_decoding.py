"""Commands that search: options, output, and what they refuse."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.bundle import read_bundle
from asr.cli import main as cli
from tests.made import RATE, spoken

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command; its exit code, stdout and stderr."""

    def call(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = cli.main([str(word) for word in words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture
def bundle(trained: Path) -> Path:
    return trained / "run" / "best"


@pytest.fixture
def arpa(run: Run, trained: Path, tmp_path: Path) -> Path:
    path = tmp_path / "words.arpa"
    assert run("lm", "train", trained / "data" / "train.jsonl", "--order", 2, "-o", path)[0] == 0
    return path


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    path = tmp_path / "my sound.wav"
    soundfile.write(path, spoken("FACE BED"), RATE)
    return path


def test_transcribing_with_a_dictionary(run: Run, bundle: Path, sound: Path) -> None:
    lexicon = sound.parent / "words.txt"
    lexicon.write_text("FACED\nBED\nCAB\n", encoding="utf-8")
    code, out, _ = run("transcribe", sound, "--model", bundle, "--lexicon", lexicon)
    assert code == 0
    assert set(out.split()) <= {"FACED", "BED", "CAB"}
    assert out.split()[-1] == "BED"


def test_transcribing_with_a_language_model_says_what_it_is(
    run: Run, bundle: Path, sound: Path, arpa: Path
) -> None:
    code, out, err = run("transcribe", sound, "--model", bundle, "--lm", arpa, "--lm-weight", 0.1)
    assert (code, out) == (0, "FACE BED\n")
    assert "asr: language model" in err
    assert "knows 100.0% of the training text" in err
    assert "asr: weight 0.1, word bonus 0 (not tuned for this model: see asr tune)" in err


def test_nbest_lists_have_scores_and_times(run: Run, bundle: Path, sound: Path, arpa: Path) -> None:
    words = ("--lm", arpa, "--lm-weight", 0.1, "--nbest", 3, "--format", "json")
    code, out, _ = run("transcribe", sound, "--model", bundle, *words)
    assert code == 0
    record = json.loads(out)
    first, *others = record["nbest"]
    assert first["text"] == record["text"] == "FACE BED"
    assert len(others) == 2
    assert all(first["score"] >= other["score"] for other in others)
    for one in record["nbest"]:
        unknown = one["score"] - (one["acoustic"] + 0.1 * one["lm"])
        assert unknown / (-0.1 * 10) == pytest.approx(
            round(-unknown), abs=1e-2
        )  # words of no model
        assert " ".join(word["word"] for word in one["words"]) == one["text"]
        assert all(0 <= word["confidence"] <= 1 for word in one["words"])


def test_ctm(run: Run, bundle: Path, sound: Path) -> None:
    code, out, _ = run("transcribe", sound, "--model", bundle, "--format", "ctm")
    lines = out.rstrip("\n").split("\n")
    assert code == 0
    assert [line.split()[4] for line in lines] == ["FACE", "BED"]
    assert [len(line.split()) for line in lines] == [6, 6]
    assert lines[0].split()[:2] == [str(sound).replace(" ", "_"), "1"]


def test_any_models_scores_are_decoded_as_ours_are(
    run: Run, bundle: Path, trained: Path, arpa: Path, tmp_path: Path
) -> None:
    manifest, scores, labels = trained / "data" / "test.jsonl", tmp_path / "s.npz", tmp_path / "l"
    search = ("--lm", arpa, "--lm-weight", 0.3, "--word-bonus", 0.5)
    out = tmp_path / "out"
    code, _, _ = run(
        "evaluate", bundle, manifest, *search, "--scores", scores, "--out", out, "--nbest", 2
    )
    assert code == 0
    names = read_bundle(bundle).tokenizer.symbols
    labels.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    code, text, _ = run("decode", scores, "--labels", labels, *search)
    assert code == 0
    kept = [json.loads(line) for line in (out / "nbest.jsonl").read_text("utf-8").split("\n")[:-1]]
    expected = {record["id"]: record["nbest"][0] for record in kept}
    found = dict(line.split("\t") for line in text.rstrip("\n").split("\n"))
    assert found == {name: best["text"] for name, best in expected.items()}
    assert all(len(record["nbest"]) == 2 for record in kept)
    seconds = ("--frame-seconds", 0.01, "--format")
    code, text, _ = run("decode", scores, "--labels", labels, *search, *seconds, "json")
    for line in text.rstrip("\n").split("\n"):
        record = json.loads(line)
        assert record["nbest"][0]["score"] == pytest.approx(
            expected[record["id"]]["score"], abs=1e-3
        )
    code, text, _ = run("decode", scores, "--labels", labels, *search, *seconds, "ctm")
    assert text.rstrip("\n").split("\n") == (out / "words.ctm").read_text("utf-8").rstrip(
        "\n"
    ).split("\n")


def test_tuning(run: Run, bundle: Path, trained: Path, arpa: Path, tmp_path: Path) -> None:
    import shutil

    copy = shutil.copytree(bundle, tmp_path / "copy" / "best")
    code, out, err = run(
        "tune", copy, trained / "data" / "dev.jsonl", "--lm", arpa, "--beam-size", 4
    )
    assert code == 0
    assert "weight\\bonus" in out
    assert f"stored in {copy}" in out
    assert (tmp_path / "copy" / "tuning" / "words" / "surface.png").is_file()
    assert "written:" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--nbest", 3), "--nbest has no effect on the best path; search with --beam-size"),
        (("--nbest", 3, "--beam-size", 9), "--nbest needs --format json"),
        (("--lm-weight", 1), "--lm-weight has no effect without --lm"),
        (("--lm", "none.arpa"), "none.arpa"),
        (("--lexicon", "none.txt"), "none.txt: cannot be read: No such file or directory"),
        (("--hotwords", "none.txt"), "none.txt: cannot be read: No such file or directory"),
        (("--beam-size", 0), "beam_size must be at least 1, got 0"),
    ],
)
def test_refusals(
    run: Run, bundle: Path, sound: Path, words: tuple[object, ...], message: str
) -> None:
    code, out, err = run("transcribe", sound, "--model", bundle, *words)
    assert (code, out) == (2, "")
    assert message in err
    assert err.startswith("asr: error: ")


def test_nbest_of_an_evaluation_needs_a_folder(run: Run, bundle: Path, trained: Path) -> None:
    manifest = trained / "data" / "test.jsonl"
    code, _, err = run("evaluate", bundle, manifest, "--beam-size", 5, "--nbest", 2)
    assert (code, err) == (
        2,
        "asr: error: --nbest needs --out, a folder for nbest.jsonl\n",
    )


def test_scores_that_cannot_be_decoded(run: Run, tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("_\n \nA\n", encoding="utf-8")
    good = np.log(np.full((4, 3), 1 / 3))
    for array, message in (
        (np.full((4, 3), 0.5), "utterance 'u1': log_probs must be normalised, got 0.5"),
        (good[:, :2], "utterance 'u1': log_probs must be (B, T, 3)"),
        (good * np.nan, "utterance 'u1': utterance 0 of the batch has NaN scores"),
        (np.full((4, 3), -np.inf), "utterance 'u1': "),
    ):
        np.savez(tmp_path / "s.npz", u0=good, u1=array)
        code, _, err = run("decode", tmp_path / "s.npz", "--labels", labels)
        assert code == 2
        assert message in err
    code, _, err = run("decode", tmp_path / "s.npz", "--labels", labels, "--nbest", 2)
    assert (code, "--nbest needs --format json" in err) == (2, True)


def test_an_utterance_without_words_is_no_line_of_a_ctm(run: Run, tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("_\nA\n", encoding="utf-8")
    heard, silent = np.log([[0.1, 0.9]]), np.log([[0.9, 0.1]])
    np.savez(tmp_path / "s.npz", silent=silent, heard=heard, none=heard[:0])
    code, out, _ = run("decode", tmp_path / "s.npz", "--labels", labels, "--format", "ctm")
    assert (code, out) == (0, "heard 1 0.000 1.000 A 0.9000\n")
    for seconds in (-1, 0, "nan", "inf"):
        words = ("--labels", labels, "--frame-seconds", seconds)
        code, out, err = run("decode", tmp_path / "s.npz", *words)
        assert (code, out) == (2, "")
        assert f"--frame-seconds must be above 0, got {seconds}" in err


def test_a_report_names_the_search(
    run: Run, bundle: Path, trained: Path, arpa: Path, tmp_path: Path
) -> None:
    manifest = trained / "data" / "test.jsonl"
    _, greedy, _ = run("evaluate", bundle, manifest)
    _, _, _ = run(
        "evaluate", bundle, manifest, "--lm", arpa, "--beam-size", 5, "--json", tmp_path / "x.json"
    )
    scores = json.loads((tmp_path / "x.json").read_text("utf-8"))
    assert "beam" not in greedy
    for unit in ("words", "characters"):
        assert scores[unit]["signature"].endswith(
            "|beam:5|lm:words.arpa|shallow word|lm_weight:0.5|word_bonus:0"
        )
