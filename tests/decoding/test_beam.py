"""The compiled search against enumeration and against a plain one, in every mode."""

import itertools
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from asr.decoding.beam import BeamLimits, BeamSearch
from asr.decoding.beam_kernel import _keep_most_probable, begin, node_of
from asr.decoding.beam_memory import COUNTED, NUM_BUCKETS, WORST, Search, allocate
from asr.decoding.beam_selection import count_score
from asr.decoding.fusion import Fusion
from asr.decoding.hotwords import HotWord
from asr.decoding.labels import read_labels
from asr.decoding.prefix_score import Scorer, extend, most_beyond
from asr.errors import DataError, ResourceError
from asr.lm.loading import load_lm
from asr.lm.ngram import NgramModel
from tests.decoding.made_lm import made_model
from tests.decoding.search_modes import BONUS, PENALTY, WEIGHT, Shares, loaded, modes
from tests.decoding.search_reference import (
    NEVER,
    Tokens,
    beam_texts,
    best_texts,
    labelling_log_probs,
    random_log_probs,
    words_of,
)

CHARACTERS = ["_", " ", "A", "B"]
PIECES = ["_", "▁A", "▁B", "A", "▁AB"]
SPACED_PIECES = ["_", "▁", "▁A", "A", "B"]  # as sentencepiece writes a rare word: "▁", "B"
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
            reference = beam_texts(
                log_probs,
                labels,
                mode.added,
                mode.partial,
                beam_size=beam_size,
                beam_threshold=threshold,
                token_threshold=token_threshold,
            )
            expected: dict[str, float] = {}
            for tokens, score in reference.items():
                text = " ".join(words_of(tokens, labels))
                expected[text] = float(np.logaddexp(expected.get(text, NEVER), score))
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
            totals: dict[str, float] = {}
            for tokens, score in beam_texts(
                log_probs,
                labels,
                mode.added,
                mode.partial,
                beam_size=beam_size,
                beam_threshold=threshold,
                token_threshold=token_threshold,
                future=mode.future,
            ).items():
                text = " ".join(words_of(tokens, labels))
                totals[text] = float(np.logaddexp(totals.get(text, NEVER), score))
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


@pytest.mark.parametrize(
    ("log_probs", "error", "message"),
    [
        (np.zeros((2, 3)), ValueError, r"must be \(B, T, 4\)"),
        (np.zeros((1, 2, 3)), ValueError, r"must be \(B, T, 4\)"),
        (np.full((1, 2, 4), 1.0), ValueError, "are they logits"),
        (np.full((1, 2, 4), -0.1), ValueError, "sum to 3.62; apply log_softmax"),
        (np.full((1, 2, 4), np.nan), DataError, "utterance 0 of the batch has NaN"),
    ],
)
def test_scores_that_are_none(log_probs: np.ndarray, error: type, message: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(error, match=message):
        BeamSearch(CHARACTERS).decode(log_probs)


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


def longer(work: Search, scorer: Scorer, node: int, token: int) -> int:
    """The node of a prefix with one more label."""
    _, *said = extend(scorer, work.memo, work.nodes, node, token)
    candidate = work.candidates[0]
    candidate["token"] = token
    for name, value in zip(
        ("scored", "offset", "place", "lm_state", "hot_state"), said, strict=True
    ):
        candidate[name] = value
    return int(node_of(work, node, candidate))


def test_a_prior_shares_out_one_among_the_next_labels(tmp_path: Path) -> None:
    random = np.random.default_rng(10)
    words = ["A", "B", "AB", "BAA", "BAB"]
    lm = loaded(made_model(random, ["A", "AB", "BAA", "BAB"], 3), tmp_path)
    fusion = Fusion(lm_weight=1.7, kind="prior", unknown_penalty=0.5)
    search = BeamSearch(CHARACTERS, lm=lm, lexicon=words, fusion=fusion)
    scorer = search._scorer
    work = search._borrowed(10)
    begin(work, scorer, lm.start())
    for path in ((), (3,), (3, 2), (2, 1, 3)):
        node = 0
        for token in path:
            node = longer(work, scorer, node, token)
        following = [extend(scorer, work.memo, work.nodes, node, token) for token in (1, 2, 3)]
        shares = [np.exp(offset) for allowed, _, offset, *_ in following if allowed]
        assert sum(shares) == pytest.approx(np.exp(work.nodes[node]["offset"]))


def test_a_dictionary_lets_an_utterance_begin_with_a_bare_word_start() -> None:
    """Sentencepiece writes "▁", "A" for a word whose first piece does not begin one."""
    probs = np.array([[0.05, 0.6, 0.3, 0.05], [0.02, 0.01, 0.01, 0.96]])
    search = BeamSearch(["_", "▁", "▁B", "A"], lexicon=["A", "BA"])
    assert search.decode(np.log(probs)[None])[0].tokens == (1, 3)


@pytest.mark.parametrize("names", [CHARACTERS, PIECES], ids=["characters", "pieces"])
def test_no_new_word_comes_to_more_than_its_bound(names: list[str], tmp_path: Path) -> None:
    """Else the search would leave out what there is room for."""
    random = np.random.default_rng(11)
    phrases = [HotWord("A A", 3.0), HotWord("A B A", 8.0), HotWord("B AB", 40.0), HotWord("B", -2)]
    lm = loaded(made_model(random, ["A", "AB", "BA"], 2), tmp_path)
    fusion = Fusion(WEIGHT, BONUS, PENALTY)
    words = ["A", "B", "AB", "BAA"]
    searches = [
        BeamSearch(names, hotwords=phrases),
        BeamSearch(names, lm=lm, hotwords=phrases, fusion=fusion),
        BeamSearch(names, lm=lm, lexicon=words, fusion=replace(fusion, kind="prior")),
        *(
            mode.search
            for mode in modes(names, tmp_path, BeamLimits(), seed=12)
            if "stepwise" not in mode.name  # nobody asks its model here
        ),
    ]
    compared = 0
    for search, _ in itertools.product(searches, range(60)):
        scorer, work = search._scorer, search._borrowed(12)
        begin(work, scorer, search._start)
        node = 0
        for token in random.integers(1, len(names), 12):
            bound = most_beyond(scorer, work.nodes, node)
            allowed, _, offset, *_ = extend(scorer, work.memo, work.nodes, node, token)
            if not allowed:
                continue
            if scorer.labels.starts_word[token]:
                assert offset <= bound + scorer.weights.token_bonus + 1e-9
                compared += 1
            node = longer(work, scorer, node, token)
    assert compared > 3000


def test_the_most_probable_labels_are_kept() -> None:
    random = np.random.default_rng(13)
    for kept in (1, 3, 7):
        frame, likely = random.normal(size=9), random.permutation(9).astype(np.int32)[:8]
        expected = sorted(likely.tolist(), key=lambda label: -frame[label])[:kept]
        _keep_most_probable(likely, 8, kept, frame)
        assert likely[:kept].tolist() == expected
    frames = np.log(np.array([[0.1, 0.5, 0.4]]))
    both, one = (
        BeamSearch(["_", "A", "B"], lexicon=["B"], limits=BeamLimits(max_tokens=most))
        for most in (2, 1)
    )
    assert (both.decode(frames[None])[0].text, one.decode(frames[None])[0].text) == ("B", "")


def test_no_score_is_counted_outside_the_buckets() -> None:
    memory = np.zeros(NUM_BUCKETS + 50, np.int64)
    work = allocate(1, 3, 4)._replace(buckets=memory[:NUM_BUCKETS])
    for top, score in ((0.0, math.nan), (-math.inf, -math.inf), (0.0, -math.inf), (0.0, math.inf)):
        work.range[:] = (top, 0.5, -math.inf)
        work.sizes[WORST], work.sizes[COUNTED] = NUM_BUCKETS - 1, 0
        count_score(work, score, 3)
    assert memory[:NUM_BUCKETS].sum() == 4
    assert not memory[NUM_BUCKETS:].any()


def test_a_frame_of_labels_that_are_never_text() -> None:
    """The rest of the utterance would be searched with nothing in the beam."""
    sure = np.full((4, 4), -np.inf)
    sure[[0, 1, 2, 3], [2, 2, 3, 0]] = 0.0
    search = BeamSearch(["_", " ", "A", "<unk>"])
    for frames in (sure, sure[:3]):
        with pytest.raises(DataError, match="in some frame neither the blank nor any label that"):
            search.decode(frames[None])


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


def test_arguments_that_do_not_fit() -> None:
    search = BeamSearch(CHARACTERS)
    frames = np.log(np.full((2, 3, 4), 0.25))
    with pytest.raises(ValueError, match="nbest must be at least 1, got 0"):
        search.decode_nbest(frames, nbest=0)
    with pytest.raises(ValueError, match="1 durations for 2 utterances"):
        search.decode_nbest(frames, durations=[1.0])
    for lengths in ([3], [3, 4], [-1, 3]):
        with pytest.raises(ValueError, match="lengths must be 2 of 0 to 3, got"):
            search.decode(frames, lengths)
    huge = BeamSearch(CHARACTERS, limits=BeamLimits(beam_size=10**13))
    with pytest.raises(ResourceError, match=r"beam of 10,000,000,000,000 over 3 .*lower beam_size"):
        huge.decode(frames)


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
