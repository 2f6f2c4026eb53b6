"""The Wall Street Journal corpus (WSJ0 and WSJ1), read texts of the newspaper, recorded in 1991-93.

It needs a licence of the Linguistic Data Consortium: nothing of it is downloaded. The discs, in
whatever layout (`discs.py`), become the sets of Graves & Jaitly (2014):

    train.jsonl        si284: 37 416 utterances, 81 hours; its 7138 of WSJ0 are
    train-si84.jsonl   si84, 14 hours, a second training set
    dev.jsonl          dev93: the 503 utterances of the list h1_p0
    test.jsonl         eval92: the 333 of si_et_20, without verbalised punctuation

    lm.txt.gz          the text for language models, where the discs have it (`lm_text.py`)
    dictionary.txt     146 000 words, the 20 000 of the corpus and the most frequent others

What the lists name must be there, recording and transcript (`transcripts.py`), and as many as
everybody has; else the preparation stops and says what is missing.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from asr.data.corpus.prepared import write_splits
from asr.data.corpus.recordings import Recording, utterances_of
from asr.errors import DataError

from .discs import Discs, Entry, find_recordings, read_lists
from .lm_text import find_lm_text, write_language_data
from .transcripts import read_transcripts

log = logging.getLogger(__name__)

LICENCE = (
    "wsj: the Wall Street Journal corpus needs a licence of the Linguistic Data Consortium "
    "(LDC93S6A or LDC93S6B, and LDC94S13A or LDC94S13B) and is not downloaded; give the folders of "
    "its discs with --corpus DIR (as often as needed), or put them into $ASR_CORPORA/wsj"
)
_WSJ0_TRAIN = "wsj0/doc/indices/train/tr_s_wv1.ndx"
LISTS = {
    "si84": (_WSJ0_TRAIN,),
    "si284": (_WSJ0_TRAIN, "wsj1/doc/indices/si_tr_s.ndx"),
    "dev93": ("wsj1/doc/indices/h1_p0.ndx",),
    "eval92": ("wsj0/doc/indices/test/nvp/si_et_20.ndx",),
}
DISCS_OF_LISTS = "wsj0's are on disc 11-13.1, wsj1's on 13-34.1"
COUNTS = {"si84": 7138, "si284": 37_416, "dev93": 503, "eval92": 333}
# Listed for this disc, but not part of si84 as anybody uses it.
LEFT_OUT = ("11_2_1", "wsj0/si_tr_s/401/")
SPEAKER_CHARACTERS = 3


def prepare(corpus: list[Path], out: Path, *, counts: Mapping[str, int] = COUNTS) -> None:
    """Write the manifests of all sets, and lm.txt.gz and dictionary.txt where the discs have text.

    Args:
        corpus: folders that hold the discs, in any layout.
        out: folder of the manifests.
        counts: utterances that each set must have.

    Raises:
        DataError: no corpus, lists, recordings or transcripts that are missing, other counts, or
            files that are damaged.
        ResourceError: the disk is too small or not writable.
    """
    if not corpus:
        raise DataError(LICENCE)
    discs = Discs.of(corpus)
    sets, notes = without_left_out(read_lists(discs, LISTS, DISCS_OF_LISTS))
    check_list_counts(discs, sets, counts)
    entries = [entry for name in ("si284", "dev93", "eval92") for entry in sets[name]]
    audio = find_recordings(discs, entries)
    transcripts = read_transcripts(discs, entries)
    lm_files = find_lm_text(discs)
    names = {"train": "si284", "dev": "dev93", "test": "eval92"}
    splits = {}
    for name, of_corpus in names.items():
        log.info("measuring %s recordings for %s", f"{len(sets[of_corpus]):,}", name)
        recordings = recordings_of(sets[of_corpus], audio, transcripts.texts)
        splits[name] = utterances_of(recordings, corpus[0])
    si84 = {entry.id for entry in sets["si84"]}
    splits["train-si84"] = [entry for entry in splits["train"] if entry.id in si84]
    notes += [*transcripts.notes, *write_language_data(discs, lm_files, out)]
    write_splits(out, splits, notes=notes)


def without_left_out(
    sets: Mapping[str, Sequence[Entry]],
) -> tuple[dict[str, list[Entry]], list[str]]:
    """The sets without what is listed though nobody uses it, and a note that says so."""
    disc, folder = LEFT_OUT
    kept = {
        name: [e for e in entries if not (e.disc == disc and e.name.startswith(folder))]
        for name, entries in sets.items()
    }
    number = len(sets["si84"]) - len(kept["si84"])
    note = f"si84 without the {number} utterances that its list has of speaker 401 on disc 11-2.1"
    return kept, [note] if number else []


def check_list_counts(
    discs: Discs, sets: Mapping[str, Sequence[Entry]], counts: Mapping[str, int]
) -> None:
    """Return when the lists name as many utterances as everybody has.

    Raises:
        DataError: the sets that have another number.
    """
    wrong = [
        f"{name} has {len(sets[name])} instead of {count}"
        for name, count in counts.items()
        if len(sets[name]) != count
    ]
    if wrong:
        lists = ", ".join(dict.fromkeys(key for name in counts for key in LISTS[name]))
        raise DataError(
            f"{discs.place}: {', '.join(wrong)} utterances in the lists ({lists}); they are cut "
            f"off or of another version, copy them again ({DISCS_OF_LISTS})"
        )


def recordings_of(
    entries: Sequence[Entry], audio: Mapping[str, Path], texts: Mapping[str, str]
) -> list[Recording]:
    """The entries of a list that have a text, with it and their sound, in its order."""
    return [
        Recording(
            id=entry.id,
            audio=audio[entry.name],
            text=texts[entry.id],
            speaker=entry.id[:SPEAKER_CHARACTERS],
            source=entry.source,
        )
        for entry in entries
        if entry.id in texts
    ]
