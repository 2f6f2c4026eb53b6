"""JSON lines: what is no object in a line is refused, and shown shortly."""

import math
import re

import pytest

from asr.data.json_lines import LineProblem, brief, encodes, json_lines, json_object, text_problem


def test_what_is_written_is_read() -> None:
    entries = [{"id": "ü", "n": [1, 2.5, None]}, {}]
    text = json_lines(entries)
    assert text.startswith('{"id": "ü"'), "readable, not escaped"
    assert [json_object(line) for line in text.split("\n")[:-1]] == entries


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "not JSON: Expecting value at character 1"),
        ('{"a": 1} x', "not JSON: Extra data at character 10"),
        ('{"a": {"b": 1, "b": 2}}', "'b' is given twice"),
        ('{"a": NaN}', "NaN is not a number that JSON has"),
        ('{"a": -Infinity}', "-Infinity is not a number that JSON has"),
        ("[1]", "must be an object with keys, got [1]"),
        ("1" + "0" * 5000, "a number or a nesting that is too long"),
        ("[" * 100_000, "a number or a nesting that is too long"),
    ],
)
def test_what_is_no_object(line: str, message: str) -> None:
    with pytest.raises(LineProblem, match=re.escape(message)):
        json_object(line)


def test_numbers_that_json_has_not_may_be_left_to_others() -> None:
    assert math.isnan(json_object('{"a": NaN}', allow_nan=True)["a"])


def test_values_in_messages() -> None:
    assert brief({"a": "ü\n"}) == '{"a": "ü\\n"}'
    assert brief("a" * 100) == '"' + "a" * 56 + "..."
    assert text_problem("text", 3) == "'text' must be text, got 3"
    assert text_problem("text", "\ud800") == "'text' holds half a surrogate pair"
    assert text_problem("text", "ü") is None
    assert encodes("\udc80", "surrogateescape")
    assert not encodes("\udc80")
