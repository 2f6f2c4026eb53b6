"""The text for language models on disc 13-32.1 of WSJ1: Wall Street Journal of 1987 to 1989.

    wsj1/doc/lng_modl/lm_train/np_data/87/….z       (WSJ0 has the same folders on its last disc)

About 215 MB, compressed by gzip or by Unix compress, with punctuation that is not verbalised. Marks
stand in angle brackets; between `<s …>` and `</s>` is a sentence, on one line or on several, and a
line outside of such marks is one too. Here and there a full stop was left behind a word.
"""

import gzip
import re
import warnings
import zlib
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import IO, cast

from asr.data.corpus.lm_text import (
    DICTIONARY,
    LM_TEXT,
    extended_dictionary,
    write_dictionary,
    write_lm_text,
)
from asr.data.text import normalize_text, read_byte_lines, words
from asr.errors import DataError, shown

from .discs import Discs
from .transcripts import CHARACTERS

YEARS = ("87", "88", "89")
INSTALL = "pip install 'asr-toolkit[wsj]'"
VOCABULARY = ("wlist20o.nvp", "wfl_64.lst")  # the 20 000 words of the task; 64 000 frequent ones
ABSENT = (
    f"no LM text (disc 13-32.1): no {LM_TEXT} and no {DICTIONARY}; only the rows with a dictionary "
    "or an n-gram need them"
)

BLOCK_BYTES = 1 << 18  # unpacked at a time

_COMPRESS, _GZIP = b"\x1f\x9d", b"\x1f\x8b"
_MARK = re.compile(r"(<[^<>]*(?:>|$))")
_UNPRINTABLE = dict.fromkeys([*range(32), 127], " ")
_DAMAGE = (ValueError, EOFError, zlib.error, gzip.BadGzipFile, RuntimeWarning, IndexError)
_LETTER = re.compile("[A-Z]")


def find_lm_text(discs: Discs) -> list[Path]:
    """The files of the text, by year and name; empty where the discs have none.

    Raises:
        DataError: a file that is not compressed as it should be, or the package is missing that
            reads Unix compress: before hours of reading, not after.
    """
    for root in ("wsj1", "wsj0"):
        pattern = rf"{root}/doc/lng_modl/lm_train/np_data/({'|'.join(YEARS)})/[^/]+\.(z|gz)"
        files = [path for _, path in discs.matching(pattern)]
        if files:
            for path in files:
                open_compressed(path).close()
            return files
    return []


def write_language_data(discs: Discs, files: Iterable[Path], out: Path) -> list[str]:
    """Write `lm.txt.gz` and `dictionary.txt`, and say what they hold; without files, remove both.

    Args:
        discs: with the lists of words.
        files: of the text.
        out: folder, which is made.

    Raises:
        DataError: a file that is damaged.
        ResourceError: the disk is full or not writable.
    """
    files = list(files)
    if not files:  # what an earlier preparation wrote would not be of these discs
        for name in (LM_TEXT, DICTIONARY):
            (out / name).unlink(missing_ok=True)
        return [ABSENT]
    listed, frequent = read_vocabulary(discs)
    known = listed | frequent
    num_sentences = 0

    def counted() -> Iterator[str]:
        nonlocal num_sentences
        for path in files:
            for text in sentences(read_compressed_lines(path)):
                for sentence in split_at_full_stops(text, known):
                    num_sentences += 1
                    yield sentence

    counts = write_lm_text(out, counted())
    usable = {word: count for word, count in counts.items() if is_spellable(word)}
    dictionary = extended_dictionary(usable, filter(is_spellable, listed))
    write_dictionary(out, dictionary)
    years = " ".join(year for year in YEARS if any(p.parent.name == year for p in files))
    unspelt = sum(not is_spellable(word) for word in listed)
    return [
        f"{LM_TEXT}: {num_sentences:,} sentences, {counts.total():,} words, of {len(files)} files "
        f"of the years {years}",
        f"{DICTIONARY}: {len(dictionary):,} words, {len(listed) - unspelt:,} of them of "
        f"{VOCABULARY[0]}" + (f" ({unspelt} left out: other characters)" if unspelt else ""),
    ]


def sentences(lines: Iterable[str]) -> Iterator[str]:
    """The sentences of marked-up text, not normalised."""
    gathered: list[str] = []
    inside = False
    for line in lines:
        for place, piece in enumerate(_MARK.split(line)):
            if place % 2:  # a mark: whatever it is, no sentence goes on behind it
                if gathered:
                    yield " ".join(gathered)
                    gathered.clear()
                inside = bool(re.match(r"<s\b", piece, re.IGNORECASE))
            elif text := piece.strip():
                if inside:
                    gathered.append(text)
                else:
                    yield text
    if gathered:
        yield " ".join(gathered)


def split_at_full_stops(text: str, known: Collection[str]) -> Iterator[str]:
    """The sentences in a text, normalised: also cut where a full stop was left behind a word.

    That is where a word ends in the only `.` that it has and is none of the `known` words (MR.).
    """
    if not text.isprintable():
        text = text.translate(_UNPRINTABLE)
    normal = normalize_text(text, "upper")
    if "." not in normal:
        if normal:
            yield normal
        return
    sentence: list[str] = []
    for word in words(normal):
        ends = word.find(".") == len(word) - 1 and word not in known
        if left := word[:-1] if ends else word:
            sentence.append(left)
        if ends and sentence:
            yield " ".join(sentence)
            sentence = []
    if sentence:
        yield " ".join(sentence)


def is_spellable(word: str) -> bool:
    """Whether a word has a letter, and no character but the 43 (so no digit)."""
    return bool(_LETTER.search(word)) and CHARACTERS.issuperset(word)


def read_vocabulary(discs: Discs) -> tuple[set[str], set[str]]:
    """The words of the list of 20 000, and of the list of frequent words, where they are.

    Lines have a word, or a word and its count in either order; `#` and `;` begin comments. WSJ1's
    lists, else WSJ0's.

    Raises:
        DataError: a list that cannot be read.
    """
    found = []
    for name in VOCABULARY:
        files = discs.matching(rf"wsj[01]/doc/lng_modl/vocab/{re.escape(name)}")
        found.append({word for _, path in files[-1:] for word in _listed_words(path)})
    return found[0], found[1]


def open_compressed(path: Path) -> IO[bytes]:
    """A file of the text, unpacked while it is read; its content says how it is compressed.

    Raises:
        DataError: neither gzip nor Unix compress, not readable, or a package is missing.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(2)
    except OSError as error:
        raise DataError(f"{shown(path)}: cannot be read: {error.strerror}") from error
    if magic == _GZIP:
        return cast(IO[bytes], gzip.open(path))
    if magic != _COMPRESS:
        raise DataError(
            f"{shown(path)}: compressed neither by gzip nor by compress (begins with {magic!r}); "
            "copy the disc again"
        )
    try:
        import uncompresspy
    except ImportError as error:
        raise DataError(
            f"{shown(path)}: is compressed by Unix compress, which needs uncompresspy: {INSTALL}"
        ) from error
    try:
        return cast(IO[bytes], uncompresspy.LZWFile(path, save_checkpoints=False))
    except ValueError as error:
        raise _damaged(path, error) from error


def read_compressed_lines(path: Path) -> Iterator[str]:
    """The lines of a file of the text.

    Raises:
        DataError: as `open_compressed`, or damaged or cut off, as far as its format shows that.
    """
    with open_compressed(path) as file:
        rest = b""
        while block := _read_block(file, path):
            *lines, rest = (rest + block).split(b"\n")
            yield from (line.decode("latin-1") for line in lines)
        if rest:
            yield rest.decode("latin-1")


def _read_block(file: IO[bytes], path: Path) -> bytes:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)  # how uncompresspy says "cut off"
            return file.read(BLOCK_BYTES)
    except _DAMAGE as error:
        raise _damaged(path, error) from error
    except OSError as error:
        raise DataError(f"{shown(path)}: cannot be read: {error.strerror}") from error


def _damaged(path: Path, error: BaseException) -> DataError:
    return DataError(
        f"{shown(path)}: damaged or cut off ({shown(str(error))}); copy the disc again"
    )


def _listed_words(path: Path) -> Iterator[str]:
    for _, line in read_byte_lines(path):
        text = line.decode("latin-1").strip(" \t\x1a").upper()
        if text and not text.startswith(("#", ";")):
            yield from (word for word in words(text) if not word.isdecimal())
