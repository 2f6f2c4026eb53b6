"""Sentences of a text file, as a language model is estimated from them and measured on them."""

from collections.abc import Iterator
from pathlib import Path

from asr.data.text import MAX_LINE_BYTES, Case, normalize_text, not_utf8
from asr.lm.blocks import LineBlocks


def read_sentences(path: Path, case: Case = "keep") -> Iterator[list[str]]:
    """The words of each line of a UTF-8 text, plain or gzip, one sentence a line.

    Text is normalised by the rule of `asr.data.text`: NFC, one kind of white space. An empty line
    is a sentence without words, as for the estimator. Only a block of the file is in memory.

    Args:
        path: the file; whether it is compressed shows in its first bytes, not in its name.
        case: what to do with upper and lower case.

    Raises:
        DataError: not a readable file, not UTF-8, a line of more than 16 MB, or a damaged gzip.
    """
    with LineBlocks(path, max_line_bytes=MAX_LINE_BYTES) as lines:
        for number, line in lines.lines():
            try:
                text = line.decode("utf-8")
            except UnicodeDecodeError as error:
                raise lines.fault(not_utf8(error), number) from error
            normal = normalize_text(text, case)
            yield normal.split(" ") if normal else []
