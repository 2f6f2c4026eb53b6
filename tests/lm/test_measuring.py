"""A model of words, of characters and a neural one give numbers that can be compared."""

import math
from pathlib import Path

import pytest

from asr.data.tokenizer import PhonesConfig, train_tokenizer
from asr.errors import DataError
from asr.lm.arpa import read_arpa, write_arpa
from asr.lm.estimate import estimate
from asr.lm.measuring import Measurement, TextSize, bits_text, measure, measured_lines
from asr.lm.perplexity import Perplexity
from tests.lm.made_neural import made_neural

TEXTS = ["AB BA", "", "A  XA"]


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("".join(f"{line}\n" for line in TEXTS), encoding="utf-8")
    return path


def ngrams(tmp_path: Path, unit: str):
    model = estimate(["AB BA", "A A", "XA"], order=2, unit=unit)
    write_arpa(tmp_path / "m.arpa", model.words, model.orders)
    return read_arpa(tmp_path / "m.arpa")


def test_a_neural_model(text: Path) -> None:
    model = made_neural()
    nats = -sum(model.score_texts(TEXTS))
    found = measure(model, [text])
    assert found.tokens.words == 9
    assert found.tokens.unknown_words == 1
    assert found.size == TextSize(3, 4, 9)
    assert found.tokens.perplexity == pytest.approx(math.exp(nats / 12), rel=1e-5)
    assert found.bits_per_character == pytest.approx(nats / math.log(2) / 12, rel=1e-5)
    assert found.word_perplexity == pytest.approx(math.exp(nats / 7), rel=1e-5)
    lines = measured_lines(model, [text], "word")
    assert lines[0] == "3 sentences, 9 tokens, 1 unknown (11.11%)"
    assert lines[-1].endswith(" per word: 4 words, 9 characters")


def test_a_neural_model_of_phones(text: Path) -> None:
    """Four of them in three sentences, of whatever letters."""
    model = made_neural(train_tokenizer(PhonesConfig(symbols=["AB", "BA", "A"]), []))
    nats = -sum(model.score_texts(TEXTS))
    found = measure(model, [text])
    assert found.bits_per_phone == pytest.approx(nats / math.log(2) / 7, rel=1e-5)
    lines = measured_lines(model, [text], "word")
    assert lines[0] == "3 sentences, 4 phones, 1 unknown (25.00%)"
    assert lines[-1] == f"{found.bits_per_phone:.3f} bits per phone"


def test_the_bits_among_the_scores_of_a_training() -> None:
    scores = {"perplexity": 3.0, "bits_per_phone": 1.5}
    assert bits_text(scores, 2) == "1.50 bits per phone"
    assert bits_text({"bits_per_character": 1.5}, 3) == "1.500 bits per character"
    assert bits_text({"wer": 0.5}, 2) == ""


def test_a_model_of_characters(text: Path, tmp_path: Path) -> None:
    model = ngrams(tmp_path, "character")
    found = measure(model, [text])
    assert found.tokens.words == 9
    assert found.bits_per_character == pytest.approx(math.log2(found.tokens.perplexity))
    assert measured_lines(model, [text], "character")[0].startswith("3 sentences, 9 characters")


def test_a_model_of_words_is_measured_as_ever(text: Path, tmp_path: Path) -> None:
    lines = measured_lines(ngrams(tmp_path, "word"), [text], "word")
    assert len(lines) == 3
    assert lines[0].startswith("3 sentences, 4 words, 0 unknown")


def test_the_numbers_of_a_uniform_model() -> None:
    """4 equally likely symbols: 2 bits each; words of 2 symbols and an end after each sentence."""
    tokens = Perplexity(
        sentences=1, words=7, unknown_words=0, log_prob=-8 * math.log(4), known_log_prob=0.0
    )
    found = Measurement(tokens=tokens, size=TextSize(1, 3, 7))
    assert found.bits_per_character == pytest.approx(2)
    assert found.word_perplexity == pytest.approx(16)
    hopeless = Perplexity(sentences=1, words=0, unknown_words=0, log_prob=-1e9, known_log_prob=0)
    assert Measurement(tokens=hopeless, size=TextSize(1, 0, 0)).word_perplexity == math.inf


def test_an_empty_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").touch()
    with pytest.raises(DataError, match=r"empty\.txt: is empty"):
        measured_lines(made_neural(), [tmp_path / "empty.txt"], "word")
    with pytest.raises(DataError, match="no sentence to measure a language model on"):
        measured_lines(made_neural(), [], "word")
