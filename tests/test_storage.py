"""A file or folder is whole or not there, whatever fails and whenever."""

import contextlib
import json
import os
import resource
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from asr import storage
from asr.errors import ModelError, ResourceError
from asr.storage import (
    check_free_space,
    file_writer,
    folder_writer,
    is_valid,
    load_tensors,
    read_json,
    recover_replaced,
    save_tensors,
    sweep_temporary,
    verify_folder,
    write_atomically,
    write_json,
)


def write_folder(folder: Path, value: int) -> None:
    with folder_writer(folder) as temporary:
        save_tensors(temporary / "a.safetensors", {"x": torch.full((3,), value)})
        write_json(temporary / "b.json", {"value": value})


def value_in(folder: Path) -> int:
    verify_folder(folder)
    value: int = read_json(folder / "b.json")["value"]
    assert load_tensors(folder / "a.safetensors")["x"].tolist() == [value] * 3
    return value


def test_round_trip_and_replacing(tmp_path: Path) -> None:
    write_folder(tmp_path / "f", 1)
    write_folder(tmp_path / "f", 2)
    assert value_in(tmp_path / "f") == 2
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


class Faulty:
    """Makes the k-th call of the system's functions below fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fail_at: int) -> None:
        self.calls = 0
        self.fail_at = fail_at
        for owner, name in [
            (os, "fsync"), (os, "open"), (Path, "rename"), (Path, "replace"), (Path, "mkdir"),
            (Path, "open"), (storage, "save_tensors"),
        ]:  # fmt: skip
            monkeypatch.setattr(owner, name, self._wrapped(getattr(owner, name)))

    def _wrapped(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            self.calls += 1
            if self.calls == self.fail_at:
                raise OSError(28, "No space left on device")
            return original(*arguments, **named)

        return call


def test_every_fault_point_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    fail_at = 0
    while True:
        fail_at += 1
        folder = tmp_path / str(fail_at) / "f"
        write_folder(folder, 1)
        with pytest.MonkeyPatch.context() as patch:
            faulty = Faulty(patch, fail_at)
            failure = ""
            try:
                write_folder(folder, 2)
            except ResourceError as error:
                failure = str(error)
        reached = faulty.calls >= fail_at
        full = "cannot be written: No space left on device; free some space"
        assert not failure or full in failure
        recover_replaced(folder.parent)
        sweep_temporary(folder.parent)
        assert value_in(folder) in ((1, 2) if reached else (2,))
        assert [path.name for path in folder.parent.iterdir()] == ["f"]
        if not reached:
            break
    assert fail_at > 15, "the loop met many fault points"


def test_atomic_file_faults(tmp_path: Path) -> None:
    for fail_at in range(1, 8):
        path = tmp_path / f"{fail_at}.txt"
        write_atomically(path, "old")
        with pytest.MonkeyPatch.context() as patch:
            faulty = Faulty(patch, fail_at)
            with contextlib.suppress(ResourceError):
                write_atomically(path, "new")
        text = path.read_text(encoding="utf-8")
        assert text in ("old", "new")
        assert text == "new" or faulty.calls >= fail_at
    assert not list(tmp_path.glob(".*")), "no temporary file is left"


def test_a_file_that_is_written_piece_by_piece(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.bin"
    with file_writer(path) as file:
        file.write(b"old")
        assert not path.exists(), "nobody sees a half"
    for fault in (ValueError("of the caller"), OSError(28, "No space left on device")):
        expected = ValueError if isinstance(fault, ValueError) else ResourceError
        with pytest.raises(expected, match=r"of the caller|cannot be written: No space left"):
            fill(path, fault)
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path], "no temporary file is left"


def fill(path: Path, fault: Exception) -> None:
    with file_writer(path) as file:
        file.write(b"new")
        raise fault


def test_files_and_folders_are_flushed_before_the_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    fsync, rename = os.fsync, Path.rename

    def noted_fsync(descriptor: int) -> None:
        events.append("fsync " + Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    def noted_rename(self: Path, target: Path) -> Path:
        events.append("rename")
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "rename", noted_rename)
    write_folder(tmp_path / "f", 1)
    moved = events.index("rename")
    assert {"fsync a.safetensors", "fsync b.json"} <= set(events[:moved])
    assert any("manifest.json" in event for event in events[:moved])
    assert f"fsync {tmp_path.name}" in events[moved:], "the parent folder after the rename"


def test_every_flipped_bit_is_seen(tmp_path: Path) -> None:
    folder = tmp_path / "f"
    write_folder(folder, 1)
    for name in ("a.safetensors", "b.json"):
        original = (folder / name).read_bytes()
        for position in range(0, len(original), max(1, len(original) // 100)):
            damaged = bytearray(original)
            damaged[position] ^= 0x10
            (folder / name).write_bytes(bytes(damaged))
            with pytest.raises(ModelError, match=f"{name}: checksum differs from manifest.json"):
                verify_folder(folder)
        (folder / name).write_bytes(original)
    verify_folder(folder)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    write_folder(tmp_path / "f", 1)
    (tmp_path / "f" / "b.json").unlink()
    with pytest.raises(ModelError, match=r"b\.json: is missing; copy the whole folder again"):
        verify_folder(tmp_path / "f")
    assert not is_valid(tmp_path / "f")


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        (None, "no manifest.json, so this is no finished bundle"),
        ("[]", "has no list of files"),
        ('{"format_version": 1}', "has no list of files"),
        ('{"format_version": 2, "files": {}}', r"made by a newer version \(format 2"),
        ('{"format_version": 1, "files": {"../x": "0"}}', "'../x' is no plain file name"),
        ('{"format_version": 1, "files": {"manifest.json": "0"}}', "is no plain file name"),
        ('{"format_version": 1, "files": {}, "files": {}}', "the name 'files' stands twice"),
        ('{"format_version": NaN, "files": {}}', "NaN is no JSON number"),
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
    ],
)
def test_bad_manifests(tmp_path: Path, manifest: str | None, message: str) -> None:
    if manifest is not None:
        (tmp_path / "manifest.json").write_text(manifest, encoding="utf-8")
    with pytest.raises(ModelError, match=message):
        verify_folder(tmp_path)


def test_bad_json_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match=r"none\.json: cannot be read: No such file"):
        read_json(tmp_path / "none.json")
    (tmp_path / "a.json").write_bytes(b'"\xff"')
    with pytest.raises(ModelError, match="is not UTF-8 text; the file is damaged"):
        read_json(tmp_path / "a.json")
    monkeypatch.setattr(storage, "MAX_JSON_BYTES", 2)
    with pytest.raises(ModelError, match="over 2 bytes; not a file of ours"):
        read_json(tmp_path / "a.json")


def tensor_file(header: bytes, data: bytes = b"", length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header + data


ENTRY = b'"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a safetensors file, or cut off"),
        (b"\x80\x04\x95cposix\nsystem\n", "not a safetensors file, or cut off"),
        (tensor_file(b"{}", length=2**62), "not a safetensors file, or cut off"),
        (tensor_file(b"\xff" * 10), r"not a safetensors file \(header not text\)"),
        (tensor_file(b"{" + ENTRY + b"," + ENTRY + b"}", b"1234"), "the name 'x' stands twice"),
        (tensor_file(b"{" + ENTRY + b"}", b"12"), "not a usable safetensors file"),
        (tensor_file(b"{" + ENTRY.replace(b"[1]", b"[999999999999]") + b"}", b"1234"),
         "not a usable safetensors file"),
        (tensor_file(b"not json  "), "not valid JSON"),
    ],
)  # fmt: skip
def test_bad_tensor_files(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=message):
        load_tensors(path)


def test_a_missing_tensor_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read: No such file"):
        load_tensors(tmp_path / "none.safetensors")


WATCHED_LOADER = """
import sys
from pathlib import Path
from asr.storage import verify_folder, load_tensors, read_json
bad = []
DANGEROUS = ("exec", "subprocess.Popen", "os.system", "pickle.find_class")
def hook(event, arguments):
    writes = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
    if writes or event in DANGEROUS:
        bad.append((event, str(arguments)[:80]))
folder = Path(sys.argv[1])
load_tensors(folder / "a.safetensors")
sys.addaudithook(hook)
verify_folder(folder)
load_tensors(folder / "a.safetensors")
read_json(folder / "b.json")
print(bad)
"""


def test_loading_runs_nothing(tmp_path: Path) -> None:
    """No file is executed, imported, opened for writing or started while a folder is loaded."""
    write_folder(tmp_path / "f", 1)
    value_in(tmp_path / "f")  # imports done
    done = subprocess.run(
        [sys.executable, "-c", WATCHED_LOADER, str(tmp_path / "f")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_the_file_size_limit_is_a_full_disk(tmp_path: Path) -> None:
    """A real refusal of the system to write, for JSON and for tensors."""
    write_folder(tmp_path / "f", 1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(ResourceError, match="cannot be written: File too large; free some"):
            write_atomically(tmp_path / "x", "a" * 5000)
        with pytest.raises(ResourceError, match=r"big\.safetensors: cannot be written"):
            save_tensors(tmp_path / "big.safetensors", {"x": torch.zeros(5000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, previous)
    assert value_in(tmp_path / "f") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f"]


def test_a_file_system_without_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, target: Path) -> Path:
        raise OSError(95, "Operation not supported")

    write_folder(tmp_path / "f", 1)
    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(ResourceError, match="Operation not supported; check the folder or choose"):
        write_folder(tmp_path / "f", 2)
    assert value_in(tmp_path / "f") == 1


def test_free_space(tmp_path: Path) -> None:
    check_free_space(tmp_path, 1)
    with pytest.raises(ResourceError, match="MB free, 1000000000000 MB needed for checkpoints"):
        check_free_space(tmp_path, 10**18)


def test_what_others_have_named_like_leftovers_is_left_alone(tmp_path: Path) -> None:
    for name in ("notes.tmp-new", "data.old-backup", "data", ".tmp-1"):
        (tmp_path / name).mkdir()
    for name in ("f.tmp-12", "g.old-12", "h.old-12", "h"):
        (tmp_path / name).mkdir()
    (tmp_path / ".x.json.tmp-12").write_text("{", encoding="utf-8")
    sweep_temporary(tmp_path)
    recover_replaced(tmp_path)
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == [".tmp-1", "data", "data.old-backup", "g", "h", "notes.tmp-new"]


KILLED_WRITER = """
import struct
import sys
from pathlib import Path
from asr.storage import folder_writer, write_json
folder = Path(sys.argv[1])
header = b'{"x":{"dtype":"I64","shape":[3],"data_offsets":[0,24]}}'
value = 0
print("ready", flush=True)
while True:
    value += 1
    with folder_writer(folder) as temporary:
        tensors = struct.pack("<Q", len(header)) + header + struct.pack("<3q", value, value, value)
        (temporary / "a.safetensors").write_bytes(tensors)
        write_json(temporary / "b.json", {"value": value})
    print(value, flush=True)
"""


@pytest.mark.parametrize("kills", [pytest.param(6), pytest.param(100, marks=pytest.mark.soak)])
def test_kill_at_a_random_time(tmp_path: Path, kills: int) -> None:
    folder = tmp_path / "f"
    for attempt in range(kills):
        writer = subprocess.Popen(
            [sys.executable, "-c", KILLED_WRITER, str(folder)], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(0.05 + 0.0137 * (attempt % 17))
        writer.kill()
        output = writer.stdout.read().split()
        writer.wait()
        writer.stdout.close()
        sweep_temporary(tmp_path)
        recover_replaced(tmp_path)
        complete = int(output[-1]) if output else 0
        if complete:
            assert value_in(folder) in (complete, complete + 1), "nothing that was said is lost"
        assert {path.name for path in tmp_path.iterdir()} <= {"f"}


def test_written_json_is_readable_and_strict(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"ü": [1, 2.5, None]})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"ü": [1, 2.5, None]}
    with pytest.raises(ValueError, match="Out of range float"):
        write_json(tmp_path / "b.json", float("inf"))
