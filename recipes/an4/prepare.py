"""CMU AN4, the "census" corpus of Carnegie Mellon University, recorded about 1991.

People spell names, addresses and telephone numbers, and say commands such as RUBOUT and ERASE: 101
different words, close microphone, 16 kHz. 74 speakers train with 948 utterances (43 minutes), 10
others are the test with 130 (6 minutes). An utterance lasts about three seconds, which makes AN4
the smallest corpus on which a recogniser has something to learn, and a whole training minutes.

The archive holds NIST SPHERE files; copies of it as FLAC or WAV, in the same folders, do as well:

    etc/an4_train.fileids           an4_clstk/fash/an251-fash-b
    etc/an4_train.transcription     <s> YES </s> (an251-fash-b)
    wav/an4_clstk/fash/an251-fash-b.sph

There is no published development set: 7 of the training speakers are held out, always the same.
Licence: free for any purpose, BSD-style (Carnegie Mellon University).
"""

import re
from collections.abc import Mapping
from pathlib import Path

from asr.data.corpus.prepared import write_splits
from asr.data.corpus.published import Archive, check_counts, fetch, find_corpus
from asr.data.corpus.recordings import FolderTree, Recording, utterances_of
from asr.data.corpus.splits import hold_out_speakers
from asr.data.manifest import Utterance
from asr.data.text import normalize_text, read_lines
from asr.errors import DataError, shown

# No checksum of it was ever published: lists, transcripts and counts are checked instead.
ARCHIVE = Archive(
    url="http://www.speech.cs.cmu.edu/databases/an4/an4_sphere.tar.gz",
    max_bytes=300_000_000,
)
COUNTS = {"train": 948, "test": 130}
DEV_SPEAKERS = 7
TRANSCRIPT = re.compile(r"(.*)\(([^ ()]+)\)")


def prepare(
    corpus: list[Path],
    out: Path,
    *,
    archive: Archive = ARCHIVE,
    counts: Mapping[str, int] = COUNTS,
    dev_speakers: int = DEV_SPEAKERS,
) -> None:
    """Write train.jsonl, dev.jsonl and test.jsonl.

    Args:
        corpus: folders that hold AN4; empty: it is downloaded into `out`.
        out: folder of the manifests.
        archive: where it is published.
        counts: utterances that train (before dev is taken out) and test must have.
        dev_speakers: how many training speakers are held out.

    Raises:
        DataError: not to be had, incomplete or damaged.
        ResourceError: the disk is too small or not writable.
    """
    if not corpus:
        corpus = [out.absolute() / "corpus"]
        fetch(archive, corpus[0])
    root = find_corpus(corpus, "etc/an4_train.transcription")
    train, test = read_set(root, "train"), read_set(root, "test")
    check_counts(root, {"train": len(train), "test": len(test)}, counts)
    sets = hold_out_speakers(train, number=dev_speakers)
    write_splits(out, {"train": sets.kept, "dev": sets.held_out, "test": test})


def read_set(root: Path, name: str) -> list[Utterance]:
    """The utterances that the lists of one set name, in their order.

    Raises:
        DataError: lists that do not fit each other, recordings that are missing or unreadable.
    """
    texts = read_transcripts(root / "etc" / f"an4_{name}.transcription")
    listing = root / "etc" / f"an4_{name}.fileids"
    tree = FolderTree.of(root / "wav")
    files = {tree.name_of(path): path for path in tree.audio}
    recordings = []
    for number, line in read_lines(listing):
        place = normalize_text(line)
        if place.count("/") < 2:
            raise DataError(f"{shown(listing)}:{number}: needs: FOLDER/SPEAKER/UTTERANCE")
        _, speaker, identifier = place.rsplit("/", 2)
        recordings.append(
            Recording(
                id=identifier,
                audio=files.get(place, root / "wav" / f"{place}.sph"),
                text=texts.pop(identifier, ""),
                speaker=speaker,
                source=f"{listing}:{number}",
            )
        )
    if texts:
        raise DataError(
            f"{shown(listing)}: lacks {len(texts)} utterances that have a transcript, such as "
            f"{shown(next(iter(texts)))}; download the corpus again"
        )
    return utterances_of(recordings, root)


def read_transcripts(path: Path) -> dict[str, str]:
    """Utterance → words, without the marks of beginning and end.

    Raises:
        DataError: a line of another form.
    """
    texts = {}
    for number, line in read_lines(path):
        match = TRANSCRIPT.fullmatch(normalize_text(line))
        if match is None:
            raise DataError(f"{shown(path)}:{number}: needs: WORDS (UTTERANCE)")
        words, identifier = match.groups()
        texts[identifier] = normalize_text(words.replace("<s>", "").replace("</s>", ""))
    return texts
