"""In which frames does a transducer say the labels of a text? The best path of its lattice.

The path goes through nodes (t, u), after t frames and u labels: a blank leads to the next frame, a
label to the next column. A label is said in the frame in which the path leaves its column, so that
it lasts for a single frame.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asr.compiled import compiled
from asr.decoding.transducer_networks import BLANK, TransducerNetworks

CHUNK_VALUES = 1 << 20  # of hidden values or logits at a time


def transducer_frames(
    networks: TransducerNetworks, encoded: Tensor, tokens: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float64], float]:
    """The frames and confidences (U,) of labels, and the log-probability of their best path.

    Args:
        networks: of the transducer.
        encoded: (T, J) what the encoder makes of the frames of one utterance, one or more.
        tokens: (U,) labels, without blanks.
    """
    blanks, labels = arcs(networks, encoded, tokens)
    frames, log_prob = _best_path(blanks, labels)
    confidences = np.exp(np.minimum(labels[frames, np.arange(len(tokens))], 0.0))
    return frames, confidences, float(log_prob)


def arcs(
    networks: TransducerNetworks, encoded: Tensor, tokens: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The log-probabilities of the blank (T, U + 1) and of the next label (T, U) at each node.

    Arguments as for `transducer_frames`.
    """
    said = torch.from_numpy(tokens).to(encoded.device)[None]
    with torch.inference_mode():
        predicted = networks.predict(said, torch.tensor([len(tokens)]))[0]
        parts = list(_chunks(networks, encoded, predicted, said[0]))
    blanks, labels = (torch.cat(part).cpu().double().numpy() for part in zip(*parts, strict=True))
    return blanks, labels


def _chunks(
    networks: TransducerNetworks, encoded: Tensor, predicted: Tensor, tokens: Tensor
) -> Iterator[tuple[Tensor, Tensor]]:
    """Those of some frames at a time: the logits of all nodes would take much memory."""
    begin, at_once = 0, 1
    while begin < len(encoded):
        logits = networks.joint(encoded[begin : begin + at_once, None], predicted[None]).float()
        log_probs = torch.log_softmax(logits, dim=-1)
        chosen = tokens.expand(len(log_probs), -1)[..., None]
        yield log_probs[..., BLANK], log_probs[:, :-1].gather(-1, chosen)[..., 0]
        begin += at_once
        width = max(logits.shape[-1], encoded.shape[-1])
        at_once = max(1, CHUNK_VALUES // (width * len(predicted)))


@compiled
def _best_path(blanks, labels):  # type: ignore[no-untyped-def]
    """The frame (U,) in which each label is said on the best path, and the log-probability."""
    num_frames, columns = blanks.shape
    by_label = np.zeros((num_frames, columns), np.bool_)
    best = np.full(columns, -np.inf)
    best[0] = 0.0
    for t in range(num_frames):
        if t > 0:
            for u in range(columns):
                best[u] += blanks[t - 1, u]
        for u in range(1, columns):
            said = best[u - 1] + labels[t, u - 1]
            if said > best[u]:
                best[u] = said
                by_label[t, u] = True
    frames = np.zeros(columns - 1, np.int64)
    t, u = num_frames - 1, columns - 1
    log_prob = best[u] + blanks[t, u]
    while u > 0 and t >= 0:
        if by_label[t, u]:
            u -= 1
            frames[u] = t
        else:
            t -= 1
    return frames, log_prob


def transducer_log_prob(
    networks: TransducerNetworks, encoded: Tensor, tokens: NDArray[np.int64]
) -> float:
    """Ln Pr(tokens | audio), summed over all paths; arguments as for `transducer_frames`."""
    return float(_forward(*arcs(networks, encoded, tokens)))


@compiled
def _forward(blanks, labels):  # type: ignore[no-untyped-def]
    """The logarithm of the sum over all paths."""
    num_frames, columns = blanks.shape
    alpha = np.full(columns, -np.inf)
    alpha[0] = 0.0
    for t in range(num_frames):
        if t > 0:
            for u in range(columns):
                alpha[u] += blanks[t - 1, u]
        for u in range(1, columns):
            alpha[u] = np.logaddexp(alpha[u], alpha[u - 1] + labels[t, u - 1])
    return alpha[columns - 1] + blanks[num_frames - 1, columns - 1]
