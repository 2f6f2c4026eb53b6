"""Downloads against a small server on this machine that misbehaves as it is told."""

import errno
import hashlib
import json
import os
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from asr.data.corpus import download as module
from asr.data.corpus.download import download
from asr.errors import DataError, ResourceError

CONTENT = np.random.default_rng(1).bytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()


@dataclass
class Site:
    """What the server serves, how it fails, and what it was asked."""

    content: bytes = CONTENT
    etag: str | None = '"one"'
    modified: str | None = None
    ranges: bool = True
    declares_length: bool = True
    chunked: bool = False
    foreign_range: bool = False
    trusts_if_range: bool = False
    drops: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    location: str | None = None
    asked: list[str | None] = field(default_factory=list)
    url: str = ""

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        wanted = request.headers.get("Range")
        self.asked.append(wanted)
        if self.statuses:
            status = self.statuses.pop(0)
            request.send_response(status)
            if self.location and status in (301, 302):
                request.send_header("Location", self.location)
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        start = self._start(wanted, request.headers.get("If-Range"))
        if start is not None and start >= len(self.content):
            request.send_response(416)
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        self._send(request, start)

    def _start(self, wanted: str | None, condition: str | None) -> int | None:
        if wanted is None or not self.ranges:
            return None
        if condition is not None and condition != self.etag and not self.trusts_if_range:
            return None
        return int(wanted.removeprefix("bytes=").removesuffix("-"))

    def _send(self, request: BaseHTTPRequestHandler, start: int | None) -> None:
        body = self.content[start or 0 :]
        request.send_response(200 if start is None else 206)
        if start is not None:
            first = start + 1 if self.foreign_range else start
            total = len(self.content)
            request.send_header("Content-Range", f"bytes {first}-{total - 1}/{total}")
        if self.chunked:
            request.send_header("Transfer-Encoding", "chunked")
        elif self.declares_length:
            request.send_header("Content-Length", str(len(body)))
        for name, value in (("ETag", self.etag), ("Last-Modified", self.modified)):
            if value is not None:
                request.send_header(name, value)
        request.end_headers()
        frame = (f"{len(body):x}\r\n".encode(), b"\r\n0\r\n\r\n") if self.chunked else (b"", b"")
        sent = body[: self.drops.pop(0)] if self.drops else body + frame[1]
        request.wfile.write(frame[0] + sent)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.answer(self)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    site.url = f"http://127.0.0.1:{server.server_port}/corpus.tar.gz"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield site
    server.shutdown()
    server.server_close()
    thread.join()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_arrives_whole_under_its_name_alone(site: Site, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    target = tmp_path / "new" / "corpus.tar.gz"

    def note(done: int, total: int | None) -> None:
        seen.append((done, total))

    download(site.url, target, sha256=SHA256, md5=MD5, size=len(CONTENT), progress=note)
    assert target.read_bytes() == CONTENT
    assert names(target.parent) == ["corpus.tar.gz"]
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_a_file_that_is_there_is_verified_and_not_fetched_again(site: Site, tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_bytes(CONTENT)
    download(site.url, target, sha256=SHA256)
    assert site.asked == []
    target.write_bytes(b"something else")
    with pytest.raises(DataError, match=r"has sha256 .* remove that file and run the command"):
        download(site.url, target, sha256=SHA256)
    assert target.read_bytes() == b"something else"


@pytest.mark.parametrize(
    "validators",
    [{}, {"etag": None, "modified": "Mon, 01 Jan 2024 00:00:00 GMT"}, {"etag": None}],
    ids=["etag", "date", "length only"],
)
def test_drops_in_the_middle_are_resumed_where_they_happened(
    site: Site, tmp_path: Path, validators: dict[str, str | None]
) -> None:
    for name, value in validators.items():
        setattr(site, name, value)
    site.trusts_if_range = True
    site.drops = [100_000, 50_000]
    download(site.url, tmp_path / "file", sha256=SHA256)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert site.asked == [None, "bytes=100000-", "bytes=150000-"]


def test_a_later_process_continues_what_an_earlier_one_left(site: Site, tmp_path: Path) -> None:
    site.drops = [100_000] + [0] * module.MAX_FAILURES
    with pytest.raises(DataError, match="100000 of 300000 bytes; run the command again later"):
        download(site.url, tmp_path / "file")
    assert names(tmp_path) == ["file.part", "file.part.json"]
    site.asked.clear()
    download(site.url, tmp_path / "file", sha256=SHA256)
    assert site.asked == ["bytes=100000-"]
    assert names(tmp_path) == ["file"]


def test_what_is_complete_is_not_asked_for_again(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file.part").write_bytes(CONTENT)
    note = {"url": site.url, "validator": '"one"', "total": len(CONTENT)}
    (tmp_path / "file.part.json").write_text(json.dumps(note), encoding="utf-8")
    download(site.url, tmp_path / "file", sha256=SHA256)
    assert site.asked == []


@pytest.mark.parametrize("note", [None, "{", "[]", '{"url": "http://else.where/"}'])
def test_a_part_of_unknown_origin_is_not_continued(
    site: Site, tmp_path: Path, note: str | None
) -> None:
    (tmp_path / "file.part").write_bytes(b"x" * 1000)
    if note is not None:
        (tmp_path / "file.part.json").write_text(note, encoding="utf-8")
    download(site.url, tmp_path / "file", sha256=SHA256)
    assert site.asked == [None]


def test_a_server_without_ranges_is_asked_from_the_beginning(site: Site, tmp_path: Path) -> None:
    site.ranges = False
    site.drops = [100_000]
    download(site.url, tmp_path / "file", sha256=SHA256)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert site.asked == [None, "bytes=100000-"]


def left_behind(folder: Path, url: str, *, length: int, total: int) -> None:
    """A part of an older version of the file, as a stopped download leaves it."""
    (folder / "file.part").write_bytes(b"old" * (length // 3))
    note = {"url": url, "validator": '"old"', "total": total}
    (folder / "file.part.json").write_text(json.dumps(note), encoding="utf-8")


def test_a_file_that_changed_meanwhile_is_fetched_anew(site: Site, tmp_path: Path) -> None:
    left_behind(tmp_path, site.url, length=90_000, total=len(CONTENT))
    download(site.url, tmp_path / "file", sha256=SHA256)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert site.asked == ["bytes=90000-"]  # If-Range made the server send the new file whole


def test_a_server_that_ignores_if_range_cannot_glue_two_versions(
    site: Site, tmp_path: Path
) -> None:
    site.trusts_if_range = True
    left_behind(tmp_path, site.url, length=90_000, total=len(CONTENT))
    download(site.url, tmp_path / "file", sha256=SHA256)
    assert site.asked == ["bytes=90000-", None]


def test_a_file_that_became_shorter_is_fetched_anew(site: Site, tmp_path: Path) -> None:
    site.trusts_if_range = True
    left_behind(tmp_path, site.url, length=360_000, total=400_000)
    download(site.url, tmp_path / "file", sha256=SHA256)
    assert site.asked == ["bytes=360000-", None]


def test_a_foreign_range_is_not_appended(site: Site, tmp_path: Path) -> None:
    site.foreign_range = True
    site.drops = [100_000]
    download(site.url, tmp_path / "file", sha256=SHA256)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert site.asked == [None, "bytes=100000-", None]


def test_a_length_that_nobody_declared_is_taken_as_it_comes(site: Site, tmp_path: Path) -> None:
    site.declares_length = False
    download(site.url, tmp_path / "file", sha256=SHA256)
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_drop_within_a_chunk_is_noticed(site: Site, tmp_path: Path) -> None:
    site.chunked = True
    site.drops = [290_000, 1000]
    download(site.url, tmp_path / "file", sha256=SHA256)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert site.asked[0] is None
    assert all(asked == "bytes=262144-" for asked in site.asked[1:])


def test_passing_trouble_is_retried_and_lasting_trouble_named(site: Site, tmp_path: Path) -> None:
    site.statuses = [503, 429, 500]
    download(site.url, tmp_path / "file", sha256=SHA256)
    assert len(site.asked) == 4
    site.statuses = [503] * module.MAX_FAILURES
    with pytest.raises(DataError, match="503 Service Unavailable; run the command again later"):
        download(site.url, tmp_path / "other")
    assert names(tmp_path) == ["file"]


def test_a_file_that_is_gone_is_not_retried(site: Site, tmp_path: Path) -> None:
    site.statuses = [404]
    with pytest.raises(DataError, match=r"answers 404 Not Found; .* pass --corpus DIR"):
        download(site.url, tmp_path / "file")
    assert site.asked == [None]
    assert names(tmp_path) == []


def test_redirects_are_followed_within_http_only(site: Site, tmp_path: Path) -> None:
    site.statuses, site.location = [302], site.url + "?mirror"
    download(site.url, tmp_path / "file", sha256=SHA256)
    site.statuses, site.location = [302], "file:///etc/hostname"
    with pytest.raises(DataError, match=r"answers 302 .* not allowed"):
        download(site.url, tmp_path / "other")
    site.statuses, site.location = [302] * module.MAX_FAILURES, "ftp://127.0.0.1/x"
    with pytest.raises(DataError, match="unknown url type: ftp"):
        download(site.url, tmp_path / "other")


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://host/file", "/etc/hostname"])
def test_only_http_is_spoken(url: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="only http and https"):
        download(url, tmp_path / "file")


def test_nobody_there(site: Site, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot be downloaded: .*refused.*--corpus DIR"):
        download("http://127.0.0.1:1/file", tmp_path / "file")


@pytest.mark.parametrize(("name", "digest"), [("sha256", "0" * 64), ("md5", "0" * 32)])
def test_a_wrong_checksum_leaves_nothing(
    site: Site, tmp_path: Path, name: str, digest: str
) -> None:
    with pytest.raises(DataError, match=f"has {name} .* damaged on the way or has been replaced"):
        download(site.url, tmp_path / "file", **{name: digest})
    assert names(tmp_path) == []


def test_a_wrong_size_is_noticed_before_the_body(site: Site, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="300000 bytes on the server, 299999 expected"):
        download(site.url, tmp_path / "file", size=299_999)
    site.declares_length = False
    with pytest.raises(DataError, match=r"has 300000 bytes, .* has 299999"):
        download(site.url, tmp_path / "file", size=299_999)
    assert "file" not in names(tmp_path)


def test_a_full_disk_is_noticed_before_the_body(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=200_000))
    with pytest.raises(ResourceError, match=r"0 MB free, 0 MB needed for http.*free some space"):
        download(site.url, tmp_path / "file")


def test_a_disk_that_fills_up_keeps_what_has_come(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, left = os.write, [100_000]

    def limited(descriptor: int, data: memoryview) -> int:
        if left[0] == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = write(descriptor, data[: left[0]])
        left[0] -= written
        return written

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", limited)
        with pytest.raises(ResourceError, match="No space left on device; free some space"):
            download(site.url, tmp_path / "file")
    assert (tmp_path / "file.part").stat().st_size == 100_000
    download(site.url, tmp_path / "file", sha256=SHA256)
    assert site.asked == [None, "bytes=100000-"]


def test_a_place_that_cannot_be_written(site: Site, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file", encoding="utf-8")
    with pytest.raises(ResourceError, match=r"taken: cannot be written: .*check the folder"):
        download(site.url, tmp_path / "taken" / "file")


@pytest.mark.parametrize("method", ["open", "replace"])
def test_a_disk_that_refuses_the_file(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    real = getattr(Path, method)

    def refusing(path: Path, *arguments: object) -> object:
        if path.name == "file.part":
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return real(path, *arguments)

    monkeypatch.setattr(Path, method, refusing)
    with pytest.raises(ResourceError, match="cannot be written: Read-only file system"):
        download(site.url, tmp_path / "file")
