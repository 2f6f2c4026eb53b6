"""How people lay out transcribed recordings, and reading each way.

A reader looks at a folder and returns what it describes, or none when the folder is laid out in
another way. What a reader finds wrong it lists; it never passes over anything in silence.

Sets that a folder keeps apart itself are respected: lists and sub-folders called `train`, `dev`
(or `valid`, `val`) and `test`, alone or with something behind (`train-clean-100`, `dev_other`).
"""

import json
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from asr.data.corpus.kaldi import is_kaldi_folder, read_kaldi
from asr.data.corpus.recordings import FolderTree, Problem, Recording, SplitName, split_of
from asr.data.corpus.tables import is_ljspeech, is_table, read_ljspeech, read_table
from asr.data.manifest import read_manifest
from asr.data.text import normalize_text, read_lines
from asr.errors import DataError, shown

TRANSCRIPT_SUFFIXES = (".txt", ".lab", ".trans")
NO_TRANSCRIPTS = frozenset(
    {"readme", "license", "licence", "copying", "notice", "changes", "changelog", "authors"}
)
_TIMED_LABEL = re.compile(r"\d+[ \t]+\d+[ \t]+\S+")  # HTK: begin, end, phone

ListReader = Callable[[Path, FolderTree, list[Problem]], Iterable[Recording]]


@dataclass(frozen=True)
class Found:
    """What a folder describes, in one layout.

    Attributes:
        layout: how it is laid out, in words.
        recordings: in the order of their lists, or of their names.
        problems: what is wrong with the lists themselves.
    """

    layout: str
    recordings: list[Recording]
    problems: list[Problem]

    def unmentioned(self, tree: FolderTree) -> list[Problem]:
        """A problem for every recording in the folder that nothing speaks of."""
        mentioned = {os.path.normpath(recording.audio) for recording in self.recordings}
        mentioned.update(problem.where for problem in self.problems)
        return [
            Problem(str(path), "has no transcript")
            for path in tree.audio
            if str(path) not in mentioned
        ]


def find_layout(tree: FolderTree) -> Found | None:
    """What the folder describes in the first layout that fits; none when none does."""
    readers = (_kaldi, _manifests, _tables, _ljspeech, chapters, _sidecars)
    return next((found for reader in readers if (found := reader(tree)) is not None), None)


def chapters(tree: FolderTree) -> Found | None:
    """LibriSpeech: `SPEAKER-CHAPTER.trans.txt` in each folder, a line `ID TEXT` per recording."""
    lists = [path for path in tree.others if path.name.endswith(".trans.txt")]
    if not lists:
        return None
    by_name = {path.with_suffix(""): path for path in tree.audio}
    recordings: list[Recording] = []
    problems: list[Problem] = []
    for path in lists:
        for number, line in read_lines(path):
            name, _, text = normalize_text(line).partition(" ")
            source = f"{path}:{number}"
            audio = by_name.get(path.parent / name)
            if name and audio is None:
                problems.append(Problem(source, f"no recording '{shown(name)}' in this folder"))
            elif audio is not None:
                speaker, split = name.split("-")[0], _folder_split(path, tree)
                recordings.append(
                    Recording(
                        id=name, audio=audio, text=text, speaker=speaker, split=split, source=source
                    )
                )
    return Found("chapters with *.trans.txt (LibriSpeech)", recordings, problems)


def _sidecars(tree: FolderTree) -> Found | None:
    """`x.wav` with `x.txt` (or .lab, .trans) beside it; several sub-folders are speakers."""
    texts = _transcripts_by_stem(tree)
    pairs = [(audio, texts.pop(audio.with_suffix(""), None)) for audio in tree.audio]
    recordings: list[Recording] = []
    problems: list[Problem] = []
    speakers = _speakers_by_folder(tree)
    for audio, path in pairs:
        if path is None:
            continue  # the importer names every recording without a transcript
        try:
            text = _whole_text(path)
        except DataError as error:
            problems.append(Problem(str(audio), str(error)))
            continue
        recordings.append(
            Recording(
                id=tree.name_of(audio),
                audio=audio,
                text=text,
                speaker=speakers.get(audio),
                split=_folder_split(audio, tree),
                source=str(path),
            )
        )
    if not recordings and not problems:
        return None
    problems += [
        Problem(str(path), "a transcript without a recording beside it") for path in texts.values()
    ]
    by_folder = "; speakers by sub-folder" if speakers else ""
    return Found(f"a text file beside each recording{by_folder}", recordings, problems)


def _transcripts_by_stem(tree: FolderTree) -> dict[Path, Path]:
    """Path without suffix → transcript; where there are several, .txt comes first."""
    texts: dict[Path, Path] = {}
    for suffix in TRANSCRIPT_SUFFIXES:
        for path in tree.others:
            if path.suffix.lower() == suffix and path.stem.lower() not in NO_TRANSCRIPTS:
                texts.setdefault(path.with_suffix(""), path)
    return texts


def _whole_text(path: Path) -> str:
    lines = [line for _, line in read_lines(path)]
    labels = [line for line in lines if line]
    if path.suffix.lower() == ".lab" and labels and all(map(_TIMED_LABEL.match, labels)):
        raise DataError(f"{shown(path)}: labels with times, not a transcript")
    return normalize_text("\n".join(lines))


def _folder_split(path: Path, tree: FolderTree) -> SplitName | None:
    return next((split for part in _parents(path, tree)[:2] if (split := split_of(part))), None)


def _parents(path: Path, tree: FolderTree) -> tuple[str, ...]:
    """The sub-folders that lead to a file."""
    return path.relative_to(tree.folder).parts[:-1]


def _speakers_by_folder(tree: FolderTree) -> dict[Path, str]:
    """Recording → its sub-folder, when that can be a speaker: all lie in one, and not in the same.

    Should the sub-folders be days or books instead, keeping them apart does no harm.
    """
    speakers = {}
    for audio in tree.audio:
        folders = [part for part in _parents(audio, tree) if not split_of(part)]
        if not folders:
            return {}
        speakers[audio] = shown(folders[0])
    return speakers if len(set(speakers.values())) > 1 else {}


def _tables(tree: FolderTree) -> Found | None:
    """CSV or TSV with a header that names a column of recordings and one of texts."""
    tables = [path for path in _lists(tree, (".csv", ".tsv")) if is_table(path)]
    return _read_lists(tables, tree, kind="table", read=read_table)


def _ljspeech(tree: FolderTree) -> Found | None:
    """`metadata.csv` without a header."""
    lists = [path for path in _lists(tree, (".csv", ".txt")) if is_ljspeech(path, tree)]
    return _read_lists(lists, tree, kind="LJSpeech list", read=read_ljspeech)


def _manifests(tree: FolderTree) -> Found | None:
    """JSON lines with `audio_filepath` and `text`."""
    manifests = [path for path in _lists(tree, (".jsonl", ".json")) if _is_manifest(path)]
    return _read_lists(manifests, tree, kind="manifest", read=_read_manifest)


def _read_lists(
    lists: list[Path], tree: FolderTree, *, kind: str, read: ListReader
) -> Found | None:
    """All lists; where some are called train, dev or test, those alone (others repeat them)."""
    if not lists:
        return None
    chosen = [path for path in lists if split_of(path.stem)] or lists
    recordings: list[Recording] = []
    problems: list[Problem] = []
    for path in chosen:
        try:
            recordings += read(path, tree, problems)
        except DataError as error:
            problems += [Problem(str(path), line) for line in str(error).split("\n")]
    layout = f"{kind} {_names(chosen)}"
    left = [path for path in lists if path not in chosen]
    return Found(f"{layout} (not read: {_names(left)})" if left else layout, recordings, problems)


def _names(paths: list[Path]) -> str:
    return ", ".join(shown(path.name) for path in paths)


def _lists(tree: FolderTree, suffixes: tuple[str, ...]) -> list[Path]:
    """The files of such names in the folder itself, else those one folder below."""
    lists = [path for path in tree.others if path.suffix.lower() in suffixes]
    at_top = [path for path in lists if path.parent == tree.folder]
    return at_top or [path for path in lists if path.parent.parent == tree.folder]


def _is_manifest(path: Path) -> bool:
    try:
        entry = json.loads(next((line for _, line in read_lines(path)), ""))
    except (DataError, ValueError, RecursionError):
        return False
    return isinstance(entry, dict) and {"audio_filepath", "text"} <= entry.keys()


def _read_manifest(path: Path, tree: FolderTree, problems: list[Problem]) -> list[Recording]:
    return [
        Recording(
            id=utterance.id,
            audio=utterance.audio,
            text=utterance.text,
            speaker=utterance.speaker,
            offset=utterance.offset,
            duration=utterance.duration,
            split=split_of(path.stem),
            source=f"{path}: {utterance.id}",
        )
        for utterance in read_manifest(path)
    ]


def _kaldi(tree: FolderTree) -> Found | None:
    """A Kaldi data folder, or several below (`train/`, `data/train/`)."""
    folders = [path.parent for path in tree.others if is_kaldi_folder(path.parent)]
    folders = list(dict.fromkeys(folders))
    depth = min((len(folder.parts) for folder in folders), default=0)
    folders = [folder for folder in folders if len(folder.parts) == depth]
    if not folders:
        return None
    recordings: list[Recording] = []
    problems: list[Problem] = []
    for folder in folders:
        split = split_of(folder.name) if folder != tree.folder else None
        roots = [folder, tree.folder, tree.folder.parent]
        more, wrong = read_kaldi(folder, roots, split)
        recordings += more
        problems += wrong
    return Found(f"Kaldi data folder {_names(folders)}", recordings, problems)
