"""On a CPU, Triton interprets the kernels, a step a launch; on a GPU they run as they are."""

import importlib
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest
import torch
from torch import Tensor

from asr.devices import choose_device
from asr.models import peephole_torch
from asr.models.lstm import RecurrentStack
from asr.models.weights import Cell

MODULE = "asr.models.peephole_triton"
# Triton's interpreter takes numbers from arrays as newer versions of numpy do not like it.
pytestmark = pytest.mark.filterwarnings("ignore:Conversion of an array:DeprecationWarning")


@pytest.fixture
def interpreted(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The kernels, for a CPU: Triton decides when it sees a kernel's definition."""
    pytest.importorskip("triton", reason="Triton comes with torch on Linux")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    yield importlib.import_module(MODULE)
    del sys.modules[MODULE]


def operands(
    directions: int, frames: int, batch: int, size: int, device: str = "cpu"
) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(frames + batch)
    projected = torch.randn(directions, frames, batch, 4 * size)
    # Small enough that the network forgets: else rounding errors grow from step to step.
    recurrent = 0.5 * torch.randn(directions, 4 * size, size) / size**0.5
    peepholes = 0.3 * torch.randn(directions, 3, size)
    return projected.to(device), recurrent.to(device), peepholes.to(device)


def distance(own: Tensor, expected: Tensor) -> float:
    assert own.isfinite().all()
    return float((own.cpu().double() - expected).norm() / expected.norm())


def both_ways(passes: ModuleType, tensors: tuple[Tensor, Tensor, Tensor]) -> list[Tensor]:
    """Hidden states, cells and the gradient of the gates; what nobody writes stays NaN."""
    projected, recurrent, peepholes = tensors
    gates = projected.clone()
    hidden = projected.new_full((*projected.shape[:3], recurrent.shape[2]), torch.nan)
    cells, d_gates = torch.full_like(hidden, torch.nan), torch.full_like(gates, torch.nan)
    passes.forward_pass(gates, hidden, cells, recurrent, peepholes)
    gradient = torch.linspace(-1, 1, hidden.numel(), device=hidden.device, dtype=hidden.dtype)
    gradient = gradient.view_as(hidden)
    passes.backward_pass(gradient, d_gates, gates, cells, recurrent, peepholes)
    return [hidden, cells, d_gates]


def in_double(tensors: tuple[Tensor, Tensor, Tensor]) -> list[Tensor]:
    projected, recurrent, peepholes = (tensor.cpu().double() for tensor in tensors)
    return both_ways(peephole_torch, (projected, recurrent, peepholes))


@pytest.mark.parametrize(
    ("directions", "frames", "batch", "size"),
    [(2, 4, 3, 20), (1, 3, 18, 70), (2, 1, 1, 7), (2, 3, 65, 16)],
)
def test_it_is_the_plain_recurrence(
    interpreted: ModuleType, directions: int, frames: int, batch: int, size: int
) -> None:
    tensors = operands(directions, frames, batch, size)
    results = both_ways(interpreted, tensors)
    for own, expected in zip(results, in_double(tensors), strict=True):
        assert distance(own, expected) < 1e-6


def test_utterances_beyond_one_launch(
    interpreted: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interpreted, "INTERPRETED_PROCESSORS", 4)
    tensors = operands(2, 2, 150, 20)  # 128 utterances a launch
    results = both_ways(interpreted, tensors)
    for own, expected in zip(results, in_double(tensors), strict=True):
        assert distance(own, expected) < 1e-6


def test_programs_grow_until_all_have_a_processor(interpreted: ModuleType) -> None:
    units = interpreted._units
    assert [units(2, size, 1, 132) for size in (528, 529, 1057, 2112)] == [8, 16, 32, 32]
    assert [units(2, 500, groups, 132) for groups in (1, 2, 3, 4, 5)] == [8, 16, 32, 32, 32]
    assert units(2, 2113, 1, 132) == 0


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("directions", "frames", "batch", "size"),
    [(2, 900, 1, 500), (2, 700, 31, 500), (2, 60, 300, 500), (1, 50, 20, 1000), (2, 40, 9, 1300)],
)
def test_on_a_gpu_it_is_the_plain_recurrence(
    directions: int, frames: int, batch: int, size: int
) -> None:
    tensors = operands(directions, frames, batch, size, "cuda")
    passes = importlib.import_module(MODULE)
    assert passes.fits(tensors[0].device, directions, size)
    expected = in_double(tensors)
    for _ in range(3):  # a step that did not wait shows now and then
        for own, exact in zip(both_ways(passes, tensors), expected, strict=True):
            assert distance(own, exact) < 1e-5


@pytest.mark.gpu
@pytest.mark.parametrize("cell", ["peephole", "lstm", "gru", "tanh"])
def test_a_gpu_gives_what_the_cpu_gives(cell: Cell) -> None:
    torch.manual_seed(1)
    features, lengths = torch.randn(5, 80, 24), torch.tensor([80, 3, 77, 50, 1])
    network = RecurrentStack(24, 100, 3, cell=cell)
    results = []
    for device in (choose_device("cpu"), choose_device("cuda")):
        network.to(device)
        output = network(features.to(device), lengths.to(device))
        network.zero_grad()
        output.square().sum().backward()
        results.append([output, *(parameter.grad for parameter in network.parameters())])
    for expected, own in zip(*results, strict=True):
        assert distance(own, expected.cpu().double()) < 1e-4
