"""Whole models: distributions, agreement with the definition, invariance, options, faults."""

import logging
import math
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from asr.errors import ConfigError, DataError, ResourceError
from asr.lm import estimate as module
from asr.lm.arpa import read_arpa, write_arpa
from asr.lm.estimate import EstimatedModel, estimate, read_vocabulary
from tests.lm.plain_kneser_ney import Gram, PlainModel

SETTINGS = [
    ([0], False),
    ([0, 0], False),
    ([0, 0, 0], False),
    ([0, 0, 0, 0], False),
    ([0, 0, 0, 0, 0], False),
    ([0, 0, 1], False),
    ([1, 1, 2], False),
    ([0], True),
    ([0, 0, 0], True),
    ([0, 0, 1, 1, 1], True),
]


def random_sentences(seed: int, num_words: int = 20) -> list[str]:
    choose = random.Random(seed)  # noqa: S311
    words = [f"w{k}" for k in range(num_words)]
    weights = [1 / (k + 1) for k in range(num_words)]
    return [" ".join(choose.choices(words, weights, k=choose.randrange(9))) for _ in range(80)]


def known_words(limited: bool) -> list[str] | None:
    return [f"w{k}" for k in range(0, 20, 3)] if limited else None


class Lookup:
    """A model as an ARPA file defines it: the longest n-gram that is there, else back off."""

    def __init__(self, model: EstimatedModel) -> None:
        self.words = set(model.words) - {"<s>"}
        self.order = len(model.orders)
        self.probs: dict[Gram, float] = {}
        self.backoffs: dict[Gram, float] = {}
        for table in model.orders:
            grams = [tuple(model.words[word] for word in gram) for gram in table.ngrams.tolist()]
            self.probs |= dict(zip(grams, table.log10_probs.tolist(), strict=True))
            if table.log10_backoffs is not None:
                self.backoffs |= dict(zip(grams, table.log10_backoffs.tolist(), strict=True))

    def log10_prob(self, context: Gram, word: str) -> float:
        if (*context, word) in self.probs:
            return self.probs[*context, word]
        return self.backoffs.get(context, 0.0) + self.log10_prob(context[1:], word)


@pytest.mark.parametrize(("thresholds", "limited"), SETTINGS)
@pytest.mark.parametrize("seed", range(2))
def test_every_distribution_sums_to_one(seed: int, thresholds: list[int], limited: bool) -> None:
    model = estimate(
        random_sentences(seed),
        order=len(thresholds),
        prune=thresholds,
        vocabulary=known_words(limited),
    )
    lookup = Lookup(model)
    contexts = [gram for gram in lookup.backoffs if gram[-1] != "</s>"]
    assert len(contexts) > 5 or len(thresholds) == 1
    for context in [(), *contexts]:
        total = sum(10 ** lookup.log10_prob(context, word) for word in lookup.words)
        assert total == pytest.approx(1, abs=2e-6)


@pytest.mark.parametrize(("thresholds", "limited"), SETTINGS)
def test_probabilities_are_those_of_the_definition(thresholds: list[int], limited: bool) -> None:
    """Of every word after every n-gram of the text, also where the model has to back off."""
    sentences, vocabulary = random_sentences(3), known_words(limited)
    plain = PlainModel(
        [sentence.split() for sentence in sentences],
        thresholds,
        None if vocabulary is None else set(vocabulary),
    )
    model = estimate(sentences, order=len(thresholds), prune=thresholds, vocabulary=vocabulary)
    lookup = Lookup(model)
    assert lookup.words == plain.vocabulary
    contexts = [()] if len(thresholds) == 1 else [(), *plain.after]
    for context in contexts[::7]:
        for word in lookup.words:
            expected = math.log10(plain.prob(context, word))
            assert lookup.log10_prob(context, word) == pytest.approx(expected, abs=1e-6)


def test_closed_form() -> None:
    """One word twice: two bigrams before an end; the fall-back D1 = 1/2, D2 = 1 everywhere."""
    model = estimate(["A", "A"], order=2)
    assert model.words == ("<unk>", "<s>", "</s>", "A")
    assert (model.num_sentences, model.num_words) == (2, 2)
    unigrams, bigrams = model.orders
    # a(A) = a(</s>) = 1: each (1 - 1/2) / 2, and half of all goes to the three words.
    expected = [1 / 6, 1, 1 / 4 + 1 / 6, 1 / 4 + 1 / 6]
    assert unigrams.ngrams.tolist() == [[0], [1], [2], [3]]
    assert unigrams.log10_probs == pytest.approx(np.log10(expected), abs=1e-6)
    assert unigrams.log10_backoffs == pytest.approx(np.log10([1, 1 / 2, 1, 1 / 2]), abs=1e-6)
    # <s> A and A </s> occur twice: (2 - 1) / 2, and 1/2 of the unigram.
    assert bigrams.ngrams.tolist() == [[1, 3], [3, 2]]
    assert bigrams.log10_probs == pytest.approx([math.log10(1 / 2 + 5 / 24)] * 2, abs=1e-6)
    assert bigrams.log10_backoffs is None


def test_order_of_the_sentences_changes_nothing() -> None:
    sentences = random_sentences(5)
    forwards, backwards = estimate(sentences, order=4), estimate(sentences[::-1], order=4)
    assert forwards.words != backwards.words
    assert Lookup(forwards).probs == pytest.approx(Lookup(backwards).probs, abs=1e-6)
    assert Lookup(forwards).backoffs == pytest.approx(Lookup(backwards).backoffs, abs=1e-6)


def test_names_of_the_words_change_nothing() -> None:
    sentences = random_sentences(6)
    renamed = [sentence.replace("w", "é") for sentence in sentences]
    for ours, theirs in zip(estimate(sentences).orders, estimate(renamed).orders, strict=True):
        assert (ours.ngrams == theirs.ngrams).all()
        assert (ours.log10_probs == theirs.log10_probs).all()


def test_tables_are_sorted_and_closed() -> None:
    """The prefix and the suffix of every n-gram are there, as readers of ARPA files need it."""
    model = estimate(random_sentences(7), prune=[0, 0, 1], order=4, vocabulary=known_words(True))
    shorter = {()}
    for table in model.orders:
        grams = list(map(tuple, table.ngrams.tolist()))
        assert grams == sorted(grams)
        assert all(gram[:-1] in shorter and gram[1:] in shorter for gram in grams)
        shorter = set(grams)
    assert shorter


def test_a_character_is_a_word_of_its_own() -> None:
    characters = estimate(["AB A", "", "B\tA"], unit="character")
    words = estimate(["A B <space> A", "", "B <space> A"])
    assert characters.words == words.words == ("<unk>", "<s>", "</s>", "A", "B", "<space>")
    assert Lookup(characters).probs == Lookup(words).probs
    assert characters.num_words == words.num_words == 7


def test_fallback_is_said(caplog: pytest.LogCaptureFixture) -> None:
    sentences = random_sentences(8, num_words=200)
    with caplog.at_level(logging.INFO, logger="asr"):
        model = estimate([*sentences, *sentences], order=2)  # no bigram occurs once
    expected = "2-grams: too few or too odd counts to estimate discounts; 0.5, 1, 1.5 are used"
    assert [line for line in caplog.messages if "discounts" in line] == [expected]
    assert model.discounts[1] == (0.5, 1.0, 1.5)
    assert model.discounts[0] != model.discounts[1]


def test_summary() -> None:
    lines = estimate(["A B", "A"], order=2).lines()
    assert lines == [
        "2 sentences, 3 words, a vocabulary of 2",
        "1-grams: 5, discounts 0.5000 1.0000 1.5000",
        "2-grams: 4, discounts 0.5000 1.0000 1.5000",
    ]


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    model = estimate(random_sentences(9), prune=[0, 0, 1])
    write_arpa(tmp_path / "a.arpa", model.words, model.orders)
    read, lookup = read_arpa(tmp_path / "a.arpa"), Lookup(model)
    words = ["w1", "w0", "w19", "w2", "w0", "w0"]
    state, context = np.array([read.start()]), ("<s>",)
    for word in words:
        log_probs, state = read.score(state, read.word_ids([word]))
        expected = math.log(10) * lookup.log10_prob(context, word)
        assert log_probs[0] == pytest.approx(expected, abs=1e-5)
        context = (*context, word)[-2:]


def test_a_back_off_of_zero_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Discounts of zero give nothing to the shorter context."""
    monkeypatch.setattr(module, "FALLBACK", (0.0, 0.0, 0.0))
    model = estimate(["A", "A"], order=2)
    assert model.orders[0].log10_backoffs is not None
    assert model.orders[0].log10_backoffs.min() == -99
    write_arpa(tmp_path / "a.arpa", model.words, model.orders)
    read_arpa(tmp_path / "a.arpa")


def test_vocabulary_keeps_the_rest_as_unlikely_as_the_unseen() -> None:
    sentences = random_sentences(10)
    limited = Lookup(estimate(sentences, vocabulary=["w0", "w1", "never"]))
    assert limited.words == {"<unk>", "</s>", "w0", "w1"}
    assert limited.words == set(estimate(sentences, vocabulary=["w0 ", "\u200bw1"]).words) - {"<s>"}
    assert limited.probs["<unk>",] == min(limited.probs[word,] for word in limited.words)


def test_read_vocabulary(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("\ufeffA e\u0301\u00a0B\r\n\nC", encoding="utf-8")
    assert read_vocabulary(path) == ["A", "\u00e9", "B", "C"]
    path.write_text("\n", encoding="utf-8")
    with pytest.raises(DataError, match="no word in it; a vocabulary has one word a line"):
        read_vocabulary(path)


@pytest.mark.parametrize("order", [0, 7])
def test_impossible_orders(order: int) -> None:
    with pytest.raises(ConfigError, match=f"the order of a model must be 1 to 6, got {order}"):
        estimate(["A"], order=order)


@pytest.mark.parametrize(
    ("prune", "message"),
    [
        ([0, 0, 0, 1], r"prune: 4 numbers \(0 0 0 1\) for a model of order 3"),
        ([0, 2, 1], "prune: the numbers must be 0 or more and must not fall, got 0 2 1"),
        ([-1], "prune: the numbers must be 0 or more and must not fall, got -1"),
    ],
)
def test_impossible_pruning(prune: Sequence[int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        estimate(["A"], prune=prune)


def test_last_threshold_holds_for_all_longer_ngrams() -> None:
    sentences = random_sentences(11)
    short, full = (
        estimate(sentences, order=4, prune=prune).orders for prune in ([0, 1], [0, 1, 1, 1])
    )
    for ours, theirs in zip(short, full, strict=True):
        assert (ours.ngrams == theirs.ngrams).all()
    assert len(short[3].ngrams) < len(estimate(sentences, order=4).orders[3].ngrams)


def test_no_word_of_the_vocabulary() -> None:
    with pytest.raises(DataError, match="none of the 2 words of the vocabulary is in the text"):
        estimate(["A B"], vocabulary=["a", "b", "b"])


def test_out_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(module, "count_ngrams", full)
    with pytest.raises(ResourceError, match="the n-grams of the text do not fit into memory"):
        estimate(["A"])
