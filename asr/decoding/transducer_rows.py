"""What the networks make of the prefixes of a transducer's search, a row for each.

A search gives a prefix a row when it is first asked about, and takes it away when the prefix can no
longer matter. The rows of all utterances of a batch are in the same tables, so that the networks
are asked about all of them at once.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asr.decoding.prefix_score import Memo, Scorer
from asr.decoding.transducer_memory import ASKS, FREE, FRESH, Beams
from asr.decoding.transducer_networks import BLANK, TransducerNetworks, no_numbers
from asr.lm.protocol import Histories


class NetworkRows:
    """The tables of the prediction network, and of a language model that is a network.

    Row b is at first that of the empty prefix of utterance b.

    Args:
        networks: of the transducer.
        encoded: (B, T, J) what the encoder makes of the frames.
        histories: of the language model; None: there is none, or it is no network.
    """

    def __init__(
        self, networks: TransducerNetworks, encoded: Tensor, histories: Histories | None
    ) -> None:
        self._networks, self._histories = networks, histories
        batch, self._num_frames, _ = encoded.shape
        self._encoded, device = encoded.flatten(0, 1), encoded.device
        beginning = torch.full((batch,), BLANK, dtype=torch.int64, device=device)
        self._predicted, self._states = networks.advance(beginning, networks.begin(batch))
        start = histories.start() if histories is not None else 0
        self._lm_states = np.full(batch, start, dtype=np.int32)

    def __len__(self) -> int:
        return len(self._predicted)

    def first_label_rows(self, memo: Memo) -> Memo:
        """The memo with what the language model says after the beginning."""
        if self._histories is None:
            return memo
        return memo._replace(label_rows=self._histories.log_probs(self._lm_states))

    def grow(self, size: int, memo: Memo) -> Memo:
        """Make room for `size` rows, also in the memo."""
        self._predicted = _longer(self._predicted, size)
        self._states = _longer(self._states, size)
        self._lm_states = np.resize(self._lm_states, size)
        if self._histories is None:
            return memo
        label_rows = np.empty((size, memo.label_rows.shape[1]), np.float32)
        label_rows[: len(memo.label_rows)] = memo.label_rows
        return memo._replace(label_rows=label_rows)

    def fill(self, beams: Beams, scorer: Scorer, memo: Memo) -> None:
        """Fill the rows of the fresh nodes, whose prefixes without the last label have rows."""
        fresh = beams.fresh[: beams.counts[FRESH]]
        if not len(fresh):
            return
        device = self._predicted.device
        rows, parents, tokens = (
            torch.from_numpy(fresh[name].astype(np.int64)).to(device)
            for name in ("row", "parent_row", "token")
        )
        self._predicted[rows], self._states[rows] = self._networks.advance(
            tokens, self._states[parents]
        )
        if self._histories is not None:
            words = scorer.token_lm[fresh["token"]]
            after = self._histories.advance(self._lm_states[fresh["parent_row"]], words)
            self._lm_states[fresh["row"]] = after
            memo.label_rows[fresh["row"]] = self._histories.log_probs(after)

    def answers(self, beams: Beams) -> NDArray[np.float32]:
        """The log-probabilities (asks, V) of what follows each prefix that is asked about.

        Raises:
            DataError: the joint network gives NaN.
        """
        count = beams.counts[ASKS]
        rows = torch.from_numpy(beams.ask_rows[:count]).to(self._predicted.device)
        frames = torch.from_numpy(beams.ask_frames[:count]).to(self._predicted.device)
        logits = self._networks.joint(
            self._encoded.index_select(0, frames), self._predicted.index_select(0, rows)
        )
        answers: NDArray[np.float32] = torch.log_softmax(logits.float(), dim=-1).cpu().numpy()
        lost = np.flatnonzero(np.isnan(answers[:, BLANK]))  # a NaN makes all of its row NaN
        if len(lost):
            raise no_numbers(int(beams.ask_frames[lost[0]]) // self._num_frames)
        return answers

    def free(self, beams: Beams, used: NDArray[np.bool_]) -> Beams:
        """Note which rows (rows,) no prefix uses, and let the language model forget the rest."""
        unused = np.flatnonzero(~used).astype(np.int32)
        beams.counts[FREE] = len(unused)
        if self._histories is not None:
            self._histories.keep(np.unique(self._lm_states[used]))
        return beams._replace(free=unused)


def _longer(table: Tensor, size: int) -> Tensor:
    """A table with room for `size` rows."""
    longer = table.new_empty(size, *table.shape[1:])
    longer[: len(table)] = table
    return longer
