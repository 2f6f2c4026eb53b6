"""A published file, fetched whole or not at all.

What has arrived lies in `NAME.part` beside the final name, with a note of which version of the file
it belongs to (`NAME.part.json`). A dropped connection, a kill or a reboot costs what was under way:
the next try asks for the rest with an HTTP range request, bound to that version, and begins again
when the server ignores ranges or the file has changed. The final name appears only after size and
checksum have been found right.
"""

import hashlib
import http.client
import json
import os
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from asr.errors import DataError, ResourceError, shown
from asr.storage import cannot_write, write_json
from asr.version import __version__

Progress = Callable[[int, int | None], None]
"""Called with the bytes on the disk and the bytes of the whole file (none: not known)."""

TIMEOUT_SECONDS = 30.0
MAX_FAILURES = 5  # tries in a row that bring no new byte; the waits between them sum to 15 s
BLOCK_BYTES = 256 * 1024
RETRIED_STATUS = (408, 425, 429, 500, 502, 503, 504)
BY_HAND = "or download it by hand, unpack it and pass --corpus DIR"


class _TryAgainError(Exception):
    """The transfer stopped in a way that another try may mend."""


@dataclass(frozen=True, kw_only=True)
class _Wanted:
    """Where the file is and what is known of it."""

    url: str
    sha256: str | None
    md5: str | None
    size: int | None


@dataclass(frozen=True, kw_only=True)
class _Version:
    """Which version of the file a `.part` belongs to.

    Attributes:
        validator: a strong ETag or a modification date, for `If-Range`.
        total: bytes of the whole file.
    """

    url: str
    validator: str | None
    total: int | None


def download(
    url: str,
    destination: Path,
    *,
    sha256: str | None = None,
    md5: str | None = None,
    size: int | None = None,
    progress: Progress | None = None,
) -> None:
    """Fetch `url` as the file `destination`; a file that is there already is only verified.

    Args:
        url: http or https.
        destination: the final name; its folder is made.
        sha256: the published SHA-256, in hexadecimal.
        md5: the published MD5, for publishers who give nothing better. It finds damage, not malice.
        size: the published size in bytes.
        progress: told of every block.

    Raises:
        DataError: not to be had (refused, gone, no network), or not the file that was published.
        ResourceError: the disk is too small or not writable.
        ValueError: `url` is neither http nor https.
    """
    if not url.lower().startswith(("http://", "https://")):
        raise ValueError(f"only http and https can be downloaded, got {url!r}")
    wanted = _Wanted(url=url, sha256=sha256, md5=md5, size=size)
    if destination.exists():
        _verify(destination, wanted, "remove that file and run the command again")
        return
    part = destination.with_name(f"{destination.name}.part")
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(destination.parent, error) from error
    _transfer_with_retries(wanted, part, progress)
    try:
        _verify(part, wanted, f"run the command again, {BY_HAND}")
    except DataError:
        _forget(part)
        raise
    _finish(part, destination)


def _transfer_with_retries(wanted: _Wanted, part: Path, progress: Progress | None) -> None:
    failures = 0
    while True:
        before = _bytes_in(part)
        try:
            _transfer(wanted, part, progress)
            return
        except _TryAgainError as error:
            failures = 0 if _bytes_in(part) > before else failures + 1
            if failures >= MAX_FAILURES:
                raise DataError(
                    f"{wanted.url}: cannot be downloaded: {error}; run the command again later "
                    f"(it continues where it stopped), {BY_HAND}"
                ) from error
            time.sleep(2.0 ** (failures - 1))


def _transfer(wanted: _Wanted, part: Path, progress: Progress | None) -> None:
    """Bring `part` to its full length with one request.

    Raises:
        _TryAgainError: the connection failed or ended early; `part` holds what has come.
    """
    version = _read_version(part, wanted.url)
    start = _bytes_in(part) if version is not None else 0
    if version is not None and start == version.total:
        return
    with _open(wanted, part, start, version=version) as response:
        arriving = _version_of(response, wanted.url)
        if response.status == 206:
            if _range_start(response) != start or not _is_same(arriving, version):
                _forget(part)
                raise _TryAgainError("the file changed while it was being downloaded")
        else:
            start = 0
            _forget(part)
            _write_version(part, arriving)
        _check_size(wanted, arriving.total)
        _check_space(part, wanted.url, (arriving.total or start) - start)
        _receive(response, part, start, total=arriving.total, progress=progress)
    if arriving.total is not None and _bytes_in(part) != arriving.total:
        raise _TryAgainError(
            f"the connection ended after {_bytes_in(part)} of {arriving.total} bytes"
        )


def _open(
    wanted: _Wanted, part: Path, start: int, *, version: _Version | None
) -> http.client.HTTPResponse:
    """The answer to a request for the bytes from `start` on."""
    headers = {"User-Agent": f"asr-toolkit/{__version__}"}
    if start > 0 and version is not None:
        headers["Range"] = f"bytes={start}-"
        if version.validator is not None:
            headers["If-Range"] = version.validator
    request = urllib.request.Request(wanted.url, headers=headers)  # noqa: S310 - http(s), checked
    try:
        response: http.client.HTTPResponse = _opener().open(request, timeout=TIMEOUT_SECONDS)
        return response
    except urllib.error.HTTPError as error:
        error.close()
        status = shown(f"{error.code} {error.reason}")
        if error.code == 416:  # what lies here is longer than the file there
            _forget(part)
            raise _TryAgainError("the file changed while it was being downloaded") from error
        if error.code in RETRIED_STATUS:
            raise _TryAgainError(f"the server answers {status}") from error
        raise DataError(
            f"{wanted.url}: the server answers {status}; look for the file's "
            "new place, download it by hand, unpack it and pass --corpus DIR"
        ) from error
    except (OSError, http.client.HTTPException) as error:
        raise _TryAgainError(_reason(error)) from error


def _opener() -> urllib.request.OpenerDirector:
    """Speaks http and https only: no file:, ftp: or data:, not even after a redirect."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


def _receive(
    response: http.client.HTTPResponse,
    part: Path,
    start: int,
    *,
    total: int | None,
    progress: Progress | None,
) -> None:
    """Append the body to `part`, which holds the `start` bytes before it."""
    try:
        file = part.open("ab")
    except OSError as error:
        raise cannot_write(part, error) from error
    received = start
    with file:
        while True:
            try:
                block = response.read(BLOCK_BYTES)
            except (OSError, http.client.HTTPException) as error:
                raise _TryAgainError(_reason(error)) from error
            if not block:
                break
            _write(file.fileno(), block, part)
            received += len(block)
            if progress is not None:
                progress(received, total)


def _write(descriptor: int, block: bytes, part: Path) -> None:
    """Write without a buffer, so that what `part` holds is what has been counted."""
    rest = memoryview(block)
    try:
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    except OSError as error:
        raise cannot_write(part, error) from error


def _version_of(response: http.client.HTTPResponse, url: str) -> _Version:
    etag = response.headers.get("ETag")
    strong = etag if etag and not etag.startswith("W/") else None
    match = re.fullmatch(r"bytes \d+-\d+/(\d+)", response.headers.get("Content-Range", ""))
    length = match.group(1) if match else response.headers.get("Content-Length", "")
    total = int(length) if (match or response.status == 200) and length.isdecimal() else None
    return _Version(url=url, validator=strong or response.headers.get("Last-Modified"), total=total)


def _range_start(response: http.client.HTTPResponse) -> int | None:
    match = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(match.group(1)) if match else None


def _is_same(arriving: _Version, version: _Version | None) -> bool:
    """Whether the range that arrives continues what lies here, as far as the server tells."""
    if version is None:
        return False
    return all(
        new is None or old is None or new == old
        for new, old in ((arriving.total, version.total), (arriving.validator, version.validator))
    )


def _read_version(part: Path, url: str) -> _Version | None:
    """The note beside `part`; none where there is none, or one for another address."""
    try:
        note = json.loads(_note(part).read_text(encoding="utf-8"))
        version = _Version(url=note["url"], validator=note["validator"], total=note["total"])
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return version if version.url == url and part.exists() else None


def _write_version(part: Path, version: _Version) -> None:
    note = {"url": version.url, "validator": version.validator, "total": version.total}
    write_json(_note(part), note)


def _note(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _note(part).unlink(missing_ok=True)


def _bytes_in(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _finish(part: Path, destination: Path) -> None:
    """Give `part` its final name once its bytes are on the disk."""
    try:
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(destination)
        _forget(part)
    except OSError as error:
        raise cannot_write(destination, error) from error


def _check_size(wanted: _Wanted, total: int | None) -> None:
    if wanted.size is not None and total is not None and total != wanted.size:
        raise DataError(
            f"{wanted.url}: {total} bytes on the server, {wanted.size} expected; the file has been "
            f"replaced. Update asr-toolkit, {BY_HAND}"
        )


def _check_space(part: Path, url: str, needed: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if free < needed:
        raise ResourceError(
            f"{shown(part.parent)}: {free / 1e6:.0f} MB free, {needed / 1e6:.0f} MB needed for "
            f"{url}; free some space or choose another --out"
        )


def _verify(path: Path, wanted: _Wanted, advice: str) -> None:
    """Return when `path` is the published file, as far as that is known."""
    size = path.stat().st_size
    if wanted.size is not None and size != wanted.size:
        raise DataError(
            f"{shown(path)}: has {size} bytes, {wanted.url} has {wanted.size}; {advice}"
        )
    for name, expected in (("sha256", wanted.sha256), ("md5", wanted.md5)):
        if expected is None:
            continue
        with path.open("rb") as file:
            found = hashlib.file_digest(file, name).hexdigest()
        if found != expected.lower():
            raise DataError(
                f"{shown(path)}: has {name} {found}, {wanted.url} has {expected}; it was damaged "
                f"on the way or has been replaced; {advice}"
            )


def _reason(error: BaseException) -> str:
    """What went wrong, in words: `URLError` hides it one level down."""
    inner = error.reason if isinstance(error, urllib.error.URLError) else error
    return shown(str(inner) or type(inner).__name__)
