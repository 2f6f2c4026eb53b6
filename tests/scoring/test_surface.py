"""The error rates of pairs of weights for people."""

import pytest

from asr.scoring.surface import Point, rate_picture, rate_table

POINTS = [Point(0.0, 0.0, 0.5, 0.1), Point(0.5, 1.0, 0.25, 0.1)]


def test_a_table_names_what_is_counted() -> None:
    lines = rate_table(POINTS, POINTS[1], "phone").split("\n")
    assert lines == [
        "phone error rate in %: weights of the model down, word bonuses across; * the choice",
        "weight\\bonus        0        1",
        "           0   50.00          ",
        "         0.5            25.00*",
        "",
    ]
    assert rate_table(POINTS, POINTS[0], "word").startswith("word error rate in %: ")


def test_a_picture() -> None:
    pytest.importorskip("matplotlib")
    points = [*POINTS, Point(1.0, 0.5, 0.75, 0.1), Point(1.0, 0.0, 0.6, 0.1)]
    picture = rate_picture(points, points[1], greedy_wer=0.5, unit="phone")
    assert picture is not None
    assert picture.startswith(b"\x89PNG")
