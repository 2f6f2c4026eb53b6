"""Log-probabilities of any CTC model in a file, an array (T, V) an utterance, and its labels."""

import io
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.data.labels import Labels, read_labels
from asr.data.text import read_lines
from asr.data.vocabulary import Piece
from asr.errors import DataError, shown
from asr.storage import write_atomically


def read_scores(path: Path) -> dict[str, NDArray[np.floating[Any]]]:
    """The arrays of a file by the ids of their utterances, in its order.

    Raises:
        DataError: no such file, not an `.npz` of arrays (T, V) of floats, or no array.
    """
    if not path.is_file():
        raise DataError(f"{shown(path)}: no such file of scores (.npz, an array per utterance)")
    try:
        stored = np.load(path, allow_pickle=False)
        arrays = {} if isinstance(stored, np.ndarray) else dict(stored.items())
    except (ValueError, OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{shown(path)}: not an .npz file of arrays: {error}") from error
    if isinstance(stored, np.ndarray):
        raise DataError(f"{shown(path)}: one array; save an .npz with an array per utterance")
    if not arrays:
        raise DataError(f"{shown(path)}: has no arrays; save one (T, V) per utterance")
    for name, array in arrays.items():
        if array.ndim != 2 or not np.issubdtype(array.dtype, np.floating):
            raise DataError(
                f"{shown(path)}: array '{shown(name)}' must be (T, V) floats, got {array.shape} "
                f"{array.dtype}"
            )
    return arrays


def write_scores(path: Path, scores: Mapping[str, NDArray[np.floating[Any]]]) -> None:
    """Write arrays (T, V) by the ids of their utterances.

    Raises:
        ResourceError: the disk is full or not writable.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, array in scores.items():
            content = io.BytesIO()
            np.save(content, array, allow_pickle=False)
            archive.writestr(f"{name}.npy", content.getvalue())
    write_atomically(path, buffer.getvalue())


def read_label_file(path: Path, *, blank: int) -> Labels:
    """The labels of a text file, one a line in the order of the model's outputs.

    A line of one space is the space; see `labels.read_labels` for what names mean. After a tab may
    follow what a label adds to a text where its name does not say so, with a space in front where
    it begins a word: that is taken as it is.

    Raises:
        DataError: the file cannot be read, or has names that cannot be labels.
    """
    lines = [line.partition("\t") for _, line in read_lines(path)]
    try:
        labels = read_labels([name for name, _, _ in lines], blank=blank)
    except ValueError as error:
        raise DataError(f"{shown(path)}: {error}") from error
    pieces = list(labels.pieces)
    for index, (_, tab, text) in enumerate(lines):
        if tab and index != blank:
            pieces[index] = Piece(text.removeprefix(" "), starts_word=text.startswith(" "))
    return replace(labels, pieces=tuple(pieces))


def write_label_file(path: Path, labels: Labels) -> None:
    """Write labels as `read_label_file` reads them.

    Raises:
        ResourceError: the disk is full or not writable.
    """
    named = read_labels(labels.names, blank=labels.blank).pieces
    lines = []
    for line, piece, meant in zip(labels.names, labels.pieces, named, strict=True):
        if piece is not None and piece != meant:  # the name does not say it
            line = f"{line}\t{' ' * piece.starts_word}{piece.text}"
        lines.append(line)
    write_atomically(path, "".join(f"{line}\n" for line in lines))
