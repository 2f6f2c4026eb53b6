"""Files of a text, and blocks of lines that are held out."""

from pathlib import Path

import numpy as np
import pytest

from asr.data.corpus.text_blocks import held_out_blocks, text_files
from asr.errors import DataError


@pytest.mark.parametrize("num_lines", [20, 39, 999, 10_000, 123_456, 842_381])
def test_blocks_are_apart_and_spread(num_lines: int) -> None:
    sets = held_out_blocks(num_lines, "mine")
    together = np.concatenate(list(sets.values()))
    assert np.array_equal(np.sort(together), np.arange(num_lines))
    for name in ("dev", "test"):
        lines = sets[name]
        share = len(lines) / num_lines
        assert share == pytest.approx(0.005, rel=0.3) or len(lines) <= 500
        breaks = int((np.diff(lines) > 1).sum())
        assert len(lines) // (breaks + 1) == min(500, num_lines // 20), "whole blocks"
    if num_lines > 200_000:
        assert sets["dev"].min() < num_lines / 8
        assert sets["test"].max() > num_lines * 7 / 8


def test_files_and_folders_in_their_order(tmp_path: Path) -> None:
    for name in ("b.txt", "a.txt.gz", "c.pdf"):
        (tmp_path / name).touch()
    given = [tmp_path / "x.text", tmp_path]
    assert text_files(given, "mine") == [given[0], tmp_path / "a.txt.gz", tmp_path / "b.txt"]


def test_no_text(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="mine: no text: give a file or folder with --corpus"):
        text_files([], "mine")
    with pytest.raises(DataError, match=r"no \*\.txt or \*\.txt\.gz in it; give the files"):
        text_files([tmp_path], "mine")
    with pytest.raises(DataError, match="mine: 19 lines are too few to hold any out: give 20"):
        held_out_blocks(19, "mine")
