"""The errors of all changed alignments, counted plainly: each from its whole transcript."""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from asr.data.text import normalize_text
from asr.objectives.exchange import BEGINS, BOUNDARY
from asr.objectives.transcripts import spelling_of
from tools.expected_wer_cases import Case

SPACE = 32


class Reference(NamedTuple):
    """What `naive` compares with: numbers of words and the words, or code points."""

    as_words: bool
    units: NDArray[np.int64]
    begin: NDArray[np.int64]
    text: NDArray[np.int32]


def naive_references(case: Case) -> list[Reference]:
    """The references for `naive`."""
    if case.loss == "wer":
        spelling = spelling_of(case.labels)
        each = [spelling.reference_words(text) for text in case.references]
        return [Reference(True, words.words, words.begin, words.text) for words in each]
    nothing, texts = np.zeros(1, np.int64), map(normalize_text, case.references)
    codes = [np.array([ord(character) for character in text], np.int64) for text in texts]
    return [Reference(False, units, nothing, nothing.astype(np.int32)) for units in codes]


@njit(nogil=True)
def naive(alignments, blank, labels, reference, changes, errors):  # type: ignore[no-untyped-def]
    """As `exchange_words` and `exchange_characters`, from a transcript for each label and frame.

    Args:
        alignments: (S, T) labels.
        blank: the label that stands for no token.
        labels: `LabelTexts`.
        reference: `Reference`.
        changes: (T, V), added to.
        errors: (S,), filled.
    """
    longest = 2 * len(labels.text) * alignments.shape[1]
    memory = np.empty(longest, np.int64), np.empty(longest, np.int64), np.empty((2, 999), np.int32)
    for s in range(len(alignments)):
        changed = alignments[s].copy()
        errors[s] = _errors(changed, blank, labels, reference, memory)
        for t in range(len(changed)):
            kept = changed[t]
            for k in range(changes.shape[1]):
                changed[t] = k
                changes[t, k] += _errors(changed, blank, labels, reference, memory) - errors[s]
            changed[t] = kept


@njit(nogil=True)
def _errors(alignment, blank, labels, reference, memory):  # type: ignore[no-untyped-def]
    text, numbers, rows = memory
    written = _spell(alignment, blank, labels, text)
    if reference.as_words:
        count = _number(text[:written], reference, numbers)
        return _distance(numbers[:count], reference.units, rows)
    return _distance(text[:written], reference.units, rows)


@njit(nogil=True)
def _spell(alignment, blank, labels, text):  # type: ignore[no-untyped-def]
    """The code points of an alignment, with single spaces; how many."""
    written, before, ended = 0, blank, False
    for k in alignment:
        if k not in (blank, before):
            ended |= labels.kind[k] in (BEGINS, BOUNDARY)
            for c in range(labels.begin[k], labels.begin[k + 1]):
                if ended and written:
                    text[written] = SPACE
                    written += 1
                text[written] = labels.text[c]
                written += 1
                ended = False
        before = k
    return written


@njit(nogil=True)
def _number(text, reference, numbers):  # type: ignore[no-untyped-def]
    """The numbers of the words of a text, -1 for those that the reference lacks; how many."""
    count = begin = 0
    for end in range(len(text) + 1):
        if begin < end and (end == len(text) or text[end] == SPACE):
            numbers[count] = -1
            for d in range(len(reference.begin) - 1):
                first = reference.begin[d]
                if reference.begin[d + 1] - first == end - begin:
                    same = 0
                    while same < end - begin and reference.text[first + same] == text[begin + same]:
                        same += 1
                    if same == end - begin:
                        numbers[count] = d
            count += 1
            begin = end + 1
    return count


@njit(nogil=True)
def _distance(hypothesis, reference, rows):  # type: ignore[no-untyped-def]
    """Levenshtein's distance, with two rows."""
    now, following = rows[0], rows[1]
    for m in range(len(reference) + 1):
        now[m] = m
    for unit in hypothesis:
        following[0] = now[0] + 1
        for m in range(len(reference)):
            pair = now[m] + (reference[m] != unit)
            following[m + 1] = min(pair, now[m + 1] + 1, following[m] + 1)
        now, following = following, now
    return now[len(reference)]
