"""Speech recognition as a task: what is trained on, what is left out, what is counted."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from asr.building import build_task
from asr.data.audio import write_wav
from asr.data.manifest import Utterance, read_manifest, write_manifest
from asr.decoding.hypothesis import Hypothesis
from asr.errors import ConfigError, DataError
from asr.recipe import Recipe, load_recipe
from asr.speech import SpeechTask, hours
from tests.made import RATE, spoken, write_corpus, write_recipe

CPU = torch.device("cpu")


def no_advance(done: int, total: int) -> None:
    assert 1 <= done <= total


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


def task_of(data: Path, folder: Path, *overrides: str) -> SpeechTask:
    recipe = load_recipe(write_recipe(folder / "recipe", data), overrides)
    return build_task(recipe, folder / "run", command="test")


def with_train(data: Path, folder: Path, *utterances: Utterance) -> str:
    """An override that trains on the corpus and these utterances."""
    manifest = folder / "train.jsonl"
    write_manifest(manifest, [*read_manifest(data / "train.jsonl"), *utterances])
    return f"data.train={manifest}"


def made(folder: Path, name: str, text: str, *, said: str | None = None) -> Utterance:
    waveform = spoken(text if said is None else said)
    write_wav(folder / f"{name}.wav", waveform, RATE)
    path = folder / f"{name}.wav"
    return Utterance(id=name, audio=path, duration=len(waveform) / RATE, text=text)


def test_what_cannot_be_trained_on_is_left_out_with_a_reason(data: Path, tmp_path: Path) -> None:
    override = with_train(
        data,
        tmp_path,
        made(tmp_path, "empty", "", said="A"),
        made(tmp_path, "crowded", "ABCDEF" * 40, said="A"),
        # As many frames as letters, but repeats need a blank in between.
        made(tmp_path, "repeats", "A" * 16, said="A"),
    )
    task = task_of(data, tmp_path, override)
    assert {item.id: item.reason for item in task.excluded} == {
        "empty": "the text is empty",
        "crowded": "16 frames of audio for a text that needs 240",
        "repeats": "16 frames of audio for a text that needs 31",
    }
    trained = {i for plan in task.plan_epoch(0) for i in plan.items}
    assert len(trained) == len(read_manifest(data / "train.jsonl"))
    assert any("left out of training: 3 utterances" in line for line in task.describe())


def test_symbols_outside_a_given_vocabulary(data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'F'"):
        task_of(data, tmp_path, "tokenizer.name=characters", 'tokenizer.symbols="ABCDE "')
    override = ["tokenizer.name=characters", 'tokenizer.symbols="ABCDE "', "tokenizer.unknown=drop"]
    task = task_of(data, tmp_path / "drop", *override)
    assert any(line.startswith("symbols outside the vocabulary: 'F' (") for line in task.describe())


def test_errors_of_words_need_a_token_between_words(data: Path, tmp_path: Path) -> None:
    lines = read_manifest(data / "train.jsonl")
    several = next(line for line in lines if " " in line.text)
    letters = [
        "tokenizer.name=characters",
        'tokenizer.symbols="ABCDEF"',
        "tokenizer.unknown=drop",
        "objective.name=expected_wer",
    ]
    message = f"objective.loss: no token begins a word, but '{several.id}' has several; put a space"
    with pytest.raises(ConfigError, match=message):
        task_of(data, tmp_path, *letters)
    task_of(data, tmp_path, *letters, "objective.loss=cer")
    task_of(data, tmp_path, *letters, "objective.name=ctc")
    write_manifest(tmp_path / "words.jsonl", [line for line in lines if " " not in line.text])
    task_of(data, tmp_path, *letters, f"data.train={tmp_path / 'words.jsonl'}")


def test_every_epoch_visits_every_utterance_once_in_another_order(
    data: Path, tmp_path: Path
) -> None:
    task = task_of(data, tmp_path)
    plans = [task.plan_epoch(epoch) for epoch in (0, 0, 1)]
    assert plans[0] == plans[1]
    assert plans[0] != plans[2]
    for plan in plans:
        assert sorted(i for batch in plan for i in batch.items) == list(range(150))


def test_audio_that_went_bad_is_left_out_of_its_batch(data: Path, tmp_path: Path) -> None:
    gone, cut, short = (made(tmp_path, name, "FACE BED") for name in ("gone", "cut", "short"))
    override = with_train(data, tmp_path, gone, cut, short)
    task = task_of(data, tmp_path, override, "data.cache_mb=0")
    gone.audio.unlink()
    content = cut.audio.read_bytes()
    cut.audio.write_bytes(content[: len(content) // 2])
    write_wav(short.audio, np.zeros(500, np.float32), RATE)
    skipped = {}
    used = 0
    for plan in task.plan_epoch(0):
        batch, left_out = task.load_batch(plan, 0)
        skipped |= {item.id: item.reason for item in left_out}
        used += 0 if batch is None else len(task.ids(batch))
    assert used == 150
    assert skipped.keys() == {"gone", "cut", "short"}
    assert skipped["gone"].endswith("[NOT_A_FILE]")
    assert skipped["cut"].startswith("cut off: 0.3")
    assert "frames of audio for a text that needs 8" in skipped["short"]


def test_speeds_change_the_lengths_and_only_by_the_epoch(data: Path, tmp_path: Path) -> None:
    task = task_of(data, tmp_path, "augment.speed_factors=[0.5, 2.0]")
    plain = task_of(data, tmp_path / "plain")
    slow_or_fast = np.array(task.durations(0)) / np.array(plain.durations(0))
    assert set(np.round(slow_or_fast, 6)) == {0.5, 2.0}
    assert task.durations(0) == task.durations(0)
    assert task.durations(0) != task.durations(1)
    plan = task.plan_epoch(0)[0]
    batch, _ = task.load_batch(plan, 0)
    assert batch is not None
    expected = [round(task.durations(0)[i] * RATE) for i in plan.items]
    assert batch.waveform_lengths.tolist() == pytest.approx(expected, abs=1)


def test_the_loss_is_one_finite_number_per_utterance(data: Path, tmp_path: Path) -> None:
    noisy = task_of(data, tmp_path, "augment.noise_probability=1.0")
    batch, _ = noisy.load_batch(noisy.plan_epoch(0)[0], 0)
    assert batch is not None
    torch.manual_seed(1)
    losses = noisy.loss(batch, CPU)
    assert losses.shape == (len(batch.ids),)
    assert torch.isfinite(losses).all()
    torch.manual_seed(2)
    assert not torch.equal(losses, noisy.loss(batch, CPU)), "another noise"


def test_evaluation_counts_an_unreadable_file_as_deletions(data: Path, tmp_path: Path) -> None:
    task = task_of(data, tmp_path)
    task.model.eval()
    splits = task._splits
    broken = replace(splits.dev[0], audio=tmp_path / "none.wav")
    task._splits = replace(splits, dev=[broken, *splits.dev[1:]])
    evaluation = task.evaluate("dev", CPU, no_advance)
    assert evaluation is not None
    assert evaluation.metrics["unreadable"] == 1
    assert evaluation.value == evaluation.metrics["wer"] > 0
    assert "hypothesis: (unreadable)" in evaluation.examples


def test_evaluation_scores_words_as_the_recipe_says(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Said: A A and A BEE. Heard: A and A A BEE. A deletion and an insertion; none once merged."""
    heard = {"BED": "", "CAB FACE": "A", "DAD": "BED", "A BEE": "A FACE BEE"}

    def recognized(
        model: object, decoder: object, utterances: list[Utterance], **more: object
    ) -> list[tuple[Utterance, list[Hypothesis]]]:
        return [(u, [Hypothesis((), 0.0, heard[u.text], (), 0.0)]) for u in utterances]

    monkeypatch.setattr("asr.speech.recognize", recognized)
    given = ['scoring.replace={CAB = "A", FACE = "A", BED = "", DAD = ""}', 'scoring.merge=["A"]']
    evaluation = task_of(data, tmp_path, *given).evaluate("dev", CPU, no_advance)
    assert evaluation is not None
    assert evaluation.metrics == {"wer": 2 / 4, "cer": 4 / 8, "wer_merged": 0.0}
    plain = task_of(data, tmp_path / "plain").evaluate("dev", CPU, no_advance)
    assert plain is not None
    assert plain.metrics == {"wer": 5 / 6, "cer": pytest.approx(17 / 19)}
    assert evaluation.monitor == plain.monitor == "wer"


def test_no_dev_data_is_no_evaluation(data: Path, tmp_path: Path) -> None:
    task = task_of(data, tmp_path, "data.dev=")
    assert task.evaluate("dev", CPU, no_advance) is None


def test_fingerprints_tell_data_and_tokens(data: Path, tmp_path: Path) -> None:
    task = task_of(data, tmp_path / "a")
    same = task_of(data, tmp_path / "b")
    more = task_of(data, tmp_path / "c", with_train(data, tmp_path, made(tmp_path, "x", "BED")))
    assert task.fingerprints() == same.fingerprints()
    assert task.fingerprints()["tokens"] == more.fingerprints()["tokens"]
    assert task.fingerprints()["training data"] != more.fingerprints()["training data"]


def test_the_case_of_a_recipe_is_applied(data: Path, tmp_path: Path) -> None:
    task = task_of(data, tmp_path, "data.case=lower")
    assert "a" in task.tokenizer.symbols
    assert "A" not in task.tokenizer.symbols


def test_an_empty_manifest(data: Path, tmp_path: Path) -> None:
    (tmp_path / "none.jsonl").write_text("", encoding="utf-8")
    with pytest.raises(DataError, match=r"none\.jsonl: has no utterances; prepare the data again"):
        task_of(data, tmp_path, f"data.train={tmp_path / 'none.jsonl'}")


@pytest.mark.parametrize("name", ["spectrogram", "log_mel", "filter_bank", "mfcc"])
@pytest.mark.parametrize("normalize", ["utterance", "training_set", "none"])
def test_every_front_end_can_be_built_and_run(
    data: Path, tmp_path: Path, name: str, normalize: str
) -> None:
    text = f'[data]\ntrain = "{data}/train.jsonl"\n[frontend]\nname = "{name}"\n'
    (tmp_path / "x.toml").write_text(f'{text}normalize = "{normalize}"\n', encoding="utf-8")
    recipe: Recipe = load_recipe(tmp_path / "x.toml", ["encoder.hidden_size=4"])
    task = build_task(recipe, tmp_path / "run", command="test")
    batch, _ = task.load_batch(task.plan_epoch(0)[0], 0)
    assert batch is not None
    assert torch.isfinite(task.loss(batch, CPU)).all()


def test_there_is_nothing_to_show(data: Path, tmp_path: Path) -> None:
    task_of(data, tmp_path).artifacts(tmp_path / "pictures", [])
    assert not (tmp_path / "pictures").exists()


def test_hours() -> None:
    utterances = [Utterance(id="a", audio=Path("a"), duration=1800.0, text="")] * 3
    assert hours(utterances) == 1.5
