"""The lines of an ARPA file around its n-grams: the header, the beginnings of sections, the end."""

import re

from asr.errors import DataError, shown
from asr.lm.blocks import LineBlocks
from asr.lm.protocol import MAX_ORDER

MAX_NGRAMS = 2**31 - 2  # arcs and states are numbered with 32 bits
DATA, END = b"\\data\\", b"\\end\\"
AGAIN = "copy or make the file again"
_BLANKS = b" \t\r"
_COUNT = re.compile(rb"ngram[ \t]+(\d{1,18})[ \t]*=[ \t]*(\d{1,18})")
_SECTION = re.compile(rb"\\(\d{1,18})-grams:")
_WEB_PAGES = (b"<!doctype html", b"<html")
_PRINTED = 60


def find_data(lines: LineBlocks) -> None:
    r"""Go on to the line after `\data\`.

    Raises:
        DataError: there is none.
    """
    while (line := lines.peek_line()) is not None:
        if line.strip(_BLANKS) == DATA:
            lines.next_line()
            return
        if b"\0" in line:
            raise lines.fault(r"is no ARPA file, which is text with a line \data\; give that file")
        if line.lower().startswith(_WEB_PAGES):
            raise lines.fault("is a web page, no ARPA file; download the file itself")
        lines.next_line()
    raise _at_end(lines, r"ends without a line \data\, so it is no ARPA file; give that file")


def read_counts(lines: LineBlocks) -> list[int]:
    """How many n-grams of each order there are; goes on to the first section.

    Raises:
        DataError: counts that no model or not this file can have.
    """
    counts: list[int] = []
    while (line := _next_content(lines)) is not None and not line.startswith(b"\\"):
        match = _COUNT.fullmatch(line)
        if match is None:
            raise lines.fault(
                f"'{printed(line)}' is no count of n-grams; lines such as 'ngram 1=5000' are due"
            )
        order, count = int(match[1]), int(match[2])
        if order > MAX_ORDER:
            raise lines.fault(f"order {order} is above {MAX_ORDER}; make a model of a lower order")
        if order != len(counts) + 1:
            raise lines.fault(
                f"'ngram {order}=' where 'ngram {len(counts) + 1}=' is due; the orders are counted "
                "from 1 on, each once"
            )
        counts.append(count)
        _check_counts(lines, counts)
        lines.next_line()
    if not counts:
        raise lines.fault(r"no counts after \data\; lines such as 'ngram 1=5000' are due")
    return counts


def _check_counts(lines: LineBlocks, counts: list[int]) -> None:
    if counts[0] == 0:
        raise lines.fault("no 1-grams, so the model has no words; make it again")
    # The shortest line of order 2 is "0 a b\n".
    if sum(count * (2 * order + 2) for order, count in enumerate(counts, 1)) > lines.most_bytes:
        raise lines.fault(
            f"{counts[-1]} {len(counts)}-grams are more than the file has room for: it is cut off, "
            f"or the count is wrong; {AGAIN}"
        )
    if sum(counts) > MAX_NGRAMS:
        raise lines.fault(f"more than {MAX_NGRAMS} n-grams; prune the model")


def enter_section(lines: LineBlocks, order: int) -> int:
    r"""Take the line `\N-grams:`, and give its number.

    Raises:
        DataError: something else comes next.
    """
    due = f"\\{order}-grams:"
    line = _next_content(lines)
    if line is None:
        raise _at_end(lines, f"ends where {due} is due: it is cut off; {AGAIN}")
    if line == due.encode():
        lines.next_line()
        return lines.line - 1
    match = _SECTION.fullmatch(line)
    here, found = lines.line, printed(line)
    if match is None and line != END:
        what = f"'{found}' where {due} is due; {AGAIN}"
    elif match is not None and 0 < int(match[1]) < order:
        what = f"{found} stands twice, and {due} is due; {AGAIN}"
    elif any(below.strip(_BLANKS) == due.encode() for _, below in lines.lines()):
        what = f"{found} stands before {due}; put the orders one after the other, from 1 on"
    else:
        what = f"{found} where {due} is due, which is missing; {AGAIN}"
    raise lines.fault(what, here)


def leave(lines: LineBlocks, num_orders: int) -> None:
    r"""Take `\end\`, and see that nothing follows.

    Raises:
        DataError: something else comes next, or after it.
    """
    line = _next_content(lines)
    if line is None:
        raise _at_end(lines, rf"ends without \end\: it is cut off; {AGAIN}")
    if line != END:
        match = _SECTION.fullmatch(line)
        twice = match is not None and 0 < int(match[1]) <= num_orders
        why = "stands twice" if twice else "is not in the header"
        raise lines.fault(rf"'{printed(line)}' {why}, and \end\ is due; {AGAIN}")
    lines.next_line()
    if (line := _next_content(lines)) is not None:
        raise lines.fault(rf"'{printed(line)}' after \end\; remove what follows, or {AGAIN}")


def printed(line: bytes) -> str:
    """A part of a line as a message shows it."""
    text = shown(line.decode("utf-8", errors="backslashreplace"))
    return text if len(text) <= _PRINTED else f"{text[:_PRINTED]}…"


def _next_content(lines: LineBlocks) -> bytes | None:
    """The next line that is not empty, without blanks around it, not taken; none at the end."""
    while (line := lines.peek_line()) is not None:
        if content := line.strip(_BLANKS):
            return content
        lines.next_line()
    return None


def _at_end(lines: LineBlocks, what: str) -> DataError:
    return lines.fault(f"the file {what}", max(1, lines.line - 1))
