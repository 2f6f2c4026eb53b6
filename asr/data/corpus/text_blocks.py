"""The files of a text that somebody gives, and blocks of its lines that are held out.

Blocks of neighbouring lines: single lines would often repeat what stands beside them in train. A
name of a novel still occurs on both sides of a block.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asr.errors import DataError, shown

SUFFIXES = ("*.txt", "*.txt.gz")
BLOCK_LINES = 500
MIN_BLOCKS = 20  # fewer lines make shorter blocks
HELD_OUT = 200  # a block of so many is dev, another one test


def text_files(corpus: Sequence[Path], recipe: str) -> list[Path]:
    """The files of a corpus; of a folder those right in it, by name.

    Args:
        corpus: text files, and folders of them.
        recipe: who needs them, for the message.

    Raises:
        DataError: there are none.
    """
    if not corpus:
        raise DataError(
            f"{recipe}: no text: give a file or folder with --corpus (a sentence a line, plain or "
            "gzip), or put one into $ASR_CORPORA/text"
        )
    files = []
    for path in corpus:
        found = [path]
        if path.is_dir():
            found = sorted(file for suffix in SUFFIXES for file in path.glob(suffix))
        if not found:
            raise DataError(f"{shown(path)}: no *.txt or *.txt.gz in it; give the files themselves")
        files += found
    return files


def held_out_blocks(num_lines: int, recipe: str) -> dict[str, NDArray[np.int64]]:
    """Which lines are train, dev and test: blocks, spread evenly over the text, are held out.

    Raises:
        DataError: too few lines.
    """
    block_lines = min(BLOCK_LINES, num_lines // MIN_BLOCKS)
    if not block_lines:
        raise DataError(
            f"{recipe}: {num_lines} lines are too few to hold any out: give {MIN_BLOCKS} or more, "
            "a sentence a line"
        )
    block = np.arange(num_lines) // block_lines
    num_blocks = int(block[-1]) + 1
    count = max(1, num_blocks // HELD_OUT)
    middle = (np.arange(count) + 0.5) * num_blocks / count
    chosen = {
        "dev": middle.astype(np.int64),
        "test": middle.astype(np.int64) + num_blocks // count // 4,
    }
    sets = {name: np.flatnonzero(np.isin(block, blocks)) for name, blocks in chosen.items()}
    return {"train": np.setdiff1d(np.arange(num_lines), np.concatenate([*sets.values()])), **sets}
