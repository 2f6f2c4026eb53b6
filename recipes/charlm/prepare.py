"""Any text, for a language model: a sentence a line, in one file or several, plain or gzip.

    asr prepare recipes/charlm --corpus book.txt
    asr prepare recipes/charlm --corpus folder        # its *.txt and *.txt.gz, by name

Without --corpus, the files in `$ASR_CORPORA/text`. Unicode and white space are normalised; case
stays, and empty lines are left out. dev and test are blocks of neighbouring lines.
"""

from pathlib import Path

import numpy as np

from asr.data.corpus.prepared_texts import write_texts
from asr.data.corpus.text_blocks import held_out_blocks, text_files
from asr.errors import shown
from asr.lm.text_lines import read_text_lines

CORPUS_FOLDER = "text"
TAKES_FILES = True


def prepare(corpus: list[Path], out: Path) -> None:
    """Write train.txt.gz, dev.txt.gz and test.txt.gz.

    Args:
        corpus: text files, and folders of them.
        out: where the texts go.

    Raises:
        DataError: no text, too little of it, or a file that is none.
        ResourceError: the disk is too small or not writable.
    """
    files = text_files(corpus, "charlm")
    text = read_text_lines(files)
    filled = np.flatnonzero(text.lengths)
    sets = held_out_blocks(len(filled), "charlm")
    notes = [f"of {', '.join(shown(file) for file in files[:5])}{' …' if files[5:] else ''}"]
    if len(filled) < len(text):
        notes.append(f"{len(text) - len(filled):,} empty lines left out")
    write_texts(
        out,
        {name: (text[index] for index in filled[where].tolist()) for name, where in sets.items()},
        notes=notes,
    )
