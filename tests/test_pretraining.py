"""A transducer that begins with parts of trained models: what is copied, and what is refused."""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

import asr
from asr.building import build_speech_task
from asr.bundle import read_bundle
from asr.data.bundle_tokenizer import BundleTokenizerConfig
from asr.errors import ConfigError, ModelError
from asr.experiment import train_recipe
from asr.frontend.frontend import Frontend
from asr.lm.neural import NeuralConfig
from asr.models.transducer import TransducerConfig
from asr.pretraining import NETWORK
from asr.recipe import LanguageRecipe, Recipe, load_recipe
from asr.speech import SpeechTask
from asr.storage import folder_writer, load_tensors
from tests.lm.made_neural import characters, write_neural
from tests.made import quiet, recipe_with, spoken

ROOT = Path(__file__).parent.parent
SMALL = NeuralConfig(num_layers=1, hidden_size=12, embedding_size=0)
OTHERWISE = "give the same --set as there, or another bundle"
NETWORK_OVERRIDES = (
    "objective.name=transducer",
    "objective.joint_size=8",
    "objective.prediction_size=12",
)


@pytest.fixture
def encoder(trained: Path, tmp_path: Path) -> Path:
    """A copy of the bundle of a recogniser, which a test may delete."""
    return Path(shutil.copytree(trained / "run" / "best", tmp_path / "encoder"))


@pytest.fixture
def language_model(trained: Path, tmp_path: Path) -> Path:
    """The bundle of a language model with the recogniser's labels."""
    tokenizer = read_bundle(trained / "run" / "best").tokenizer
    return write_neural(tmp_path / "lm", tokenizer, config=SMALL)


def overrides_of(encoder: Path | str = "", prediction: Path | str = "", *more: str) -> list[str]:
    parts = (f"pretrain.encoder={encoder}", f"pretrain.prediction={prediction}")
    return [*NETWORK_OVERRIDES, *parts, *more]


def built(trained: Path, run: Path, overrides: list[str], lines: list[str]) -> SpeechTask:
    recipe = recipe_with(trained, *overrides)
    return build_speech_task(recipe, run, command="", say=lines.append)


def state_of(trained: Path, run: Path, overrides: list[str]) -> Mapping[str, Tensor]:
    """The weights that a training begins with."""
    return built(trained, run, overrides, []).model.state_dict()


def refused(trained: Path, run: Path, overrides: list[str]) -> str:
    """What is said of a beginning that is refused; no tokens are left, so that others can come."""
    with pytest.raises(ConfigError) as caught:
        built(trained, run, overrides, [])
    assert not (run / "tokenizer").exists()
    return str(caught.value)


def test_the_weights_are_those_of_the_bundles(
    trained: Path, encoder: Path, language_model: Path, tmp_path: Path
) -> None:
    """To the bit; all others are what the seed makes them."""
    lines: list[str] = []
    task = built(trained, tmp_path / "run", overrides_of(encoder, language_model), lines)
    random = state_of(trained, tmp_path / "random", overrides_of())
    hearing = load_tensors(encoder / "model.safetensors")
    network = load_tensors(language_model / "model.safetensors")
    own = task.model.state_dict()
    assert own.keys() == random.keys()
    for name, tensor in own.items():
        match name.split(".")[0]:
            case "frontend" | "encoder":
                assert torch.equal(tensor, hearing[name]), name
            case "prediction":
                assert torch.equal(tensor, network[name.removeprefix("prediction.")]), name
            case _:
                assert torch.equal(tensor, random[name]), name
    assert {name.split(".")[0] for name in own} == {
        "frontend", "encoder", "prediction", "encoder_projection", "prediction_projection", "joint",
    }  # fmt: skip
    assert not any(torch.equal(own[name], random[name]) for name in own if ".stack." in name)
    assert all(parameter.requires_grad for parameter in task.model.parameters())
    dev = read_bundle(encoder).facts["dev"]["wer"]
    assert lines == [
        f"encoder: the weights of {encoder} (dev WER {100 * dev:.2f} %)",
        f"prediction network: the weights of {language_model} (dev 1.50 bits per character)",
    ]


@pytest.mark.parametrize("part", ["encoder", "prediction"])
def test_one_part_alone(
    trained: Path, encoder: Path, language_model: Path, tmp_path: Path, part: str
) -> None:
    folder = encoder if part == "encoder" else language_model
    overrides = [*NETWORK_OVERRIDES, f"pretrain.{part}={folder}"]
    own = state_of(trained, tmp_path / "run", overrides)
    random = state_of(trained, tmp_path / "random", overrides_of())
    changed = {name.split(".")[0] for name in own if not torch.equal(own[name], random[name])}
    assert changed == {part}, "the same audio gives the same statistics"


@pytest.mark.parametrize("cell", ["lstm", "gru", "leaky"])
def test_a_network_of_another_kind(trained: Path, tmp_path: Path, cell: str) -> None:
    leak = 0.25 if cell == "leaky" else 0.0
    given = {"cell": cell, "leak": leak, "num_layers": 2, "embedding_size": 5}
    config = SMALL.model_copy(update=given)
    tokenizer = read_bundle(trained / "run" / "best").tokenizer
    folder = write_neural(tmp_path / "lm", tokenizer, config=config)
    keys = [f"cell={cell}", "layers=2", "embedding=5", "dropout=0.3"]
    if cell == "leaky":
        keys.append("leak=0.25")
    network = [f"objective.prediction_{key}" for key in keys]
    own = state_of(trained, tmp_path / "run", overrides_of("", folder, *network))
    for name, tensor in load_tensors(folder / "model.safetensors").items():
        if not name.startswith("output."):
            assert torch.equal(own[f"prediction.{name}"], tensor), name
    if cell == "leaky":
        other = [*network[:-1], "objective.prediction_leak=0.5"]
        said = refused(trained, tmp_path / "other", overrides_of("", folder, *other))
        assert "objective.prediction_leak is 0.5 here and model.leak 0.25 there" in said


def test_statistics_come_with_the_encoder(
    trained: Path,
    encoder: Path,
    language_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    estimated: list[object] = []
    estimate = Frontend.estimate_normalization

    def counted(self: Frontend, batches: object) -> None:
        estimated.append(self)
        estimate(self, batches)  # type: ignore[arg-type]

    monkeypatch.setattr(Frontend, "estimate_normalization", counted)
    built(trained, tmp_path / "both", overrides_of(encoder, language_model), [])
    assert not estimated
    built(trained, tmp_path / "prediction", overrides_of("", language_model), [])
    assert len(estimated) == 1


def test_the_encoder_of_a_transducer(trained: Path, tmp_path: Path) -> None:
    """It has the same front end and encoder, whatever comes behind them."""
    lines: list[str] = []
    other = overrides_of("", "", "seed=7", "objective.joint=additive")
    task = built(trained, tmp_path / "one", other, lines)
    with folder_writer(tmp_path / "best") as temporary:
        task.write_bundle(temporary, {})
    own = state_of(trained, tmp_path / "run", overrides_of(tmp_path / "best"))
    for name, tensor in task.model.state_dict().items():
        if name.startswith(("frontend.", "encoder.")):
            assert torch.equal(own[name], tensor), name
    built(trained, tmp_path / "again", overrides_of(tmp_path / "best"), lines)
    assert lines == [f"encoder: the weights of {tmp_path / 'best'}"], "it has no score"


def test_a_training_and_its_going_on_without_the_bundles(
    trained: Path, encoder: Path, language_model: Path, tmp_path: Path
) -> None:
    lines: list[str] = []
    run = tmp_path / "run"
    one, two = (
        overrides_of(encoder, language_model, f"training.epochs={epochs}") for epochs in (1, 2)
    )
    train_recipe(trained / "beeps", overrides=one, out=run, say=lines.append)
    assert len([line for line in lines if " the weights of " in line]) == 2
    shutil.rmtree(encoder)
    shutil.rmtree(language_model)
    lines.clear()
    train_recipe(trained / "beeps", overrides=two, out=run, say=lines.append)
    assert not [line for line in lines if " the weights of " in line]
    bundle = read_bundle(run / "best")
    assert bundle.recipe.pretrain.encoder == str(encoder)
    assert bundle.facts["epochs"] == 2
    card = (run / "best" / "README.md").read_text(encoding="utf-8")
    assert f"- its encoder began with the weights of `{encoder}`" in card
    assert f"- its prediction network began with the weights of `{language_model}`" in card
    asr.load(run / "best", device="cpu").transcribe(spoken("FACE BED"))


def test_a_training_that_goes_on_keeps_its_parts(
    trained: Path, encoder: Path, language_model: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    begun = overrides_of(encoder, "", "training.epochs=1")
    train_recipe(trained / "beeps", overrides=begun, out=run, say=quiet)
    built(trained, run, overrides_of(encoder.parent / "." / "encoder"), [])
    with pytest.raises(ConfigError) as caught:
        built(trained, run, overrides_of(language_model, language_model), [])
    assert str(caught.value) == (
        f"{run}: the encoder of this training began with the weights of {encoder}, not with the "
        f"weights of {language_model}; the prediction network of this training began with random "
        f"weights, not with the weights of {language_model}; choose another --out, or leave "
        "pretrain.encoder and pretrain.prediction as before"
    )


def test_what_differs_is_named_all_at_once(
    trained: Path, encoder: Path, language_model: Path, tmp_path: Path
) -> None:
    overrides = overrides_of(
        encoder,
        language_model,
        "frontend.num_mels=20",
        "encoder.hidden_size=16",
        "objective.prediction_cell=gru",
        "objective.prediction_size=11",
        "tokenizer.name=characters",
        'tokenizer.symbols=" ABCDEFG"',
    )
    symbols = (
        "the vocabulary has 9 labels here, 8 there, only here: 'G' U+0047 (set tokenizer.name = "
        f'"bundle" and tokenizer.folder to the same folder); {OTHERWISE}'
    )
    assert refused(trained, tmp_path / "run", overrides).split("\n") == [
        f"pretrain.encoder: {encoder} does not fit this recipe: frontend.num_mels is 20 here and "
        f"24 there; encoder.hidden_size is 16 here and 32 there; {symbols}",
        f"pretrain.prediction: {language_model} does not fit this recipe: "
        "objective.prediction_cell is 'gru' here and model.cell 'lstm' there; "
        "objective.prediction_size is 11 here and model.hidden_size 12 there (set [objective] to "
        f"what is there, or train a language model like it); {symbols}",
    ]


def test_dropout_may_differ(
    trained: Path, encoder: Path, language_model: Path, tmp_path: Path
) -> None:
    more = ("encoder.dropout=0.5", "objective.prediction_dropout=0.5", "augment.time_masks=0")
    built(trained, tmp_path / "run", overrides_of(encoder, language_model, *more), [])


def test_a_language_model_of_other_labels(trained: Path, encoder: Path, tmp_path: Path) -> None:
    """The transducer may take them, unless it has those of its encoder."""
    folder = write_neural(tmp_path / "lm", characters(" FEDCBA"), config=SMALL)
    said = (
        f"pretrain.prediction: {folder} does not fit this recipe: the vocabulary has 8 labels "
        "here, 8 there, the same ones in another order "
    )
    alone = refused(trained, tmp_path / "run", overrides_of("", folder))
    same = '(set tokenizer.name = "bundle" and tokenizer.folder to the same folder)'
    assert alone == f"{said}{same}; {OTHERWISE}"
    assert refused(trained, tmp_path / "run", overrides_of(encoder, folder)) == (
        f'{said}(train the language model anew with tokenizer.name = "bundle" and '
        f'tokenizer.folder = "{encoder}"); {OTHERWISE}'
    )
    tokens = ("tokenizer.name=bundle", f"tokenizer.folder={folder}")
    built(trained, tmp_path / "run", overrides_of("", folder, *tokens), [])


def test_one_kind_where_the_other_is_needed(
    trained: Path, encoder: Path, language_model: Path, tmp_path: Path
) -> None:
    assert refused(trained, tmp_path / "run", overrides_of(language_model, encoder)).split(
        "\n"
    ) == [
        f"pretrain.encoder: {language_model}: is a language model, no speech recogniser; it may "
        "serve as pretrain.prediction",
        f"pretrain.prediction: {encoder}: is a speech recogniser, no language model; it may serve "
        "as pretrain.encoder",
    ]


def test_a_model_of_another_task_is_no_language_model(
    trained: Path, encoder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "vae"
    folder.mkdir()
    for name in ("task.json", "manifest.json"):
        (folder / name).touch()
    assert refused(trained, tmp_path / "run", overrides_of(encoder, folder)) == (
        f"pretrain.prediction: {folder}: is the model of a recipe's own task, no language model"
    )


def test_no_such_bundle(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message has the command that makes it, or the folder that was meant."""
    for name in ("recipe", "prediction"):
        recipe = tmp_path / "recipes" / "x" / f"{name}.toml"
        recipe.parent.mkdir(parents=True, exist_ok=True)
        recipe.write_text("", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    of_recipes = overrides_of("exp/x/default/best", "exp/x/prediction")
    train = "no such bundle; train that model first"
    other = "name the folder best/ of another training, or --set"
    assert refused(trained, tmp_path / "run", of_recipes).split("\n") == [
        f"pretrain.encoder: exp/x/default/best: {train} (asr train recipes/x), {other} "
        "pretrain.encoder= to begin with random weights",
        f"pretrain.prediction: exp/x/prediction: {train} (asr train recipes/x/prediction.toml), "
        f"{other} pretrain.prediction= to begin with random weights",
    ]
    meant = refused(trained, tmp_path / "run", overrides_of(trained / "run", "none"))
    assert f"no such bundle; did you mean {trained / 'run' / 'best'}?" in meant
    assert f"pretrain.prediction: none: {train}, {other}" in meant


@pytest.mark.parametrize("part", ["encoder", "lm"])
def test_a_damaged_bundle(
    trained: Path, encoder: Path, language_model: Path, tmp_path: Path, part: str
) -> None:
    (tmp_path / part / "model.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match=re.escape(str(tmp_path / part))):
        built(trained, tmp_path / "run", overrides_of(encoder, language_model), [])


@pytest.mark.parametrize("corpus", ["an4", "speechocean762", "librispeech"])
def test_the_recipes_fit_those_that_they_begin_with(corpus: str) -> None:
    folder = ROOT / "recipes" / corpus
    base, transducer = load_recipe(folder), load_recipe(folder / "transducer.toml")
    language = load_recipe(folder / "prediction.toml")
    assert isinstance(base, Recipe)
    assert isinstance(transducer, Recipe)
    assert isinstance(language, LanguageRecipe)
    assert transducer.pretrain.encoder == f"exp/{corpus}/default/best"
    assert transducer.pretrain.prediction == f"exp/{corpus}/prediction/best"
    same = ("data", "frontend", "augment", "tokenizer", "encoder")
    assert [getattr(transducer, name) for name in same] == [getattr(base, name) for name in same]
    objective = transducer.objective
    assert isinstance(objective, TransducerConfig)
    for key, name in NETWORK.items():
        assert getattr(objective, key) == getattr(language.model, name), key
    for split in ("train", "dev", "test"):
        assert getattr(language.data, split) == getattr(base.data, split)
    tokens = language.tokenizer
    if isinstance(tokens, BundleTokenizerConfig):
        assert tokens.folder == transducer.pretrain.encoder
    else:
        assert tokens == base.tokenizer
