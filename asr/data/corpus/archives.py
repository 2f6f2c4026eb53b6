"""Somebody else's archive, unpacked so that it can write nowhere but where it should.

Every member is looked at before anything is written: a name that points outside, a link, a device,
a name that comes twice, an encrypted or sparse file, too many members or too many bytes refuse the
whole archive. Then the bytes are copied, counted again, to names that were checked, into a folder
beside the final one, which gets its name at the end. `extractall` is never called.
"""

import bz2
import errno
import gzip
import lzma
import shutil
import stat
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, cast

from asr.errors import DataError, ResourceError, shown
from asr.storage import cannot_write

BLOCK_BYTES = 1 << 20
MAX_HEADER_BYTES = 1 << 22  # of one tar header with its extensions, which tarfile reads as a whole
TAR_BLOCK = 512
ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    gzip.BadGzipFile,
    RecursionError,  # thousands of extended headers, one inside the other
    struct.error,
    NotImplementedError,  # a zip of a later version
    ValueError,
)
_Stream = IO[bytes] | gzip.GzipFile | bz2.BZ2File | lzma.LZMAFile
TAR_KINDS = {
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.LNKTYPE: "a hard link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a named pipe",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
    tarfile.CONTTYPE: "a contiguous file",
}


@dataclass(frozen=True)
class _Member:
    """One entry of an archive.

    Attributes:
        name: as it stands in the archive.
        kind: `file`, `folder`, or what it is instead, which refuses the archive.
        size: declared bytes.
        read: opens its content.
    """

    name: str
    kind: str
    size: int
    read: Callable[[], IO[bytes]]


def unpack(archive: Path, destination: Path, *, max_bytes: int, max_members: int) -> None:
    """Unpack a tar (plain, gz, bz2, xz) or zip file into the new folder `destination`.

    Args:
        archive: its content decides what it is, not its name.
        destination: must not exist; appears when everything has been written.
        max_bytes: what the members may come to, unpacked.
        max_members: how many there may be.

    Raises:
        DataError: no archive, damaged, cut off, or with anything in it that is refused.
        ResourceError: the disk is too small or not writable.
    """
    if destination.exists():
        raise DataError(f"{shown(destination)}: exists already; remove it to unpack it again")
    try:
        file = archive.open("rb")
    except OSError as error:
        raise DataError(f"{shown(archive)}: cannot be read: {error.strerror}") from error
    try:
        with file:
            sizes = _inspect(
                _members(file, archive), archive, max_bytes=max_bytes, max_members=max_members
            )
            with _folder_beside(destination, sum(sizes.values())) as folder:
                _write(_members(file, archive), sizes, folder, archive=archive)
                folder.rename(destination)
    except DAMAGE as error:
        raise _damaged(archive, error) from error
    except OSError as error:
        if error.filename is None and error.errno in (None, errno.EINVAL):  # not from writing
            raise _damaged(archive, error) from error
        raise cannot_write(destination, error) from error


def _members(file: IO[bytes], archive: Path) -> Iterator[_Member]:
    """The members of an open archive, in its order, from the beginning."""
    file.seek(0)
    start = file.read(TAR_BLOCK)
    file.seek(0)
    if start.startswith(b"PK"):
        return _zip_members(file)
    if start.startswith(b"\x1f\x8b"):
        return _tar_members(gzip.GzipFile(fileobj=file))
    if start.startswith(b"BZh"):
        return _tar_members(bz2.BZ2File(file))
    if start.startswith(b"\xfd7zXZ\x00"):
        return _tar_members(lzma.LZMAFile(file))
    if start[257:262] == b"ustar":
        return _tar_members(file)
    raise DataError(
        f"{shown(archive)}: neither tar nor zip (it begins with {start[:16]!r}); the download may "
        "be a page that says why: open it, or delete it and download it again"
    )


def _zip_members(file: IO[bytes]) -> Iterator[_Member]:
    with zipfile.ZipFile(file) as archive:
        for entry in archive.infolist():
            yield _Member(
                name=entry.filename,
                kind=_zip_kind(entry),
                size=entry.file_size,
                read=partial(archive.open, entry),
            )


def _zip_kind(entry: zipfile.ZipInfo) -> str:
    mode = entry.external_attr >> 16  # of a Unix file; zero in archives of other systems
    if entry.flag_bits & 0x1:
        return "an encrypted file"
    if stat.S_ISLNK(mode):
        return "a symbolic link"
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "a device"
    if entry.is_dir():
        return "folder"
    if entry.compress_type not in ZIP_METHODS:
        return f"a file of compression method {entry.compress_type}"
    return "file"


class _Limited:
    """A stream that refuses to hand out a huge piece at once.

    A tar header may declare extensions of any size, which `tarfile` reads as a whole: the memory
    would go before any member is seen. Members are read in blocks, which stay below the limit.
    """

    def __init__(self, stream: _Stream) -> None:
        self._stream = stream

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of more than {MAX_HEADER_BYTES} bytes")
        return self._stream.read(size)

    def seek(self, position: int) -> int:
        return self._stream.seek(position)

    def tell(self) -> int:
        return self._stream.tell()


def _tar_members(stream: _Stream) -> Iterator[_Member]:
    with tarfile.open(fileobj=cast(IO[bytes], _Limited(stream)), mode="r:") as tar:
        while (entry := tar.next()) is not None:
            yield _Member(
                name=entry.name,
                kind=_tar_kind(entry),
                size=entry.size,
                read=partial(tar.fileobject, tar, entry),
            )
        # `tarfile` takes a damaged header after the first one for the end; a real end is zeros.
        stream.seek(tar.offset)
        if stream.read(TAR_BLOCK) != bytes(TAR_BLOCK):
            raise tarfile.ReadError("no end-of-archive mark")
        # Read to the very end, where the checksum of the compression stands.
        if len(stream.read(MAX_HEADER_BYTES)) == MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"more than {MAX_HEADER_BYTES} bytes after its end")


def _tar_kind(entry: tarfile.TarInfo) -> str:
    if entry.isdir():
        return "folder"
    if entry.sparse is not None:
        return "a sparse file"
    if entry.type in (tarfile.REGTYPE, tarfile.AREGTYPE):
        return "file"
    return TAR_KINDS.get(entry.type, f"a member of type {entry.type!r}")


def _inspect(
    members: Iterator[_Member], archive: Path, *, max_bytes: int, max_members: int
) -> dict[PurePosixPath, int]:
    """The files of an archive with their declared sizes, when all members are harmless."""
    files: dict[PurePosixPath, int] = {}
    folders: set[PurePosixPath] = set()
    total = 0
    for count, member in enumerate(members, start=1):
        if count > max_members:
            raise _refused(archive, f"has more than {max_members} members")
        path = _checked_path(member, archive)
        total += member.size
        if total > max_bytes:
            raise _refused(archive, f"comes to more than {max_bytes} bytes unpacked")
        folders.update(path.parents)
        if member.kind == "folder":
            folders.add(path)
        elif path in files:
            raise _refused(archive, f"'{shown(member.name)}' comes twice")
        else:
            files[path] = member.size
    doubled = next((path for path in files if path in folders), None)
    if doubled is not None:
        raise _refused(archive, f"'{shown(str(doubled))}' is both a file and a folder")
    return files


def _checked_path(member: _Member, archive: Path) -> PurePosixPath:
    """The path of a harmless member below the destination."""
    name = shown(member.name)
    if member.kind not in ("file", "folder"):
        raise _refused(archive, f"'{name}' is {member.kind}")
    if member.size < 0:
        raise _refused(archive, f"'{name}' has a negative size")
    path = PurePosixPath(member.name)
    if (
        path.is_absolute()
        or ".." in path.parts
        or PureWindowsPath(member.name).drive
        or any(character in member.name for character in "\\\x00")
    ):
        raise _refused(archive, f"'{name}' points outside of the archive")
    if member.kind == "file" and not path.parts:
        raise _refused(archive, f"'{name}' is no file name")
    return path


def _refused(archive: Path, reason: str) -> DataError:
    return DataError(
        f"{shown(archive)}: {reason}; nothing was unpacked. If you trust it, unpack it by hand and "
        "pass --corpus DIR"
    )


def _write(
    members: Iterator[_Member], sizes: dict[PurePosixPath, int], folder: Path, *, archive: Path
) -> None:
    """Copy the members into `folder`; what was inspected must be what comes now."""
    seen = 0
    for member in members:
        path = _checked_path(member, archive)
        if member.kind == "folder":
            (folder / path).mkdir(parents=True, exist_ok=True)
            continue
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with member.read() as source, target.open("xb") as file:
            written = _copy(source, file, sizes.get(path, 0))
        if written != sizes.get(path):
            raise _refused(archive, f"'{shown(member.name)}' has another size than it declares")
        seen += 1
    if seen != len(sizes):
        raise _refused(archive, "changed while it was being read")


def _copy(source: IO[bytes], target: IO[bytes], limit: int) -> int:
    """Copy in blocks, at most one block beyond `limit`; returns the bytes copied."""
    copied = 0
    while copied <= limit and (block := source.read(BLOCK_BYTES)):
        target.write(block)
        copied += len(block)
    return copied


@contextmanager
def _folder_beside(destination: Path, needed_bytes: int) -> Iterator[Path]:
    """A new folder on the disk of `destination`, gone afterwards unless it was renamed."""
    parent = destination.parent
    parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(parent).free
    if free < needed_bytes:
        raise ResourceError(
            f"{shown(parent)}: {free / 1e6:.0f} MB free, {needed_bytes / 1e6:.0f} MB needed to "
            "unpack; free some space or choose another --out"
        )
    temporary = Path(tempfile.mkdtemp(prefix=f".{destination.name}.tmp-", dir=parent))
    try:
        folder = temporary / "content"  # mkdtemp's own folder is closed to other users
        folder.mkdir()
        yield folder
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _damaged(archive: Path, error: BaseException) -> DataError:
    return DataError(
        f"{shown(archive)}: damaged or cut off ({shown(str(error))}); delete it and download it "
        "again"
    )
