"""Each usual layout, made small, and what is read out of it."""

import json
from pathlib import Path

import pytest

from asr.data.corpus.layouts import Found, chapters, find_layout
from asr.data.corpus.recordings import FolderTree
from tests.data.corpus.small_sounds import record, write


def found_in(folder: Path) -> Found:
    found = find_layout(FolderTree.of(folder))
    assert found is not None
    return found


def texts(found: Found) -> dict[str, str]:
    return {entry.id: entry.text for entry in found.recordings}


def speakers(found: Found) -> dict[str, str | None]:
    return {entry.id: entry.speaker for entry in found.recordings}


def splits(found: Found) -> dict[str, str | None]:
    return {entry.id: entry.split for entry in found.recordings}


def sidecar(folder: Path, name: str, text: str = "HELLO", suffix: str = ".txt") -> None:
    record(folder / f"{name}.wav")
    write(folder / f"{name}{suffix}", text)


@pytest.mark.parametrize("suffix", [".txt", ".lab", ".trans", ".TXT"])
def test_a_text_beside_each_recording(tmp_path: Path, suffix: str) -> None:
    sidecar(tmp_path, "one", "HELLO\n  THERE ", suffix)
    sidecar(tmp_path, "v1.2", "TWO", suffix)
    write(tmp_path / "README.txt", "not a transcript")
    found = found_in(tmp_path)
    assert found.layout == "a text file beside each recording"
    assert texts(found) == {"one": "HELLO THERE", "v1.2": "TWO"}
    assert found.problems == []


def test_text_comes_before_labels_and_labels_with_times_are_no_text(tmp_path: Path) -> None:
    sidecar(tmp_path, "one", "HELLO")
    write(tmp_path / "one.lab", "0 100 sil", "100 900 h")
    sidecar(tmp_path, "two", "0 100 sil", ".lab")
    found = found_in(tmp_path)
    assert texts(found) == {"one": "HELLO"}
    assert [str(problem) for problem in found.problems] == [
        f"{tmp_path}/two.wav: {tmp_path}/two.lab: labels with times, not a transcript"
    ]


def test_transcripts_without_recordings_and_not_in_utf8(tmp_path: Path) -> None:
    sidecar(tmp_path, "one")
    sidecar(tmp_path, "two")
    (tmp_path / "two.txt").write_bytes(b"gr\xfc\xdfe")
    write(tmp_path / "three.txt", "LONELY")
    found = found_in(tmp_path)
    assert texts(found) == {"one": "HELLO"}
    reasons = [str(problem) for problem in found.problems]
    assert "is not UTF-8" in reasons[0]
    assert reasons[1] == f"{tmp_path}/three.txt: a transcript without a recording beside it"


def test_sub_folders_are_speakers_when_there_are_several(tmp_path: Path) -> None:
    for name in ("anna/1", "anna/deep/2", "ben/1"):
        sidecar(tmp_path, name)
    found = found_in(tmp_path)
    assert found.layout == "a text file beside each recording; speakers by sub-folder"
    assert speakers(found) == {"anna/1": "anna", "anna/deep/2": "anna", "ben/1": "ben"}
    sidecar(tmp_path, "outside")
    assert set(speakers(found_in(tmp_path)).values()) == {None}


def test_one_sub_folder_is_no_speaker(tmp_path: Path) -> None:
    sidecar(tmp_path, "wavs/1")
    assert speakers(found_in(tmp_path)) == {"wavs/1": None}


def test_sub_folders_may_be_sets_with_speakers_below(tmp_path: Path) -> None:
    for name in ("train/anna/1", "train/ben/1", "valid/carl/1"):
        sidecar(tmp_path, name)
    found = found_in(tmp_path)
    assert splits(found) == {"train/anna/1": "train", "train/ben/1": "train", "valid/carl/1": "dev"}
    assert list(speakers(found).values()) == ["anna", "ben", "carl"]


def test_chapters(tmp_path: Path) -> None:
    folder = tmp_path / "LibriSpeech" / "dev-clean" / "84" / "121123"
    record(folder / "84-121123-0000.flac")
    record(folder / "84-121123-0001.opus")
    lines = ["84-121123-0000 GO  ON", "", "84-121123-0001 YES", "84-121123-0002 GONE"]
    path = write(folder / "84-121123.trans.txt", *lines)
    found = found_in(tmp_path)
    assert "LibriSpeech" in found.layout
    assert texts(found) == {"84-121123-0000": "GO ON", "84-121123-0001": "YES"}
    assert set(speakers(found).values()) == {"84"}
    assert set(splits(found).values()) == {"dev"}
    assert [str(problem) for problem in found.problems] == [
        f"{path}:4: no recording '84-121123-0002' in this folder"
    ]
    record(tmp_path / "stray.wav")
    unmentioned = found.unmentioned(FolderTree.of(tmp_path))
    assert [str(problem) for problem in unmentioned] == [f"{tmp_path}/stray.wav: has no transcript"]
    assert chapters(FolderTree.of(write(tmp_path / "empty" / "x").parent)) is None


def test_tables_called_by_a_set_are_read_alone(tmp_path: Path) -> None:
    record(tmp_path / "clips" / "a.mp3")
    record(tmp_path / "clips" / "b.mp3")
    write(tmp_path / "train.tsv", "path\tsentence", "a.mp3\tA")
    write(tmp_path / "test.tsv", "path\tsentence", "b.mp3\tB")
    write(tmp_path / "validated.tsv", "path\tsentence", "a.mp3\tA", "b.mp3\tB")
    write(tmp_path / "notes.csv", "a,b", "1,2")
    found = found_in(tmp_path)
    assert found.layout == "table test.tsv, train.tsv (not read: validated.tsv)"
    assert splits(found) == {"a": "train", "b": "test"}


def test_tables_are_looked_for_one_folder_below(tmp_path: Path) -> None:
    record(tmp_path / "wav" / "a.wav")
    write(tmp_path / "lists" / "all.csv", "file,text", "a.wav,A")
    assert found_in(tmp_path).layout == "table all.csv"


def test_a_table_that_breaks_off_is_reported(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "file,text", '"a.wav')
    (problem,) = found_in(tmp_path).problems
    assert str(problem).startswith(f"{path}: {path}:2: not valid CSV")


def test_ljspeech(tmp_path: Path) -> None:
    record(tmp_path / "wavs" / "L1.wav")
    write(tmp_path / "metadata.csv", "L1|Dr. A|Doctor A")
    found = found_in(tmp_path)
    assert found.layout == "LJSpeech list metadata.csv"
    assert texts(found) == {"L1": "Doctor A"}


def test_manifests(tmp_path: Path) -> None:
    record(tmp_path / "a.wav", 2.0)
    entry = {"audio_filepath": "a.wav", "duration": 0.5, "offset": 1.0, "text": "A"}
    write(tmp_path / "train_manifest.json", json.dumps(entry | {"id": "x", "speaker": "s"}))
    write(tmp_path / "other.json", '{"a": 1}')
    write(tmp_path / "broken.jsonl", "{")
    found = found_in(tmp_path)
    assert found.layout == "manifest train_manifest.json"
    (recording,) = found.recordings
    assert recording.audio == tmp_path / "a.wav"
    assert (recording.offset, recording.duration) == (1.0, 0.5)
    assert (recording.id, recording.speaker, recording.split) == ("x", "s", "train")


def test_manifests_with_faults_are_reported_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "all.jsonl"
    good = '{"audio_filepath": "a.wav", "duration": 1, "text": "A"}'
    write(path, good, "{", '{"text": "B"}')
    found = found_in(tmp_path)
    assert [str(problem)[: len(f"{path}: {path}:2")] for problem in found.problems] == [
        f"{path}: {path}:2",
        f"{path}: {path}:3",
    ]


@pytest.mark.parametrize("below", ["", "data"])
def test_kaldi_folders(tmp_path: Path, below: str) -> None:
    for name, split in (("a", "train"), ("b", "test")):
        record(tmp_path / "wav" / f"{name}.wav")
        folder = tmp_path / below / split
        write(folder / "wav.scp", f"{name} wav/{name}.wav")
        write(folder / "text", f"{name} {name.upper()}")
        write(folder / "split2" / "1" / "wav.scp", f"{name} wav/{name}.wav")
    found = found_in(tmp_path)
    assert found.layout == "Kaldi data folder test, train"
    assert texts(found) == {"a": "A", "b": "B"}
    assert splits(found) == {"a": "train", "b": "test"}
    assert all(entry.audio.is_file() for entry in found.recordings)


def test_one_kaldi_folder(tmp_path: Path) -> None:
    record(tmp_path / "train" / "a.wav")
    write(tmp_path / "train" / "wav.scp", "a a.wav")
    write(tmp_path / "train" / "text", "a A")
    found = found_in(tmp_path / "train")
    assert texts(found) == {"a": "A"}
    assert splits(found) == {"a": None}  # its own name says nothing: there are no other sets


def test_folders_of_no_known_layout(tmp_path: Path) -> None:
    record(tmp_path / "a.wav")
    write(tmp_path / "b.txt", "no recording of this name")
    assert find_layout(FolderTree.of(tmp_path)) is None
