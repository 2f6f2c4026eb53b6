"""The quickstart's corpus: commands, numbers and names, spoken on the spot by many made voices.

Nothing is downloaded. Sentences come from `grammar.py`, voices and speech from espeak-ng; half of
the utterances are put into a room, all get noise. The same settings give the same corpus. Sentences
and voices of dev and test do not occur in training.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asr.data.corpus.prepared import write_splits
from asr.data.voices import DEV_VARIANTS, TEST_VARIANTS, TRAIN_VARIANTS, voices
from asr.errors import DataError, shown
from asr.made_speech import (
    PlannedUtterance,
    Report,
    Sound,
    assigned,
    check_ours,
    log_progress,
    mark_complete,
    settings_as_read,
    spoken_splits,
)
from asr.storage import text_hash

from .grammar import SLOTS, draw_sentences


@dataclass(frozen=True, kw_only=True)
class CorpusSettings(Sound):
    """What the corpus is made from; another value makes another corpus."""

    num_train: int = 1500
    num_dev: int = 100
    num_test: int = 150
    seed: int = 1


SETTINGS = CorpusSettings()


def prepare(
    corpus: list[Path],
    out: Path,
    *,
    settings: CorpusSettings = SETTINGS,
    report: Report = log_progress,
) -> None:
    """Make wav/, train.jsonl, dev.jsonl and test.jsonl in `out`, which no other process may use.

    A complete corpus of the same settings is kept, one that was interrupted is completed; anything
    else that this recipe made there is made again.

    Args:
        corpus: must be empty: there is nothing to read.
        out: folder of the corpus; about 140 MB.
        settings: sizes and sound.
        report: told after each utterance how many of how many are done.

    Raises:
        DataError: a corpus was given, `out` holds other files, or the voices are not installed.
        ResourceError: the disk is full or not writable.
    """
    if corpus:
        raise DataError(
            f"{shown(corpus[0])}: the quickstart makes its own speech and reads no corpus; "
            "leave out --corpus"
        )
    check_ours(out, "the quickstart")
    identity = _identity(settings)
    splits = spoken_splits(out, plan(settings), settings, identity, report)
    write_splits(out, splits, notes=["speech made by espeak-ng: no real voice is in it"])
    mark_complete(out, identity)


def plan(settings: CorpusSettings) -> dict[str, list[PlannedUtterance]]:
    """Who says what in each of train, dev and test; every sentence occurs once."""
    sets = {  # train last, so that more of it leaves dev and test as they are
        "dev": (settings.num_dev, DEV_VARIANTS),
        "test": (settings.num_test, TEST_VARIANTS),
        "train": (settings.num_train, TRAIN_VARIANTS),
    }
    total = sum(size for size, _ in sets.values())
    sentences = iter(draw_sentences(total, np.random.default_rng(settings.seed)))
    planned = {
        name: assigned(
            [next(sentences) for _ in range(size)],
            voices(variants),
            name=name,
            draws=(settings.seed, number),
        )
        for number, (name, (size, variants)) in enumerate(sets.items())
    }
    return {name: planned[name] for name in ("train", "dev", "test")}


def _identity(settings: CorpusSettings) -> dict[str, object]:
    """What must be the same for a corpus to be the same; as JSON gives it back."""
    sources = (SLOTS, voices(TRAIN_VARIANTS), voices(DEV_VARIANTS), voices(TEST_VARIANTS))
    return {"settings": settings_as_read(settings), "sources": text_hash(repr(sources))}
