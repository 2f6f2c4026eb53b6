"""What language model, word bonus and hot words add to a prefix, inside the compiled search.

A prefix has finished words, whose score is certain, and perhaps an unfinished one. The unfinished
word counts as the best that it can still become (`look` of the trie), so that the opinion of a
language model arrives before the word ends; when the word ends, its own score takes the place.

`fusion="prior"` (Graves & Jaitly 2014; `papers`: the language model as a prior of characters)
counts it as the logarithm of the share that the words below it have of all words after this
history, each with its probability to the power of the weight. The shares of one history are a row
of a table, worked out when a prefix first needs it.

A language model that is no automaton (a network) is asked between frames, for all new prefixes at
once; its answers are rows of another table.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from asr.compiled import compiled_inline, compiled_loop
from asr.data.labels import LabelArrays
from asr.decoding.trie import ROOT, Trie, child_of
from asr.lm.ngram import Automaton, score_word

NONE = -1
NO_LM, WORD, TOKEN, STEPWISE = 0, 1, 2, 3  # what the words of the language model are


class Weights(NamedTuple):
    """The numbers of a fusion, and its kind.

    Attributes:
        lm_weight: factor of the language model's log-probability.
        unknown_cost: what an unknown word adds wherever it stands (bonus and weighted penalty).
        unknown_look: what an unfinished unknown word counts as.
        best_cost: the most that any word adds besides the language model's log-probability.
        word_bonus: the part of `word_cost` that every word has.
        token_bonus: what each token adds where the language model's words are tokens.
        unknown_lm, eos: words of the language model.
        unit: NO_LM, WORD or TOKEN; STEPWISE: tokens, whose log-probabilities are `Memo.label_rows`.
        closed: only the words of the tree are allowed.
        prior: whether unfinished words count by shares of `Memo.prior_sums`.
        hot: whether there are hot words.
        pieces: whether some labels begin a word and spell it as well, so that one that only begins
            a word may be the first label, not only what stands after a word.
    """

    lm_weight: float
    unknown_cost: float
    unknown_look: float
    best_cost: float
    word_bonus: float
    token_bonus: float
    unknown_lm: int
    eos: int
    unit: int
    closed: bool
    prior: bool
    hot: bool
    pieces: bool


class Scorer(NamedTuple):
    """Everything about scoring that stays the same during a search.

    Attributes:
        labels, trie: of the model, and the words that are known.
        lm: the language model.
        hot: hot words and phrases as an automaton whose scores are their bonuses.
        word_lm: (words,) the words of the trie for the language model.
        word_cost: (words,) what each adds besides the language model's log-probability.
        word_hot: (words,) the words of the trie for `hot`; 0: none.
        token_lm: (V,) the labels for the language model, where its words are tokens.
        weights: the numbers.
    """

    labels: LabelArrays
    trie: Trie
    lm: Automaton
    hot: Automaton
    word_lm: NDArray[np.int32]
    word_cost: NDArray[np.float64]
    word_hot: NDArray[np.int32]
    token_lm: NDArray[np.int32]
    weights: Weights


class Memo(NamedTuple):
    """What a search keeps of what the language model said.

    `prior_sums` has logarithms of sums of weighted word probabilities below each node of the trie.

    Attributes:
        row_of: (states of the language model,) the row of a state in `prior_sums`, or -1.
        state_of: (rows,) the state of a row, or -1.
        prior_sums: (rows, nodes of the trie).
        used: (1,) rows that were filled so far; the oldest is filled anew when all are.
        label_rows: (beam size, words of the language model) log-probabilities of every word after
            a prefix of the beam, whose `lm_state` is the row; only for STEPWISE.
    """

    row_of: NDArray[np.int32]
    state_of: NDArray[np.int32]
    prior_sums: NDArray[np.float64]
    used: NDArray[np.int64]
    label_rows: NDArray[np.float32]


# A prefix that ever was in the beam; prefix 0 is the empty one. One cache line.
#   parent, token: the prefix without its last label, and that label.
#   child, sibling: first extension, and next extension of the same parent; -1: none.
#   slot: where in the beam it is, or -1.
#   place: of its unfinished word in the trie; 0: none begun, -1: outside.
#   lm_state, hot_state: after its finished words (or tokens).
#   scored: what language model, bonus and hot words add for these.
#   offset: `scored` and what the unfinished word can still become.
#   ended, ended_lm, ended_hot: `scored` and the states if its word ends here; NaN: not known yet.
NODE = np.dtype(
    [
        *((name, np.float64) for name in ("scored", "offset", "ended")),
        *((name, np.int32) for name in ("parent", "token", "child", "sibling", "slot")),
        *((name, np.int32) for name in ("place", "lm_state", "hot_state")),
        *((name, np.int32) for name in ("ended_lm", "ended_hot")),
    ],
    align=True,
)


@compiled_inline
def close_word(scorer, memo, nodes, node):  # type: ignore[no-untyped-def]
    """Fill `nodes.ended…[node]`, once; False when the word must not end here."""
    weights = scorer.weights
    place = nodes[node].place
    word = scorer.trie[place].word if place > ROOT else NONE
    if weights.closed and word == NONE:
        return False
    if not np.isnan(nodes[node].ended):
        return True
    state = nodes[node].lm_state
    total = nodes[node].scored + (weights.unknown_cost if word == NONE else scorer.word_cost[word])
    if weights.unit == WORD:
        known = weights.unknown_lm if word == NONE else scorer.word_lm[word]
        log_prob, after = score_word(scorer.lm, state, known)
        total += weights.lm_weight * log_prob
        if weights.prior:
            total -= memo.prior_sums[prior_row(scorer, memo, state), ROOT]
        state = after
    nodes[node].ended_hot = nodes[node].hot_state
    if weights.hot:
        heard = 0 if word == NONE else scorer.word_hot[word]
        bonus, hot_after = score_word(scorer.hot, nodes[node].hot_state, heard)
        total += bonus
        nodes[node].ended_hot = hot_after
    nodes[node].ended = total
    nodes[node].ended_lm = state
    return True


@compiled_inline
def extend(scorer, memo, nodes, node, token):  # type: ignore[no-untyped-def]
    """A prefix with one more label: whether it may be, scored, offset, place, LM and hot state."""
    weights = scorer.weights
    labels = scorer.labels
    place, scored = nodes[node].place, nodes[node].scored
    lm_state, hot_state = nodes[node].lm_state, nodes[node].hot_state
    begin, end = labels.text_begin[token], labels.text_begin[token + 1]
    if labels.starts_word[token]:
        if place != ROOT:
            if not close_word(scorer, memo, nodes, node):
                return False, 0.0, 0.0, 0, 0, 0
            scored, hot_state = nodes[node].ended, nodes[node].ended_hot
            if weights.unit == WORD:
                lm_state = nodes[node].ended_lm
        elif weights.closed and begin == end and not (weights.pieces and node == 0):
            return False, 0.0, 0.0, 0, 0, 0
        place = ROOT
    if weights.unit in (TOKEN, STEPWISE):
        log_prob, lm_state = _token_log_prob(scorer, memo, lm_state, scorer.token_lm[token])
        scored += weights.lm_weight * log_prob + weights.token_bonus
    for at in range(begin, end):
        if place == NONE:
            break
        place = child_of(scorer.trie, place, labels.text[at])
    if place == NONE and weights.closed:
        return False, 0.0, 0.0, 0, 0, 0
    offset = scored + _look(scorer, memo, lm_state, place)
    return True, scored, offset, place, lm_state, hot_state


@compiled_inline
def _token_log_prob(scorer, memo, lm_state, word):  # type: ignore[no-untyped-def]
    """What the language model says of a label, and its state after it, or -1: it must be asked."""
    if scorer.weights.unit == STEPWISE:
        return np.float64(memo.label_rows[lm_state, word]), np.int64(NONE)
    return score_word(scorer.lm, lm_state, word)


@compiled_inline
def most_beyond(scorer, nodes, node):  # type: ignore[no-untyped-def]
    """A bound on `offset` of a prefix with one more label that begins a word."""
    ended = nodes[node].ended
    if np.isnan(ended):  # not worked out yet: as if the language model were certain of the word
        ended = nodes[node].scored + scorer.weights.best_cost
    return max(nodes[node].offset, ended + scorer.trie[ROOT].look)


@compiled_loop
def finish(scorer, memo, nodes, node):  # type: ignore[no-untyped-def]
    """What is added to a prefix if the utterance ends here; NaN when it must not."""
    weights = scorer.weights
    total, state, hot_state = nodes[node].scored, nodes[node].lm_state, nodes[node].hot_state
    if nodes[node].place != ROOT:
        if not close_word(scorer, memo, nodes, node):
            return np.nan
        total, hot_state = nodes[node].ended, nodes[node].ended_hot
        if weights.unit == WORD:
            state = nodes[node].ended_lm
    if weights.unit == STEPWISE:
        if state != NONE:  # a prefix outside the beam has no row any more
            total += weights.lm_weight * np.float64(memo.label_rows[state, weights.eos])
    elif weights.unit != NO_LM:
        log_prob, _ = score_word(scorer.lm, state, weights.eos)
        total += weights.lm_weight * log_prob
    if weights.hot:  # what an unfinished phrase was given is taken back
        bonus, _ = score_word(scorer.hot, hot_state, 0)
        total += bonus
    return total


@compiled_inline
def _look(scorer, memo, lm_state, place):  # type: ignore[no-untyped-def]
    """What an unfinished word at `place` counts as."""
    if place == NONE:
        return scorer.weights.unknown_look
    if scorer.weights.prior:
        if place == ROOT:
            return 0.0
        row = prior_row(scorer, memo, lm_state)
        return memo.prior_sums[row, place] - memo.prior_sums[row, ROOT]
    return scorer.trie[place].look


@compiled_loop
def prior_row(scorer, memo, state):  # type: ignore[no-untyped-def]
    """The row of `memo.prior_sums` for a state of the language model, filled if need be."""
    row = memo.row_of[state]
    if row != NONE:
        return row
    row = memo.used[0] % len(memo.state_of)
    memo.used[0] += 1
    if memo.state_of[row] != NONE:
        memo.row_of[memo.state_of[row]] = NONE
    memo.state_of[row] = state
    memo.row_of[state] = row
    _fill(scorer, memo.prior_sums[row], state)
    return row


@compiled_loop
def _fill(scorer, sums, state):  # type: ignore[no-untyped-def]
    """`sums` (nodes,): for each node the log of the sum over the words at and below it."""
    trie = scorer.trie
    for node in range(len(sums) - 1, -1, -1):
        total, best = 0.0, -np.inf
        own = -np.inf
        if trie[node].word != NONE:
            log_prob, _ = score_word(scorer.lm, state, scorer.word_lm[trie[node].word])
            own = scorer.weights.lm_weight * log_prob
            own += scorer.word_cost[trie[node].word] - scorer.weights.word_bonus
            best = own
        begin, end = trie[node].child_begin, trie[node].child_begin + trie[node].num_children
        for child in range(begin, end):
            best = max(best, sums[child])
        if own > -np.inf:
            total += np.exp(own - best)
        for child in range(begin, end):
            total += np.exp(sums[child] - best)
        sums[node] = best + np.log(total)
