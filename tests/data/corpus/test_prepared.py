import json
from pathlib import Path

import pytest

from asr.data.corpus.prepared import (
    adopt,
    find_prepared,
    in_order,
    share_speakers,
    write_splits,
)
from asr.data.manifest import Utterance, read_manifest, write_manifest
from asr.errors import DataError, ResourceError
from asr.storage import write_json


def utterance(name: str, speaker: str | None = None, *, audio: str | None = None) -> Utterance:
    path = Path("/corpus") / (audio or f"{name}.wav")
    return Utterance(id=name, audio=path, duration=1800.0, text="HELLO", speaker=speaker)


def three(**changes: list[Utterance]) -> dict[str, list[Utterance]]:
    sets = {
        "train": [utterance("a", "s1"), utterance("b", "s2"), utterance("b2", "s2")],
        "dev": [utterance("c", "s3")],
        "test": [utterance("d", "s4")],
    }
    return {**sets, **changes}


def files(out: Path) -> set[str]:
    return {path.name for path in out.iterdir()}


THREE = {"train.jsonl", "dev.jsonl", "test.jsonl", "prepared.json"}


def test_sets_are_written_counted_and_found_again(tmp_path: Path) -> None:
    prepared = write_splits(tmp_path / "out", three(), notes=["read it"])
    assert prepared.counts == {"train": 3, "dev": 1, "test": 1}
    assert prepared.hours == {"train": 1.5, "dev": 0.5, "test": 0.5}
    assert prepared.speakers == {"train": 2, "dev": 1, "test": 1}
    assert read_manifest(prepared.paths["train"]) == three()["train"]
    assert files(tmp_path / "out") == THREE
    assert find_prepared(tmp_path / "out") == prepared
    assert prepared.lines() == [
        f"{tmp_path}/out/train.jsonl: 3 utterances, 1.50 h, 2 speakers",
        f"{tmp_path}/out/dev.jsonl: 1 utterance, 0.50 h, 1 speaker",
        f"{tmp_path}/out/test.jsonl: 1 utterance, 0.50 h, 1 speaker",
        "read it",
    ]


def test_writing_again_gives_the_same_bytes(tmp_path: Path) -> None:
    write_splits(tmp_path, three())
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    write_splits(tmp_path, three())
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_missing_set_needs_a_reason(tmp_path: Path) -> None:
    sets = three()
    del sets["test"]
    with pytest.raises(DataError, match="the corpus has no test set, and nobody said why"):
        write_splits(tmp_path, sets)
    assert files(tmp_path) == set()
    prepared = write_splits(tmp_path, sets, absent={"test": "it is secret"})
    assert prepared.absent == {"test": "it is secret"}
    assert "no test set: it is secret" in prepared.lines()
    with pytest.raises(ValueError, match="train is given and declared absent"):
        write_splits(tmp_path, three(), absent={"train": "a mistake"})


def test_an_empty_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the set dev would be empty"):
        write_splits(tmp_path, three(dev=[]))


def test_sets_must_not_share_recordings(tmp_path: Path) -> None:
    twin = utterance("x", "s9", audio="sub/../a.wav")
    with pytest.raises(
        DataError, match=r"train and test share 1 recording, such as /corpus/a\.wav"
    ):
        write_splits(tmp_path, three(test=[twin]))
    with pytest.raises(DataError, match="share 1 recording"):
        write_splits(tmp_path, three(test=[twin]), shared_speakers="allowed, but not this")
    with pytest.raises(DataError, match="dev and test share 1 recording"):
        write_splits(tmp_path, three(test=[utterance("y", "s9", audio="c.wav")]))


def test_sets_must_not_share_speakers_without_a_reason(tmp_path: Path) -> None:
    leaking = three(dev=[utterance("c", "s1"), utterance("e", "s2")])
    assert share_speakers(leaking)
    assert not share_speakers(three())
    with pytest.raises(DataError, match="train and dev share 2 speakers, such as s1; a set that"):
        write_splits(tmp_path, leaking)
    prepared = write_splits(tmp_path, leaking, shared_speakers="there are only two")
    assert prepared.shared_speakers == "there are only two"
    assert find_prepared(tmp_path) == prepared
    assert "sets share speakers: there are only two" in prepared.lines()


def test_unknown_speakers_are_shared_with_nobody(tmp_path: Path) -> None:
    sets = three(train=[utterance("a")], dev=[utterance("c")], test=[utterance("d")])
    assert write_splits(tmp_path, sets).speakers == {"train": 0, "dev": 0, "test": 0}


def test_further_sets_may_repeat_dev_and_test_but_not_train(tmp_path: Path) -> None:
    sets = three()
    more = {**sets, "dev-clean": sets["dev"], "test-other": [utterance("e", "s3")]}
    prepared = write_splits(tmp_path, more)
    assert list(prepared.paths) == ["train", "dev", "test", "dev-clean", "test-other"]
    with pytest.raises(DataError, match="train and dev-clean share 1 speaker, such as s2"):
        write_splits(tmp_path, {**more, "dev-clean": [utterance("f", "s2")]})


def test_further_training_sets_may_repeat_train_but_not_what_judges(tmp_path: Path) -> None:
    sets = three()
    small = {**sets, "train-small": sets["train"][:1], "train-tiny": [utterance("z", "s1")]}
    prepared = write_splits(tmp_path, small)
    assert list(prepared.paths) == ["train", "dev", "test", "train-small", "train-tiny"]
    assert prepared.counts["train-small"] == 1
    for judge, speaker in (("dev", "s3"), ("test", "s4"), ("test-other", "s5")):
        sharing = {**small, "test-other": [utterance("e", "s5")]}
        sharing["train-small"] = [utterance("x", speaker)]
        pair = " and ".join(in_order([judge, "train-small"]))
        with pytest.raises(DataError, match=f"{pair} share 1 speaker, such as {speaker}"):
            write_splits(tmp_path, sharing)
    sharing = {**sets, "train-small": [utterance("x", audio="d.wav")]}
    with pytest.raises(DataError, match="test and train-small share 1 recording"):
        write_splits(tmp_path, sharing)


def test_a_name_that_only_begins_like_train_is_no_training_set(tmp_path: Path) -> None:
    sets = three()
    with pytest.raises(DataError, match="train and trainers share 3 recordings"):
        write_splits(tmp_path, {**sets, "trainers": sets["train"]})


def test_sets_of_an_earlier_preparation_do_not_stay_behind(tmp_path: Path) -> None:
    write_splits(tmp_path, {**three(), "test-other": [utterance("e", "s5")]})
    sets = three()
    del sets["test"]
    write_splits(tmp_path, sets, absent={"test": "gone"})
    assert files(tmp_path) == {"train.jsonl", "dev.jsonl", "prepared.json"}


def test_a_failure_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_splits(tmp_path, three())
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    calls: list[Path] = []

    def failing(path: Path, utterances: list[Utterance]) -> None:
        calls.append(path)
        if len(calls) == 3:
            raise ResourceError("the disk is full")
        write_manifest(path, utterances)

    monkeypatch.setattr("asr.data.corpus.prepared.write_manifest", failing)
    with pytest.raises(ResourceError, match="the disk is full"):
        write_splits(tmp_path, three(train=[utterance("new", "s9")]))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_preparation_that_was_killed_between_its_files_is_not_found(tmp_path: Path) -> None:
    write_splits(tmp_path, three())
    (tmp_path / "dev.jsonl").unlink()
    assert find_prepared(tmp_path) is None
    write_splits(tmp_path, three())
    (tmp_path / "prepared.json").unlink()  # it goes first and comes last
    assert find_prepared(tmp_path) is None


@pytest.mark.parametrize(
    "content",
    [
        [],
        {"sets": {}},
        {"sets": {"../x": {}}, "absent": {}, "shared_speakers": None, "notes": []},
        {"sets": {"train": {}}, "absent": {}},
    ],
)
def test_a_foreign_marker_is_no_preparation(tmp_path: Path, content: object) -> None:
    write_json(tmp_path / "prepared.json", content)
    assert find_prepared(tmp_path) is None


def test_manifests_written_by_hand_are_checked_and_taken_over(tmp_path: Path) -> None:
    for name, entries in three().items():
        write_manifest(tmp_path / f"{name}.jsonl", entries)
    written = (tmp_path / "train.jsonl").stat()
    prepared = adopt(tmp_path)
    assert prepared.counts == {"train": 3, "dev": 1, "test": 1}
    assert find_prepared(tmp_path) == prepared
    assert (tmp_path / "train.jsonl").stat().st_mtime_ns == written.st_mtime_ns
    write_manifest(tmp_path / "dev.jsonl", three()["train"])
    with pytest.raises(DataError, match="train and dev share 3 recordings"):
        adopt(tmp_path)
    (tmp_path / "dev.jsonl").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match=r"dev\.jsonl:1: "):
        adopt(tmp_path)
    (tmp_path / "dev.jsonl").unlink()
    with pytest.raises(DataError, match=r"dev\.jsonl not written by the preparation; end prepare"):
        adopt(tmp_path)


def test_paths_below_the_folder_are_relative(tmp_path: Path) -> None:
    sets = three(dev=[utterance("c", audio=str(tmp_path / "corpus" / "c.wav"))])
    write_splits(tmp_path, sets)
    line = json.loads((tmp_path / "dev.jsonl").read_text(encoding="utf-8"))
    assert line["audio_filepath"] == "corpus/c.wav"
