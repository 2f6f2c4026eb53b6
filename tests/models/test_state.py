"""Tensors of a file fit a network, or all misfits are named."""

from pathlib import Path

import pytest
import torch
from torch import nn

from asr.errors import ModelError
from asr.models.state import load_state, load_weights
from asr.storage import load_tensors, save_tensors


def test_misfits_are_listed() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    tensors = dict(model.state_dict())
    tensors["0.weight"] = torch.zeros(3, 5)
    tensors["0.bias"] = torch.zeros(3, dtype=torch.float64)
    tensors["2.weight"] = tensors.pop("1.weight")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ModelError) as error:
        load_state(model, tensors, "a.safetensors")
    assert str(error.value) == (
        "a.safetensors: does not fit the model (4 problems): "
        "0.bias is (3,) torch.float64, the model needs (3,) torch.float32; "
        "0.weight is (3, 5) torch.float32, the model needs (3, 2) torch.float32; "
        "has 2.weight, which the model lacks; lacks 1.weight"
    )
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_of_many_misfits_five_are_listed() -> None:
    model = nn.Sequential(*(nn.Linear(1, 1) for _ in range(10)))
    with pytest.raises(ModelError, match=r"\(20 problems\)") as error:
        load_state(model, {}, "x")
    assert str(error.value).count("lacks") == 5


def test_weights_of_a_file_are_copied_into_the_model(tmp_path: Path) -> None:
    source, target = (nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)) for _ in range(2))
    source(torch.randn(5, 3))  # moves the running means
    save_tensors(tmp_path / "w.safetensors", source.state_dict())
    load_weights(target, tmp_path / "w.safetensors")
    assert all(map(torch.equal, target.state_dict().values(), source.state_dict().values()))
    with pytest.raises(ModelError, match=r"w\.safetensors: does not fit the model"):
        load_weights(nn.Linear(3, 3), tmp_path / "w.safetensors")


def test_tied_weights_stay_tied(tmp_path: Path) -> None:
    """They have two names and one memory; a checkpoint has both names."""

    def tied() -> nn.Module:
        first, second = nn.Linear(3, 3), nn.Linear(3, 3)
        second.weight = first.weight
        return nn.Sequential(first, second)

    source, target = tied(), tied()
    save_tensors(tmp_path / "w.safetensors", source.state_dict())
    assert len(load_tensors(tmp_path / "w.safetensors")) == 4
    load_weights(target, tmp_path / "w.safetensors")
    assert target[0].weight is target[1].weight
    assert torch.equal(target[0].weight, source[0].weight)
