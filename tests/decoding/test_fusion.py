"""What a search knows of language model, lexicon and hot words."""

import math
from pathlib import Path

import numpy as np
import pytest

from asr.decoding.beam import BeamSearch
from asr.decoding.fusion import Fusion
from asr.decoding.hotwords import HotWord
from asr.errors import DataError
from asr.lm.loading import load_lm
from asr.lm.ngram import NgramModel
from tests.decoding.made_lm import made_model
from tests.decoding.search_modes import CHARACTERS, SPACED_PIECES, loaded
from tests.decoding.search_reference import (
    random_log_probs,
)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_a_letter_and_its_accent_are_known_however_a_model_writes_them(tmp_path: Path) -> None:
    path = made_model(np.random.default_rng(0), ["E\u0301"], 1).write(tmp_path / "nfd.arpa")
    lm = load_lm(path)
    assert isinstance(lm, NgramModel)
    frames = np.log(np.array([[0.05, 0.05, 0.9]]))[None]
    named: list[dict[str, object]] = [
        {},
        {"lexicon": ["\u00c9"]},
        {"hotwords": [HotWord("\u00c9", 0.0)]},
    ]
    found = [
        BeamSearch(["_", " ", "\u00c9"], lm=lm, **given).decode(frames)[0]  # type: ignore[arg-type]
        for given in named
    ]
    assert {(h.text, h.log_prob, h.lm_log_prob) for h in found} == {
        (found[0].text, found[0].log_prob, found[0].lm_log_prob)
    }


def test_whole_numbers_will_do_for_weights(tmp_path: Path) -> None:
    lm = loaded(made_model(np.random.default_rng(0), ["A", "AB"], 2), tmp_path)
    frames = random_log_probs(np.random.default_rng(1), 9, 4)[None]
    whole, floats = (
        BeamSearch(CHARACTERS, lm=lm, fusion=Fusion(*numbers)).decode(frames)
        for numbers in ((1, 2, 3), (1.0, 2.0, 3.0))
    )
    assert whole == floats


def test_a_model_of_pieces_knows_the_bare_beginning_of_a_word(tmp_path: Path) -> None:
    made = made_model(np.random.default_rng(0), ["\u2581", "\u2581A", "A", "B"], 2)
    fusion = Fusion(unit="token")
    search = BeamSearch(SPACED_PIECES, lm=loaded(made, tmp_path), fusion=fusion)
    lm = search.lm
    assert isinstance(lm, NgramModel)
    assert search._scorer.token_lm[1] == lm.word_ids(["\u2581"])[0] != lm.unk


def test_what_no_search_can_be_made_of(tmp_path: Path) -> None:
    lm = loaded(made_model(np.random.default_rng(0), ["A", "AB"], 2), tmp_path)
    with pytest.raises(DataError, match="the lexicon has no words"):
        BeamSearch(CHARACTERS, lexicon=[])
    with pytest.raises(DataError, match=r"made.arpa: knows none of the 2 words of the lexicon; is"):
        BeamSearch(CHARACTERS, lm=lm, lexicon=["B", "BA"])
    with pytest.raises(ValueError, match="kind 'prior' needs a language model and a lexicon"):
        BeamSearch(CHARACTERS, lm=lm, fusion=Fusion(kind="prior"))
    with pytest.raises(ValueError, match="unit is 'word' here; another needs a new search"):
        BeamSearch(CHARACTERS, lm=lm).with_fusion(Fusion(unit="token"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"lm_weight": math.nan}, "lm_weight must be 0 to 1e\\+06, got nan"),
        ({"lm_weight": 1e300}, "lm_weight must be 0 to 1e\\+06, got 1e\\+300"),
        ({"word_bonus": -math.inf}, "word_bonus must be -1e\\+06 to 1e\\+06, got -inf"),
        ({"unknown_penalty": -1.0}, "unknown_penalty must be 0 to 1e\\+06, got -1"),
        ({"kind": "prior", "unit": "token"}, "with unit 'token' it has no use"),
    ],
)
def test_fusions_that_are_none(given: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Fusion(**given)  # type: ignore[arg-type]
