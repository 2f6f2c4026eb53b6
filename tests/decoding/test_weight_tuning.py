"""Weights for the fewest errors: against enumeration, grids, and what must hold on any lists."""

import itertools
import re
from collections.abc import Mapping

import numpy as np
import pytest

from asr.decoding.nbest import NEVER, Candidate, NbestList
from asr.decoding.rescoring import oracle_texts, rescore, word_errors
from asr.decoding.weight_tuning import tune
from asr.errors import ConfigError, DataError

Lists = list[NbestList]
START = {"score": 1.0, "lm": 0.0, "words": 0.0}


def made_lists(seed: int, num_lists: int, size: int) -> tuple[Lists, dict[str, str]]:
    """Random texts and scores, best `score` first, and random references."""
    random = np.random.default_rng(seed)
    lists, references = [], {}
    for index in range(num_lists):
        candidates = [
            Candidate(
                " ".join(random.choice(list("ABC"), random.integers(0, 5))),
                {name: float(random.normal()) for name in ("score", "lm")},
            )
            for _ in range(random.integers(1, size + 1))
        ]
        candidates.sort(key=lambda each: -each.scores["score"])
        lists.append(NbestList(str(index), tuple(candidates)))
        references[str(index)] = " ".join(random.choice(list("ABC"), 3))
    return lists, references


def errors(lists: Lists, references: Mapping[str, str]) -> int:
    """Of the first candidates."""
    return sum(word_errors(one, references[one.id])[0] for one in lists)


def oracle_errors(lists: Lists, references: Mapping[str, str]) -> int:
    best = oracle_texts(lists, references)
    oracle = [NbestList(name, (Candidate(text, {}),)) for name, text in best.items()]
    return errors(oracle, references)


@pytest.mark.parametrize("seed", range(20))
def test_no_grid_finds_fewer_errors(seed: int) -> None:
    """Oracle <= tuned <= first best, and no point of a grid of 2,000 is better."""
    lists, references = made_lists(seed, num_lists=1 + seed % 6, size=5)
    tuned = errors(rescore(lists, tune(lists, references, START)), references)
    assert oracle_errors(lists, references) <= tuned <= errors(lists, references)
    wrong = [np.array(word_errors(one, references[one.id])) for one in lists]
    values = [
        np.array([[*each.scores.values(), len(each.text.split())] for each in one.candidates])
        for one in lists
    ]
    for score in (0, 0.25, 1, 4):
        for lm in (0, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 4):
            for bonus in np.linspace(-5, 5, 41):
                weights = np.array([score, lm, bonus])
                at_point = sum(
                    w[(v @ weights).argmax()] for w, v in zip(wrong, values, strict=True)
                )
                assert tuned <= at_point


def test_candidates_that_cannot_be_have_no_say() -> None:
    """However good they are: `rescore` puts them last."""
    for seed in range(5):
        lists, references = made_lists(seed, num_lists=6, size=5)
        right = [Candidate(references[one.id], {"score": 9.0, "lm": NEVER}) for one in lists]
        more = [
            NbestList(one.id, (each, *one.candidates))
            for one, each in zip(lists, right, strict=True)
        ]
        assert tune(more, references, START) == tune(lists, references, START)


@pytest.mark.parametrize("seed", range(20))
def test_one_weight_is_searched_exactly(seed: int) -> None:
    """Against one point between any two neighbours of all places where two candidates cross."""
    lists, references = made_lists(100 + seed, num_lists=4, size=6)
    crossings = sorted(
        (b.scores["score"] - a.scores["score"]) / (a.scores["lm"] - b.scores["lm"])
        for one in lists
        for a in one.candidates
        for b in one.candidates
        if a.scores["lm"] > b.scores["lm"]
    )
    edges = [0.0, *[place for place in crossings if place > 0]]
    points = [0.0, edges[-1] + 1, *((a + b) / 2 for a, b in itertools.pairwise(edges))]
    # The search may rank by `lm` alone too, which is the ranking beyond the last crossing.
    fewest = min(
        errors(rescore(lists, {"score": 1.0, "lm": point}), references) for point in points
    )
    weights = tune(lists, references, {"score": 1.0, "lm": 0.0})
    assert errors(rescore(lists, weights), references) == fewest


def test_the_only_stretch_that_is_right_is_found() -> None:
    """The first text is right below lm = 0.5, the second up to 1.5, and the last beyond.

    Three lists want 0.5 to 1.5, two want less, one wants more; the middle is taken.
    """

    def one(name: str) -> NbestList:
        scores = [(0.0, 0.0), (-0.5, 1.0), (-2.0, 2.0)]
        texts = zip(("A A", "B A", "C A"), scores, strict=True)
        return NbestList(name, tuple(Candidate(t, {"score": s, "lm": x}) for t, (s, x) in texts))

    lists = [one(str(index)) for index in range(6)]
    said = ["B A", "A A", "B A", "C A", "B A", "A A"]
    references = {str(index): text for index, text in enumerate(said)}
    assert tune(lists, references, {"score": 1.0, "lm": 0.0}) == {"score": 1.0, "lm": 1.0}
    assert tune(lists, references, {"score": 4.0, "lm": 0.0}) == {"score": 1.0, "lm": 1.0}
    # From there the weight of `score` is searched: 2 to 6 are right.
    assert tune(lists, references, {"score": 0.0, "lm": 3.0}) == {"score": 1.0, "lm": 3 / 4}


def test_a_penalty_for_words_can_be_found() -> None:
    """Every list has a word too many first, by a score of 0.2 for it."""
    lists = [
        NbestList(str(n), (Candidate("A B A", {"score": 0.2}), Candidate("A B", {"score": 0.0})))
        for n in range(3)
    ]
    weights = tune(lists, dict.fromkeys("012", "A B"), {"score": 1.0, "words": 0.0})
    assert weights["words"] < -0.2
    assert errors(rescore(lists, weights), dict.fromkeys("012", "A B")) == 0


def test_two_scores_that_help_only_together() -> None:
    """The first list is right if x < 2 y, the second if y < 2 x."""
    lists = [
        NbestList("1", (Candidate("B", {"x": 1.0, "y": -2.0}), Candidate("A", {"x": 0, "y": 0}))),
        NbestList("2", (Candidate("B", {"x": -2.0, "y": 1.0}), Candidate("A", {"x": 0, "y": 0}))),
    ]
    references = {"1": "A", "2": "A"}
    for start in ({"x": 1.0, "y": 0.0}, {"x": 0.0, "y": 1.0}):
        assert errors(rescore(lists, start), references) == 1
        weights = tune(lists, references, start)
        assert 0.5 < weights["y"] / weights["x"] < 2
        assert errors(rescore(lists, weights), references) == 0


def test_a_score_that_makes_no_difference_gets_no_weight() -> None:
    lists, references = made_lists(7, num_lists=5, size=4)
    same = [
        NbestList(
            one.id,
            tuple(Candidate(c.text, {**c.scores, "copy": c.scores["lm"]}) for c in one.candidates),
        )
        for one in lists
    ]
    weights = tune(same, references, {**START, "copy": 0.0})
    assert 0.0 in (weights["lm"], weights["copy"])
    assert errors(rescore(same, weights), references) <= errors(lists, references)


def test_lists_that_leave_no_choice_keep_the_weights() -> None:
    lists = [NbestList("u", (Candidate("A", {"score": -1.0}), Candidate("A", {"score": -2.0})))]
    assert tune(lists, {"u": "A B"}, {"score": 1.0}) == {"score": 1.0}
    assert tune(lists, {"u": "A B"}, {"score": 1.0, "words": 0.0}) == {"score": 1.0, "words": 0.0}


def test_scale_and_units_do_not_matter() -> None:
    """Scores a million times larger get a weight a million times smaller, and the same errors."""
    lists, references = made_lists(11, num_lists=6, size=6)
    large = [
        NbestList(
            one.id,
            tuple(
                Candidate(c.text, {**c.scores, "lm": 1e6 * c.scores["lm"]}) for c in one.candidates
            ),
        )
        for one in lists
    ]
    small = errors(rescore(lists, tune(lists, references, START)), references)
    assert errors(rescore(large, tune(large, references, START)), references) == small


def test_the_same_input_gives_the_same_weights() -> None:
    lists, references = made_lists(13, num_lists=8, size=6)
    assert tune(lists, references, START) == tune(lists, references, START)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"score": -1.0}, "the weight of 'score' is tuned from 0 upwards, got -1.0; only that of "
         "words may be negative"),
        ({"x": 1.0}, "a weight for 'x', but the n-best lists have the scores score, lm, words"),
        ({"score": 0.0}, "all weights are 0"),
    ],
)  # fmt: skip
def test_weights_that_cannot_be_tuned(weights: dict[str, float], message: str) -> None:
    lists, references = made_lists(1, num_lists=2, size=3)
    with pytest.raises(ConfigError, match=re.escape(message)):
        tune(lists, references, weights)


def test_references_that_do_not_fit() -> None:
    lists, references = made_lists(1, num_lists=2, size=3)
    with pytest.raises(DataError, match="the references: lacks 1 of the 2"):
        tune(lists, {"0": references["0"]}, START)
    with pytest.raises(DataError, match="have no word in common"):
        tune(lists, {name: text.lower() for name, text in references.items()}, START)


def test_lists_without_candidates_change_no_weight() -> None:
    lists, references = made_lists(0, 20, 5)
    more = [NbestList("gone", (), "no such file"), *lists]
    assert tune(more, {**references, "gone": "A"}, START) == tune(lists, references, START)
