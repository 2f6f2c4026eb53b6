"""A search with a language model that is asked between frames: a network, which has no automaton.

After a frame with new prefixes the model is asked once, for all of them: their histories go on by a
label each, and the log-probabilities of all labels after them become rows that the compiled loop
reads. A prefix of the beam has a row as long as it stays there; one that comes back gets another.
"""

import numpy as np
from numpy.typing import NDArray

from asr.decoding.beam_kernel import advance, begin
from asr.decoding.beam_memory import CURRENT, ENTRIES, NEW, Pruning, Search
from asr.decoding.prefix_score import NONE, Scorer
from asr.decoding.scores import Scores
from asr.lm.perplexity import word_log_probs
from asr.lm.protocol import Histories, StepwiseModel

FIRST_ROW = 0  # of the empty prefix


def follow(
    search: Search,
    scorer: Scorer,
    pruning: Pruning,
    blank: int,
    scores: Scores,
    histories: Histories,
) -> None:
    """Search all frames of `scores` (T, V); the beam then has every row that its end needs."""
    begin(search, scorer, FIRST_ROW)
    states = np.full(len(search.fresh), histories.start(), dtype=np.int32)  # of each row
    search.memo.label_rows[FIRST_ROW] = histories.log_probs(states[:1])[0]
    done = 0
    while done < len(scores):
        done += advance(search, scorer, pruning, blank, scores[done:])
        _ask(search, scorer, histories, states)


def label_log_probs(
    model: StepwiseModel, scorer: Scorer, tokens: NDArray[np.int64], begins: NDArray[np.int64]
) -> NDArray[np.float64]:
    """What a model says of hypotheses and their ends (n,); tokens as those of `Found`."""
    if len(begins) == 1:
        return np.zeros(0)
    lengths = np.diff(begins) + 1
    words = np.insert(scorer.token_lm[tokens], begins[1:], model.eos)
    said = word_log_probs(model.open(), words, lengths)
    return np.add.reduceat(said, np.cumsum(lengths) - lengths)


def forget_rows(search: Search) -> None:
    """Let no prefix have a row, so that the end of a sentence counts for none of them."""
    beam = search.beams[search.sizes[CURRENT], : search.sizes[ENTRIES]]
    search.nodes["lm_state"][beam["node"]] = NONE


def end_log_prob(model: StepwiseModel, scorer: Scorer, tokens: NDArray[np.int64]) -> float:
    """What a model says of the end of a sentence after tokens."""
    words = np.append(scorer.token_lm[tokens], np.int32(model.eos))
    return float(word_log_probs(model.open(), words, np.array([len(words)]))[-1])


def _ask(search: Search, scorer: Scorer, histories: Histories, states: NDArray[np.int32]) -> None:
    """Give the new prefixes rows of their own."""
    fresh = search.fresh[: search.sizes[NEW]]
    if not len(fresh):
        return
    search.sizes[NEW] = 0
    after = histories.advance(states[fresh["row"]], scorer.token_lm[fresh["token"]])
    beam = search.beams[search.sizes[CURRENT], : search.sizes[ENTRIES]]
    row_of = search.nodes["lm_state"]
    is_free = np.ones(len(states), dtype=np.bool_)
    old = row_of[beam["node"]]
    is_free[old[old != NONE]] = False
    rows = np.flatnonzero(is_free)[: len(fresh)]
    states[rows] = after
    search.memo.label_rows[rows] = histories.log_probs(after)
    row_of[fresh["node"]] = rows
    histories.keep(states[row_of[beam["node"]]])
