"""Perplexity by closed form, by the textbook's recursion, and as KenLM counts it."""

import math
from pathlib import Path

import kenlm
import numpy as np
import pytest

from asr.errors import DataError
from asr.lm import perplexity as module
from asr.lm.arpa import read_arpa
from asr.lm.kenlm_binary import open_kenlm
from asr.lm.ngram import NgramModel
from asr.lm.perplexity import Perplexity, perplexity
from tests.lm.plain_ngram import PlainModel, random_model, random_sentence

Sentences = list[list[str]]


def uniform(tmp_path: Path, num_words: int) -> NgramModel:
    """Every word, the unknown and the end have the same probability."""
    words = ["<unk>", "</s>", *(f"w{i}" for i in range(num_words))]
    prob = -math.log10(len(words))
    grams = {(word,): (prob, 0.0) for word in words} | {("<s>",): (-99.0, 0.0)}
    return read_arpa(PlainModel(grams, 1).write(tmp_path / "uniform.arpa"))


def made(tmp_path: Path, order: int = 3) -> tuple[PlainModel, Path, Sentences]:
    plain = random_model(order, order)
    random = np.random.default_rng(0)
    sentences = [random_sentence(random, plain, int(n)) for n in random.integers(0, 12, 50)]
    return plain, plain.write(tmp_path / "model.arpa"), sentences


def test_a_uniform_model_has_the_perplexity_of_its_vocabulary(tmp_path: Path) -> None:
    found = perplexity(uniform(tmp_path, 8), [["w0", "w1"], [], ["x", "w7", "y", "w7"]])
    assert (found.sentences, found.words, found.unknown_words) == (3, 6, 2)
    assert found.oov_rate == pytest.approx(1 / 3)
    assert found.perplexity == pytest.approx(10)
    assert found.known_perplexity == pytest.approx(10)
    assert found.log_prob == pytest.approx(-9 * math.log(10))
    assert found.known_log_prob == pytest.approx(-7 * math.log(10))


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_the_sums_of_the_textbook(tmp_path: Path, order: int) -> None:
    plain, path, sentences = made(tmp_path, order)
    total = known = 0.0
    count = unknown = 0
    for sentence in sentences:
        for word, log10_prob in zip([*sentence, "</s>"], plain.sentence(sentence), strict=True):
            is_known = (word,) in plain.grams and word != "<unk>"
            total += log10_prob
            known += log10_prob if is_known else 0.0
            unknown += not is_known
            count += 1
    found = perplexity(read_arpa(path), sentences)
    assert found.words == count - 50
    assert found.unknown_words == unknown > 0
    assert found.perplexity == pytest.approx(10 ** (-total / count), rel=1e-5)
    assert found.known_perplexity == pytest.approx(10 ** (-known / (count - unknown)), rel=1e-5)


def test_kenlm_counts_the_same(tmp_path: Path) -> None:
    _, path, sentences = made(tmp_path)
    reference = kenlm.Model(str(path))
    scores = [found for s in sentences for found in reference.full_scores(" ".join(s))]
    found = perplexity(read_arpa(path), sentences)
    assert found.unknown_words == sum(oov for _, _, oov in scores)
    total = sum(score for score, _, _ in scores)
    known = sum(score for score, _, oov in scores if not oov)
    assert found.perplexity == pytest.approx(10 ** (-total / len(scores)), rel=1e-5)
    num_known = len(scores) - found.unknown_words
    assert found.known_perplexity == pytest.approx(10 ** (-known / num_known), rel=1e-5)
    for sentence in sentences:
        single = perplexity(read_arpa(path), [sentence]).perplexity
        assert single == pytest.approx(reference.perplexity(" ".join(sentence)), rel=1e-5)


def test_any_language_model_can_be_measured(tmp_path: Path) -> None:
    _, path, sentences = made(tmp_path)
    ours, theirs = (perplexity(model, sentences) for model in (read_arpa(path), open_kenlm(path)))
    assert ours.unknown_words == theirs.unknown_words
    assert ours.log_prob == pytest.approx(theirs.log_prob, rel=1e-6)
    assert ours.known_log_prob == pytest.approx(theirs.known_log_prob, rel=1e-6)


@pytest.mark.parametrize("size", [1, 7, 50])
def test_batches_do_not_matter(tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    _, path, sentences = made(tmp_path)
    model = read_arpa(path)
    whole = perplexity(model, sentences)
    monkeypatch.setattr(module, "BATCH", size)
    parts = perplexity(model, iter(sentences))
    assert parts.log_prob == pytest.approx(whole.log_prob, rel=1e-12)
    assert parts.known_log_prob == pytest.approx(whole.known_log_prob, rel=1e-12)
    assert (parts.sentences, parts.words) == (50, whole.words)
    assert parts.unknown_words == whole.unknown_words


def test_lines_for_people() -> None:
    found = Perplexity(
        sentences=1000,
        words=9000,
        unknown_words=90,
        log_prob=-10000 * math.log(100),
        known_log_prob=-9910 * math.log(80),
    )
    assert found.lines() == [
        "1,000 sentences, 9,000 words, 90 unknown (1.00%)",
        "perplexity 100.00, without unknown words 80.00",
        "log-probability -46051.70 nats",
    ]


def test_no_words_at_all() -> None:
    found = Perplexity(sentences=2, words=0, unknown_words=0, log_prob=-2.0, known_log_prob=-2.0)
    assert found.oov_rate == 0
    assert found.perplexity == pytest.approx(math.e)


def test_a_perplexity_beyond_all_numbers_is_infinite() -> None:
    found = Perplexity(sentences=1, words=0, unknown_words=0, log_prob=-1e9, known_log_prob=-1e9)
    assert found.perplexity == math.inf


def test_no_sentence_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no sentence to measure a language model on; give a text"):
        perplexity(uniform(tmp_path, 1), [])


@pytest.mark.parametrize("opened", [read_arpa, open_kenlm])
def test_models_without_memory_have_nothing_to_forget(tmp_path: Path, opened) -> None:
    _, path, _ = made(tmp_path)
    model = opened(path).open()
    start = model.start()
    before = model.score([start], [model.eos])[0]
    model.keep([])
    assert model.score([start], [model.eos])[0] == before
