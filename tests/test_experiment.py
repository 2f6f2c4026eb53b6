"""A recipe from its folder to its bundle: preparation, resuming, sets that are absent."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from asr.bundle import read_bundle
from asr.errors import ConfigError, StoppedError
from asr.experiment import train_recipe
from asr.speech import SpeechTask
from asr.storage import load_tensors
from tests.made import write_corpus, write_recipe

QUICK = ["training.epochs=2", "encoder.hidden_size=8"]
RANDOM = [
    "encoder.dropout=0.3",
    "encoder.num_layers=2",
    "augment.speed_factors=[0.9, 1.0, 1.1]",
    "augment.noise_probability=0.5",
    "training.weight_noise=0.01",
    "training.accumulate=2",
]
PREPARE = """
from pathlib import Path
from tests.made import write_corpus

def prepare(corpus, out):
    assert [path.name for path in corpus] == ["somewhere"]
    write_corpus(out)
"""


def quiet(line: str) -> None:
    """Say nothing."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stopped_training_ends_in_the_same_weights(
    data: Path, tmp_path: Path, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Speech, with everything that is random switched on, to the bit."""
    recipe = write_recipe(tmp_path / "beeps", data)
    overrides = [*QUICK, *RANDOM, f"training.num_workers={workers}"]
    whole = train_recipe(recipe, overrides=overrides, out=tmp_path / "whole", say=quiet)
    loss = SpeechTask.loss
    calls = [0]

    def stopping(self: SpeechTask, batch: object, device: torch.device) -> torch.Tensor:
        calls[0] += 1
        if calls[0] in (4 + 7, 4 + 7 + 4 + 31):
            os.kill(os.getpid(), signal.SIGTERM)
        return loss(self, batch, device)  # type: ignore[arg-type]

    monkeypatch.setattr(SpeechTask, "loss", stopping)
    for _ in range(2):
        with pytest.raises(StoppedError):
            train_recipe(recipe, overrides=overrides, out=tmp_path / "stopped", say=quiet)
    stopped = train_recipe(recipe, overrides=overrides, out=tmp_path / "stopped", say=quiet)
    expected = load_tensors(whole.bundle / "model.safetensors")
    for name, weights in load_tensors(stopped.bundle / "model.safetensors").items():
        assert torch.equal(weights, expected[name]), name


def test_prepares_when_the_manifests_are_missing(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "beeps", tmp_path / "data")
    (recipe / "prepare.py").write_text(PREPARE, encoding="utf-8")
    said: list[str] = []
    corpus = tmp_path / "somewhere"
    corpus.mkdir()
    train_recipe(recipe, overrides=QUICK, out=tmp_path / "run", corpus=[corpus], say=said.append)
    assert said[0] == f"preparing {tmp_path / 'data'} with {recipe / 'prepare.py'}"
    assert (tmp_path / "data" / "prepared.json").exists()


def test_a_set_that_is_absent_for_a_reason(tmp_path: Path) -> None:
    data = write_corpus(tmp_path / "data")
    recipe = write_recipe(tmp_path / "beeps", data)
    from asr.data.corpus.prepared import write_splits
    from asr.data.manifest import read_manifest

    splits = {name: read_manifest(data / f"{name}.jsonl") for name in ("train", "dev")}
    for name in ("train", "dev", "test"):
        (data / f"{name}.jsonl").unlink()
    write_splits(data, splits, absent={"test": "nobody recorded one"})
    said: list[str] = []
    outcome = train_recipe(recipe, overrides=QUICK, out=tmp_path / "run", say=said.append)
    assert "no test set: nobody recorded one" in said
    assert outcome.test is None
    assert outcome.dev is not None
    assert read_bundle(outcome.bundle).recipe.data.test == ""


def test_a_missing_manifest_that_nothing_makes(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "beeps", tmp_path / "data")
    with pytest.raises(ConfigError, match=r"train\.jsonl, .*: no such manifest; make it with asr"):
        train_recipe(recipe, out=tmp_path / "run", say=quiet)


def test_the_command_in_the_bundle_makes_it_again(data: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "beeps", data)
    overrides = [*QUICK, "augment.speed_factors=[0.9, 1.0]"]
    outcome = train_recipe(recipe, overrides=overrides, out=tmp_path / "a run", say=quiet)
    facts = read_bundle(outcome.bundle).facts
    assert facts["command"] == (
        f"asr train {recipe} --set training.epochs=2 --set encoder.hidden_size=8 "
        f"--set 'augment.speed_factors=[0.9, 1.0]' --out '{tmp_path / 'a run'}'"
    )
    assert facts["epochs"] == 2
    assert facts["finished"] is True
    assert facts["test"].keys() >= {"wer", "cer"}


def test_excluded_utterances_are_recorded(data: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "beeps", data)
    lines = (data / "train.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    records = [json.loads(line) for line in lines]
    for record in records:
        record["audio_filepath"] = str(data / record["audio_filepath"])
    records[3]["text"] = ""
    train = tmp_path / "train.jsonl"
    train.write_text("\n".join(map(json.dumps, records)) + "\n", encoding="utf-8")
    train_recipe(recipe, overrides=[*QUICK, f"data.train={train}"], out=tmp_path / "run", say=quiet)
    skipped = (tmp_path / "run" / "skipped.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    assert [json.loads(line)["reason"] for line in skipped] == ["the text is empty"]


def test_bfloat16_trains(data: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "beeps", data)
    outcome = train_recipe(
        recipe, overrides=[*QUICK, "training.precision=bfloat16"], out=tmp_path / "run", say=quiet
    )
    weights = load_tensors(outcome.bundle / "model.safetensors")
    assert all(value.dtype == torch.float32 for value in weights.values())


@pytest.mark.parametrize("cell", ["peephole", "gru", "tanh"])
def test_every_cell_trains(data: Path, tmp_path: Path, cell: str) -> None:
    recipe = write_recipe(tmp_path / "beeps", data)
    overrides = [*QUICK, f"encoder.cell={cell}", "training.epochs=1"]
    outcome = train_recipe(recipe, overrides=overrides, out=tmp_path / "run", say=quiet)
    assert outcome.dev is not None


def test_sentencepiece_trains_and_loads(data: Path, tmp_path: Path) -> None:
    import asr

    recipe = write_recipe(tmp_path / "beeps", data)
    overrides = [*QUICK, "tokenizer.name=sentencepiece", "tokenizer.vocabulary_size=20"]
    outcome = train_recipe(recipe, overrides=overrides, out=tmp_path / "run", say=quiet)
    assert asr.load(outcome.bundle).tokenizer.vocabulary_size == 20


def test_weights_to_begin_with_stay_when_training_makes_them_worse(
    trained: Path, tmp_path: Path
) -> None:
    """With steps that are far too long; what was trained from random weights judged no start."""
    start = trained / "run" / "best"
    overrides = [f"init_from={start}", "optimizer.learning_rate=1.0", "training.epochs=1"]
    outcome = train_recipe(trained / "beeps", overrides=overrides, out=tmp_path / "run", say=quiet)
    evaluated = {folder: dev_lines(folder) for folder in (tmp_path / "run", trained / "run")}
    began, ended = evaluated[tmp_path / "run"]
    assert (began["epoch"], began["wer"]) == (0, read_bundle(start).facts["dev"]["wer"])
    assert ended["wer"] > began["wer"], "the case that is meant"
    assert evaluated[trained / "run"][0]["epoch"] == 1
    expected = load_tensors(start / "model.safetensors")
    for name, weights in load_tensors(outcome.bundle / "model.safetensors").items():
        assert torch.equal(weights, expected[name]), name


def dev_lines(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    return [record for record in map(json.loads, lines) if record["kind"] == "dev"]


def test_noise_that_dev_data_begin_needs_dev_data(data: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "beeps", data)
    overrides = ["training.weight_noise=0.01", "training.weight_noise_after=2", "data.dev="]
    message = "weight_noise_after: evaluations on dev data tell when the noise begins, and there"
    with pytest.raises(ConfigError, match=message):
        train_recipe(recipe, overrides=overrides, out=tmp_path / "run", say=quiet)
    overrides[0] = "training.weight_noise=0.0"
    message = "'training.weight_noise_after' must be 0 when weight_noise is 0, got 2"
    with pytest.raises(ConfigError, match=message):
        train_recipe(recipe, overrides=overrides, out=tmp_path / "run", say=quiet)
