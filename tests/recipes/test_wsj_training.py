"""WSJ's recipes: the paper's network, and the whole chain of commands, shrunk, on made discs."""

import json
from pathlib import Path

import pytest

from asr.building import build_model
from asr.cli.main import main
from asr.data.tokenizer import CharactersConfig
from asr.recipe import LanguageRecipe, Recipe, load_recipe
from recipes.wsj.prepare import prepare
from recipes.wsj.transcripts import CHARACTERS
from tests.recipes.made_discs import COUNTS, lay_out

WSJ = Path(__file__).parents[2] / "recipes" / "wsj"
SPEECH = ("recipe", "si84", "expected_wer", "expected_wer_si84", "fast", "transducer")
SHRUNK = ("encoder.hidden_size=8", "encoder.num_layers=1", "training.epochs=1", "seed=3")


def recipe(name: str) -> Recipe:
    loaded = load_recipe(WSJ / f"{name}.toml")
    assert isinstance(loaded, Recipe)
    return loaded


def test_every_recipe_is_named_here() -> None:
    assert {path.stem for path in WSJ.glob("*.toml")} == {*SPEECH, "prediction"}


def test_the_network_has_the_weights_of_the_paper() -> None:
    """About 26.5 million: with 128 bins, 44 outputs, biases and peepholes, exactly these."""
    model = build_model(recipe("recipe"), vocabulary_size=44)
    assert model.frontend.output_size == 128
    assert sum(weights.numel() for weights in model.parameters()) == 26_591_044


@pytest.mark.parametrize("name", SPEECH)
def test_all_have_the_same_network_and_characters(name: str) -> None:
    paper, this = recipe("recipe"), recipe(name)
    assert (this.frontend, this.encoder) == (paper.frontend, paper.encoder)
    assert this.tokenizer == paper.tokenizer
    assert this.frontend.name == "spectrogram"
    assert (this.frontend.window_samples, this.frontend.hop_samples) == (254, 127)
    assert (this.frontend.stack, this.frontend.normalize) == (1, "training_set")
    assert this.augment == type(this.augment)()
    assert this.encoder.dropout == 0


def test_the_characters_are_those_of_the_preparation() -> None:
    language = load_recipe(WSJ / "prediction.toml")
    assert isinstance(language, LanguageRecipe)
    for tokenizer in (recipe("recipe").tokenizer, language.tokenizer):
        assert isinstance(tokenizer, CharactersConfig)
        assert sorted(tokenizer.symbols or "") == sorted(CHARACTERS)


@pytest.mark.parametrize("name", ["recipe", "si84", "expected_wer", "expected_wer_si84"])
def test_the_training_is_the_paper_s(name: str) -> None:
    optimizer, training = recipe(name).optimizer, recipe(name).training
    assert optimizer.name == "sgd"
    assert (optimizer.learning_rate, optimizer.momentum, optimizer.nesterov) == (1e-4, 0.9, False)
    assert (optimizer.schedule, optimizer.warmup, optimizer.weight_decay) == ("constant", 0, 0)
    assert (training.batch_utterances, training.accumulate, training.clip_norm) == (1, 1, 0)
    assert (training.precision, training.weight_noise, training.initial_range) == ("float32", 0, 0)
    assert training.patience > 0


def test_what_begins_with_what() -> None:
    assert recipe("expected_wer").init_from == "exp/wsj/default/best"
    assert recipe("expected_wer_si84").init_from == "exp/wsj/si84/best"
    assert recipe("si84").data.train == recipe("expected_wer_si84").data.train
    assert recipe("si84").data.train == "data/wsj/train-si84.jsonl"
    for name in ("expected_wer", "expected_wer_si84"):
        objective = recipe(name).objective
        assert objective.name == "expected_wer"
        assert (objective.num_samples, objective.estimator) == (5, "exchange")


def test_the_prediction_network_fits_the_transducer() -> None:
    language, objective = load_recipe(WSJ / "prediction.toml"), recipe("transducer").objective
    assert isinstance(language, LanguageRecipe)
    assert objective.name == "transducer"
    model = language.model
    found = (model.cell, model.num_layers, model.hidden_size, model.embedding_size)
    wanted = (objective.prediction_cell, objective.prediction_layers, objective.prediction_size)
    assert found == (*wanted, objective.prediction_embedding)


def command(*words: object) -> None:
    assert main([str(word) for word in words]) == 0, words


def train(name: str, out: Path, *settings: str) -> Path:
    """Train a shrunk recipe; the bundle."""
    overrides = (word for setting in (*SHRUNK, *settings) for word in ("--set", setting))
    command("train", WSJ / f"{name}.toml", "--out", out, "--device", "cpu", *overrides)
    assert (out / "finished.json").is_file()
    return out / "best"


def test_the_whole_chain_of_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    data = Path("data/wsj")  # where the recipes look
    prepare(lay_out(tmp_path / "discs", "published"), data, counts=COUNTS)
    ctc = train("recipe", Path("exp/wsj/default"))
    train("si84", Path("exp/wsj/si84"))
    dictionary = data / "dictionary.txt"
    known = ("--lexicon", dictionary)
    for order in (1, 2, 3):
        vocabulary = ("--vocabulary", dictionary, "-o", f"exp/wsj/lm/{order}.arpa")
        command("lm", "train", data / "lm.txt.gz", "--order", order, *vocabulary)
    command("tune", ctc, data / "dev.jsonl", *known, "--lm", "exp/wsj/lm/2.arpa")
    for row in ((), known, (*known, "--lm", "exp/wsj/lm/2.arpa")):
        command("evaluate", ctc, data / "test.jsonl", *row, "--json", f"{len(row)}.json")
        assert json.loads(Path(f"{len(row)}.json").read_text(encoding="utf-8"))
    train("expected_wer", Path("exp/wsj/expected_wer"))
    noted = json.loads(Path("exp/wsj/expected_wer/recipe.json").read_text(encoding="utf-8"))
    assert noted["recipe"]["init_from"] == "exp/wsj/default/best"
    train("expected_wer_si84", Path("exp/wsj/expected_wer_si84"))
    train("fast", Path("exp/wsj/fast"))
    tiny = ("--set", "model.hidden_size=8", "--set", "training.epochs=1")
    command("train", WSJ / "prediction.toml", "--out", "exp/wsj/prediction", *tiny)
    train("transducer", Path("exp/wsj/transducer"), "objective.prediction_size=8")
