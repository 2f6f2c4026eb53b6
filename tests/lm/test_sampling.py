"""Temperature is what the definition says, and what is drawn has the model's probabilities."""

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from asr.errors import ConfigError, DataError, ModelError
from asr.lm.arpa import read_arpa, write_arpa
from asr.lm.estimate import estimate
from asr.lm.kenlm_binary import open_kenlm
from asr.lm.ngram import NgramModel
from asr.lm.sampling import sample_sentences, sample_texts, tempered
from tests.lm.made_neural import characters, made_neural, opinionated

SCORES = np.array([[2.0, 1.0, 0.0]])


def log_softmax(scores: np.ndarray) -> np.ndarray:
    return torch.log_softmax(torch.tensor(scores), dim=1).numpy()


def entropy(log_probs: np.ndarray) -> float:
    return float(-(np.exp(log_probs) * log_probs).sum())


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def ngrams(tmp_path: Path, unit: str = "character") -> NgramModel:
    model = estimate(["AB BA", "ABBA", "B", "BAB AB"], order=3, unit=unit)
    write_arpa(tmp_path / "m.arpa", model.words, model.orders)
    return read_arpa(tmp_path / "m.arpa")


def test_temperature_one_is_the_softmax() -> None:
    log_probs = log_softmax(np.random.default_rng(0).normal(size=(5, 9)))
    np.testing.assert_allclose(tempered(log_probs, 1.0), log_probs, atol=1e-12)


@pytest.mark.parametrize(("temperature", "nats"), [(0.25, 0.093), (0.75, 0.690), (1.5, 0.965)])
def test_scores_are_divided_by_the_temperature(temperature: float, nats: float) -> None:
    """Of the scores (2, 1, 0), or of their log-probabilities, which differ by a constant."""
    for scores in (SCORES, log_softmax(SCORES)):
        found = tempered(scores, temperature)
        np.testing.assert_allclose(found, log_softmax(SCORES / temperature), atol=1e-12)
        assert entropy(found) == pytest.approx(nats, abs=5e-4)


def test_entropy_grows_with_temperature_and_the_best_stays_the_best() -> None:
    scores = np.random.default_rng(1).normal(size=(1, 20))
    found = [tempered(scores, temperature) for temperature in (0.05, 0.3, 1, 2, 10, 1000)]
    entropies = [entropy(log_probs) for log_probs in found]
    assert entropies == sorted(entropies)
    assert entropies[-1] == pytest.approx(math.log(20), abs=1e-3)
    assert {int(log_probs.argmax()) for log_probs in found} == {int(scores.argmax())}


@pytest.mark.parametrize("temperature", [1e-300, 1e-9, 1e300])
def test_extreme_temperatures_are_numbers(temperature: float) -> None:
    found = np.exp(tempered(np.array([[2.0, 1.0, -np.inf]]), temperature))
    assert found.sum() == pytest.approx(1)
    if temperature < 1:
        assert found.tolist() == [[1, 0, 0]]


def test_what_is_drawn_has_the_models_probabilities() -> None:
    """All sentences of up to two tokens, by their frequency among 20 000."""
    model = made_neural(characters("AB"))
    drawn = sample_sentences(
        model.open(), [], count=20_000, length=2, temperature=1.0, generator=generator()
    )
    counts = Counter(tuple(sentence) for sentence in drawn)
    whole = [(), (1,), (2,)]
    for sentence, score in zip(whole, model.score_tokens(whole), strict=True):
        assert counts[sentence] / 20_000 == pytest.approx(math.exp(score), abs=0.015)
    assert max(map(len, counts)) == 2


def test_of_a_temperature_too() -> None:
    model = made_neural(characters("AB"))
    row = tempered(model.open().log_probs([0])[:, :3], 0.5)[0]
    drawn = sample_sentences(
        model.open(), [], count=20_000, length=1, temperature=0.5, generator=generator()
    )
    counts = Counter(sentence[0] if sentence else 0 for sentence in drawn)
    for word in range(3):
        assert counts[word] / 20_000 == pytest.approx(math.exp(row[word]), abs=0.015)


@pytest.mark.parametrize("kind", ["neural", "ngram"])
def test_temperature_zero_and_nearly_zero_take_the_most_probable(kind: str, tmp_path: Path) -> None:
    model = made_neural() if kind == "neural" else ngrams(tmp_path)
    state, expected = (histories := model.open()).start(), []
    while len(expected) < 12:
        ids = [i for i, word in enumerate(model.words) if word not in ("<unk>", "<s>")]
        scores, after = histories.score([state] * len(ids), ids)
        best = int(scores.argmax())
        if ids[best] == model.eos:
            break
        expected.append(ids[best])
        state = after[best]
    for temperature in (0.0, 1e-6):
        for found in sample_sentences(
            model.open(), [], count=2, length=12, temperature=temperature, generator=generator()
        ):
            assert found == expected


@pytest.mark.parametrize("unknown", ["error", "replace"])
def test_the_unknown_symbol_is_never_drawn(unknown: str) -> None:
    tokenizer = characters(unknown=unknown)
    network = opinionated(tokenizer.vocabulary_size)
    model = made_neural(tokenizer)
    with torch.no_grad():
        network.output.bias[1] = 50.0  # the unknown symbol, where there is one
    texts = sample_texts(
        type(model)(network, tokenizer, model.source),
        "",
        count=50,
        length=20,
        temperature=2.0,
        generator=generator(),
    )
    assert set("".join(texts)) <= set("AB ")


@pytest.mark.parametrize("unit", ["word", "character"])
def test_of_an_ngram_model(unit: str, tmp_path: Path) -> None:
    texts = sample_texts(
        ngrams(tmp_path, unit),
        "AB",
        count=30,
        length=10,
        temperature=1.0,
        generator=generator(),
        unit=unit,
    )
    assert len(texts) == 30
    assert len(set(texts)) > 5
    assert all(text.startswith("AB") for text in texts)
    assert set(" ".join(texts)) <= set("AB ")


def test_the_same_seed_draws_the_same_however_many_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = made_neural()
    options = {"count": 7, "length": 15, "temperature": 1.0}
    first, again, other = (
        sample_texts(model, "A", generator=generator(seed), **options) for seed in (1, 1, 2)
    )
    assert first == again != other
    monkeypatch.setattr("asr.lm.sampling.MAX_SCORES", 2 * len(model.words))
    assert len(sample_texts(model, "A", generator=generator(), **options)) == 7


def test_a_space_at_the_end_of_a_prompt_counts() -> None:
    model = made_neural()
    seen = []
    network = model.network
    step, network.step = (
        network.step,
        lambda tokens, states: seen.append(int(tokens[0])) or step(tokens, states),
    )
    options = {"count": 1, "length": 1, "temperature": 0.0, "generator": generator()}
    sample_texts(model, "AB  ", **options)
    space = model.words.index("<space>")
    assert [token for token in seen if token][:3] == [1, 2, space]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -1.0}, r"the temperature must be a number from 0 .* up, got -1\.0"),
        ({"temperature": math.nan}, "got nan; 1 is the model itself"),
        ({"temperature": math.inf}, "got inf"),
        ({"count": 0}, "count and length must be at least 1, got 0 and 5"),
        ({"length": 0}, "count and length must be at least 1, got 1 and 0"),
    ],
)
def test_numbers_out_of_range(options: dict, message: str) -> None:
    given = {"count": 1, "length": 5, "temperature": 1.0, "generator": generator(), **options}
    with pytest.raises(ConfigError, match=message):
        sample_texts(made_neural(), "", **given)


def test_a_prompt_that_the_model_does_not_know(tmp_path: Path) -> None:
    options = {"count": 1, "length": 5, "temperature": 1.0, "generator": generator()}
    with pytest.raises(DataError, match=r"the prompt has 'X', which the language model does"):
        sample_texts(made_neural(), "ABX", **options)
    with pytest.raises(DataError, match=r"the prompt has 'x', 'y', which .* another case, or --un"):
        sample_texts(ngrams(tmp_path), "AxByx", unit="character", **options)


def test_a_kenlm_binary_lists_no_words(tmp_path: Path) -> None:
    ngrams(tmp_path)
    options = {"count": 1, "length": 5, "temperature": 1.0, "generator": generator()}
    with pytest.raises(ModelError, match=r"m\.arpa: a KenLM binary does not list its words"):
        sample_texts(open_kenlm(tmp_path / "m.arpa"), "", **options)
