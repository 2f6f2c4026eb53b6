"""Word errors of every alignment that differs from a sample in one frame.

A changed frame touches one word, or two where a space comes or goes. Most labels at a frame make
the same of it, a word that the reference lacks, so that errors are counted once for all of them;
the labels that make a word of the reference are found by its spelling. Frames with the same
neighbours (the blanks between two letters) have the same outcomes.
"""

import numpy as np

from asr.compiled import compiled, compiled_loop
from asr.objectives.edit_rows import (
    first_row,
    joined,
    last_row,
    step,
    step_back,
    with_unit_between,
)
from asr.objectives.exchange import BEGINS, BOUNDARY, JOINS, SILENT, differs, exchanges


@compiled
def exchange_words(alignments, blank, labels, reference, changes, errors):  # type: ignore[no-untyped-def]
    """Add up what each label at each frame changes in the number of word errors.

    Args:
        alignments: (S, T) labels.
        blank: the label that stands for no token.
        labels: `LabelTexts`.
        reference: `ReferenceWords`.
        changes: (T, V) float; the errors with label k at frame t minus those of the sample itself,
            summed over the samples, are added.
        errors: (S,) int64, filled with the errors of the samples.
    """
    num_words = len(reference.words)
    num_different = len(reference.begin) - 1
    row = np.empty(len(labels.kind), np.int32)
    scratch = np.empty((3, num_words + 1), np.int32)
    matched = np.empty(num_different, np.int32)
    fits = np.empty(num_different, np.bool_)
    for s in range(len(alignments)):
        tokens, where = exchanges(alignments[s], blank)
        text, end = _spell(tokens, labels)
        prefix, suffix, words = _cut(tokens, end, labels)
        before, after = _rows(text, words, reference)
        errors[s] = before[len(words), num_words]
        for t in range(len(where)):
            if t == 0 or differs(where, t):
                i, q, j, p, n = where[t]
                begun, complete = prefix[i]
                left = text[begun : end[i]]
                right = text[end[q] : suffix[q, 0]]
                rows = (before[complete], after[suffix[q, 1]])
                _outcomes(left, right, rows, labels, reference, (row, scratch, matched, fits))
                if p != blank:
                    row[p] = row[blank]
                if n != blank:
                    row[n] = row[blank]
                if p == n and p != blank:
                    right = text[end[j] : suffix[j, 0]]
                    rest = after[suffix[j, 1]]
                    row[p] = _as_one(left, right, rows[0], rest, reference, (matched, fits))
                for k in range(len(row)):
                    row[k] -= errors[s]
            for k in range(len(row)):
                changes[t, k] += row[k]


@compiled
def _spell(tokens, labels):  # type: ignore[no-untyped-def]
    """The characters of tokens without boundaries, and how many the first i tokens have."""
    end = np.zeros(len(tokens) + 1, np.int64)
    for u in range(len(tokens)):
        k = tokens[u]
        end[u + 1] = end[u] + labels.begin[k + 1] - labels.begin[k]
    text = np.empty(end[len(tokens)], np.int32)
    for u in range(len(tokens)):
        begin = labels.begin[tokens[u]]
        for c in range(end[u + 1] - end[u]):
            text[end[u] + c] = labels.text[begin + c]
    return text, end


@compiled
def _cut(tokens, end, labels):  # type: ignore[no-untyped-def]
    """Where the words are cut by the beginning or the end of each token.

    Returns:
        prefix: (U + 1, 2): of the first i tokens, where their last, unfinished word begins, and how
            many words are complete before it.
        suffix: (U + 1, 2): of the tokens from q on, where the characters end that would join a word
            begun before, and the first word after those.
        words: (N, 2) begin and end of the words of all tokens.
    """
    num_tokens = len(tokens)
    prefix = np.zeros((num_tokens + 1, 2), np.int64)
    words = np.empty((num_tokens, 2), np.int64)
    begun = complete = 0
    for u in range(num_tokens):
        kind = labels.kind[tokens[u]]
        if kind in (BEGINS, BOUNDARY) and end[u] > begun:
            words[complete, 0], words[complete, 1] = begun, end[u]
            complete += 1
            begun = end[u]
        prefix[u + 1, 0], prefix[u + 1, 1] = begun, complete
    if end[num_tokens] > begun:
        words[complete, 0], words[complete, 1] = begun, end[num_tokens]
        complete += 1
    suffix = np.empty((num_tokens + 1, 2), np.int64)
    suffix[num_tokens, 0], suffix[num_tokens, 1] = end[num_tokens], complete
    following = complete
    for v in range(num_tokens):
        u = num_tokens - 1 - v
        kind = labels.kind[tokens[u]]
        cuts = kind in (BEGINS, BOUNDARY)
        suffix[u, 0] = end[u] if cuts else suffix[u + 1, 0]
        while following > 0 and words[following - 1, 0] >= suffix[u, 0]:
            following -= 1
        suffix[u, 1] = following
    return prefix, suffix, words[:complete]


@compiled
def _rows(text, words, reference):  # type: ignore[no-untyped-def]
    """The rows F and S of a transcript's words."""
    length = len(reference.words) + 1
    before = np.empty((len(words) + 1, length), np.int32)
    after = np.empty((len(words) + 1, length), np.int32)
    first_row(before[0])
    last_row(after[len(words)])
    numbers = np.empty(len(words), np.int64)
    nothing = text[:0]
    for w in range(len(words)):
        numbers[w] = _number(text[words[w, 0] : words[w, 1]], nothing, reference)
        step(before[w], numbers[w], reference.words, before[w + 1])
    for v in range(len(words)):
        w = len(words) - 1 - v
        step_back(after[w + 1], numbers[w], reference.words, after[w])
    return before, after


@compiled_loop
def _outcomes(left, right, rows, labels, reference, memory):  # type: ignore[no-untyped-def]
    """The errors with each label between two pieces of words, the blank's for silent ones.

    Args:
        left: characters of the unfinished word before.
        right: characters that join it.
        rows: F of the complete words before and S of those after.
        labels: `LabelTexts`.
        reference: `ReferenceWords`.
        memory: `row` (V,) to be filled, and working memory.
    """
    row, scratch, matched, fits = memory
    before, after = rows
    spelled = reference.words
    silent = _as_one(left, right, before, after, reference, (matched, fits))
    joins = with_unit_between(before, after, spelled, matched)
    complete, tail = before, after  # with a boundary after the left piece
    nothing = left[:0]
    if len(left):
        complete = scratch[0]
        step(before, _number(left, nothing, reference), spelled, complete)
    if len(right):
        tail = scratch[1]
        step_back(after, _number(right, nothing, reference), spelled, tail)
    boundary = joined(complete, tail)
    for k in range(len(row)):
        kind = labels.kind[k]
        row[k] = silent if kind == SILENT else (joins if kind == JOINS else boundary)
    _match(left, right, JOINS, labels, reference, (row, matched, fits))
    begins = with_unit_between(complete, after, spelled, matched)
    for k in range(len(row)):
        if labels.kind[k] == BEGINS:
            row[k] = begins
    _match(nothing, right, BEGINS, labels, reference, (row, matched, fits))


@compiled_loop
def _match(left, right, kind, labels, reference, memory):  # type: ignore[no-untyped-def]
    """Lower the errors of the labels that make a word of the reference of two pieces."""
    row, matched, fits = memory
    _fit(left, right, reference, fits)
    for d in range(len(fits)):
        begin, end = reference.begin[d], reference.begin[d + 1]
        missing = end - begin - len(left) - len(right)
        if not fits[d] or missing == 0:
            continue
        place = begin + len(left)
        for m in range(reference.match_begin[place], reference.match_begin[place + 1]):
            k = reference.match_label[m]
            if labels.kind[k] == kind and labels.begin[k + 1] - labels.begin[k] == missing:
                row[k] = min(row[k], matched[d])


@compiled_loop
def _as_one(left, right, before, after, reference, memory):  # type: ignore[no-untyped-def]
    """The errors when two pieces are one word, or none where both are empty."""
    matched, _ = memory
    if len(left) + len(right) == 0:
        return joined(before, after)
    unmatched = with_unit_between(before, after, reference.words, matched)
    number = _number(left, right, reference)
    return min(unmatched, matched[number]) if number >= 0 else unmatched


@compiled_loop
def _number(left, right, reference):  # type: ignore[no-untyped-def]
    """The number of the word of the reference that two pieces spell, or -1."""
    for d in range(len(reference.begin) - 1):
        if reference.begin[d + 1] - reference.begin[d] == len(left) + len(right) and _fits(
            left, right, d, reference
        ):
            return d
    return -1


@compiled_loop
def _fit(left, right, reference, fits):  # type: ignore[no-untyped-def]
    for d in range(len(fits)):
        fits[d] = _fits(left, right, d, reference)


@compiled_loop
def _fits(left, right, d, reference):  # type: ignore[no-untyped-def]
    """Whether a word of the reference begins with one piece and ends, after it, with another."""
    begin, end = reference.begin[d], reference.begin[d + 1]
    if len(left) + len(right) > end - begin:
        return False
    for c in range(len(left)):
        if reference.text[begin + c] != left[c]:
            return False
    matching = 0
    while matching < len(right) and reference.text[end - 1 - matching] == right[-1 - matching]:
        matching += 1
    return matching == len(right)
