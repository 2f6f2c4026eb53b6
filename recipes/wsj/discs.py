"""What lies on the discs of WSJ0 and WSJ1, in whatever way somebody keeps them.

The Linguistic Data Consortium wrote the same files into several layouts, and laboratories merge the
discs, mount them with upper-case names, or convert the recordings:

    csr_1/11-1.1/wsj0/si_tr_s/01i/01ic0201.wv1      WSJ1/SI_TR_S/46C/46CC0201.WV1;1
    13_34.1/wsj1/doc/indices/h1_p0.ndx              wsj0/si_et_20/440/440c0201.flac

So a file is known by its path from `wsj0` or `wsj1` on, in lower case, and never by its disc: some
lines of the lists name a wrong one.
"""

import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from asr.data.corpus.recordings import FolderTree
from asr.data.text import read_byte_lines
from asr.errors import DataError, shown

log = logging.getLogger(__name__)

ROOTS = ("wsj0", "wsj1")
SUFFIXES = (".wv1", ".sph", ".wav", ".flac")  # the first that is there; .wv2 is another microphone
_VERSION = re.compile(r"\.?;\d+$|\.$")  # of a CD-ROM's names: `NAME.WV1;1`, `README.;1`, `README.`
_ENTRY = re.compile(r"(?:([^:]*):)?\s*/?((?:wsj0|wsj1)/\S+?)(?:\.wv1)?\s*")


@dataclass(frozen=True)
class Discs:
    """The files of WSJ0 and WSJ1.

    Attributes:
        folders: where they were looked for.
        files: path from `wsj0` or `wsj1` on, in lower case → the file.
    """

    folders: tuple[Path, ...]
    files: Mapping[str, Path]

    @classmethod
    def of(cls, folders: Sequence[Path]) -> Self:
        """What lies below `folders`; of a file that is there twice, the first.

        Raises:
            DataError: one of them is no folder.
        """
        files: dict[str, Path] = {}
        for folder in folders:
            log.info("looking through %s", folder)
            tree = FolderTree.of(folder)
            for path in (*tree.audio, *tree.others):
                for key in _keys(path):
                    files.setdefault(key, path)
        return cls(tuple(folders), files)

    @property
    def place(self) -> str:
        """The folders, for messages."""
        return ", ".join(map(shown, self.folders))

    def recording(self, name: str) -> Path | None:
        """The sound file of a name without its suffix; None where there is none."""
        found = (self.files.get(name + suffix) for suffix in SUFFIXES)
        return next((path for path in found if path), None)

    def matching(self, pattern: str) -> list[tuple[str, Path]]:
        """The files whose key matches a regular expression as a whole, each once, with their keys.

        In the order of the keys. Of several keys of a file, the shortest.
        """
        whole = re.compile(pattern)
        found: dict[Path, str] = {}
        for key in sorted(filter(whole.fullmatch, self.files), key=len):
            found.setdefault(self.files[key], key)
        return sorted((key, path) for path, key in found.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A line of a list of utterances.

    Attributes:
        disc: on which the list says that it is: `11_1_1`.
        name: path from `wsj0` or `wsj1` on, in lower case, without suffix.
        source: the list and the line, for messages.
    """

    disc: str
    name: str
    source: str

    @property
    def id(self) -> str:
        """The name of the utterance: `01ic0201`, whose first three characters are the speaker."""
        return self.name.rpartition("/")[2]


def read_lists(
    discs: Discs, lists: Mapping[str, Sequence[str]], discs_of_lists: str
) -> dict[str, list[Entry]]:
    """The entries of each set, in the order of its lists.

    Args:
        discs: where they are.
        lists: set → the keys of its lists.
        discs_of_lists: where they should be, for a message.

    Raises:
        DataError: lists that are missing, all of them, or a line of another form.
    """
    keys = dict.fromkeys(key for of_set in lists.values() for key in of_set)
    missing = [key for key in keys if key not in discs.files]
    if missing:
        raise DataError(
            f"{discs.place}: no {', '.join(missing)} ({discs_of_lists}); give the folders of all "
            "discs of WSJ0 and WSJ1 with --corpus"
        )
    return {
        name: [entry for key in of_set for entry in _read_list(discs.files[key])]
        for name, of_set in lists.items()
    }


def find_recordings(discs: Discs, entries: Sequence[Entry]) -> dict[str, Path]:
    """The sound file of every entry, by the entry's name.

    Raises:
        DataError: how many have none, on which discs the lists have them, and one by name.
    """
    found = {entry.name: discs.recording(entry.name) for entry in entries}
    missing = [entry for entry in entries if found[entry.name] is None]
    if missing:
        by_disc = Counter(entry.disc for entry in missing)
        wanted = ", ".join(f"{count} on {shown(disc)}" for disc, count in sorted(by_disc.items()))
        raise DataError(
            f"{discs.place}: {len(missing)} of {len(entries)} recordings are missing, such as "
            f"{shown(missing[0].name)}{SUFFIXES[0]} (by the lists: {wanted}); give the folders of "
            "these discs too, or copy them again"
        )
    return {name: path for name, path in found.items() if path is not None}


def _keys(path: Path) -> list[str]:
    """By which names a file is known: usually one, none outside of `wsj0` and `wsj1`."""
    parts = [part.lower() for part in path.parts]
    parts[-1] = _VERSION.sub("", parts[-1])
    # The last of several is the one on the disc (WSJ0/11-1.1/wsj0), but a folder of lists may be
    # called so too: every one counts, and the others lead to names that nobody asks for.
    return ["/".join(parts[i:]) for i, part in enumerate(parts[:-1]) if part in ROOTS]


def _read_list(path: Path) -> list[Entry]:
    entries = []
    for number, line in read_byte_lines(path):
        text = line.decode("latin-1").strip(" \t\x1a").lower()
        if not text or text.startswith(";"):
            continue
        match = _ENTRY.fullmatch(text)
        if match is None:
            raise DataError(
                f"{shown(path)}:{number}: needs DISC:wsj0/…/UTTERANCE.wv1 (or wsj1), has "
                f"'{shown(text[:80])}'; copy the disc again"
            )
        disc = (match[1] or "no disc").strip().replace("-", "_").replace(".", "_")
        entries.append(Entry(disc=disc, name=match[2], source=f"{path}:{number}"))
    return entries
