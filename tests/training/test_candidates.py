"""The weights of the best evaluations are kept, and no others."""

import itertools
import math
from pathlib import Path

import pytest
import torch
from torch import nn

from asr.errors import ModelError
from asr.training.candidates import Candidates


def model(value: float) -> nn.Module:
    """A network whose weights are all `value`."""
    network = nn.Linear(2, 1)
    with torch.no_grad():
        network.weight.fill_(value)
        network.bias.fill_(value)
    return network


def weight(network: nn.Module) -> float:
    return float(network.state_dict()["weight"][0, 0])


def kept(folder: Path) -> list[int]:
    return sorted(int(path.name.removeprefix("epoch-")) for path in folder.iterdir())


def filled(folder: Path, values: list[float], *, keep: int) -> Candidates:
    """An evaluation per epoch from 1 on; the weights of an epoch are its number."""
    candidates = Candidates(folder, keep=keep)
    for epoch, value in enumerate(values, start=1):
        candidates.add(model(epoch), epoch, value)
    return candidates


def test_without_evaluations_there_is_nothing(tmp_path: Path) -> None:
    candidates, untouched = Candidates(tmp_path / "none", keep=3), model(7.0)
    assert candidates.count == 0
    assert candidates.best_value() == math.inf
    assert candidates.average() is None
    assert candidates.load_best(untouched) is None
    assert weight(untouched) == 7.0


def test_the_lowest_values_are_kept(tmp_path: Path) -> None:
    candidates = filled(tmp_path, [0.5, 0.2, 0.4, 0.3, 0.6], keep=3)
    assert kept(tmp_path) == [2, 3, 4]
    assert candidates.count == 3
    assert candidates.best_value() == 0.2
    network = model(0.0)
    assert candidates.load_best(network) == 2
    assert weight(network) == 2.0


@pytest.mark.parametrize("keep", [1, 2])
@pytest.mark.parametrize("values", list(itertools.product([0.1, 0.2, 0.3], repeat=3)))
def test_of_equal_values_the_earlier_epochs_are_kept(
    tmp_path: Path, values: tuple[float, ...], keep: int
) -> None:
    filled(tmp_path, list(values), keep=keep)
    best = sorted(range(len(values)), key=lambda index: (values[index], index))[:keep]
    assert kept(tmp_path) == sorted(index + 1 for index in best)


def test_the_average_is_the_mean_of_what_is_kept(tmp_path: Path) -> None:
    candidates = filled(tmp_path, [0.9, 0.2, 0.4, 0.3], keep=3)
    average = candidates.average()
    assert average is not None
    assert set(average) == {"weight", "bias"}
    assert average["weight"].tolist() == [[3.0, 3.0]], "of 2, 3 and 4"
    assert filled(tmp_path / "one", [0.9, 0.2], keep=1).average() is None


def test_an_evaluation_that_is_made_again_replaces_itself(tmp_path: Path) -> None:
    """The training was killed after it kept the weights and before it saved its checkpoint."""
    values = [0.5, 0.2, 0.4]
    for again in range(1, 4):
        folder = tmp_path / str(again)
        candidates = filled(folder, values, keep=2)
        candidates.add(model(again), again, values[again - 1])
        assert kept(folder) == [2, 3]
        assert candidates.best_value() == 0.2


def test_evaluations_of_later_epochs_are_dropped(tmp_path: Path) -> None:
    candidates = filled(tmp_path, [0.4, 0.3, 0.2, 0.1], keep=4)
    candidates.drop_after(2)
    assert kept(tmp_path) == [1, 2]
    candidates.drop_after(0)
    assert kept(tmp_path) == []
    candidates.add(model(0.0), 0, 0.5)
    candidates.drop_after(0)
    assert kept(tmp_path) == [0], "of the starting weights"
    candidates.drop_after(-1)
    assert kept(tmp_path) == []


def test_damaged_weights_do_not_count(tmp_path: Path) -> None:
    candidates = filled(tmp_path, [0.4, 0.2, 0.3], keep=3)
    (tmp_path / "epoch-00002" / "model.safetensors").write_bytes(b"half")
    assert candidates.best_value() == 0.3
    average = candidates.average()
    assert average is not None
    assert average["weight"].tolist() == [[2.0, 2.0]], "of 1 and 3"


def test_with_fewer_wanted_than_before_only_the_best_are_averaged(tmp_path: Path) -> None:
    filled(tmp_path, [0.1, 0.2, 0.3, 0.4], keep=4)
    candidates = Candidates(tmp_path, keep=2)
    assert candidates.count == 2
    average = candidates.average()
    assert average is not None
    assert average["weight"].tolist() == [[1.5, 1.5]], "of 1 and 2"
    candidates.add(model(5), 5, 0.15)
    assert kept(tmp_path) == [1, 5]


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    candidates = filled(tmp_path, [0.1], keep=1)
    with pytest.raises(ModelError, match=r"epoch-00001/model\.safetensors: does not fit"):
        candidates.load_best(nn.Linear(3, 1))
