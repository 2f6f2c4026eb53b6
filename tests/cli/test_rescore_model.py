"""`asr rescore --model`: lists of any system with the exact scores of a trained recogniser."""

import json
from pathlib import Path

import pytest

from asr.decoding.nbest import NEVER, read_nbest
from tests.cli.conftest import Run
from tests.made import TEST_TEXTS

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def bundle(trained: Path) -> Path:
    return trained / "run" / "best"


def kaldi_lists(path: Path, split: str, *others: str) -> Path:
    """What was said in each utterance behind texts that were not, as Kaldi writes lists."""
    lines = []
    for number, said in enumerate(TEST_TEXTS):
        texts = [*(other for other in others if other != said), said]
        lines += [f"{split}-{number:03d}-{rank} {text}\n" for rank, text in enumerate(texts, 1)]
    path.write_text("".join(lines), encoding="utf-8")
    return path


def test_lists_without_scores_are_ranked(
    run: Run, trained: Path, bundle: Path, tmp_path: Path
) -> None:
    lists = kaldi_lists(tmp_path / "words", "test", "FADE", "ACE")
    manifest = trained / "data" / "test.jsonl"
    code, out, err = run(
        "rescore", lists, "--model", bundle, "--manifest", manifest, "--weight", "recognizer=1"
    )
    assert code == 0, err
    assert out == "".join(f"test-{n:03d}\t{text}\n" for n, text in enumerate(TEST_TEXTS))
    assert [line.split(" %")[0] for line in err.split("\n")[:-1]] == [
        "before: WER 100.00", "rescored: WER 0.00", "oracle: WER 0.00",
    ]  # fmt: skip
    code, again, _ = run(
        "rescore", lists, "--model", f"rnn={bundle}", "--references", manifest, "--weight", "rnn=2"
    )
    assert (code, again) == (0, out), "without --tune, references are of the lists"


def test_dev_lists_are_scored_too(run: Run, trained: Path, bundle: Path, tmp_path: Path) -> None:
    """Own scores need no weight where a recogniser has one; weights are found on dev."""
    data, rescored = trained / "data", tmp_path / "r.jsonl"
    for split in ("dev", "test"):
        search = ("--beam-size", 20, "--nbest", 5, "--out", tmp_path / split)
        assert run("evaluate", bundle, data / f"{split}.jsonl", *search)[0] == 0
    code, out, err = run(
        "rescore", tmp_path / "test" / "nbest.jsonl", "--model", bundle,
        "--manifest", data / "test.jsonl", "--tune", tmp_path / "dev" / "nbest.jsonl",
        "--references", data / "dev.jsonl", "--weight", "recognizer=1", "--weight", "words=0",
        "--json", tmp_path / "s.json", "--out", rescored,
    )  # fmt: skip
    assert code == 0, err
    assert "--weight recognizer=1.0 --weight words=" in out
    assert json.loads((tmp_path / "s.json").read_text())["rescored"]["wer"] == 0
    for one in read_nbest(rescored):
        first = one.candidates[0]
        assert set(first.scores) == {"score", "acoustic", "recognizer"}
        # A search adds up what else spells the text, such as with a space at its end.
        assert first.scores["recognizer"] == pytest.approx(first.scores["acoustic"], abs=0.5)


def test_candidates_that_it_cannot_write_are_last_and_told(
    run: Run, trained: Path, bundle: Path, tmp_path: Path
) -> None:
    lists = kaldi_lists(tmp_path / "words", "test", "BÉD")
    code, _, err = run(
        "rescore", lists, "--model", bundle, "--manifest", trained / "data" / "test.jsonl",
        "--weight", "recognizer=0", "--weight", "words=-1", "--out", tmp_path / "r.jsonl",
    )  # fmt: skip
    assert code == 0
    assert err.split("\n")[0] == (
        f"asr: warning: {bundle}: 4 candidates cannot be written by it and are ranked last (4 with "
        "symbols that it lacks: 'É' (4)), such as 'BÉD' of 'test-003'"
    )
    for one in read_nbest(tmp_path / "r.jsonl"):
        assert one.candidates[-1].text == "BÉD"
        assert one.candidates[-1].scores == {"recognizer": NEVER, "score": NEVER}


def test_faults_are_one_line(run: Run, trained: Path, bundle: Path, tmp_path: Path) -> None:
    lists, data = kaldi_lists(tmp_path / "words", "test", "FADE"), trained / "data"
    model = ("--model", bundle, "--manifest", data / "test.jsonl")
    for options, message in (
        ((*model, "--weight", "words=1"), "has no effect without a weight: --weight recognizer="),
        (("--model", bundle, "--manifest", data / "dev.jsonl", "--weight", "recognizer=1"),
         "dev.jsonl: lacks 4 of the 4 utterances of"),
        ((*model, *model[:2], "--weight", "recognizer=1"), "have a score 'recognizer' already"),
    ):  # fmt: skip
        code, out, err = run("rescore", lists, *options)
        assert (code, out) == (2, "")
        assert message in err
        assert err.count("\n") == 1
