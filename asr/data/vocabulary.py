"""What every tokenizer shares: special symbols, unknown ones, and how tokens join into words."""

import hashlib
import json
import unicodedata
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from asr.data.text import normalize_text, words
from asr.errors import DataError, shown

BLANK_SYMBOL = "<blank>"  # always symbol 0; no text has it
UNKNOWN_SYMBOL = "<unknown>"  # symbol 1 where a tokenizer has it
UNREADABLE = "\N{REPLACEMENT CHARACTER}"  # what the unknown symbol is decoded to
MAX_LISTED = 100  # symbols that an error message lists

REMEDY = 'mend the text, or set tokenizer.unknown = "drop"'

# What becomes of a symbol outside the vocabulary: an error, nothing, or the unknown symbol.
Unknown = Literal["error", "drop", "replace"]


class WordSpan(NamedTuple):
    """A word and the tokens that spell it: `tokens[start:stop]`."""

    word: str
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Piece:
    """What one token adds to a text: perhaps the beginning of a word, perhaps characters."""

    text: str
    starts_word: bool = False


def word_spans(tokens: Sequence[int], pieces: Sequence[Piece]) -> list[WordSpan]:
    """The words, in order, that any sequence of tokens spells.

    A token without text (a space) belongs to no word, so that a word begins with its first sound.
    Unicode is composed again (NFC): a letter and its accent may have come as two tokens.

    Args:
        tokens: without blanks.
        pieces: what each token of the vocabulary adds; the blank's is never used.

    Raises:
        ValueError: a token that is the blank or outside the vocabulary.
    """
    for token in tokens:
        if not 1 <= token < len(pieces):
            raise ValueError(f"tokens are 1 to {len(pieces) - 1}, got {token}")
    return spelled([pieces[token] for token in tokens])


def spelled(pieces: Iterable[Piece]) -> list[WordSpan]:
    """The words that pieces spell, one after another; their ranges are those of the pieces."""
    spans: list[WordSpan] = []
    begun: list[str] = []
    start = stop = 0
    for index, piece in enumerate(pieces):
        if piece.starts_word and begun:
            spans.append(_word_span(begun, start, stop))
            begun = []
        if piece.text:
            start = start if begun else index
            stop = index + 1
            begun.append(piece.text)
    if begun:
        spans.append(_word_span(begun, start, stop))
    return spans


def known_units(units: Iterable[str], known: Container[str], unknown: Unknown) -> list[str]:
    """`units` after the policy: without those that are not `known` if they are to be dropped.

    Raises:
        DataError: some are not known, and that is an error.
    """
    units = list(units)
    if unknown == "replace":
        return units
    if unknown == "drop":
        return [unit for unit in units if unit in known]
    counts = unknown_units(units, known)
    if counts:
        raise DataError(f"text with {listed(counts)} outside the vocabulary; {REMEDY}")
    return units


def unknown_units(units: Iterable[str], known: Container[str]) -> Counter[str]:
    """How often each unit occurs that is not `known`."""
    counts = Counter(units)  # compiled: looking up each unit here takes three times as long
    return Counter({unit: count for unit, count in counts.items() if unit not in known})


def learnt_symbols(counts: Mapping[str, int]) -> list[str]:
    """The units of a training text, sorted by code point; `counts`: how often each occurs.

    Raises:
        DataError: no units, a unit that is a special symbol, or one that is no text.
    """
    if not counts:
        raise DataError("the training text is empty: there is no vocabulary to learn from it")
    refuse(counts, [BLANK_SYMBOL, UNKNOWN_SYMBOL], "which have a meaning of their own; rename them")
    refuse(counts, [unit for unit in counts if _is_broken(unit)], "which are no text; mend it")
    return sorted(counts)


def refuse(counts: Mapping[str, int], units: Iterable[str], why: str) -> None:
    """Return when none of `units` is counted.

    Raises:
        DataError: those that are, with their counts and `why`.
    """
    refused = Counter({unit: counts[unit] for unit in units if unit in counts})
    if refused:
        raise DataError(f"text with {listed(refused)}, {why}")


def check_characters(symbols: Sequence[str]) -> None:
    """Return when `symbols` can be the characters of a vocabulary.

    Raises:
        ValueError: none, one twice, or one that is not a single normalised character.
    """
    _check_symbols(symbols)
    for symbol in symbols:
        if len(symbol) != 1 or (symbol != " " and normalize_text(symbol) != symbol):
            raise ValueError(f"single characters in Unicode form NFC, not {described(symbol)}")


def check_phones(symbols: Sequence[str]) -> None:
    """Return when `symbols` can be the phones of a vocabulary.

    Raises:
        ValueError: none, one twice, or one that is not a single normalised word.
    """
    _check_symbols(symbols)
    for symbol in symbols:
        if symbol in (BLANK_SYMBOL, UNKNOWN_SYMBOL) or words(normalize_text(symbol)) != [symbol]:
            raise ValueError(f"words of their own in Unicode form NFC, not {described(symbol)}")


def special_symbols(unknown: Unknown) -> tuple[str, ...]:
    """The symbols before those of the text."""
    return (BLANK_SYMBOL, UNKNOWN_SYMBOL) if unknown == "replace" else (BLANK_SYMBOL,)


def readable(symbol: str) -> str:
    """What a symbol is in a text."""
    return UNREADABLE if symbol == UNKNOWN_SYMBOL else symbol


def listed(counts: Mapping[str, int]) -> str:
    """Symbols with their counts for a message, the most frequent first."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    symbols = [f"{described(symbol)} {count} times" for symbol, count in ordered[:MAX_LISTED]]
    more = f" and {len(ordered) - MAX_LISTED} more" if len(ordered) > MAX_LISTED else ""
    noun = "symbol" if len(ordered) == 1 else "symbols"
    return f"{len(ordered)} {noun} ({', '.join(symbols)}{more})"


def described(symbol: str) -> str:
    """A symbol for a message; a single character with its code point, since many look alike."""
    return f"'{shown(symbol)}'" + (f" U+{ord(symbol):04X}" if len(symbol) == 1 else "")


def description_hash(description: Mapping[str, Any]) -> str:
    """SHA-256, in hexadecimal, of JSON values."""
    canonical = json.dumps(description, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()


def _check_symbols(symbols: Sequence[str]) -> None:
    if not symbols:
        raise ValueError("at least one symbol")
    doubled = [symbol for symbol, count in Counter(symbols).items() if count > 1]
    if doubled:
        raise ValueError(f"symbols that differ, but {described(doubled[0])} stands twice")
    broken = [symbol for symbol in symbols if _is_broken(symbol)]
    if broken:
        raise ValueError(f"text, not half of a surrogate pair: {described(broken[0])}")


def _is_broken(unit: str) -> bool:
    """Whether UTF-8 cannot write it: JSON escapes can smuggle halves of surrogate pairs in."""
    return any(unicodedata.category(character) == "Cs" for character in unit)


def _word_span(begun: list[str], start: int, stop: int) -> WordSpan:
    return WordSpan(unicodedata.normalize("NFC", "".join(begun)), start, stop)
