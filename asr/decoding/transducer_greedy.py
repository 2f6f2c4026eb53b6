"""Greedy decoding of a transducer: the most probable symbol at each node, label by label.

A blank moves on to the next frame and another label to the next column of the lattice. Reference:
Graves, "Sequence transduction with recurrent neural networks", 2012, section 2.5, with a beam of 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asr.decoding.hypothesis import Hypothesis, Spelling, TokenSpan, TokenTimes, hypothesis_of
from asr.decoding.transducer_networks import (
    BLANK,
    MAX_SYMBOLS,
    TransducerNetworks,
    checked_outputs,
    no_numbers,
)

LOOKED_AT = 8  # frames at a time: most are blanks, after which the prefix is the same


@dataclass(frozen=True, slots=True)
class TransducerGreedy:
    """The path of the most probable symbols, which gives one hypothesis for an utterance.

    Attributes:
        networks: of the transducer.
        spelling: joins tokens into words.
        max_symbols_per_frame: most labels between two blanks.
        signature: see `decoding.batch.Decoder`.
    """

    networks: TransducerNetworks
    spelling: Spelling
    max_symbols_per_frame: int = MAX_SYMBOLS
    signature: str = field(default="", init=False)

    def __post_init__(self) -> None:
        if self.max_symbols_per_frame < 1:
            raise ValueError(
                f"max_symbols_per_frame must be at least 1, got {self.max_symbols_per_frame}"
            )

    def decode_nbest(
        self,
        encoded: Tensor,
        lengths: Tensor | None = None,
        /,
        *,
        nbest: int = 1,
        frame_seconds: float = 1.0,
        durations: Sequence[float] | None = None,
    ) -> list[list[Hypothesis]]:
        """As `decoding.batch.Decoder`.

        Args:
            encoded: (B, T, J) what the encoder makes of the frames.
            lengths: (B,) int64 frames; None: all of them.
            nbest: has no effect: there is one path.
            frame_seconds: time from one frame to the next.
            durations: seconds of each utterance, which no word's time exceeds.

        Raises:
            DataError: values that are not finite.
            ValueError: shapes or lengths that do not fit together.
        """
        frames, ends = checked_outputs(encoded, lengths, durations)
        with torch.inference_mode():
            paths = self._paths(encoded, np.array(frames, dtype=np.int64))
        return [
            [
                hypothesis_of(
                    TokenTimes.of(spans),
                    log_prob,
                    self.spelling,
                    frame_seconds=frame_seconds,
                    duration=duration,
                )
            ]
            for (spans, log_prob), duration in zip(paths, ends, strict=True)
        ]

    def _paths(
        self, encoded: Tensor, frames: NDArray[np.int64]
    ) -> list[tuple[list[TokenSpan], float]]:
        """Labels with their frames, and the log-probability, of each utterance.

        Raises:
            DataError: the joint network gives NaN.
        """
        batch = len(frames)
        spans: list[list[TokenSpan]] = [[] for _ in range(batch)]
        totals = np.zeros(batch)
        place = np.zeros(batch, dtype=np.int64)  # the frame where each utterance is
        said = np.zeros(batch, dtype=np.int64)  # labels in that frame
        beginning = torch.full((batch,), BLANK, dtype=torch.int64, device=encoded.device)
        predicted, states = self.networks.advance(beginning, self.networks.begin(batch))
        while len(rows := np.flatnonzero(place < frames)):
            looked_at = place[rows, None] + np.arange(LOOKED_AT)
            symbols, values = self._best(encoded, predicted, rows, looked_at, said[rows])
            new = []
            for row, chosen, log_probs in zip(rows.tolist(), symbols, values, strict=True):
                left = min(LOOKED_AT, int(frames[row] - place[row]))
                labels = np.flatnonzero(chosen[:left] != BLANK)
                passed = int(labels[0]) if len(labels) else left
                totals[row] += log_probs[:passed].sum()
                place[row] += passed
                said[row] = said[row] if passed == 0 else 0
                if len(labels):
                    token, at = int(chosen[passed]), int(place[row])
                    confidence = float(np.exp(log_probs[passed]))
                    spans[row].append(TokenSpan(token, at, at + 1, confidence))
                    totals[row] += log_probs[passed]
                    said[row] += 1
                    new.append((row, token))
                if np.isnan(totals[row]):
                    raise no_numbers(row)
            if new:
                own, tokens = torch.tensor(new, device=encoded.device).unbind(1)
                predicted[own], states[own] = self.networks.advance(tokens, states[own])
        return list(zip(spans, totals.tolist(), strict=True))

    def _best(
        self,
        encoded: Tensor,
        predicted: Tensor,
        rows: NDArray[np.int64],
        looked_at: NDArray[np.int64],
        said: NDArray[np.int64],
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The best symbols (K, frames) of utterances in the frames ahead, and log-probabilities.

        After as many labels as may be in a frame its symbol is the blank.
        """
        own = torch.from_numpy(rows).to(encoded.device)
        ahead = torch.from_numpy(np.minimum(looked_at, encoded.shape[1] - 1)).to(encoded.device)
        joined = self.networks.joint(encoded[own[:, None], ahead], predicted[own, None])
        log_probs = torch.log_softmax(joined.float(), dim=-1)
        values, symbols = log_probs.max(dim=-1)
        best, chosen = values.cpu().double().numpy(), symbols.cpu().numpy()
        full = np.flatnonzero(said >= self.max_symbols_per_frame)
        chosen[full, 0] = BLANK
        best[full, 0] = log_probs[full, 0, BLANK].cpu().numpy()
        return chosen, best
