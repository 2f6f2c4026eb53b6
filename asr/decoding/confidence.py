"""Confidences that mean what they say: of words at 0.8, four in five are right.

The posterior of a word's weakest label is a good order but no probability. A logistic curve over
its log-odds, fitted on development data, makes one of it and keeps the order.

Reference: Siu and Gish, "Evaluation of word confidence for speech recognition systems", Computer
Speech and Language 13, 1999, for the normalised cross-entropy; Platt 1999 for the curve.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from asr.decoding.hypothesis import Hypothesis
from asr.scoring.alignment import align_units

NEAREST = 1e-4  # confidences are kept this far from 0 and 1 before their odds are taken
PRIOR_STRENGTH = 1.0  # of no change (scale 1, offset 0), in words
NO_CHANGE = np.array([1.0, 0.0])
MOST_STEPS = 100
CONVERGED = 1e-10
SMALLEST_SCALE = 1e-3  # the order of words is kept


@dataclass(frozen=True, slots=True)
class Calibration:
    """A logistic curve over the log-odds of a confidence: `scale` above 0, and `offset`."""

    scale: float = 1.0
    offset: float = 0.0

    def of(self, confidence: float) -> float:
        """The calibrated confidence, in 0 to 1."""
        odds = self.scale * float(_log_odds(np.array([confidence]))[0]) + self.offset
        return 1 / (1 + math.exp(-odds))

    def applied(self, hypothesis: Hypothesis) -> Hypothesis:
        """A hypothesis with calibrated words."""
        words = tuple(w._replace(confidence=self.of(w.confidence)) for w in hypothesis.words)
        return replace(hypothesis, words=words)


def fit_calibration(confidences: Sequence[float], correct: Sequence[bool]) -> Calibration:
    """The curve that makes `correct` most probable, held near no change by a weak prior.

    Args:
        confidences: of words, in 0 to 1.
        correct: whether each was said.
    """
    odds = _log_odds(np.asarray(confidences, dtype=np.float64))
    right = np.asarray(correct, dtype=np.float64)
    design = np.stack([odds, np.ones_like(odds)], axis=1)

    def loss(curve: NDArray[np.float64]) -> float:
        values = design @ curve
        prior = PRIOR_STRENGTH / 2 * float(((curve - NO_CHANGE) ** 2).sum())
        return float((np.logaddexp(0, values) - right * values).sum()) + prior

    curve: NDArray[np.float64] = NO_CHANGE
    for _ in range(MOST_STEPS):  # Newton's method on a convex function
        probs = 1 / (1 + np.exp(-design @ curve))
        gradient = design.T @ (right - probs) - PRIOR_STRENGTH * (curve - NO_CHANGE)
        weights = probs * (1 - probs)
        curvature = (design * weights[:, None]).T @ design + PRIOR_STRENGTH * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        if np.abs(step).max() < CONVERGED:
            break
        while loss(curve + step) > loss(curve) and np.abs(step).max() >= CONVERGED:
            step = step / 2  # far from the minimum a whole step leads beyond it, and back, for ever
        curve = curve + step
    return Calibration(max(SMALLEST_SCALE, float(curve[0])), float(curve[1]))


def normalised_cross_entropy(confidences: Sequence[float], correct: Sequence[bool]) -> float:
    """How much of the uncertainty about words their confidences remove: 1 all, 0 none, below: more.

    NaN when all words are right, or none: there is nothing to be uncertain of.
    """
    right = np.asarray(correct, dtype=bool)
    share = right.mean() if len(right) else 0.0
    if share in (0.0, 1.0):
        return math.nan
    most = -len(right) * (share * math.log(share) + (1 - share) * math.log(1 - share))
    values = np.clip(np.asarray(confidences, dtype=np.float64), NEAREST, 1 - NEAREST)
    left = -float(np.log(np.where(right, values, 1 - values)).sum())
    return (most - left) / most


def judged(reference: Sequence[str], hypothesis: Hypothesis) -> list[tuple[float, bool]]:
    """The confidence of each word of a hypothesis, and whether an alignment finds it right."""
    edits = align_units(reference, [word.word for word in hypothesis.words])
    right = [edit.kind == "correct" for edit in edits if edit.hypothesis is not None]
    return list(zip((word.confidence for word in hypothesis.words), right, strict=True))


def _log_odds(confidences: NDArray[np.float64]) -> NDArray[np.float64]:
    clipped = np.clip(confidences, NEAREST, 1 - NEAREST)
    odds: NDArray[np.float64] = np.log(clipped) - np.log1p(-clipped)
    return odds
