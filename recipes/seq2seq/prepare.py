"""Pairs of texts: the CMU pronouncing dictionary, parallel texts, or made-up copies.

    asr prepare recipes/seq2seq --corpus cmudict          # words and their pronunciations
    asr prepare recipes/seq2seq/wmt14.toml --corpus DIR   # NAME.en and NAME.fr
    asr prepare recipes/seq2seq/toy.toml                  # made up; mirror.toml likewise

Each set is `NAME.txt.gz`, a line "source<TAB>target".
"""

from pathlib import Path

from asr.data.corpus.prepared_texts import write_texts

from .cmudict import dictionary_sets, find_dictionary
from .made_pairs import made_pairs
from .parallel import SETS, find_parallel

CORPUS_FOLDER = {"recipe": "text/cmudict", "wmt14": "wmt14"}  # below $ASR_CORPORA
TAKES_FILES = True
MADE = {"toy": False, "mirror": True}  # variants that need nothing → whether targets are mirrored


def prepare(corpus: list[Path], out: Path, *, variant: str = "recipe") -> None:
    """Write train.txt.gz, dev.txt.gz and test.txt.gz.

    Args:
        corpus: the dictionary, or folders of parallel texts for "wmt14".
        out: folder of the pairs.
        variant: which recipe they are for.

    Raises:
        DataError: no corpus, or one that cannot be used.
        ResourceError: the disk is too small or not writable.
    """
    if variant in MADE:
        what = "reversals" if MADE[variant] else "copies"
        made = made_pairs(mirrored=MADE[variant])
        write_texts(out, made, notes=[f"made up: {what} of random symbols"])
    elif variant == "wmt14":
        texts = find_parallel(corpus)
        # It reads the notes after the lines, so that they tell what was left out.
        write_texts(out, {name: texts.lines(name) for name in SETS}, notes=texts.notes)
    else:
        path = find_dictionary(corpus)
        notes = ["the CMU pronouncing dictionary without stress, split by word"]
        write_texts(out, dictionary_sets(path), notes=notes)
