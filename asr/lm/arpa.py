r"""An ARPA file to a model, and back: the text format of every n-gram tool.

    \data\                     what stands before it is ignored
    ngram 1=4                  how many n-grams of each order
    ngram 2=1

    \1-grams:
    -1.2	the	-0.3           log10 of the probability, the words, log10 of the back-off weight

    \2-grams:
    -0.1	<s> the            the highest order has no back-off weights

    \end\

Fields are separated by spaces or tabs; every other byte belongs to a word. Lines end in `\n` or
`\r\n`, and may be empty. A back-off weight that is not there is 1. Tools that round give
log-probabilities a little above 0: up to 0.0001 they count as 0. `<UNK>` is `<unk>`, if there is
no `<unk>`.
"""

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asr.data.text import not_utf8
from asr.errors import DataError, ResourceError, shown
from asr.lm.arpa_kernel import (
    MAX_LINE_BYTES,
    Fault,
    WordTable,
    fill_table,
    find_word,
    read_ngrams,
    read_unigrams,
)
from asr.lm.arpa_sections import AGAIN, enter_section, find_data, leave, printed, read_counts
from asr.lm.arpa_writer import NgramTable, write_arpa
from asr.lm.blocks import LineBlocks
from asr.lm.ngram import BOS, EOS, UNK, NgramModel
from asr.lm.states import Rows, StateBuilder

__all__ = ["NgramTable", "read_arpa", "write_arpa"]

_FORM = "a line is a log10 probability, {order} word{s}{backoff}"
_MESSAGES = {
    Fault.TOO_MANY_NGRAMS: "more {order}-grams than the {count} of the header; " + AGAIN,
    Fault.NO_PROBABILITY: "no probability; " + _FORM,
    Fault.NO_NUMBER: "'{first}' is no number; " + _FORM,
    Fault.NOT_FINITE: "the log10 probability {first} is not finite; -99 stands for 'never'",
    Fault.POSITIVE: "the log10 probability {first} is above 0; a probability is at most 1",
    Fault.TOO_FEW_WORDS: "too few words; " + _FORM,
    Fault.TOO_MANY_FIELDS: "too many fields; " + _FORM,
    Fault.HIGHEST_BACKOFF: "a back-off weight ({last}) in the highest order; " + _FORM,
    Fault.NO_BACKOFF_NUMBER: "the back-off weight '{last}' is no number; " + _FORM,
    Fault.BACKOFF_NOT_FINITE: "the log10 back-off weight {last} is not finite; 0 stands for none",
}


def read_arpa(path: Path) -> NgramModel:
    """The model in an ARPA file, plain or gzip.

    Raises:
        DataError: not an ARPA file, or a broken one; the message has the line.
        ResourceError: it does not fit into memory.
    """
    try:
        with LineBlocks(path, max_line_bytes=MAX_LINE_BYTES) as lines:
            return _read_model(lines)
    except MemoryError as error:
        raise ResourceError(
            f"{shown(path)}: does not fit into memory; prune the model or lower its order"
        ) from error


def _read_model(lines: LineBlocks) -> NgramModel:
    find_data(lines)
    counts = read_counts(lines)
    builder = StateBuilder(counts)
    header = enter_section(lines, 1)
    rows, table = _read_words(lines, counts)
    builder.add_unigrams(rows)
    unk, bos, eos = _special_words(lines, table, header)
    for order in range(2, len(counts) + 1):
        enter_section(lines, order)
        rows = _read_rows(lines, counts, order, table, builder)
        doubled = builder.add_ngrams(rows)
        if doubled is not None:
            raise lines.fault(f"this {order}-gram stands twice; remove one of the lines", doubled)
    leave(lines, len(counts))
    return NgramModel(
        automaton=builder.automaton(),
        counts=tuple(counts),
        unk=unk,
        bos=bos,
        eos=eos,
        source=lines.path,
        digest=lines.digest(),
        text=_text_of(table, unk),
    )


def _read_words(lines: LineBlocks, counts: list[int]) -> tuple[Rows, WordTable]:
    """The rows of the 1-grams, and their words."""
    rows = _new_rows(counts, 1)
    begins = np.zeros(counts[0] + 1, dtype=np.int64)
    text = np.empty(0, dtype=np.uint8)
    filled, fault = 0, Fault.BLOCK_DONE
    while fault == Fault.BLOCK_DONE and _has_data(lines):
        text = _with_room(text, int(begins[filled]), len(lines.data) - lines.at)
        fault, lines.at, lines.line, filled = read_unigrams(
            lines.array(), lines.at, lines.line, filled, rows, text, begins
        )
    _check_end(lines, fault, 1, filled, counts)
    text = text[: begins[-1]].copy()
    _check_text(lines, text, begins, rows)
    size = 1 << (2 * counts[0]).bit_length()
    slots = np.full(size, -1, dtype=np.int32)
    table = WordTable(text, begins, slots, np.zeros(size, dtype=np.uint32))
    doubled = int(fill_table(table))
    if doubled >= 0:
        raise lines.fault(
            f"the word '{printed(_word(table, doubled))}' stands twice among the 1-grams; remove "
            "one of the lines",
            int(rows.lines[doubled]),
        )
    return rows, table


def _read_rows(
    lines: LineBlocks, counts: list[int], order: int, table: WordTable, builder: StateBuilder
) -> Rows:
    """The rows of an order above 1."""
    rows = _new_rows(counts, order)
    filled, fault = 0, Fault.BLOCK_DONE
    while fault == Fault.BLOCK_DONE and _has_data(lines):
        first = filled
        fault, lines.at, lines.line, filled = read_ngrams(
            lines.array(), lines.at, lines.line, filled, rows, table
        )
        alone = builder.find_contexts(rows, first, filled)
        if alone is not None:
            context = b" ".join(_word(table, word) for word in rows.ngrams[alone, :-1])
            raise lines.fault(
                f"this {order}-gram begins with '{printed(context)}', which is no {order - 1}-gram;"
                " make the model again, with the beginnings of its n-grams",
                int(rows.lines[alone]),
            )
    if fault == Fault.UNKNOWN_WORD:
        raise _unknown_word(lines, order, table)
    _check_end(lines, fault, order, filled, counts)
    return rows


def _new_rows(counts: list[int], order: int) -> Rows:
    count = counts[order - 1]
    inner = 0 if order == 1 else count
    return Rows(
        ngrams=np.empty((inner, order), dtype=np.int32),
        contexts=np.empty(inner, dtype=np.int32),
        log_probs=np.empty(count, dtype=np.float32),
        backoffs=np.empty(0 if order == len(counts) else count, dtype=np.float32),
        lines=np.empty(count, dtype=np.int32),
    )


def _has_data(lines: LineBlocks) -> bool:
    return lines.at < len(lines.data) or lines.more()


def _with_room(text: NDArray[np.uint8], used: int, more: int) -> NDArray[np.uint8]:
    """`text`, or a longer copy, so that `more` bytes fit behind those used."""
    if used + more + 1 <= len(text):
        return text
    longer = np.empty(2 * used + more + 1, dtype=np.uint8)
    longer[:used] = text[:used]
    return longer


def _check_end(lines: LineBlocks, fault: Fault, order: int, filled: int, counts: list[int]) -> None:
    """Return when a section ended well."""
    count = counts[order - 1]
    if fault == Fault.LONG_LINE:
        raise lines.too_long()
    if fault > Fault.SECTION_DONE:
        line = lines.next_line() or b""
        fields = _fields(line)
        message = _damage(line) or _MESSAGES[fault].format(
            order=order,
            count=count,
            s="" if order == 1 else "s",
            backoff="" if order == len(counts) else " and perhaps a log10 back-off weight",
            first=printed(fields[0]),
            last=printed(fields[-1]),
        )
        raise lines.fault(message, lines.line - 1)
    if filled < count:
        where = "file ends" if fault == Fault.BLOCK_DONE else "section ends"
        raise lines.fault(
            f"the {where} after {filled} of the {count} {order}-grams of the header; {AGAIN}",
            lines.line if fault == Fault.SECTION_DONE else lines.line - 1,
        )


def _damage(line: bytes) -> str | None:
    """What is wrong with the bytes of a line, if they are no text."""
    if b"\0" in line:
        return f"a byte 0: the file is damaged, or no text file; {AGAIN}"
    try:
        line.decode("utf-8")
    except UnicodeDecodeError as error:
        return not_utf8(error)
    return None


def _unknown_word(lines: LineBlocks, order: int, table: WordTable) -> DataError:
    line = lines.next_line() or b""
    words = _fields(line)[1 : order + 1]
    unknown = next(word for word in words if _find(table, word) < 0)
    message = _damage(line) or (
        f"'{printed(unknown)}' is no word of the 1-grams; add it there, or make the model again"
    )
    return lines.fault(message, lines.line - 1)


def _fields(line: bytes) -> list[bytes]:
    """What stands between spaces, tabs and returns, as the compiled reader sees it."""
    return [field for field in re.split(rb"[ \t\r]", line) if field]


def _check_text(
    lines: LineBlocks, text: NDArray[np.uint8], begins: NDArray[np.int64], rows: Rows
) -> None:
    """Return when the words are UTF-8 without zeros."""
    data = text.tobytes()
    at = data.find(b"\0")
    if at < 0:
        try:
            data.decode("utf-8")
        except UnicodeDecodeError as error:
            at = error.start
        else:
            return
    word = int(np.searchsorted(begins, at, side="right")) - 1
    damage = _damage(data[begins[word] : begins[word + 1] - 1])
    raise lines.fault(f"{damage}", int(rows.lines[word]))


def _special_words(lines: LineBlocks, table: WordTable, header: int) -> tuple[int, int, int]:
    """The ids of `<unk>`, `<s>` and `</s>`."""
    ids = {name: _find(table, name.encode()) for name in (UNK, BOS, EOS)}
    if ids[UNK] < 0:
        ids[UNK] = _find(table, UNK.upper().encode())
    missing = [name for name, word in ids.items() if word < 0]
    if missing:
        added = " and ".join(f"'-99\\t{name}'" for name in missing)
        raise lines.fault(
            f"the 1-grams lack {', '.join(missing)}, which every model needs; add lines such as "
            f"{added} under \\1-grams: (\\t is a tab), and count them in 'ngram 1='",
            header,
        )
    return ids[UNK], ids[BOS], ids[EOS]


def _text_of(table: WordTable, unk: int) -> NDArray[np.uint8]:
    """The words, a line feed between, with `<unk>` in lower case."""
    text = table.text[:-1].copy()
    begin = table.begins[unk]
    text[begin : begin + len(UNK)] = np.frombuffer(UNK.encode(), dtype=np.uint8)
    text.setflags(write=False)
    return text


def _find(table: WordTable, word: bytes) -> int:
    return int(find_word(table, np.frombuffer(word, dtype=np.uint8), 0, len(word)))


def _word(table: WordTable, index: int) -> bytes:
    return table.text[table.begins[index] : table.begins[index + 1] - 1].tobytes()
