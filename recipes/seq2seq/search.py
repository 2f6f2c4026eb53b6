"""The beam search from left to right, ensembles, and the scores of given pairs.

A beam holds the `beam_size` most probable partial hypotheses. Each is continued by every word, and
the best continuations of all stay. One that receives the end leaves the beam, which has one place
less from then on (Sutskever, Vinyals & Le 2014, section 3.2). Nothing is divided by a length.

Several models predict as one: the probability of a word is the mean of theirs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .model import BOUNDARY, SequenceToSequence

IMPOSSIBLE = -math.inf


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A complete target.

    Attributes:
        tokens: without the end.
        log_prob: natural, of the tokens and the end.
    """

    tokens: tuple[int, ...]
    log_prob: float


@dataclass(frozen=True, slots=True)
class _Beam:
    """What is still open of N sentences with K places each.

    Attributes:
        which: (N,) the sentences, as numbers of the whole batch.
        places: (N,) how many places their beams still have.
        scores: (N, K) log-probabilities of partial hypotheses; IMPOSSIBLE: none.
        tokens: (N, K, u) what these are.
        states: of each model, (N * K, L, 2, H).
    """

    which: Tensor
    places: Tensor
    scores: Tensor
    tokens: Tensor
    states: list[Tensor]


@torch.no_grad()
def beam_search(
    models: Sequence[SequenceToSequence],
    source: Tensor,
    lengths: Tensor,
    *,
    beam_size: int,
    limits: Tensor,
) -> list[list[Hypothesis]]:
    """The complete hypotheses of each source, the most probable first, at most `beam_size`.

    Args:
        models: one, or several that have the same tokens.
        source: (B, S) int64.
        lengths: (B,) int64.
        beam_size: 1 is the greedy search.
        limits: (B,) int64 most tokens of each target; after so many only the end may come.

    Raises:
        ValueError: no model, or no place in the beam.
    """
    if not models or beam_size < 1:
        raise ValueError(f"needs models and a beam, got {len(models)} and beam_size {beam_size}")
    done: list[list[Hypothesis]] = [[] for _ in range(len(source))]
    beam = _begin(models, source, lengths, beam_size)
    while len(beam.which):
        beam = _extend(models, beam, limits.to(source.device), done)
    for hypotheses in done:
        hypotheses.sort(key=lambda hypothesis: -hypothesis.log_prob)
    return done


def _begin(
    models: Sequence[SequenceToSequence], source: Tensor, lengths: Tensor, size: int
) -> _Beam:
    batch = len(source)
    states = [model.encode(source, lengths).repeat_interleave(size, dim=0) for model in models]
    scores = states[0].new_full((batch, size), IMPOSSIBLE)
    scores[:, 0] = 0.0
    return _Beam(
        which=torch.arange(batch, device=source.device),
        places=torch.full((batch,), size, device=source.device),
        scores=scores,
        tokens=source.new_zeros(batch, size, 0),
        states=states,
    )


def _extend(
    models: Sequence[SequenceToSequence], beam: _Beam, limits: Tensor, done: list[list[Hypothesis]]
) -> _Beam:
    """The beam after one more word; hypotheses that are complete go to `done`."""
    batch, size, length = beam.tokens.shape
    newest = beam.tokens[:, :, -1] if length else beam.tokens.new_full((batch, size), BOUNDARY)
    log_probs, states = predict(models, newest.flatten(), beam.states)
    totals = beam.scores.unsqueeze(2) + log_probs.view(batch, size, -1)
    totals[limits[beam.which] <= length, :, BOUNDARY + 1 :] = IMPOSSIBLE
    scores, choices = totals.flatten(1).topk(size, dim=1)
    parents, words = choices // totals.shape[2], choices % totals.shape[2]
    ranks = torch.arange(size, device=scores.device)
    scores = scores.masked_fill(ranks >= beam.places.unsqueeze(1), IMPOSSIBLE)
    tokens = beam.tokens.gather(1, parents.unsqueeze(2).expand(-1, -1, length))
    ends = (words == BOUNDARY) & (scores > IMPOSSIBLE)
    _collect(beam.which, tokens, scores, ends, done)
    scores = scores.masked_fill(ends, IMPOSSIBLE)
    places = beam.places - ends.sum(dim=1)
    open_ = (scores > IMPOSSIBLE).any(dim=1)
    rows = (torch.arange(batch, device=scores.device).unsqueeze(1) * size + parents)[open_]
    return _Beam(
        which=beam.which[open_],
        places=places[open_],
        scores=scores[open_],
        tokens=torch.cat((tokens, words.unsqueeze(2)), dim=2)[open_],
        states=[state.index_select(0, rows.flatten()) for state in states],
    )


def _collect(
    which: Tensor, tokens: Tensor, scores: Tensor, ends: Tensor, done: list[list[Hypothesis]]
) -> None:
    """Put the hypotheses that end into `done`."""
    sentences = which.unsqueeze(1).expand_as(ends)[ends].tolist()
    for sentence, words, score in zip(
        sentences, tokens[ends].tolist(), scores[ends].tolist(), strict=True
    ):
        done[sentence].append(Hypothesis(tuple(words), score))


def predict(
    models: Sequence[SequenceToSequence], tokens: Tensor, states: Sequence[Tensor]
) -> tuple[Tensor, list[Tensor]]:
    """What models together say of the next word: (K, V) ln of their mean probability; the states.

    Args:
        models: M of them.
        tokens: (K,) the newest of each hypothesis.
        states: of each model, (K, L, 2, H).
    """
    said, after = [], []
    for model, state in zip(models, states, strict=True):
        log_probs, new = model.step(tokens, state)
        said.append(log_probs)
        after.append(new)
    return mean_probability(said), after


def mean_probability(log_probs: Sequence[Tensor]) -> Tensor:
    """The logarithm of the mean of probabilities that are given as logarithms."""
    if len(log_probs) == 1:
        return log_probs[0]
    return torch.stack(list(log_probs)).logsumexp(dim=0) - math.log(len(log_probs))


@torch.no_grad()
def score_pairs(
    models: Sequence[SequenceToSequence],
    source: Tensor,
    source_lengths: Tensor,
    target: Tensor,
    target_lengths: Tensor,
) -> Tensor:
    """(B,) ln p(target | source) of given pairs, such as n-best lists of another system.

    Arguments as for `SequenceToSequence.losses`.
    """
    arguments = (source, source_lengths, target, target_lengths)
    return mean_probability([m.token_log_probs(*arguments) for m in models]).sum(dim=1)
