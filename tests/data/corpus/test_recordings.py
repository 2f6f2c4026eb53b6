from pathlib import Path

import pytest

from asr.data.corpus.recordings import (
    FolderTree,
    Problem,
    Recording,
    measure,
    problems_error,
    split_of,
    utterances_of,
)
from asr.errors import DataError
from tests.data.corpus.small_sounds import record, write


def recording(audio: Path, **changes: object) -> Recording:
    settings = {"id": audio.stem, "audio": audio, "text": "HELLO", "source": f"list:{audio.stem}"}
    return Recording(**{**settings, **changes})  # type: ignore[arg-type]


def reasons(*recordings: Recording) -> list[str]:
    utterances, problems = measure(recordings)
    assert len(utterances) + len(problems) == len(recordings)
    return [str(problem) for problem in problems]


def test_recordings_become_utterances_in_their_order(tmp_path: Path) -> None:
    files = [record(tmp_path / f"{name}.wav", seconds) for name, seconds in (("b", 0.5), ("a", 1))]
    utterances, problems = measure([recording(path, text="  A \u00a0 B ") for path in files])
    assert problems == []
    assert [entry.id for entry in utterances] == ["b", "a"]
    assert [entry.duration for entry in utterances] == [0.5, 1.0]
    assert utterances[0].text == "A B"


def test_pieces_of_a_recording(tmp_path: Path) -> None:
    path = record(tmp_path / "long.wav", 2.0)
    pieces = [
        recording(path, id="first", duration=0.5),
        recording(path, id="rest", offset=1.5),
        recording(path, id="rounded", offset=1.0, duration=1.05),
    ]
    utterances, problems = measure(pieces)
    assert problems == []
    assert [(entry.offset, entry.duration) for entry in utterances] == [
        (0.0, 0.5),
        (1.5, 0.5),
        (1.0, 1.0),
    ]


def test_everything_unusable_is_named_with_its_reason(tmp_path: Path) -> None:
    good = record(tmp_path / "good.wav", 1.0)
    broken = write(tmp_path / "broken.wav", "this is no sound")
    (unreadable,) = reasons(recording(broken))
    assert unreadable.startswith("list:broken: broken.wav: ")
    assert "[BAD_" in unreadable
    assert reasons(
        recording(good),
        recording(tmp_path / "missing.wav"),
        recording(broken),
        recording(good, id="empty", text=" \u200b", offset=0.1, source="list:8"),
        recording(good, id="good", offset=0.2, source="list:9"),
        recording(good, id="again", source="list:10"),
        recording(good, id="late", offset=1.0),
        recording(good, id="long", offset=0.5, duration=0.7),
        recording(good, id="none", offset=0.6, duration=0.0),
    ) == [
        "list:8: the transcript is empty",
        "list:9: the id 'good' is taken by list:good",
        "list:10: good.wav has a transcript already, in list:good",
        f"list:missing: the recording {tmp_path / 'missing.wav'} is missing",
        unreadable,
        "list:good: good.wav is 1.00 s long; nothing to cut from 1.00 s to 1.00 s",
        "list:good: good.wav is 1.00 s long; nothing to cut from 0.50 s to 1.20 s",
        "list:good: good.wav is 1.00 s long; nothing to cut from 0.60 s to 0.60 s",
    ]


def test_corpora_must_be_whole(tmp_path: Path) -> None:
    good = record(tmp_path / "good.wav")
    assert [entry.id for entry in utterances_of([recording(good)], tmp_path)] == ["good"]
    with pytest.raises(DataError, match=r"missing\.wav is missing\n.*: 1 problem; mend the corpus"):
        utterances_of([recording(good), recording(tmp_path / "missing.wav")], tmp_path)


def test_a_flood_of_problems_is_cut_and_counted() -> None:
    error = problems_error(Path("c"), [Problem(f"line {n}", "bad") for n in range(60)], "mend it")
    lines = str(error).split("\n")
    assert lines[0] == "line 0: bad"
    assert lines[-2:] == ["… and 10 more", "c: 60 problems; mend it"]
    assert len(lines) == 52


def test_problems_are_safe_for_a_terminal() -> None:
    assert str(Problem("a\x1b[2Jb\n", "bad")) == "a\\x1b[2Jb\\n: bad"


def test_a_tree_tells_sound_from_the_rest_and_leaves_hidden_files_out(tmp_path: Path) -> None:
    for name in ("b.wav", "a/x.FLAC", "a/y.Opus", ".hidden.wav", ".git/z.wav", "a/._x.flac"):
        record(tmp_path / name)
    write(tmp_path / "a" / "x.txt", "HELLO")
    tree = FolderTree.of(tmp_path)
    assert [tree.name_of(path) for path in tree.audio] == ["a/x", "a/y", "b"]
    assert [path.name for path in tree.others] == ["x.txt"]


def test_names_of_any_bytes_become_printable_ids(tmp_path: Path) -> None:
    record(tmp_path / "two\nlines;$(x)'.wav")
    record(tmp_path / "-rf.wav")
    tree = FolderTree.of(tmp_path)
    assert [tree.name_of(path) for path in tree.audio] == ["-rf", "two\\nlines;$(x)'"]


def test_linked_folders_are_entered_once(tmp_path: Path) -> None:
    record(tmp_path / "elsewhere" / "a.wav")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "b").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "mine" / "c").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "loop").symlink_to(tmp_path / "mine")
    tree = FolderTree.of(tmp_path / "mine")
    assert [tree.name_of(path) for path in tree.audio] == ["b/a"]


def test_ids_and_speakers_can_be_printed(tmp_path: Path) -> None:
    path = record(tmp_path / "a.wav")
    same = recording(path, id="bell\\x07", offset=0.1, source="list:2")
    utterances, problems = measure([recording(path, id="bell\x07", speaker="b\nob"), same])
    assert [(entry.id, entry.speaker) for entry in utterances] == [("bell\\x07", "b\\nob")]
    assert str(problems[0]) == "list:2: the id 'bell\\x07' is taken by list:a"


def test_a_folder_that_is_not_there() -> None:
    with pytest.raises(DataError, match="nowhere: no such folder"):
        FolderTree.of(Path("nowhere"))


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train", "train"),
        ("train-clean-100", "train"),
        ("Train_sp", "train"),
        ("valid", "dev"),
        ("dev.v2", "dev"),
        ("test", "test"),
        ("trainer", None),
        ("testimony", None),
        ("validated", None),
        ("", None),
    ],
)
def test_names_of_sets(name: str, split: str | None) -> None:
    assert split_of(name) == split
