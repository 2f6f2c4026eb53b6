"""A language model as a task: what is trained on, what is left out, what is counted."""

import math
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from asr.building import build_task
from asr.errors import ConfigError, DataError, StoppedError
from asr.experiment import train_recipe
from asr.language import LanguageTask
from asr.lm.loading import load_lm
from asr.lm.measuring import measure
from asr.lm.neural import sentence_losses
from asr.recipe import load_recipe
from asr.storage import load_tensors
from tests.made import write_corpus, write_recipe
from tests.made_text import lines, write_text, write_text_recipe

CPU = torch.device("cpu")
QUICK = ["training.epochs=1"]
RANDOM = [
    "model.dropout=0.3",
    "model.num_layers=2",
    "training.weight_noise=0.01",
    "training.accumulate=2",
    "data.epoch_lines=41",
]


def quiet(line: str) -> None:
    """Say nothing."""


@pytest.fixture(autouse=True)
def _no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk need not spin: `fsync` is tested in `tests/test_storage.py`."""
    monkeypatch.setattr("asr.storage.os.fsync", lambda descriptor: None)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_text(tmp_path_factory.mktemp("text"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    """A finished training: its run folder."""
    folder = tmp_path_factory.mktemp("exp")
    recipe = write_text_recipe(folder / "commands", data)
    overrides = ["training.epochs=8", "training.batch_characters=80"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("asr.storage.os.fsync", lambda descriptor: None)
        train_recipe(recipe, overrides=overrides, out=folder / "run", say=quiet)
    return folder / "run"


def task_of(data: Path, folder: Path, *overrides: str) -> LanguageTask:
    recipe = load_recipe(write_text_recipe(folder / "recipe", data), overrides)
    return build_task(recipe, folder / "run", command="test")


def text_file(path: Path, *more: str) -> str:
    path.write_text("".join(f"{line}\n" for line in [*lines(20, 0), *more]), encoding="utf-8")
    return f"data.train={path}"


def test_it_learns_the_text(run: Path, data: Path) -> None:
    """A new network takes 4 bits for each of 17 symbols; a word is one of six, 2.6 bits."""
    model = load_lm(run / "best")
    found = measure(model, [data / "test.txt.gz"])
    assert found.bits_per_character < 1.1
    assert model.facts["test"] == {
        "perplexity": pytest.approx(found.tokens.perplexity, rel=1e-4),
        "bits_per_character": pytest.approx(found.bits_per_character, rel=1e-4),
    }
    assert model.facts["finished"] is True
    assert model.recipe["task"] == "language_model"
    assert model.facts["command"].startswith("asr train ")
    assert model.split("GO ON") == ["G", "O", "<space>", "O", "N"]


def test_smoothed_labels_are_trained_on_and_not_evaluated(data: Path, tmp_path: Path) -> None:
    smoothed = task_of(data, tmp_path / "one", "training.label_smoothing=0.2")
    plain = task_of(data, tmp_path / "two")
    assert (smoothed.loss_name, plain.loss_name) == ("smoothed loss", "loss")
    batch, _ = plain.load_batch(plain.plan_epoch(0)[0], 0)
    assert batch is not None
    arguments = (plain.model, batch.tokens, batch.lengths)
    assert torch.equal(plain.loss(batch, CPU), sentence_losses(*arguments))
    assert torch.equal(smoothed.loss(batch, CPU), sentence_losses(*arguments, label_smoothing=0.2))
    assert (smoothed.loss(batch, CPU) != plain.loss(batch, CPU)).all()
    scores = [task.evaluate("dev", CPU, lambda done, total: None) for task in (smoothed, plain)]
    assert scores[0] is not None
    assert scores[0].metrics == scores[1].metrics


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stopped_training_ends_in_the_same_weights(
    data: Path, tmp_path: Path, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With everything that is random switched on, to the bit."""
    recipe = write_text_recipe(tmp_path / "commands", data)
    overrides = [*RANDOM, "training.epochs=3", f"training.num_workers={workers}"]
    whole = train_recipe(recipe, overrides=overrides, out=tmp_path / "whole", say=quiet)
    loss, calls = LanguageTask.loss, [0]

    def stopping(self: LanguageTask, batch: object, device: torch.device) -> torch.Tensor:
        calls[0] += 1
        if calls[0] in (4 + 2, 4 + 2 + 4 + 7):
            os.kill(os.getpid(), signal.SIGTERM)
        return loss(self, batch, device)  # type: ignore[arg-type]

    monkeypatch.setattr(LanguageTask, "loss", stopping)
    for _ in range(2):
        with pytest.raises(StoppedError):
            train_recipe(recipe, overrides=overrides, out=tmp_path / "stopped", say=quiet)
    stopped = train_recipe(recipe, overrides=overrides, out=tmp_path / "stopped", say=quiet)
    expected = load_tensors(whole.bundle / "model.safetensors")
    for name, weights in load_tensors(stopped.bundle / "model.safetensors").items():
        assert torch.equal(weights, expected[name]), name


def test_batches_are_lines_of_like_length_and_the_loss_is_theirs(
    data: Path, tmp_path: Path
) -> None:
    task = task_of(data, tmp_path)
    seen: list[str] = []
    for plan in task.plan_epoch(0):
        batch, skipped = task.load_batch(plan, 0)
        assert not skipped
        assert batch is not None
        assert batch.tokens.shape[0] * (batch.tokens.shape[1] + 1) == plan.size <= 300
        assert batch.lengths.max() == batch.tokens.shape[1]
        seen += task.ids(batch)
        losses = task.loss(batch, CPU)
        assert losses.shape == (len(task.ids(batch)),)
        assert torch.isfinite(losses).all()
    assert sorted(seen) == sorted(f"{data / 'train.txt.gz'}:{n}" for n in range(1, 61))
    assert task.plan_epoch(0) == task.plan_epoch(0) != task.plan_epoch(1)


def test_epochs_that_are_parts_visit_every_line_before_any_again(
    data: Path, tmp_path: Path
) -> None:
    task = task_of(data, tmp_path, "data.epoch_lines=25")
    drawn = [[i for plan in task.plan_epoch(epoch) for i in plan.items] for epoch in range(12)]
    assert all(len(epoch) == 25 for epoch in drawn)
    counts = np.bincount(np.concatenate(drawn[:12]), minlength=60)
    assert counts.tolist() == [5] * 60, "12 epochs of 25 are 5 turns of 60"
    assert len(set(drawn[0]) & set(drawn[1])) == 0
    assert task.plan_epoch(7) == task.plan_epoch(7)
    assert "an epoch is 25 lines" in task.describe()
    whole = task_of(data, tmp_path / "whole", "data.epoch_lines=60")
    assert not any("an epoch is" in line for line in whole.describe())


def test_long_lines_are_left_out_with_a_reason(data: Path, tmp_path: Path) -> None:
    train = text_file(tmp_path / "train.txt", "GO " * 50, "ON " * 2000)
    task = task_of(data, tmp_path, train, "data.max_characters=149")
    assert [(item.id, item.reason) for item in task.excluded] == [
        (f"{tmp_path / 'train.txt'}:22", "5,999 characters; data.max_characters is 149")
    ]
    planned = [i for plan in task.plan_epoch(0) for i in plan.items]
    assert sorted(planned) == list(range(21))
    said = task.describe()
    assert "left out of training: 1 lines" in said
    assert said[0].startswith("train: 22 lines, ")


def test_what_is_left_out_stands_in_the_run_folder(data: Path, tmp_path: Path) -> None:
    recipe = write_text_recipe(tmp_path / "commands", data)
    train = text_file(tmp_path / "train.txt", "GO " * 50)
    overrides = [*QUICK, train, "data.max_characters=100"]
    train_recipe(recipe, overrides=overrides, out=tmp_path / "run", say=quiet)
    [line] = (tmp_path / "run" / "skipped.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    assert "149 characters; data.max_characters is 100" in line


def test_nothing_to_train_on(data: Path, tmp_path: Path) -> None:
    recipe = write_text_recipe(tmp_path / "commands", data)
    with pytest.raises(DataError, match="there is nothing to train on: every sequence was left"):
        train_recipe(recipe, overrides=["data.max_characters=1"], out=tmp_path / "run", say=quiet)


def test_symbols_outside_a_given_vocabulary(data: Path, tmp_path: Path) -> None:
    symbols = ["tokenizer.name=characters", 'tokenizer.symbols="GOSTPURNLEFIHAD "']
    assert isinstance(task_of(data, tmp_path / "all", *symbols), LanguageTask)
    few = ["tokenizer.name=characters", 'tokenizer.symbols="GOSTPURNLEFIHA "']
    with pytest.raises(DataError, match=r"'D' U\+0044 .* outside the vocabulary, in utterances"):
        task_of(data, tmp_path / "error", *few)
    task = task_of(data, tmp_path / "drop", *few, "tokenizer.unknown=drop")
    assert any(line.startswith("outside the vocabulary: 1 symbol ('D'") for line in task.describe())


def test_an_unknown_symbol_in_dev_costs_the_floor(data: Path, tmp_path: Path) -> None:
    for name, line in (("plain", "GO"), ("odd", "GéO")):
        (tmp_path / f"{name}.txt").write_text(f"{line}\n", encoding="utf-8")
    found = []
    for name in ("plain", "odd"):
        task = task_of(data, tmp_path / name, f"data.dev={tmp_path / name}.txt")
        task.model.eval()
        evaluation = task.evaluate("dev", CPU, lambda done, total: None)
        assert evaluation is not None
        found.append(evaluation.metrics)
    nats = [3 * math.log(found[0]["perplexity"]), 4 * math.log(found[1]["perplexity"])]
    assert nats[1] - nats[0] == pytest.approx(math.log(1e6), rel=1e-4)
    assert found[1]["bits_per_character"] == pytest.approx(nats[1] / math.log(2) / 4)


def test_an_evaluation(data: Path, tmp_path: Path) -> None:
    task = task_of(data, tmp_path, "data.test=")
    task.model.eval()
    told: list[tuple[int, int]] = []
    evaluation = task.evaluate("dev", CPU, lambda done, total: told.append((done, total)))
    assert told[0] == (0, 11)
    assert told[-1] == (11, 11)
    assert evaluation is not None
    assert evaluation.monitor == "bits_per_character"
    assert evaluation.metrics["perplexity"] == pytest.approx(
        2 ** evaluation.metrics["bits_per_character"]
    ), "of characters the two are the same"
    assert [line.partition(": ")[0] for line in evaluation.examples] == [
        "temperature 0.25",
        "temperature 0.75",
        "temperature 1.5",
    ]
    assert all(": GO" in line for line in evaluation.examples)
    assert evaluation.examples == task.samples(1), "the same model draws the same"
    assert task.evaluate("test", CPU, lambda done, total: None) is None


def test_phones_are_counted_and_not_their_letters(data: Path, tmp_path: Path) -> None:
    dev = f"data.dev={tmp_path / 'dev.txt'}"
    (tmp_path / "dev.txt").write_text("GO ON\nSTOP STRANGE\n", encoding="utf-8")
    task = task_of(data, tmp_path, "tokenizer.name=phones", "examples.prompt=", dev)
    task.model.eval()
    evaluation = task.evaluate("dev", CPU, lambda done, total: None)
    assert evaluation is not None
    assert evaluation.metrics.keys() == {"perplexity", "bits_per_phone"}
    assert evaluation.monitor == "bits_per_phone"
    assert evaluation.value == pytest.approx(math.log2(evaluation.metrics["perplexity"]))


def test_samples_leave_the_random_numbers_of_the_training_alone(data: Path, tmp_path: Path) -> None:
    task = task_of(data, tmp_path)
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    task.samples(2)
    assert torch.equal(torch.rand(3), expected)


def test_artifacts_are_samples(data: Path, tmp_path: Path) -> None:
    task_of(data, tmp_path).artifacts(tmp_path / "artifacts", [])
    text = (tmp_path / "artifacts" / "samples.txt").read_text(encoding="utf-8")
    assert text.count("temperature 0.75: GO") == 5


def test_a_prompt_that_the_tokens_cannot_spell(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"examples\.prompt: the prompt has 'g', 'o', which"):
        task_of(data, tmp_path, 'examples.prompt="go"')


def test_fingerprints_tell_texts_apart(data: Path, tmp_path: Path) -> None:
    one, two, other = (
        task_of(data, tmp_path / name, text_file(tmp_path / f"{name}.txt", *more)).fingerprints()
        for name, more in (("a", ["GO ON"]), ("b", ["GO ON"]), ("c", ["GO", "ON"]))
    )
    assert one == two
    assert one["training data"] != other["training data"]


def test_a_token_that_is_called_like_a_mark(data: Path, tmp_path: Path) -> None:
    train = text_file(tmp_path / "train.txt", "GO <space>")
    with pytest.raises(DataError, match=r"'<space>' 1 times\), which have a meaning of their own"):
        task_of(data, tmp_path, train, "tokenizer.name=phones", "data.dev=", "data.test=")


@pytest.mark.parametrize("cell", ["peephole", "gru", "tanh"])
def test_every_cell_trains(data: Path, tmp_path: Path, cell: str) -> None:
    recipe = write_text_recipe(tmp_path / "commands", data)
    overrides = [*QUICK, f"model.cell={cell}"]
    outcome = train_recipe(recipe, overrides=overrides, out=tmp_path / "run", say=quiet)
    assert outcome.dev is not None
    assert load_lm(outcome.bundle).network.stack.cell == cell


def test_pieces_of_a_bundle(data: Path, tmp_path: Path) -> None:
    """A second model with the tokens of a first one, which had learnt them."""
    recipe = write_text_recipe(tmp_path / "commands", data)
    pieces = ["tokenizer.name=sentencepiece", "tokenizer.vocabulary_size=20"]
    first = train_recipe(recipe, overrides=[*QUICK, *pieces], out=tmp_path / "a", say=quiet)
    same = ["tokenizer.name=bundle", f"tokenizer.folder={first.bundle}"]
    second = train_recipe(recipe, overrides=[*QUICK, *same], out=tmp_path / "b", say=quiet)
    one, other = load_lm(first.bundle), load_lm(second.bundle)
    assert one.words == other.words
    assert one.tokenizer.fingerprint() == other.tokenizer.fingerprint()
    assert math.isfinite(other.score_texts(["TURN LEFT"])[0])


def test_bfloat16_trains(data: Path, tmp_path: Path) -> None:
    recipe = write_text_recipe(tmp_path / "commands", data)
    overrides = [*QUICK, "training.precision=bfloat16"]
    outcome = train_recipe(recipe, overrides=overrides, out=tmp_path / "run", say=quiet)
    weights = load_tensors(outcome.bundle / "model.safetensors")
    assert all(value.dtype == torch.float32 for value in weights.values())


def test_transcripts_of_manifests_are_text_too(tmp_path: Path, data: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus")
    write_recipe(tmp_path / "beeps", corpus)
    sets = [f"data.{name}={corpus / name}.jsonl" for name in ("train", "dev", "test")]
    task = task_of(data, tmp_path, *sets, "examples.prompt=FACE")
    assert task.describe()[0].startswith("train: 150 lines")


def test_a_text_that_is_missing(tmp_path: Path) -> None:
    recipe = write_text_recipe(tmp_path / "commands", tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=r"train\.txt\.gz, .*: no such text; make it with asr pr"):
        train_recipe(recipe, out=tmp_path / "run", say=quiet)
