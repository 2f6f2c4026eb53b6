"""One process at a time in a folder."""

import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from asr.errors import ConfigError, ResourceError
from asr.lock import FolderLock


def test_the_lock_excludes_others_and_dies_with_its_process(tmp_path: Path) -> None:
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom asr.lock import FolderLock\n"
        "with FolderLock(Path(sys.argv[1])):\n    print('locked', flush=True)\n    time.sleep(60)\n"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "locked\n"
    with (
        pytest.raises(ConfigError, match=f"in use by process {other.pid}; wait"),
        FolderLock(tmp_path),
    ):
        pass
    other.kill()
    other.wait()
    other.stdout.close()
    with FolderLock(tmp_path):
        pass


def test_a_lock_on_a_full_disk(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        with (
            pytest.raises(ResourceError, match=r"\.lock: cannot be written: File too large; free"),
            FolderLock(tmp_path),
        ):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, previous)
    with FolderLock(tmp_path):
        pass


def test_a_file_system_without_locks_is_not_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("asr.lock.fcntl.flock", refuse)
    message = "cannot be written: No locks available; check the folder"
    with pytest.raises(ResourceError, match=message), FolderLock(tmp_path):
        pass


def test_a_lock_in_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(ResourceError, match="cannot be written: "), FolderLock(tmp_path / "file"):
        pass


# Without torch, whose import takes longer than all the rest.
