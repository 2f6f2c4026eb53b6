"""A search that asks a network between frames, against enumeration."""

import math

import numpy as np
import pytest

from asr.data.labels import read_labels
from asr.decoding.beam import BeamLimits, BeamSearch
from asr.decoding.fusion import Fusion
from asr.errors import DataError
from asr.lm.neural_model import NeuralModel
from tests.decoding.search_modes import Plain
from tests.decoding.search_reference import (
    Tokens,
    best_texts,
    labelling_log_probs,
    random_log_probs,
)
from tests.lm.made_neural import CELLS, characters, made_neural

NAMES = ["_", " ", "A", "B"]
WIDE = BeamLimits(beam_size=400, beam_threshold=math.inf, token_threshold=-math.inf)
FUSION = Fusion(lm_weight=0.8, word_bonus=0.4, unit="token")


class Scores:
    """What a network adds to labels, from whole sentences at once."""

    def __init__(self, model: NeuralModel, lexicon: list[str] | None = None) -> None:
        self.model, self.plain = model, Plain(read_labels(NAMES), lexicon=lexicon)

    def lm(self, tokens: Tokens) -> float:
        names = ["<space>" if token == 1 else NAMES[token] for token in tokens]
        return self.model.score_tokens([self.model.word_ids(names).tolist()])[0]

    def added(self, tokens: Tokens) -> float:
        bonus = FUSION.word_bonus * len(tokens)
        return self.plain.added(tokens) + FUSION.lm_weight * self.lm(tokens) + bonus


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("lexicon", [None, ["A", "AB"]])
def test_a_full_width_search_equals_enumeration(cell: str, lexicon: list[str] | None) -> None:
    model = made_neural(cell=cell)
    search = BeamSearch(NAMES, lm=model, lexicon=lexicon, fusion=FUSION, limits=WIDE)
    scores = Scores(model, lexicon)
    random = np.random.default_rng(1)
    for frames in (0, 1, 4, 5):
        log_probs = random_log_probs(random, frames, len(NAMES), sharpness=2.0)
        expected = best_texts(log_probs, read_labels(NAMES), scores.added)
        found = search.decode_nbest(log_probs[None], nbest=1000)[0]
        assert [h.text for h in found[:20]] == [text for text, _ in expected[:20]]
        totals = [score for _, score in expected]
        np.testing.assert_allclose([h.log_prob for h in found], totals, atol=1e-4, rtol=0)
        for hypothesis in found[:5]:
            assert hypothesis.lm_log_prob == pytest.approx(scores.lm(hypothesis.tokens), abs=1e-4)


def test_a_narrow_search_finds_no_more_than_there_is() -> None:
    model = made_neural()
    search = BeamSearch(NAMES, lm=model, fusion=FUSION, limits=BeamLimits(beam_size=3))
    random = np.random.default_rng(2)
    found_all = 0
    for _ in range(10):
        log_probs = random_log_probs(random, 6, len(NAMES), sharpness=3.0)
        exact = dict(best_texts(log_probs, read_labels(NAMES), Scores(model).added))
        best = search.decode(log_probs[None])[0]
        assert best.log_prob <= exact[best.text] + 1e-4
        found_all += best.log_prob > exact[best.text] - 0.2
    assert found_all > 5


def test_a_batch_on_two_threads_equals_single_utterances() -> None:
    search = BeamSearch(NAMES, lm=made_neural(), fusion=FUSION, limits=BeamLimits(beam_size=10))
    random = np.random.default_rng(3)
    batch = np.stack([random_log_probs(random, 20, len(NAMES), sharpness=2.0) for _ in range(4)])
    lengths = [20, 0, 7, 13]
    together = search.decode(batch, lengths, frame_seconds=0.03)
    for index, length in enumerate(lengths):
        alone = search.decode(batch[index : index + 1, :length], frame_seconds=0.03)[0]
        assert alone.text == together[index].text
        assert alone.log_prob == pytest.approx(together[index].log_prob, abs=1e-4)


def test_a_beam_that_ends_inside_a_word_has_the_score_of_its_whole_ones() -> None:
    frames = np.log(np.full((4, 4), 0.01))
    for t, label in enumerate((2, 1, 3, 0)):  # A, a space, B: but the dictionary has no B
        frames[t, label] = math.log(0.97)
    model = made_neural()
    search = BeamSearch(
        NAMES, lm=model, lexicon=["A", "BB"], fusion=FUSION, limits=BeamLimits(beam_size=1)
    )
    best = search.decode(frames[None])[0]
    assert best.text == "A"
    exact = labelling_log_probs(frames, 0)[best.tokens] + Scores(model).added(best.tokens)
    assert best.log_prob == pytest.approx(exact, abs=1e-4)
    assert best.lm_log_prob == pytest.approx(Scores(model).lm(best.tokens), abs=1e-4)


def test_models_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="nowhere: is a model of labels: its unit is 'token'"):
        BeamSearch(NAMES, lm=made_neural())
    with pytest.raises(DataError, match="nowhere: knows 1 of 3 labels of the recogniser; is it a"):
        BeamSearch(NAMES, lm=made_neural(characters("ab ")), fusion=FUSION)


def test_the_signature_names_the_folder_of_the_model() -> None:
    search = BeamSearch(NAMES, lm=made_neural(), fusion=FUSION)
    assert search.signature == "beam:100|lm:nowhere|shallow token|lm_weight:0.8|word_bonus:0.4"
