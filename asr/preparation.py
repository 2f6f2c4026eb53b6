"""From a corpus to the manifests `train.jsonl`, `dev.jsonl` and `test.jsonl`, texts or images.

A folder with `recipe.toml` and `prepare.py` is a recipe: its program is run, and knows its corpus.
Any other folder is somebody's own recordings, and nothing in it is run. A `prepare.py` has one
function, `prepare(corpus: list[Path], out: Path) -> None`, which ends in `write_splits`, or for
texts in `write_texts`, for images in `write_image_sets`: all sets are written at the end and at
once, so a preparation that fails leaves what was there before. With `CORPUS_FOLDER` it says where
in `$ASR_CORPORA` its corpus is (a name, or one for each variant), with `TAKES_FILES = True` that
`--corpus` may be a file. It may take `variant`, the name of the recipe's file, and where it makes
its speech `hours`.
"""

import inspect
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from asr.config import read_toml
from asr.data.corpus.importers import ImportedFolder, import_folder
from asr.data.corpus.prepared import (
    MARKER,
    PreparedData,
    adopt,
    share_speakers,
    write_splits,
)
from asr.data.corpus.prepared_images import PreparedImages, find_any
from asr.data.corpus.prepared_texts import PreparedTexts
from asr.data.corpus.recordings import Problem
from asr.data.corpus.splits import HeldOut, hold_out_share, split_three
from asr.data.manifest import Utterance
from asr.errors import ConfigError, DataError, shown
from asr.program import load_program
from asr.storage import write_atomically

SKIPPED = "skipped.jsonl"
TRAIN_FILES = ("train.jsonl", "train.txt.gz", "train.npz")
HOURS = "--hours is for recipes that make their speech"
Prepared = PreparedData | PreparedTexts | PreparedImages
HELD_OUT_SHARE = 0.1  # of one's own training speech, for a set that the folder lacks


def prepare(
    recipe: Path,
    *,
    corpus: Sequence[Path] = (),
    out: Path | None = None,
    drop_bad: bool = False,
    hours: float | None = None,
) -> Prepared:
    """Write the manifests or texts of a recipe, or the manifests of one's own recordings.

    Args:
        recipe: a recipe's folder, or one TOML file in it (a variant); or a folder of recordings.
        corpus: where the corpus is; empty: `$ASR_CORPORA/<name>` if that exists, else the recipe
            downloads it. Not for one's own recordings.
        out: folder for the manifests; none: where the recipe reads them, else `data/<name>`.
        drop_bad: one's own recordings only: leave out what cannot be used, listing it.
        hours: of training speech, for a recipe that makes its speech; none: as it does by itself.

    Raises:
        DataError: the corpus is missing, incomplete or unusable, or its sets are not apart.
        ConfigError: an option that does not go with this folder, or a recipe without a usable
            program.
        ResourceError: the disk is too small or not writable.
    """
    folder = recipe.parent if recipe.is_file() else recipe
    if not folder.is_dir():
        raise ConfigError(f"{shown(recipe)}: no such recipe, and no folder of recordings")
    if (folder / "recipe.toml").is_file():
        if drop_bad:
            raise ConfigError(
                f"{shown(folder)}: is a recipe; --drop-bad is for recordings of your own, a "
                "published corpus must be complete"
            )
        variant = recipe if recipe.is_file() else folder / "recipe.toml"
        return _prepare_recipe(variant, list(corpus), out or _place_of_data(variant), hours)
    if hours is not None:
        raise ConfigError(f"{shown(folder)}: is no recipe; {HOURS}")
    if corpus or recipe.is_file():
        raise ConfigError(
            f"{shown(recipe)}: no recipe.toml here, so these are recordings of your own; give "
            "their folder, without --corpus"
        )
    return _prepare_own(folder, out or Path("data") / folder.resolve().name, drop_bad=drop_bad)


def load_preparation(folder: Path) -> ModuleType:
    """The `prepare.py` of a recipe folder.

    Raises:
        ConfigError: there is none, or it has no function `prepare`.
    """
    advice = "write its manifests by hand, or copy the prepare.py of another recipe"
    return load_program(folder, "prepare", "prepare(corpus, out)", advice)


def _prepare_recipe(variant: Path, corpus: list[Path], out: Path, hours: float | None) -> Prepared:
    folder = variant.parent
    program = load_preparation(folder)
    if not corpus:
        name = folder.resolve().name
        named = getattr(program, "CORPUS_FOLDER", name)
        # One for all variants, or one for each.
        corpus = _default_corpus(named if isinstance(named, str) else named.get(variant.stem, name))
    _check_corpus(corpus, takes_files=getattr(program, "TAKES_FILES", False))
    function: Callable[..., None] = program.prepare
    options: dict[str, Any] = {}
    taken = inspect.signature(function).parameters
    if "variant" in taken:
        options["variant"] = variant.stem
    if hours is not None:
        if "hours" not in taken:
            raise ConfigError(f"{shown(folder)}: reads a corpus; {HOURS}")
        options["hours"] = hours
    before = _identity(out / MARKER)
    function([path.absolute() for path in corpus], out, **options)
    prepared = find_any(out)
    if prepared is None or _identity(out / MARKER) == before:
        return adopt(out)
    return prepared


def _check_corpus(corpus: Sequence[Path], *, takes_files: bool) -> None:
    for path in corpus:
        if not (path.is_dir() or (takes_files and path.is_file())):
            what = "file or folder" if takes_files else "folder"
            raise DataError(f"{shown(path)}: no such {what}; --corpus needs the unpacked corpus")


def _default_corpus(name: str) -> list[Path]:
    corpora = os.environ.get("ASR_CORPORA")
    folder = Path(corpora) / name if corpora else None
    return [folder] if folder is not None and folder.is_dir() else []


def _place_of_data(variant: Path) -> Path:
    """Where the recipe looks for its training data, else `data/<name>`."""
    data = read_toml(variant).get("data")
    train = data.get("train") if isinstance(data, dict) else None
    if isinstance(train, str) and Path(train).name in TRAIN_FILES:
        return Path(train).parent
    return Path("data") / variant.parent.resolve().name


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file stands at `path`: another one after it was replaced."""
    if not path.exists():
        return None
    status = path.stat()
    return status.st_ino, status.st_mtime_ns


def _prepare_own(folder: Path, out: Path, *, drop_bad: bool) -> PreparedData:
    if out.resolve() == folder.resolve():
        raise ConfigError(
            f"{shown(out)}: the manifests cannot lie among the recordings; choose another --out"
        )
    imported = import_folder(folder, drop_bad=drop_bad)
    prepared = _write_given(out, imported) if imported.splits else _write_own(out, imported)
    _write_skipped(out / SKIPPED, imported.skipped)
    return prepared


def _write_own(out: Path, imported: ImportedFolder) -> PreparedData:
    """The sets of a folder that keeps none apart."""
    sets = split_three(imported.utterances)
    shared = None if sets.by == "speaker" else _by_recording(imported.utterances)
    splits = {"train": sets.train, "dev": sets.dev, "test": sets.test}
    return write_splits(out, splits, shared_speakers=shared, notes=_notes(imported))


def _by_recording(utterances: list[Utterance]) -> str:
    named = {entry.speaker for entry in utterances if entry.speaker}
    who = f"{len(named)} speakers are named, too few to keep apart" if named else "no speaker known"
    return f"{who}: split by recording, so the scores hold for these speakers only"


def _write_given(out: Path, imported: ImportedFolder) -> PreparedData:
    """The sets that a folder keeps apart itself; what is missing is taken out of train."""
    splits: dict[str, list[Utterance]] = dict(imported.splits.items())
    notes = _notes(imported)
    if "train" not in splits:
        raise DataError(
            f"{shown(out)}: the folder keeps {', '.join(sorted(splits))} apart, but has no train; "
            "name one, or remove these names to have it split"
        )
    for seed, name in enumerate(("dev", "test")):
        if name not in splits:
            taken: HeldOut = hold_out_share(splits["train"], share=HELD_OUT_SHARE, seed=seed)
            splits["train"], splits[name] = taken.kept, taken.held_out
            notes.append(f"the folder has no {name}: {name} was taken out of train")
    reason = "the folder itself has them in several of its sets" if share_speakers(splits) else None
    return write_splits(out, splits, shared_speakers=reason, notes=notes)


def _notes(imported: ImportedFolder) -> list[str]:
    skipped = len(imported.skipped)
    left_out = [f"{skipped} left out, listed in {SKIPPED}"] if skipped else []
    return [f"read as {imported.layout}", *left_out]


def _write_skipped(path: Path, skipped: Sequence[Problem]) -> None:
    """One JSON object a line for everything left out; no file when nothing was."""
    if not skipped:
        path.unlink(missing_ok=True)
        return
    lines = [json.dumps({"where": p.where, "reason": p.reason}) for p in skipped]
    write_atomically(path, "\n".join(lines) + "\n")
