"""Intervals against the exact distribution of a bootstrap, and its invariances."""

import math
from statistics import NormalDist

import numpy as np
import pytest
from numpy.typing import NDArray

from asr.scoring.bootstrap import (
    REPLICATES,
    Difference,
    group_sums,
    paired_difference,
    rate_interval,
    resampled_sums,
)


def binomial_quantile(trials: int, successes: int, level: float) -> int:
    """The smallest k with P(X ≤ k) ≥ level for X ~ Binomial(trials, successes / trials)."""
    probability, total = successes / trials, 0.0
    for k in range(trials + 1):
        total += math.comb(trials, k) * probability**k * (1 - probability) ** (trials - k)
        if total >= level:
            return k
    return trials


@pytest.mark.parametrize(("utterances", "wrong"), [(20, 1), (20, 7), (100, 30), (500, 50)])
def test_one_word_utterances_have_a_binomial_bootstrap(utterances: int, wrong: int) -> None:
    """With one word each, the errors of a draw are binomial, so that its quantiles are known."""
    errors = [1] * wrong + [0] * (utterances - wrong)
    interval = rate_interval(errors, [1] * utterances)
    assert interval is not None
    low, high = (binomial_quantile(utterances, wrong, level) for level in (0.025, 0.975))
    assert interval == pytest.approx((low / utterances, high / utterances), abs=1 / utterances)


def test_two_utterances_give_three_outcomes() -> None:
    """Rates 0, 1/2 and 1 with probabilities 1/4, 1/2 and 1/4."""
    assert rate_interval([0, 1], [1, 1]) == (0.0, 1.0)
    rates = resampled_sums(np.array([[0.0], [1.0]]), replicates=20_000, seed=5)[:, 0] / 2
    for rate, probability in ((0, 0.25), (0.5, 0.5), (1, 0.25)):
        assert np.mean(rates == rate) == pytest.approx(probability, abs=0.015)


def test_equal_utterances_have_no_spread() -> None:
    assert rate_interval([2] * 10, [8] * 10) == (0.25, 0.25)


def test_the_rate_is_of_totals_not_a_mean_of_rates() -> None:
    """A draw of the long and the short utterance has 1 error in 101 words, not (0 + 1) / 2."""
    sums = resampled_sums(np.array([[0.0, 100.0], [1.0, 1.0]]), replicates=50, seed=0)
    assert set(sums[:, 0] / sums[:, 1]) == {0.0, 1 / 101, 1.0}


def test_every_draw_has_as_many_units_and_about_the_expected_variance() -> None:
    values = np.random.default_rng(1).normal(size=(40, 1))
    sums = resampled_sums(np.hstack([values, np.ones((40, 1))]), replicates=20_000, seed=2)
    assert (sums[:, 1] == 40).all()
    assert sums[:, 0].mean() == pytest.approx(values.sum(), abs=4 * math.sqrt(40 / 20_000))
    assert sums[:, 0].var() == pytest.approx(40 * values.var(), rel=0.05)


def test_draws_do_not_depend_on_how_many_fit_into_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.arange(14.0).reshape(7, 2)
    whole = resampled_sums(values, replicates=100, seed=3)
    assert len(whole) == 100
    monkeypatch.setattr("asr.scoring.bootstrap.CHUNK", 22)  # three draws at once, at last one
    np.testing.assert_array_equal(resampled_sums(values, replicates=100, seed=3), whole)


def test_the_same_input_gives_the_same_interval() -> None:
    errors, lengths = [3, 0, 1, 2, 5], [10, 4, 8, 9, 7]
    assert rate_interval(errors, lengths) == rate_interval(errors, lengths)


def test_speakers_are_drawn_whole() -> None:
    """Drawing speakers is drawing their sums, whatever the order of their utterances."""
    errors, lengths = [1, 4, 0, 2, 3, 0], [5, 9, 4, 6, 8, 3]
    speakers = ["a", "b", "a", "c", "b", "c"]
    by_hand = rate_interval([1, 7, 2], [9, 17, 9])
    assert rate_interval(errors, lengths, groups=speakers) == by_hand
    one_each = rate_interval(errors, lengths, groups=range(6))
    assert one_each == rate_interval(errors, lengths)


def test_speakers_who_differ_widen_the_interval() -> None:
    errors, speakers = [1] * 50 + [0] * 50, [utterance // 10 for utterance in range(100)]
    own = rate_interval(errors, [1] * 100)
    of_speakers = rate_interval(errors, [1] * 100, groups=speakers)
    assert own is not None
    assert of_speakers is not None
    assert of_speakers[1] - of_speakers[0] > 2 * (own[1] - own[0])


@pytest.mark.parametrize("count", [0, 1])
def test_one_unit_says_nothing_of_others(count: int) -> None:
    assert rate_interval([1] * count, [4] * count) is None
    assert rate_interval([1] * 3, [4] * 3, groups=["a"] * 3) is None


def test_utterances_without_words_are_no_division_by_zero() -> None:
    assert rate_interval([1, 1], [0, 0]) == (2.0, 2.0)


def test_group_sums() -> None:
    values = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    np.testing.assert_array_equal(group_sums(values, ["x", "y", "x"]), [[6.0, 8.0], [3.0, 4.0]])


def test_sequences_must_fit_together() -> None:
    with pytest.raises(ValueError, match="must have one value per utterance"):
        rate_interval([1], [1, 2])
    with pytest.raises(ValueError, match="must have one value per utterance"):
        rate_interval([1, 2], [1, 2], groups=["a"])


def difference(*arguments: list[float] | NDArray[np.float64] | list[int]) -> Difference:
    found = paired_difference(*(list(each) for each in arguments))
    assert found is not None
    return found


def two_systems(utterances: int) -> tuple[NDArray[np.float64], ...]:
    """Errors of two systems that find the same utterances hard, and lengths."""
    generator = np.random.default_rng(7)
    lengths = generator.integers(3, 12, size=utterances)
    hardness = generator.uniform(0.2, 0.8, size=utterances)
    errors = generator.binomial(lengths, hardness)
    others = np.clip(errors + generator.integers(-1, 2, size=utterances), 0, None)
    return errors.astype(float), others.astype(float), lengths.astype(float)


def test_a_large_set_agrees_with_the_normal_approximation() -> None:
    """The delta method: the rate's error is the mean of errors less rate times length."""
    errors, others, lengths = two_systems(4000)
    value = (errors - others).sum() / lengths.sum()
    residuals = errors - others - value * lengths
    deviation = math.sqrt((residuals**2).sum()) / lengths.sum()
    found = difference(errors, others, lengths)
    assert found.value == pytest.approx(value)
    assert found.standard_error == pytest.approx(deviation, rel=0.03)
    wide = NormalDist().inv_cdf(0.975) * deviation
    assert found.interval == pytest.approx((value - wide, value + wide), abs=0.05 * deviation)
    likely = 2 * NormalDist().cdf(-abs(value) / deviation)
    assert 0.01 < likely < 0.9, "else the next line shows little"
    assert found.p == pytest.approx(likely, abs=0.03)


def test_pairing_is_sharper_than_two_intervals() -> None:
    """The variances of unpaired rates would add up; here what is hard is hard for both."""
    errors, others, lengths = two_systems(1000)
    own = [difference(each, [0.0] * 1000, lengths).standard_error for each in (errors, others)]
    assert difference(errors, others, lengths).standard_error < 0.5 * math.hypot(*own)


@pytest.mark.parametrize("better", [1, 2, 3])
def test_one_word_utterances_have_a_known_p(better: int) -> None:
    """No draw is above 0; one is 0 where all of the utterances that differ were missed."""
    errors, others = [0.0] * 20, [1.0] * better + [0.0] * (20 - better)
    found = difference(errors, others, [1] * 20)
    assert found.value == -better / 20
    assert found.p == pytest.approx(2 * (1 - better / 20) ** 20, abs=0.03)


def test_the_interval_holds_0_exactly_where_p_is_large() -> None:
    generator = np.random.default_rng(11)
    for shift in np.linspace(-0.5, 0.5, 11):
        errors = generator.normal(shift, 1, size=60)
        found = difference(errors, [0.0] * 60, [1] * 60)
        low, high = found.interval
        assert (low <= 0 <= high) == (found.p > 0.05)


def test_systems_exchanged_give_the_negative() -> None:
    errors, others, lengths = two_systems(200)
    one, other = difference(errors, others, lengths), difference(others, errors, lengths)
    assert other.value == -one.value
    assert other.interval == pytest.approx((-one.interval[1], -one.interval[0]))
    assert (other.p, other.standard_error) == pytest.approx((one.p, one.standard_error))


def test_equal_systems_do_not_differ() -> None:
    errors, _, lengths = two_systems(50)
    assert difference(errors, errors, lengths) == Difference(0.0, (0.0, 0.0), 0.0, 1.0)


def test_a_p_is_never_0() -> None:
    found = difference([0.0] * 30, [5.0] * 30, [10] * 30)
    assert (found.value, found.interval) == (-0.5, (-0.5, -0.5))
    assert found.p == 2 / (REPLICATES + 1)


def test_differences_of_speakers_are_drawn_whole() -> None:
    errors, others, lengths = [1.0, 4, 0, 2, 3, 0], [2.0, 2, 0, 1, 3, 1], [5, 9, 4, 6, 8, 3]
    speakers = ["a", "b", "a", "c", "b", "c"]
    by_hand = paired_difference([1, 7, 2], [2, 5, 2], [9, 17, 9])
    assert paired_difference(errors, others, lengths, groups=speakers) == by_hand
    whole = paired_difference(errors, others, lengths)
    assert paired_difference(errors, others, lengths, groups=range(6)) == whole


def test_speakers_for_whom_systems_differ_widen_the_difference() -> None:
    """Ten utterances of a speaker that are alike count as one: wider by the root of ten."""
    errors = np.repeat(np.random.default_rng(3).normal(size=100), 10)
    speakers = np.repeat(np.arange(100), 10).tolist()
    own = difference(errors, [0.0] * 1000, [1] * 1000)
    of_speakers = paired_difference(list(errors), [0.0] * 1000, [1] * 1000, groups=speakers)
    assert of_speakers is not None
    assert of_speakers.value == own.value
    wider = of_speakers.standard_error / own.standard_error
    assert wider == pytest.approx(math.sqrt(10), rel=0.05)


def test_one_pair_says_nothing() -> None:
    assert paired_difference([], [], []) is None
    assert paired_difference([1], [2], [4]) is None
    assert paired_difference([1, 0], [2, 0], [4, 4], groups=["a", "a"]) is None


def test_pairs_must_fit_together() -> None:
    with pytest.raises(ValueError, match="must have one value per utterance"):
        paired_difference([1], [1, 2], [1, 2])
    with pytest.raises(ValueError, match="must have one value per utterance"):
        paired_difference([1, 2], [1, 2], [1, 2], groups=["a"])
