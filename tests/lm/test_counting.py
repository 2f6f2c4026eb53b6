"""Counts of n-grams, against going through the text with a dictionary."""

import random
from collections import Counter

import numpy as np
import pytest

from asr.lm.counting import _sorted, count_ngrams, rows
from asr.lm.tokens import BEGIN, END

Gram = tuple[int, ...]


def random_sentences(seed: int, num_words: int) -> list[list[int]]:
    choose = random.Random(seed)  # noqa: S311
    lengths = [choose.choice([0, 1, 2, 3, 7, 12]) for _ in range(60)]
    return [[3 + choose.randrange(num_words) for _ in range(length)] for length in lengths]


def flat(sentences: list[list[int]]) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    marked = [[BEGIN, *sentence, END] for sentence in sentences]
    return np.array([word for sentence in marked for word in sentence], dtype=np.int32)


def counted_plainly(sentences: list[list[int]], length: int) -> Counter[Gram]:
    counts: Counter[Gram] = Counter()
    for sentence in sentences:
        words = (BEGIN, *sentence, END)
        counts.update(words[i : i + length] for i in range(len(words) - length + 1))
    return counts


@pytest.mark.parametrize("num_words", [1, 2, 5, 300])
@pytest.mark.parametrize("seed", range(3))
def test_counts_are_those_of_a_dictionary(seed: int, num_words: int) -> None:
    sentences = random_sentences(seed, num_words)
    counted = count_ngrams(flat(sentences), num_words + 3, 5)
    for length, ngrams in enumerate(counted, start=1):
        found = dict(zip(map(tuple, rows(counted[:length]).tolist()), ngrams.counts, strict=True))
        expected = counted_plainly(sentences, length)
        if length == 1:
            expected = Counter({(word,): expected[word,] for word in range(num_words + 3)})
        assert found == expected


@pytest.mark.parametrize("seed", range(3))
def test_ngrams_are_sorted_and_know_their_prefix_and_suffix(seed: int) -> None:
    counted = count_ngrams(flat(random_sentences(seed, 4)), 7, 5)
    shorter = [()]
    for length, ngrams in enumerate(counted, start=1):
        found = list(map(tuple, rows(counted[:length]).tolist()))
        assert found == sorted(set(found))
        assert [shorter[prefix] for prefix in ngrams.prefixes] == [gram[:-1] for gram in found]
        if length > 1:
            assert [shorter[suffix] for suffix in ngrams.suffixes] == [gram[1:] for gram in found]
        shorter = found


def test_no_ngram_is_longer_than_the_sentences() -> None:
    counted = count_ngrams(flat([[3], [], [4]]), 5, 6)
    assert [len(ngrams) for ngrams in counted] == [5, 5, 2, 0, 0, 0]
    assert rows(counted).shape == (0, 6)


def test_keys_beyond_32_bits() -> None:
    """A vocabulary of which the square is larger than 2**31."""
    sentence = list(range(3, 70_003))
    counted = count_ngrams(flat([sentence, sentence]), 70_003, 3)
    assert len(counted[2]) == 70_000
    assert (counted[2].counts == 2).all()
    expected = [(BEGIN, 3, 4), *zip(sentence, sentence[1:], [*sentence[2:], END], strict=False)]
    assert rows(counted).tolist() == sorted(map(list, expected))


@pytest.mark.parametrize("bound", [1000, 2**60])
def test_both_ways_of_sorting(bound: int) -> None:
    keys = np.random.default_rng(1).integers(0, 1000, 5000)
    ordered, places = _sorted(keys, bound)
    assert (ordered == np.sort(keys)).all()
    assert (keys[places] == ordered).all()
    assert (np.sort(places) == np.arange(5000)).all()
