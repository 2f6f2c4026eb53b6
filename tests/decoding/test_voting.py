"""Votes on words and sums of log-posteriors: closed forms, enumeration, what must not change."""

import itertools
import math
import re
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from asr.decoding.hypothesis import Word
from asr.decoding.nbest import Candidate, NbestList
from asr.decoding.voting import (
    FLOOR,
    NULL_CONFIDENCE,
    Ballot,
    combine,
    log_posteriors,
    transition_network,
    vote,
    vote_systems,
)
from asr.errors import ConfigError, DataError


def said(text: str, confidence: float = 0.9) -> tuple[Word, ...]:
    return tuple(Word(word, k, k + 1, confidence) for k, word in enumerate(text.split()))


def outcome(texts: Sequence[str], alpha: float = 1.0, weights: Sequence[float] = ()) -> str:
    ballots = [
        Ballot(said(t), w) for t, w in zip(texts, weights or [1.0] * len(texts), strict=True)
    ]
    return " ".join(word.word for word in vote(ballots, alpha=alpha))


def one(text: str, confidence: float = 0.9, name: str = "u") -> NbestList:
    return NbestList(name, (Candidate(text, {}, said(text, confidence)),))


def scored(name: str, **scores: float) -> NbestList:
    return NbestList(name, tuple(Candidate(text, {"score": s}) for text, s in scores.items()))


def equal(systems: Mapping[str, Sequence[NbestList]]) -> dict[str, float]:
    return dict.fromkeys(systems, 1.0)


@pytest.mark.parametrize(
    ("texts", "winner"),
    [
        (["THE CAT SAT", "THE CAT SAT", "A CAT SAT"], "THE CAT SAT"),
        (["THE CAT SAT", "A CAT SAT", "A DOG SAT"], "A CAT SAT"),
        (["A B C", "X B C", "A Y C", "A B Z"], "A B C"),
        (["A B C", "A C", "A C"], "A C"),
        (["A C", "A B C", "A B C"], "A B C"),
        (["", "A", "A"], "A"),
        (["A", "", ""], ""),
        (["B", "A B", "A B"], "A B"),
        (["A", "A B", "A B"], "A B"),
        (["A X B", "A Y B", "A B"], "A X B"),
        (["A A A", "A A", "A A"], "A A"),
        (["", "", ""], ""),
        (["A B C D E", "A B X D E", "B C D E"], "A B C D E"),
    ],
)
def test_two_of_three_decide_every_word(texts: list[str], winner: str) -> None:
    assert outcome(texts) == winner
    assert outcome(texts, alpha=0.5) == winner


def test_ties_go_to_the_first_system() -> None:
    assert outcome(["A B", "A C"]) == "A B"
    assert outcome(["A B", "A"]) == "A B"
    assert outcome(["A", "A B"]) == "A"
    assert outcome(["X", "Y", "Z"]) == "X"
    assert outcome(["A", "B", "B"], weights=[0.3, 0.1, 0.2]) == "A", "0.1 + 0.2 is not more"


def test_identical_systems_give_back_the_input() -> None:
    random = np.random.default_rng(1)
    for _ in range(50):
        text = " ".join(random.choice(list("AB"), random.integers(0, 6)))
        for alpha in (0.0, 0.3, 1.0):
            words = vote([Ballot(said(text))] * 3, alpha=alpha)
            assert " ".join(word.word for word in words) == text
            assert [(w.start, w.end) for w in words] == [(w.start, w.end) for w in said(text)]
            expected = alpha + (1 - alpha) * 0.9
            assert [w.confidence for w in words] == pytest.approx([expected] * len(words))


@pytest.mark.parametrize("alpha", [0.0, 0.25, 0.5, 1.0])
def test_the_number_by_which_a_word_wins(alpha: float) -> None:
    """alpha N(w) / N + (1 - alpha) C(w), with the confidence of nothing for nothing."""
    ballots = [Ballot(said("A", 0.9)), Ballot(said("B", 0.6)), Ballot(said("B", 0.8)), Ballot(())]
    votes = {
        "A": alpha / 4 + (1 - alpha) * 0.9,
        "B": alpha / 2 + (1 - alpha) * 0.7,
        "": alpha / 4 + (1 - alpha) * NULL_CONFIDENCE,
    }
    winner = max(votes, key=lambda text: votes[text])
    words = vote(ballots, alpha=alpha)
    assert " ".join(word.word for word in words) == winner
    assert words[0].confidence == pytest.approx(votes[winner])
    assert vote(ballots, alpha=0.0, null_confidence=0.95) == ()


def test_confidence_can_outvote_frequency() -> None:
    """0.3 alone against 0.2 twice wins as soon as alpha / 3 < (1 - alpha) 0.5."""
    ballots = [Ballot(said("A", 0.9)), Ballot(said("B", 0.4)), Ballot(said("B", 0.4))]
    turn = 0.5 / (1 / 3 + 0.5)
    assert [w.word for w in vote(ballots, alpha=turn - 0.01)] == ["A"]
    assert [w.word for w in vote(ballots, alpha=turn + 0.01)] == ["B"]


def test_weights_are_votes() -> None:
    """Twice the weight is two systems that say the same."""
    assert outcome(["A", "B", "B"], weights=[3, 1, 1]) == "A"
    assert outcome(["A", "B", "B"], weights=[2, 1, 1]) == "A"
    assert outcome(["A", "B", "B"], weights=[1.9, 1, 1]) == "B"


def test_the_network_of_places() -> None:
    network = transition_network([said("A B C"), said("A C"), said("A X C D"), said("X C")])
    named = [[word.word if word else "" for word in place] for place in network]
    assert named == [
        ["A", "A", "A", ""],
        ["B", "", "X", "X"],
        ["C", "C", "C", "C"],
        ["", "", "D", ""],
    ]
    assert transition_network([()]) == []


def plain_distance(network: list[list[str]], words: list[str]) -> int:
    """The cost of the best alignment, by recursion."""
    if not network:
        return 3 * len(words)
    skip = 0 if "" in network[-1] else 3
    costs = [plain_distance(network[:-1], words) + skip]
    if words:
        pair = 0 if words[-1] in network[-1] else 3 if "" in network[-1] else 4
        costs.append(plain_distance(network[:-1], words[:-1]) + pair)
        costs.append(plain_distance(network, words[:-1]) + 3)
    return min(costs)


def test_every_alignment_costs_least() -> None:
    """All texts of up to four words from two, aligned with a network of two texts."""
    base = transition_network([said("A B A"), said("A A")])
    named = [[word.word if word else "" for word in place] for place in base]
    assert named == [["A", "A"], ["B", ""], ["A", "A"]]
    for text in (t for n in range(5) for t in itertools.product("AB", repeat=n)):
        network = transition_network([said("A B A"), said("A A"), said(" ".join(text))])
        cost = 0
        for first, second, word in network:
            before = {entry.word if entry else "" for entry in (first, second)}
            last = word.word if word else ""
            if last not in before:
                cost += 4 if last and "" not in before else 3
        assert [w.word for *_, w in network if w] == list(text)
        assert [[w.word for w in column if w] for column in zip(*network, strict=True)][:2] == [
            ["A", "B", "A"],
            ["A", "A"],
        ]
        assert cost == plain_distance(named, list(text)), text


def test_systems_that_vote() -> None:
    systems = {
        "a": [one("THE CAT"), one("A", name="v")],
        "b": [one("B", name="v"), one("THE RAT")],
        "c": [one("THE RAT"), one("B", name="v")],
    }
    voted = vote_systems(systems, equal(systems), alpha=1.0)
    assert [(each.id, each.candidates[0].text) for each in voted] == [("u", "THE RAT"), ("v", "B")]
    assert [w.word for w in voted[0].candidates[0].words] == ["THE", "RAT"]
    assert voted[0].candidates[0].scores == {}


def test_a_system_of_all_the_weight_is_the_combination() -> None:
    systems = {"a": [one("A B")], "b": [one("B")], "c": [one("B")]}
    for name, text in (("a", "A B"), ("c", "B")):
        for alpha in (0.0, 0.5, 1.0):
            weights = {other: float(other == name) for other in systems}
            voted = vote_systems(systems, weights, alpha=alpha)
            assert voted[0].candidates[0].text == text


def test_nbest_lists_vote_with_their_posteriors() -> None:
    """System a is torn between A (3/5) and B (2/5), b is sure of B: B has 1.4 of 2 votes."""
    a = scored("u", A=math.log(3), B=math.log(2), C=-90.0)
    systems = {"a": [a], "b": [scored("u", B=-7.0)]}
    assert vote_systems(systems, equal(systems), alpha=1.0)[0].candidates[0].text == "A"
    torn = vote_systems(systems, equal(systems), alpha=1.0, nbest=2)
    assert torn[0].candidates == (Candidate("B", {}),), "without times where there were none"
    sure = vote_systems(systems, {"a": 3.0, "b": 0.5}, alpha=1.0, nbest=2)
    assert sure[0].candidates[0].text == "A", "1.8 against 1.2 + 0.5"
    flat = vote_systems(systems, {"a": 3.0, "b": 0.5}, alpha=1.0, nbest=2, scale=1e-3)
    assert flat[0].candidates[0].text == "B", "1.5 against 1.5 + 0.5"


def test_a_posterior_of_nothing_is_no_fault() -> None:
    systems = {"a": [scored("u", A=0.0, B=-1e6)], "b": [scored("u", A=0.0)]}
    voted = vote_systems(systems, equal(systems), alpha=1.0, nbest=5)
    assert voted[0].candidates[0].text == "A"


def test_log_posteriors_sum_to_one() -> None:
    candidates = [Candidate("A", {"score": -1e4}), Candidate("B", {"score": -1e4 - 2})]
    for scale in (0.1, 1.0, 3.0):
        first, second = log_posteriors(candidates, scale)
        assert math.exp(first) + math.exp(second) == pytest.approx(1)
        assert first - second == pytest.approx(2 * scale)


def test_the_union_is_ranked_by_the_weighted_sum() -> None:
    """Closed form: each log-posterior is a score less the logarithm of the sum of its list."""
    systems = {
        "a": [scored("u", A=0.0, B=-1.0)],
        "b": [scored("u", B=-2.0, C=-2.5)],
    }
    norm_a = math.log(1 + math.exp(-1))
    norm_b = math.log(math.exp(-2) + math.exp(-2.5))
    parts = {
        "A": (0 - norm_a, FLOOR),
        "B": (-1 - norm_a, -2 - norm_b),
        "C": (FLOOR, -2.5 - norm_b),
    }
    for weights in ((1.0, 1.0), (3.0, 0.5), (0.2, 5.0)):
        sums = {t: weights[0] * a + weights[1] * b for t, (a, b) in parts.items()}
        (found,) = combine(systems, dict(zip("ab", weights, strict=True)))
        assert [each.text for each in found.candidates] == sorted(sums, key=lambda t: -sums[t])
        for each in found.candidates:
            a, b = parts[each.text]
            expected = {"score": sums[each.text], "a": a, "b": b}
            assert each.scores == pytest.approx(expected)


def test_a_text_that_is_missing_is_no_better_than_the_worst() -> None:
    systems = {"a": [scored("u", A=0.0, B=-50.0)], "b": [scored("u", C=0.0, B=-1.0)]}
    (found,) = combine(systems, equal(systems))
    by_text = {each.text: each.scores for each in found.candidates}
    assert by_text["C"]["a"] == by_text["B"]["a"] < FLOOR
    assert by_text["A"]["b"] == FLOOR


def test_a_text_that_stands_twice_has_both_posteriors() -> None:
    twice = NbestList("u", tuple(Candidate(t, {"score": 0.0}) for t in ("A", "B", "A")))
    (found,) = combine({"a": [twice], "b": [scored("u", B=0.0)]}, {"a": 1.0, "b": 1e-9})
    assert [each.text for each in found.candidates] == ["A", "B"]
    assert found.candidates[0].scores["a"] == pytest.approx(math.log(2 / 3))


def test_all_weight_on_one_system_is_that_system() -> None:
    random = np.random.default_rng(5)
    systems: dict[str, list[NbestList]] = {"a": [], "b": []}
    for index in range(10):
        for lists in systems.values():
            values = sorted(random.normal(size=4), reverse=True)
            order = random.permutation(list("ABCDE"))[:4]
            lists.append(scored(str(index), **dict(zip(order, values, strict=True))))
    for name in systems:
        weights = {other: float(other == name) for other in systems}
        for found, own in zip(combine(systems, weights), systems[name], strict=True):
            assert [c.text for c in found.candidates] == [c.text for c in own.candidates]
    same = {"a": systems["a"], "b": systems["a"]}
    for found, own in zip(combine(same, equal(same)), systems["a"], strict=True):
        assert [c.text for c in found.candidates] == [c.text for c in own.candidates]


PAIR = {"a": [scored("u", A=0.0)], "b": [scored("u", A=0.0)]}


@pytest.mark.parametrize(
    ("systems", "weights", "message"),
    [
        ({"a": [one("A")]}, {"a": 1.0}, "a combination needs two systems or more, got 1"),
        (PAIR, {"a": 1.0}, "for all systems or for none, got none for 'b'; the systems are a, b"),
        (PAIR, {"a": 1.0, "b": 1.0, "c": 1.0}, "got a weight for 'c'; the systems are a, b"),
        (PAIR, {"a": 1.0, "b": -1.0}, "must be 0 or more, one above 0, got a=1.0, b=-1.0"),
        (PAIR, {"a": 0.0, "b": 0.0}, "must be 0 or more, one above 0, got a=0.0, b=0.0"),
        (PAIR, {"a": 1.0, "b": math.nan}, "must be 0 or more, one above 0, got a=1.0, b=nan"),
        ({"score": [], "b": []}, {}, "'score' cannot name a system: one word without '='"),
        ({"a b": [], "b": []}, {}, "'a b' cannot name a system"),
    ],
)
def test_systems_that_cannot_be_combined(
    systems: dict[str, list[NbestList]], weights: dict[str, float], message: str
) -> None:
    for combination in (combine, vote_systems):
        with pytest.raises(ConfigError, match=re.escape(message)):
            combination(systems, weights)


def test_lists_that_do_not_fit_together() -> None:
    other = {"a": [scored("u", A=0.0)], "b": [scored("v", A=0.0), scored("u", A=0.0)]}
    different = {"a": [one("A B")], "b": [one("a b")]}
    for combination in (combine, vote_systems):
        with pytest.raises(DataError, match="a: lacks 1 of the 2 utterances of b: 'v'"):
            combination(other, equal(other))
        with pytest.raises(DataError, match="b and a have no word in common, such as 'b' and 'A'"):
            combination(different, equal(different))


def test_what_a_method_needs() -> None:
    plain = {"a": [one("A")], "b": [one("A")]}
    with pytest.raises(DataError, match="a: its candidates have no 'score' to weigh them by; asr"):
        combine(plain, equal(plain))
    with pytest.raises(DataError, match="a: its candidates have no 'score'"):
        vote_systems(plain, equal(plain), nbest=2)
    with pytest.raises(DataError, match=r"a: utterance 'u' has no 'words' with .* \(--alpha 1\)"):
        vote_systems(PAIR, equal(PAIR), alpha=0.9)
    for alpha in (-0.1, 1.1, math.nan):
        with pytest.raises(ConfigError, match="alpha must be 0 to 1, got"):
            vote_systems(plain, equal(plain), alpha=alpha)
    for scale in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ConfigError, match="scale must be above 0 and finite, got"):
            combine(PAIR, equal(PAIR), scale=scale)
        with pytest.raises(ConfigError, match="scale must be above 0 and finite, got"):
            vote_systems(PAIR, equal(PAIR), scale=scale)
    with pytest.raises(ValueError, match="nbest must be at least 1, got 0"):
        vote_systems(plain, equal(plain), nbest=0)


def test_a_system_without_candidates_has_no_say() -> None:
    """What one could not decode the others decide; what none could decode says why."""
    gone, lost = NbestList("u", (), "no such file"), NbestList("v", (), "cut off")
    same = scored("w", A=-1.0)
    first = [gone, lost, same]
    second = [scored("u", A=-1.0, B=-2.0), NbestList("v", (), "damaged"), same]
    third = [scored("u", B=-1.0, A=-5.0), lost, same]
    systems = {"a": first, "b": second, "c": third}
    voted = vote_systems(systems, equal(systems), alpha=1.0, nbest=2)
    assert [each.text for each in voted[0].candidates] == ["B"]
    joined = combine(systems, equal(systems))
    without = combine({"b": second, "c": third}, {"b": 1.0, "c": 1.0})
    assert [each.text for each in joined[0].candidates] == ["B", "A"]
    for one_of, other in zip(joined[0].candidates, without[0].candidates, strict=True):
        expected = {"a": FLOOR, **other.scores, "score": other.scores["score"] + FLOOR}
        assert one_of.scores == pytest.approx(expected)
    assert voted[1] == joined[1] == lost
