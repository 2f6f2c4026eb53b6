"""Further scores, and the ranking by a weighted sum."""

import itertools
import re
from pathlib import Path

import numpy as np
import pytest

from asr.decoding.nbest import NEVER, Candidate, NbestList
from asr.decoding.rescoring import (
    check_common_words,
    check_references,
    oracle_texts,
    rescore,
    with_costs,
    with_lm,
    with_scores_of,
    word_errors,
)
from asr.errors import ConfigError, DataError
from asr.lm.loading import load_lm
from asr.lm.ngram import NgramModel
from tests.decoding.made_lm import MadeModel, made_model
from tests.lm.made_neural import made_neural


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Models that are read are kept in a folder of the test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def nbest(utterance: str, *texts: str, **scores: list[float]) -> NbestList:
    return NbestList(
        utterance,
        tuple(
            Candidate(text, {name: values[rank] for name, values in scores.items()})
            for rank, text in enumerate(texts)
        ),
    )


def texts(lists: list[NbestList]) -> list[list[str]]:
    return [[candidate.text for candidate in one.candidates] for one in lists]


# The acoustics prefer the first text by a little; the language model knows better.
LISTS = [
    nbest("u1", "BUNNY BUNNY", "BUGS BUNNY", score=[-0.67, -0.71], lm=[-9.0, -2.0]),
    nbest("u2", "HI", score=[-1.0], lm=[-4.0]),
]


def test_the_weight_of_the_language_model_flips_the_order() -> None:
    """-0.67 - 9 w against -0.71 - 2 w: they are equal where w = 0.04 / 7."""
    turn = 0.04 / 7
    for weight, first in ((0.9 * turn, "BUNNY BUNNY"), (1.1 * turn, "BUGS BUNNY")):
        ranked = rescore(LISTS, {"score": 1.0, "lm": weight})
        assert ranked[0].candidates[0].text == first
    best, second = rescore(LISTS, {"score": 2.0, "lm": 1.0, "words": 3.0})[0].candidates
    assert best.scores == pytest.approx({"score": 2 * -0.71 - 2 + 3 * 2, "lm": -2.0})
    assert second.scores == pytest.approx({"score": 2 * -0.67 - 9 + 3 * 2, "lm": -9.0})


def test_words_are_a_bonus_and_their_times_stay() -> None:
    lists = [nbest("u", "A", "A B C", "A B", score=[0.0, -1.0, -0.4])]
    assert texts(rescore(lists, {"score": 1, "words": 0.3})) == [["A", "A B", "A B C"]]
    assert texts(rescore(lists, {"score": 1, "words": 0.45})) == [["A B", "A", "A B C"]]
    assert texts(rescore(lists, {"score": 1, "words": 0.7})) == [["A B C", "A B", "A"]]
    assert texts(rescore(lists, {"score": 0, "words": -1})) == [["A", "A B", "A B C"]]


def test_every_order_is_that_of_the_definition() -> None:
    """Of all permutations, the one in which every next sum is less, or equal and was behind."""
    random = np.random.default_rng(1)
    for _ in range(200):
        scores = random.integers(-3, 4, size=(2, 3)).astype(float)
        weights = random.integers(-2, 3, size=2) + np.array([0.0, 10.0])
        lists = [nbest("u", "A", "B", "C", x=list(scores[0]), y=list(scores[1]))]
        ranked = rescore(lists, {"x": weights[0], "y": weights[1]})
        sums = dict(zip("ABC", weights @ scores, strict=True))
        right = [
            order
            for order in itertools.permutations("ABC")
            if all((-sums[a], a) < (-sums[b], b) for a, b in itertools.pairwise(order))
        ]
        assert [tuple(texts(ranked)[0])] == right


def test_a_common_factor_changes_no_order_and_a_weight_of_zero_nothing() -> None:
    random = np.random.default_rng(2)
    lists = []
    for index in range(20):
        scores = np.sort(random.normal(size=(2, 6)))[:, ::-1]
        lm = list(random.permuted(scores[1]))
        lists.append(nbest(str(index), *"ABCDEF", score=list(scores[0]), lm=lm))
    assert texts(rescore(lists, {"score": 1, "lm": 0})) == texts(lists)
    weights = {"score": 0.3, "lm": 0.7, "words": -0.2}
    expected = texts(rescore(lists, weights))
    assert expected != texts(lists)
    for factor in (0.001, 0.37, 2, 1e6):
        scaled = {name: factor * weight for name, weight in weights.items()}
        assert texts(rescore(lists, scaled)) == expected


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"lm2": 1.0, "score": 1.0}, "a weight for 'lm2', but the n-best lists have the scores "
         "score, lm, words"),
        ({"lm": float("nan")}, "the weight of 'lm' must be a finite number"),
        ({"lm": float("inf"), "score": 1.0}, "the weight of 'lm' must be a finite number"),
        ({"lm": 0.0, "score": 0.0}, "all weights are 0, so that nothing ranks the candidates"),
        ({}, "all weights are 0"),
    ],
)  # fmt: skip
def test_weights_that_cannot_rank(weights: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        rescore(LISTS, weights)


def load(model: MadeModel, path: Path) -> NgramModel:
    found = load_lm(model.write(path))
    assert isinstance(found, NgramModel)
    return found


def test_the_score_of_a_language_model(tmp_path: Path) -> None:
    """Of the words and of the end, by the definition; an unknown word is `<unk>`."""
    made = made_model(np.random.default_rng(3), ["A", "B"], 3)
    lists = [nbest("u", "A B B A", "", "B NEW", score=[0.0, 0.0, 0.0])]
    (scored,) = with_lm(lists, load(made, tmp_path / "a.arpa"), name="big")
    for candidate in scored.candidates:
        words = ["<s>", *candidate.text.split(), "</s>"]
        expected = sum(made.log_prob(words[k], words[:k]) for k in range(1, len(words)))
        assert candidate.scores == pytest.approx({"score": 0.0, "big": expected}, rel=1e-6)


def test_a_language_model_of_characters(tmp_path: Path) -> None:
    made = made_model(np.random.default_rng(4), ["A", "B", "<space>"], 2)
    lists = [nbest("u", "AB A")]
    (scored,) = with_lm(lists, load(made, tmp_path / "a.arpa"), unit="character")
    words = ["<s>", "A", "B", "<space>", "A", "</s>"]
    expected = sum(made.log_prob(words[k], words[:k]) for k in range(1, len(words)))
    assert scored.candidates[0].scores == pytest.approx({"lm": expected}, rel=1e-6)


def test_a_neural_language_model_scores_texts_by_its_own_tokens() -> None:
    model = made_neural()
    lists = [NbestList("u", tuple(Candidate(text, {"score": 1.0}) for text in ("A B", "BA", "")))]
    (scored,) = with_lm(lists, model, name="net")
    for candidate in scored.candidates:
        expected = model.score_sentence(["<space>" if c == " " else c for c in candidate.text])
        assert candidate.scores["net"] == pytest.approx(sum(expected), abs=1e-5)
    with pytest.raises(DataError, match="nowhere: knows 0 of 2 tokens of the n-best lists; is it"):
        with_lm([NbestList("u", (Candidate("ab", {}),))], model)


def test_a_language_model_that_does_not_fit(tmp_path: Path) -> None:
    model = load(made_model(np.random.default_rng(5), ["A", "B"], 1), tmp_path / "m.arpa")
    lists = [nbest("u", "a b", "a b a", score=[0.0, 0.0])]
    with pytest.raises(DataError, match=r"m\.arpa: knows 0 of 5 words .* is it of another case"):
        with_lm(lists, model)
    assert len(with_lm([nbest("u", "")], model)) == 1
    with pytest.raises(ConfigError, match="have a score 'score' already; give the new one another"):
        with_lm([nbest("u", "A", score=[0.0])], model, name="score")
    with pytest.raises(ConfigError, match="'words' cannot name a score: one word without '='"):
        with_lm([nbest("u", "A")], model, name="words")


def test_scores_of_other_lists() -> None:
    lists = [nbest("u1", "A", "B", score=[-1.0, -2.0]), nbest("u2", "C", score=[-1.0])]
    others = [
        nbest("u2", "C", score=[-9.0], lm=[-90.0]),
        nbest("u1", "B", "X", "A", "B", score=[-3.0, -4.0, -5.0, -6.0], lm=[-7.0, -8.0, -6.0, 0.0]),
    ]
    first, second = with_scores_of(lists, others, prefix="o", source="o.jsonl")
    assert [dict(each.scores) for each in first.candidates] == [
        {"score": -1.0, "o.score": -5.0, "o.lm": -6.0},
        {"score": -2.0, "o.score": -3.0, "o.lm": -7.0},
    ]
    assert second.candidates[0].scores["o.lm"] == -90.0


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ([nbest("u1", "A", x=[0.0])], "o.jsonl: lacks 1 of the 2 utterances of the n-best lists: "
         "'u2'. Both must have the same ones"),
        ([nbest(u, "A", "B", x=[0.0, 0.0]) for u in ("u1", "u2", "u3")], "the n-best lists: lacks "
         "1 of the 3 utterances of o.jsonl: 'u3'"),
        ([nbest(u, "A", x=[0.0]) for u in ("u1", "u2")], "o.jsonl: utterance 'u1' has no scores "
         "for 1 of its 2 candidates: 'B'. It must score the same texts; lists of different texts "
         "are joined by asr combine --method loglinear"),
        ([nbest(u, "A", "B") for u in ("u1", "u2")], "o.jsonl: its candidates have no scores"),
    ],
)  # fmt: skip
def test_other_lists_that_do_not_fit(others: list[NbestList], message: str) -> None:
    lists = [nbest(u, "A", "B", score=[0.0, -1.0]) for u in ("u1", "u2")]
    with pytest.raises(DataError, match=re.escape(message)):
        with_scores_of(lists, others, prefix="o", source="o.jsonl")


def test_a_prefix_that_is_taken_or_no_name() -> None:
    lists = [nbest("u", "A", **{"o.x": [0.0]})]
    other = [nbest("u", "A", x=[0.0])]
    with pytest.raises(ConfigError, match=re.escape("have a score 'o.x' already")):
        with_scores_of(lists, other, prefix="o", source="o")
    with pytest.raises(ConfigError, match=r"'a b\.x' cannot name a score"):
        with_scores_of(lists, other, prefix="a b", source="o")


def test_costs_of_outside_systems() -> None:
    lists = [nbest("a-b", "A", "B"), nbest("c", "A")]
    scores = {"c-1": -3.0, "a-b-2": -2.0, "a-b-1": -1.0}
    scored = with_costs(lists, scores, name="ac", source="ac.txt")
    assert [[dict(each.scores) for each in one.candidates] for one in scored] == [
        [{"ac": -1.0}, {"ac": -2.0}],
        [{"ac": -3.0}],
    ]
    with pytest.raises(DataError, match=r"ac\.txt: has no cost for 1 of 3 candidates: 'c-1'"):
        with_costs(lists, {"a-b-1": 0.0, "a-b-2": 0.0}, name="ac", source="ac.txt")
    with pytest.raises(DataError, match=r"ac\.txt: 1 of 4 costs are for no candidate .*: 'd-1'"):
        with_costs(lists, {**scores, "d-1": 0.0}, name="ac", source="ac.txt")
    with pytest.raises(ConfigError, match="'x=y' cannot name a score"):
        with_costs(lists, scores, name="x=y", source="ac.txt")


def test_the_oracle_has_the_fewest_errors() -> None:
    lists = [nbest("u1", "A X", "A B C", "A C", "A B"), nbest("u2", "", "Z", "Y")]
    references = {"u2": "", "u1": "A  B"}
    assert word_errors(lists[0], references["u1"]) == [1, 1, 1, 0]
    assert oracle_texts(lists, references) == {"u1": "A B", "u2": ""}
    assert oracle_texts(lists[:1], {"u1": "Q A"})["u1"] == "A X", "of equal ones the first"
    with pytest.raises(DataError, match=r"the references: lacks 1 of the 2 utterances .* 'u2'"):
        oracle_texts(lists, {"u1": "A"})


def test_references_of_another_kind() -> None:
    lists = [nbest("u", "a b", "")]
    with pytest.raises(DataError, match=re.escape("r.jsonl: lacks 1 of the 1 utterances of n: 'u")):
        check_references(lists, {}, lists_name="n", name="r.jsonl")
    expected = "n and r have no word in common, such as 'b' and 'A'; are they of the same case"
    with pytest.raises(DataError, match=expected):
        check_references(lists, {"u": "B A"}, lists_name="n", name="r")
    check_references(lists, {"u": "X b"})
    check_references(lists, {"u": ""})
    check_common_words("n", [nbest("u", "")], "r", {"A"})


def test_a_list_without_candidates_stays_one() -> None:
    """It counts as nothing recognised, and its reason is kept."""
    gone = NbestList("gone", (), "no such file")
    lists = [gone, *LISTS]
    assert rescore(lists, {"score": 1.0})[0] == gone
    assert with_scores_of(lists, lists, prefix="b", source="b")[0] == gone
    costs = {"u1-1": 1.0, "u1-2": 2.0, "u2-1": 3.0}
    assert with_costs(lists, costs, name="c", source="c")[0] == gone
    spoken = {"gone": "HI", "u1": "BUGS BUNNY", "u2": "HI"}
    assert oracle_texts(lists, spoken) == {**spoken, "gone": ""}


def test_what_cannot_be_is_last_with_any_weight() -> None:
    """-1e9 stands for minus infinity: the rest of the sum cannot make up for it."""
    lists = [nbest("u", "A", "B", "C", score=[9e9, -5.0, -4.0], lm=[NEVER, -1.0, NEVER])]
    for weight in (0.0, 1e-12, 1.0):
        ranked = rescore(lists, {"score": 1.0, "lm": weight})
        assert texts(ranked) == [["B", "A", "C"]]
        assert [each.scores["score"] for each in ranked[0].candidates][1:] == [NEVER, NEVER]
    assert texts(rescore(lists, {"score": 1.0})) == [["A", "C", "B"]], "lm does not count"


def test_where_nothing_can_be_the_sum_decides() -> None:
    lists = [nbest("u", "A", "B", score=[-2.0, -1.0], lm=[NEVER, NEVER])]
    assert texts(rescore(lists, {"score": 1.0, "lm": 1e-6})) == [["B", "A"]]
