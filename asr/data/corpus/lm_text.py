"""What a corpus has for language models: `lm.txt.gz`, a sentence a line, and `dictionary.txt`.

The dictionary is the words that a decoder may write (`--lexicon`) and that n-gram models know
(`--vocabulary`), one a line, sorted.
"""

import gzip
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from asr.data.text import words
from asr.storage import cannot_write, write_atomically

LM_TEXT = "lm.txt.gz"
DICTIONARY = "dictionary.txt"
DICTIONARY_WORDS = 146_000  # of the extended dictionary of Graves & Jaitly (2014)
LEAST_COUNT = 2  # a word seen once is most often misspelt, or a name


def write_lm_text(out: Path, lines: Iterable[str]) -> Counter[str]:
    """Write `lm.txt.gz`, in one step and never all of it in memory.

    Args:
        out: folder, which is made.
        lines: normalised sentences, without line ends.

    Returns:
        How often each word occurs. The same lines make the same file.

    Raises:
        ResourceError: the disk is full or not writable.
    """
    counts: Counter[str] = Counter()
    temporary = out / f".{LM_TEXT}.tmp-{os.getpid()}"
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(out, error) from error
    try:
        with temporary.open("wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as file:
            for line in lines:
                file.write(f"{line}\n".encode())
                counts.update(words(line))
        temporary.replace(out / LM_TEXT)
    except OSError as error:
        raise cannot_write(out / LM_TEXT, error) from error
    finally:
        temporary.unlink(missing_ok=True)
    return counts


def extended_dictionary(
    counts: Mapping[str, int], known: Iterable[str] = (), *, most: int = DICTIONARY_WORDS
) -> list[str]:
    """All `known` words, and the most frequent others up to `most` words in all; sorted.

    Args:
        counts: how often each word of the language model's text occurs; singles are not taken.
        known: words that are in it whatever the text has.
        most: words in all, unless there are more `known` ones.
    """
    chosen = set(known)
    frequent = sorted(
        (word for word, count in counts.items() if count >= LEAST_COUNT and word not in chosen),
        key=lambda word: (-counts[word], word),
    )
    chosen.update(frequent[: max(0, most - len(chosen))])
    return sorted(chosen)


def write_dictionary(out: Path, dictionary: Iterable[str]) -> None:
    """Write `dictionary.txt`, a word a line.

    Raises:
        ResourceError: the disk is full or not writable.
    """
    write_atomically(out / DICTIONARY, "".join(f"{word}\n" for word in dictionary))
