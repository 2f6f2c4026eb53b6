import math

import numpy as np
import pytest

from asr.decoding.confidence import (
    Calibration,
    fit_calibration,
    judged,
    normalised_cross_entropy,
)
from asr.decoding.hypothesis import Hypothesis, Word


def drawn(scale: float, offset: float, count: int) -> tuple[list[float], list[bool]]:
    """Confidences, and words that are right as often as the curve says."""
    random = np.random.default_rng(0)
    confidences = random.uniform(0.02, 0.98, size=count)
    curve = Calibration(scale, offset)
    right = [bool(random.random() < curve.of(c)) for c in confidences]
    return confidences.tolist(), right


@pytest.mark.parametrize(("scale", "offset"), [(1.0, 0.0), (0.4, 0.5), (2.0, -1.0)])
def test_the_curve_that_made_the_data_is_found(scale: float, offset: float) -> None:
    found = fit_calibration(*drawn(scale, offset, 40_000))
    assert found.scale == pytest.approx(scale, abs=0.06)
    assert found.offset == pytest.approx(offset, abs=0.06)


def test_it_is_the_best_of_all_curves_near_it() -> None:
    confidences, right = drawn(0.5, 1.0, 300)
    best = fit_calibration(confidences, right)

    def penalised(curve: Calibration) -> float:
        values = np.array([curve.of(c) for c in confidences])
        likely = np.log(np.where(right, values, 1 - values)).sum()
        return float(likely - 0.5 * ((curve.scale - 1) ** 2 + curve.offset**2))

    for change in (-0.01, 0.01):
        assert penalised(best) > penalised(Calibration(best.scale + change, best.offset))
        assert penalised(best) > penalised(Calibration(best.scale, best.offset + change))


@pytest.mark.parametrize("share", [0.2, 0.46, 0.9])
def test_confidences_that_say_little_but_are_very_sure_do_no_harm(share: float) -> None:
    """Far from the minimum a whole step of Newton's method leads to and fro."""
    random = np.random.default_rng(1)
    odds = random.normal(0, 4, size=1300)
    right = (random.random(1300) < share + 0.01 * odds).tolist()
    confidences = (1 / (1 + np.exp(-odds))).tolist()
    best = fit_calibration(confidences, right)
    calibrated = [best.of(confidence) for confidence in confidences]
    assert normalised_cross_entropy(confidences, right) < 0
    assert normalised_cross_entropy(calibrated, right) > 0
    assert best.scale < 0.3


def test_it_keeps_the_order_and_the_range() -> None:
    for curve in (Calibration(0.3, -2.0), fit_calibration([0.9, 0.1], [False, True])):
        values = [curve.of(c) for c in (0.0, 0.001, 0.3, 0.9, 1.0)]
        assert values == sorted(values)
        assert all(0 < value < 1 for value in values)


def test_nothing_known_changes_nothing() -> None:
    assert fit_calibration([], []) == Calibration(1.0, 0.0)
    assert Calibration().of(0.3) == pytest.approx(0.3)
    finite = fit_calibration([0.5] * 50, [True] * 50)
    assert math.isfinite(finite.scale)
    assert 1 < finite.offset < 10


def test_cross_entropy_of_closed_forms() -> None:
    right = [True, True, False, True]
    assert normalised_cross_entropy([0.75] * 4, right) == pytest.approx(0.0)
    assert normalised_cross_entropy([1.0, 1.0, 0.0, 1.0], right) == pytest.approx(1.0, abs=1e-3)
    assert normalised_cross_entropy([0.0, 0.0, 1.0, 0.0], right) < -1
    assert math.isnan(normalised_cross_entropy([0.5, 0.5], [True, True]))
    assert math.isnan(normalised_cross_entropy([], []))


def test_words_are_judged_by_their_alignment() -> None:
    words = tuple(Word(w, 0.0, 1.0, c) for w, c in (("A", 0.9), ("X", 0.4), ("C", 0.8), ("D", 0.1)))
    hypothesis = Hypothesis((), 0.0, "A X C D", words, 0.0)
    assert judged(["A", "B", "C"], hypothesis) == [
        (0.9, True),
        (0.4, False),
        (0.8, True),
        (0.1, False),
    ]
    assert judged(["A"], Hypothesis((), 0.0, "", (), 0.0)) == []
    calibrated = Calibration(1.0, 1.0).applied(hypothesis)
    assert [w.word for w in calibrated.words] == ["A", "X", "C", "D"]
    assert calibrated.words[0].confidence > 0.9
