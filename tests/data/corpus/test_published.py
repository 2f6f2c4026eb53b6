import hashlib
import logging
from pathlib import Path

import pytest

from asr.data.corpus.published import Archive, check_counts, fetch, find_corpus
from asr.errors import ConfigError, DataError
from asr.lock import FolderLock
from tests.data.corpus.local_server import serve, tar_folder
from tests.data.corpus.small_sounds import write


def published(tmp_path: Path) -> Path:
    write(tmp_path / "corpus" / "an4" / "list.txt", *["HELLO"] * 200_000)
    return tar_folder(tmp_path / "corpus", tmp_path / "site" / "an4.tar.gz")


def test_an_archive_is_fetched_unpacked_and_removed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = published(tmp_path)
    folder = tmp_path / "out" / "corpus"
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    (tmp_path / "out" / ".corpus.tmp-dead" / "content").mkdir(parents=True)
    caplog.set_level(logging.INFO)
    with serve(tmp_path / "site") as address:
        archive = Archive(url=f"{address}/an4.tar.gz", max_bytes=10_000_000, sha256=sha256)
        fetch(archive, folder)
        assert (folder / "an4" / "list.txt").read_text(encoding="utf-8").startswith("HELLO")
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [".lock", "corpus"]
    fetch(archive, folder)  # the server is gone: nothing is asked for again
    said = [record.getMessage() for record in caplog.records]
    assert said[0] == f"downloading {archive.url}"
    assert any(line.startswith("an4.tar.gz: 100 % of 0 MB") for line in said)
    assert said[-2:] == [f"unpacking an4.tar.gz into {folder}", f"{folder} is there already"]


def test_a_wrong_archive_is_not_unpacked(tmp_path: Path) -> None:
    published(tmp_path)
    with serve(tmp_path / "site") as address:
        url = f"{address}/an4.tar.gz"
        with pytest.raises(DataError, match="has md5"):
            fetch(Archive(url=url, max_bytes=10_000_000, md5="0" * 32), tmp_path / "out" / "corpus")
        with pytest.raises(DataError, match="has more than 0 members; nothing was unpacked"):
            fetch(Archive(url=url, max_bytes=10, max_members=0), tmp_path / "out" / "corpus")
    assert not (tmp_path / "out" / "corpus").exists()


def test_two_processes_do_not_fetch_into_one_place(tmp_path: Path) -> None:
    with FolderLock(tmp_path), pytest.raises(ConfigError, match="in use by process"):
        fetch(Archive(url="http://127.0.0.1:1/x", max_bytes=1), tmp_path / "corpus")


@pytest.mark.parametrize("below", ["", "an4", "download/an4"])
def test_a_corpus_is_known_by_its_mark(tmp_path: Path, below: str) -> None:
    write(tmp_path / below / "etc" / "list", "x")
    assert find_corpus([tmp_path / "other", tmp_path], "etc/list") == tmp_path / below


def test_a_corpus_that_is_elsewhere(tmp_path: Path) -> None:
    write(tmp_path / "a" / "b" / "c" / "etc" / "list", "x")
    expected = (
        f"{tmp_path}, /elsewhere: no etc/list in it; give the folder of the unpacked corpus, or "
        "leave out --corpus to download it"
    )
    with pytest.raises(DataError, match=expected):
        find_corpus([tmp_path, Path("/elsewhere")], "etc/list")


def test_counts() -> None:
    check_counts(Path("c"), {"train": 3, "test": 2, "more": 9}, {"train": 3, "test": 2})
    with pytest.raises(DataError, match=r"c: train has 2 of 3, dev has 0 of 1 utterances; the"):
        check_counts(Path("c"), {"train": 2, "test": 2}, {"train": 3, "test": 2, "dev": 1})
