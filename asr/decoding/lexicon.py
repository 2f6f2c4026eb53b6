"""The words that a search may know: read from a file, and spelt by the labels or not."""

from collections.abc import Sequence
from pathlib import Path

from asr.data.labels import Labels, decomposed
from asr.data.text import normalize_text, read_lines, words
from asr.errors import DataError, shown

MAX_LISTED = 10  # words that a message names


def read_lexicon(path: Path) -> list[str]:
    """The words of a text file, one a line, in the order of their first appearance.

    Raises:
        DataError: the file cannot be read, several words on a line, or no word at all.
    """
    found: dict[str, None] = {}
    for number, line in read_lines(path):
        on_line = words(normalize_text(line))
        if len(on_line) > 1:
            raise DataError(
                f"{shown(path)}:{number}: {len(on_line)} words; a lexicon has one word a line"
            )
        found.update(dict.fromkeys(on_line))
    if not found:
        raise DataError(f"{shown(path)}: has no words; a lexicon has one word a line")
    return list(found)


def unspellable(vocabulary: Sequence[str], labels: Labels) -> list[str]:
    """The words that no sequence of the labels spells, in their order."""
    texts = {decomposed(piece.text) for piece in labels.pieces if piece and piece.text}
    starts = {decomposed(p.text) for p in labels.pieces if p and p.text and p.starts_word}
    inner = {decomposed(p.text) for p in labels.pieces if p and p.text and not p.starts_word}
    spaced = any(piece and piece.starts_word and not piece.text for piece in labels.pieces)
    first = texts if spaced or not starts else starts
    longest = max(map(len, texts), default=0)
    if longest == 1 and inner == texts and spaced:  # characters: every spelling will do
        return [word for word in vocabulary if not texts.issuperset(decomposed(word))]
    return [word for word in vocabulary if not _spells(decomposed(word), first, inner, longest)]


def check_spellable(vocabulary: Sequence[str], labels: Labels, source: str) -> None:
    """Return when the labels can spell every word.

    Raises:
        DataError: the words that they cannot, with their number.
    """
    bad = unspellable(vocabulary, labels)
    if bad:
        listed = ", ".join(f"'{shown(word)}'" for word in bad[:MAX_LISTED])
        more = f" and {len(bad) - MAX_LISTED} more" if len(bad) > MAX_LISTED else ""
        raise DataError(
            f"{source}: {len(bad)} of {len(vocabulary)} words cannot be spelt with the labels of "
            f"the model: {listed}{more}; remove them, or write them as the training text does"
        )


def _spells(word: str, first: set[str], inner: set[str], longest: int) -> bool:
    """Whether `word` is one of `first` followed by any of `inner`."""
    reached = [False] * (len(word) + 1)
    for stop in range(1, min(longest, len(word)) + 1):
        reached[stop] = word[:stop] in first
    for start in range(1, len(word)):
        if reached[start]:
            for stop in range(start + 1, min(start + longest, len(word)) + 1):
                reached[stop] = reached[stop] or word[start:stop] in inner
    return bool(word) and reached[-1]
