"""What a recipe becomes: the weights that it begins with, and how its texts are scored."""

import shutil
from pathlib import Path

import pytest
import torch

from asr.building import build_language_task, build_speech_task
from asr.recipe import LanguageRecipe, load_recipe
from asr.storage import load_tensors
from tests.made import quiet, recipe_with

RANGE = "training.initial_range=0.1"
SCALES = ("scale", "running_variance")


def state_of(trained: Path, run: Path, *overrides: str) -> dict[str, torch.Tensor]:
    recipe = recipe_with(trained, *overrides)
    return build_speech_task(recipe, run, command="", say=quiet).model.state_dict()


@pytest.mark.parametrize("cell", ["peephole", "tanh"])
def test_all_trained_weights_begin_uniform(trained: Path, tmp_path: Path, cell: str) -> None:
    given = (f"encoder.cell={cell}", "encoder.hidden_size=40", RANGE)
    begun = state_of(trained, tmp_path / "one", *given)
    again = state_of(trained, tmp_path / "two", *given)
    other = state_of(trained, tmp_path / "three", *given, "seed=2")
    default = state_of(trained, tmp_path / "four", *given[:2])
    assert set(default) == set(begun)
    for name, weights in begun.items():
        if "frontend" in name:
            torch.testing.assert_close(weights, default[name])
            continue
        assert torch.equal(weights, again[name]), name
        assert not torch.equal(weights, other[name]), name
        assert weights.abs().max() <= 0.1
    drawn = torch.cat([weights.flatten() for name, weights in begun.items() if "fr" not in name])
    # U[-0.1, 0.1] has the deviation 0.1 / sqrt(3); the error of a mean of n is that / sqrt(n).
    error = 0.1 / 3**0.5 / len(drawn) ** 0.5
    assert abs(float(drawn.mean())) < 5 * error
    assert float(drawn.std()) == pytest.approx(0.1 / 3**0.5, abs=5 * error)
    assert float(drawn.abs().max()) > 0.0999
    assert "encoder.layers.0.bias" in begun
    assert float(default["encoder.layers.0.bias"].abs().max()) in (0.0, 1.0)


def test_what_batch_normalisation_multiplies_with_stays_one(trained: Path, tmp_path: Path) -> None:
    given = ("encoder.num_layers=3", "encoder.batch_norm=true", RANGE)
    begun = state_of(trained, tmp_path / "one", *given)
    plain = state_of(trained, tmp_path / "two", given[0], RANGE)
    norms = {name for name in begun if ".norms." in name}
    assert len(norms) == 2 * 4
    for name in norms:
        assert torch.equal(begun[name], torch.full((64,), float(name.endswith(SCALES)))), name
    assert begun.keys() - norms == plain.keys()
    for name, weights in plain.items():
        torch.testing.assert_close(begun[name], weights)


def test_the_switches_reach_the_model_and_the_task(trained: Path, tmp_path: Path) -> None:
    recipe = recipe_with(
        trained,
        "encoder.cell=leaky",
        "encoder.leak=0.75",
        "encoder.batch_norm=true",
        "encoder.num_layers=2",
        "augment.input_noise=0.4",
        "objective.name=ctc",
        "objective.label_smoothing=0.1",
    )
    task = build_speech_task(recipe, tmp_path, command="", say=quiet)
    encoder = task.model.encoder
    assert (encoder.cell, [layer.leak for layer in encoder.layers]) == ("leaky", [0.75, 0.75])
    assert len(encoder.norms) == 1
    assert task.model.frontend.spec_augment is not None
    assert task.model.frontend.spec_augment.input_noise == 0.4
    assert task.loss_name == "smoothed loss"


def test_weights_of_bundles_stay(trained: Path, tmp_path: Path) -> None:
    encoder = Path(shutil.copytree(trained / "run" / "best", tmp_path / "encoder"))
    given = ("objective.name=transducer", "objective.joint_size=8", "objective.prediction_size=12")
    start = (*given, f"pretrain.encoder={encoder}", RANGE)
    state = state_of(trained, tmp_path / "run", *start)
    theirs = load_tensors(encoder / "model.safetensors")
    copied = [name for name in state if name.startswith(("encoder.", "frontend."))]
    assert len(copied) > 3
    for name in copied:
        assert torch.equal(state[name], theirs[name]), name
    for name in set(state) - set(copied):
        assert 0 < state[name].abs().max() <= 0.1, name
    assert theirs["encoder.layers.0.recurrent_weight"].abs().max() > 0.1, "the case that is meant"


def test_a_language_model_too(trained: Path, tmp_path: Path) -> None:
    text = f"""
task = "language_model"
[data]
train = "{(trained / "data" / "train.jsonl").as_posix()}"
[model]
num_layers = 1
hidden_size = 12
[training]
initial_range = 0.05
"""
    (tmp_path / "x.toml").write_text(text, encoding="utf-8")
    recipe = load_recipe(tmp_path / "x.toml")
    assert isinstance(recipe, LanguageRecipe)
    task = build_language_task(recipe, tmp_path / "run", command="")
    for name, weights in task.model.named_parameters():
        assert 0.02 < weights.abs().max() <= 0.05, name


def test_one_utterance_is_one_update(trained: Path, tmp_path: Path) -> None:
    recipe = recipe_with(trained, "training.batch_utterances=1")
    task = build_speech_task(recipe, tmp_path, command="", say=quiet)
    plans = task.plan_epoch(0)
    assert sorted(plan.items for plan in plans) == [(index,) for index in range(150)]
