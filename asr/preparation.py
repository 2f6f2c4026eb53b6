"""From a corpus to the manifests `train.jsonl`, `dev.jsonl` and `test.jsonl`.

A folder with `recipe.toml` and `prepare.py` is a recipe: its program is run and knows its corpus.
Any other folder is somebody's own recordings, and nothing in it is run. A `prepare.py` has one
function, `prepare(corpus: list[Path], out: Path) -> None`, and ends in `write_splits`: all sets are
written at the end and at once, so that a preparation that fails leaves what was there before.

Whoever prepares must say so when a set is missing or when sets share speakers; what nobody declared
is an error. `prepared.json` keeps these reasons, with the sizes of the sets.
"""

import importlib.util
import inspect
import itertools
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import ModuleType

from asr.config import read_toml
from asr.data.importers import ImportedFolder, import_folder
from asr.data.manifest import Utterance, read_manifest, write_manifest
from asr.data.recordings import Problem
from asr.data.splits import hold_out_share, split_three
from asr.errors import ConfigError, DataError, ModelError, shown
from asr.storage import FolderLock, read_json, write_atomically, write_json

MARKER = "prepared.json"
SKIPPED = "skipped.jsonl"
SETS = ("train", "dev", "test")
HELD_OUT_SHARE = 0.1  # of one's own training speech, for a set that the folder lacks

Splits = Mapping[str, Sequence[Utterance]]


@dataclass(frozen=True, kw_only=True)
class PreparedData:
    """Manifests that are ready, by the name of the set.

    Attributes:
        out: their folder.
        paths: the manifests: train, dev, mostly test, and others that a corpus has.
        counts: utterances.
        hours: of speech.
        speakers: how many are named.
        absent: sets that are not there on purpose → why.
        shared_speakers: why train, dev and test share speakers; none: they do not.
        notes: what the reader should know besides.
    """

    out: Path
    paths: dict[str, Path]
    counts: dict[str, int]
    hours: dict[str, float]
    speakers: dict[str, int]
    absent: dict[str, str] = field(default_factory=dict)
    shared_speakers: str | None = None
    notes: tuple[str, ...] = ()


def prepare(
    recipe: Path,
    *,
    corpus: Sequence[Path] = (),
    out: Path | None = None,
    drop_bad: bool = False,
) -> PreparedData:
    """Write the manifests of a recipe, or of a folder of one's own recordings.

    Args:
        recipe: a recipe's folder, or one TOML file in it (a variant); or a folder of recordings.
        corpus: where the corpus is; empty: `$ASR_CORPORA/<name>` if that exists, else the recipe
            downloads it. Not for one's own recordings.
        out: folder for the manifests; none: where the recipe reads them, else `data/<name>`.
        drop_bad: one's own recordings only: leave out what cannot be used, listing it.

    Raises:
        DataError: the corpus is missing, incomplete or unusable, or its sets are not apart.
        ConfigError: an option that does not go with this folder; the recipe's program is no good;
            another process is preparing the same folder.
        ResourceError: the disk is too small or not writable.
    """
    folder = recipe.parent if recipe.is_file() else recipe
    if not folder.is_dir():
        raise ConfigError(f"{shown(recipe)}: no such recipe, and no folder of recordings")
    if not (folder / "recipe.toml").is_file():
        if corpus:
            raise ConfigError(
                f"{shown(folder)}: no recipe.toml here, so these are recordings of your own; "
                "give their folder without --corpus"
            )
        return _prepare_own(folder, out or Path("data") / folder.resolve().name, drop_bad)
    if drop_bad:
        raise ConfigError(
            f"{shown(folder)}: is a recipe; --drop-bad is for recordings of your own, a published "
            "corpus must be complete"
        )
    variant = recipe if recipe.is_file() else folder / "recipe.toml"
    return _prepare_recipe(variant, list(corpus), out or _place_of_data(variant))
