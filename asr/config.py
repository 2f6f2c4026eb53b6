"""The base of every config class, and how a mapping from a file becomes one.

Config classes stand beside the component that they configure. Here is what they share: strict
types, unknown keys refused, NaN and infinity refused, and an error that lists *all* problems, each
with its key, what came and what is needed. Nothing in a file can name code.
"""

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from asr.errors import ConfigError, shown

MAX_TOML_BYTES = 16 * 1024  # tomllib is quadratic in the dots of a key: a small cap bounds it
MAX_KEY_DEPTH = 8


class Config(BaseModel):
    """A frozen, strictly typed section of a recipe."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


C = TypeVar("C", bound=Config)


def read_toml(path: Path) -> dict[str, Any]:
    """The mapping in a TOML file.

    Raises:
        ConfigError: the file is missing, larger than 16 kB, not UTF-8 or not TOML.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{shown(path)}: cannot be read: {error.strerror}") from error
    if len(data) > MAX_TOML_BYTES:
        raise ConfigError(
            f"{shown(path)}: {len(data)} bytes; a recipe has at most {MAX_TOML_BYTES}. "
            "Is this a recipe?"
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ConfigError(f"{shown(path)}: line {line} is not UTF-8; save it as UTF-8") from error
    return parse_toml(text, shown(path))


def parse_toml(text: str, source: str) -> dict[str, Any]:
    """The mapping in TOML text; `source` names it in errors.

    Raises:
        ConfigError: not TOML, or keys nested deeper than 8.
    """
    for number, line in enumerate(text.split("\n"), start=1):
        if line.split("=", 1)[0].count(".") > MAX_KEY_DEPTH:
            raise ConfigError(f"{source}: line {number}: a key with more than {MAX_KEY_DEPTH} dots")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{source}: not valid TOML: {error}") from error
    except (RecursionError, ValueError) as error:
        raise ConfigError(f"{source}: nested too deeply or a number too long for TOML") from error


def parse(config: type[C], mapping: Mapping[str, Any], source: str) -> C:
    """`mapping` checked and turned into `config`.

    Raises:
        ConfigError: every problem, one a line, each beginning with `source`.
    """
    try:
        return config.model_validate(mapping)
    except ValidationError as error:
        problems = [_described(config, problem) for problem in error.errors()]
        raise ConfigError("\n".join(f"{source}: {problem}" for problem in problems)) from error


def _described(config: type[Config], problem: ErrorDetails) -> str:
    """One problem as a sentence with the key, what came, and what is needed."""
    kind, value = problem["type"], problem["input"]
    path = _without_union_tags(config, problem["loc"])
    key = ".".join(path)
    if kind == "extra_forbidden":
        known = _known_keys(config, problem["loc"][:-1])
        near = difflib.get_close_matches(path[-1], known, n=1)
        known_keys = ", ".join(sorted(known)) or "no keys"
        hint = f"did you mean '{near[0]}'?" if near else f"known here: {known_keys}"
        return f"unknown key '{key}'; {hint}"
    if kind == "missing":
        return f"'{key}' is missing; it is needed"
    if kind == "union_tag_not_found":
        choices = ", ".join(sorted(_union_choices(config, problem["loc"])))
        return f"'{key}.name' is missing; choose one of {choices}"
    if kind == "union_tag_invalid":
        context = problem.get("ctx", {})
        expected = context["expected_tags"]
        return f"'{key}.name' must be one of {expected}, got '{context['tag']}'"
    need = problem["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    return f"'{key}' must be {need}, got {_brief(value)}"


def _brief(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _without_union_tags(config: type[Config], location: tuple[int | str, ...]) -> list[str]:
    """The key as the user wrote it, without the tags of chosen union members."""
    path: list[str] = []
    here: Any = config
    for part in location:
        members = _members(here)
        if len(members) > 1 and part in _tags(members):
            here = _tags(members)[str(part)]
            continue
        path.append(str(part))
        here = _field(members, part)
    return path


def _known_keys(config: type[Config], location: tuple[int | str, ...]) -> list[str]:
    here: Any = config
    for part in location:
        members = _members(here)
        tagged = _tags(members)
        here = tagged[str(part)] if part in tagged and len(members) > 1 else _field(members, part)
    return [name for member in _members(here) for name in member.model_fields]


def _union_choices(config: type[Config], location: tuple[int | str, ...]) -> list[str]:
    here: Any = config
    for part in location:
        here = _field(_members(here), part)
    return list(_tags(_members(here)))


def _members(annotation: Any) -> list[type[Config]]:
    """The config classes that an annotation allows (one, or those of a union)."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _members(get_args(annotation)[0])
    if origin in (Union, UnionType, list, dict):
        return [member for inner in get_args(annotation) for member in _members(inner)]
    if isinstance(annotation, type) and issubclass(annotation, Config):
        return [annotation]
    return []


def _tags(members: list[type[Config]]) -> dict[str, type[Config]]:
    """`name` → member, for the members of a discriminated union."""
    tags: dict[str, type[Config]] = {}
    for member in members:
        field = member.model_fields.get("name")
        for value in get_args(field.annotation) if field else ():
            tags[str(value)] = member
    return tags


def _field(members: list[type[Config]], part: int | str) -> Any:
    """The annotation of a field; a list index stays where it is."""
    if isinstance(part, int):
        return members[0] if members else None
    for member in members:
        if part in member.model_fields:
            return member.model_fields[part].annotation
    return None
