from pathlib import Path

import pytest

from asr.data.corpus.recordings import FolderTree, Problem, Recording
from asr.data.corpus.tables import (
    AudioFinder,
    is_ljspeech,
    is_table,
    needed_columns,
    read_ljspeech,
    read_table,
)
from asr.errors import DataError
from tests.data.corpus.small_sounds import record, write


def read(path: Path) -> tuple[list[Recording], list[str]]:
    problems: list[Problem] = []
    recordings = read_table(path, FolderTree.of(path.parent), problems)
    return recordings, [str(problem).replace(f"{path}:", "") for problem in problems]


@pytest.mark.parametrize(
    ("name", "header", "row"),
    [
        ("t.csv", "path,sentence", "a.wav,HELLO"),
        ("t.csv", "\ufeffFile ; Text", "a.wav;HELLO"),
        ("t.csv", '"wav_filename","transcript"', '"a.wav","HELLO"'),
        ("t.csv", "audio|transcription", "a|HELLO"),
        ("t.csv", "filename\ttext", "./a.wav\tHELLO"),
        ("t.TSV", "client\taudio_filepath\ttext", "x\ta.wav\tHELLO"),
    ],
)
def test_delimiters_and_names_of_columns(tmp_path: Path, name: str, header: str, row: str) -> None:
    record(tmp_path / "a.wav")
    path = write(tmp_path / name, header, row)
    assert is_table(path)
    (entry,), problems = read(path)
    assert problems == []
    assert (entry.audio, entry.text, entry.id) == (tmp_path / "a.wav", "HELLO", "a")
    assert entry.speaker is None


def test_common_voice(tmp_path: Path) -> None:
    """TSV without quotes, recordings in a sub-folder, the speaker in a column."""
    record(tmp_path / "clips" / "cv_1.mp3")
    header = "client_id\tpath\tsentence\tup_votes"
    path = write(tmp_path / "dev.tsv", header, 'f00\tcv_1.mp3\t"Well," said he\t2')
    (entry,), problems = read(path)
    assert problems == []
    assert entry == Recording(
        id="cv_1",
        audio=tmp_path / "clips" / "cv_1.mp3",
        text='"Well," said he',
        speaker="f00",
        split="dev",
        source=f"{path}:2",
    )


def test_quotes_may_hold_delimiters_quotes_and_line_ends(tmp_path: Path) -> None:
    record(tmp_path / "a.wav")
    path = write(tmp_path / "t.csv", "file,text", '"a.wav","one, ""two""', 'three"', "", "a.wav,4")
    recordings, problems = read(path)
    assert problems == []
    assert [entry.text for entry in recordings] == ['one, "two"\nthree', "4"]
    assert [entry.source for entry in recordings] == [f"{path}:3", f"{path}:5"]


def test_ids_offsets_and_speakers(tmp_path: Path) -> None:
    record(tmp_path / "a.wav")
    rows = ["x 1,S 1,a.wav,ONE,0.5,1.5", ",,a.wav,TWO,,9"]
    path = write(tmp_path / "t.csv", "id,speaker,path,text,offset,duration", *rows)
    (first, second), problems = read(path)
    assert problems == []
    assert (first.id, first.speaker, first.offset, first.duration) == ("x 1", "S 1", 0.5, 1.5)
    # Without an offset, the file itself says how long it is.
    assert (second.id, second.speaker, second.offset, second.duration) == ("a", None, 0.0, None)


def test_rows_that_make_no_sense_are_reported(tmp_path: Path) -> None:
    for folder in ("x", "y"):
        record(tmp_path / folder / "a.wav")
    rows = [
        "x/a.wav,ONE,",
        "a.wav,TWO,",
        "x/a.wav,THREE,,",
        ",FOUR,",
        "x/a.wav,FIVE,soon",
        "x/a.wav,SIX,-1",
    ]
    recordings, problems = read(write(tmp_path / "t.csv", "path,text,offset", *rows))
    assert [entry.text for entry in recordings] == ["ONE"]
    assert problems == [
        f"3: 'a.wav' can be {tmp_path}/x/a.wav or {tmp_path}/y/a.wav",
        "4: 4 columns, the header has 3",
        "5: names no recording",
        "6: 'soon' is no time in seconds",
        "7: '-1' is no time in seconds",
    ]


def test_files_that_are_no_tables(tmp_path: Path) -> None:
    for number, header in enumerate(("", "path,speaker", "text", "a,b,c")):
        path = write(tmp_path / f"{number}.csv", header, "x,y")
        assert not is_table(path)
        with pytest.raises(DataError, match="no columns for recordings and texts; needs one of"):
            read(path)
    assert not is_table(write(tmp_path / "t.txt", "path,text"))
    (tmp_path / "latin.csv").write_bytes(b"path,text,\xe4\n")
    assert not is_table(tmp_path / "latin.csv")
    assert "audio_filepath" in needed_columns()


def test_broken_quotes_and_bytes_are_located(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "path,text", '"a.wav"x,ONE')
    with pytest.raises(DataError, match=r"t\.csv:2: not valid CSV: .*expected after"):
        read(path)
    path.write_bytes(b"path,text\na.wav,\xff\n")
    with pytest.raises(DataError, match=r"t\.csv:2: byte 7 of the line \(0xff\) is not UTF-8"):
        read(path)


def test_ljspeech(tmp_path: Path) -> None:
    record(tmp_path / "wavs" / "LJ001-0001.wav")
    rows = ["LJ001-0001|Dr. Smith|Doctor Smith", "", "LJ001-0002|only one", "a|b|c|d"]
    path = write(tmp_path / "metadata.csv", *rows)
    tree, problems = FolderTree.of(tmp_path), []
    assert is_ljspeech(path, tree)
    first, second = read_ljspeech(path, tree, problems)
    assert first == Recording(
        id="LJ001-0001",
        audio=tmp_path / "wavs" / "LJ001-0001.wav",
        text="Doctor Smith",
        source=f"{path}:1",
    )
    assert (second.audio, second.text) == (tmp_path / "LJ001-0002", "only one")
    assert list(map(str, problems)) == [f"{path}:4: 4 fields; needs NAME|TEXT"]


def test_ljspeech_needs_a_recording_that_its_first_line_names(tmp_path: Path) -> None:
    for folder in ("x", "y"):
        record(tmp_path / folder / "a.wav")
    path = write(tmp_path / "metadata.csv", "b|TEXT")
    tree = FolderTree.of(tmp_path)
    assert not is_ljspeech(path, tree)
    assert not is_ljspeech(write(tmp_path / "notes.txt", "nothing here"), tree)
    path = write(tmp_path / "metadata.csv", "a|TEXT")
    problems: list[Problem] = []
    assert is_ljspeech(path, tree)
    assert read_ljspeech(path, tree, problems) == []
    assert f"'a' can be {tmp_path}/x/a.wav or {tmp_path}/y/a.wav" in str(problems[0])


def test_recordings_are_found_by_the_end_of_their_path(tmp_path: Path) -> None:
    for name in ("s1/x.wav", "s2/x.wav", "s2/deep/v1.2.flac"):
        record(tmp_path / name)
    finder = AudioFinder(FolderTree.of(tmp_path))
    for name in ("s2/x.wav", "s2/x", "s2\\x.wav", str(tmp_path / "s2" / "x.wav")):
        assert finder.find(name, tmp_path / "lists") == tmp_path / "s2" / "x.wav"
    assert finder.find("v1.2", tmp_path).name == "v1.2.flac"
    assert finder.find("2/x.wav", tmp_path) == tmp_path / "2/x.wav"  # not a part of a name
    assert finder.find("/elsewhere/s2/x.wav", tmp_path) == Path("/elsewhere/s2/x.wav")
    with pytest.raises(ValueError, match=r"'x\.wav' can be .*s1/x\.wav or .*s2/x\.wav"):
        finder.find("x.wav", tmp_path)
