"""The lattice of a transducer: all ways to emit U tokens in T frames, forwards and backwards.

A node (t, u) has read t frames and emitted u tokens. The blank leads to (t + 1, u), token u + 1 to
(t, u + 1), and the blank at (T - 1, U) ends. Everything is a logarithm: probabilities of hundreds
of frames are too small for floating-point numbers.

On the CPU it is compiled, an utterance at a time. Elsewhere, all nodes of an anti-diagonal
t + u = n of a batch follow from those of the one before at once.

Reference: Graves, "Sequence transduction with recurrent neural networks", 2012, section 2.4.
"""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from asr.compiled import compiled, compiled_inline

ENDS = -math.inf


def occupancies(
    blanks: Tensor, tokens: Tensor, frames: Tensor, emitted: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The cost of each utterance, and how probable each arc is given its tokens.

    Args:
        blanks: (B, T, U + 1) log-probability of the blank at each node; beyond the lengths
            anything.
        tokens: (B, T, U) log-probability of the next token.
        frames: (B,) int64, T of each utterance, at least 1.
        emitted: (B,) int64, U of each utterance.

    Returns:
        costs: (B,) float64 nats; infinite where no path has a probability.
        through_blanks: (B, T, U + 1) float64, 0 to 1, of each blank arc; 0 beyond the lengths.
        through_tokens: (B, T, U), of each token arc. A path takes every arc at most once, and each
            frame's blanks add up to one.
    """
    if blanks.device.type == "cpu":
        return _compiled(blanks, tokens, frames, emitted)
    return by_diagonals(blanks, tokens, frames, emitted)


def _compiled(
    blanks: Tensor, tokens: Tensor, frames: Tensor, emitted: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    batch = len(frames)
    costs = torch.empty(batch, dtype=torch.float64)
    through_blanks = torch.zeros(blanks.shape, dtype=torch.float64)
    through_tokens = torch.zeros(tokens.shape, dtype=torch.float64)
    arrays = [
        tensor.detach().contiguous().numpy()
        for tensor in (blanks, tokens, costs, through_blanks, through_tokens)
    ]
    sizes = list(zip(frames.tolist(), emitted.tolist(), strict=True))

    def one(b: int) -> None:
        of_blanks, of_tokens, cost, on_blanks, on_tokens = arrays
        t, u = sizes[b]
        cost[b] = _both_ways(of_blanks[b], of_tokens[b], t, u, on_blanks[b], on_tokens[b])

    threads = min(torch.get_num_threads(), batch)
    if threads <= 1:
        for b in range(batch):
            one(b)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(one, range(batch)))
    return costs, through_blanks, through_tokens


@compiled_inline
def _added(a, b):  # type: ignore[no-untyped-def]
    """ln(e^a + e^b); NaN of NaN, which `max` alone would hide."""
    if a == ENDS:
        return b
    return max(a, b) + math.log1p(math.exp(-abs(a - b)))


@compiled
def _both_ways(blanks, tokens, frames, emitted, through_blanks, through_tokens):  # type: ignore[no-untyped-def]
    """Of one utterance: its cost; the probabilities of the arcs are filled in."""
    alpha = np.empty((frames, emitted + 1))
    for t in range(frames):
        for u in range(emitted + 1):
            total = 0.0 if t == 0 and u == 0 else ENDS
            if t > 0:
                total = alpha[t - 1, u] + blanks[t - 1, u]
            if u > 0:
                total = _added(total, alpha[t, u - 1] + tokens[t, u - 1])
            alpha[t, u] = total
    end = alpha[frames - 1, emitted] + blanks[frames - 1, emitted]
    if end == ENDS:
        return math.inf
    after = np.full(emitted + 2, ENDS)  # beta of the next frame; a column more, never reached
    beta = np.full(emitted + 2, ENDS)
    for back in range(frames):
        t = frames - 1 - back
        for left in range(emitted + 1):
            u = emitted - left
            last = t == frames - 1 and u == emitted
            by_blank = blanks[t, u] + (0.0 if last else after[u])
            total = by_blank
            through_blanks[t, u] = math.exp(alpha[t, u] + by_blank - end)
            if u < emitted:
                by_token = tokens[t, u] + beta[u + 1]
                total = _added(total, by_token)
                through_tokens[t, u] = math.exp(alpha[t, u] + by_token - end)
            beta[u] = total
        after[:] = beta
    return -end


def by_diagonals(
    blanks: Tensor, tokens: Tensor, frames: Tensor, emitted: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """As `occupancies`, on any device: T + U steps over vectors (B, U + 1)."""
    frames, emitted = frames.to(blanks.device), emitted.to(blanks.device)
    times = torch.arange(blanks.shape[1], device=blanks.device)[None, :, None]
    columns = torch.arange(blanks.shape[2], device=blanks.device)[None, None, :]
    real = (times < frames[:, None, None]) & (columns <= emitted[:, None, None])
    end = (times == frames[:, None, None] - 1) & (columns == emitted[:, None, None])
    of_blanks = blanks.detach().double().masked_fill(~real, ENDS)
    # A column more, whose arcs lead nowhere, makes both kinds of arcs of one shape.
    of_tokens = torch.nn.functional.pad(tokens.detach().double(), (0, 1), value=ENDS)
    of_tokens = of_tokens.masked_fill(~(real & (columns < emitted[:, None, None])), ENDS)
    blank, token = _skewed(of_blanks), _skewed(of_tokens)
    alpha = _forwards(blank, token)
    beta = _backwards(blank, token, _skewed(end.double().log()))
    alpha = _straight(alpha, blanks.shape[1])
    by_blank = of_blanks + _straight(_after(beta, 0), blanks.shape[1])
    by_blank = torch.where(end, of_blanks, by_blank)
    by_token = of_tokens + _straight(_after(beta, 1), blanks.shape[1])
    log_prob = (alpha + of_blanks).masked_fill(~end, ENDS).flatten(1).amax(dim=1)
    scale = torch.where(log_prob == ENDS, 0.0, log_prob)[:, None, None]
    through_blanks = (alpha + by_blank - scale).exp()
    through_tokens = (alpha + by_token - scale).exp()
    return -log_prob, through_blanks, through_tokens[..., :-1]


def _forwards(blank: Tensor, token: Tensor) -> Tensor:
    """(N, B, U + 1) alpha of the nodes of each diagonal."""
    now = torch.full_like(blank[0], ENDS)
    now[:, 0] = 0.0
    alpha = [now]
    for n in range(len(blank) - 1):
        by_token = torch.nn.functional.pad((now + token[n])[:, :-1], (1, 0), value=ENDS)
        now = torch.logaddexp(now + blank[n], by_token)
        alpha.append(now)
    return torch.stack(alpha)


def _backwards(blank: Tensor, token: Tensor, end: Tensor) -> Tensor:
    """(N, B, U + 1) beta of the nodes of each diagonal; `end` is 0 at the last node, else -inf."""
    now = torch.full_like(blank[0], ENDS)
    beta = []
    for n in range(len(blank) - 1, -1, -1):
        by_token = token[n] + torch.nn.functional.pad(now[:, 1:], (0, 1), value=ENDS)
        by_blank = blank[n] + torch.maximum(now, end[n])
        now = torch.logaddexp(by_blank, by_token)
        beta.append(now)
    return torch.stack(beta[::-1])


def _after(beta: Tensor, columns: int) -> Tensor:
    """Beta where an arc leads: on the next diagonal, in the same column or the next."""
    following = torch.nn.functional.pad(beta[1:], (0, 0, 0, 0, 0, 1), value=ENDS)
    if columns == 0:
        return following
    return torch.nn.functional.pad(following[..., 1:], (0, 1), value=ENDS)


def _skewed(values: Tensor) -> Tensor:
    """(N, B, U + 1) of (B, T, U + 1): diagonal n holds (n - u, u), or -inf."""
    batch, num_frames, width = values.shape
    padded = torch.nn.functional.pad(values, (0, 0, 0, width), value=ENDS)
    # Column u moves down by u: read with one row more between two columns' beginnings.
    flat = padded.transpose(1, 2).flatten(1)[:, : width * (num_frames + width - 1)]
    return flat.view(batch, width, num_frames + width - 1).permute(2, 0, 1)


def _straight(diagonals: Tensor, num_frames: int) -> Tensor:
    """(B, T, U + 1) of diagonals (N, B, U + 1): the inverse of `_skewed`."""
    steps, batch, width = diagonals.shape
    flat = diagonals.permute(1, 2, 0).flatten(1)
    padded = torch.nn.functional.pad(flat, (0, width))
    return padded.view(batch, width, steps + 1)[..., :num_frames].transpose(1, 2)
