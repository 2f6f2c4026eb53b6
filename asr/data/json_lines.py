"""Files with one JSON object a line, read strictly: what manifests and n-best lists share."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from asr.errors import shown

MAX_SHOWN = 60  # characters of a value in a message


class LineProblem(Exception):  # noqa: N818 - whoever reads the file names it and the line
    """What is wrong with one line."""


def json_object(line: str, *, allow_nan: bool = False) -> dict[str, Any]:
    """The JSON object in a line, in which no key stands twice.

    Args:
        line: without its end.
        allow_nan: leave NaN and infinity to whoever checks the numbers, and can say whose they are.

    Raises:
        LineProblem: there is none.
    """
    constant = None if allow_nan else _no_constant
    try:
        entry = json.loads(line, object_pairs_hook=_unique_keys, parse_constant=constant)
    except json.JSONDecodeError as error:
        raise LineProblem(f"not JSON: {error.msg} at character {error.pos + 1}") from error
    except (ValueError, RecursionError) as error:  # thousands of digits or of brackets
        raise LineProblem("a number or a nesting that is too long") from error
    if not isinstance(entry, dict):
        raise LineProblem(f"must be an object with keys, got {brief(entry)}")
    return entry


def json_lines(entries: Iterable[Mapping[str, Any]]) -> str:
    """Objects as lines of a file."""
    return "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries)


def text_problem(key: str, value: Any) -> str | None:
    """Why the value of a key is no text that can be written as UTF-8; None: it is one."""
    if not isinstance(value, str):
        return f"'{key}' must be text, got {brief(value)}"
    return None if encodes(value) else f"'{key}' holds half a surrogate pair"


def encodes(text: str, errors: str = "strict") -> bool:
    """Whether a text can be written as UTF-8."""
    try:
        text.encode("utf-8", errors)
    except UnicodeEncodeError:
        return False
    return True


def brief(value: Any) -> str:
    """A value as JSON, cut short, for a message."""
    text = shown(json.dumps(value, ensure_ascii=False))
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 3] + "..."


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entry = dict(pairs)
    if len(entry) < len(pairs):
        repeated = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise LineProblem(f"'{shown(repeated)}' is given twice")
    return entry


def _no_constant(name: str) -> Any:
    raise LineProblem(f"{name} is not a number that JSON has")
