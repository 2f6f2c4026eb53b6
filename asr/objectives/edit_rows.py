"""Rows of the table of edit distances, from both ends: the parts of a changed transcript's errors.

`F[i][m]` is the distance of the first i units of a hypothesis from the first m of the reference,
`S[j][m]` that of what follows unit j from what follows m. Where a change replaces units i to j by
others, the distance is the minimum over m of a row that has gone through the new ones, from F[i],
plus S[j]: what lies before and after the change is never looked at again.
"""

import numpy as np

from asr.compiled import compiled_inline

FAR = np.int32(1 << 30)  # more errors than there are


@compiled_inline
def first_row(row):  # type: ignore[no-untyped-def]
    """F[0]: every unit of the reference before m is missing."""
    for m in range(len(row)):
        row[m] = m


@compiled_inline
def last_row(row):  # type: ignore[no-untyped-def]
    """S of the end: every unit of the reference from m on is missing."""
    for m in range(len(row)):
        row[m] = len(row) - 1 - m


@compiled_inline
def step(row, unit, reference, out):  # type: ignore[no-untyped-def]
    """The row F after one more unit of the hypothesis.

    Args:
        row: (M + 1,) int32.
        unit: its number; one that the reference lacks, such as -1, equals none.
        reference: (M,) numbers of the units.
        out: (M + 1,) int32, another array.
    """
    out[0] = row[0] + 1
    for m in range(len(reference)):
        pair = row[m] + (reference[m] != unit)
        out[m + 1] = min(pair, row[m + 1] + 1, out[m] + 1)


@compiled_inline
def step_back(row, unit, reference, out):  # type: ignore[no-untyped-def]
    """The row S with one more unit of the hypothesis in front; arguments as for `step`."""
    last = len(reference)
    out[last] = row[last] + 1
    for i in range(last):
        m = last - 1 - i
        pair = row[m + 1] + (reference[m] != unit)
        out[m] = min(pair, row[m] + 1, out[m + 1] + 1)


@compiled_inline
def joined(before, after):  # type: ignore[no-untyped-def]
    """The distance of two parts set side by side."""
    best = before[0] + after[0]
    for m in range(1, len(before)):
        best = min(best, before[m] + after[m])
    return best


@compiled_inline
def with_unit_between(before, after, reference, matched):  # type: ignore[no-untyped-def]
    """The distance with one unit between two parts that the reference lacks; and with any other.

    Args:
        before: (M + 1,) the row of the first part.
        after: (M + 1,) the row of the second.
        reference: (M,) numbers of the units, 0 to D - 1.
        matched: (D,) int32; filled with the distance when the unit is taken for an equal one of
            the reference. The distance for unit d is the smaller of `matched[d]` and the result.
    """
    for d in range(len(matched)):
        matched[d] = FAR
    best = before[0] + after[0] + 1  # as an insertion; or, next, a substitution
    for m in range(len(reference)):
        pair = before[m] + after[m + 1]
        best = min(best, pair + 1, before[m + 1] + after[m + 1] + 1)
        matched[reference[m]] = min(matched[reference[m]], pair)
    return best


@compiled_inline
def within_reach(before, after, length):  # type: ignore[no-untyped-def]
    """Where `length` units between two parts can gain anything: the first m and the one after.

    Units that replace those of the reference from m to n cost `F[m] + S[n]` and at least the
    difference of `length` and `n - m`, and S falls by one a unit at most. Where `F[m] + S[m]` is
    `2 * length` above its least, or more, that is no less than inserting all of them where it is
    least, and the same holds for n from the other end.
    """
    too_much = joined(before, after) + 2 * length
    begin, end = 0, len(before)
    while before[begin] + after[begin] >= too_much:
        begin += 1
    while before[end - 1] + after[end - 1] >= too_much:
        end -= 1
    return begin, end
