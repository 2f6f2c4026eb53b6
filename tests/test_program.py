"""Programs in a recipe's folder, and their neighbours."""

from pathlib import Path

import pytest

from asr.errors import ConfigError
from asr.program import load_program


def folder(root: Path, word: str) -> Path:
    place = root / "mine"
    place.mkdir(parents=True)
    (place / "words.py").write_text(f"WORD = {word!r}\n", encoding="utf-8")
    program = "from .words import WORD\n\n\ndef run(corpus):\n    return WORD\n"
    (place / "job.py").write_text(program, encoding="utf-8")
    return place


def test_a_program_finds_the_neighbours_of_its_own_folder(tmp_path: Path) -> None:
    here, there = folder(tmp_path / "a", "here"), folder(tmp_path / "b", "there")
    for place, word in ((here, "here"), (there, "there"), (here, "here")):
        program = load_program(place, "job", "run(corpus)", "write one")
        assert program.run([]) == word
        assert program.__name__ == "recipes.mine.job"


def test_programs_of_one_folder_share_their_neighbours(tmp_path: Path) -> None:
    place = folder(tmp_path, "here")
    first = load_program(place, "job", "run(corpus)", "write one")
    first.WORD = "changed"  # of this module alone: a program is run anew each time
    assert load_program(place, "job", "run(corpus)", "write one").run([]) == "here"


def test_what_cannot_be_run(tmp_path: Path) -> None:
    place = folder(tmp_path, "here")
    with pytest.raises(ConfigError, match=r"mine: has no task\.py; write one"):
        load_program(place, "task", "build(config)", "write one")
    with pytest.raises(ConfigError, match=r"job\.py: has no function walk\(corpus\)"):
        load_program(place, "job", "walk(corpus)", "write one")
