"""A checkpoint gives back everything to the bit, or says why it does not."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from asr.errors import DivergedError, ModelError, ResourceError
from asr.storage import folder_writer, is_valid, read_json, save_tensors, write_json
from asr.training import checkpoint
from asr.training.checkpoint import (
    TrainingState,
    average_weights,
    batch_seed,
    load_latest,
    save_checkpoint,
)
from asr.training.optimizer import AdamWConfig, SgdConfig, build_optimizer

OPTIMIZERS: dict[str, SgdConfig | AdamWConfig] = {
    "sgd": SgdConfig(name="sgd", learning_rate=0.1, momentum=0.0),
    "momentum": SgdConfig(name="sgd", learning_rate=0.1, momentum=0.9),
    "adam": AdamWConfig(name="adam", learning_rate=0.1),
    "adamw": AdamWConfig(name="adamw", learning_rate=0.1),
}


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 40), nn.BatchNorm1d(40), nn.Tanh(), nn.Linear(40, 1))


def advance(model: nn.Module, optimizer: torch.optim.Optimizer, first: int, last: int) -> None:
    """The updates `first` … `last - 1` of a made-up training."""
    for step in range(first, last):
        torch.manual_seed(step)
        optimizer.zero_grad()
        model(torch.randn(8, 3)).square().mean().backward()
        optimizer.step()


def everything(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    state = optimizer.state_dict()["state"]
    kept = {f"{i}.{name}": value for i, values in state.items() for name, value in values.items()}
    return {**model.state_dict(), **kept}


def saved(folder: Path, *steps: int) -> None:
    """Checkpoints of one training at `steps`."""
    model = network()
    optimizer = build_optimizer(model.parameters(), OPTIMIZERS["adamw"])
    done = 0
    for step in steps:
        advance(model, optimizer, done, step)
        save_checkpoint(folder, model, optimizer, TrainingState(step=step))
        done = step


def latest(folder: Path, name: str = "adamw") -> tuple[TrainingState, list[str]] | None:
    model = network()
    return load_latest(folder, model, build_optimizer(model.parameters(), OPTIMIZERS[name]))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_training_continues_to_the_bit(tmp_path: Path, name: str) -> None:
    whole = network()
    optimizer = build_optimizer(whole.parameters(), OPTIMIZERS[name])
    advance(whole, optimizer, 0, 5)
    save_checkpoint(tmp_path, whole, optimizer, TrainingState(step=5))
    advance(whole, optimizer, 5, 9)

    resumed = nn.Sequential(nn.Linear(3, 40), nn.BatchNorm1d(40), nn.Tanh(), nn.Linear(40, 1))
    fresh = build_optimizer(resumed.parameters(), OPTIMIZERS[name])
    assert load_latest(tmp_path, resumed, fresh) is not None
    advance(resumed, fresh, 5, 9)
    expected, found = everything(whole, optimizer), everything(resumed, fresh)
    assert len(found) == 9 + 6 * {"sgd": 0, "momentum": 1, "adam": 3, "adamw": 3}[name]
    assert found.keys() == expected.keys()
    for key in expected:
        assert torch.equal(found[key], expected[key]), key


def test_the_state_comes_back_whole(tmp_path: Path) -> None:
    state = TrainingState(
        step=12,
        epoch=3,
        position=4,
        best=(0.1 + 0.2, 2),
        stale=1,
        non_finite=2,
        skipped=3,
        seconds=1 / 3,
        fingerprints={"training data": "ä"},
        scaler={"scale": 65536.0, "_growth_tracker": 7},
        noisy=True,
    )
    model = network()
    optimizer = build_optimizer(model.parameters(), OPTIMIZERS["sgd"])
    path = save_checkpoint(tmp_path, model, optimizer, state)
    assert path == tmp_path / "step-00000012"
    assert names(path) == [
        "manifest.json",
        "model.safetensors",
        "optimizer.safetensors",
        "state.json",
    ]
    assert latest(tmp_path, "sgd") == (state, [])
    assert read_json(path / "state.json")["torch"] == torch.__version__


def test_a_changed_learning_rate_is_not_undone_by_resuming(tmp_path: Path) -> None:
    saved(tmp_path, 2)
    model = network()
    optimizer = build_optimizer(model.parameters(), AdamWConfig(name="adamw", learning_rate=0.007))
    load_latest(tmp_path, model, optimizer)
    assert {group["lr"] for group in optimizer.param_groups} == {0.007}


def test_no_checkpoint_is_a_fresh_start(tmp_path: Path) -> None:
    assert latest(tmp_path) is None
    assert latest(tmp_path / "none") is None


def cut(length: int) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        path.write_bytes(path.read_bytes()[:length])

    return damage


def randomize(path: Path) -> None:
    path.write_bytes(np.random.default_rng(0).bytes(path.stat().st_size))


def test_whatever_is_damaged_the_next_older_checkpoint_is_used_aloud(tmp_path: Path) -> None:
    """Every file cut off at every 4 kB (the small ones in the middle too), random, or missing."""
    saved(tmp_path / "whole", 3, 5)
    for file in sorted((tmp_path / "whole" / "step-00000005").iterdir()):
        size = file.stat().st_size
        cuts = {*range(0, size, 4096), size // 2, size - 2}  # the last byte of JSON is a line end
        damages = [*map(cut, sorted(cuts)), randomize, Path.unlink]
        for number, damage in enumerate(damages):
            folder = tmp_path / f"{file.name}-{number}"
            shutil.copytree(tmp_path / "whole", folder)
            damage(folder / "step-00000005" / file.name)
            loaded = latest(folder)
            assert loaded is not None
            state, complaints = loaded
            assert state.step == 3
            assert len(complaints) == 1
            assert complaints[0].startswith("passed over a damaged checkpoint: ")
            assert "step-00000005" in complaints[0]


def test_a_file_that_the_disk_cannot_read_is_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(tmp_path, 3, 5)

    def failing(path: Path) -> str:
        if path == tmp_path / "step-00000005" / "optimizer.safetensors":
            raise OSError(5, "Input/output error")
        return file_hash(path)

    file_hash = checkpoint.verify_folder.__globals__["file_hash"]
    monkeypatch.setattr("asr.storage.file_hash", failing)
    loaded = latest(tmp_path)
    assert loaded is not None
    assert loaded[0].step == 3
    assert "optimizer.safetensors: cannot be read: Input/output error" in loaded[1][0]


def test_when_nothing_is_intact_the_training_does_not_begin_again_by_itself(tmp_path: Path) -> None:
    saved(tmp_path, 3, 5)
    for path in tmp_path.glob("step-*/model.safetensors"):
        cut(100)(path)
    message = r"none of 2 checkpoints is intact; delete the folder to start again \(passed over"
    with pytest.raises(ModelError, match=message):
        latest(tmp_path)


def test_a_checkpoint_of_a_newer_version_is_not_passed_over(tmp_path: Path) -> None:
    saved(tmp_path, 3, 5)
    manifest = tmp_path / "step-00000005" / "manifest.json"
    write_json(manifest, {**read_json(manifest), "format_version": 2})
    with pytest.raises(ModelError, match=r"step-00000005: made by a newer version \(format 2"):
        latest(tmp_path)


def rewritten(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """A checkpoint of step 3, and one of step 4 whose state is that of the first, changed."""
    saved(folder, 3)
    old = folder / "step-00000003"
    content = read_json(old / "state.json")
    change(content["state"])
    with folder_writer(folder / "step-00000004") as new:
        for name in ("model.safetensors", "optimizer.safetensors"):
            shutil.copy(old / name, new / name)
        write_json(new / "state.json", content)


@pytest.mark.parametrize("change", [{"stale": None}, {"unheard": 1}, {"noisy": None, "other": 1}])
def test_another_content_of_the_state_is_another_version(
    tmp_path: Path, change: dict[str, int | None]
) -> None:
    def apply(state: dict[str, Any]) -> None:
        for name, value in change.items():
            state.pop(name, None) if value is None else state.update({name: value})

    rewritten(tmp_path, apply)
    with pytest.raises(ModelError, match=r"step-00000004: state\.json is of another version"):
        latest(tmp_path)


def test_a_checkpoint_from_before_the_quiet_trainings(tmp_path: Path) -> None:
    rewritten(tmp_path, lambda state: state.pop("noisy"))
    assert latest(tmp_path) == (TrainingState(step=3), [])


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (
            "adamw",
            "momentum",
            r"was trained with AdamW, and the recipe now has SGD; set \[optimizer\]",
        ),
        (
            "momentum",
            "adamw",
            r"was trained with SGD, and the recipe now has AdamW; set \[optimizer\]",
        ),
        (
            "adam",
            "adamw",
            r"was trained with Adam, and the recipe now has AdamW; set \[optimizer\]",
        ),
    ],
)
def test_another_optimizer_cannot_go_on(
    tmp_path: Path, before: str, after: str, message: str
) -> None:
    model = network()
    optimizer = build_optimizer(model.parameters(), OPTIMIZERS[before])
    advance(model, optimizer, 0, 1)
    save_checkpoint(tmp_path, model, optimizer, TrainingState(step=1))
    with pytest.raises(ModelError, match=message):
        latest(tmp_path, after)


@pytest.mark.parametrize("frozen_first", [True, False])
def test_the_moments_of_other_parameters_are_refused(tmp_path: Path, frozen_first: bool) -> None:
    """The state knows parameters by number alone, and freezing one shifts the numbers."""

    def build(frozen: bool) -> tuple[nn.Module, torch.optim.Optimizer]:
        model = network()
        if frozen:
            next(model.parameters()).requires_grad = False
        return model, build_optimizer(model.parameters(), OPTIMIZERS["adamw"])

    model, optimizer = build(frozen_first)
    advance(model, optimizer, 0, 1)
    save_checkpoint(tmp_path, model, optimizer, TrainingState(step=1))
    message = "the optimiser's state is of another model, or other parts of it were trained"
    with pytest.raises(ModelError, match=message):
        load_latest(tmp_path, *build(not frozen_first))


def test_the_highest_step_is_the_newest_whatever_the_clock_and_the_digits_say(
    tmp_path: Path,
) -> None:
    saved(tmp_path, 3)
    shutil.copytree(tmp_path / "step-00000003", tmp_path / "step-100000000")
    shutil.copytree(tmp_path / "step-00000003", tmp_path / "step-99999999")
    (tmp_path / "step-00000005.tmp-77").mkdir()
    loaded = latest(tmp_path)
    assert loaded is not None
    assert loaded[1] == []
    cut(10)(tmp_path / "step-100000000" / "manifest.json")
    loaded = latest(tmp_path)
    assert loaded is not None
    assert [line.count("step-100000000") for line in loaded[1]] == [1]


def test_two_valid_checkpoints_are_kept(tmp_path: Path) -> None:
    saved(tmp_path, 1, 2, 3, 4)
    assert names(tmp_path) == ["step-00000003", "step-00000004"]


def test_invalid_checkpoints_do_not_count_when_old_ones_are_deleted(tmp_path: Path) -> None:
    saved(tmp_path, 1, 2)
    cut(50)(tmp_path / "step-00000002" / "optimizer.safetensors")
    saved(tmp_path, 4)
    assert names(tmp_path) == ["step-00000001", "step-00000004"]
    assert all(map(is_valid, tmp_path.iterdir()))


def test_a_later_checkpoint_of_before_is_left_alone(tmp_path: Path) -> None:
    """After passing over a damaged checkpoint the steps before it are made again."""
    saved(tmp_path, 8)
    saved(tmp_path, 5, 6, 7)
    assert names(tmp_path) == ["step-00000006", "step-00000007", "step-00000008"]


def test_the_same_step_is_replaced(tmp_path: Path) -> None:
    """Nothing was learnt in an epoch, but the epoch is over."""
    model = network()
    optimizer = build_optimizer(model.parameters(), OPTIMIZERS["sgd"])
    for epoch in (1, 2):
        save_checkpoint(tmp_path, model, optimizer, TrainingState(step=7, epoch=epoch))
    assert names(tmp_path) == ["step-00000007"]
    loaded = latest(tmp_path, "sgd")
    assert loaded is not None
    assert loaded[0].epoch == 2


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_weights_that_are_not_finite_are_never_saved(tmp_path: Path, value: float) -> None:
    saved(tmp_path, 3)
    model = network()
    model.state_dict()["1.running_var"][5] = value
    optimizer = build_optimizer(model.parameters(), OPTIMIZERS["sgd"])
    with pytest.raises(DivergedError, match="step-00000004: weights are not finite; not saved"):
        save_checkpoint(tmp_path, model, optimizer, TrainingState(step=4))
    assert names(tmp_path) == ["step-00000003"]


def test_what_reads_back_differently_deletes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(tmp_path, 1, 2)

    def spoil(path: Path) -> None:
        cut(10)(path / "model.safetensors")
        return verify(path)

    verify = checkpoint.verify_folder
    monkeypatch.setattr(checkpoint, "verify_folder", spoil)
    with pytest.raises(ModelError, match=r"step-00000004/model\.safetensors: checksum differs"):
        saved(tmp_path, 4)
    monkeypatch.undo()
    assert names(tmp_path) == ["step-00000001", "step-00000002", "step-00000004"]
    loaded = latest(tmp_path)
    assert loaded is not None
    assert loaded[0].step == 2


def test_a_full_disk_leaves_the_older_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(tmp_path, 1, 2)

    def full(path: Path, tensors: object) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_tensors", full)
    with pytest.raises(ResourceError, match="step-00000004: cannot be written: No space left"):
        saved(tmp_path, 4)
    assert names(tmp_path) == ["step-00000001", "step-00000002"]
    assert all(map(is_valid, tmp_path.iterdir()))


def test_average_weights_against_numpy(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    weights = [random.normal(size=(4, 5)).astype(np.float32) for _ in range(3)]
    paths = []
    for number, weight in enumerate(weights):
        paths.append(tmp_path / f"{number}.safetensors")
        save_tensors(
            paths[-1],
            {"weight": torch.from_numpy(weight), "count": torch.tensor(10 + number)},
        )
    average = average_weights(paths)
    expected = np.mean([weight.astype(np.float64) for weight in weights], axis=0)
    assert np.array_equal(average["weight"].numpy(), expected.astype(np.float32))
    assert average["weight"].dtype == torch.float32
    assert average["count"] == torch.tensor(10), "integers come from the first"
    assert average["count"].dtype == torch.int64


def test_the_average_of_one_is_itself(tmp_path: Path) -> None:
    tensors = {"w": torch.randn(3, 4, dtype=torch.bfloat16), "n": torch.tensor([1, 2])}
    save_tensors(tmp_path / "w.safetensors", tensors)
    average = average_weights([tmp_path / "w.safetensors"])
    assert average["w"].dtype == torch.bfloat16
    assert all(torch.equal(average[name], tensors[name]) for name in tensors)


@settings(deadline=None)
@given(st.tuples(*[st.integers(0, 10**6)] * 3), st.tuples(*[st.integers(0, 10**6)] * 3))
def test_batches_have_seeds_of_their_own(first: tuple[Any, ...], second: tuple[Any, ...]) -> None:
    seed = batch_seed(*first)
    assert seed == batch_seed(*first)
    assert 0 <= seed < 2**63
    assert (seed == batch_seed(*second)) == (first == second)


def test_the_state_of_a_checkpoint_is_strict_json(tmp_path: Path) -> None:
    saved(tmp_path, 2)
    text = (tmp_path / "step-00000002" / "state.json").read_text(encoding="utf-8")
    assert json.loads(text)["optimizer"]["kind"] == "AdamW"
