"""Tiny transducers for tests, and the same decoders in plain Python."""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from asr.data.labels import Labels
from asr.decoding.transducer import TransducerLimits
from asr.decoding.transducer_networks import TransducerNetworks
from asr.models.transducer import PredictionNetwork, TanhJoint
from asr.models.weights import Cell
from tests.decoding.search_reference import NEVER, Tokens

SIZE = 8
# All that three frames make of two labels, three in each.
WIDE = TransducerLimits(1200, math.inf, -math.inf, 3)


class MadeNetworks(nn.Module):
    """A prediction network and a joint network that nobody trained."""

    def __init__(self, vocabulary_size: int, cell: Cell) -> None:
        super().__init__()
        self.prediction = PredictionNetwork(
            vocabulary_size, embedding_size=0, hidden_size=SIZE, num_layers=1, cell=cell
        )
        self.joint = TanhJoint(SIZE, vocabulary_size)

    def begin(self, batch: int) -> Tensor:
        return self.prediction.begin(batch)

    def advance(self, tokens: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
        return self.prediction.advance(tokens, states)

    def predict(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        predicted: Tensor = self.prediction(tokens, lengths)
        return predicted


def made_networks(
    vocabulary_size: int = 3, *, seed: int = 0, cell: Cell = "lstm", blank: float = 0.0
) -> MadeNetworks:
    """Networks whose weights have deviation 1; `blank` makes the blank more likely."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        networks = MadeNetworks(vocabulary_size, cell)
        with torch.no_grad():
            for parameter in networks.parameters():
                parameter.normal_()
            networks.joint.output.bias[0] += blank
    return networks.eval().requires_grad_(False)


def made_encoded(lengths: Sequence[int], *, seed: int = 0, padding: float = math.nan) -> Tensor:
    """What an encoder might make of utterances of these frames: (B, T, SIZE)."""
    generator = torch.Generator().manual_seed(seed)
    encoded = torch.randn(len(lengths), max(lengths), SIZE, generator=generator)
    for index, length in enumerate(lengths):
        encoded[index, length:] = padding
    return encoded


class TableNetworks:
    """Networks that look their logits up, so that a test may choose every one.

    What the encoder makes of a frame is the number of a row; that of a prefix is a number as well.

    Args:
        table: (rows, prefixes, V) in the order of `prefixes_of`.
        depth: labels of the longest prefixes; there is none after them.
    """

    def __init__(self, table: Tensor, depth: int) -> None:
        self.table = table
        prefixes = prefixes_of(table.shape[-1], depth)
        number = {prefix: index for index, prefix in enumerate(prefixes)}
        self._before = nowhere = len(prefixes)
        self._after = torch.full((len(prefixes) + 1, table.shape[-1]), nowhere)
        self._after[self._before, 0] = 0
        for prefix, index in number.items():
            if prefix:
                self._after[number[prefix[:-1]], prefix[-1]] = index

    def begin(self, batch: int) -> Tensor:
        return torch.full((batch, 1), self._before)

    def advance(self, tokens: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
        after = self._after[states[:, 0], tokens][:, None]
        return after, after.clone()

    def predict(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        found = [self._after[torch.full((len(tokens),), self._before), 0]]
        for column in tokens.unbind(1):
            found.append(self._after[found[-1], column])
        return torch.stack(found, dim=1)[..., None]

    def joint(self, encoded: Tensor, predicted: Tensor) -> Tensor:
        return self.table[encoded[..., 0].long(), predicted[..., 0]]


def prefixes_of(vocabulary_size: int, depth: int) -> list[Tokens]:
    """All labellings of up to `depth` labels, the shorter first."""
    labels = range(1, vocabulary_size)
    return [p for length in range(depth + 1) for p in itertools.product(labels, repeat=length)]


def random_table(
    random: np.random.Generator, rows: int, vocabulary_size: int, depth: int
) -> TableNetworks:
    """Random logits; after `depth` labels there is nothing but the blank."""
    prefixes = prefixes_of(vocabulary_size, depth)
    table = 2 * random.normal(size=(rows, len(prefixes), vocabulary_size))
    table[:, [len(prefix) == depth for prefix in prefixes], 1:] = NEVER
    return TableNetworks(torch.tensor(table, dtype=torch.float32), depth)


def rows_of(lengths: Sequence[int]) -> Tensor:
    """(B, T, 1): utterances of these frames, each of which has a row of a table for itself."""
    encoded = torch.zeros(len(lengths), max(lengths), 1)
    ends = np.cumsum(lengths).tolist()
    for index, (length, end) in enumerate(zip(lengths, ends, strict=True)):
        encoded[index, :length, 0] = torch.arange(end - length, end)
    return encoded


class Nodes:
    """ln Pr(symbol) at every node of one utterance, from whole sequences of labels."""

    def __init__(self, networks: TransducerNetworks, encoded: Tensor) -> None:
        self._networks, self._encoded = networks, encoded
        self._known: dict[Tokens, NDArray[np.float64]] = {}

    def __len__(self) -> int:
        return len(self._encoded)

    def __call__(self, tokens: Tokens) -> NDArray[np.float64]:
        """(T, V) after some labels."""
        if tokens not in self._known:
            said = torch.tensor([tokens], dtype=torch.int64).reshape(1, -1)
            last = self._networks.predict(said, torch.tensor([len(tokens)]))[0, -1]
            logits = self._networks.joint(self._encoded, last[None])
            self._known[tokens] = logits.double().log_softmax(dim=-1).numpy()
        return self._known[tokens]

    def paths(self, tokens: Tokens) -> Iterator[tuple[tuple[int, ...], float]]:
        """The frames of the labels on each path through the lattice, and its log-probability."""
        for said_in in itertools.combinations_with_replacement(range(len(self)), len(tokens)):
            labels = [self(tokens[:u])[t, tokens[u]] for u, t in enumerate(said_in)]
            blanks = [
                self(tokens[: sum(at <= t for at in said_in)])[t, 0] for t in range(len(self))
            ]
            yield said_in, sum(labels) + sum(blanks)

    def log_prob(self, tokens: Tokens) -> float:
        """ln Pr(tokens), summed over all paths."""
        return float(np.logaddexp.reduce([value for _, value in self.paths(tokens)]))


class Kept(NamedTuple):
    """ln Pr of a prefix; that of its best path, and the frames in which it says the labels."""

    total: float
    best: float
    frames: tuple[int, ...]

    def plus(self, value: float) -> "Kept":
        """The same after a blank."""
        return Kept(self.total + value, self.best + value, self.frames)


@dataclass(frozen=True)
class PlainSearch:
    """The beam search over dictionaries.

    Attributes:
        nodes: of the utterance.
        labels: of the model.
        limits: what is left out.
        partial: what a prefix counts as beside its probability; minus infinity forbids it.
        prefix_sums: whether what a frame brings goes over to the longer ones of the beam.
    """

    nodes: Nodes
    labels: Labels
    limits: TransducerLimits
    partial: Callable[[Tokens], float] = lambda tokens: 0.0
    prefix_sums: bool = True

    def totals(self) -> dict[Tokens, float]:
        """The prefixes of the last beam and their log-probabilities."""
        return {prefix: kept.total for prefix, kept in self.kept().items()}

    def kept(self) -> dict[Tokens, Kept]:
        """The prefixes of the last beam."""
        beam = {(): Kept(0.0, 0.0, ())}
        for t in range(len(self.nodes)):
            beam = self._after(t, beam)
        return beam

    def _after(self, t: int, beam: Mapping[Tokens, Kept]) -> dict[Tokens, Kept]:
        asked = {prefix: (kept, 0) for prefix, kept in self._summed(t, beam).items()}
        seen = set(asked)
        following: list[tuple[float, Tokens, Kept]] = []
        waiting: list[tuple[float, Tokens, Kept, int]] = []
        size = self.limits.beam_size
        while asked:
            for prefix, (kept, _) in asked.items():
                after = kept.plus(self.nodes(prefix)[t, 0])
                if after.total > NEVER:
                    following.append((after.total + self.partial(prefix), prefix, after))
            following = sorted(following, reverse=True)[:size]
            floor = NEVER
            if following:
                floor = following[0][0] - self.limits.beam_threshold
            if len(following) == size:
                floor = max(floor, following[-1][0])
            for prefix, (kept, level) in asked.items():
                if level < self.limits.max_symbols_per_frame:
                    new = self._extended(t, prefix, kept)
                    waiting += [(*one, level + 1) for one in new if one[1] not in seen]
            waiting = sorted((one for one in waiting if one[0] > floor), reverse=True)[: 2 * size]
            asked = {prefix: (kept, level) for _, prefix, kept, level in waiting[:size]}
            waiting = waiting[size:]
            seen |= set(asked)
        least = following[0][0] - self.limits.beam_threshold if following else 0.0
        return {prefix: kept for score, prefix, kept in following if score >= least}

    def _summed(self, t: int, beam: Mapping[Tokens, Kept]) -> dict[Tokens, Kept]:
        """The beam, and what lies between any two of it, with what comes over from shorter ones."""
        if not self.prefix_sums:
            return dict(beam)
        found = dict(beam)
        for prefix in beam:
            between: list[Tokens] = []
            for length in range(len(prefix) - 1, -1, -1):
                if prefix[:length] in found:
                    if len(found) + len(between) <= 2 * self.limits.beam_size:
                        found |= dict.fromkeys(between, Kept(NEVER, NEVER, ()))
                    break
                between.append(prefix[:length])
                if len(between) == self.limits.max_symbols_per_frame:
                    break
        for prefix in sorted(found, key=len):
            if prefix and prefix[:-1] in found:
                own, over = found[prefix], found[prefix[:-1]]
                over = over.plus(self.nodes(prefix[:-1])[t, prefix[-1]])
                total = float(np.logaddexp(own.total, over.total))
                if over.best > own.best:
                    own = over._replace(frames=(*over.frames, t))
                found[prefix] = own._replace(total=total)
        return found

    def _extended(self, t: int, prefix: Tokens, kept: Kept) -> Iterator[tuple[float, Tokens, Kept]]:
        values = self.nodes(prefix)[t]
        emitted = [token for token, piece in enumerate(self.labels.pieces) if piece is not None]
        least = min(self.limits.token_threshold, values[emitted].max())
        for token in emitted:
            longer = (*prefix, token)
            if values[token] >= least and self.partial(longer) > NEVER:
                more = kept.plus(values[token])._replace(frames=(*kept.frames, t))
                yield more.total + self.partial(longer), longer, more


def plain_greedy(nodes: Nodes, max_symbols: int) -> tuple[list[tuple[int, int, float]], float]:
    """Labels with their frames and probabilities, one node at a time; ln Pr of the path."""
    said: list[tuple[int, int, float]] = []
    log_prob, t, in_frame = 0.0, 0, 0
    while t < len(nodes):
        values = nodes(tuple(token for token, _, _ in said))[t]
        token = int(values.argmax()) if in_frame < max_symbols else 0
        log_prob += values[token]
        if token == 0:
            t, in_frame = t + 1, 0
        else:
            said.append((token, t, math.exp(values[token])))
            in_frame += 1
    return said, log_prob
