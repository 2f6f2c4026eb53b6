"""The manifests of one corpus: checked against one another, written together, found again.

`train`, `dev` and `test` must have no recording and no speaker in common, and all must be there. A
set called `train-NAME` is another training set: it may have what `train` has, and must have nothing
in common with any set that judges.

Whoever prepares a corpus that cannot keep this says why, and `prepared.json` keeps the reason
beside the manifests, with the sizes of the sets. What nobody declared is an error.
"""

import itertools
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asr.data.corpus.recordings import counted
from asr.data.manifest import Utterance, read_manifest, write_manifest
from asr.errors import DataError, ModelError, shown
from asr.storage import read_json, write_json

SETS = ("train", "dev", "test")
MARKER = "prepared.json"
KEYS = {"sets", "absent", "shared_speakers", "notes"}

Splits = Mapping[str, Sequence[Utterance]]


@dataclass(frozen=True, kw_only=True)
class PreparedData:
    """Manifests that are ready, by the names of their sets.

    Attributes:
        out: their folder.
        paths: the manifests: train, dev, mostly test, and others that a corpus has.
        counts: utterances.
        hours: of speech.
        speakers: how many are named.
        absent: sets that are missing on purpose → why.
        shared_speakers: why sets share speakers; none: they do not.
        notes: what else one should know of them.
    """

    out: Path
    paths: dict[str, Path]
    counts: dict[str, int]
    hours: dict[str, float]
    speakers: dict[str, int]
    absent: dict[str, str] = field(default_factory=dict)
    shared_speakers: str | None = None
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """What a person wants to read of it, a line for each set, reason and note."""
        sets = [
            f"{shown(path)}: {counted(self.counts[name], 'utterance')}, {self.hours[name]:.2f} h"
            + (f", {counted(self.speakers[name], 'speaker')}" if self.speakers[name] else "")
            for name, path in self.paths.items()
        ]
        absent = [f"no {name} set: {reason}" for name, reason in self.absent.items()]
        shared = [f"sets share speakers: {self.shared_speakers}"] if self.shared_speakers else []
        return [*sets, *absent, *shared, *self.notes]


def write_splits(
    out: Path,
    splits: Splits,
    *,
    absent: Mapping[str, str] | None = None,
    shared_speakers: str | None = None,
    notes: Sequence[str] = (),
) -> PreparedData:
    """Check the sets of a corpus and write `NAME.jsonl` for each: all of them, or none.

    Args:
        out: their folder; manifests that an earlier preparation wrote there are replaced.
        splits: train, dev, test, and others under the corpus's own names (`test-other`), which may
            repeat dev or test but have nothing in common with train, and `train-NAME`, which may
            repeat train but have nothing in common with the others.
        absent: which of train, dev and test are missing, and why.
        shared_speakers: why sets share speakers, where they must.
        notes: for the person who prepares.

    Raises:
        DataError: a set is missing or empty without a reason, or two sets are not apart.
        ResourceError: the disk is too small or not writable.
    """
    summary = _checked_summary(
        out, splits, absent=absent or {}, shared_speakers=shared_speakers, notes=notes
    )
    old = read_marker(out, KEYS, "sets")
    temporary = {name: out / f".{name}.jsonl.tmp-{os.getpid()}" for name in splits}
    try:
        for name, path in temporary.items():
            write_manifest(path, list(splits[name]))
        (out / MARKER).unlink(missing_ok=True)  # from here to its return the sets may be mixed
        for name in old.get("sets", {}).keys() - splits.keys():
            _manifest(out, name).unlink(missing_ok=True)
        for name, path in temporary.items():
            path.replace(_manifest(out, name))
    finally:
        for path in temporary.values():
            path.unlink(missing_ok=True)
    write_json(out / MARKER, summary)
    return _prepared(out, summary)


def find_prepared(out: Path) -> PreparedData | None:
    """What `write_splits` wrote into `out`; none when it did not or when manifests are missing.

    Manifests may have been edited since: the sizes are those of the preparation.
    """
    summary = read_marker(out, KEYS, "sets")
    if not summary or not all(_manifest(out, name).is_file() for name in summary["sets"]):
        return None
    return _prepared(out, summary)


def adopt(out: Path) -> PreparedData:
    """Check manifests that were written without `write_splits` and take them over.

    Raises:
        DataError: one of train, dev and test is missing or unreadable, or two are not apart.
    """
    missing = [f"{name}.jsonl" for name in SETS if not _manifest(out, name).is_file()]
    if missing:
        raise DataError(
            f"{shown(out)}: {', '.join(missing)} not written by the preparation; end prepare() "
            "with write_splits, which can say why a set is missing"
        )
    splits = {name: read_manifest(_manifest(out, name)) for name in SETS}
    summary = _checked_summary(out, splits, absent={}, shared_speakers=None, notes=[])
    write_json(out / MARKER, summary)
    return _prepared(out, summary)


def _checked_summary(
    out: Path,
    splits: Splits,
    *,
    absent: Mapping[str, str],
    shared_speakers: str | None,
    notes: Sequence[str],
) -> dict[str, Any]:
    """What `prepared.json` says of sets that are complete and apart."""
    splits = {name: splits[name] for name in in_order(splits)}
    check_complete(out, {name: len(entries) for name, entries in splits.items()}, absent)
    _check_apart(out, splits, shared_speakers=shared_speakers is not None)
    return {
        "sets": {name: _sizes(entries) for name, entries in splits.items()},
        "absent": dict(absent),
        "shared_speakers": shared_speakers,
        "notes": list(notes),
    }


def _check_apart(out: Path, splits: Splits, *, shared_speakers: bool) -> None:
    """Train, dev and test share nothing, and no other set shares anything with one that trains."""
    recordings = {  # resolving links would touch every file of a large corpus
        name: {os.path.normpath(entry.audio.absolute()) for entry in entries}
        for name, entries in splits.items()
    }
    _check_disjoint(out, "recording", recordings)
    if not shared_speakers:
        _check_disjoint(out, "speaker", {name: _speakers(splits[name]) for name in splits})


def share_speakers(splits: Splits) -> bool:
    """Whether any two sets name a speaker in common."""
    pairs = itertools.combinations(map(_speakers, splits.values()), 2)
    return any(first & second for first, second in pairs)


def _speakers(entries: Sequence[Utterance]) -> set[str]:
    return {entry.speaker for entry in entries if entry.speaker}


def _check_disjoint(out: Path, kind: str, members: Mapping[str, set[str]]) -> None:
    for first, second in itertools.combinations(members, 2):
        teaching = [_teaches(name) for name in (first, second)]
        if all(teaching) or not (any(teaching) or {first, second} <= set(SETS)):
            continue  # train and train-small may be the same, and dev and dev-clean
        shared = sorted(members[first] & members[second])
        if shared:
            raise DataError(
                f"{shown(out)}: {first} and {second} share {counted(len(shared), kind)}, such as "
                f"{shown(shared[0])}; a set that judges must have nothing in common with the one "
                "that teaches"
            )


def _teaches(name: str) -> bool:
    return name == "train" or name.startswith("train-")


def in_order(names: Iterable[str]) -> list[str]:
    """The names of sets: train, dev, test, then the others by name."""
    return sorted(names, key=lambda name: (SETS.index(name) if name in SETS else 3, name))


def check_complete(out: Path, counts: Mapping[str, int], absent: Mapping[str, str]) -> None:
    """Return when each of train, dev and test is there, or declared absent, and none is empty.

    Raises:
        DataError: one is not.
        ValueError: one is both there and declared absent.
    """
    for name in SETS:
        if name in counts and name in absent:
            raise ValueError(f"{name} is given and declared absent")
        if name not in counts and not absent.get(name):
            raise DataError(f"{shown(out)}: the corpus has no {name} set, and nobody said why")
    empty = [name for name, count in counts.items() if not count]
    if empty:
        raise DataError(f"{shown(out)}: the set {shown(empty[0])} would be empty")


def _sizes(entries: Sequence[Utterance]) -> dict[str, Any]:
    return {
        "utterances": len(entries),
        "hours": round(sum(entry.duration for entry in entries) / 3600, 4),
        "speakers": len(_speakers(entries)),
    }


def _manifest(out: Path, name: str) -> Path:
    return out / f"{name}.jsonl"


def read_marker(out: Path, keys: Collection[str], sets: str) -> dict[str, Any]:
    """What `prepared.json` says; empty where there is none that could be ours.

    Args:
        out: the folder.
        keys: that it must have.
        sets: the one whose keys name files.
    """
    try:
        summary = read_json(out / MARKER)
    except ModelError:
        return {}
    ours = isinstance(summary, dict) and summary.keys() >= set(keys)
    return summary if ours and all("/" not in name for name in summary[sets]) else {}


def _prepared(out: Path, summary: Mapping[str, Any]) -> PreparedData:
    sets: dict[str, dict[str, Any]] = summary["sets"]
    return PreparedData(
        out=out,
        paths={name: _manifest(out, name) for name in sets},
        counts={name: sizes["utterances"] for name, sizes in sets.items()},
        hours={name: sizes["hours"] for name, sizes in sets.items()},
        speakers={name: sizes["speakers"] for name, sizes in sets.items()},
        absent=dict(summary["absent"]),
        shared_speakers=summary["shared_speakers"],
        notes=tuple(summary["notes"]),
    )
