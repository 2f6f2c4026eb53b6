"""The images of a recipe: written together, found again; as `prepared.py` for manifests.

Each of train, dev and test is `NAME.npz` (`asr.data.images`), and `prepared.json` beside them has
their sizes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asr.data.corpus.prepared import (
    MARKER,
    PreparedData,
    check_complete,
    find_prepared,
    in_order,
    read_marker,
)
from asr.data.corpus.prepared_texts import PreparedTexts, find_texts
from asr.data.corpus.published import check_counts
from asr.data.images import Images, write_images
from asr.errors import shown
from asr.storage import write_json

KEYS = {"images", "absent", "notes"}


@dataclass(frozen=True, kw_only=True)
class PreparedImages:
    """Images that are ready, by the names of their sets.

    Attributes:
        out: their folder.
        paths: the files: train, dev, test.
        counts: images.
        shapes: of each image: height, width, and 3 in colour.
        absent: sets that are missing on purpose → why.
        notes: what else one should know of them.
    """

    out: Path
    paths: dict[str, Path]
    counts: dict[str, int]
    shapes: dict[str, tuple[int, ...]]
    absent: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """What a person wants to read of it, a line for each set, reason and note."""
        sets = [
            f"{shown(path)}: {self.counts[name]:,} images of "
            f"{' x '.join(map(str, self.shapes[name]))}"
            for name, path in self.paths.items()
        ]
        absent = [f"no {name} set: {reason}" for name, reason in self.absent.items()]
        return [*sets, *absent, *self.notes]


def published_sets(
    corpus: Path, train: Images, test: Images, counts: Mapping[str, int], *, dev_images: int
) -> dict[str, Images]:
    """The sets of a corpus that is published in two: dev is the end of the training images.

    Raises:
        DataError: there are not as many images as `counts` says.
    """
    found = {"train": len(train), "test": len(test)}
    check_counts(corpus, found, counts, what="images")
    return {"train": train[:-dev_images], "dev": train[-dev_images:], "test": test}


def write_image_sets(
    out: Path,
    sets: Mapping[str, Images],
    *,
    absent: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
) -> PreparedImages:
    """Write `NAME.npz` for each set; `prepared.json` last, when all are whole.

    Args:
        out: their folder; images that an earlier preparation wrote there are replaced.
        sets: train, dev, test, and others.
        absent: which of train, dev and test are missing, and why.
        notes: for the person who prepares.

    Raises:
        DataError: a set is missing or empty without a reason.
        ResourceError: the disk is too small or not writable.
    """
    ordered = {name: sets[name] for name in in_order(sets)}
    check_complete(out, {name: len(images) for name, images in ordered.items()}, absent or {})
    (out / MARKER).unlink(missing_ok=True)  # from here to its return the sets may be mixed
    for name, images in ordered.items():
        write_images(_file(out, name), images)
    sizes = {
        name: {"count": len(images), "shape": list(images.shape[1:])}
        for name, images in ordered.items()
    }
    summary = {"images": sizes, "absent": dict(absent or {}), "notes": list(notes)}
    write_json(out / MARKER, summary)
    return _prepared(out, summary)


def find_images(out: Path) -> PreparedImages | None:
    """What `write_image_sets` wrote into `out`; none when it did not or when a file is missing."""
    summary = read_marker(out, KEYS, "images")
    if not summary or not all(_file(out, name).is_file() for name in summary["images"]):
        return None
    return _prepared(out, summary)


def find_any(out: Path) -> PreparedData | PreparedTexts | PreparedImages | None:
    """What a preparation wrote into `out`, of whichever kind; none when there is nothing whole."""
    return find_prepared(out) or find_texts(out) or find_images(out)


def _file(out: Path, name: str) -> Path:
    return out / f"{name}.npz"


def _prepared(out: Path, summary: Mapping[str, Any]) -> PreparedImages:
    sizes: dict[str, dict[str, Any]] = summary["images"]
    return PreparedImages(
        out=out,
        paths={name: _file(out, name) for name in sizes},
        counts={name: size["count"] for name, size in sizes.items()},
        shapes={name: tuple(size["shape"]) for name, size in sizes.items()},
        absent=dict(summary["absent"]),
        notes=tuple(summary["notes"]),
    )
