"""The compiled search against enumeration and against a plain one, in every mode."""

import itertools
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from asr.data.labels import read_labels
from asr.decoding.beam import BeamLimits, BeamSearch
from asr.decoding.fusion import Fusion
from asr.decoding.hotwords import HotWord
from asr.errors import DataError
from tests.decoding.made_lm import made_model
from tests.decoding.search_modes import (
    BONUS,
    CHARACTERS,
    PENALTY,
    PIECES,
    SPACED_PIECES,
    WEIGHT,
    Shares,
    loaded,
    modes,
)
from tests.decoding.search_reference import (
    NEVER,
    Tokens,
    beam_texts,
    best_texts,
    by_text,
    labelling_log_probs,
    random_log_probs,
    words_of,
)

WIDE = BeamLimits(beam_size=20_000, beam_threshold=math.inf, token_threshold=-math.inf)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    "names", [CHARACTERS, PIECES, SPACED_PIECES], ids=["characters", "pieces", "spaced pieces"]
)
def test_a_full_width_search_equals_enumeration(names: list[str], tmp_path: Path) -> None:
    labels = read_labels(names)
    random = np.random.default_rng(1)
    for mode in modes(names, tmp_path, WIDE, seed=2):
        for frames in (0, 1, 4, 5):
            log_probs = random_log_probs(random, frames, len(names), sharpness=2.0)
            expected = best_texts(log_probs, labels, mode.added)
            found = mode.search.decode_nbest(log_probs[None], nbest=10_000)[0]
            assert [h.text for h in found] == [text for text, _ in expected], mode.name
            scores = [score for _, score in expected]
            np.testing.assert_allclose([h.log_prob for h in found], scores, atol=1e-5, rtol=0)


@pytest.mark.parametrize("names", [CHARACTERS, PIECES], ids=["characters", "pieces"])
def test_a_narrow_search_equals_the_plain_one(names: list[str], tmp_path: Path) -> None:
    labels = read_labels(names)
    random = np.random.default_rng(3)
    cases = 0
    for beam_size, threshold, token_threshold in ((1, 50.0, -9.0), (3, 4.0, -3.0), (9, 2.0, -1.5)):
        limits = BeamLimits(beam_size, threshold, token_threshold)
        for mode, _ in itertools.product(modes(names, tmp_path, limits, seed=4), range(25)):
            log_probs = random_log_probs(random, 12, len(names), sharpness=2.0)
            narrow = {
                "beam_size": beam_size,
                "beam_threshold": threshold,
                "token_threshold": token_threshold,
            }
            expected = by_text(
                beam_texts(log_probs, labels, mode.added, mode.partial, **narrow), labels
            )
            if not expected:
                continue
            found = mode.search.decode_nbest(log_probs[None], nbest=10_000)[0]
            assert {h.text for h in found} == set(expected), mode.name
            for hypothesis in found:
                assert hypothesis.log_prob == pytest.approx(expected[hypothesis.text], abs=1e-5)
            cases += 1
    assert cases > 1000


@pytest.mark.parametrize("names", [CHARACTERS, PIECES], ids=["characters", "pieces"])
def test_a_search_for_the_best_alone_recombines_as_the_plain_one(
    names: list[str], tmp_path: Path
) -> None:
    labels = read_labels(names)
    random = np.random.default_rng(20)
    cases = differing = 0
    for beam_size, threshold, token_threshold in ((2, 50.0, -9.0), (4, 6.0, -3.0), (9, 9.0, -9.0)):
        limits = BeamLimits(beam_size, threshold, token_threshold)
        for mode, _ in itertools.product(modes(names, tmp_path, limits, seed=21), range(12)):
            log_probs = random_log_probs(random, 12, len(names), sharpness=1.0)
            narrow = {
                "beam_size": beam_size,
                "beam_threshold": threshold,
                "token_threshold": token_threshold,
                "future": mode.future,
            }
            totals = by_text(
                beam_texts(log_probs, labels, mode.added, mode.partial, **narrow), labels
            )
            if not totals:
                continue
            best = mode.search.decode(log_probs[None])[0]
            assert best.text == max(totals, key=totals.__getitem__), mode.name
            assert best.log_prob == pytest.approx(totals[best.text], abs=1e-5)
            first = mode.search.decode_nbest(log_probs[None], nbest=2)[0][0]
            differing += first.log_prob != best.log_prob
            cases += 1
    assert cases > 600
    assert differing > 50


def test_nothing_is_lost_at_full_width() -> None:
    log_probs = random_log_probs(np.random.default_rng(5), 6, 3)
    found = BeamSearch(["_", " ", "A"], limits=WIDE).decode_nbest(log_probs[None], nbest=10_000)[0]
    assert np.logaddexp.reduce([h.log_prob for h in found]) == pytest.approx(0.0, abs=1e-12)


def test_weight_zero_equals_no_language_model(tmp_path: Path) -> None:
    random = np.random.default_rng(6)
    lm = loaded(made_model(random, ["A", "AB"], 2), tmp_path)
    log_probs = random_log_probs(random, 30, 4, sharpness=2.0)[None]
    without = BeamSearch(CHARACTERS).decode_nbest(log_probs, nbest=5)[0]
    weightless = BeamSearch(CHARACTERS, lm=lm, fusion=Fusion(lm_weight=0.0))
    for plain, fused in zip(without, weightless.decode_nbest(log_probs, nbest=5)[0], strict=True):
        assert fused.text == plain.text
        assert fused.log_prob == pytest.approx(plain.log_prob, abs=1e-12)


def test_tensors_arrays_and_any_blank_give_the_same(tmp_path: Path) -> None:
    random = np.random.default_rng(7)
    log_probs = random_log_probs(random, 20, 4, sharpness=2.0)
    last = np.concatenate([log_probs[:, 1:], log_probs[:, :1]], axis=1)
    first = BeamSearch(CHARACTERS).decode(log_probs[None])[0]
    other = BeamSearch([*CHARACTERS[1:], "_"], blank=3).decode(torch.tensor(last)[None])[0]
    assert first.text == other.text
    assert first.log_prob == pytest.approx(other.log_prob)


def test_a_batch_equals_single_utterances_on_any_number_of_threads() -> None:
    random = np.random.default_rng(8)
    batch = np.stack([random_log_probs(random, 25, 4, sharpness=2.0) for _ in range(5)])
    lengths = torch.tensor([25, 3, 0, 14, 1])
    search = BeamSearch(CHARACTERS)
    together = search.decode_nbest(batch, lengths, nbest=3, num_threads=2)
    alone = [search.decode_nbest(batch[i : i + 1, :n], nbest=3)[0] for i, n in enumerate(lengths)]
    assert together == alone


def test_masses_of_a_long_utterance_do_not_vanish() -> None:
    frames = np.log(np.full((3000, 4), 0.25))
    hypothesis = BeamSearch(CHARACTERS, limits=BeamLimits(beam_size=8)).decode(frames[None])[0]
    assert math.isfinite(hypothesis.log_prob)
    assert hypothesis.log_prob < -1000


def test_a_beam_that_ends_inside_a_word_gives_the_finished_ones() -> None:
    """The best path says A BB, but the dictionary has no BB, and one prefix is all there is."""
    sure = {"_": 0, " ": 1, "A": 2, "B": 3}
    frames = np.log(np.full((4, 4), 0.01))
    for t, symbol in enumerate("A B_"):
        frames[t, sure[symbol]] = math.log(0.97)
    search = BeamSearch(CHARACTERS, lexicon=["A", "BB"], limits=BeamLimits(beam_size=1))
    hypothesis = search.decode(frames[None])[0]
    assert hypothesis.text == "A"
    exact = np.logaddexp.reduce(
        [score for tokens, score in best_labellings(frames) if tokens == hypothesis.tokens]
    )
    assert hypothesis.log_prob == pytest.approx(exact)


def test_a_list_has_no_text_twice_where_labels_are_bare_accents() -> None:
    names = ["_", " ", "a", "\u0323", "\u0302"]  # below and above: either order is one letter
    log_probs = random_log_probs(np.random.default_rng(32), 4, len(names))
    found = BeamSearch(names, limits=WIDE).decode_nbest(log_probs[None], nbest=1000)[0]
    texts = [hypothesis.text for hypothesis in found]
    assert len(set(texts)) == len(texts)
    labels = read_labels(names)
    exact: dict[str, float] = {}
    for tokens, score in labelling_log_probs(log_probs, 0).items():
        text = labels.decode(tokens)
        exact[text] = float(np.logaddexp(exact.get(text, NEVER), score))
    assert {h.text: h.log_prob for h in found} == pytest.approx(exact, abs=1e-9)
    assert all(first.log_prob >= other.log_prob for first, other in itertools.pairwise(found))


def test_a_dictionary_of_which_nothing_is_possible() -> None:
    sure = np.full((2, 4), -np.inf)
    sure[:, 2] = 0.0  # certainly an A, but the dictionary needs a B after it
    with pytest.raises(DataError, match="no words of the lexicon have a probability above zero"):
        BeamSearch(CHARACTERS, lexicon=["AB"]).decode(sure[None])


def best_labellings(frames: np.ndarray) -> list[tuple[Tokens, float]]:  # type: ignore[type-arg]
    return list(labelling_log_probs(frames, 0).items())


def test_the_best_score_per_label_may_be_chosen(tmp_path: Path) -> None:
    """As Graves & Jaitly choose with a prior: by p^(1/|y|)."""
    random = np.random.default_rng(9)
    labels = read_labels(CHARACTERS)
    words = ["A", "B", "AB", "BAA"]
    made = made_model(random, ["A", "AB", "BA"], 2)
    fusion = Fusion(WEIGHT, BONUS, PENALTY, kind="prior", by_length=True)
    search = BeamSearch(
        CHARACTERS, lm=loaded(made, tmp_path), lexicon=words, fusion=fusion, limits=WIDE
    )
    shares = Shares(labels, made, lexicon=words, bonus=BONUS)
    for _ in range(20):
        log_probs = random_log_probs(random, 5, 4, sharpness=2.0)
        by_text: dict[str, list[tuple[float, int]]] = {}
        for tokens, acoustic in labelling_log_probs(log_probs, 0).items():
            text = " ".join(words_of(tokens, labels))
            by_text.setdefault(text, []).append((acoustic + shares.added(tokens), len(tokens)))
        per_label = {  # of the most probable spelling of a text
            text: float(np.logaddexp.reduce([score for score, _ in found])) / max(1, max(found)[1])
            for text, found in by_text.items()
        }
        assert search.decode(log_probs[None])[0].text == max(per_label, key=per_label.__getitem__)


def test_a_dictionary_lets_an_utterance_begin_with_a_bare_word_start() -> None:
    """Sentencepiece writes "▁", "A" for a word whose first piece does not begin one."""
    probs = np.array([[0.05, 0.6, 0.3, 0.05], [0.02, 0.01, 0.01, 0.96]])
    search = BeamSearch(["_", "▁", "▁B", "A"], lexicon=["A", "BA"])
    assert search.decode(np.log(probs)[None])[0].tokens == (1, 3)


def test_a_frame_of_labels_that_are_never_text() -> None:
    """The rest of the utterance would be searched with nothing in the beam."""
    sure = np.full((4, 4), -np.inf)
    sure[[0, 1, 2, 3], [2, 2, 3, 0]] = 0.0
    search = BeamSearch(["_", " ", "A", "<unk>"])
    for frames in (sure, sure[:3]):
        with pytest.raises(DataError, match="in some frame neither the blank nor any label that"):
            search.decode(frames[None])


def test_where_recombining_leaves_only_beginnings_of_words_it_is_left_out() -> None:
    random = np.random.default_rng(30)
    words = ["ABBA", "BABAB", "AAB", "B"]
    search = BeamSearch(CHARACTERS, lexicon=words, limits=BeamLimits(beam_size=3))
    cases = 0
    for _ in range(300):
        log_probs = random_log_probs(random, 9, 4, sharpness=2.0)
        if not len(search._found(search._borrowed(9), log_probs, 1, recombine=True).total):
            best = search.decode(log_probs[None])[0]
            assert best == search.decode_nbest(log_probs[None], nbest=2)[0][0]
            cases += 1
    assert cases > 0


def test_limits_that_are_none() -> None:
    for name in ("beam_size", "max_tokens"):
        with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
            BeamLimits(**{name: 0})  # type: ignore[arg-type]


def test_a_search_tells_what_an_error_rate_must_name(tmp_path: Path) -> None:
    lm = loaded(made_model(np.random.default_rng(0), ["A", "AB"], 2), tmp_path)
    fusion = Fusion(0.25, word_bonus=1.5)
    search = BeamSearch(
        CHARACTERS, lm=lm, lexicon=["A", "B"], hotwords=[HotWord("A")], fusion=fusion
    )
    assert search.signature == (
        "beam:100|lm:made.arpa|shallow word|lm_weight:0.25|word_bonus:1.5|lexicon:2|hotwords:1"
    )
    assert BeamSearch(CHARACTERS).signature == "beam:100"
    strict = BeamSearch(CHARACTERS, lm=lm, fusion=replace(fusion, unknown_penalty=30.0))
    assert strict.signature.endswith("|word_bonus:1.5|unknown_penalty:30")
