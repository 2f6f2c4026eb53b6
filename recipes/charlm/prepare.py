"""Any text, for a language model: a sentence a line, in one file or several, plain or gzip.

    asr prepare recipes/charlm --corpus book.txt
    asr prepare recipes/charlm --corpus folder        # its *.txt and *.txt.gz, by name

Without --corpus, the files in `$ASR_CORPORA/text`. Unicode and white space are normalised; case
stays, and empty lines are left out.

dev and test are blocks of neighbouring lines, spread evenly over the text: single lines would often
repeat what stands beside them in train. A name of a novel still occurs on both sides of a block.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asr.data.corpus.prepared_texts import write_texts
from asr.errors import DataError, shown
from asr.lm.text_lines import read_text_lines

CORPUS_FOLDER = "text"
TAKES_FILES = True
SUFFIXES = ("*.txt", "*.txt.gz")
BLOCK_LINES = 500
MIN_BLOCKS = 20  # fewer lines make shorter blocks
HELD_OUT = 200  # a block of so many is dev, another one test


def prepare(corpus: list[Path], out: Path) -> None:
    """Write train.txt.gz, dev.txt.gz and test.txt.gz.

    Args:
        corpus: text files, and folders of them.
        out: where the texts go.

    Raises:
        DataError: no text, too little of it, or a file that is none.
        ResourceError: the disk is too small or not writable.
    """
    files = text_files(corpus)
    text = read_text_lines(files)
    filled = np.flatnonzero(text.lengths)
    sets = held_out_blocks(len(filled))
    notes = [f"of {', '.join(shown(file) for file in files[:5])}{' …' if files[5:] else ''}"]
    if len(filled) < len(text):
        notes.append(f"{len(text) - len(filled):,} empty lines left out")
    write_texts(
        out,
        {name: (text[index] for index in filled[where].tolist()) for name, where in sets.items()},
        notes=notes,
    )


def text_files(corpus: list[Path]) -> list[Path]:
    """The files of a corpus; of a folder those right in it, by name.

    Raises:
        DataError: there are none.
    """
    if not corpus:
        raise DataError(
            "charlm: no text: give a file or folder with --corpus (a sentence a line, plain or "
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


def held_out_blocks(num_lines: int) -> dict[str, NDArray[np.int64]]:
    """Which lines are train, dev and test.

    Raises:
        DataError: too few lines.
    """
    block_lines = min(BLOCK_LINES, num_lines // MIN_BLOCKS)
    if not block_lines:
        raise DataError(
            f"charlm: {num_lines} lines are too few to hold any out: give {MIN_BLOCKS} or more, a "
            "sentence a line"
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
