"""Text → n-gram language model: words numbered, n-grams counted, smoothed, pruned."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asr.data.text import normalize_text, read_lines, words
from asr.errors import ConfigError, DataError, ResourceError, shown
from asr.lm.arpa import NgramTable
from asr.lm.counting import NgramCounts, count_ngrams, rows
from asr.lm.kneser_ney import (
    Counts,
    Discounts,
    Flags,
    Smoothed,
    adjusted_counts,
    estimate_discounts,
    kept,
    smooth,
)
from asr.lm.protocol import MAX_ORDER
from asr.lm.tokens import BEGIN, SPECIAL, Unit, read_tokens

FALLBACK = Discounts(0.5, 1.0, 1.5)  # lmplz's, where a text is too small to estimate them
LEAST_LOG10 = -99.0  # for a back-off of zero: a usual stand-in for what ARPA files cannot say

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EstimatedModel:
    """An n-gram model, and what it was made of.

    Attributes:
        words: what each word id stands for: <unk>, <s>, </s>, then the words as the text has them.
        orders: the 1-grams, the 2-grams …, each sorted by word ids; as `write_arpa` takes them.
        discounts: of each length.
        num_sentences: lines of the text.
        num_words: words (or characters) of the text.
        unit: what is a word.
    """

    words: tuple[str, ...]
    orders: tuple[NgramTable, ...]
    discounts: tuple[Discounts, ...]
    num_sentences: int
    num_words: int
    unit: Unit

    def lines(self) -> list[str]:
        """A summary, for people."""
        first = f"{self.num_sentences:,} sentences, {self.num_words:,} {self.unit}s"
        lines = [f"{first}, a vocabulary of {len(self.words) - len(SPECIAL):,}"]
        for length, (table, found) in enumerate(zip(self.orders, self.discounts, strict=True), 1):
            values = " ".join(f"{value:.4f}" for value in found)
            lines.append(f"{length}-grams: {len(table.ngrams):,}, discounts {values}")
        return lines


def estimate(
    texts: Iterable[str | Path],
    *,
    order: int = 3,
    vocabulary: Sequence[str] | None = None,
    prune: Sequence[int] = (),
    unit: Unit = "word",
) -> EstimatedModel:
    """The n-gram model of `texts`, with interpolated modified Kneser-Ney smoothing.

    Where a text is too small to estimate the discounts of a length, `FALLBACK` is used for it, and
    a line in the log says so.

    Args:
        texts: sentences (str), and files (Path): text with a sentence a line, also compressed,
            manifests (.jsonl), or "-" for stdin.
        order: the longest n-gram, 1 to 6.
        vocabulary: the words that the model may know; none for all. N-grams with other words are
            counted, then pruned: what they had goes to the back-offs, not to `<unk>`, which stays
            as probable as a word that was never seen. Words that are not in the text are not added.
        prune: for each length from 1 on, the count up to which n-grams are left out; must not
            fall, and its last number holds for all further lengths.
        unit: what is a word: a word, or every character (a space is `<space>`).

    Raises:
        ConfigError: an order or a pruning that cannot be.
        DataError: no word in the text, or none of the vocabulary; a file that cannot be read or is
            not UTF-8 text; or one of the special words in the text.
        ResourceError: the n-grams do not fit into memory.
        TypeError: one text instead of several.
    """
    thresholds = _thresholds(prune, order)
    try:
        return _estimated(texts, unit, thresholds, vocabulary)
    except MemoryError as error:
        raise ResourceError(
            "the n-grams of the text do not fit into memory; lower the order or use a part of it"
        ) from error


def _estimated(
    texts: Iterable[str | Path],
    unit: Unit,
    thresholds: Sequence[int],
    vocabulary: Sequence[str] | None,
) -> EstimatedModel:
    """What `estimate` gives, for one threshold a length."""
    order = len(thresholds)
    _log.info("reading the text")
    stream = read_tokens(texts, unit)
    _log.info("counting the n-grams of %s tokens, order %d", f"{len(stream.ids):,}", order)
    counted = count_ngrams(stream.ids, len(stream.words), order)
    staying = kept(counted, thresholds, _known(stream.words, vocabulary))
    _log.info("estimating the probabilities")
    adjusted = adjusted_counts(counted)
    discounts = _discounts(adjusted)
    smoothed = smooth(counted, adjusted, staying, discounts)
    sentences = int(counted[0].counts[BEGIN])
    return EstimatedModel(
        words=tuple(word for word, stays in zip(stream.words, staying[0], strict=True) if stays),
        orders=tuple(_tables(counted, staying, smoothed)),
        discounts=tuple(discounts),
        num_sentences=sentences,
        num_words=len(stream.ids) - 2 * sentences,
        unit=unit,
    )


def read_vocabulary(path: Path) -> list[str]:
    """The words in a text file, separated by white space, as `estimate` takes them.

    Raises:
        DataError: the file cannot be read, is not UTF-8, or is empty.
    """
    found = [word for _, line in read_lines(path) for word in words(normalize_text(line))]
    if not found:
        raise DataError(f"{shown(path)}: no word in it; a vocabulary has one word a line")
    return found


def _thresholds(prune: Sequence[int], order: int) -> list[int]:
    """One threshold for each length."""
    if not 1 <= order <= MAX_ORDER:
        raise ConfigError(f"the order of a model must be 1 to {MAX_ORDER}, got {order}")
    listed = " ".join(map(str, prune))
    if len(prune) > order:
        raise ConfigError(
            f"prune: {len(prune)} numbers ({listed}) for a model of order {order}; give one for "
            "each length of n-grams, or fewer: the last one holds for all further lengths"
        )
    if any(number < 0 for number in prune) or list(prune) != sorted(prune):
        raise ConfigError(
            f"prune: the numbers must be 0 or more and must not fall, got {listed}; a long n-gram "
            "cannot stay when the shorter ones in it go"
        )
    thresholds = list(prune) or [0]
    return thresholds + thresholds[-1:] * (order - len(thresholds))


def _known(found: Sequence[str], vocabulary: Sequence[str] | None) -> Flags:
    """Which of the words in the text the model may know."""
    if vocabulary is None:
        return np.ones(len(found), dtype=np.bool_)
    allowed = {normalize_text(word) for word in vocabulary}
    known = np.array([word in allowed for word in found])
    num_known = int(known[len(SPECIAL) :].sum())
    _log.info("%s of the %s words of the vocabulary are in the text", num_known, len(allowed))
    known[: len(SPECIAL)] = True
    if not num_known:
        raise DataError(
            f"none of the {len(allowed):,} words of the vocabulary is in the text; do both have "
            "the same language, case and unit?"
        )
    return known


def _discounts(adjusted: Sequence[Counts]) -> list[Discounts]:
    discounts = []
    for length, counts in enumerate(adjusted, start=1):
        found = estimate_discounts(counts)
        if found is None:
            _log.info(
                "%d-grams: too few or too odd counts to estimate discounts; %s are used",
                length,
                ", ".join(f"{value:g}" for value in FALLBACK),
            )
        discounts.append(FALLBACK if found is None else found)
    return discounts


def _tables(
    counted: Sequence[NgramCounts], staying: Sequence[Flags], smoothed: Sequence[Smoothed]
) -> Iterable[NgramTable]:
    """What stays, with the words numbered anew."""
    new_ids = (np.cumsum(staying[0]) - 1).astype(np.int32)
    for length, stays in enumerate(staying, start=1):
        highest = length == len(counted)
        yield NgramTable(
            ngrams=new_ids[rows(counted[:length])[stays]],
            log10_probs=_log10(smoothed[length - 1].probs[stays]),
            log10_backoffs=None if highest else _log10(smoothed[length].weights[stays]),
        )


def _log10(values: NDArray[np.float64]) -> NDArray[np.float32]:
    with np.errstate(divide="ignore"):
        return np.maximum(np.log10(values), LEAST_LOG10).astype(np.float32)
