"""The texts of a language model: written together, found again; as `prepared.py` for manifests.

Each of train, dev and test is `NAME.txt.gz`, a sentence a line, and `prepared.json` beside them has
their sizes.
"""

import gzip
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asr.data.corpus.prepared import MARKER, check_complete, in_order, read_marker
from asr.data.text import words
from asr.errors import shown
from asr.storage import cannot_write, write_json

KEYS = {"texts", "absent", "notes"}


@dataclass(frozen=True, kw_only=True)
class PreparedTexts:
    """Texts that are ready, by the names of their sets.

    Attributes:
        out: their folder.
        paths: the files: train, dev, test, and others.
        counts: lines.
        words: in all lines.
        characters: in all lines, without their ends.
        absent: sets that are missing on purpose → why.
        notes: what else one should know of them.
    """

    out: Path
    paths: dict[str, Path]
    counts: dict[str, int]
    words: dict[str, int]
    characters: dict[str, int]
    absent: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """What a person wants to read of it, a line for each set, reason and note."""
        sets = [
            f"{shown(path)}: {self.counts[name]:,} lines, {self.words[name]:,} words, "
            f"{self.characters[name]:,} characters"
            for name, path in self.paths.items()
        ]
        absent = [f"no {name} set: {reason}" for name, reason in self.absent.items()]
        return [*sets, *absent, *self.notes]


def write_texts(
    out: Path,
    texts: Mapping[str, Iterable[str]],
    *,
    absent: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
) -> PreparedTexts:
    """Write `NAME.txt.gz` for each set: all of them, or none.

    Args:
        out: their folder; texts that an earlier preparation wrote there are replaced.
        texts: train, dev, test, and others: the lines of each, without line ends.
        absent: which of train, dev and test are missing, and why.
        notes: for the person who prepares.

    Raises:
        DataError: a set is missing or empty without a reason.
        ResourceError: the disk is too small or not writable.
    """
    temporary = {name: out / f".{name}.txt.gz.tmp-{os.getpid()}" for name in in_order(texts)}
    try:
        out.mkdir(parents=True, exist_ok=True)
        sizes = {name: _write(path, texts[name]) for name, path in temporary.items()}
        check_complete(out, {name: size["lines"] for name, size in sizes.items()}, absent or {})
        (out / MARKER).unlink(missing_ok=True)  # from here to its return the sets may be mixed
        for name, path in temporary.items():
            path.replace(_text(out, name))
    except OSError as error:
        raise cannot_write(out, error) from error
    finally:
        for path in temporary.values():
            path.unlink(missing_ok=True)
    summary = {"texts": sizes, "absent": dict(absent or {}), "notes": list(notes)}
    write_json(out / MARKER, summary)
    return _prepared(out, summary)


def find_texts(out: Path) -> PreparedTexts | None:
    """What `write_texts` wrote into `out`; none when it did not or when texts are missing."""
    summary = read_marker(out, KEYS, "texts")
    if not summary or not all(_text(out, name).is_file() for name in summary["texts"]):
        return None
    return _prepared(out, summary)


def _write(path: Path, lines: Iterable[str]) -> dict[str, int]:
    """The sizes of what is written. The same lines make the same file: it has no name and time."""
    num_lines = num_words = num_characters = 0
    with path.open("wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as file:
        for line in lines:
            file.write(f"{line}\n".encode())
            num_lines += 1
            num_words += len(words(line))
            num_characters += len(line)
    return {"lines": num_lines, "words": num_words, "characters": num_characters}


def _text(out: Path, name: str) -> Path:
    return out / f"{name}.txt.gz"


def _prepared(out: Path, summary: Mapping[str, Any]) -> PreparedTexts:
    sizes: dict[str, dict[str, int]] = summary["texts"]
    return PreparedTexts(
        out=out,
        paths={name: _text(out, name) for name in sizes},
        counts={name: size["lines"] for name, size in sizes.items()},
        words={name: size["words"] for name, size in sizes.items()},
        characters={name: size["characters"] for name, size in sizes.items()},
        absent=dict(summary["absent"]),
        notes=tuple(summary["notes"]),
    )
