"""A training that begins with the weights of another: what fits, what does not, what it says."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch

import asr
from asr.building import build_speech_task
from asr.bundle import read_bundle
from asr.bundle_fit import other_symbols
from asr.data.sentencepiece_tokenizer import SentencePieceConfig
from asr.data.tokenizer import train_tokenizer
from asr.errors import ConfigError, ModelError
from asr.experiment import train_recipe
from asr.frontend.frontend import Frontend
from asr.recipe import Recipe, load_recipe
from asr.storage import MANIFEST, file_hash, load_tensors, write_json
from asr.warm_start import COLD
from tests.lm.made_neural import characters, write_neural
from tests.made import quiet, recipe_with, spoken
from tests.stopped import whole_and_stopped

ROOT = Path(__file__).parent.parent


@pytest.fixture
def start(trained: Path, tmp_path: Path) -> Path:
    """A copy of a finished bundle, which a test may delete."""
    return Path(shutil.copytree(trained / "run" / "best", tmp_path / "start"))


def test_the_weights_are_those_of_the_bundle(trained: Path, start: Path, tmp_path: Path) -> None:
    """All of them, the statistics of the training audio included, though other audio is here."""
    lines: list[str] = []
    recipe = recipe_with(trained, f"init_from={start}", "encoder.dropout=0.5")
    task = build_speech_task(recipe, tmp_path / "run", command="", say=lines.append)
    saved = load_tensors(start / "model.safetensors")
    assert saved.keys() == task.model.state_dict().keys()
    for name, tensor in task.model.state_dict().items():
        assert torch.equal(tensor, saved[name]), name
    dev = read_bundle(start).facts["dev"]["wer"]
    assert lines == [f"beginning with the weights of {start} (dev WER {100 * dev:.2f} %)"]


def test_the_first_evaluation_is_that_of_the_bundle(
    trained: Path, start: Path, tmp_path: Path
) -> None:
    recipe = recipe_with(trained, f"init_from={start}")
    task = build_speech_task(recipe, tmp_path / "run", command="", say=quiet)
    task.model.eval()
    for split in ("dev", "test"):
        evaluation = task.evaluate(split, torch.device("cpu"), lambda done, total: None)
        assert evaluation is not None
        assert evaluation.metrics == read_bundle(start).facts[split]


def test_statistics_are_estimated_only_where_there_are_none(
    trained: Path, start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    estimated: list[object] = []
    estimate = Frontend.estimate_normalization

    def counted(self: Frontend, batches: object) -> None:
        estimated.append(self)
        estimate(self, batches)  # type: ignore[arg-type]

    monkeypatch.setattr(Frontend, "estimate_normalization", counted)
    warm = recipe_with(trained, f"init_from={start}")
    build_speech_task(warm, tmp_path / "warm", command="", say=quiet)
    build_speech_task(recipe_with(trained), trained / "run", command="", say=quiet)
    assert not estimated, "they are in the bundle, or in the checkpoint"
    build_speech_task(recipe_with(trained), tmp_path / "cold", command="", say=quiet)
    assert len(estimated) == 1


def test_expected_wer_goes_on_from_ctc_and_resumes_without_the_bundle(
    trained: Path, start: Path, tmp_path: Path
) -> None:
    lines: list[str] = []
    overrides = [
        f"init_from={start}",
        "objective.name=expected_wer",
        "optimizer.learning_rate=1e-6",
        "optimizer.schedule=constant",
    ]
    run = tmp_path / "run"
    shorter, longer = ([*overrides, f"training.epochs={epochs}"] for epochs in (1, 2))
    first = train_recipe(trained / "beeps", overrides=shorter, out=run, say=lines.append)
    assert first.dev is not None
    before = read_bundle(start).facts["dev"]["wer"]
    assert first.dev.metrics["wer"] == pytest.approx(before, abs=0.1)
    shutil.rmtree(start)
    lines.clear()
    train_recipe(trained / "beeps", overrides=longer, out=run, say=lines.append)
    assert not [line for line in lines if "beginning" in line]
    logged = (run / "metrics.jsonl").read_text(encoding="utf-8").split("\n")
    epochs = [json.loads(line) for line in logged if '"kind": "dev"' in line]
    assert [one["epoch"] for one in epochs] == [0, 1, 2], "the start is a candidate for best/"
    assert all(0 <= one["train_loss"] <= 2 for one in epochs[1:]), "an error rate, not nats"
    bundle = read_bundle(run / "best")
    assert bundle.recipe.init_from == str(start)
    assert bundle.recipe.objective.name == "expected_wer"
    card = (run / "best" / "README.md").read_text(encoding="utf-8")
    assert f"- began with the weights of `{start}`" in card
    asr.load(run / "best", device="cpu").transcribe(spoken("FACE BED"))


@pytest.mark.parametrize("estimator", ["exchange", "reinforce", "nbest"])
def test_a_stopped_training_ends_in_the_same_weights(
    trained: Path, start: Path, tmp_path: Path, estimator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the bit, with everything that is random switched on; stopped twice within an epoch."""
    overrides = [
        f"init_from={start}",
        "objective.name=expected_wer",
        f"objective.estimator={estimator}",
        "objective.ctc_weight=0.01",
        "encoder.dropout=0.2",
        "augment.noise_probability=0.5",
        "augment.speed_factors=[0.9, 1.0, 1.1]",
        "training.weight_noise=0.01",
        "training.accumulate=3",
        "training.epochs=2",
    ]
    expected, found = whole_and_stopped(trained / "beeps", overrides, tmp_path, monkeypatch)
    began = load_tensors(start / "model.safetensors")
    assert not torch.equal(expected["output.weight"], began["output.weight"])
    for name, weights in found.items():
        assert torch.equal(weights, expected[name]), name


def test_from_random_weights_there_is_a_warning(trained: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    recipe = recipe_with(trained, "objective.name=expected_wer")
    build_speech_task(recipe, tmp_path / "cold", command="", say=lines.append)
    assert lines == [COLD]
    lines.clear()
    build_speech_task(recipe_with(trained), tmp_path / "ctc", command="", say=lines.append)
    assert lines == []


def test_what_differs_is_named_all_at_once(trained: Path, start: Path, tmp_path: Path) -> None:
    recipe = recipe_with(
        trained,
        f"init_from={start}",
        "frontend.num_mels=20",
        "encoder.hidden_size=16",
        "tokenizer.name=characters",
        'tokenizer.symbols=" ABCDEFG"',
    )
    with pytest.raises(ConfigError) as caught:
        build_speech_task(recipe, tmp_path / "run", command="")
    assert str(caught.value) == (
        f"init_from: {start} does not fit this recipe: frontend.num_mels is 20 here and 24 there; "
        "encoder.hidden_size is 16 here and 32 there; the vocabulary has 9 labels here, 8 there, "
        "only here: 'G' U+0047 (set tokenizer.name = \"bundle\" and tokenizer.folder to the same "
        "folder); give the same --set as there, or another bundle"
    )
    assert not (tmp_path / "run" / "tokenizer").exists(), "other tokens can be chosen now"


def test_switches_that_only_one_of_them_has_are_named(
    trained: Path, start: Path, tmp_path: Path
) -> None:
    """What a recipe is stored without has its default."""
    given = (f"init_from={start}", "encoder.batch_norm=true")
    with pytest.raises(ConfigError, match=r"encoder\.batch_norm is True here and False there"):
        build_speech_task(recipe_with(trained, *given), tmp_path, command="", say=quiet)
    leaky = (f"init_from={start}", "encoder.cell=leaky", "encoder.leak=0.5")
    with pytest.raises(ConfigError, match=r"encoder\.leak is 0\.5 here and 0\.0 there"):
        build_speech_task(recipe_with(trained, *leaky), tmp_path, command="", say=quiet)


def test_another_front_end_is_named(trained: Path, start: Path, tmp_path: Path) -> None:
    recipe = recipe_with(
        trained, f"init_from={start}", "frontend.name=mfcc", "frontend.num_mels=24"
    )
    message = "frontend.name is 'mfcc' here and 'log_mel' there"
    with pytest.raises(ConfigError, match=message):
        build_speech_task(recipe, tmp_path / "run", command="")


def test_many_other_symbols_are_counted(trained: Path, start: Path, tmp_path: Path) -> None:
    recipe = recipe_with(
        trained,
        f"init_from={start}",
        "tokenizer.name=characters",
        'tokenizer.symbols=" ABCDEFghijklmnopqr"',
    )
    with pytest.raises(ConfigError, match=r"only here: 'g' U\+0067, .*'p' U\+0070 and 2 more"):
        build_speech_task(recipe, tmp_path / "run", command="")


def test_the_tokens_of_the_bundle(trained: Path, start: Path, tmp_path: Path) -> None:
    """For texts that have fewer symbols than those that the bundle was trained on."""
    recipe = recipe_with(
        trained, f"init_from={start}", "tokenizer.name=bundle", f"tokenizer.folder={start}"
    )
    task = build_speech_task(recipe, tmp_path / "run", command="")
    assert task.tokenizer.symbols == read_bundle(start).tokenizer.symbols
    (tmp_path / "written").mkdir()
    task.write_bundle(tmp_path / "written", {})
    assert (tmp_path / "written" / "tokenizer.json").is_file()


def test_the_same_symbols_in_another_order(trained: Path, start: Path, tmp_path: Path) -> None:
    recipe = recipe_with(
        trained, f"init_from={start}", "tokenizer.name=characters", 'tokenizer.symbols="FEDCBA "'
    )
    message = "the vocabulary has 8 labels here, 8 there, the same ones in another order"
    with pytest.raises(ConfigError, match=message):
        build_speech_task(recipe, tmp_path / "run", command="")


def test_tokens_of_the_bundle_for_own_data(trained: Path, start: Path, tmp_path: Path) -> None:
    """Texts without some of its symbols, from training to transcript; the bundle is gone then."""
    lines = (trained / "data" / "train.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    own = [record for record in map(json.loads, lines) if "F" not in record["text"]]
    for record in own:
        record["audio_filepath"] = str(trained / "data" / record["audio_filepath"])
    train = tmp_path / "train.jsonl"
    train.write_text("".join(f"{json.dumps(record)}\n" for record in own), encoding="utf-8")
    overrides = [f"data.train={train}", f"init_from={start}", "optimizer.learning_rate=1e-6"]
    with pytest.raises(ConfigError, match="7 labels here, 8 there, only there: 'F'"):
        train_recipe(trained / "beeps", overrides=overrides, out=tmp_path / "run", say=quiet)
    overrides += ["tokenizer.name=bundle", f"tokenizer.folder={start}", "training.epochs=1"]
    outcome = train_recipe(trained / "beeps", overrides=overrides, out=tmp_path / "run", say=quiet)
    shutil.rmtree(start)
    recognizer = asr.load(outcome.bundle, device="cpu")
    assert recognizer.recipe.tokenizer.name == "bundle"
    card = (outcome.bundle / "README.md").read_text(encoding="utf-8")
    assert " Hz, characters; " in card, "what the tokens are, not where they came from"
    assert recognizer.transcribe(spoken("FACE BED")).text == "FACE BED"


def test_a_bundle_and_a_run_folder_from_before_the_key(
    trained: Path, start: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(trained / "run", tmp_path / "run"))
    for folder in (start, run):
        content = json.loads((folder / "recipe.json").read_text(encoding="utf-8"))
        del content["recipe"]["init_from"]
        write_json(folder / "recipe.json", content)
    manifest = json.loads((start / MANIFEST).read_text(encoding="utf-8"))
    manifest["files"]["recipe.json"] = file_hash(start / "recipe.json")
    write_json(start / MANIFEST, manifest)
    assert asr.load(start, device="cpu").recipe.init_from == ""
    assert train_recipe(trained / "beeps", out=run, say=quiet).already_finished


def test_no_such_bundle(trained: Path, tmp_path: Path) -> None:
    """Neither where there is no folder nor in a run folder, whose bundle is in `best/`."""
    for folder, advice in (
        (tmp_path / "best", "train that model first, name the folder best/ of another training"),
        (trained / "run", f"did you mean {trained / 'run' / 'best'}?"),
    ):
        recipe = recipe_with(trained, f"init_from={folder}")
        message = re.escape(f"init_from: {folder}: no such bundle; {advice}")
        with pytest.raises(ConfigError, match=message):
            build_speech_task(recipe, tmp_path / "run", command="")


def test_a_damaged_bundle_and_one_of_a_language_model(
    trained: Path, start: Path, tmp_path: Path
) -> None:
    (start / "model.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match=r"model\.safetensors"):
        build_speech_task(recipe_with(trained, f"init_from={start}"), tmp_path / "run", command="")
    write_neural(tmp_path / "lm", characters("AB "))
    with pytest.raises(ConfigError, match=r"init_from: .*lm: is a language model, no speech recog"):
        build_speech_task(
            recipe_with(trained, f"init_from={tmp_path / 'lm'}"), tmp_path / "run", command=""
        )


@pytest.mark.parametrize("corpus", ["an4", "speechocean762", "librispeech"])
def test_the_recipes_fit_those_that_they_begin_with(corpus: str) -> None:
    base = load_recipe(ROOT / "recipes" / corpus)
    warm = load_recipe(ROOT / "recipes" / corpus / "expected_wer.toml")
    assert isinstance(base, Recipe)
    assert isinstance(warm, Recipe)
    assert warm.init_from == f"exp/{corpus}/default/best"
    same = ("data", "frontend", "augment", "tokenizer", "encoder")
    assert [getattr(warm, name) for name in same] == [getattr(base, name) for name in same]


def test_a_training_that_goes_on_keeps_its_beginning(trained: Path, tmp_path: Path) -> None:
    """A bundle must not say that it began with weights that came too late."""
    run = Path(shutil.copytree(trained / "run", tmp_path / "run"))
    start = trained / "run" / "best"
    message = f"began with random weights, not with the weights of {start}; choose another --out"
    with pytest.raises(ConfigError, match=message):
        build_speech_task(recipe_with(trained, f"init_from={start}"), run, command="")
    build_speech_task(recipe_with(trained), run, command="")


def test_tokens_of_a_run_without_a_checkpoint_are_made_anew(
    trained: Path, start: Path, tmp_path: Path
) -> None:
    """One that was stopped at once can be begun again with other tokens."""
    other = recipe_with(trained, "tokenizer.name=characters", 'tokenizer.symbols=" ABCDEFG"')
    build_speech_task(other, tmp_path / "run", command="")
    recipe = recipe_with(
        trained, f"init_from={start}", "tokenizer.name=bundle", f"tokenizer.folder={start}"
    )
    task = build_speech_task(recipe, tmp_path / "run", command="")
    assert task.tokenizer.symbols == read_bundle(start).tokenizer.symbols


def test_equal_pieces_of_words_that_cut_texts_otherwise_are_another_vocabulary() -> None:
    config = SentencePieceConfig(name="sentencepiece", vocabulary_size=10)
    texts = ["BED BAD BEAD", "DAB A BED"] * 10
    here = train_tokenizer(config, texts)
    there = train_tokenizer(config, [*texts, "A BED"])
    assert here.symbols == there.symbols, "the case that is meant"
    assert other_symbols(here, here) == []
    (said,) = other_symbols(here, there)
    assert said.startswith(f"the vocabulary has {len(here.symbols)} labels here, ")
    assert "the same ones that cut texts otherwise (set tokenizer.name" in said
