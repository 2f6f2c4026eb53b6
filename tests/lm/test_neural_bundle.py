"""A language model comes back from its folder as it was, or the folder is refused with a reason."""

import json
import shutil
from pathlib import Path

import pytest

from asr.data.tokenizer import SentencePieceConfig, train_tokenizer
from asr.errors import ModelError
from asr.lm.loading import listed_words, load_lm
from asr.lm.neural_bundle import model_card, read_neural_bundle
from asr.lm.neural_model import NeuralModel
from asr.storage import MANIFEST, file_hash, folder_writer, read_json, write_json
from tests.lm.made_neural import CONFIG, characters, made_neural, opinionated, write_neural

PIECES = SentencePieceConfig(vocabulary_size=8)


def rewritten(folder: Path, name: str, change) -> Path:
    """A bundle whose JSON file `name` was changed, with hashes that fit."""
    copy = folder.with_name("rewritten")
    with folder_writer(copy) as temporary:
        for file in folder.iterdir():
            if file.name != MANIFEST:
                shutil.copy2(file, temporary / file.name)
        content = read_json(temporary / name)
        write_json(temporary / name, change(content) or content)
    return copy


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_neural(tmp_path / "best")


@pytest.mark.parametrize("kind", ["characters", "sentencepiece"])
def test_round_trip(tmp_path: Path, kind: str) -> None:
    tokenizer = (
        characters()
        if kind == "characters"
        else train_tokenizer(PIECES, ["ABAB BA", "BABA AB"] * 5)
    )
    expected = made_neural(tokenizer).score_texts(["AB BA", "B"])
    folder = write_neural(tmp_path / "best", tokenizer)
    model = load_lm(folder)
    assert isinstance(model, NeuralModel)
    assert model.score_texts(["AB BA", "B"]) == expected
    assert model.source == folder
    assert model.sha256() == file_hash(folder / MANIFEST)
    assert model.facts["dev"]["bits_per_character"] == 1.5
    assert not model.network.training
    assert not any(parameter.requires_grad for parameter in model.network.parameters())
    assert listed_words(model) == model.words


def test_the_hash_is_that_of_this_model(bundle: Path, tmp_path: Path) -> None:
    same = write_neural(tmp_path / "same")
    other = write_neural(tmp_path / "other", network=opinionated(4, seed=1))
    hashes = [read_neural_bundle(folder).sha256() for folder in (bundle, same, other)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_the_card_says_what_it_is(bundle: Path) -> None:
    card = (bundle / "README.md").read_text(encoding="utf-8")
    assert "- 2 x 5 lstm, characters, 4 tokens; " in card
    assert "- dev (`dev.txt`): 1.500 bits per character, perplexity 3.00 per token" in card
    assert "had not finished" not in card


def test_an_unfinished_model_says_so() -> None:
    facts = {"finished": False, "epochs": 3, "steps": 7}
    card = model_card(CONFIG, characters(), 99, recipe={"seed": 1}, facts=facts)
    assert "- the training had not finished when this was written" in card
    assert "3 epochs, 7 steps, seed 1" in card


@pytest.mark.parametrize("name", ["model.safetensors", "language_model.json", "tokenizer.json"])
def test_a_flipped_bit_is_found(bundle: Path, name: str) -> None:
    data = bytearray((bundle / name).read_bytes())
    data[len(data) // 2] ^= 1
    (bundle / name).write_bytes(data)
    with pytest.raises(ModelError, match=f"{name}: checksum differs"):
        load_lm(bundle)


def test_a_missing_file_is_found(bundle: Path) -> None:
    (bundle / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"model\.safetensors: is missing"):
        load_lm(bundle)


def with_config(**changes: object):
    return lambda content: content["model"].update(changes)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("language_model.json", with_config(cell="peephole"), r"\(2 problems\): lacks .*peepholes"),
        ("language_model.json", with_config(sizes=3), r"unknown key 'sizes'"),
        ("language_model.json", with_config(cell="elman"), r"'cell' must be 'lstm', "),
        ("language_model.json", lambda content: [content], "needs facts, model, recipe, each an"),
        ("language_model.json", lambda content: {**content, "facts": [1]}, "needs facts, model, "),
        ("language_model.json", lambda content: {**content, "more": {}}, "needs facts, model, re"),
        (
            "tokenizer.json",
            lambda content: {**content, "symbols": ["<blank>", "B", "A", " "]},
            "the tokenizer is not the one that the model was trained with; copy the folder again",
        ),
    ],
)
def test_parts_that_do_not_fit(bundle: Path, name: str, change, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        load_lm(rewritten(bundle, name, change))


def test_other_folders_are_named_for_what_they_are(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=rf"its language model is {bundle}"):
        load_lm(tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "model.safetensors").touch()
    with pytest.raises(ModelError, match="other: is a speech recogniser, no language model"):
        load_lm(tmp_path / "other")
    (tmp_path / "other" / "task.json").touch()
    with pytest.raises(ModelError, match="other: is the model of a recipe's own task, no language"):
        load_lm(tmp_path / "other")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="empty: is a folder, but no language model; give an ARPA"):
        load_lm(tmp_path / "empty")


def test_nothing_is_pickled(bundle: Path) -> None:
    assert sorted(path.name for path in bundle.iterdir()) == [
        "README.md",
        "language_model.json",
        "manifest.json",
        "model.safetensors",
        "tokenizer.json",
    ]
    assert json.loads((bundle / "language_model.json").read_text())["model"]["cell"] == "lstm"
