"""Published corpora: fetched, verified, unpacked, found on the disk, and counted.

What the `prepare.py` of a recipe needs to have its corpus, and to know that it has all of it.
"""

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from asr.data.corpus.archives import unpack
from asr.data.corpus.download import Progress, download
from asr.errors import DataError, shown
from asr.lock import FolderLock

log = logging.getLogger(__name__)

PROGRESS_STEP = 0.1  # of the whole, between two lines of the log


@dataclass(frozen=True, kw_only=True)
class Archive:
    """One published archive.

    Attributes:
        url: http or https.
        max_bytes: what it may come to unpacked: about twice what it does.
        max_members: how many files and folders it may hold.
        sha256: where somebody published it.
        md5: where the publisher gives nothing better.
        size: in bytes, where it is known.
    """

    url: str
    max_bytes: int
    max_members: int = 400_000  # more than any single archive of a speech corpus here
    sha256: str | None = None
    md5: str | None = None
    size: int | None = None


def fetch(archive: Archive, folder: Path) -> None:
    """Fetch an archive and unpack it into the new folder `folder`; nothing if that is there.

    Raises:
        DataError: not to be had, not what was published, or with members that are refused.
        ResourceError: the disk is too small or not writable.
        ConfigError: another process is fetching into the same place.
    """
    if folder.exists():
        log.info("%s is there already", folder)
        return
    name = PurePosixPath(urlsplit(archive.url).path).name
    file = folder.with_name(f"{folder.name}-{name}")
    with FolderLock(folder.parent):
        for leftover in folder.parent.glob(f".{folder.name}.tmp-*"):  # of a process that died
            shutil.rmtree(leftover, ignore_errors=True)
        log.info("downloading %s", archive.url)
        download(
            archive.url,
            file,
            sha256=archive.sha256,
            md5=archive.md5,
            size=archive.size,
            progress=_logged(name),
        )
        log.info("unpacking %s into %s", name, folder)
        unpack(file, folder, max_bytes=archive.max_bytes, max_members=archive.max_members)
        file.unlink()


def find_corpus(folders: Sequence[Path], mark: str) -> Path:
    """The folder that holds `mark`: one of `folders`, or at most two levels below one.

    For recipes that download the corpus where nobody says where it is.

    Args:
        folders: where somebody says that the corpus is.
        mark: a file or folder, relative, by which the corpus is known.

    Raises:
        DataError: it is in none of them.
    """
    for pattern in ("", "*/", "*/*/"):
        for folder in folders:
            found = sorted(folder.glob(f"{pattern}{mark}"))
            if found:
                return found[0].parents[len(Path(mark).parts) - 1]
    places = ", ".join(map(shown, folders))
    raise DataError(
        f"{places}: no {mark} in it; give the folder of the unpacked corpus, or leave out --corpus "
        "to download it"
    )


def check_counts(
    corpus: Path,
    found: Mapping[str, int],
    expected: Mapping[str, int],
    *,
    what: str = "utterances",
    remedy: str = "download it again",
) -> None:
    """Return when each set has as many of `what` as were published.

    Raises:
        DataError: the sets that have not.
    """
    wrong = [
        f"{name} has {found.get(name, 0)} of {count}"
        for name, count in expected.items()
        if found.get(name, 0) != count
    ]
    if wrong:
        raise DataError(
            f"{shown(corpus)}: {', '.join(wrong)} {what}; the corpus is incomplete or another "
            f"version, {remedy}"
        )


def _logged(name: str) -> Progress:
    """Progress as a line of the log for every tenth of the file."""
    said = 0.0

    def progress(done: int, total: int | None) -> None:
        nonlocal said
        share = done / total if total else 0.0
        if share >= said + PROGRESS_STEP:
            said = share
            log.info("%s: %.0f %% of %.0f MB", name, 100 * share, (total or 0) / 1e6)

    return progress
