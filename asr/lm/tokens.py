"""A text as numbers: its words in their order, with marks where sentences begin and end.

A line is a sentence, an empty one too. White space and Unicode follow `asr.data.text`; upper and
lower case stay as they are. All words of a block are split and looked up at once, without Python in
between: a text of ten million words takes seconds.
"""

import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import Literal, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from asr.data.manifest import read_manifest
from asr.data.text import MAX_LINE_BYTES, normalize_text, not_utf8, words
from asr.errors import DataError, shown
from asr.lm.blocks import LineBlocks

Unit = Literal["word", "character"]

UNKNOWN, BEGIN, END = range(3)
SPECIAL = ("<unk>", "<s>", "</s>")
SPACE = "<space>"  # what a space is called where every character is a token
STDIN = Path("-")

MAX_TOKENS = 2**31 - 1
MAX_CHARACTERS = 2000  # of a word: six of them fit into a line that `read_arpa` accepts

_BLOCK_BYTES = 1 << 18
_BLOCK_SENTENCES = 4096


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TokenStream:
    """A text as numbers.

    Attributes:
        words: what each id stands for: `SPECIAL`, then the words in the order of the text.
        ids: (tokens,) the text; every sentence begins with `BEGIN` and ends with `END`.
    """

    words: list[str]
    ids: NDArray[np.int32]


class TextBlock(NamedTuple):
    """Some lines of a text, each with its end; in messages they are `place` with their number.

    White space and what is invisible are as in the file where a line is plain ASCII.
    """

    text: str
    place: str
    first: int

    def lines(self) -> list[str]:
        """The lines without their ends."""
        return self.text.removesuffix("\n").split("\n")


def read_tokens(texts: Iterable[str | Path], unit: Unit) -> TokenStream:
    """All texts, one after the other.

    Args:
        texts: sentences (str), and files (Path): text with a sentence a line, also compressed,
            manifests (.jsonl), or "-" for stdin.
        unit: what is a token: a word, or a character, with `SPACE` for the space between words.

    Raises:
        DataError: no word in all of it; a file that cannot be read or is not UTF-8 text; or one of
            the special words in the text.
        TypeError: one text instead of several.
    """
    if isinstance(texts, str | Path):
        raise TypeError("texts must be several: a list of sentences (str) or of files (Path)")
    split = {"word": _words, "character": _characters}[unit]
    ids: defaultdict[str, int] = defaultdict()
    ids.default_factory = ids.__len__
    for token in SPECIAL if unit == "word" else (SPECIAL[UNKNOWN], _MARK_BEGIN, _MARK_END):
        ids[token]
    parts = [np.empty(0, dtype=np.int32)]
    num_tokens = 0
    for block in text_blocks(texts):
        check_marks(block)
        tokens = split(block.text)
        parts.append(np.fromiter(map(ids.__getitem__, tokens), np.int32, len(tokens)))
        if (num_tokens := num_tokens + len(tokens)) > MAX_TOKENS:
            raise DataError(f"a text of more than {MAX_TOKENS:,} tokens; use a part of it")
    names = [*SPECIAL, *(SPACE if name == " " else name for name in list(ids)[len(SPECIAL) :])]
    _check_words(names)
    return TokenStream(words=names, ids=np.concatenate(parts))


def split_sentences(texts: Iterable[Path], unit: Unit) -> Iterator[list[str]]:
    """The tokens of each sentence of texts that are read as by `read_tokens`.

    Raises:
        DataError: a file that cannot be read or is not UTF-8 text.
    """
    for block in text_blocks(texts):
        for line in block.lines():
            if unit == "word":
                yield words(line)
            else:
                yield [SPACE if name == " " else name for name in normalize_text(line)]


def _words(text: str) -> list[str]:
    """`str.split` knows the same white space as `asr.data.text.words`: a test compares them."""
    tokens = ("<s> " + text.replace("\n", " </s> <s> ")).split()
    tokens.pop()
    return tokens


# In normalised text neither is a character of a sentence.
_MARK_BEGIN, _MARK_END = "\r", "\n"


def _characters(text: str) -> str:
    lines = [normalize_text(line) for line in text.removesuffix("\n").split("\n")]
    return _MARK_BEGIN + f"{_MARK_END}{_MARK_BEGIN}".join(lines) + _MARK_END


def check_marks(block: TextBlock) -> None:
    """Return when there is nothing in a block that would be no word in a model.

    Raises:
        DataError: one of the special words, or a zero byte.
    """
    if not any(mark in block.text for mark in (*SPECIAL, "\0")):
        return
    for number, line in enumerate(block.text.split("\n"), start=block.first):
        if "\0" in line:
            raise DataError(f"{block.place}{number}: a zero byte; this is not a text file")
        if found := [word for word in words(line) if word in SPECIAL]:
            raise DataError(
                f"{block.place}{number}: '{found[0]}' stands in the text, but is a mark of the "
                "language model itself. Remove it: sentences get their marks here"
            )


def _check_words(names: list[str]) -> None:
    if len(names) == len(SPECIAL):
        raise DataError("no word in the text: a language model needs sentences to learn from")
    longest = max(names, key=len)
    if len(longest) > MAX_CHARACTERS:
        raise DataError(
            f"a word of {len(longest):,} characters in the text, '{shown(longest[:20])}…'; words "
            f"have at most {MAX_CHARACTERS:,}. Is it text with spaces?"
        )


def text_blocks(texts: Iterable[str | Path]) -> Iterator[TextBlock]:
    """The lines of texts as `read_tokens` takes them, many at a time.

    Raises:
        DataError: a file that cannot be read or is not UTF-8 text.
    """
    done = 0
    for are_files, group in groupby(texts, key=lambda text: isinstance(text, Path)):
        if are_files:
            for path in cast(Iterator[Path], group):
                yield from _file_blocks(path)
        else:
            for block in _sentence_blocks(cast(Iterator[str], group), "sentence ", done + 1):
                yield block
                done = block.first + block.text.count("\n") - 1


def _file_blocks(path: Path) -> Iterator[TextBlock]:
    if path.suffix == ".jsonl":
        sentences = [utterance.text for utterance in read_manifest(path)]
        yield from _sentence_blocks(iter(sentences), f"{shown(path)}: utterance ", 1)
        return
    if path.name.endswith(".jsonl.gz"):
        raise DataError(f"{shown(path)}: a manifest is read unpacked; unpack it with gunzip")
    place, number = "stdin:" if path == STDIN else f"{shown(path)}:", 1
    for lines in _stdin_blocks() if path == STDIN else _byte_blocks(path):
        yield TextBlock(_decoded(lines, place, number), place, number)
        number += lines.count(b"\n")


def _sentence_blocks(sentences: Iterator[str], place: str, first: int) -> Iterator[TextBlock]:
    while batch := list(islice(sentences, _BLOCK_SENTENCES)):
        yield TextBlock("".join(f"{normalize_text(text)}\n" for text in batch), place, first)
        first += len(batch)


def _byte_blocks(path: Path) -> Iterator[bytes]:
    """Whole lines with their ends, many at a time."""
    with LineBlocks(path, max_line_bytes=MAX_LINE_BYTES) as file:
        while lines := file.data[file.at :]:
            yield lines if lines.endswith(b"\n") else lines + b"\n"
            file.more()


def _stdin_blocks() -> Iterator[bytes]:
    while lines := b"".join(sys.stdin.buffer.readlines(_BLOCK_BYTES)):
        yield lines if lines.endswith(b"\n") else lines + b"\n"


def _decoded(lines: bytes, place: str, first: int) -> str:
    """`lines` as text; those beyond ASCII normalised between their tabs, which may part columns."""
    if lines.isascii():
        return lines.decode("ascii")
    decoded = []
    for number, line in enumerate(lines.split(b"\n"), start=first):
        try:
            decoded.append(
                line.decode("ascii")
                if line.isascii()
                else "\t".join(map(normalize_text, line.decode().split("\t")))
            )
        except UnicodeDecodeError as error:
            raise DataError(f"{place}{number}: {not_utf8(error)}") from error
    return "\n".join(decoded)
