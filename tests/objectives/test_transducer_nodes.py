"""Chunks of nodes, and the gradient where the path may be."""

import math

import pytest
import torch
from torch import Tensor

from asr.objectives import transducer_nodes
from asr.objectives.transducer import transducer_loss
from asr.objectives.transducer_nodes import Lattices
from tests.objectives.transducer_reference import SIZES, Batch, made_batch, made_logits

DTYPES = [torch.float32, torch.float64]


@pytest.mark.parametrize("values", [1, 60, 1 << 20])
def test_chunks_have_every_node_once_and_no_padding(
    monkeypatch: pytest.MonkeyPatch, values: int
) -> None:
    monkeypatch.setattr(transducer_nodes, "CHUNK_VALUES", values)
    batch = made_batch(SIZES, 4)
    times = torch.zeros(batch.beyond().shape)
    for place in Lattices(*batch, 0).chunks(6):
        part = times[place.nodes]
        part += 1
        assert part.shape[0] == 1 or 6 * part.numel() <= values
        assert times[place.frames][0, place.first : place.last].all()
        assert place.columns == (place.utterance, slice(0, len(batch.target(place.utterance)) + 1))
    assert torch.equal(times, (~batch.beyond()).float())


def gradient(batch: Batch, logits: Tensor, blank: int = 0) -> Tensor:
    leaf = logits.clone().requires_grad_()
    transducer_loss(leaf, *batch, blank=blank).sum().backward()
    return leaf.grad


@pytest.mark.parametrize("values", [1, 5000, 1 << 20])
@pytest.mark.parametrize("dtype", DTYPES)
def test_chunks_of_any_size_give_the_same_gradient(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, values: int
) -> None:
    batch = made_batch([(60, 12), (41, 20), (1, 3), (5, 0)], 20)
    logits = made_logits(batch, 20).to(dtype)
    expected = gradient(batch, logits)
    monkeypatch.setattr(transducer_nodes, "CHUNK_VALUES", values)
    torch.testing.assert_close(gradient(batch, logits), expected)


def unpruned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep every arc, and every product however small."""
    monkeypatch.setattr(transducer_nodes, "_without_dust", lambda probabilities: probabilities)
    monkeypatch.setattr(transducer_nodes, "_flush", lambda values: None)


def far(batch: Batch, dtype: torch.dtype) -> Tensor:
    """Logits of 20 symbols, of which the last is so improbable that it is a denormal number."""
    logits = made_logits(batch, 20).to(dtype)
    logits[..., -1] = math.log(torch.finfo(dtype).tiny)
    return logits


@pytest.mark.parametrize(("dtype", "near"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
def test_the_gradient_is_left_out_only_where_it_would_not_be_seen(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, near: float
) -> None:
    batch = made_batch([(300, 40), (300, 40), (170, 21)], 19)
    logits = far(batch, dtype)
    found = gradient(batch, logits)
    unpruned(monkeypatch)
    expected = gradient(batch, logits)
    real = ~batch.beyond()
    assert (found - expected).norm() < near * expected.norm()
    assert (found - expected).abs().max() < 2 * torch.finfo(dtype).eps ** 2  # a node has two arcs
    without = (found[real] == 0).all(dim=-1).float().mean()
    assert without > 0.3 > (expected[real] == 0).all(dim=-1).float().mean()


@pytest.mark.parametrize("dtype", DTYPES)
def test_no_number_of_the_gradient_is_denormal(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype
) -> None:
    batch = made_batch([(300, 40), (170, 21)], 19)
    logits = far(batch, dtype)
    assert not denormal(gradient(batch, logits)).any()
    unpruned(monkeypatch)
    assert denormal(gradient(batch, logits)).any()


def denormal(values: Tensor) -> Tensor:
    return (values != 0) & (values.abs() < torch.finfo(values.dtype).tiny)


def test_a_path_is_looked_for_only_in_columns_that_it_may_pass() -> None:
    """Two tokens that must come in the last two frames, of ten."""
    batch = Batch(torch.tensor([[1, 2], [1, 2]]), *torch.tensor([[10, 10], [2, 2]]))
    log_probs = torch.zeros(2, 10, 3, 4, dtype=torch.float64)
    log_probs[0, :8, :, 1] = -math.inf
    log_probs[1, :, :, 2] = -math.inf
    lattices = Lattices(*batch, 0)
    lattices.open(log_probs, 10)
    for place in lattices.chunks(4):
        lattices.note(place, log_probs[place.nodes])
    assert lattices.finish().isfinite().tolist() == [True, False]
    whole, impossible = lattices.chunks(4)
    assert lattices.probable(whole) == whole
    early = whole._replace(end=8)
    assert lattices.probable(early) == early._replace(last=1)
    late = whole._replace(begin=8)
    assert lattices.probable(late) == late
    assert lattices.probable(impossible) is None
