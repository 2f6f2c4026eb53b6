"""From scores to n-best lists: the search, then whole words, the end, equal texts merged."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from asr.compiled import compiled, compiled_loop
from asr.decoding.alignment import MAX_CELLS, token_frames
from asr.decoding.beam_kernel import advance, begin, rank
from asr.decoding.beam_memory import CURRENT, ENTRIES, Search
from asr.decoding.prefix_score import NO_LM, NONE, STEPWISE, TOKEN, Scorer, finish
from asr.decoding.trie import ROOT, child_of
from asr.lm.ngram import score_word

WORD_BREAK = 0  # stands between words where texts are compared; no code point of a text


class Found(NamedTuple):
    """The best hypotheses of an utterance, the best first.

    Attributes:
        lost: whether no prefix of the beam has a probability above zero; then there are none.
        total: what the search maximised, in nats.
        acoustic: log-probability of the labels.
        lm: log-probability of the words (or labels) and of the end, before its weight; 0: no model.
        tokens: of all, one after another.
        token_begin: (hypotheses + 1,) where those of each begin.
        spans: of all tokens: first frames, frames after the last, and confidences, by the best
            alignment of each hypothesis; no frames where it is too long to align.
    """

    lost: bool
    total: NDArray[np.float64]
    acoustic: NDArray[np.float64]
    lm: NDArray[np.float64]
    tokens: NDArray[np.int64]
    token_begin: NDArray[np.int64]
    spans: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]


class Wanted(NamedTuple):
    """What a search is asked for.

    Attributes:
        blank: index of the blank.
        lm_start: state of the language model at the beginning.
        nbest: most hypotheses; their texts differ, and their probabilities are summed over label
            sequences of equal text.
        by_length: rank by the score per label (Graves & Jaitly 2014).
    """

    blank: int
    lm_start: int
    nbest: int
    by_length: bool


@compiled
def decoded(search, scorer, pruning, wanted, scores):  # type: ignore[no-untyped-def]
    """The fields of `Found` for scores (T, V); one call, since each takes forty arrays apart."""
    begin(search, scorer, wanted.lm_start)
    advance(search, scorer, pruning, wanted.blank, scores)
    return outcome(search, scorer, wanted, scores)


@compiled
def outcome(search, scorer, wanted, scores):  # type: ignore[no-untyped-def]
    """The same after the last frame."""
    nodes, beam = search.nodes, search.beams[search.sizes[CURRENT]]
    size = search.sizes[ENTRIES]
    mass = 0.0
    for slot in range(size):
        mass += beam[slot].blank + beam[slot].label
    rank(search, beam)
    scale = search.log_scale[0]
    _, total, acoustic, lm, tokens, begins = best_texts(
        nodes, beam[:size], scorer, search.memo, wanted, scale
    )
    starts = np.zeros(len(tokens), np.int64)
    ends = np.zeros(len(tokens), np.int64)
    confidences = np.zeros(len(tokens))
    for at in range(len(total)):
        own = slice(begins[at], begins[at + 1])
        if len(scores) * (2 * len(tokens[own]) + 1) <= MAX_CELLS:
            starts[own], ends[own], confidences[own], _ = token_frames(
                scores, tokens[own], wanted.blank
            )
    return mass == 0.0, total, acoustic, lm, tokens, begins, (starts, ends, confidences)


@compiled
def best_texts(nodes, beam, scorer, memo, wanted, log_scale):  # type: ignore[no-untyped-def]
    """The best whole utterances of a beam, whose records have a `node` and a `total` each.

    To each total `log_scale` is added. Gives where in the beam they are, and the fields of `Found`
    from `total` to `token_begin`.
    """
    size = len(beam)
    total, acoustic = _finished(nodes, beam, scorer, memo, log_scale)
    order = _order(nodes, beam, total, wanted.by_length)
    count = 0
    while count < min(wanted.nbest, size) and total[order[count]] > -np.inf:
        count += 1
    begins = np.zeros(count + 1, np.int64)
    for at in range(count):
        begins[at + 1] = begins[at] + _depth(nodes, beam[order[at]].node)
    tokens = np.empty(begins[count], np.int64)
    lm = np.empty(count)
    for at in range(count):
        own = slice(begins[at], begins[at + 1])
        _read(nodes, beam[order[at]].node, tokens[own])
        lm[at] = lm_log_prob(scorer, wanted.lm_start, tokens[own])
    kept = order[:count]
    return kept, total[kept], acoustic[kept], lm, tokens, begins


def longest_whole(search: Search, scorer: Scorer) -> tuple[NDArray[np.int64], float]:
    """The labels of the best prefix up to its last finished word, and what is added to them.

    For the rare beam in which every prefix ends inside a word, which a dictionary does not allow.
    """
    beam = search.beams[search.sizes[CURRENT], : search.sizes[ENTRIES]]
    best = beam["node"][np.argmax(beam["total"] + beam["offset"])]
    tokens, added = whole_words(search.nodes, best, scorer, search.memo)
    return tokens, added


@compiled
def whole_words(nodes, node, scorer, memo):  # type: ignore[no-untyped-def]
    """The labels of a prefix up to its last finished word, and what is added to them."""
    added = finish(scorer, memo, nodes, node)
    while np.isnan(added):
        node = nodes[node].parent
        added = finish(scorer, memo, nodes, node)
    tokens = np.empty(_depth(nodes, node), np.int64)
    _read(nodes, node, tokens)
    return tokens, added


@compiled
def _finished(nodes, beam, scorer, memo, log_scale):  # type: ignore[no-untyped-def]
    """Total and acoustic log-probability (size,) of each prefix as a whole utterance.

    Minus infinity where it must not end, or where the text is that of a better prefix, which has
    the sum.
    """
    size = len(beam)
    total = np.full(size, -np.inf)
    acoustic = np.full(size, -np.inf)
    for slot in range(size):
        added = finish(scorer, memo, nodes, beam[slot].node)
        if not np.isnan(added):
            acoustic[slot] = beam[slot].total + log_scale
            total[slot] = acoustic[slot] + added
    _merge_equal_texts(nodes, scorer.labels, beam, total, acoustic)
    return total, acoustic


@compiled
def _order(nodes, beam, total, by_length):  # type: ignore[no-untyped-def]
    """The slots (size,), the best first."""
    ranks = total.copy()
    if by_length:
        for slot in range(len(total)):
            ranks[slot] = total[slot] / max(1, _depth(nodes, beam[slot].node))
    return np.argsort(-ranks, kind="mergesort")


@compiled_loop
def _read(nodes, node, tokens):  # type: ignore[no-untyped-def]
    """Fill `tokens` with the labels of a prefix."""
    for at in range(len(tokens) - 1, -1, -1):
        tokens[at] = nodes[node].token
        node = nodes[node].parent


@compiled_loop
def lm_log_prob(scorer, start, tokens):  # type: ignore[no-untyped-def]
    """What the language model says of whole labels, words and end, without any weight; 0: nothing.

    One that is asked between frames is asked again, for the hypotheses alone (`stepwise`).
    """
    labels, weights = scorer.labels, scorer.weights
    total, state, place = 0.0, np.int64(start), ROOT
    if weights.unit in (NO_LM, STEPWISE):
        return total
    for token in tokens:
        if weights.unit == TOKEN:
            log_prob, state = score_word(scorer.lm, state, scorer.token_lm[token])
            total += log_prob
            continue
        if labels.starts_word[token] and place != ROOT:
            log_prob, state = _word_log_prob(scorer, state, place)
            total += log_prob
            place = ROOT
        for at in range(labels.text_begin[token], labels.text_begin[token + 1]):
            if place != NONE:
                place = child_of(scorer.trie, place, labels.text[at])
    if place != ROOT:
        log_prob, state = _word_log_prob(scorer, state, place)
        total += log_prob
    log_prob, _ = score_word(scorer.lm, state, weights.eos)
    return total + log_prob


@compiled_loop
def _word_log_prob(scorer, state, place):  # type: ignore[no-untyped-def]
    word = NONE if place == NONE else scorer.trie[place].word
    known = scorer.weights.unknown_lm if word == NONE else scorer.word_lm[word]
    return score_word(scorer.lm, state, known)


@compiled_loop
def _depth(nodes, node):  # type: ignore[no-untyped-def]
    depth = 0
    while node != 0:
        depth += 1
        node = nodes[node].parent
    return depth


@compiled
def _merge_equal_texts(nodes, labels, beam, total, acoustic):  # type: ignore[no-untyped-def]
    """Add to the best of each text what the others of that text have, and remove those."""
    size = len(total)
    keys = np.empty(size, np.uint64)
    for slot in range(size):
        keys[slot] = _text_key(nodes, labels, beam[slot].node)
    order = np.argsort(keys, kind="mergesort")
    first = 0
    for at in range(1, size + 1):
        if at < size and keys[order[at]] == keys[order[first]]:
            continue
        if at - first > 1:
            _merge(order[first:at], total, acoustic)
        first = at


@compiled
def _merge(slots, total, acoustic):  # type: ignore[no-untyped-def]
    best = slots[0]
    for slot in slots:
        if total[slot] > total[best]:
            best = slot
    if total[best] == -np.inf:
        return
    for slot in slots:
        if slot != best and total[slot] > -np.inf:
            total[best] = np.logaddexp(total[best], total[slot])
            acoustic[best] = np.logaddexp(acoustic[best], acoustic[slot])
            total[slot] = -np.inf


@compiled_loop
def _text_key(nodes, labels, node):  # type: ignore[no-untyped-def]
    """A 64-bit hash (FNV-1a) of the text of a prefix, read from its end."""
    key = np.uint64(0xCBF29CE484222325)
    prime = np.uint64(0x100000001B3)
    seen = broken = False
    while node != 0:
        token = nodes[node].token
        for at in range(labels.text_begin[token + 1] - 1, labels.text_begin[token] - 1, -1):
            if broken:
                key = (key ^ np.uint64(WORD_BREAK)) * prime
                broken = False
            key = (key ^ np.uint64(labels.text[at])) * prime
            seen = True
        if labels.starts_word[token] and seen:
            broken = True
        node = nodes[node].parent
    return key
