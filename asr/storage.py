"""Files and folders that are either whole or not there: under checkpoints, bundles and manifests.

A folder is written beside its final name, every file is flushed to the disk and hashed, the hashes
go into `manifest.json` last, and one rename makes it visible. A folder is valid when its manifest
is there and every hash agrees: a kill, a full disk or a flipped bit can make it invalid, never
silently wrong. Nothing here is pickled, and nothing that is read can run code.
"""

import errno
import hashlib
import json
import os
import re
import shutil
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from asr.errors import ModelError, ResourceError, shown

MANIFEST = "manifest.json"
FORMAT_VERSION = 1
MAX_HEADER_BYTES = 100 * 1024 * 1024
MAX_JSON_BYTES = 64 * 1024 * 1024
_LEFTOVER = re.compile(r".+\.(tmp|old)-\d+", re.DOTALL)  # …-PROCESS: unfinished work of ours


class NewerFormatError(ModelError):
    """A folder made by a newer version: intact, but not readable here."""


def write_atomically(path: Path, data: bytes | str) -> None:
    """Replace the file `path` by `data` in one step: readers see the old or the new, never a half.

    Raises:
        ResourceError: the disk is full, read-only or not writable; the old file is untouched.
    """
    content = data.encode("utf-8") if isinstance(data, str) else data
    with file_writer(path) as file:
        file.write(content)


@contextmanager
def file_writer(path: Path) -> Iterator[BinaryIO]:
    """A file to fill; on leaving without an error it is flushed and becomes `path` in one step.

    Raises:
        ResourceError: the disk is full, read-only or not writable; an old file is untouched.
    """
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        _sync_folder(path.parent)
    except OSError as error:
        raise cannot_write(path, error) from error


def write_json(path: Path, value: Any) -> None:
    """Write `value` as readable JSON, atomically; NaN and infinity are refused (ValueError)."""
    write_atomically(path, json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """The value in a JSON file of ours.

    Raises:
        ModelError: missing, too large, not UTF-8, not strict JSON (NaN, infinity, doubled keys).
    """
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise ModelError(f"{shown(path)}: over {MAX_JSON_BYTES} bytes; not a file of ours")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ModelError(f"{shown(path)}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ModelError(f"{shown(path)}: is not UTF-8 text; the file is damaged") from error
    return _strict_json(text, path)


def save_tensors(path: Path, tensors: Mapping[str, Any]) -> None:
    """Write named tensors as safetensors.

    Raises:
        ResourceError: the disk is full or not writable.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    separate: dict[str, Any] = {}
    memory: set[int] = set()
    for name, tensor in tensors.items():
        own = tensor.detach().cpu().contiguous()
        # Tied weights lie in the same memory, which the format refuses: each name gets a copy.
        separate[name] = own.clone() if own.untyped_storage().data_ptr() in memory else own
        memory.add(own.untyped_storage().data_ptr())
    try:
        save_file(separate, path)
    except OSError as error:
        raise cannot_write(path, error) from error
    except SafetensorError as error:
        raise ResourceError(
            f"{shown(path)}: cannot be written: {error}; free some space"
        ) from error


def load_tensors(path: Path) -> dict[str, Any]:
    """The named tensors of a safetensors file, on the CPU.

    Raises:
        ModelError: missing, not safetensors, damaged, or with a doubled name.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    _check_header(path)
    try:
        return dict(load_file(path))
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"{shown(path)}: not a usable safetensors file: {error}") from error


@contextmanager
def folder_writer(final: Path) -> Iterator[Path]:
    """A temporary folder to fill; on leaving without an error it becomes `final`, hashed.

    An existing `final` is replaced; should the process die between the two renames, the next
    `recover_replaced` puts the old one back.

    Raises:
        ResourceError: the disk is full, read-only, or the file system cannot rename folders.
    """
    temporary = final.with_name(f"{final.name}.tmp-{os.getpid()}")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        try:
            yield temporary
            _seal(temporary)
            _move_into_place(temporary, final)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise cannot_write(final, error) from error


def verify_folder(folder: Path) -> None:
    """Return when every file that the manifest of `folder` lists is there and unchanged.

    Raises:
        ModelError: no manifest, or a file missing, unreadable or with another hash.
        NewerFormatError: made by a newer version.
    """
    manifest = folder / MANIFEST
    if not manifest.is_file():
        raise ModelError(
            f"{shown(folder)}: no {MANIFEST}, so this is no finished bundle or checkpoint of ours"
        )
    content = read_json(manifest)
    if not isinstance(content, dict) or not isinstance(content.get("files"), dict):
        raise ModelError(f"{shown(manifest)}: has no list of files; the folder is damaged")
    version = content.get("format_version")
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise NewerFormatError(
            f"{shown(folder)}: made by a newer version (format {version}, this one reads up to "
            f"{FORMAT_VERSION}); update asr-toolkit"
        )
    for name, digest in content["files"].items():
        if Path(name).name != name or name == MANIFEST:
            raise ModelError(f"{shown(manifest)}: {shown(name)!r} is no plain file name")
        file = folder / name
        if not file.is_file():
            raise ModelError(f"{shown(file)}: is missing; copy the whole folder again")
        try:
            found = file_hash(file)
        except OSError as error:
            raise ModelError(f"{shown(file)}: cannot be read: {error.strerror}") from error
        if found != digest:
            raise ModelError(
                f"{shown(file)}: checksum differs from {MANIFEST}; the file is damaged or was "
                "changed. Copy the folder again"
            )


def is_valid(folder: Path) -> bool:
    """Whether `verify_folder` accepts the folder."""
    try:
        verify_folder(folder)
    except ModelError:
        return False
    return True


def file_hash(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def text_hash(text: str) -> str:
    """The SHA-256 of a text, in hexadecimal."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def sweep_temporary(folder: Path) -> list[Path]:
    """Remove what killed processes left half-written in `folder`; call it with the lock held."""
    swept = []
    for leftover in [path for path in folder.glob("*.tmp-*") if _LEFTOVER.fullmatch(path.name)]:
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)
        swept.append(leftover)
    return swept


def recover_replaced(folder: Path) -> None:
    """Finish what a kill between the two renames of `folder_writer` left; with the lock held."""
    for old in [path for path in folder.glob("*.old-*") if _LEFTOVER.fullmatch(path.name)]:
        final = folder / old.name.rpartition(".old-")[0]
        if final.exists():
            shutil.rmtree(old, ignore_errors=True)
        else:
            old.rename(final)


def check_free_space(folder: Path, needed_bytes: int) -> None:
    """Return when the disk of `folder` has `needed_bytes` free.

    Raises:
        ResourceError: it has not.
    """
    free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        raise ResourceError(
            f"{shown(folder)}: {free / 1e6:.0f} MB free, {needed_bytes / 1e6:.0f} MB needed for "
            "checkpoints; free some space or choose another --out"
        )


def _seal(folder: Path) -> None:
    """Flush and hash every file of `folder`, then write its manifest."""
    files = sorted(path for path in folder.iterdir() if path.name != MANIFEST)
    hashes = {}
    for path in files:
        with path.open("rb") as file:
            os.fsync(file.fileno())
        hashes[path.name] = file_hash(path)
    write_json(folder / MANIFEST, {"format_version": FORMAT_VERSION, "files": hashes})


def _move_into_place(temporary: Path, final: Path) -> None:
    old = final.with_name(f"{final.name}.old-{os.getpid()}")
    replaces = final.exists()
    if replaces:
        final.rename(old)
    try:
        temporary.rename(final)
    except OSError:
        if replaces:
            _put_back(old, final)
        raise
    _sync_folder(final.parent)
    if replaces:
        shutil.rmtree(old, ignore_errors=True)


def _put_back(old: Path, final: Path) -> None:
    """Undo a move, unless another process put a folder of its own in the place meanwhile."""
    try:
        old.rename(final)
    except OSError:
        if not final.exists():
            raise
        shutil.rmtree(old, ignore_errors=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def cannot_write(path: Path, error: OSError) -> ResourceError:
    """What to tell the user when the system refuses to write `path`."""
    reason = error.strerror or str(error)
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    advice = "free some space" if full else "check the folder"
    return ResourceError(
        f"{shown(path)}: cannot be written: {reason}; {advice} or choose another place"
    )


def _strict_json(text: str, path: Path) -> Any:
    def no_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        if len(set(keys)) != len(keys):
            doubled = next(key for key in keys if keys.count(key) > 1)
            raise ModelError(f"{shown(path)}: the name '{shown(doubled)}' stands twice")
        return dict(pairs)

    def no_constant(name: str) -> Any:
        raise ModelError(f"{shown(path)}: {name} is no JSON number; the file is damaged")

    try:
        return json.loads(text, object_pairs_hook=no_doubles, parse_constant=no_constant)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{shown(path)}: not valid JSON: {error}") from error


def _check_header(path: Path) -> None:
    """Refuse what is not safetensors before anything of its claimed size is allocated."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            prefix = file.read(8)
            length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else size
            if length > min(MAX_HEADER_BYTES, size - 8):
                raise ModelError(f"{shown(path)}: not a safetensors file, or cut off")
            header = file.read(length)
    except OSError as error:
        raise ModelError(f"{shown(path)}: cannot be read: {error.strerror}") from error
    try:
        text = header.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ModelError(f"{shown(path)}: not a safetensors file (header not text)") from error
    _strict_json(text, path)
