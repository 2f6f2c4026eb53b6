"""Words, texts and scores of a neural model; any tokenizer; a protocol like any other model's."""

import math
from threading import Thread

import numpy as np
import pytest

from asr.data.tokenizer import PhonesConfig, SentencePieceConfig, train_tokenizer
from asr.lm import perplexity as perplexity_module
from asr.lm.neural_model import UNKNOWN_LOG_PROB
from asr.lm.neural_scoring import score_sentences
from asr.lm.perplexity import perplexity
from tests.lm.made_neural import CELLS, characters, made_neural

TEXTS = ["AB BA", "", "A", "ABBA " * 12, "B A B", "AXB", "éé"]


def test_words_are_the_tokens_by_name() -> None:
    model = made_neural()
    assert model.words == ("</s>", "A", "B", "<space>", "<unk>")
    assert (model.bos, model.eos, model.unk, model.order) == (0, 0, 4, None)
    assert "<space>" in model
    assert "X" not in model
    assert model.word_ids(["B", "X", "</s>"]).tolist() == [2, 4, 0]
    assert model.open().word_ids(["B", "X"]).tolist() == [2, 4]
    assert "B" in model.open()
    replacing = made_neural(characters(unknown="replace"))
    assert replacing.words == ("</s>", "<unk>", "A", "B", "<space>")


@pytest.mark.parametrize("unknown", ["error", "drop", "replace"])
def test_a_text_is_split_whatever_the_policy(unknown: str) -> None:
    model = made_neural(characters(unknown=unknown))
    assert model.split(" AX  B") == ["A", "<unk>", "<space>", "B"]
    ids = model.word_ids(model.split("AXB")).tolist()
    assert ids == model.tokenizer.encode_any("AXB", model.unk)


def test_phones_and_pieces() -> None:
    phones = made_neural(train_tokenizer(PhonesConfig(), ["HH AH", "L OW"]))
    assert phones.words == ("</s>", "AH", "HH", "L", "OW", "<unk>")
    assert phones.split("HH XX") == ["HH", "<unk>"]
    config = SentencePieceConfig(vocabulary_size=8)
    pieces = made_neural(train_tokenizer(config, ["ABAB BA", "BABA AB"] * 5))
    assert pieces.words[:2] == ("</s>", "<unk>")
    assert len(pieces.words) == 8
    assert "".join(pieces.split("ABAB BA")).replace("▁", " ") == " ABAB BA"
    assert pieces.split("A\N{SNOWMAN}").count("<unk>") == 1
    assert math.isfinite(pieces.score_texts(["A\N{SNOWMAN}"])[0])


@pytest.mark.parametrize("cell", CELLS)
def test_three_ways_to_score_a_text(cell: str) -> None:
    model = made_neural(cell=cell)
    found = model.score_texts(TEXTS)
    for text, score in zip(TEXTS, found, strict=True):
        assert sum(model.score_sentence(model.split(text))) == pytest.approx(score, rel=1e-5)
    sentences = [model.split(text) for text in TEXTS]
    measured = perplexity(model.open(), sentences)
    assert measured.log_prob == pytest.approx(sum(found), rel=1e-5)
    assert measured.unknown_words == 3
    assert measured.known_log_prob - measured.log_prob == pytest.approx(-3 * UNKNOWN_LOG_PROB)


def test_unknown_symbols_cost_the_floor_on_top_of_the_rest() -> None:
    model = made_neural()
    with_unknown, without = model.score_texts(["AXBé", "AB"])
    assert with_unknown == pytest.approx(without + 2 * UNKNOWN_LOG_PROB, rel=1e-6)


def test_perplexity_forgets_what_it_no_longer_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    model = made_neural()
    histories = model.open()
    sentences = [model.split("ABBA " * 30)] * 3 + [model.split("B")] * 4
    whole = perplexity(histories, sentences)
    assert len(histories._used) <= 65
    monkeypatch.setattr(perplexity_module, "BATCH", 2)
    assert perplexity(histories, sentences).log_prob == pytest.approx(whole.log_prob, rel=1e-6)


def test_threads_share_the_model() -> None:
    model = made_neural()
    expected = model.score_sentence(model.split("ABBA BAB A"))
    found: dict[int, list[float]] = {}

    def work(number: int) -> None:
        found[number] = model.score_sentence(model.split("ABBA BAB A"))

    threads = [Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.allclose(found[number], expected, rtol=1e-5) for number in range(4))


def test_score_tokens_is_score_sentences_where_all_is_known() -> None:
    model = made_neural()
    sentences = [[1, 2, 3], [], [3, 3]]
    assert model.score_tokens(sentences) == score_sentences(model.network, sentences)
