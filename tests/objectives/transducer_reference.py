"""The transducer in plain words: every path through the lattice of an utterance is written down."""

import math
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

import torch
from torch import Tensor, nn

SIZES = [(frames, tokens) for frames in range(1, 6) for tokens in range(5)]
GARBAGE = [0.0, 50.0, math.nan, math.inf, -math.inf]


class Batch(NamedTuple):
    """Padded utterances, as the losses take them after their logits."""

    targets: Tensor
    frames: Tensor
    emitted: Tensor

    def target(self, index: int) -> list[int]:
        """The tokens of an utterance."""
        return self.targets[index, : self.emitted[index]].tolist()

    def beyond(self) -> Tensor:
        """(B, T, U + 1) whether a node is padding."""
        times = torch.arange(int(self.frames.max()))[None, :, None]
        columns = torch.arange(self.targets.shape[1] + 1)[None, None, :]
        return (times >= self.frames[:, None, None]) | (columns > self.emitted[:, None, None])


class Joint(nn.Module):
    """What joins a frame and a history: tanh of their sum, and a linear layer."""

    def __init__(self, size: int, vocabulary_size: int) -> None:
        super().__init__()
        self.output = nn.Linear(size, vocabulary_size)

    def forward(self, encoded: Tensor, predicted: Tensor) -> Tensor:
        return self.output(torch.tanh(encoded + predicted))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Random numbers; the same in every type."""
    return torch.randn(*shape, dtype=torch.float64, generator=seeded(seed)).to(dtype)


def made_batch(
    sizes: Sequence[tuple[int, int]], vocabulary_size: int, *, blank: int = 0, seed: int = 0
) -> Batch:
    """Random targets of utterances of these frames and tokens; their padding is no token at all."""
    frames, emitted = torch.tensor(sizes).unbind(dim=1)
    shape = (len(sizes), int(emitted.max()))
    targets = torch.randint(vocabulary_size - 1, shape, generator=seeded(seed))
    targets += targets >= blank
    beyond = torch.arange(shape[1]) >= emitted[:, None]
    return Batch(targets.masked_fill(beyond, -99), frames, emitted)


def one(frames: int, target: list[int]) -> Batch:
    """An utterance."""
    targets = torch.tensor([target], dtype=torch.int64)
    return Batch(targets, torch.tensor([frames]), torch.tensor([len(target)]))


def made_logits(batch: Batch, vocabulary_size: int, *, seed: int = 0) -> Tensor:
    """(B, T, U + 1, V) float64."""
    return 2 * normal(*batch.beyond().shape, vocabulary_size, seed=seed)


def every_path(frames: int, target: list[int], blank: int = 0) -> Tensor:
    """(P, T + U, 3) arcs (t, u, symbol) of each way to put the tokens between blanks.

    The last symbol is the blank that ends; any of those before may be tokens.
    """
    steps = range(frames - 1 + len(target))
    paths = []
    for places in combinations(steps, len(target)):
        path, t, u = [], 0, 0
        for step in steps:
            if step in places:
                path.append((t, u, target[u]))
                u += 1
            else:
                path.append((t, u, blank))
                t += 1
        paths.append([*path, (t, u, blank)])
    return torch.tensor(paths)


def path_log_probs(logits: Tensor, target: list[int], blank: int = 0) -> Tensor:
    """(P,) of logits (T, U + 1, V)."""
    arcs = every_path(len(logits), target, blank)
    return logits.log_softmax(dim=-1)[arcs.unbind(dim=-1)].sum(dim=1)


def enumerated_cost(logits: Tensor, target: list[int], blank: int = 0) -> Tensor:
    """Minus the logarithm of the sum over all paths, for autograd to differentiate."""
    return -path_log_probs(logits, target, blank).logsumexp(dim=0)


def enumerated_arcs(logits: Tensor, target: list[int], blank: int = 0) -> Tensor:
    """(T, U + 1, V) how probable each arc is given the target."""
    weights = path_log_probs(logits, target, blank).softmax(dim=0)
    arcs = every_path(len(logits), target, blank)
    index = [part.flatten() for part in arcs.unbind(dim=-1)]
    through = torch.zeros_like(logits)
    return through.index_put_(index, weights.repeat_interleave(arcs.shape[1]), accumulate=True)


def alone(batch: Batch, padded: Tensor) -> Iterator[tuple[Tensor, list[int]]]:
    """The logits, or whatever else nodes have, of each utterance without padding; its target."""
    for index, (frames, emitted) in enumerate(
        zip(batch.frames.tolist(), batch.emitted.tolist(), strict=True)
    ):
        yield padded[index, :frames, : emitted + 1], batch.target(index)
