"""The loss of a joint network that is computed in chunks: as that of all logits, in less memory."""

import gc
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import save_on_cpu, saved_tensors_hooks
from torch.utils.checkpoint import checkpoint

from asr.objectives import transducer_nodes
from asr.objectives.transducer import joint_transducer_loss, transducer_loss
from tests.objectives.transducer_reference import (
    GARBAGE,
    SIZES,
    Batch,
    Joint,
    made_batch,
    normal,
)

SIZE, VOCABULARY = 6, 5
CHUNKS = {"one frame": 1, "some frames": 60, "all frames": 1 << 20}
Loss = Callable[..., Tensor]


class Added(nn.Module):
    """A joint network without parameters."""

    def forward(self, encoded: Tensor, predicted: Tensor) -> Tensor:
        return encoded + predicted


class Squashed(nn.Module):
    """One that needs its own output for the gradient."""

    def forward(self, encoded: Tensor, predicted: Tensor) -> Tensor:
        return torch.tanh(encoded + predicted)


class Watched(nn.Module):
    """A joint network that remembers the shapes and types of its logits."""

    def __init__(self, joint: nn.Module) -> None:
        super().__init__()
        self.joint, self.shapes, self.dtypes = joint, [], set()

    def forward(self, encoded: Tensor, predicted: Tensor) -> Tensor:
        logits = self.joint(encoded, predicted)
        self.shapes.append(tuple(logits.shape))
        self.dtypes.add(logits.dtype)
        return logits


def whole(
    joint: nn.Module, encoded: Tensor, predicted: Tensor, *batch: Tensor, **settings: object
) -> Tensor:
    """What the chunks are to give."""
    logits = joint(encoded[:, :, None], predicted[:, None])
    return transducer_loss(logits.to(encoded.dtype), *batch, **settings)


def made_joint(seed: int = 0, dtype: torch.dtype = torch.float64) -> Joint:
    joint = Joint(SIZE, VOCABULARY).to(dtype)
    for index, parameter in enumerate(joint.parameters()):
        parameter.data = normal(*parameter.shape, seed=seed + 10 + index, dtype=dtype)
    return joint


def made_inputs(batch: Batch, size: int = SIZE, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """What is encoded and what is predicted; both learn."""
    utterances, frames, columns = batch.beyond().shape
    encoded = normal(utterances, frames, size, seed=1, dtype=dtype)
    predicted = normal(utterances, columns, size, seed=2, dtype=dtype)
    return [encoded.requires_grad_(), predicted.requires_grad_()]


def learnt(
    loss: Loss, joint: nn.Module, inputs: list[Tensor], batch: Batch, **settings: object
) -> list[Tensor | None]:
    """The costs, and the gradients of their weighted sum by all that learns."""
    leaves = [*inputs, *joint.parameters()]
    for leaf in leaves:
        leaf.grad = None
    costs = loss(joint, *inputs, *batch, **settings)
    costs.backward(normal(len(costs), seed=3).to(costs))
    return [costs.detach(), *(leaf.grad for leaf in leaves)]


def assert_same(found: list[Tensor | None], expected: list[Tensor | None]) -> None:
    assert [part is None for part in found] == [part is None for part in expected]
    for one_part, other in zip(found, expected, strict=True):
        if other is not None:
            torch.testing.assert_close(one_part, other, rtol=1e-10, atol=1e-10)


@pytest.fixture(params=CHUNKS)
def chunks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(transducer_nodes, "CHUNK_VALUES", CHUNKS[request.param])
    return request.param


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("blank", [0, 3])
def test_costs_and_all_gradients_are_those_of_the_logits(
    chunks: str, blank: int, device: str
) -> None:
    batch = made_batch(SIZES, VOCABULARY, blank=blank)
    joint = Watched(made_joint()).to(device)
    inputs = [part.detach().to(device).requires_grad_() for part in made_inputs(batch)]
    found = learnt(joint_transducer_loss, joint, inputs, batch, blank=blank)
    frames = {frames for frames, _, _ in joint.shapes}
    assert frames == {"one frame": {1}, "some frames": {1, 2, 3, 4, 5}}.get(chunks, frames)
    assert_same(found, learnt(whole, joint, inputs, batch, blank=blank))
    assert all(part.any() for part in found)


def test_frozen_parameters_get_no_gradient(chunks: str) -> None:
    batch = made_batch(SIZES, VOCABULARY)
    joint, inputs = made_joint(), made_inputs(batch)
    everything = learnt(joint_transducer_loss, joint, inputs, batch)
    joint.output.weight.requires_grad_(False)
    *others, weight, bias = learnt(joint_transducer_loss, joint, inputs, batch)
    assert weight is None
    assert_same([*others, bias], [*everything[:-2], everything[-1]])
    joint.output.bias.requires_grad_(False)
    *others, weight, bias = learnt(joint_transducer_loss, joint, inputs, batch)
    assert weight is bias is None
    assert_same(others, everything[:-2])


def test_a_parameter_without_use_gets_zeros(chunks: str) -> None:
    batch = made_batch(SIZES, VOCABULARY)
    joint, inputs = made_joint(), made_inputs(batch)
    expected = learnt(whole, joint, inputs, batch)
    joint.unused = nn.Parameter(torch.ones(2, dtype=torch.float64))
    costs, encoded, predicted, unused, *others = learnt(joint_transducer_loss, joint, inputs, batch)
    assert_same([costs, encoded, predicted, *others], expected)
    assert (unused == 0).all()


@pytest.mark.parametrize("joint", [Added(), Squashed()])
def test_a_joint_without_parameters(chunks: str, joint: nn.Module) -> None:
    batch = made_batch(SIZES, VOCABULARY)
    inputs = made_inputs(batch, VOCABULARY)
    found = learnt(joint_transducer_loss, joint, inputs, batch)
    assert_same(found, learnt(whole, joint, inputs, batch))


@pytest.mark.parametrize("learns", [(False, True), (True, False), (False, False)])
def test_whatever_does_not_learn_gets_no_gradient(chunks: str, learns: tuple[bool, bool]) -> None:
    batch = made_batch(SIZES, VOCABULARY)
    joint, inputs = made_joint(), made_inputs(batch)
    for part, needed in zip(inputs, learns, strict=True):
        part.requires_grad_(needed)
    found = learnt(joint_transducer_loss, joint, inputs, batch)
    assert [part is not None for part in found[1:3]] == list(learns)
    assert_same(found, learnt(whole, joint, inputs, batch))


def test_where_nothing_learns_there_are_only_costs() -> None:
    batch = made_batch(SIZES, VOCABULARY)
    joint, inputs = made_joint(), made_inputs(batch)
    expected = joint_transducer_loss(joint, *inputs, *batch)
    with torch.no_grad():
        costs = joint_transducer_loss(joint, *inputs, *batch)
    assert torch.equal(costs, expected)
    assert expected.requires_grad
    assert not costs.requires_grad


@pytest.mark.parametrize("garbage", GARBAGE)
def test_what_lies_beyond_the_lengths_changes_nothing(chunks: str, garbage: float) -> None:
    batch = made_batch(SIZES, VOCABULARY)
    joint, inputs = made_joint(), made_inputs(batch)
    expected = learnt(joint_transducer_loss, joint, inputs, batch)
    columns = torch.arange(inputs[1].shape[1]) > batch.emitted[:, None]
    frames = torch.arange(inputs[0].shape[1]) >= batch.frames[:, None]
    filled = [
        part.detach().masked_fill(beyond[..., None], garbage).requires_grad_()
        for part, beyond in zip(inputs, (frames, columns), strict=True)
    ]
    found = learnt(joint_transducer_loss, joint, filled, batch)
    assert all(map(torch.equal, found, expected))
    assert (found[1][frames] == 0).all()
    assert (found[2][columns] == 0).all()


def test_gradcheck(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parameters are changed in place, so that the joint network need not be told."""
    monkeypatch.setattr(transducer_nodes, "CHUNK_VALUES", 40)
    batch = made_batch([(4, 2), (3, 3), (2, 0)], VOCABULARY)
    joint = made_joint()
    torch.autograd.gradcheck(
        lambda encoded, predicted, *_: joint_transducer_loss(joint, encoded, predicted, *batch),
        [*made_inputs(batch), *joint.parameters()],
    )


def test_impossible_utterances_cost_infinity_and_teach_nothing(chunks: str) -> None:
    batch = made_batch([(3, 2), (4, 2)], VOCABULARY)
    joint = Watched(Added())
    encoded, predicted = made_inputs(batch, VOCABULARY)
    encoded.data[0, ..., batch.target(0)[0]] = -math.inf
    costs = joint_transducer_loss(joint, encoded, predicted, *batch)
    forwards = len(joint.shapes)
    costs.sum().backward()
    assert costs.isinf().tolist() == [True, False]
    assert len(joint.shapes) == forwards + (4 if chunks == "one frame" else forwards // 2)
    for part in (encoded.grad, predicted.grad):
        assert (part[0] == 0).all()
        assert part[1].any()


def test_a_second_backward_gives_the_same(chunks: str) -> None:
    batch = made_batch(SIZES, VOCABULARY)
    joint, inputs = made_joint(), made_inputs(batch)
    leaves = [*inputs, *joint.parameters()]
    total = joint_transducer_loss(joint, *inputs, *batch).sum()
    first = torch.autograd.grad(total, leaves, retain_graph=True)
    assert all(map(torch.equal, torch.autograd.grad(total, leaves), first))
    logits = joint(inputs[0][:, :, None], inputs[1][:, None]).detach().requires_grad_()
    total = transducer_loss(logits, *batch).sum()
    first = torch.autograd.grad(total, logits, retain_graph=True)
    assert all(map(torch.equal, torch.autograd.grad(total, logits), first))


def test_what_is_saved_may_be_put_elsewhere_or_computed_again(chunks: str) -> None:
    """Tensors for the gradient then come back as others, but must stand for the same weights."""

    def elsewhere(*arguments: object) -> Tensor:
        with save_on_cpu():
            return joint_transducer_loss(*arguments)

    def again(*arguments: object) -> Tensor:
        return checkpoint(joint_transducer_loss, *arguments, use_reentrant=False)

    batch = made_batch(SIZES, VOCABULARY)
    joint, inputs = made_joint(), made_inputs(batch)
    expected = learnt(whole, joint, inputs, batch)
    assert_same(learnt(elsewhere, joint, inputs, batch), expected)
    assert_same(learnt(again, joint, inputs, batch), expected)


def noting(sizes: list[int]) -> Callable[[Tensor], Tensor]:
    """What is saved stays as it is, and its size is noted."""

    def note(part: Tensor) -> Tensor:
        sizes.append(part.numel())
        return part

    return note


def living() -> list[Tensor]:
    """All tensors that there are, those of other tests in the process too."""
    return [part for part in gc.get_objects() if type(part) is Tensor]


def test_no_logits_of_a_batch_are_ever_held(monkeypatch: pytest.MonkeyPatch) -> None:
    values, batch = 4000, made_batch([(40, 9), (31, 4), (40, 7)], 50)
    monkeypatch.setattr(transducer_nodes, "CHUNK_VALUES", values)
    joint, inputs = Watched(Joint(SIZE, 50).double()), made_inputs(batch)
    total = batch.beyond().numel() * 50
    sizes = {}
    for loss in (joint_transducer_loss, whole):
        saved: list[int] = []
        before = living()  # held, so that no other tensor gets the place of one of them
        known = set(map(id, before))
        with saved_tensors_hooks(noting(saved), lambda part: part):
            costs = loss(joint, *inputs, *batch)
            alive = max(part.numel() for part in living() if id(part) not in known)
            costs.sum().backward()
        sizes[loss] = max(saved), alive
        del costs, before
    assert max(sizes[joint_transducer_loss]) <= values < total / 10
    assert sizes[whole][0] >= total
    assert all(math.prod(shape) <= values for shape in joint.shapes[:-1])
    assert math.prod(joint.shapes[-1]) == total


@pytest.mark.parametrize("inside", [False, True])
def test_under_autocast_only_the_joint_network_is_rough(chunks: str, inside: bool) -> None:
    """Also where the gradient is computed, before or after autocast ends."""
    batch = made_batch([(30, 9), (17, 12), (4, 5)], VOCABULARY)
    joint = Watched(made_joint(dtype=torch.float32))
    inputs = made_inputs(batch, dtype=torch.float32)
    exact = learnt(whole, joint, inputs, batch)
    joint.dtypes.clear()

    def loss(*arguments: object) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return joint_transducer_loss(*arguments)

    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=inside):
        found = learnt(loss, joint, inputs, batch)
    assert joint.dtypes == {torch.bfloat16}
    for rough, part in zip(found, exact, strict=True):
        assert rough.dtype == torch.float32
        assert (rough - part).norm() < 0.03 * part.norm()
    torch.testing.assert_close(found[0], exact[0], rtol=0.01, atol=0)
