"""LibriSpeech: a thousand hours of volunteers reading books for LibriVox, 16 kHz.

It comes in parts: three to train on (train-clean-100, train-clean-360, train-other-500), and a
development and a test part of five hours each, of clean and of other, more difficult speakers.
Mini LibriSpeech is a small train-clean-5 and dev-clean-2 out of the same books. In a part:

    LibriSpeech/dev-clean/1272/128104/1272-128104.trans.txt     1272-128104-0000 MISTER QUILTER IS …
    LibriSpeech/dev-clean/1272/128104/1272-128104-0000.flac     (or any other kind of sound file)

Whatever parts are there are used. Every dev and test part becomes a manifest of its own name, and:

- With a test part: `test.jsonl` is test-clean (else the first one), `dev.jsonl` is dev-clean (else
  the first dev part, else speakers held out of train).
- Without one there is no `test.jsonl`: nothing is called test that is not. The dev parts are then
  all that results can be reported on, so they stay untouched, under their own names alone, and
  `dev.jsonl` are speakers held out of train.

Licence: CC BY 4.0 (Vassil Panayotov, Guoguo Chen, Daniel Povey, Sanjeev Khudanpur, 2015).
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from asr.data.corpus.layouts import chapters
from asr.data.corpus.prepared import SETS, write_splits
from asr.data.corpus.published import Archive, check_counts, fetch, find_corpus
from asr.data.corpus.recordings import FolderTree, problems_error, utterances_of
from asr.data.corpus.splits import hold_out_share
from asr.data.manifest import Utterance
from asr.errors import DataError, shown

# Utterances of the parts of openslr.org/12, and SHA-256 of their archives, as torchaudio has them.
FULL = {
    "train-clean-100": (28539, "d4ddd1d5a6ab303066f14971d768ee43278a5f2a0aa43dc716b0e64ecbbbf6e2"),
    "train-clean-360": (104014, "146a56496217e96c14334a160df97fffedd6e0a04e66b9c5af0d40be3c792ecf"),
    "train-other-500": (148688, "ddb22f27f96ec163645d53215559df6aa36515f26e01dd70798188350adcb6d2"),
    "dev-clean": (2703, "76f87d090650617fca0cac8f88b9416e0ebf80350acb97b343a85fa903728ab3"),
    "dev-other": (2864, "12661c48e8c3fe1de2c1caa4c3e135193bfb1811584f11f569dd12645aa84365"),
    "test-clean": (2620, "39fde525e59672dc6d1551919b1478f724438a95aa55f874b576be21967e6c23"),
    "test-other": (2939, "d09c181bba5cf717b3dee7d4d592af11a3ee3a09e08ae025c5506f6ebe961c29"),
}
# Bytes and MD5 of the archives of openslr.org/31.
MINI = {
    "train-clean-5": (332_954_390, "5df7d4e78065366204ca6845bb08f490"),
    "dev-clean-2": (126_046_265, "6d7ab67ac6a1d2c993d050e16d61080d"),
}
COUNTS = {part: count for part, (count, _) in FULL.items()}
RESOURCES = "https://www.openslr.org/resources"
ARCHIVES = {  # an utterance of LibriSpeech takes about 220 kB, as FLAC
    part: Archive(url=f"{RESOURCES}/12/{part}.tar.gz", sha256=sha256, max_bytes=count * 500_000)
    for part, (count, sha256) in FULL.items()
} | {
    part: Archive(url=f"{RESOURCES}/31/{part}.tar.gz", size=size, md5=md5, max_bytes=3 * size)
    for part, (size, md5) in MINI.items()
}
DEV_SHARE = 0.08  # of the training speech, where dev has to come out of it
MAX_DEV_HOURS = 5.0  # as much as the published dev parts have
NO_TEST = "none of its parts is a test set; score {} at the end, and tune on dev"


def prepare(
    corpus: list[Path],
    out: Path,
    *,
    variant: str = "recipe",
    archives: Mapping[str, Archive] = ARCHIVES,
    counts: Mapping[str, int] = COUNTS,
) -> None:
    """Write train.jsonl, dev.jsonl, a manifest for every dev and test part, and test.jsonl.

    Args:
        corpus: folders that hold parts; empty: those of the variant are downloaded into `out`.
        out: folder of the manifests.
        variant: `mini` prefers the parts of Mini LibriSpeech, anything else the full ones.
        archives: part → where it is published.
        counts: part → how many utterances it has when complete.

    Raises:
        DataError: not to be had, damaged, or without a part to train on.
        ResourceError: the disk is too small or not writable.
    """
    wanted = [part for part in archives if (part in MINI) == (variant == "mini")]
    for part in [] if corpus else wanted:
        fetch(archives[part], out.absolute() / "corpus" / part)
    folders = find_parts(corpus or [out.absolute() / "corpus" / part for part in wanted])
    if any(part.startswith("train-") for part in folders.keys() & set(wanted)):
        folders = {part: folder for part, folder in folders.items() if part in wanted}
    parts = {part: read_part(folder) for part, folder in sorted(folders.items())}
    found = {part: len(entries) for part, entries in parts.items()}
    if not corpus:
        check_counts(out, found, {part: counts[part] for part in wanted if part in counts})
    notes = [
        f"{part} is incomplete ({count} of {counts[part]} utterances); say so with any result"
        for part, count in found.items()
        if count != counts.get(part, count)
    ]
    splits, absent = arrange(parts)
    write_splits(out, splits, absent=absent, notes=notes)


def find_parts(corpus: Sequence[Path]) -> dict[str, Path]:
    """Part → its folder, at most two levels below a folder of the corpus.

    Raises:
        DataError: there is no part to train on.
    """
    parts = {}
    for part in (*FULL, *MINI):
        with suppress(DataError):
            parts[part] = find_corpus(corpus, part) / part
    if not any(part.startswith("train-") for part in parts):
        places = ", ".join(map(shown, corpus))
        raise DataError(f"{places}: no part to train on; it needs one such as train-clean-100")
    return parts


def read_part(folder: Path) -> list[Utterance]:
    """Every utterance of one part.

    Raises:
        DataError: all transcripts without a recording, and recordings without a transcript.
    """
    tree = FolderTree.of(folder)
    found = chapters(tree)
    if found is None:
        raise DataError(f"{shown(folder)}: no *.trans.txt in it; unpack the archive again")
    if problems := [*found.problems, *found.unmentioned(tree)]:
        raise problems_error(folder, problems, "unpack the archive again")
    return utterances_of(found.recordings, folder)


def arrange(
    parts: Mapping[str, list[Utterance]],
) -> tuple[dict[str, list[Utterance]], dict[str, str]]:
    """The sets by name, and why a set is missing: the rules at the beginning of this file."""
    names = {kind: sorted(part for part in parts if part.startswith(kind)) for kind in SETS}
    train = [entry for part in names["train"] for entry in parts[part]]
    splits = {part: parts[part] for part in (*names["dev"], *names["test"])}
    if names["test"] and names["dev"]:
        splits |= {"train": train, "dev": parts[names["dev"][0]]}
    else:
        hours = sum(entry.duration for entry in train) / 3600
        sets = hold_out_share(train, share=min(DEV_SHARE, MAX_DEV_HOURS / hours))
        splits |= {"train": sets.kept, "dev": sets.held_out}
    if names["test"]:
        return splits | {"test": parts[names["test"][0]]}, {}
    scored = f"{names['dev'][0]}.jsonl" if names["dev"] else "other people's recordings"
    return splits, {"test": NO_TEST.format(scored)}
