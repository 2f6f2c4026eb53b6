"""What stands in a run folder: the recipe, what changed in it, the end mark."""

from pathlib import Path

import pytest
import torch

from asr.errors import ModelError
from asr.storage import read_json
from asr.training.run import (
    FINISHED,
    RECIPE,
    differences,
    is_finished,
    mark_finished,
    note_recipe,
    trained_with,
    unmark_finished,
)
from asr.version import __version__


def test_the_recipe_is_noted_with_the_versions(tmp_path: Path) -> None:
    recipe = {"seed": 3, "optimizer": {"name": "sgd", "learning_rate": 0.1}}
    assert note_recipe(tmp_path, recipe, seed=3) == []
    noted = read_json(tmp_path / RECIPE)
    assert noted["recipe"] == recipe
    assert noted["seed"] == 3
    assert noted["versions"]["asr"] == __version__
    assert noted["versions"]["torch"] == torch.__version__
    assert noted["versions"]["num_threads"] == torch.get_num_threads()


def test_changes_are_told_once(tmp_path: Path) -> None:
    note_recipe(tmp_path, {"optimizer": {"learning_rate": 0.1, "name": "sgd"}}, seed=3)
    changed = {"optimizer": {"learning_rate": 0.2, "name": "sgd"}}
    assert note_recipe(tmp_path, changed, seed=3) == ["optimizer.learning_rate: 0.1 → 0.2"]
    assert note_recipe(tmp_path, changed, seed=3) == []


def test_differences() -> None:
    old = {"a": 1, "b": {"c": [1, 2], "d": {"e": None}}, "gone": True}
    new = {"a": 1, "b": {"c": [1, 3], "d": {"e": 0}}, "new": "x"}
    assert differences(old, new) == [
        "b.c: [1, 2] → [1, 3]",
        "b.d.e: None → 0",
        "gone: True → not set",
        "new: not set → x",
    ]
    assert differences(old, old) == []


def test_what_gave_the_network_its_size(tmp_path: Path) -> None:
    old = {"task": {"size": 8, "word": "x"}, "data": {"train": "a"}, "optimizer": {"name": "sgd"}}
    assert trained_with(tmp_path, old) == "", "nothing is noted"
    note_recipe(tmp_path, old, seed=3)
    assert trained_with(tmp_path, old) == ""
    assert trained_with(tmp_path, {**old, "optimizer": {"name": "adam"}, "seed": 2}) == ""
    other = {**old, "data": {"train": "b"}}
    assert trained_with(tmp_path, other) == 'data.train = "a", not "b"'
    other["task"] = {"size": 16, "deep": True}
    assert trained_with(tmp_path, other) == (
        'task.deep = unset, not true, task.size = 8, not 16, task.word = "x", not unset'
    )


def test_a_damaged_recipe_is_named(tmp_path: Path) -> None:
    (tmp_path / RECIPE).write_text("{", encoding="utf-8")
    with pytest.raises(ModelError, match=r"recipe\.json: not valid JSON"):
        note_recipe(tmp_path, {}, seed=1)


def test_the_end_mark(tmp_path: Path) -> None:
    assert not is_finished(tmp_path)
    unmark_finished(tmp_path)
    mark_finished(tmp_path, epochs=4, stopped_early=True)
    assert is_finished(tmp_path)
    assert read_json(tmp_path / FINISHED) == {"epochs": 4, "stopped_early": True}
    unmark_finished(tmp_path)
    assert not is_finished(tmp_path)
