"""speechocean762: English read by Mandarin speakers, made to train pronunciation scoring.

250 people, half of them children, read 20 sentences each: 5000 utterances of four seconds, 16 kHz.
The text is what they were asked to read; some misread it. The corpus is known for the marks that
five experts gave to each sentence, word and phone; these are not used here. Two Kaldi folders, with
paths from the folder above them:

    train/wav.scp     000010011  WAVE/SPEAKER0001/000010011.WAV
    train/text        000010011  WE CALL IT BEAR
    train/utt2spk     000010011  0001

The published split has 125 speakers and 2500 utterances on each side, none in common. There is no
development set: 12 of the training speakers are held out, always the same.

Licence: free for commercial and non-commercial use (Speechocean; Zhang et al., Interspeech 2021).
"""

from collections.abc import Mapping
from pathlib import Path

from asr.data.corpus.importers import import_kaldi
from asr.data.corpus.prepared import write_splits
from asr.data.corpus.published import Archive, check_counts, fetch, find_corpus
from asr.data.corpus.splits import hold_out_speakers

# No checksum of it was ever published: lists, transcripts and counts are checked instead.
ARCHIVE = Archive(
    url="https://www.openslr.org/resources/101/speechocean762.tar.gz",
    max_bytes=2_000_000_000,
)
COUNTS = {"train": 2500, "test": 2500}
DEV_SPEAKERS = 12


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
        corpus: folders that hold the corpus; empty: it is downloaded into `out`.
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
    root = find_corpus(corpus, "train/wav.scp")
    train, test = import_kaldi(root / "train", root), import_kaldi(root / "test", root)
    check_counts(root, {"train": len(train), "test": len(test)}, counts)
    sets = hold_out_speakers(train, number=dev_speakers)
    write_splits(out, {"train": sets.kept, "dev": sets.held_out, "test": test})
