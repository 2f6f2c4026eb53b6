"""The transducer loss against the enumeration of all paths, closed forms and torchaudio."""

import math
import warnings
from itertools import product

import pytest
import torch
import torchaudio
from torch import Tensor

from asr.objectives.transducer import transducer_loss
from tests.objectives.transducer_reference import (
    GARBAGE,
    SIZES,
    Batch,
    alone,
    enumerated_arcs,
    enumerated_cost,
    every_path,
    made_batch,
    made_logits,
    normal,
    one,
)

VOCABULARY = 5
LAST = VOCABULARY - 1


def learnt(
    logits: Tensor, batch: Batch, weights: Tensor | None = None, **settings: object
) -> tuple[Tensor, Tensor]:
    """The costs, and the gradient of their weighted sum with respect to the logits."""
    leaf = logits.detach().clone().requires_grad_()
    costs = transducer_loss(leaf, *batch, **settings)
    costs.backward(torch.ones_like(costs) if weights is None else weights.to(costs))
    return costs.detach(), leaf.grad


def repeated(frames: int, targets: Tensor) -> Batch:
    """Utterances of the same frames, each with its row of targets (B, U)."""
    lengths = torch.full((len(targets),), 1)
    return Batch(targets, frames * lengths, targets.shape[1] * lengths)


@pytest.mark.parametrize(("frames", "tokens"), SIZES)
def test_the_enumeration_has_every_way_to_put_tokens_between_blanks(
    frames: int, tokens: int
) -> None:
    target = [1, 2, 2, 1][:tokens]
    paths = every_path(frames, target).tolist()
    assert len(set(map(str, paths))) == len(paths) == math.comb(frames + tokens - 1, tokens)
    for path in paths:
        symbols = [symbol for _, _, symbol in path]
        assert [symbol for symbol in symbols if symbol] == target
        assert symbols.count(0) == frames
        assert symbols[-1] == 0
        for step, (t, u, _) in enumerate(path):
            assert t == symbols[:step].count(0)
            assert t + u == step


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("blank", [0, 2, LAST])
@pytest.mark.parametrize("seed", range(3))
def test_costs_and_gradients_are_those_of_all_paths(blank: int, seed: int, device: str) -> None:
    """Utterances of all sizes in one batch, weighted; autograd goes through the enumeration."""
    batch = made_batch(SIZES, VOCABULARY, blank=blank, seed=seed)
    logits = made_logits(batch, VOCABULARY, seed=seed).requires_grad_()
    weights = normal(len(SIZES), seed=seed + 1)
    expected = torch.stack([enumerated_cost(*each, blank) for each in alone(batch, logits)])
    expected.backward(weights)
    costs, found = learnt(logits.to(device), batch, weights, blank=blank)
    torch.testing.assert_close(costs.cpu(), expected.detach(), rtol=0, atol=1e-10)
    torch.testing.assert_close(found.cpu(), logits.grad, rtol=0, atol=1e-10)


def test_the_gradient_is_the_node_s_probabilities_less_those_of_its_arcs() -> None:
    batch = made_batch(SIZES, VOCABULARY)
    logits = made_logits(batch, VOCABULARY)
    _, gradient = learnt(logits, batch)
    for (own, target), (found, _) in zip(alone(batch, logits), alone(batch, gradient), strict=True):
        through = enumerated_arcs(own, target)
        expected = through.sum(dim=-1, keepdim=True) * own.softmax(dim=-1) - through
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("garbage", GARBAGE)
def test_what_lies_beyond_the_lengths_changes_nothing(garbage: float) -> None:
    batch = made_batch(SIZES, VOCABULARY)
    logits = made_logits(batch, VOCABULARY)
    costs, gradient = learnt(logits, batch)
    filled = logits.masked_fill(batch.beyond()[..., None], garbage)
    targets = batch.targets.masked_fill(batch.targets < 0, 0)
    others, found = learnt(filled, batch._replace(targets=targets))
    assert torch.equal(others, costs)
    assert torch.equal(found, gradient)
    assert (found[batch.beyond()] == 0).all()
    assert found[~batch.beyond()].all()
    for index, (own, target) in enumerate(alone(batch, logits)):
        cost, by_itself = learnt(own[None], one(len(own), target))
        assert torch.equal(cost, costs[index : index + 1])
        assert torch.equal(by_itself[0], gradient[index, : len(own), : len(target) + 1])


def test_gradcheck() -> None:
    batch = made_batch([(4, 3), (2, 3), (3, 0), (1, 2)], 4, blank=1)
    logits = made_logits(batch, 4).requires_grad_()
    torch.autograd.gradcheck(lambda logits: transducer_loss(logits, *batch, blank=1), logits)


def test_without_tokens_the_cost_is_that_of_blanks_alone() -> None:
    logits = normal(2, 5, 1, 4)
    costs = transducer_loss(
        logits, *Batch(torch.empty(2, 0).long(), *torch.tensor([[5, 3], [0, 0]]))
    )
    blanks = -logits.log_softmax(dim=-1)[:, :, 0, 0]
    torch.testing.assert_close(costs, torch.stack([blanks[0].sum(), blanks[1, :3].sum()]))


def test_in_one_frame_all_tokens_and_then_a_blank_are_emitted() -> None:
    logits, target = normal(1, 1, 7, 4), [3, 1, 1, 2, 3, 3]
    cost = transducer_loss(logits, *one(1, target))
    log_probs = logits.log_softmax(dim=-1)[0, 0]
    torch.testing.assert_close(cost[0], -log_probs[range(7), [*target, 0]].sum())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("frames", "tokens"), [(7, 3), (1, 9), (9, 0), (4, 30), (400, 60)])
def test_a_uniform_model_counts_paths(frames: int, tokens: int, dtype: torch.dtype) -> None:
    symbols = 30
    logits = torch.full((1, frames, tokens + 1, symbols), 3.0, dtype=dtype)
    cost = transducer_loss(logits, *one(frames, [1 + u % 29 for u in range(tokens)]))
    expected = (frames + tokens) * math.log(symbols)
    expected -= math.log(math.comb(frames + tokens - 1, tokens))
    assert cost.item() == pytest.approx(expected, rel=1e-12 if dtype is torch.float64 else 1e-6)
    assert cost.dtype == dtype


def network(histories: Tensor, frames: int) -> Tensor:
    """(B, T, U + 1, 3) logits of a model of two tokens that knows what it has just emitted."""
    before = torch.cat([torch.zeros(len(histories), 1).long(), histories], dim=1)
    recent = normal(3, 3, seed=1)[before]
    earlier = normal(3, 3, seed=2)[before.cumsum(dim=1) % 3]
    return normal(frames, 1, 3, seed=3) + (recent + earlier)[:, None]


def outputs(length: int) -> Tensor:
    """(2 ** U, U) all token sequences of a length."""
    return torch.tensor(list(product([1, 2], repeat=length)), dtype=torch.int64)


def test_the_probabilities_of_all_outputs_add_up_to_one() -> None:
    """What is longer than ten tokens is improbable where the blank is likely."""
    masses = []
    for length in range(11):
        logits = network(outputs(length), 3)
        logits[..., 0] += 1
        costs = transducer_loss(logits, *repeated(3, outputs(length)))
        masses.append((-costs).exp().sum())
    totals = torch.stack(masses).cumsum(dim=0)
    assert (totals.diff() > 0).all()
    assert totals[0] < 0.6
    assert 0.999 < totals[-1] < 1


@pytest.mark.parametrize("frames", [1, 2, 4])
@pytest.mark.parametrize("blank", [0.5, 0.8])
def test_how_many_tokens_come_where_every_blank_is_as_probable(frames: int, blank: float) -> None:
    """A negative binomial distribution, whichever tokens the model prefers."""
    for length in range(7):
        logits = network(outputs(length), frames)
        logits[..., 0] = logits[..., 1:].logsumexp(dim=-1) + math.log(blank / (1 - blank))
        costs = transducer_loss(logits, *repeated(frames, outputs(length)))
        ways = math.comb(frames + length - 1, length)
        expected = ways * blank**frames * (1 - blank) ** length
        assert (-costs).exp().sum().item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("tokens", [0, 1, 3, 8])
def test_where_frames_do_not_know_the_tokens_there_is_a_closed_form(tokens: int) -> None:
    """An additive joint with a constant prediction: frame t is a model p_t of its own.

    A token U times, put on T frames, is the complete symmetric polynomial of its probabilities,
    which is a sum of p_t^(U + T - 1) / prod_s (p_t - p_s) where they all differ.
    """
    encoded, predicted = normal(1, 4, 3), normal(1, 1, 3, seed=1).expand(1, tokens + 1, 3)
    cost = transducer_loss(encoded[:, :, None] + predicted[:, None], *one(4, [2] * tokens))
    probs = (encoded[0] + predicted[0, :1]).softmax(dim=-1)
    token = probs[:, 2].tolist()
    polynomial = sum(
        p ** (tokens + 3) / math.prod(p - q for s, q in enumerate(token) if s != t)
        for t, p in enumerate(token)
    )
    assert math.exp(-cost.item()) == pytest.approx(probs[:, 0].prod().item() * polynomial, rel=1e-9)


def test_log_probabilities_are_logits_and_constants_do_not_matter() -> None:
    batch = made_batch(SIZES, VOCABULARY)
    logits = made_logits(batch, VOCABULARY)
    costs, gradient = learnt(logits, batch)
    for same in (logits.log_softmax(dim=-1), logits + normal(*logits.shape[:3], 1)):
        others, found = learnt(same, batch)
        torch.testing.assert_close(others, costs, rtol=0, atol=1e-10)
        torch.testing.assert_close(found, gradient, rtol=0, atol=1e-10)


def test_another_blank_gives_the_costs_of_renamed_symbols() -> None:
    batch = made_batch(SIZES, VOCABULARY, blank=LAST)
    logits = made_logits(batch, VOCABULARY)
    costs = transducer_loss(logits, *batch, blank=LAST)
    renamed = batch._replace(targets=batch.targets + 1)
    torch.testing.assert_close(costs, transducer_loss(logits.roll(1, dims=-1), *renamed))


@pytest.mark.parametrize("symbol", [0, LAST])
@pytest.mark.parametrize("column", range(3))
@pytest.mark.parametrize("frame", range(3))
def test_nan_anywhere_is_the_cost_of_its_own_utterance_alone(
    frame: int, column: int, symbol: int
) -> None:
    batch = made_batch([(3, 2)] * 3, VOCABULARY)
    logits = made_logits(batch, VOCABULARY)
    costs, gradient = learnt(logits, batch)
    logits[1, frame, column, symbol] = math.nan
    others, found = learnt(logits, batch)
    assert others[1].isnan()
    assert found[1].isnan().any()
    assert torch.equal(others[[0, 2]], costs[[0, 2]])
    assert torch.equal(found[[0, 2]], gradient[[0, 2]])


def test_symbols_of_probability_zero_are_never_taken() -> None:
    """Of three utterances, one never needs them, one has a way around, and one has none."""
    batch = Batch(torch.tensor([[1, 2]] * 3), torch.tensor([3] * 3), torch.tensor([2] * 3))
    logits = made_logits(batch, VOCABULARY)
    logits[0, ..., 3] = -math.inf
    logits[1, 0, 0, 1] = -math.inf
    logits[2, :, 1, 2] = -math.inf
    leaf = logits.clone().requires_grad_()
    expected = torch.stack([enumerated_cost(*each) for each in alone(batch, leaf)])
    expected[:2].sum().backward()
    costs, found = learnt(logits, batch)
    torch.testing.assert_close(costs[:2], expected[:2].detach(), rtol=0, atol=1e-10)
    torch.testing.assert_close(found[:2], leaf.grad[:2], rtol=0, atol=1e-10)
    assert costs[2] == expected[2] == math.inf
    assert (found[2] == 0).all()


@pytest.mark.parametrize(
    ("sizes", "vocabulary"),
    [
        ([(50, 20), (31, 20), (50, 3), (7, 12)], 30),
        ([(200, 40), (180, 33)], 100),
        ([(1, 5), (1, 1), (1, 3)], 7),
        ([(9, 1)], 2),
        ([(4, 30), (2, 9)], 11),
    ],
)
@pytest.mark.parametrize("blank", ["first", "last"])
def test_float32_agrees_with_torchaudio(
    sizes: list[tuple[int, int]], vocabulary: int, blank: str
) -> None:
    """Its lattice is float32, so that gradients lose what logarithms as large as the cost lose."""
    index = {"first": 0, "last": vocabulary - 1}[blank]
    batch = made_batch(sizes, vocabulary, blank=index)
    batch = batch._replace(targets=batch.targets.clamp(min=0))
    logits = made_logits(batch, vocabulary).float()
    costs, gradient = learnt(logits, batch, blank=index)
    leaf = logits.clone().requires_grad_()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchaudio is going to drop it
        expected = torchaudio.functional.rnnt_loss(
            leaf, *(part.int() for part in batch), blank=index, reduction="none"
        )
    expected.sum().backward()
    torch.testing.assert_close(costs, expected.detach(), rtol=1e-6, atol=0)
    rounding = 2 * torch.finfo(torch.float32).eps * costs.max()
    assert apart(gradient, leaf.grad) < 1e-5 + rounding
    exact, precise = learnt(logits.double(), batch, blank=index)
    torch.testing.assert_close(costs.double(), exact, rtol=2e-7, atol=0)
    assert apart(gradient, precise) < 1e-6


def apart(one: Tensor, other: Tensor) -> Tensor:
    """The distance of two gradients, relative to the second."""
    return (one - other).norm() / other.norm()
