"""The pairs of a recipe: the training set as numbers, dev and test as texts with references."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from asr.data.text import Case
from asr.errors import ConfigError, DataError, shown
from asr.training.plain_task import TaskData
from asr.training.task import Skipped

from .data import (
    LinePacker,
    TokenLines,
    Units,
    Vocabulary,
    read_pairs,
    split_text,
    vocabulary_of,
)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How texts become tokens.

    Attributes:
        units: of the sources; targets are words.
        case: of the sources.
        source_size: of the vocabulary; 0: all tokens of the training set.
        target_size: likewise.
        max_tokens: a training pair with more in its source or target is left out; 0: none is.
    """

    units: Units
    case: Case
    source_size: int
    target_size: int
    max_tokens: int


@dataclass(frozen=True, eq=False)
class TrainingPairs:
    """The training set.

    Attributes:
        source: tokens of the sources.
        target: tokens of the targets.
        source_vocabulary: of the sources.
        target_vocabulary: of the targets.
        excluded: pairs that were left out.
    """

    source: TokenLines
    target: TokenLines
    source_vocabulary: Vocabulary
    target_vocabulary: Vocabulary
    excluded: tuple[Skipped, ...]

    def __len__(self) -> int:
        """How many pairs."""
        return len(self.source)

    def fingerprint(self) -> str:
        """A SHA-256 of the tokens and of what they stand for."""
        content = hashlib.sha256()
        for lines, vocabulary in (
            (self.source, self.source_vocabulary),
            (self.target, self.target_vocabulary),
        ):
            content.update("\n".join(vocabulary.symbols).encode())
            content.update(lines.tokens.tobytes())
            content.update(lines.begins.tobytes())
        return content.hexdigest()


@dataclass(frozen=True, eq=False)
class HeldOut:
    """A set that is scored.

    Attributes:
        texts: the sources as people read them.
        sources: the same as tokens.
        references: of each source, all targets that are right, as words.
        source: (pairs) number of the source of each pair, in the order of the file.
        targets: the target of each pair, as words.
    """

    texts: list[str]
    sources: list[list[str]]
    references: list[list[list[str]]]
    source: list[int]
    targets: list[list[str]]


def read_training(data: TaskData, reading: Reading) -> TrainingPairs:
    """The training set that a recipe's `[data]` names; the file is read twice.

    Raises:
        ConfigError: none is named.
        DataError: it cannot be used.
    """
    if not data.train:
        raise ConfigError("data.train: is empty; name the training pairs (NAME.txt.gz)")
    path = Path(data.train)
    counts: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    excluded: list[Skipped] = []
    for source, target, place in _split_pairs(path, reading):
        if reason := _too_long(source, target, reading):
            excluded.append(Skipped(place, reason))
            continue
        counts[0].update(source)
        counts[1].update(target)
    if not counts[0]:
        raise DataError(
            f"{shown(path)}: every pair has more than task.max_tokens = {reading.max_tokens} tokens"
        )
    vocabularies = (
        vocabulary_of(counts[0], reading.source_size),
        vocabulary_of(counts[1], reading.target_size),
    )
    sources, targets = LinePacker(), LinePacker()
    for source, target, _ in _split_pairs(path, reading):
        if not _too_long(source, target, reading):
            sources.add(vocabularies[0].encode(source))
            targets.add(vocabularies[1].encode(target))
    return TrainingPairs(sources.packed(), targets.packed(), *vocabularies, tuple(excluded))


def read_held_out(path: str, reading: Reading, *, group: bool) -> HeldOut | None:
    """The pairs of a file to score; None when none is named.

    Args:
        path: the file, or "".
        reading: how texts become tokens.
        group: whether the targets of equal sources are all right for each of them.

    Raises:
        DataError: it cannot be used.
    """
    if not path:
        return None
    held_out = HeldOut([], [], [], [], [])
    known: dict[tuple[str, ...], int] = {}
    for source, target, _ in _split_pairs(Path(path), reading):
        key = tuple(source)
        if not group or key not in known:
            known[key] = len(held_out.sources)
            held_out.texts.append(("" if reading.units == "characters" else " ").join(source))
            held_out.sources.append(source)
            held_out.references.append([])
        held_out.references[known[key]].append(target)
        held_out.source.append(known[key])
        held_out.targets.append(target)
    return held_out


def _split_pairs(path: Path, reading: Reading) -> Iterator[tuple[list[str], list[str], str]]:
    for source, target, place in read_pairs(path, reading.case):
        yield split_text(source, reading.units), split_text(target, "words"), place


def _too_long(source: list[str], target: list[str], reading: Reading) -> str:
    longest = max(len(source), len(target))
    if not 0 < reading.max_tokens < longest:
        return ""
    return f"{longest} tokens, more than task.max_tokens = {reading.max_tokens}"
