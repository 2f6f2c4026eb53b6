"""The Free Spoken Digit Dataset: one spoken digit a clip, 8 kHz, an MNIST for the ear.

Six speakers say each of the ten digits fifty times: 3000 clips, trimmed of silence, half a second
each, `recordings/{digit}_{speaker}_{index}.wav` (or the same as FLAC). The authors' own split is by
index: 0 to 4 are the test, the rest is for training.

There is no published development set, and six speakers are too few to hold any out: indices 5 to 8
of every speaker and digit are dev. So all three sets share their speakers, as the published split
does, and no score here says anything about other people's voices. 42 clips are shorter than
0.2 s: too short for their letters where many frames are stacked.

Licence: CC BY-SA 4.0 (Zohar Jackson and contributors).
"""

import re
from pathlib import Path
from typing import Literal

from asr.data.corpus.prepared import write_splits
from asr.data.corpus.published import Archive, fetch, find_corpus
from asr.data.corpus.recordings import FolderTree, Recording, utterances_of
from asr.errors import DataError, shown

# Made by the site out of the tag, so that no checksum lasts: every name is checked instead.
ARCHIVE = Archive(
    url="https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/v1.0.10.tar.gz",
    max_bytes=100_000_000,
)
CORPUS_FOLDER = "fsdd"  # its name below $ASR_CORPORA
WORDS = ("ZERO", "ONE", "TWO", "THREE", "FOUR", "FIVE", "SIX", "SEVEN", "EIGHT", "NINE")
NUM_SPEAKERS = 6
NUM_TAKES = 50
TEST_TAKES = range(5)
DEV_TAKES = range(5, 9)
NAME = re.compile(r"([0-9])_([a-z]+)_([0-9]+)")
SHARED = "all six speakers are in every set, as in the published split by index"


def prepare(
    corpus: list[Path],
    out: Path,
    *,
    archive: Archive = ARCHIVE,
    num_speakers: int = NUM_SPEAKERS,
    num_takes: int = NUM_TAKES,
) -> None:
    """Write train.jsonl, dev.jsonl and test.jsonl.

    Args:
        corpus: folders that hold the dataset; empty: it is downloaded into `out`.
        out: folder of the manifests.
        archive: where it is published.
        num_speakers: how many there must be.
        num_takes: how often each says each digit.

    Raises:
        DataError: not to be had, incomplete or damaged.
        ResourceError: the disk is too small or not writable.
    """
    if not corpus:
        corpus = [out.absolute() / "corpus"]
        fetch(archive, corpus[0])
    root = find_corpus(corpus, "recordings") / "recordings"
    recordings = read_names(root)
    _check_complete(root, recordings, num_speakers=num_speakers, num_takes=num_takes)
    splits = {}
    for name in ("train", "dev", "test"):
        members = [recording for recording in recordings if set_of(recording.id) == name]
        splits[name] = utterances_of(members, root)
    write_splits(out, splits, shared_speakers=SHARED)


def read_names(root: Path) -> list[Recording]:
    """Every clip; its name says what is spoken, and by whom.

    Raises:
        DataError: a sound file with a name of another form.
    """
    recordings = []
    for path in FolderTree.of(root).audio:
        match = NAME.fullmatch(path.stem)
        if match is None:
            raise DataError(f"{shown(path)}: no clip of the dataset; needs DIGIT_SPEAKER_INDEX")
        digit, speaker, _ = match.groups()
        recordings.append(
            Recording(
                id=path.stem,
                audio=path,
                text=WORDS[int(digit)],
                speaker=speaker,
                source=str(path),
            )
        )
    return recordings


def set_of(name: str) -> Literal["train", "dev", "test"]:
    """The set of a clip, by its index."""
    take = int(name.rsplit("_", 1)[1])
    if take in TEST_TAKES:
        return "test"
    return "dev" if take in DEV_TAKES else "train"


def _check_complete(
    root: Path, recordings: list[Recording], *, num_speakers: int, num_takes: int
) -> None:
    names = {recording.id for recording in recordings}
    speakers = sorted({recording.speaker or "" for recording in recordings})
    expected = {
        f"{digit}_{speaker}_{take}"
        for digit in range(len(WORDS))
        for speaker in speakers
        for take in range(num_takes)
    }
    if len(speakers) != num_speakers or names != expected:
        missing = sorted(expected - names)[:3]
        example = f", missing {', '.join(missing)}" if missing else ""
        raise DataError(
            f"{shown(root)}: {len(names)} clips of {len(speakers)} speakers, needs "
            f"{num_speakers * num_takes * len(WORDS)} of {num_speakers}{example}; download it again"
        )
