from pathlib import Path

import pytest

from asr.data.corpus.importers import AUDIO_SUFFIXES, import_folder, import_kaldi
from asr.errors import DataError
from tests.data.corpus.small_sounds import record, write


def test_a_folder_that_is_whole(tmp_path: Path) -> None:
    for name in ("anna/x", "ben/x"):
        record(tmp_path / f"{name}.wav", 0.5)
        write(tmp_path / f"{name}.txt", name.upper())
    imported = import_folder(tmp_path)
    assert imported.layout == "a text file beside each recording; speakers by sub-folder"
    assert [(entry.id, entry.text, entry.speaker) for entry in imported.utterances] == [
        ("anna/x", "ANNA/X", "anna"),
        ("ben/x", "BEN/X", "ben"),
    ]
    assert {entry.duration for entry in imported.utterances} == {0.5}
    assert (imported.splits, imported.skipped) == ({}, [])


def broken_folder(tmp_path: Path) -> Path:
    """One good recording, and one of each thing that can be wrong."""
    folder = tmp_path / "mine"
    record(folder / "good.wav")
    record(folder / "untold.wav")
    write(folder / "noise.wav", "no sound")
    rows = ["good.wav,HELLO", "missing.wav,GONE", "noise.wav,NOISE", "good.wav,TWICE", "x"]
    write(folder / "all.csv", "path,text", *rows)
    return folder


def test_every_problem_is_listed_at_once(tmp_path: Path) -> None:
    folder = broken_folder(tmp_path)
    with pytest.raises(DataError) as caught:
        import_folder(folder)
    lines = str(caught.value).replace(f"{folder}/", "").split("\n")
    assert lines[0] == "all.csv:6: 1 columns, the header has 2"
    assert lines[1] == "all.csv:5: the id 'good' is taken by all.csv:2"
    assert lines[2] == "all.csv:3: the recording missing.wav is missing"
    assert lines[3].startswith("all.csv:4: noise.wav: ")
    assert lines[4] == "untold.wav: has no transcript"
    assert lines[5] == (
        f"{folder}: 5 problems; read as table all.csv; mend them, or leave them out with "
        "--drop-bad (skipped.jsonl then lists them)"
    )
    assert len(lines) == 6


def test_what_may_be_dropped_is_dropped_by_name(tmp_path: Path) -> None:
    imported = import_folder(broken_folder(tmp_path), drop_bad=True)
    assert [entry.id for entry in imported.utterances] == ["good"]
    assert len(imported.skipped) == 5


def test_nothing_usable_is_an_error_even_so(tmp_path: Path) -> None:
    write(tmp_path / "all.csv", "path,text", "a.wav,GONE")
    with pytest.raises(DataError, match=r"not one usable recording \(read as table.*a\.wav is mis"):
        import_folder(tmp_path, drop_bad=True)


def test_folders_of_no_known_layout(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no recordings here; give the folder that holds them"):
        import_folder(tmp_path)
    record(tmp_path / "a.wav")
    with pytest.raises(DataError, match=r"sound files \(1\), but no transcripts .*; put a \.txt b"):
        import_folder(tmp_path)
    write(tmp_path / "list.csv", "sound,words", "a.wav,A")
    with pytest.raises(DataError, match=r"\(list\.csv needs one of audio_filepath, path.* first l"):
        import_folder(tmp_path)


def test_sets_that_the_folder_keeps_apart(tmp_path: Path) -> None:
    for name in ("train/a", "train/b", "test/c"):
        record(tmp_path / f"{name}.wav")
        write(tmp_path / f"{name}.txt", "HELLO")
    imported = import_folder(tmp_path)
    ids = {name: [entry.id for entry in entries] for name, entries in imported.splits.items()}
    assert ids == {"train": ["train/a", "train/b"], "test": ["test/c"]}
    record(tmp_path / "outside.wav")
    write(tmp_path / "outside.txt", "HELLO")
    with pytest.raises(DataError, match=r"outside\.txt: lies outside of train, dev and test"):
        import_folder(tmp_path)
    imported = import_folder(tmp_path, drop_bad=True)
    assert [entry.id for entry in imported.utterances] == ["test/c", "train/a", "train/b"]
    assert len(imported.skipped) == 1


def test_a_relative_folder_gives_absolute_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(tmp_path / "mine" / "a.wav")
    write(tmp_path / "mine" / "a.txt", "A")
    monkeypatch.chdir(tmp_path)
    (utterance,) = import_folder(Path("mine")).utterances
    assert utterance.audio == tmp_path / "mine" / "a.wav"


def kaldi_folder(tmp_path: Path, *wavs: str) -> Path:
    folder = tmp_path / "data"
    write(folder / "wav.scp", *(f"u{number} {wav}" for number, wav in enumerate(wavs)))
    write(folder / "text", *(f"u{number} WORDS" for number, _ in enumerate(wavs)))
    write(folder / "utt2spk", *(f"u{number} s{number}" for number, _ in enumerate(wavs)))
    return folder


def test_kaldi(tmp_path: Path) -> None:
    record(tmp_path / "wav" / "a.wav", 0.5)
    (utterance,) = import_kaldi(kaldi_folder(tmp_path, "wav/a.wav"), tmp_path)
    assert utterance.audio == tmp_path / "wav" / "a.wav"
    assert (utterance.id, utterance.text, utterance.speaker) == ("u0", "WORDS", "s0")
    assert utterance.duration == 0.5


def test_kaldi_problems_are_listed_at_once(tmp_path: Path) -> None:
    folder = kaldi_folder(tmp_path, "wav/a.wav", "flac -dc b.flac |")
    with pytest.raises(DataError) as caught:
        import_kaldi(folder, tmp_path)
    lines = str(caught.value).split("\n")
    assert lines[0].endswith(
        "wav.scp:2: a command instead of a file; run it yourself and list what it wrote"
    )
    assert lines[1] == f"{folder}/text:1: the recording {tmp_path}/wav/a.wav is missing"
    assert lines[2].endswith(
        "2 problems; mend the lists, or give the folder that their paths start from"
    )


def test_the_usual_sound_files_are_known() -> None:
    assert {".wav", ".flac", ".mp3", ".opus", ".m4a", ".sph"} <= AUDIO_SUFFIXES
    assert ".txt" not in AUDIO_SUFFIXES
