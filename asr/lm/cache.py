"""Models that were read once, kept as plain arrays, so that the next start takes no time.

An entry is a folder in the user's cache, `$XDG_CACHE_HOME/asr/lm` or `~/.cache/asr/lm`, named by
the path of the model file and its size and time of change. Its arrays are mapped into memory. An
entry that is damaged is not used, and one that cannot be written is done without.
"""

import hashlib
import logging
import os
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.compiled import compiled_loop
from asr.errors import ModelError, ResourceError, shown
from asr.lm.ngram import Automaton, NgramModel
from asr.storage import file_hash, folder_writer, read_json, verify_folder, write_json

FORMAT_VERSION = 1
DESCRIPTION = "model.json"
SMALL_BYTES = 1 << 20  # such a model file is read as fast as an entry
OLD_SECONDS = 3600.0  # after which nobody is still writing an unfinished entry

log = logging.getLogger(__name__)
_writing = threading.Lock()
_map_file: Any = np.lib.format.open_memmap  # of numpy's format alone; untyped in some versions


def cache_folder() -> Path:
    """Where the entries are."""
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "asr" / "lm"


def load_cached(path: Path, *, verify: bool) -> NgramModel | None:
    """The model of `path` as it was kept, or none.

    Args:
        path: the model file, which must not have changed since: same path, size and time.
        verify: also compare the SHA-256 of the file, and that of the entry's own files.
    """
    entry: Path | None = None
    try:
        entry = _entry(path)
        if not entry.is_dir():
            return None
        model = _read_entry(entry, path)
        if verify:
            verify_folder(entry)
            if file_hash(path) != model.digest:
                log.info("%s: changed since it was kept in the cache; read again", shown(path))
                return None
    except (OSError, RuntimeError, ModelError, ValueError, TypeError, LookupError) as error:
        log.info("%s: not usable, made again (%s)", shown(entry or path), error)
        return None
    return model


def keep(model: NgramModel) -> None:
    """Write an entry for `model`; when that is impossible, log a warning and go on."""
    path = model.source
    try:
        if path.stat().st_size < SMALL_BYTES:
            return
        entry = _entry(path)
        with _writing, folder_writer(entry) as folder:
            _write_entry(model, folder)
        _remove_older(entry)
    except (ResourceError, OSError, RuntimeError) as error:  # RuntimeError: nobody has a home
        if load_cached(path, verify=False) is None:  # else another process was quicker
            log.warning("the model is read anew each time, because its cache fails: %s", error)


def _entry(path: Path) -> Path:
    """The folder of an entry: a part for the path, a part for what may change."""
    place = path.resolve()
    status = place.stat()
    changing = f"{FORMAT_VERSION} {status.st_size} {status.st_mtime_ns}"
    return cache_folder() / f"{_key(os.fsencode(place))}-{_key(changing.encode())}"


def _key(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:20]


def _write_entry(model: NgramModel, folder: Path) -> None:
    arrays = {**model.automaton._asdict(), "text": model.text}
    for name, array in arrays.items():
        with (folder / f"{name}.npy").open("wb") as file:
            np.save(file, array, allow_pickle=False)
    write_json(
        folder / DESCRIPTION,
        {
            "format_version": FORMAT_VERSION,
            "source": shown(model.source.resolve()),
            "sha256": model.digest,
            "counts": list(model.counts),
            "special": [model.unk, model.bos, model.eos],
            "bytes_of_text": len(model.text),
        },
    )


def _read_entry(entry: Path, source: Path) -> NgramModel:
    """The model of an entry.

    Raises:
        ValueError, TypeError, LookupError, ModelError, OSError: it is damaged.
    """
    description = read_json(entry / DESCRIPTION)
    counts = tuple(int(count) for count in description["counts"])
    unk, bos, eos = (int(word) for word in description["special"])
    num_arcs, num_states = sum(counts), 1 + sum(counts[:-1])
    automaton = Automaton(
        arc_begin=_mapped(entry, "arc_begin", np.int64, num_states + 1),
        arc_words=_mapped(entry, "arc_words", np.int32, num_arcs),
        arc_log_probs=_mapped(entry, "arc_log_probs", np.float32, num_arcs),
        arc_targets=_mapped(entry, "arc_targets", np.int32, num_arcs),
        backoff_log_probs=_mapped(entry, "backoff_log_probs", np.float32, num_states),
        backoff_states=_mapped(entry, "backoff_states", np.int32, num_states),
    )
    text = _mapped(entry, "text", np.uint8, int(description["bytes_of_text"]))
    if not (all(0 <= word < counts[0] for word in (unk, bos, eos)) and _safe(automaton, counts[0])):
        raise ValueError("links that lead nowhere")
    digest = str(description["sha256"])
    return NgramModel(automaton, counts, unk, bos, eos, source, digest, text)


def _mapped(entry: Path, name: str, dtype: type[np.generic], length: int) -> NDArray[Any]:
    """An array of an entry, mapped into memory, as a plain array that cannot be written to."""
    array: NDArray[Any] = _map_file(entry / f"{name}.npy", mode="r")
    if array.dtype != dtype or array.shape != (length,):
        raise ValueError(f"{name} is {array.dtype} {array.shape}, not {length} numbers")
    return np.asarray(array)


@compiled_loop
def _safe(automaton, num_words):  # type: ignore[no-untyped-def]
    """Whether every link stays inside the arrays, and every chain of back-off links ends."""
    num_states, num_arcs = len(automaton.backoff_states), len(automaton.arc_words)
    if automaton.arc_begin[0] != 0 or automaton.arc_begin[num_states] != num_arcs:
        return False
    if automaton.arc_begin[1] != num_words or automaton.backoff_states[0] != -1:
        return False
    fine = True
    for state in range(1, num_states):
        fine &= 0 <= automaton.backoff_states[state] < state
        fine &= automaton.arc_begin[state] <= automaton.arc_begin[state + 1]
    for arc in range(num_arcs):
        fine &= 0 <= automaton.arc_targets[arc] < num_states
    return fine


def _remove_older(entry: Path) -> None:
    """Remove the entries of the same file as it was before, and what killed processes left."""
    for other in entry.parent.glob(f"{entry.name.partition('-')[0]}-*"):
        unfinished = "." in other.name
        if other == entry or (unfinished and time.time() - other.stat().st_mtime < OLD_SECONDS):
            continue
        shutil.rmtree(other, ignore_errors=True)
