"""The nodes of transducer lattices: what is kept of each, and the gradient by their logits.

Logits are looked at in chunks of some frames of an utterance. A node keeps its normaliser and the
log-probabilities of its two arcs, then how probable these arcs are given the tokens.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from asr.objectives.transducer_lattice import occupancies

CHUNK_VALUES = 1 << 20  # logits at a time: 4 MB, which a processor's cache holds


class Place(NamedTuple):
    """Some nodes of an utterance: frames `begin` to before `end`, columns `first` to `last`."""

    utterance: int
    begin: int
    end: int
    first: int
    last: int

    @property
    def nodes(self) -> tuple[int, slice, slice]:
        """For tensors (B, T, U + 1, …)."""
        return self.utterance, slice(self.begin, self.end), slice(self.first, self.last)

    @property
    def frames(self) -> tuple[int, slice]:
        """For tensors (B, T, …)."""
        return self.utterance, slice(self.begin, self.end)

    @property
    def columns(self) -> tuple[int, slice]:
        """For tensors (B, U + 1, …)."""
        return self.utterance, slice(self.first, self.last)


class Lattices:
    """The lattices of a batch.

    Args:
        targets: (B, U) tokens.
        frames: (B,) frames of each utterance.
        emitted: (B,) tokens of each.
        blank: the symbol that moves on to the next frame.
    """

    def __init__(self, targets: Tensor, frames: Tensor, emitted: Tensor, blank: int) -> None:
        self._frames, self._emitted, self._blank = frames.cpu(), emitted.cpu(), blank
        inside = torch.arange(targets.shape[1]) < self._emitted[:, None]
        # The symbol of the second arc of each node; where there is none, one that does exist.
        self._symbols = F.pad(targets.cpu().masked_fill(~inside, blank), (0, 1), value=blank)

    def open(self, like: Tensor, num_frames: int) -> None:
        """Make room for the nodes, of the type and on the device of a tensor."""
        shape = (len(self._symbols), num_frames, self._symbols.shape[1])
        self._normalisers, self._blanks, self._tokens = (like.new_zeros(shape) for _ in range(3))
        self._symbols = self._symbols.to(like.device)

    def chunks(self, width: int) -> Iterator[Place]:
        """All nodes, some at a time; `width`: values that each of them takes."""
        sizes = zip(self._frames.tolist(), self._emitted.tolist(), strict=True)
        for b, (frames, emitted) in enumerate(sizes):
            at_once = max(1, CHUNK_VALUES // (width * (emitted + 1)))
            for begin in range(0, frames, at_once):
                yield Place(b, begin, min(begin + at_once, frames), 0, emitted + 1)

    def note(self, place: Place, logits: Tensor) -> None:
        """Keep what is needed of the logits (t, u, V) of a place."""
        normalisers = logits.logsumexp(dim=-1)
        self._normalisers[place.nodes] = normalisers
        self._blanks[place.nodes] = logits[..., self._blank] - normalisers
        chosen = logits.gather(-1, self._index(place))[..., 0]
        self._tokens[place.nodes] = chosen - normalisers

    def finish(self) -> Tensor:
        """(B,) costs; the log-probabilities of the arcs give way to their probabilities."""
        costs, through_blanks, through_tokens = occupancies(
            self._blanks, self._tokens[..., :-1], self._frames, self._emitted
        )
        kind = self._blanks.dtype
        self._blanks = _without_dust(through_blanks.to(kind))
        self._tokens = F.pad(_without_dust(through_tokens.to(kind)), (0, 1))
        return costs.to(kind)

    def probable(self, place: Place) -> Place | None:
        """The columns of a place that a path may pass; None: none passes there."""
        occupied = (self._blanks[place.nodes] + self._tokens[place.nodes]).amax(dim=0)
        columns = occupied.nonzero().flatten().tolist()
        if not columns:
            return None
        first, last = place.first + columns[0], place.first + columns[-1] + 1
        return place._replace(first=first, last=last)

    def gradient(self, place: Place, logits: Tensor, outgoing: Tensor) -> Tensor:
        """That of the costs by the logits of a place, times `outgoing` (B,); written over them."""
        blanks = self._blanks[place.nodes] * outgoing[place.utterance]
        tokens = self._tokens[place.nodes] * outgoing[place.utterance]
        logits.sub_(self._normalisers[place.nodes][..., None]).exp_()
        logits.mul_((blanks + tokens)[..., None])
        _flush(logits)
        logits[..., self._blank] -= blanks
        logits.scatter_add_(-1, self._index(place), -tokens[..., None])
        return logits

    def _index(self, place: Place) -> Tensor:
        symbols = self._symbols[place.columns]
        return symbols.expand(place.end - place.begin, -1)[..., None]


def _without_dust(probabilities: Tensor) -> Tensor:
    """Zero where an arc is so improbable that no sum of the gradient would show it."""
    return F.threshold(probabilities, torch.finfo(probabilities.dtype).eps ** 2, 0.0)


def _flush(values: Tensor) -> None:
    """Zero for numbers so small that a processor multiplies them ten times as slowly (denormal)."""
    values.masked_fill_(values.abs() < torch.finfo(values.dtype).tiny * 2**24, 0.0)
