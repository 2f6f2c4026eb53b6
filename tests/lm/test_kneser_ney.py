"""The smoothing, against its definition in exact fractions."""

import random

import numpy as np
import pytest

from asr.lm.counting import NgramCounts, count_ngrams, rows
from asr.lm.kneser_ney import (
    Discounts,
    Smoothed,
    adjusted_counts,
    estimate_discounts,
    kept,
    smooth,
)
from asr.lm.tokens import SPECIAL, read_tokens
from tests.lm.plain_kneser_ney import FALLBACK, Gram, PlainModel


def random_sentences(seed: int) -> list[list[str]]:
    """Enough for discounts of the short n-grams, with empty lines and doubled sentences."""
    choose = random.Random(seed)  # noqa: S311
    words = [f"w{k}" for k in range(choose.choice([4, 12, 40]))]
    weights = [1 / (k + 1) for k in range(len(words))]
    sentences = [choose.choices(words, weights, k=choose.randrange(9)) for _ in range(60)]
    return sentences + sentences[:5]


def counted_in(sentences: list[list[str]], order: int) -> tuple[list[str], list[NgramCounts]]:
    stream = read_tokens([" ".join(sentence) for sentence in sentences], "word")
    return stream.words, count_ngrams(stream.ids, len(stream.words), order)


def grams_of(words: list[str], counted: list[NgramCounts]) -> list[list[Gram]]:
    """The n-grams of each length as words, in their order."""
    lengths = range(1, len(counted) + 1)
    found = [rows(counted[:length]).tolist() for length in lengths]
    return [[tuple(words[word] for word in gram) for gram in grams] for grams in found]


@pytest.mark.parametrize("seed", range(4))
def test_adjusted_counts_by_brute_force(seed: int) -> None:
    sentences = random_sentences(seed)
    words, counted = counted_in(sentences, 4)
    plain = PlainModel(sentences, [0] * 4)
    for grams, adjusted in zip(grams_of(words, counted), adjusted_counts(counted), strict=True):
        expected = [plain.adjusted(gram) if gram in plain.counts else 0 for gram in grams]
        assert adjusted.tolist() == expected


def test_adjusted_counts_of_one_sentence() -> None:
    """A occurs twice, but after B alone; `<s> B` keeps its count; of the longest all do."""
    words, counted = counted_in([["B", "A", "B", "A"]], 2)
    unigrams, bigrams = adjusted_counts(counted)
    assert dict(zip(words, unigrams.tolist(), strict=True)) == {
        "<unk>": 0, "<s>": 0, "</s>": 1, "B": 2, "A": 1,
    }  # fmt: skip
    assert dict(zip(grams_of(words, counted)[1], bigrams.tolist(), strict=True)) == {
        ("<s>", "B"): 1, ("B", "A"): 2, ("A", "B"): 1, ("A", "</s>"): 1,
    }  # fmt: skip


def test_discounts_in_closed_form() -> None:
    """n1 = 8, n2 = 4, n3 = 2, n4 = 1, so that Y = 1/2 and n(k + 1) / n(k) = 1/2."""
    adjusted = np.array([0, *[1] * 8, *[2] * 4, *[3] * 2, 4, 5, 100])
    assert estimate_discounts(adjusted) == Discounts(1 - 1 / 2, 2 - 3 / 4, 3 - 4 / 4)


@pytest.mark.parametrize(
    "adjusted",
    [
        [],
        [2, 3, 4],
        [1, 3, 4],
        [1, 2, 4],
        [*[1] * 8, 2, 3, 3, 3, 3],  # D2 = 2 - 3 * 0.8 * 4 / 1
        [*[1] * 8, *[2] * 4, 3, *[4] * 9],  # D3 = 3 - 4 * 0.5 * 9
    ],
)
def test_no_discounts_of_odd_counts(adjusted: list[int]) -> None:
    assert estimate_discounts(np.array(adjusted, dtype=np.int64)) is None


SETTINGS = [
    ([0], False),
    ([0, 0], False),
    ([0, 0, 0], False),
    ([0, 0, 0, 0], False),
    ([0, 0, 0, 0, 0], False),
    ([0, 0, 1], False),
    ([0, 1, 1, 2], False),
    ([1, 1, 3], False),
    ([0], True),
    ([0, 0, 0], True),
    ([0, 1, 2, 2, 2], True),
]


def smoothed_in(
    sentences: list[list[str]], thresholds: list[int], known: set[str] | None, plain: PlainModel
) -> tuple[list[list[Gram]], list[np.ndarray[tuple[int], np.dtype[np.bool_]]], list[Smoothed]]:
    words, counted = counted_in(sentences, len(thresholds))
    allowed = np.array([known is None or word in {*known, *SPECIAL} for word in words])
    staying = kept(counted, thresholds, allowed)
    adjusted = adjusted_counts(counted)
    estimated = [estimate_discounts(counts) for counts in adjusted]
    discounts = [found or Discounts(*map(float, FALLBACK)) for found in estimated]
    for ours, exact in zip(discounts, plain.discounts, strict=True):
        assert ours == pytest.approx([float(discount) for discount in exact], abs=1e-12)
    return grams_of(words, counted), staying, smooth(counted, adjusted, staying, discounts)


@pytest.mark.parametrize(("thresholds", "limited"), SETTINGS)
@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_the_definition(seed: int, thresholds: list[int], limited: bool) -> None:
    sentences = random_sentences(seed)
    known = {f"w{k}" for k in range(0, 40, 2)} if limited else None
    plain = PlainModel(sentences, thresholds, known)
    grams, staying, smoothed = smoothed_in(sentences, thresholds, known, plain)
    for length in range(1, len(thresholds) + 1):
        level = smoothed[length - 1]
        for gram, stays, prob in zip(
            grams[length - 1], staying[length - 1], level.probs, strict=True
        ):
            assert stays == plain.stays(gram)
            if stays and gram != ("<s>",):
                assert prob == pytest.approx(float(plain.prob(gram[:-1], gram[-1])), abs=1e-9)
        for context, weight in zip([(), *grams][length - 1] or [()], level.weights, strict=True):
            assert weight == pytest.approx(float(plain.backoff(context or ())), abs=1e-9)


@pytest.mark.parametrize(("thresholds", "limited"), SETTINGS)
def test_the_definition_sums_to_exactly_one(thresholds: list[int], limited: bool) -> None:
    """The reference itself, in fractions, after every context of the text."""
    sentences = random_sentences(0)
    plain = PlainModel(sentences, thresholds, {"w0", "w2"} if limited else None)
    for context in [*plain.after, ("unseen",)]:
        assert sum(plain.prob(context, word) for word in plain.vocabulary) == 1


def test_sentence_begin_is_certain_and_nothing_follows_an_end() -> None:
    plain = PlainModel([["A"]], [0, 0])
    grams, _, smoothed = smoothed_in([["A"]], [0, 0], None, plain)
    unigrams = {gram[0]: index for index, gram in enumerate(grams[0])}
    assert smoothed[0].probs[unigrams["<s>"]] == 1
    assert smoothed[1].weights[unigrams["</s>"]] == 1
    assert smoothed[1].weights[unigrams["<unk>"]] == 1
