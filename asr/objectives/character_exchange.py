"""Character errors of every alignment that differs from a sample in one frame.

The transcript of tokens has single spaces between its words and none at the ends, whatever spaces
the tokens hold; a space is written when the first character of a further word is. A label of one
character costs nothing of its own: one pass over the reference gives the errors with every
character in that place. Labels of several (sub-words) are followed through the table one by one.
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
    within_reach,
)
from asr.objectives.exchange import BEGINS, BOUNDARY, JOINS, SILENT, differs, exchanges


@compiled
def exchange_characters(alignments, blank, labels, reference, changes, errors):  # type: ignore[no-untyped-def]
    """As `word_exchange.exchange_words`, for characters.

    Args:
        alignments: (S, T) labels.
        blank: the label that stands for no token.
        labels: `LabelTexts`.
        reference: `ReferenceCharacters`.
        changes: (T, V) float, added to.
        errors: (S,) int64, filled.
    """
    length = len(reference.characters) + 1
    row = np.empty(len(labels.kind), np.int32)
    scratch = np.empty((4, length), np.int32)
    matched = np.empty(reference.num_different, np.int32)
    for s in range(len(alignments)):
        tokens, where = exchanges(alignments[s], blank)
        text, prefix, suffix = _write(tokens, labels, reference)
        before, after = _rows(text, reference)
        errors[s] = before[len(text), length - 1]
        for t in range(len(where)):
            if t == 0 or differs(where, t):
                i, q, j, p, n = where[t]
                sides = (prefix[i], suffix[q], before, after)
                _outcomes(sides, labels, reference, (row, scratch, matched))
                if p != blank:
                    row[p] = row[blank]
                if n != blank:
                    row[n] = row[blank]
                if p == n and p != blank:
                    sides = (prefix[i], suffix[j], before, after)
                    row[p] = _side_by_side(sides, False, reference, matched)
                for k in range(len(row)):
                    row[k] -= errors[s]
            for k in range(len(row)):
                changes[t, k] += row[k]


@compiled
def _write(tokens, labels, reference):  # type: ignore[no-untyped-def]
    """The characters of tokens, by their numbers, and how each token cuts them.

    Returns:
        text: (N,) numbers of the characters, spaces included.
        prefix: (U + 1, 2): characters of the first i tokens, and whether a word ends after them.
        suffix: (U + 1, 2): the first character of the tokens from q on that is no space, N without
            any, and whether these tokens begin a word with it.
    """
    num_tokens = len(tokens)
    longest = num_tokens
    for u in range(num_tokens):
        longest += labels.begin[tokens[u] + 1] - labels.begin[tokens[u]]
    text = np.empty(longest, np.int64)
    prefix = np.zeros((num_tokens + 1, 2), np.int64)
    suffix = np.empty((num_tokens + 1, 2), np.int64)
    written = ended = 0
    for u in range(num_tokens):
        k = tokens[u]
        kind = labels.kind[k]
        if kind in (BEGINS, BOUNDARY) and written > 0:
            ended = 1
        if kind in (BEGINS, JOINS):
            if ended:
                text[written] = reference.space
                written += 1
                ended = 0
            suffix[u, 0] = written
            for c in range(labels.begin[k], labels.begin[k + 1]):
                text[written] = reference.label_text[c]
                written += 1
        prefix[u + 1, 0], prefix[u + 1, 1] = written, ended
    suffix[num_tokens, 0], suffix[num_tokens, 1] = written, 0
    for v in range(num_tokens):
        u = num_tokens - 1 - v
        kind = labels.kind[tokens[u]]
        if kind in (SILENT, BOUNDARY):
            suffix[u, 0] = suffix[u + 1, 0]
        suffix[u, 1] = 0 if kind == JOINS else (suffix[u + 1, 1] if kind == SILENT else 1)
    return text[:written], prefix, suffix


@compiled
def _rows(text, reference):  # type: ignore[no-untyped-def]
    """The rows F and S of a transcript's characters."""
    length = len(reference.characters) + 1
    before = np.empty((len(text) + 1, length), np.int32)
    after = np.empty((len(text) + 1, length), np.int32)
    first_row(before[0])
    last_row(after[len(text)])
    for c in range(len(text)):
        step(before[c], text[c], reference.characters, before[c + 1])
    for v in range(len(text)):
        c = len(text) - 1 - v
        step_back(after[c + 1], text[c], reference.characters, after[c])
    return before, after


@compiled_loop
def _side_by_side(sides, boundary, reference, matched):  # type: ignore[no-untyped-def]
    """The errors of a prefix and a suffix, with a space between them where words meet.

    Args:
        sides: a line of `prefix`, a line of `suffix`, the rows F and S.
        boundary: whether a boundary is put between the two.
        reference: `ReferenceCharacters`.
        matched: working memory.
    """
    prefix, suffix, before, after = sides
    head, tail = before[prefix[0]], after[suffix[0]]
    both = prefix[0] > 0 and suffix[0] < len(after) - 1
    if both and (boundary or prefix[1] or suffix[1]):
        first, last = within_reach(head, tail, 1)
        unmatched = with_unit_between(
            head[first:last], tail[first:last], reference.characters[first : last - 1], matched
        )
        if reference.space < 0:
            return unmatched
        return min(unmatched, matched[reference.space])
    return joined(head, tail)


@compiled_loop
def _outcomes(sides, labels, reference, memory):  # type: ignore[no-untyped-def]
    """The errors with each label between a prefix and a suffix, the blank's for silent ones.

    Args:
        sides: as for `_side_by_side`.
        labels: `LabelTexts`.
        reference: `ReferenceCharacters`.
        memory: `row` (V,) to be filled, and working memory.
    """
    row, scratch, matched = memory
    prefix, suffix, before, after = sides
    characters = reference.characters
    silent = _side_by_side(sides, False, reference, matched)
    boundary = _side_by_side(sides, True, reference, matched)
    for k in range(len(row)):
        row[k] = boundary if labels.kind[k] == BOUNDARY else silent
    head = parted = before[prefix[0]]
    if prefix[0] > 0:  # the prefix and a space
        parted = scratch[0]
        step(before[prefix[0]], reference.space, characters, parted)
    if prefix[1]:
        head = parted
    tail = after[suffix[0]]
    if suffix[1] and suffix[0] < len(after) - 1:  # the suffix after a space
        tail = scratch[1]
        step_back(after[suffix[0]], reference.space, characters, tail)
    _put_between(JOINS, head, tail, labels, reference, memory)
    _put_between(BEGINS, parted, tail, labels, reference, memory)


@compiled_loop
def _put_between(kind, head, tail, labels, reference, memory):  # type: ignore[no-untyped-def]
    """Fill in the errors with the text of each label of a kind between two rows."""
    row, scratch, matched = memory
    reached = 1
    first, last = within_reach(head, tail, reached)
    unmatched = with_unit_between(
        head[first:last], tail[first:last], reference.characters[first : last - 1], matched
    )
    for k in range(len(row)):
        if labels.kind[k] != kind:
            continue
        begin, end = labels.begin[k], labels.begin[k + 1]
        number = reference.label_text[begin]
        if end - begin == 1:
            row[k] = min(unmatched, matched[number]) if number >= 0 else unmatched
            continue
        if end - begin != reached:
            reached = end - begin
            first, last = within_reach(head, tail, reached)
        characters = reference.characters[first : last - 1]
        now, other = scratch[2, : last - first], scratch[3, : last - first]
        step(head[first:last], number, characters, now)
        for c in range(begin + 1, end):
            step(now, reference.label_text[c], characters, other)
            now, other = other, now
        row[k] = joined(now, tail[first:last])
