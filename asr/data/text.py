"""Text as the toolkit sees it: one rule for Unicode, for white space and for the end of a line.

The rule: text is NFC; every run of the characters in `WHITESPACE` is one space, none at the ends;
the characters in `INVISIBLE` are dropped. Python's own `str.split`, `str.splitlines` and
`str.strip` are not used on data: their sets differ from one another (`splitlines` also ends a line
at U+2028, U+0085 or a form feed, which moves every later line of a transcript by one).
"""

import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from asr.errors import DataError, shown

Case = Literal["keep", "lower", "upper"]

WHITESPACE = frozenset(
    "\t\n\v\f\r\x1c\x1d\x1e\x1f "
    "\x85\xa0\u1680"  # next line, no-break space, ogham space mark
    "\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"  # typographic spaces
    "\u2028\u2029\u202f\u205f\u3000"  # line and paragraph separators, narrow, maths, ideographic
)

# They mark direction, or where a line may break; nobody speaks them. The zero-width joiner and
# non-joiner (U+200D, U+200C) stay: they are part of the spelling of Persian and of Indic scripts.
INVISIBLE = frozenset(
    "\ufeff\u200b\u2060\u00ad"  # byte order mark, zero-width space, word joiner, soft hyphen
    "\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # direction
)

MAX_LINE_BYTES = 16 * 1024 * 1024  # a longer "line" is some other kind of file

_SPACES = re.compile("[" + re.escape("".join(sorted(WHITESPACE))) + "]+")
_DROP_INVISIBLE = dict.fromkeys(map(ord, INVISIBLE))
_BOM = b"\xef\xbb\xbf"


def normalize_text(text: str, case: Case = "keep") -> str:
    """`text` in NFC with single spaces between words, none at the ends, no invisible characters.

    Equal texts that were typed or stored differently (NFC, NFD, no-break spaces) become equal
    strings, and normalising twice changes nothing.

    Args:
        text: any text.
        case: what to do with upper and lower case, by Unicode's full mapping ("ß" → "SS").
    """
    visible = text if text.isascii() else _composed(text.translate(_DROP_INVISIBLE))
    if case != "keep":
        visible = _composed(visible.lower() if case == "lower" else visible.upper())
    return _SPACES.sub(" ", visible).strip(" ")


def _composed(text: str) -> str:
    """NFC; needed again after a change of case, which may take a letter apart."""
    return unicodedata.normalize("NFC", text)


def words(text: str) -> list[str]:
    """The words of `text`: what stands between the characters of `WHITESPACE`."""
    return [word for word in _SPACES.split(text) if word]


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    r"""The lines of a UTF-8 text file with their numbers from 1, without the line ends.

    Only `\n` and `\r\n` end a line. A byte order mark at the beginning is dropped; an end of line
    at the very end of the file begins no further line.

    Raises:
        DataError: the file cannot be read, or a line is not UTF-8 or longer than 16 MB.
    """
    for number, line in read_byte_lines(path):
        try:
            yield number, line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"{shown(path)}:{number}: {not_utf8(error)}") from error


def read_byte_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """As `read_lines`, before decoding: for a caller who lists all bad lines of a file at once.

    Raises:
        DataError: the file cannot be read, or a line is longer than 16 MB.
    """
    try:
        with path.open("rb") as file:
            number = 0
            while line := file.readline(MAX_LINE_BYTES + 1):
                number += 1
                if number == 1 and not (line := line.removeprefix(_BOM)):
                    return  # nothing but the mark
                if len(line) > MAX_LINE_BYTES:
                    raise DataError(
                        f"{shown(path)}:{number}: a line of more than {MAX_LINE_BYTES >> 20} MB; "
                        "this is not a text file with one entry a line"
                    )
                yield number, _without_end(line)
    except OSError as error:
        raise DataError(f"{shown(path)}: cannot be read: {error.strerror}") from error


def not_utf8(error: UnicodeDecodeError) -> str:
    """What a message says of a line that is not UTF-8."""
    byte = error.object[error.start]
    return f"byte {error.start + 1} of the line (0x{byte:02x}) is not UTF-8; save the file as UTF-8"


def _without_end(line: bytes) -> bytes:
    return line[:-2] if line.endswith(b"\r\n") else line.removesuffix(b"\n")
