"""The CMU pronouncing dictionary as pairs: the letters of a word, the phones of a pronunciation.

A line of it is `word PHONE PHONE …`, further pronunciations are `word(2)` and so on; `# …` at the
end of a line and lines with `;;;` are remarks. Stress (the digit of a vowel) is dropped, as is
usual where pronunciations are predicted: 39 phones remain. Words are in small letters.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from asr.data.text import normalize_text, read_lines
from asr.errors import DataError, shown

FILES = ("cmudict.dict", "cmudict-0.7b", "cmudict.txt", "cmudict")
HELD_OUT = 0.05  # of the words: for dev, and as many for test
FEWEST_WORDS = 20  # of a dictionary that can be split
SEED = 1

_VARIANT = re.compile(r"\(\d+\)$")
_REMARK = re.compile(r"(^|\s)#.*$")
_PHONE = re.compile(r"^([A-Z]+)[0-2]?$")

Pronunciations = dict[str, list[str]]


def find_dictionary(corpus: Sequence[Path]) -> Path:
    """The file of the dictionary: given itself, or right in a folder that is given.

    Raises:
        DataError: there is none.
    """
    for path in corpus:
        if path.is_file():
            return path
        for name in FILES:
            if (path / name).is_file():
                return path / name
    places = ", ".join(map(shown, corpus)) or "seq2seq"
    raise DataError(
        f"{places}: no {FILES[0]}; give --corpus the CMU pronouncing dictionary, or its folder "
        "(github.com/cmusphinx/cmudict), or put it into $ASR_CORPORA/text/cmudict"
    )


def read_dictionary(path: Path) -> Pronunciations:
    """Word → its pronunciations, phones with spaces between, in the order of the file.

    Two that differ in stress alone are one.

    Raises:
        DataError: not readable, not UTF-8, or a line that is no word with phones.
    """
    found: Pronunciations = {}
    for number, line in read_lines(path):
        if line.startswith(";;;"):
            continue
        word, *symbols = normalize_text(_REMARK.sub("", line)).split(" ")
        if not word:
            continue
        phones = [_PHONE.match(symbol) for symbol in symbols]
        if not phones or not all(phones):
            raise DataError(
                f"{shown(path)}:{number}: is no word with its phones: '{shown(line[:60])}'; "
                "correct or remove the line"
            )
        said = " ".join(phone[1] for phone in phones if phone)
        listed = found.setdefault(normalize_text(_VARIANT.sub("", word), "lower"), [])
        if said not in listed:
            listed.append(said)
    return found


def dictionary_sets(path: Path) -> dict[str, list[str]]:
    """Lines "word<TAB>phones" of train (90 %), dev and test (5 % each), split by word.

    All pronunciations of a word are in the same set.

    Raises:
        DataError: not a dictionary, or one with too few words.
    """
    found = read_dictionary(path)
    if len(found) < FEWEST_WORDS:
        raise DataError(
            f"{shown(path)}: {len(found)} words are too few to hold any out; {FEWEST_WORDS} or "
            "more are needed. Is it the whole dictionary?"
        )
    words = sorted(found)
    order = np.random.default_rng(SEED).permutation(len(words)).tolist()
    held_out = round(HELD_OUT * len(words))
    parts = {
        "dev": order[:held_out],
        "test": order[held_out : 2 * held_out],
        "train": order[2 * held_out :],
    }
    return {
        name: [f"{words[i]}\t{phones}" for i in sorted(part) for phones in found[words[i]]]
        for name, part in parts.items()
    }
