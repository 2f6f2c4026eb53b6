"""Strict sections, all problems at once, and nothing that can run code."""

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field

from asr.config import Config, parse, parse_toml, read_toml
from asr.errors import ConfigError


class Small(Config):
    name: Literal["small"]
    size: int = Field(default=3, ge=1)


class Large(Config):
    name: Literal["large"]
    depth: float = 0.5


class Whole(Config):
    seed: int = 1
    title: str
    part: Annotated[Small | Large, Field(discriminator="name")] = Small(name="small")
    parts: list[int] = Field(default=[])


def problems(mapping: dict[str, object]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(Whole, mapping, "x.toml")
    return str(caught.value).split("\n")


def test_a_good_mapping_is_parsed_and_frozen() -> None:
    whole = parse(Whole, {"title": "t", "part": {"name": "large", "depth": 2}}, "x.toml")
    assert isinstance(whole.part, Large)
    assert whole.part.depth == 2.0
    with pytest.raises(ValueError, match="frozen"):
        whole.seed = 2  # type: ignore[misc]


def test_all_problems_come_at_once() -> None:
    found = problems({"sede": 2, "part": {"name": "small", "sise": 1, "size": 0}, "parts": ["a"]})
    assert found == [
        "x.toml: 'title' is missing; it is needed",
        "x.toml: 'part.size' must be greater than or equal to 1, got 0",
        "x.toml: unknown key 'part.sise'; did you mean 'size'?",
        "x.toml: 'parts.0' must be a valid integer, got 'a'",
        "x.toml: unknown key 'sede'; did you mean 'seed'?",
    ]


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"title": 3}, "'title' must be a valid string, got 3"),
        ({"title": "t", "seed": 3.5}, "'seed' must be a valid integer, got 3.5"),
        ({"title": "t", "seed": True}, "'seed' must be a valid integer, got True"),
        ({"title": "t", "seed": "3"}, "'seed' must be a valid integer, got '3'"),
        (
            {"title": "t", "part": {"name": "large", "depth": float("nan")}},
            "'part.depth' must be a finite number, got nan",
        ),
        (
            {"title": "t", "part": {"name": "middle"}},
            "'part.name' must be one of 'small', 'large', got 'middle'",
        ),
        ({"title": "t", "part": {}}, "'part.name' is missing; choose one of large, small"),
        (
            {"title": "t", "part": {"name": "large", "zzz": 1}},
            "unknown key 'part.zzz'; known here: depth, name",
        ),
        (
            {"title": "t", "_target_": "os.system"},
            "unknown key '_target_'; known here: part, parts, seed, title",
        ),
        (
            {"title": "t" * 99, "seed": "s" * 99},
            "'seed' must be a valid integer, got '" + "s" * 56 + "...",
        ),
    ],
)
def test_messages(mapping: dict[str, object], message: str) -> None:
    assert problems(mapping) == [f"x.toml: {message}"]


def test_reading_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes(b"\xef\xbb\xbfseed = 3\r\n[part]\nname = 'small'\n")
    assert read_toml(path) == {"seed": 3, "part": {"name": "small"}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a = \xff\n", "line 1 is not UTF-8; save it as UTF-8"),
        (b"a = 1\nb = = 2\n", r"not valid TOML: Invalid value \(at line 2"),
        (b"a = 1\x00\n", "not valid TOML"),
        (b"a" + b".a" * 4000 + b" = 1\n", "line 1: a key with more than 8 dots"),
        (b"[" + b".".join([b"a"] * 3000) + b"]\n", "line 1: a key with more than 8 dots"),
        (b"a = " + b"[" * 9000, "nested too deeply"),
        (b"a = " + b"9" * 9000, "a number too long"),
        (b"#" * 17000, "17000 bytes; a recipe has at most 16384"),
    ],
)
def test_bad_files(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        read_toml(path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read: No such file"):
        read_toml(tmp_path / "none.toml")


def test_source_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^--set: not valid TOML"):
        parse_toml("a = ", "--set")
