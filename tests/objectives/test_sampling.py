import numpy as np
import pytest
import torch
from torch import Tensor

from asr.objectives.sampling import sample_alignments, with_gradient
from tests.objectives.sampling_reference import random_log_probs, seeded


def p_value(counts: Tensor, probs: Tensor) -> float:
    """Of Pearson's chi-square test of counts (N,) against probabilities (N,)."""
    expected = probs * counts.sum()
    statistic = ((counts - expected) ** 2 / expected).sum()
    freedom = torch.tensor((len(probs) - 1) / 2, dtype=torch.float64)
    return float(torch.special.gammaincc(freedom, statistic / 2))


def joint_probs(log_probs: Tensor, power: float = 1.0) -> Tensor:
    """(V ** 3,) probabilities of the labels of three independent frames, perhaps sharpened."""
    one, two, three = (power * log_probs).softmax(dim=-1)
    return (one[:, None, None] * two[:, None] * three).flatten()


def test_frames_are_drawn_independently_with_their_own_probabilities() -> None:
    log_probs = random_log_probs(1, 3, 4)
    drawn = sample_alignments(log_probs, torch.tensor([3]), 200_000, seeded())[0]
    places = drawn @ torch.tensor([16, 4, 1])
    counts = torch.bincount(places, minlength=64).double()
    assert p_value(counts, joint_probs(log_probs[0])) > 1e-4
    assert p_value(counts, joint_probs(log_probs[0], power=1.03)) < 1e-4  # a control
    assert p_value(counts, joint_probs(log_probs[0].flip(0))) < 1e-4  # frames are told apart


def test_what_has_no_probability_is_never_drawn() -> None:
    probs = torch.tensor([[[0.0, 0.3, 0.0, 0.7, 0.0]]], dtype=torch.float64)
    drawn = sample_alignments(probs.log(), torch.tensor([1]), 100_000, seeded())
    assert set(drawn.unique().tolist()) == {1, 3}


@pytest.mark.parametrize("number", [0.0, 1 - 2.0**-53])
def test_the_ends_of_the_random_numbers_draw_labels_that_have_probability(
    monkeypatch: pytest.MonkeyPatch, number: float
) -> None:
    """Whether the last number times a sum is rounded to the sum itself depends on the sum."""
    monkeypatch.setattr(torch, "rand", lambda shape, **_: torch.full(shape, number).double())
    wanted = 1 if number == 0 else 8
    for seed in range(50):
        log_probs = random_log_probs(1, 4, 10, seed=seed).float()
        log_probs[..., [0, 9]] = -torch.inf
        log_probs = log_probs.log_softmax(dim=-1)
        assert (sample_alignments(log_probs, torch.tensor([4]), 2) == wanted).all()


def test_improbable_labels_are_drawn_as_often_as_they_should_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In float32 the sum of 1 and 1e-12 is 1; here every tenth of the last 1e-11 is a label."""
    probs = torch.tensor([[[1 - 1e-11, *[1e-12] * 10]]], dtype=torch.float64)
    numbers = 1 - 1e-11 + 1e-12 * (torch.arange(10) + 0.5).double()
    monkeypatch.setattr(torch, "rand", lambda shape, **_: numbers.expand(shape))
    drawn = sample_alignments(probs.log().float(), torch.tensor([1]), 10)
    assert drawn.flatten().tolist() == list(range(1, 11))


def test_what_a_sum_lacks_is_missing_from_every_label(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not from the last one alone: scores in float32 add up to a little more or less than 1."""
    probs = torch.tensor([[[0.4998, 0.4997]]], dtype=torch.float64)
    numbers = torch.tensor([0.49999, 0.50001, 0.50008, 0.9999999], dtype=torch.float64)
    monkeypatch.setattr(torch, "rand", lambda shape, **_: numbers.expand(shape))
    drawn = sample_alignments(probs.log(), torch.tensor([1]), 4)
    assert drawn.flatten().tolist() == [0, 0, 1, 1]


def test_a_generator_decides_everything() -> None:
    log_probs, lengths = random_log_probs(2, 9, 5), torch.tensor([9, 9])
    state = torch.get_rng_state()
    first, again = (sample_alignments(log_probs, lengths, 3, seeded(1)) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, sample_alignments(log_probs, lengths, 3, seeded(2)))
    assert torch.equal(state, torch.get_rng_state())
    assert not torch.equal(first[0, 0], first[0, 1])


def test_without_a_generator_it_is_the_global_one() -> None:
    log_probs, lengths = random_log_probs(1, 9, 5), torch.tensor([9])
    with torch.random.fork_rng():
        torch.manual_seed(7)
        drawn = sample_alignments(log_probs, lengths, 3)
    assert torch.equal(drawn, sample_alignments(log_probs, lengths, 3, seeded(7)))


@pytest.mark.parametrize("garbage", [0.0, 50.0, torch.nan, torch.inf, -torch.inf])
def test_beyond_the_lengths_is_label_0_whatever_the_scores(garbage: float) -> None:
    log_probs, lengths = random_log_probs(3, 7, 4), torch.tensor([7, 2, 1])
    expected = sample_alignments(log_probs, lengths, 5, seeded())
    for row, length in zip(log_probs, lengths.tolist(), strict=True):
        row[length:] = garbage
    drawn = sample_alignments(log_probs, lengths, 5, seeded())
    assert torch.equal(drawn, expected)
    assert (drawn[1, :, 2:] == 0).all()
    assert (drawn[2, :, 1:] == 0).all()
    assert (drawn[0] != 0).any()


def test_float32_scores_draw_what_the_same_numbers_in_float64_do() -> None:
    log_probs, lengths = random_log_probs(2, 50, 30).float(), torch.tensor([50, 31])
    drawn = sample_alignments(log_probs, lengths, 20, seeded())
    assert drawn.shape == (2, 20, 50)
    assert drawn.dtype == torch.int64
    assert torch.equal(drawn, sample_alignments(log_probs.double(), lengths, 20, seeded()))


@pytest.mark.parametrize("wrong", [0.01, torch.nan, torch.inf])
def test_scores_that_are_not_normalised_are_refused(wrong: float) -> None:
    log_probs = random_log_probs(2, 4, 3)
    log_probs[1, 2] += wrong
    message = r"from log_softmax.* frame 2 of utterance 1 of the batch add up to (1\.01005|nan|inf)"
    with pytest.raises(ValueError, match=message):
        sample_alignments(log_probs, torch.tensor([4, 4]), 1)
    sample_alignments(log_probs, torch.tensor([4, 2]), 1)  # beyond the length nobody looks


def test_a_gradient_that_was_found_is_weighed_by_what_comes_after() -> None:
    log_probs = random_log_probs(2, 3, 4).requires_grad_()
    values, found = torch.tensor([0.5, 2.0]).double(), random_log_probs(2, 3, 4, seed=1)
    losses = with_gradient(log_probs, values, found)
    assert torch.equal(losses, values)
    (losses * torch.tensor([3.0, -1.0])).sum().backward()
    np.testing.assert_array_equal(log_probs.grad[0], 3 * found[0])
    np.testing.assert_array_equal(log_probs.grad[1], -found[1])


def test_there_is_no_second_derivative() -> None:
    log_probs = random_log_probs(2, 3, 4).requires_grad_()
    losses = with_gradient(log_probs, torch.ones(2).double(), random_log_probs(2, 3, 4, seed=1))
    with pytest.raises(RuntimeError, match="found by sampling has no derivative: go backward with"):
        torch.autograd.grad(losses.sum(), log_probs, create_graph=True)
