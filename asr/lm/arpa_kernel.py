"""Lines of n-grams to numbers: the compiled loop over the bytes of an ARPA file.

Words are found in a hash table over their bytes. A line that is wrong stops the loop with a
`Fault`; `asr.lm.arpa` says it in words. The rows are `asr.lm.states.Rows`.
"""

import math
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from asr.compiled import compiled, compiled_loop

TAB, LINE_FEED, RETURN, SPACE = 9, 10, 13, 32
BACKSLASH, PLUS, MINUS, POINT, ZERO, NINE = 92, 43, 45, 46, 48, 57
MAX_FIELDS = 9  # a number, six words, a number, and one that is too many
MAX_LINE_BYTES = 1 << 16
TOLERANCE = 1e-4  # of log10 probabilities above 0, which rounding makes of those just below
LN10 = math.log(10)
LARGEST = 1e38  # of numbers in a file: a natural logarithm in float32 holds it
MOST_DIGITS = 18  # that surely fit 64 bits
POWERS = 10.0 ** np.arange(23)  # exact in float64


class Fault(IntEnum):
    """Why the loop stopped; the first two are no faults."""

    BLOCK_DONE = 0
    SECTION_DONE = 1  # a line that begins with a backslash
    TOO_MANY_NGRAMS = 2
    LONG_LINE = 3
    NO_PROBABILITY = 4
    NO_NUMBER = 5
    NOT_FINITE = 6
    POSITIVE = 7
    TOO_FEW_WORDS = 8
    TOO_MANY_FIELDS = 9
    HIGHEST_BACKOFF = 10
    NO_BACKOFF_NUMBER = 11
    BACKOFF_NOT_FINITE = 12
    UNKNOWN_WORD = 13


class WordTable(NamedTuple):
    """The words by their bytes: open addressing with linear probing.

    Attributes:
        text: (bytes,) uint8, all words, a line feed between.
        begins: (words + 1,) int64; word i is text[begins[i] : begins[i + 1] - 1].
        slots: (a power of two,) int32, word ids, or -1.
        hashes: of the words in the slots, uint32.
    """

    text: NDArray[np.uint8]
    begins: NDArray[np.int64]
    slots: NDArray[np.int32]
    hashes: NDArray[np.uint32]


@compiled
def read_unigrams(block, at, line, filled, rows, text, begins):  # type: ignore[no-untyped-def]
    """Read 1-grams from `block[at:]` into the rows from `filled` on, their words into `text`.

    Returns:
        The fault, the place and the number of the line that it is about, the rows filled.
    """
    highest = len(rows.backoffs) == 0
    fields = np.empty((MAX_FIELDS, 2), np.int64)
    while at < len(block):
        count, after = _split(block, at, fields)
        fault = _fault_before(block, at, after, count, filled, len(rows.lines), fields)
        log_prob = backoff = 0.0
        if fault == Fault.BLOCK_DONE and count > 0:
            fault, log_prob, backoff = _read_numbers(block, fields, count, 1, highest)
        if fault != Fault.BLOCK_DONE:
            return fault, at, line, filled
        if count > 0:
            place = begins[filled]
            for j in range(fields[1, 0], fields[1, 1]):
                text[place] = block[j]
                place += 1
            text[place] = LINE_FEED
            begins[filled + 1] = place + 1
            rows.log_probs[filled] = log_prob
            if not highest:
                rows.backoffs[filled] = backoff
            rows.lines[filled] = line
            filled += 1
        at = after
        line += 1
    return Fault.BLOCK_DONE, at, line, filled


@compiled
def read_ngrams(block, at, line, filled, rows, table):  # type: ignore[no-untyped-def]
    """Read n-grams of an order above 1 from `block[at:]` into the rows from `filled` on.

    Returns:
        The fault, the place and the number of the line that it is about, the rows filled.
    """
    order = rows.ngrams.shape[1]
    highest = len(rows.backoffs) == 0
    fields = np.empty((MAX_FIELDS, 2), np.int64)
    while at < len(block):
        count, after = _split(block, at, fields)
        fault = _fault_before(block, at, after, count, filled, len(rows.lines), fields)
        log_prob = backoff = 0.0
        if fault == Fault.BLOCK_DONE and count > 0:
            fault, log_prob, backoff = _read_numbers(block, fields, count, order, highest)
        if fault != Fault.BLOCK_DONE:
            return fault, at, line, filled
        if count > 0:
            for k in range(order):
                word = find_word(table, block, fields[k + 1, 0], fields[k + 1, 1])
                if word < 0:
                    return Fault.UNKNOWN_WORD, at, line, filled
                rows.ngrams[filled, k] = word
            rows.log_probs[filled] = log_prob
            if not highest:
                rows.backoffs[filled] = backoff
            rows.lines[filled] = line
            filled += 1
        at = after
        line += 1
    return Fault.BLOCK_DONE, at, line, filled


@compiled_loop
def fill_table(table):  # type: ignore[no-untyped-def]
    """Put all words into the empty slots; gives the first that is there already, or -1."""
    mask = len(table.slots) - 1
    for word in range(len(table.begins) - 1):
        begin, end = table.begins[word], table.begins[word + 1] - 1
        if find_word(table, table.text, begin, end) >= 0:
            return word
        key = _hash(table.text, begin, end)
        slot = np.int64(key) & mask
        while table.slots[slot] >= 0:
            slot = (slot + 1) & mask
        table.slots[slot] = word
        table.hashes[slot] = key
    return -1


@compiled_loop
def find_word(table, block, begin, end):  # type: ignore[no-untyped-def]
    """The id of the word `block[begin:end]`, or -1."""
    mask = len(table.slots) - 1
    key = _hash(block, begin, end)
    slot = np.int64(key) & mask
    while table.slots[slot] >= 0:
        word = np.int64(table.slots[slot])
        if table.hashes[slot] == key:
            first = table.begins[word]
            if table.begins[word + 1] - 1 - first == end - begin:
                same = 0
                while same < end - begin and table.text[first + same] == block[begin + same]:
                    same += 1
                if same == end - begin:
                    return word
        slot = (slot + 1) & mask
    return np.int64(-1)


@compiled_loop
def _hash(block, begin, end):  # type: ignore[no-untyped-def]
    """The upper half of FNV-1a with 64 bits: uint32."""
    key = np.uint64(14695981039346656037)
    for j in range(begin, end):
        key = (key ^ np.uint64(block[j])) * np.uint64(1099511628211)
    return np.uint32(key >> np.uint64(32))


@compiled_loop
def _split(block, at, fields):  # type: ignore[no-untyped-def]
    """The fields of the line at `at`: how many, and the place after the line.

    Fills `fields` (fields, begin and end) up to its size.
    """
    count = 0
    length = len(block)
    while at < length:
        byte = block[at]
        if byte == LINE_FEED:
            return count, at + 1
        if byte in (SPACE, TAB, RETURN):
            at += 1
            continue
        begin = at
        while at < length:
            byte = block[at]
            if byte <= SPACE and byte in (SPACE, TAB, LINE_FEED, RETURN):
                break
            at += 1
        if count < len(fields):
            fields[count, 0] = begin
            fields[count, 1] = at
        count += 1
    return count, at


@compiled_loop
def _fault_before(block, at, after, count, filled, size, fields):  # type: ignore[no-untyped-def]
    """Whether a line is an n-gram at all, and one that was counted; an empty line is fine."""
    if after - at > MAX_LINE_BYTES:
        return Fault.LONG_LINE
    if count == 0:
        return Fault.BLOCK_DONE
    if block[fields[0, 0]] == BACKSLASH:
        return Fault.SECTION_DONE
    return Fault.TOO_MANY_NGRAMS if filled == size else Fault.BLOCK_DONE


@compiled_loop
def _read_numbers(block, fields, count, order, highest):  # type: ignore[no-untyped-def]
    """Check the fields of a line; the fault, and its probability and back-off weight (natural)."""
    is_number, value = _number(block, fields[0, 0], fields[0, 1])
    if not is_number:
        return Fault.NO_PROBABILITY if count <= order else Fault.NO_NUMBER, 0.0, 0.0
    if count <= order:
        return Fault.TOO_FEW_WORDS, 0.0, 0.0
    if count > order + 2:
        return Fault.TOO_MANY_FIELDS, 0.0, 0.0
    if value > TOLERANCE and value < np.inf:
        return Fault.POSITIVE, 0.0, 0.0
    if not abs(value) <= LARGEST:
        return Fault.NOT_FINITE, 0.0, 0.0
    log_prob, backoff = min(value, 0.0) * LN10, 0.0
    if count == order + 2:
        if highest:
            return Fault.HIGHEST_BACKOFF, 0.0, 0.0
        is_number, value = _number(block, fields[order + 1, 0], fields[order + 1, 1])
        if not is_number:
            return Fault.NO_BACKOFF_NUMBER, 0.0, 0.0
        if not abs(value) <= LARGEST:
            return Fault.BACKOFF_NOT_FINITE, 0.0, 0.0
        backoff = value * LN10
    return Fault.BLOCK_DONE, log_prob, backoff


@compiled_loop
def _number(block, begin, end):  # type: ignore[no-untyped-def]
    """Whether `block[begin:end]` is a number, and the number (float64), which may be nan or inf."""
    at = begin
    negative = block[at] == MINUS
    if negative or block[at] == PLUS:
        at += 1
    named = _named_number(block, at, end)
    if named != 0.0:
        return True, -named if negative else named
    at, mantissa, exponent = _mantissa(block, at, end)
    if mantissa < 0:
        return False, 0.0
    if at < end:
        is_exponent, power = _exponent(block, at, end)
        if not is_exponent:
            return False, 0.0
        exponent += power
    value = _scaled(float(mantissa), exponent)
    return True, -value if negative else value


@compiled_loop
def _mantissa(block, at, end):  # type: ignore[no-untyped-def]
    """The place after digits with a point, and an integer (-1 without any) and power of ten."""
    mantissa, exponent, digits = np.int64(0), 0, 0
    seen = after_point = False
    while at < end:
        byte = np.int64(block[at])
        if byte == POINT and not after_point:
            after_point = True
        elif ZERO <= byte <= NINE:
            seen = True
            if digits < MOST_DIGITS:
                mantissa = 10 * mantissa + (byte - ZERO)
                digits += 1 if mantissa > 0 else 0
                exponent -= 1 if after_point else 0
            elif not after_point:
                exponent += 1
        else:
            break
        at += 1
    return at, mantissa if seen else np.int64(-1), exponent


@compiled_loop
def _exponent(block, at, end):  # type: ignore[no-untyped-def]
    """Whether `block[at:end]` is an exponent such as `e-07`, and the exponent, up to 9999."""
    if block[at] | 32 != 101 or at + 1 == end:
        return False, 0
    at += 1
    negative = block[at] == MINUS
    if negative or block[at] == PLUS:
        at += 1
    if at == end:
        return False, 0
    power = np.int64(0)
    for j in range(at, end):
        byte = np.int64(block[j])
        if not ZERO <= byte <= NINE:
            return False, 0
        power = min(10 * power + byte - ZERO, np.int64(9999))
    return True, -power if negative else power


@compiled_loop
def _scaled(value, exponent):  # type: ignore[no-untyped-def]
    """`value` times ten to the power of `exponent`."""
    if -len(POWERS) < exponent <= 0:
        return value / POWERS[-exponent]
    if value == 0.0:
        return value
    if exponent > 0:
        return value * 10.0 ** min(exponent, 400)
    # In two steps: 1e-320 as a divisor would be no exact power of ten any more.
    first = max(exponent, -300)
    return value / 10.0**-first / 10.0 ** min(first - exponent, 300)


@compiled_loop
def _named_number(block, begin, end):  # type: ignore[no-untyped-def]
    """The number that `inf`, `infinity` or `nan` in any case are, or 0."""
    if end - begin != 3 and end - begin != 8:
        return 0.0
    first, second, third = block[begin] | 32, block[begin + 1] | 32, block[begin + 2] | 32
    if first == 110 and second == 97 and third == 110:
        return np.nan
    return np.inf if first == 105 and second == 110 and third == 102 else 0.0
