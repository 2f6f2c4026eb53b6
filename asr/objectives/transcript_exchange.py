"""Any loss of every alignment that differs from a sample in one frame: transcripts one by one."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.data.labels import Labels
from asr.objectives.exchange import exchanges
from asr.objectives.text_loss import TextLoss, loss_of

Place = tuple[int, int, int, int, int]


def exchange_transcripts(
    alignments: NDArray[np.int64],
    reference: str,
    labels: Labels,
    loss: TextLoss,
    changes: NDArray[Any],
    losses: NDArray[np.float64],
    wanted: NDArray[np.bool_] | None = None,
) -> None:
    """Add up what each label at each frame changes in a loss, asked once for each transcript.

    Args:
        alignments: (S, T) labels.
        reference: what was said.
        labels: of the model.
        loss: of (hypothesis, reference).
        changes: (T, V); the loss with label k at frame t minus that of the sample itself, summed
            over the samples, is added.
        losses: (S,), filled with the losses of the samples.
        wanted: (T, V), the labels that are looked at; None: all.

    Raises:
        ValueError: a loss that is not finite.
    """
    known: dict[str, float] = {}
    of_tokens: dict[tuple[int, ...], float] = {}

    def ask(tokens: tuple[int, ...]) -> float:
        if tokens not in of_tokens:
            transcript = labels.decode(tokens)
            if transcript not in known:
                known[transcript] = loss_of(loss, transcript, reference)
            of_tokens[tokens] = known[transcript]
        return of_tokens[tokens]

    for s, alignment in enumerate(alignments):
        array, where = exchanges(alignment, labels.blank)
        tokens = tuple(array.tolist())
        losses[s] = ask(tokens)
        rows: dict[Place, dict[int, float]] = {}
        for t, place in enumerate(map(tuple, where.tolist())):
            row = rows.setdefault(place, {})
            every = range(len(labels)) if wanted is None else np.flatnonzero(wanted[t]).tolist()
            for k in every:
                if k not in row:
                    row[k] = ask(_exchanged(tokens, place, k, labels.blank)) - losses[s]
                changes[t, k] += row[k]


def _exchanged(tokens: tuple[int, ...], place: Place, k: int, blank: int) -> tuple[int, ...]:
    """The tokens when a frame has label k; see `exchanges`."""
    i, q, j, p, n = place
    if k == blank:
        return tokens[:i] + tokens[q:]
    if k == p:
        return tokens[:i] + tokens[j if p == n else q :]
    return tokens[:i] + (() if k == n else (k,)) + tokens[q:]
