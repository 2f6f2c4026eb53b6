"""Archives made to do harm, one kind each: refused as a whole, with nothing written anywhere."""

import bz2
import errno
import gzip
import io
import lzma
import os
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from asr.data.corpus import archives as module
from asr.data.corpus.archives import unpack
from asr.errors import DataError, ResourceError

LIMITS = {"max_bytes": 1_000_000, "max_members": 100}
FILES = {"corpus/etc/list.txt": b"one\ntwo\n", "corpus/wav/a.wav": bytes(3000), "empty": b""}


def tar_of(*members: tuple[str, bytes | tarfile.TarInfo], end: bytes = bytes(1024)) -> bytes:
    """A tar file of these members; a `TarInfo` stands for a member that is not a plain file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, content in members:
            if isinstance(content, tarfile.TarInfo):
                tar.addfile(content)
                continue
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
        length = tar.offset
    return buffer.getvalue()[:length] + end


def special(kind: bytes, name: str = "corpus/x", link: str = "/etc/passwd") -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type = kind
    entry.linkname = link
    return entry


def zip_of(*members: tuple[str | zipfile.ZipInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


def zip_entry(name: str, mode: int) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.external_attr = mode << 16
    return entry


PLAIN_TAR = tar_of(*FILES.items())


def tree(folder: Path) -> dict[str, bytes | None]:
    """Everything below a folder: relative name → content, none for folders and other things."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def refuse(folder: Path, content: bytes, match: str, **limits: int) -> None:
    """Unpacking `content` is refused and leaves the whole folder as it was."""
    archive = folder / "archive"
    archive.write_bytes(content)
    (folder / "inside").mkdir(exist_ok=True)
    before = tree(folder)
    with pytest.raises(DataError, match=match):
        unpack(archive, folder / "inside" / "corpus", **{**LIMITS, **limits})
    assert tree(folder) == before


@pytest.mark.parametrize(
    "content",
    [
        PLAIN_TAR,
        gzip.compress(PLAIN_TAR, mtime=0),
        bz2.compress(PLAIN_TAR),
        lzma.compress(PLAIN_TAR),
        zip_of(*FILES.items()),
    ],
    ids=["tar", "gz", "bz2", "xz", "zip"],
)
def test_every_kind_of_archive_is_unpacked(tmp_path: Path, content: bytes) -> None:
    archive = tmp_path / "misnamed.txt"
    archive.write_bytes(content)
    unpack(archive, tmp_path / "new" / "corpus", **LIMITS)
    unpacked = tree(tmp_path / "new" / "corpus")
    assert {name: data for name, data in unpacked.items() if data is not None} == FILES
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["corpus"]


def test_folders_may_be_empty_and_come_twice(tmp_path: Path) -> None:
    folder = special(tarfile.DIRTYPE, "./corpus/", link="")
    (tmp_path / "a").write_bytes(tar_of(("", folder), ("corpus/x", b"x"), ("", folder)))
    unpack(tmp_path / "a", tmp_path / "one", **LIMITS)
    assert tree(tmp_path / "one") == {"corpus": None, "corpus/x": b"x"}
    (tmp_path / "b").write_bytes(zip_of(("corpus/", b""), ("corpus/x", b"x")))
    unpack(tmp_path / "b", tmp_path / "two", **LIMITS)
    assert tree(tmp_path / "two") == {"corpus": None, "corpus/x": b"x"}


def test_modes_and_owners_of_the_archive_are_not_taken_over(tmp_path: Path) -> None:
    entry = tarfile.TarInfo("program")
    entry.mode, entry.uid = 0o6777, 12345
    (tmp_path / "a").write_bytes(tar_of(("", entry)))
    unpack(tmp_path / "a", tmp_path / "one", **LIMITS)
    (tmp_path / "plain").write_bytes(b"")
    found, plain = (tmp_path / "one" / "program").stat(), (tmp_path / "plain").stat()
    assert (found.st_mode, found.st_uid) == (plain.st_mode, plain.st_uid)
    (tmp_path / "folder").mkdir()
    assert (tmp_path / "one").stat().st_mode == (tmp_path / "folder").stat().st_mode


@pytest.mark.parametrize(
    "name", ["/evil", "../evil", "corpus/../../evil", "a\\..\\evil", "C:evil", "..", "/"]
)
def test_names_that_point_outside_are_refused(tmp_path: Path, name: str) -> None:
    for content in (tar_of(("good", b"1"), (name, b"2")), zip_of(("good", b"1"), (name, b"2"))):
        refuse(tmp_path, content, "points outside of the archive; nothing was unpacked")


def test_a_null_in_a_name_is_refused(tmp_path: Path) -> None:
    entry = tarfile.TarInfo("good")
    entry.pax_headers = {"path": "evil\x00.wav"}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(entry)
    refuse(tmp_path, buffer.getvalue(), r"'evil\\x00.wav' points outside")


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        (tarfile.SYMTYPE, "symbolic link"),
        (tarfile.LNKTYPE, "hard link"),
        (tarfile.CHRTYPE, "device"),
        (tarfile.BLKTYPE, "device"),
        (tarfile.FIFOTYPE, "named pipe"),
        (tarfile.CONTTYPE, "contiguous file"),
        (b"Z", "member of type b'Z'"),
    ],
)
def test_what_is_no_plain_file_in_a_tar_is_refused(tmp_path: Path, kind: bytes, word: str) -> None:
    content = tar_of(("good", b"1"), ("", special(kind)), ("corpus/x/evil", b"2"))
    refuse(tmp_path, content, f"'corpus/x' is a {word}; nothing was unpacked")


def test_a_sparse_file_is_refused(tmp_path: Path) -> None:
    entry = tarfile.TarInfo("holes")
    entry.pax_headers = {"GNU.sparse.map": "0,1", "GNU.sparse.size": "999999"}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(entry)
    refuse(tmp_path, buffer.getvalue(), "'holes' is a sparse file")


@pytest.mark.parametrize(
    ("mode", "word"),
    [(stat.S_IFLNK, "symbolic link"), (stat.S_IFCHR, "device"), (stat.S_IFIFO, "device")],
)
def test_what_is_no_plain_file_in_a_zip_is_refused(tmp_path: Path, mode: int, word: str) -> None:
    content = zip_of(("good", b"1"), (zip_entry("corpus/x", mode | 0o644), b"/etc/passwd"))
    refuse(tmp_path, content, f"'corpus/x' is a {word}")


def patched_zip(offset: int, value: int) -> bytes:
    """A zip of one file with a 16-bit field of its entry in the central directory changed."""
    content = bytearray(zip_of(("secret", b"1" * 100)))
    place = content.index(b"PK\x01\x02") + offset
    content[place : place + 2] = value.to_bytes(2, "little")
    return bytes(content)


def test_encrypted_and_exotic_zips_are_refused(tmp_path: Path) -> None:
    refuse(tmp_path, patched_zip(8, 1), "'secret' is an encrypted file")
    refuse(tmp_path, patched_zip(10, 97), "'secret' is a file of compression method 97")
    refuse(tmp_path, patched_zip(6, 90), "damaged or cut off .zip file version 9.0")


@pytest.mark.parametrize("second", ["corpus/x", "./corpus//x"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_names_that_come_twice_are_refused(tmp_path: Path, second: str) -> None:
    for make in (tar_of, zip_of):
        refuse(tmp_path, make(("corpus/x", b"1"), (second, b"2")), "comes twice; nothing")


def test_a_file_that_is_also_a_folder_is_refused(tmp_path: Path) -> None:
    refuse(tmp_path, tar_of(("x", b"1"), ("x/y", b"2")), "'x' is both a file and a folder")
    refuse(tmp_path, tar_of((".", b"1")), "'.' is no file name")


def test_bombs_are_refused_by_what_they_declare(tmp_path: Path) -> None:
    silence = bytes(100_000)
    for make in (tar_of, zip_of):
        content = make(*((f"{number}", silence) for number in range(11)))
        refuse(tmp_path, gzip.compress(content) if make is tar_of else content, "more than 1000000")
        many = make(*((f"{number}", b"") for number in range(101)))
        refuse(tmp_path, many, "has more than 100 members")


def test_bombs_are_refused_by_what_comes_out(tmp_path: Path) -> None:
    content = bytearray(zip_of(("bomb", bytes(100_000))))
    for place in (content.index(b"PK\x01\x02") + 24, content.index(b"PK\x03\x04") + 22):
        content[place : place + 4] = (7).to_bytes(4, "little")
    refuse(
        tmp_path, bytes(content), r"damaged or cut off \(Bad CRC-32|another size than it declares"
    )


def test_a_declared_size_that_is_not_written_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_copy", lambda source, target, limit: limit + 1)
    refuse(tmp_path, PLAIN_TAR, "another size than it declares")


def test_an_archive_that_changes_under_our_hands_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = module._members, []

    def changing(file: io.BufferedReader, archive: Path) -> object:
        calls.append(archive)
        return real(file, archive) if len(calls) == 1 else iter(())

    monkeypatch.setattr(module, "_members", changing)
    refuse(tmp_path, PLAIN_TAR, "changed while it was being read")


def test_a_header_too_large_for_the_memory_is_refused(tmp_path: Path) -> None:
    name = special(tarfile.GNUTYPE_LONGNAME, "././@LongLink", link="")
    name.size = 1 << 40
    refuse(
        tmp_path, name.tobuf(tarfile.GNU_FORMAT) + bytes(512), "a header of more than 4194304 bytes"
    )
    negative = tarfile.TarInfo("x")
    negative.size = -512
    refuse(tmp_path, negative.tobuf(tarfile.GNU_FORMAT) + bytes(1024), "'x' has a negative size")


def test_endless_headers_are_refused(tmp_path: Path) -> None:
    header = special(tarfile.XGLTYPE, "global", link="").tobuf()
    refuse(tmp_path, header * 3000 + bytes(1024), "damaged or cut off .*recursion")


@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_archives_that_were_cut_off_are_refused(
    tmp_path: Path, compress: Callable[[bytes], bytes]
) -> None:
    content = compress(tar_of(("a", np.random.default_rng(1).bytes(5000)), ("b", b"2")))
    for length in (600, len(content) // 2, len(content) - 1025 if compress is bytes else -20):
        refuse(tmp_path, content[:length], "damaged or cut off .*download it again")


def test_a_tar_that_ends_between_members_is_refused(tmp_path: Path) -> None:
    refuse(tmp_path, tar_of(("a", b"1"), end=b""), "no end-of-archive mark")
    refuse(tmp_path, tar_of(("a", b"1"), end=b"garbage" * 200), "no end-of-archive mark")
    refuse(tmp_path, gzip.compress(PLAIN_TAR + bytes(1 << 22)), "more than 4194304 bytes after")


def test_damage_inside_is_found(tmp_path: Path) -> None:
    packed = bytearray(zip_of(("a", np.random.default_rng(1).bytes(5000))))
    packed[2000] ^= 1
    refuse(tmp_path, bytes(packed), "damaged or cut off .*CRC")
    refuse(tmp_path, zip_of(("a", b"1"))[:-5], "damaged or cut off")
    refuse(tmp_path, b"BZh9" + bytes(600), "damaged or cut off .Invalid data stream")


def test_no_archive_at_all(tmp_path: Path) -> None:
    refuse(tmp_path, b"<!DOCTYPE html>Not Found", r"neither tar nor zip .*b'<!DOCTYPE html>N'")
    with pytest.raises(DataError, match=r"missing\.tar: cannot be read: No such file"):
        unpack(tmp_path / "missing.tar", tmp_path / "x", **LIMITS)


def test_random_damage_never_escapes_and_never_surprises(tmp_path: Path) -> None:
    """Whatever byte is flipped: unpacked, or refused with our error and nothing written."""
    chance = np.random.default_rng(7)
    originals = [gzip.compress(PLAIN_TAR), PLAIN_TAR, zip_of(*FILES.items())]
    archive, target = tmp_path / "archive", tmp_path / "inside" / "corpus"
    target.parent.mkdir()
    for trial in range(150):
        content = bytearray(originals[trial % 3])
        for _ in range(chance.integers(1, 5)):
            content[chance.integers(min(len(content), 2048))] = chance.integers(256)
        archive.write_bytes(content)
        try:
            unpack(archive, target, **LIMITS)
        except DataError:
            assert list(target.parent.iterdir()) == []
        else:
            shutil.rmtree(target)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["archive", "inside"]


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    with pytest.raises(DataError, match="exists already; remove it"):
        unpack(tmp_path / "archive", tmp_path / "corpus", **LIMITS)


def test_a_disk_that_is_too_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(PLAIN_TAR)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=1000))
        with pytest.raises(ResourceError, match="0 MB free, 0 MB needed to unpack"):
            unpack(tmp_path / "a", tmp_path / "corpus", **LIMITS)

    def full(source: object, target: object, limit: int) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(module, "_copy", full)
    with pytest.raises(ResourceError, match="No space left on device; free some space"):
        unpack(tmp_path / "a", tmp_path / "corpus", **LIMITS)
    assert tree(tmp_path) == {"a": PLAIN_TAR}


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(PLAIN_TAR)
    with pytest.raises(ResourceError, match="check the folder or choose another place"):
        unpack(tmp_path / "a", tmp_path / "a" / "corpus", **LIMITS)
