r"""N-grams to an ARPA file, the text format of every n-gram tool.

Numbers have seven significant digits, so that a value read back differs by less than one part in a
million. Lines are formatted in a compiled loop over blocks: ten million in a few seconds.
"""

import gzip
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from asr.compiled import compiled_loop
from asr.lm.protocol import MAX_ORDER
from asr.storage import file_writer

BUFFER_BYTES = 8 << 20
NUMBER_BYTES = 16  # a sign, seven digits, a point, an exponent, with room
DIGITS = 7
SEPARATORS = frozenset(" \t\r\n\0")


@dataclass(frozen=True, eq=False)
class NgramTable:
    """The n-grams of one order, in the order of the lines to write.

    Attributes:
        ngrams: (n, k) int32 word ids.
        log10_probs: (n,) float32.
        log10_backoffs: (n,) float32, or none for the highest order.
    """

    ngrams: NDArray[np.int32]
    log10_probs: NDArray[np.float32]
    log10_backoffs: NDArray[np.float32] | None


def write_arpa(path: Path, words: Sequence[str], orders: Sequence[NgramTable]) -> None:
    r"""Write `path` in one step; compressed when its name ends in `.gz`.

    Args:
        path: the file to write or replace.
        words: what each word id stands for; without white space.
        orders: the 1-grams, the 2-grams … of a model of order `len(orders)`.

    Raises:
        ResourceError: the disk is full or not writable; an old file is untouched.
        ValueError: tables that are no model: shapes, word ids, numbers that are not finite, more
            than six orders, or a word with white space in it.
    """
    _check(words, orders)
    encoded = [word.encode("utf-8") for word in words]
    text = np.frombuffer(b"".join(encoded), dtype=np.uint8)
    begins = np.zeros(len(words) + 1, dtype=np.int64)
    np.cumsum([len(word) for word in encoded], out=begins[1:])
    longest = int(np.diff(begins).max())
    buffer = np.empty(max(BUFFER_BYTES, _line_bytes(longest, len(orders))), dtype=np.uint8)
    counts = "".join(f"ngram {k}={len(table.ngrams)}\n" for k, table in enumerate(orders, 1))
    with file_writer(path) as raw, _compressed(path, raw) as file:
        file.write(f"\\data\\\n{counts}".encode())
        for k, table in enumerate(orders, 1):
            file.write(f"\n\\{k}-grams:\n".encode())
            for block in _blocks(table, text, begins, buffer):
                file.write(block)
        file.write(b"\n\\end\\\n")


def _blocks(
    table: NgramTable, text: NDArray[np.uint8], begins: NDArray[np.int64], buffer: NDArray[np.uint8]
) -> Iterator[memoryview]:
    """The lines of a table, as many at a time as the buffer holds."""
    ngrams = np.ascontiguousarray(table.ngrams, dtype=np.int32)
    probs = np.ascontiguousarray(table.log10_probs, dtype=np.float32)
    backoffs = np.ascontiguousarray(
        np.empty(0) if table.log10_backoffs is None else table.log10_backoffs, dtype=np.float32
    )
    row = 0
    while row < len(ngrams):
        row, used = _format_lines(ngrams, probs, backoffs, text, begins, row, buffer)
        yield buffer[:used].data


def _check(words: Sequence[str], orders: Sequence[NgramTable]) -> None:
    if not 1 <= len(orders) <= MAX_ORDER:
        raise ValueError(f"a model has 1 to {MAX_ORDER} orders, got {len(orders)}")
    for word in words:
        if not word or not SEPARATORS.isdisjoint(word):
            raise ValueError(f"{word!r} is no word: empty, or with white space in it")
    for k, table in enumerate(orders, 1):
        _check_table(k, table, highest=k == len(orders), num_words=len(words))


def _check_table(k: int, table: NgramTable, *, highest: bool, num_words: int) -> None:
    ngrams, backoffs = table.ngrams, table.log10_backoffs
    if ngrams.ndim != 2 or ngrams.shape[1] != k:
        raise ValueError(f"the {k}-grams must be (n, {k}), got {ngrams.shape}")
    if highest != (backoffs is None):
        raise ValueError(f"the {k}-grams: only the highest order is without back-off weights")
    for values in [table.log10_probs, *([] if backoffs is None else [backoffs])]:
        if values.shape != ngrams.shape[:1]:
            raise ValueError(f"the {k}-grams: {len(ngrams)} n-grams, but numbers {values.shape}")
        if not np.isfinite(values).all():
            raise ValueError(f"the {k}-grams: a number that is not finite")
    if ngrams.size and not (ngrams.min() >= 0 and ngrams.max() < num_words):
        raise ValueError(f"the {k}-grams: a word id outside 0 to {num_words - 1}")
    if k == 1 and not len(ngrams):
        raise ValueError("the 1-grams: a model has at least one word")


def _line_bytes(longest: int, order: int) -> int:
    """An upper bound for one line; the kernel leaves off when less than this is free."""
    return 2 * (NUMBER_BYTES + 1) + order * (longest + 1)


@compiled_loop
def _format_lines(ngrams, probs, backoffs, text, begins, row, buffer):  # type: ignore[no-untyped-def]
    """Fill `buffer` with lines from `row` on; gives the row after the last, and the bytes used."""
    order = ngrams.shape[1]
    at = 0
    while row < len(ngrams):
        needed = 2 * (NUMBER_BYTES + 1) + order
        for k in range(order):
            needed += begins[ngrams[row, k] + 1] - begins[ngrams[row, k]]
        if at + needed > len(buffer):
            break
        at = _format_number(buffer, at, float(probs[row]))
        for k in range(order):
            buffer[at] = 32 if k else 9
            at += 1
            for j in range(begins[ngrams[row, k]], begins[ngrams[row, k] + 1]):
                buffer[at] = text[j]
                at += 1
        if len(backoffs) > 0:
            buffer[at] = 9
            at = _format_number(buffer, at + 1, float(backoffs[row]))
        buffer[at] = 10
        at += 1
        row += 1
    return row, at


@compiled_loop
def _format_number(buffer, at, value):  # type: ignore[no-untyped-def]
    """Write `value` as `%.7g` would, and give the place after it."""
    if value == 0.0:
        buffer[at] = 48
        return at + 1
    if value < 0.0:
        buffer[at] = 45
        at += 1
        value = -value
    exponent = math.floor(math.log10(value))
    digits = _scaled(value, DIGITS - 1 - exponent)
    if digits >= 10**DIGITS:  # rounded up, as 9.9999999 is
        exponent += 1
        digits = _scaled(value, DIGITS - 1 - exponent)
    count = DIGITS
    while digits % 10 == 0:
        digits //= 10
        count -= 1
    if exponent < -5 or exponent >= DIGITS:
        at = _write_digits(buffer, at, digits, count, 1)
        buffer[at] = 101
        buffer[at + 1] = 45 if exponent < 0 else 43
        size = abs(exponent)
        buffer[at + 2] = 48 + size // 10
        buffer[at + 3] = 48 + size % 10
        return at + 4
    if exponent < 0:
        buffer[at] = 48
        buffer[at + 1] = 46
        at += 2
        for _ in range(-exponent - 1):
            buffer[at] = 48
            at += 1
        return _write_digits(buffer, at, digits, count, count)
    for _ in range(exponent + 1 - count):  # 100 has one digit that is not 0
        digits *= 10
    return _write_digits(buffer, at, digits, max(count, exponent + 1), exponent + 1)


@compiled_loop
def _scaled(value, places):  # type: ignore[no-untyped-def]
    """The nearest integer to `value` times ten to the power of `places`."""
    scaled = value * 10.0**places if places >= 0 else value / 10.0**-places
    return math.floor(scaled + 0.5)


@compiled_loop
def _write_digits(buffer, at, digits, count, point):  # type: ignore[no-untyped-def]
    """Write `count` digits with a point after the first `point` of them, unless none follows."""
    end = at + count + (1 if point < count else 0)
    place = end - 1
    for k in range(count - 1, -1, -1):
        buffer[place] = 48 + digits % 10
        digits //= 10
        place -= 1
        if k == point:
            buffer[place] = 46
            place -= 1
    return end


@contextmanager
def _compressed(path: Path, raw: BinaryIO) -> Iterator[BinaryIO]:
    """`raw` itself, or a gzip stream into it; equal models give equal bytes."""
    if path.suffix != ".gz":
        yield raw
        return
    with gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0, compresslevel=6) as file:
        yield file  # type: ignore[misc]
