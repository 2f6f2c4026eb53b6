"""CTC against the enumeration of every alignment, closed forms, and what the guard refuses."""

import math
from dataclasses import dataclass
from functools import cache
from itertools import groupby, product

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from asr.errors import DataError
from asr.objectives.ctc import CTCConfig, check_targets, ctc_loss, frames_needed

CASES = [(frames, labels) for frames in range(1, 7) for labels in range(1, 4)]
SEEDS = 15


@dataclass(frozen=True)
class Enumeration:
    """Every labelling that some alignment of T frames over V symbols has, with its alignments."""

    labellings: list[tuple[int, ...]]
    alignments: np.ndarray  # (V ** T, T) symbols
    labelling_of: np.ndarray  # (V ** T,) index into labellings

    def probabilities(self, log_probs: Tensor) -> np.ndarray:
        """Pr(y) of each labelling: (Y,), by summing its alignments; `log_probs` (T, V)."""
        return np.bincount(self.labelling_of, self.paths(log_probs))

    def paths(self, log_probs: Tensor) -> np.ndarray:
        frames = np.arange(len(log_probs))
        return np.exp(log_probs.numpy()[frames, self.alignments].sum(axis=1))

    def occupancies(self, log_probs: Tensor) -> np.ndarray:
        """Pr(a_t = k | y): (Y, T, V)."""
        frames, symbols = log_probs.shape
        paths, total = self.paths(log_probs), self.probabilities(log_probs)
        result = np.zeros((len(total), frames, symbols))
        for t in range(frames):
            np.add.at(result, (self.labelling_of, t, self.alignments[:, t]), paths)
        return result / total[:, None, None]


@cache
def enumerate_alignments(frames: int, labels: int) -> Enumeration:
    alignments = np.array(list(product(range(labels + 1), repeat=frames)))
    collapsed = [tuple(k for k, _ in groupby(a) if k != 0) for a in alignments.tolist()]
    labellings = sorted(set(collapsed))
    index = {labelling: number for number, labelling in enumerate(labellings)}
    return Enumeration(labellings, alignments, np.array([index[y] for y in collapsed]))


def random_log_probs(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(*shape, dtype=torch.float64, generator=generator)
    return logits.log_softmax(dim=-1)


def padded(labellings: list[tuple[int, ...]]) -> tuple[Tensor, Tensor]:
    lengths = torch.tensor([len(labelling) for labelling in labellings])
    targets = torch.zeros(len(labellings), int(lengths.max()), dtype=torch.int64)
    for row, labelling in zip(targets, labellings, strict=True):
        row[: len(labelling)] = torch.tensor(labelling)
    return targets, lengths


def costs(log_probs: Tensor, labellings: list[tuple[int, ...]]) -> Tensor:
    """The cost of every labelling given the same (T, V) log_probs."""
    batch = len(labellings)
    targets, target_lengths = padded(labellings)
    lengths = torch.full((batch,), len(log_probs))
    return ctc_loss(log_probs.expand(batch, -1, -1), lengths, targets, target_lengths)


@pytest.mark.parametrize(("frames", "labels"), CASES)
def test_costs_are_the_sums_over_every_alignment(frames: int, labels: int) -> None:
    everything = enumerate_alignments(frames, labels)
    for seed in range(SEEDS):
        log_probs = random_log_probs(frames, labels + 1, seed=seed)
        expected = -np.log(everything.probabilities(log_probs))
        np.testing.assert_allclose(costs(log_probs, everything.labellings), expected, atol=1e-10)


def test_the_enumeration_has_ten_thousand_cases_with_repeats_and_empty_targets() -> None:
    everything = [enumerate_alignments(*case).labellings for case in CASES]
    assert sum(len(labellings) for labellings in everything) * SEEDS > 10_000
    assert all(() in labellings for labellings in everything)
    assert (1, 1, 2) in enumerate_alignments(4, 2).labellings


@pytest.mark.parametrize(("frames", "labels"), CASES)
def test_the_probabilities_of_all_labellings_add_up_to_one(frames: int, labels: int) -> None:
    labellings = enumerate_alignments(frames, labels).labellings
    total = costs(random_log_probs(frames, labels + 1), labellings).neg().exp().sum()
    assert total.item() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(("frames", "labels"), CASES)
def test_every_labelling_is_enumerated_or_refused(frames: int, labels: int) -> None:
    """Feasible is exactly what some alignment turns into."""
    reachable = set(enumerate_alignments(frames, labels).labellings)
    for length in range(frames + 2):
        for labelling in product(range(1, labels + 1), repeat=length):
            assert (frames_needed(labelling) <= frames) == (labelling in reachable)


@pytest.mark.parametrize(("frames", "labels"), [(1, 1), (3, 2), (5, 3)])
def test_the_gradient_is_probability_minus_occupancy(frames: int, labels: int) -> None:
    everything = enumerate_alignments(frames, labels)
    logits = random_log_probs(frames, labels + 1).requires_grad_()
    copies = logits.expand(len(everything.labellings), -1, -1).clone()
    copies.retain_grad()
    targets, target_lengths = padded(everything.labellings)
    lengths = torch.full((len(copies),), frames)
    ctc_loss(copies.log_softmax(dim=-1), lengths, targets, target_lengths).sum().backward()
    probs = logits.detach().softmax(dim=-1)
    occupancies = everything.occupancies(probs.log())
    np.testing.assert_allclose(copies.grad, probs.numpy() - occupancies, atol=1e-10)


def test_gradcheck() -> None:
    targets = torch.tensor([[1, 1, 2], [3, 0, 0], [0, 0, 0]])
    lengths, target_lengths = torch.tensor([5, 4, 3]), torch.tensor([3, 1, 0])

    def cost(logits: Tensor) -> Tensor:
        return ctc_loss(logits.log_softmax(dim=-1), lengths, targets, target_lengths)

    torch.autograd.gradcheck(cost, random_log_probs(3, 5, 4).requires_grad_())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("frames", "tokens", "repeats"), [(7, 3, 0), (50, 20, 5), (300, 80, 79)])
def test_a_uniform_model_counts_alignments(
    frames: int, tokens: int, repeats: int, dtype: torch.dtype
) -> None:
    """The blanks that part equal neighbours are forced; the others leave this many choices."""
    symbols = 30
    target = [1 + position % 2 for position in range(tokens - repeats)]
    target += [target[-1]] * repeats
    alignments = math.comb(frames + tokens - repeats, 2 * tokens)
    log_probs = torch.full((1, frames, symbols), -math.log(symbols), dtype=dtype)
    cost = ctc_loss(
        log_probs, torch.tensor([frames]), torch.tensor([target]), torch.tensor([tokens])
    )
    expected = frames * math.log(symbols) - math.log(alignments)
    relative = 1e-12 if dtype is torch.float64 else 1e-5
    assert cost.item() == pytest.approx(expected, rel=relative)
    assert cost.dtype == dtype


def test_padding_changes_neither_costs_nor_gradients() -> None:
    lengths, target_lengths = torch.tensor([9, 4, 1, 6]), torch.tensor([3, 2, 0, 3])
    targets = torch.tensor([[1, 2, 2], [3, 1, -7], [99, 0, 5], [4, 4, 1]])
    logits = random_log_probs(4, 9, 5)
    for garbage in (0.0, 50.0, math.nan):
        batch = logits.clone()
        for row, length in zip(batch, lengths.tolist(), strict=True):
            row[length:] = garbage
        log_probs = batch.log_softmax(dim=-1).requires_grad_()
        together = ctc_loss(log_probs, lengths, targets, target_lengths)
        together.sum().backward()
        for index, (frames, tokens) in enumerate(
            zip(lengths.tolist(), target_lengths.tolist(), strict=True)
        ):
            own = logits[index : index + 1, :frames].log_softmax(dim=-1).requires_grad_()
            alone = ctc_loss(
                own,
                lengths[index : index + 1],
                targets[index : index + 1, :tokens],
                target_lengths[index : index + 1],
            )
            alone.backward()
            assert alone.item() == pytest.approx(together[index].item(), abs=1e-12)
            torch.testing.assert_close(log_probs.grad[index, :frames], own.grad[0])
            assert (log_probs.grad[index, frames:] == 0).all()


def test_without_tokens_the_cost_is_that_of_blanks_alone() -> None:
    log_probs = random_log_probs(2, 5, 4)
    no_targets = torch.zeros(2, 0, dtype=torch.int64)
    cost = ctc_loss(log_probs, torch.tensor([5, 3]), no_targets, torch.tensor([0, 0]))
    expected = torch.stack([-log_probs[0, :, 0].sum(), -log_probs[1, :3, 0].sum()])
    torch.testing.assert_close(cost, expected)


def test_another_blank_gives_the_cost_of_renamed_symbols() -> None:
    log_probs = random_log_probs(1, 6, 4)
    lengths = torch.tensor([6]), torch.tensor([2])
    last = ctc_loss(log_probs, lengths[0], torch.tensor([[0, 0]]), lengths[1], blank=3)
    renamed = log_probs[:, :, [3, 0, 1, 2]]
    torch.testing.assert_close(
        last, ctc_loss(renamed, lengths[0], torch.tensor([[1, 1]]), lengths[1])
    )


def test_nothing_that_is_not_finite_is_hidden() -> None:
    log_probs = random_log_probs(3, 4, 3)
    log_probs[0, 2] = math.nan
    log_probs[1, :, 1] = -math.inf
    lengths, targets = torch.tensor([4, 4, 4]), torch.tensor([[1], [1], [1]])
    cost = ctc_loss(log_probs, lengths, targets, torch.tensor([1, 1, 1]))
    assert math.isnan(cost[0])
    assert cost[1] == math.inf
    torch.testing.assert_close(cost[2:], ctc_loss(log_probs[2:], *fits(frames=4, target=[1])))


def fits(*, frames: int, target: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    return torch.tensor([frames]), torch.tensor([target]), torch.tensor([len(target)])


@pytest.mark.parametrize("token", [6, 60, 600_000, -1, -100_000, 0])
def test_tokens_outside_the_vocabulary_are_refused(token: int) -> None:
    """Unguarded, torch's CPU kernel aborts, crashes, or returns a finite cost for these."""
    message = rf"'a' has targets outside the vocabulary \({token}\): tokens are 0 to 5 without"
    with pytest.raises(DataError, match=message):
        ctc_loss(random_log_probs(1, 9, 6), *fits(frames=9, target=[1, token]), ids=["a"])


@pytest.mark.parametrize(
    ("frames", "target", "needed"), [(1, [1, 2], 2), (2, [1, 1], 3), (4, [2, 2, 2], 5), (0, [], 1)]
)
def test_too_few_frames_are_refused(frames: int, target: list[int], needed: int) -> None:
    expected = f"utterance 0 of the batch has {frames} frames for {len(target)} tokens.* {needed} "
    lengths, _, target_lengths = fits(frames=frames, target=target)
    targets = torch.tensor([target], dtype=torch.int64)
    with pytest.raises(DataError, match=expected):
        ctc_loss(random_log_probs(1, 9, 4), lengths, targets, target_lengths)


def test_a_bad_batch_names_some_utterances_and_counts_the_others() -> None:
    targets = torch.full((8, 2), 1)
    with pytest.raises(DataError, match=r"'u1' has 2 frames.*'u5' .*; and 2 more utterances$"):
        check_targets(
            torch.tensor([3] + [2] * 7),
            targets,
            torch.full((8,), 2),
            num_frames=3,
            vocabulary_size=2,
            ids=[f"u{index}" for index in range(8)],
        )


def test_a_name_cannot_write_on_the_terminal() -> None:
    with pytest.raises(DataError, match=r"^utterance 'a\\x1b\[2J' has"):
        ctc_loss(random_log_probs(1, 9, 6), *fits(frames=9, target=[7]), ids=["a\x1b[2J"])


def test_what_padding_holds_is_not_checked() -> None:
    check_targets(
        torch.tensor([2]),
        torch.tensor([[1, 0, -5, 77]]),
        torch.tensor([1]),
        num_frames=2,
        vocabulary_size=2,
    )


GOOD = fits(frames=5, target=[1, 2])


@pytest.mark.parametrize(
    ("log_probs", "rest", "error", "message"),
    [
        (torch.zeros(5, 3), GOOD, ValueError, r"log_probs must be \(B, T, V\), got \(5, 3\)"),
        (torch.zeros(1, 5, 3).half(), GOOD, TypeError, "float32 or float64, got torch.float16"),
        (torch.zeros(2, 5, 3), GOOD, ValueError, "hold 2 utterances and targets 1"),
        (torch.zeros(0, 5, 3), GOOD, ValueError, "hold 0 utterances"),
        (torch.zeros(1, 4, 3), GOOD, ValueError, r"log_prob_lengths must be 0 to 4, got \[5\]"),
        (
            torch.zeros(1, 5, 3),
            (GOOD[0], GOOD[1], torch.tensor([3])),
            ValueError,
            r"target_lengths must be 0 to 2, got \[3\]",
        ),
        (
            torch.zeros(1, 5, 3),
            (GOOD[0], GOOD[1], torch.tensor([-1])),
            ValueError,
            r"target_lengths must be 0 to 2, got \[-1\]",
        ),
        (
            torch.zeros(1, 5, 3),
            (torch.tensor([5, 5]), *GOOD[1:]),
            ValueError,
            r"log_prob_lengths must be \(1,\), got \(2,\)",
        ),
        (
            torch.zeros(1, 5, 3),
            (GOOD[0], GOOD[1].int(), GOOD[2]),
            TypeError,
            "targets must be int64, got torch.int32",
        ),
        (
            torch.zeros(1, 5, 3),
            (GOOD[0], GOOD[1][0, :1], GOOD[2]),
            ValueError,
            r"targets must be \(B, U\), got \(1,\)",
        ),
    ],
)
def test_misuse_is_named(
    log_probs: Tensor, rest: tuple[Tensor, Tensor, Tensor], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        ctc_loss(log_probs, *rest)


def test_ids_must_be_as_many_as_utterances() -> None:
    with pytest.raises(ValueError, match="2 ids for 1 utterances"):
        ctc_loss(random_log_probs(1, 5, 3), *GOOD, ids=["a", "b"])


def test_agrees_with_torch_on_a_long_batch_in_float32() -> None:
    log_probs = random_log_probs(4, 400, 30).float()
    targets = torch.randint(1, 30, (4, 60), generator=torch.Generator().manual_seed(1))
    lengths, target_lengths = torch.tensor([400, 300, 200, 150]), torch.tensor([60, 30, 10, 1])
    expected = F.ctc_loss(
        log_probs.double().transpose(0, 1), targets, lengths, target_lengths, reduction="none"
    )
    cost = ctc_loss(log_probs, lengths, targets, target_lengths)
    torch.testing.assert_close(cost.double(), expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize(
    ("tokens", "frames"), [([], 1), ([1], 1), ([1, 2, 1], 3), ([1, 1], 3), ([2, 2, 2, 1], 6)]
)
def test_frames_needed(tokens: list[int], frames: int) -> None:
    assert frames_needed(tokens) == frames


def test_the_config_has_one_name_and_no_other_keys() -> None:
    assert CTCConfig().name == "ctc"
    with pytest.raises(ValueError, match="Extra inputs"):
        CTCConfig.model_validate({"name": "ctc", "zero_infinity": True})


@pytest.mark.gpu
def test_the_gpu_gives_the_costs_and_gradients_of_the_cpu() -> None:
    lengths, target_lengths = torch.tensor([50, 31, 1]), torch.tensor([12, 10, 0])
    targets = torch.randint(1, 9, (3, 12), generator=torch.Generator().manual_seed(2))
    results = []
    for device in ("cpu", "cuda"):
        logits = random_log_probs(3, 50, 9).to(device).requires_grad_()
        cost = ctc_loss(logits.log_softmax(dim=-1), lengths, targets, target_lengths)
        cost.sum().backward()
        results.append((cost.detach().cpu(), logits.grad.cpu()))
    torch.testing.assert_close(results[1], results[0])
