"""Other people's folders → utterances: your own recordings in any usual layout, and Kaldi's.

    imported = import_folder(Path("recordings"))
    imported.layout        "a text file beside each recording; speakers by sub-folder"
    imported.utterances    everything that can be used
    imported.splits        "train" / "dev" / "test" → utterances, where the folder keeps them apart

Whatever cannot be used is named with its reason, and is an error unless the caller says otherwise.
"""

from dataclasses import dataclass
from pathlib import Path

from asr.data.corpus.kaldi import read_kaldi
from asr.data.corpus.layouts import find_layout
from asr.data.corpus.recordings import (
    AUDIO_SUFFIXES,
    FolderTree,
    Problem,
    Recording,
    SplitName,
    measure,
    problems_error,
)
from asr.data.corpus.tables import needed_columns
from asr.data.manifest import Utterance
from asr.errors import DataError, shown

__all__ = ["AUDIO_SUFFIXES", "ImportedFolder", "import_folder", "import_kaldi"]

DROP_ADVICE = "mend them, or leave them out with --drop-bad (skipped.jsonl then lists them)"


@dataclass(frozen=True)
class ImportedFolder:
    """What a folder of recordings holds.

    Attributes:
        layout: how it is laid out, in words.
        utterances: everything that can be used.
        splits: the same, by the sets that the folder itself keeps apart; empty where it does not.
        skipped: what cannot be used and why; only where the caller allowed it.
    """

    layout: str
    utterances: list[Utterance]
    splits: dict[SplitName, list[Utterance]]
    skipped: list[Problem]


def import_folder(folder: Path, *, drop_bad: bool = False) -> ImportedFolder:
    """The transcribed recordings below a folder, in whichever layout it has.

    Looked for, in this order: Kaldi data folders; JSON-lines manifests; CSV or TSV tables with a
    header; LJSpeech's `metadata.csv`; LibriSpeech's `*.trans.txt`; a .txt, .lab or .trans file
    beside each recording.

    Args:
        folder: where the recordings are.
        drop_bad: whether to go on without what cannot be used, instead of refusing the folder.

    Raises:
        DataError: no such folder or no known layout; or recordings without transcript, transcripts
            without recording, unreadable files, doubles: all of them, one a line.
    """
    tree = FolderTree.of(folder)
    found = find_layout(tree)
    if found is None:
        raise _unknown_layout(tree)
    recordings, outside = _without_outsiders(found.recordings)
    utterances, problems = measure(recordings)
    problems = [*found.problems, *outside, *problems, *found.unmentioned(tree)]
    if problems and not drop_bad:
        raise problems_error(folder, problems, f"read as {found.layout}; {DROP_ADVICE}")
    if not utterances:
        raise DataError(
            f"{shown(folder)}: not one usable recording (read as {found.layout}); "
            f"the first problem: {problems[0]}"
        )
    return ImportedFolder(found.layout, utterances, _splits(recordings, utterances), problems)


def import_kaldi(folder: Path, root: Path) -> list[Utterance]:
    """The utterances of a Kaldi data folder.

    Args:
        folder: with `wav.scp`, `text`, and optionally `utt2spk` and `segments`.
        root: where relative paths in `wav.scp` start.

    Raises:
        DataError: everything that is wrong, one a line.
    """
    recordings, problems = read_kaldi(folder, [root])
    utterances, more = measure(recordings)
    if problems or more:
        advice = "mend the lists, or give the folder that their paths start from"
        raise problems_error(folder, [*problems, *more], advice)
    return utterances


def _unknown_layout(tree: FolderTree) -> DataError:
    if not tree.audio:
        return DataError(
            f"{shown(tree.folder)}: no recordings here; give the folder that holds them"
        )
    tables = [path.name for path in tree.others if path.suffix.lower() in (".csv", ".tsv")]
    seen = f" ({shown(tables[0])} {needed_columns()} in its first line)" if tables else ""
    return DataError(
        f"{shown(tree.folder)}: sound files ({len(tree.audio)}), but no transcripts in a layout "
        f"known here{seen}; put a .txt beside each recording, or a table with columns file,text "
        "into the folder"
    )


def _without_outsiders(recordings: list[Recording]) -> tuple[list[Recording], list[Problem]]:
    """Where a folder keeps train, dev and test apart, the recordings outside are problems."""
    if all(recording.split is None for recording in recordings):
        return recordings, []
    reason = "lies outside of train, dev and test, which this folder keeps apart"
    outside = [Problem(entry.source, reason) for entry in recordings if entry.split is None]
    return [entry for entry in recordings if entry.split is not None], outside


def _splits(
    recordings: list[Recording], utterances: list[Utterance]
) -> dict[SplitName, list[Utterance]]:
    split_of_id = {shown(recording.id): recording.split for recording in reversed(recordings)}
    splits: dict[SplitName, list[Utterance]] = {}
    for utterance in utterances:
        split = split_of_id[utterance.id]
        if split is not None:
            splits.setdefault(split, []).append(utterance)
    return splits
