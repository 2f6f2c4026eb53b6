"""A transducer that begins with the weights of another: what fits, and what does not."""

from pathlib import Path

import pytest
import torch

from asr.building import build_speech_task
from asr.errors import ConfigError
from asr.storage import folder_writer, load_tensors
from tests.made import quiet, recipe_with

TRANSDUCER = ("objective.name=transducer", "objective.joint_size=8", "objective.prediction_size=6")


def untrained(trained: Path, folder: Path, *overrides: str) -> Path:
    """The bundle of a transducer with random weights."""
    recipe = recipe_with(trained, *TRANSDUCER, *overrides)
    task = build_speech_task(recipe, folder / "random", command="", say=quiet)
    with folder_writer(folder / "transducer") as temporary:
        task.write_bundle(temporary, {})
    return folder / "transducer"


def test_a_transducer_goes_on_from_a_transducer(trained: Path, tmp_path: Path) -> None:
    """All its weights; dropout may differ, and how much the CTC loss counts where there is one."""
    start = untrained(trained, tmp_path, "objective.ctc_weight=0.5", "seed=9")
    changed = ("objective.ctc_weight=0.1", "objective.prediction_dropout=0.5")
    recipe = recipe_with(trained, *TRANSDUCER, f"init_from={start}", *changed)
    task = build_speech_task(recipe, tmp_path / "run", command="", say=quiet)
    saved = load_tensors(start / "model.safetensors")
    assert "ctc_output.weight" in saved
    assert saved.keys() == task.model.state_dict().keys()
    for name, tensor in task.model.state_dict().items():
        assert torch.equal(tensor, saved[name]), name


def test_what_differs_between_transducers_is_named(trained: Path, tmp_path: Path) -> None:
    start = untrained(trained, tmp_path)
    changed = ("joint_size=9", "prediction_cell=gru", "prediction_dropout=0.5", "ctc_weight=0.5")
    overrides = [f"objective.{one}" for one in changed]
    recipe = recipe_with(trained, *TRANSDUCER, f"init_from={start}", *overrides)
    with pytest.raises(ConfigError) as caught:
        build_speech_task(recipe, tmp_path / "run", command="")
    assert str(caught.value) == (
        f"init_from: {start} does not fit this recipe: objective.joint_size is 9 here and 8 there; "
        "objective.prediction_cell is 'gru' here and 'lstm' there; objective.ctc_weight is 0.5 "
        "here and 0.0 there: only one above 0 has an output layer for CTC; give the same --set as "
        "there, or another bundle"
    )


def test_the_joint_of_2012_has_no_size(trained: Path, tmp_path: Path) -> None:
    start = untrained(trained, tmp_path, "objective.joint=additive")
    other = ("objective.joint=additive", "objective.joint_size=99")
    recipe = recipe_with(trained, *TRANSDUCER, f"init_from={start}", *other)
    build_speech_task(recipe, tmp_path / "run", command="", say=quiet)
    recipe = recipe_with(trained, *TRANSDUCER, f"init_from={start}")
    with pytest.raises(ConfigError, match=r"objective\.joint is 'tanh' here and 'additive' there"):
        build_speech_task(recipe, tmp_path / "run2", command="")


def test_a_transducer_and_a_ctc_model_are_different_networks(trained: Path, tmp_path: Path) -> None:
    start = trained / "run" / "best"
    recipe = recipe_with(trained, *TRANSDUCER, f"init_from={start}")
    message = r"is no transducer \(for its encoder, set pretrain\.encoder in place of init_from\)"
    with pytest.raises(ConfigError, match=message):
        build_speech_task(recipe, tmp_path / "run", command="")
    recipe = recipe_with(trained, f"init_from={untrained(trained, tmp_path)}")
    message = r"is a transducer, and this recipe trains none \(name the bundle of a CTC model\)"
    with pytest.raises(ConfigError, match=message):
        build_speech_task(recipe, tmp_path / "run", command="")
