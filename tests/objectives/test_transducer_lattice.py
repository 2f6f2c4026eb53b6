"""Both ways through the lattice: compiled, by diagonals, and by all paths."""

import math
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from asr.objectives.transducer_lattice import by_diagonals, occupancies
from tests.objectives.transducer_reference import (
    GARBAGE,
    SIZES,
    Batch,
    alone,
    enumerated_arcs,
    enumerated_cost,
    made_batch,
    made_logits,
    normal,
)

Lattice = Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]
WAYS = [occupancies, by_diagonals]


def made_arcs(batch: Batch, logits: Tensor) -> tuple[Tensor, Tensor]:
    """(B, T, U + 1) and (B, T, U) log-probabilities of blanks and of the next tokens."""
    log_probs = logits.log_softmax(dim=-1)
    index = batch.targets.clamp(min=0)[:, None, :, None].expand(-1, logits.shape[1], -1, 1)
    return log_probs[..., 0], log_probs[:, :, :-1].gather(-1, index)[..., 0]


def random_arcs(batch: Batch, *, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Log-probabilities of two arcs a node, between which something is left for other symbols."""
    both = (2 * normal(*batch.beyond().shape, 3)).log_softmax(dim=-1).to(dtype)
    return both[..., 0], both[:, :, :-1, 1]


def token_padding(batch: Batch) -> Tensor:
    """(B, T, U) whether an arc of a token is padding."""
    return batch.beyond()[:, :, 1:]


@pytest.mark.parametrize("lattice", WAYS)
def test_arcs_are_as_probable_as_the_paths_through_them(lattice: Lattice) -> None:
    batch = made_batch(SIZES, 4)
    logits = made_logits(batch, 4)
    costs, blanks, tokens = lattice(*made_arcs(batch, logits), batch.frames, batch.emitted)
    for index, (own, target) in enumerate(alone(batch, logits)):
        cost, through = enumerated_cost(own, target), enumerated_arcs(own, target)
        last = len(target)
        torch.testing.assert_close(costs[index], cost, rtol=0, atol=1e-10)
        torch.testing.assert_close(
            blanks[index, : len(own), : last + 1], through[..., 0], rtol=0, atol=1e-10
        )
        torch.testing.assert_close(
            tokens[index, : len(own), :last],
            through[:, range(last), target],
            rtol=0,
            atol=1e-10,
        )
    assert (blanks[batch.beyond()] == 0).all()
    assert (tokens[token_padding(batch)] == 0).all()


@pytest.mark.parametrize("lattice", WAYS)
def test_every_path_passes_each_diagonal_frame_and_column_once(lattice: Lattice) -> None:
    batch = made_batch([*SIZES, (40, 25), (33, 60)], 4)
    costs, blanks, tokens = lattice(*random_arcs(batch), batch.frames, batch.emitted)
    nodes = blanks + torch.nn.functional.pad(tokens, (0, 1))
    sizes = zip(batch.frames.tolist(), batch.emitted.tolist(), strict=True)
    assert costs.isfinite().all()
    for index, (frames, emitted) in enumerate(sizes):
        diagonals = [nodes[index].flip(0).diagonal(n).sum() for n in range(1 - nodes.shape[1], 60)]
        close_to_one(torch.stack(diagonals)[: frames + emitted])
        close_to_one(blanks[index].sum(dim=1)[:frames])
        close_to_one(tokens[index].sum(dim=0)[:emitted])


def close_to_one(sums: Tensor) -> None:
    torch.testing.assert_close(sums, torch.ones_like(sums), rtol=0, atol=1e-10)


@pytest.fixture
def set_threads() -> Iterator[Callable[[int], None]]:
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def impossible(blanks: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Arcs of probability zero here and there; the last utterance has no way at all."""
    of_blanks = blanks.masked_fill(normal(*blanks.shape, seed=5) > 1.3, -math.inf)
    of_tokens = tokens.masked_fill(normal(*tokens.shape, seed=6) > 1.3, -math.inf)
    of_tokens[-1, :, 0] = -math.inf
    return of_blanks, of_tokens


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("holes", [False, True])
def test_both_ways_agree(
    set_threads: Callable[[int], None], dtype: torch.dtype, holes: bool, threads: int, device: str
) -> None:
    set_threads(threads)
    batch = made_batch([*SIZES, (1, 0), (60, 1), (1, 40), (60, 40), (35, 22), (50, 9)], 4)
    arcs = random_arcs(batch, dtype=dtype)
    arcs = impossible(*arcs) if holes else arcs
    compiled = occupancies(*arcs, batch.frames, batch.emitted)
    parallel = by_diagonals(*(part.to(device) for part in arcs), batch.frames, batch.emitted)
    for one, other in zip(compiled, parallel, strict=True):
        assert one.dtype == other.dtype == torch.float64
        torch.testing.assert_close(one, other.cpu(), rtol=1e-12, atol=1e-12)
    lost = compiled[0].isinf()
    assert (lost.any(), lost.all()) == (holes, False)
    for through in compiled[1:]:
        assert (through >= 0).all()
        assert (through[lost] == 0).all()
        assert not holes or (through[~lost] > 0).any()


@pytest.mark.parametrize("lattice", WAYS)
def test_padding_may_hold_anything(lattice: Lattice) -> None:
    batch = made_batch(SIZES, 4)
    blanks, tokens = random_arcs(batch)
    expected = lattice(blanks, tokens, batch.frames, batch.emitted)
    for garbage in GARBAGE:
        filled = lattice(
            blanks.masked_fill(batch.beyond(), garbage),
            tokens.masked_fill(token_padding(batch), garbage),
            batch.frames,
            batch.emitted,
        )
        assert all(map(torch.equal, filled, expected))


@pytest.mark.parametrize("lattice", WAYS)
def test_nan_is_never_hidden(lattice: Lattice) -> None:
    """Wherever it is; only the last frame's blanks before the last one lead nowhere."""
    places = [(0, t, u) for t in range(2) for u in range(3)] + [(0, 2, 2)]
    places += [(1, t, u) for t in range(3) for u in range(2)]
    batch = made_batch([(3, 2)] * len(places), 4)
    arcs = random_arcs(batch)
    for index, (kind, t, u) in enumerate(places):
        arcs[kind][index, t, u] = math.nan
    costs, *_ = lattice(*arcs, batch.frames, batch.emitted)
    assert costs.isnan().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_long_lattices_are_finite_and_agree(dtype: torch.dtype) -> None:
    """The probability itself would be some 10 to the power of minus 1600."""
    batch = made_batch([(2000, 300)], 4)
    arcs = random_arcs(batch, dtype=dtype)
    compiled = occupancies(*arcs, batch.frames, batch.emitted)
    parallel = by_diagonals(*arcs, batch.frames, batch.emitted)
    assert 1000 < compiled[0].item() < math.inf
    torch.testing.assert_close(compiled[0], parallel[0], rtol=1e-12, atol=0)
    for one, other in zip(compiled[1:], parallel[1:], strict=True):
        assert one.isfinite().all()
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9)
    close_to_one(compiled[1][0].sum(dim=1))
    close_to_one(compiled[2][0].sum(dim=0))
