"""Whole sentences scored by a neural language model, in bounded memory however long they are."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from asr.data.batching import group_by_length
from asr.lm.neural import BOUNDARY, NeuralNetwork, sentence_losses

MAX_TOKENS = 8192  # of a batch, padding included; a longer sentence goes step by step
MAX_SCORES = 1 << 22  # log-probabilities of a batch: 16 MB
MAX_ROWS = 64  # long sentences side by side

# Told after each batch how many sentences are scored, of how many.
Advance = Callable[[int, int], None]


def score_sentences(
    network: NeuralNetwork, sentences: Sequence[Sequence[int]], advance: Advance | None = None
) -> list[float]:
    """The natural log-probability of each sentence with its end.

    Args:
        network: in evaluation mode.
        sentences: tokens 1 to V - 1 of each.
        advance: is told how many are done; may raise to stop it.
    """
    longest = min(MAX_TOKENS, max(1, MAX_SCORES // network.vocabulary_size))
    sizes = [len(tokens) + 1 for tokens in sentences]
    short = [i for i, size in enumerate(sizes) if size <= longest]
    long = sorted((i for i, size in enumerate(sizes) if size > longest), key=sizes.__getitem__)
    scores = [0.0] * len(sentences)
    done = 0
    groups = group_by_length([sizes[i] for i in short], batch_seconds=longest)
    parts = [([short[k] for k in group], _all_at_once) for group in groups]
    parts += [(long[k : k + MAX_ROWS], _step_by_step) for k in range(0, len(long), MAX_ROWS)]
    for indices, score in parts:
        tokens, lengths = pad_tokens([sentences[i] for i in indices])
        device = network.output.weight.device
        with torch.inference_mode():
            found = score(network, tokens.to(device), lengths.to(device))
        for index, value in zip(indices, found.tolist(), strict=True):
            scores[index] = value
        done += len(indices)
        if advance is not None:
            advance(done, len(sentences))
    return scores


def pad_tokens(sentences: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Tokens (B, U) int64, zero beyond each length, and the lengths (B,) int64."""
    lengths = torch.tensor([len(tokens) for tokens in sentences], dtype=torch.int64)
    padded = torch.zeros(len(sentences), max(map(len, sentences), default=0), dtype=torch.int64)
    for row, tokens in enumerate(sentences):
        padded[row, : len(tokens)] = torch.as_tensor(tokens, dtype=torch.int64)
    return padded, lengths


def _all_at_once(network: NeuralNetwork, tokens: Tensor, lengths: Tensor) -> Tensor:
    return -sentence_losses(network, tokens, lengths)


def _step_by_step(network: NeuralNetwork, tokens: Tensor, lengths: Tensor) -> Tensor:
    """(B,) sums; each step is the output for one token and the input for the next one."""
    total = torch.zeros(len(tokens), dtype=torch.float64, device=tokens.device)
    states = network.begin(len(tokens))
    last = torch.full_like(lengths, BOUNDARY)
    for position in range(tokens.shape[1] + 1):
        log_probs, states = network.step(last, states)
        ends = position >= lengths
        inside = tokens[:, min(position, tokens.shape[1] - 1)]
        last = torch.where(ends, BOUNDARY, inside)
        found = log_probs.gather(1, last.unsqueeze(1)).squeeze(1).double()
        total += torch.where(position <= lengths, found, 0)
    return total
