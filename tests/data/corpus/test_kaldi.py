from pathlib import Path

import pytest

from asr.data.corpus.kaldi import is_kaldi_folder, read_kaldi
from asr.data.corpus.recordings import Recording
from asr.errors import DataError
from tests.data.corpus.small_sounds import record, write


def folder_of(tmp_path: Path, **lists: list[str]) -> Path:
    """A Kaldi folder with these lists; `wav_scp` stands for wav.scp."""
    for name, lines in lists.items():
        write(tmp_path / "data" / name.replace("_", "."), *lines)
    return tmp_path / "data"


def read(folder: Path, root: Path) -> tuple[list[Recording], list[str]]:
    recordings, problems = read_kaldi(folder, [root])
    return recordings, [str(problem).replace(f"{folder}/", "") for problem in problems]


def test_recordings_with_texts_and_speakers(tmp_path: Path) -> None:
    folder = folder_of(
        tmp_path,
        wav_scp=["u2\twav/b c.wav", "", "  u1 wav/a.wav  "],
        text=["u1 HELLO  THERE", "u2"],
        utt2spk=["u1 s1", "u2 s2"],
    )
    recordings, problems = read(folder, tmp_path)
    assert problems == []
    assert is_kaldi_folder(folder)
    assert not is_kaldi_folder(tmp_path)
    first, second = recordings
    assert first == Recording(
        id="u1",
        audio=tmp_path / "wav/a.wav",
        text="HELLO  THERE",
        speaker="s1",
        source=f"{folder}/text:1",
    )
    assert (second.audio.name, second.text, second.speaker) == ("b c.wav", "", "s2")


def test_segments_cut_recordings(tmp_path: Path) -> None:
    folder = folder_of(
        tmp_path,
        wav_scp=["r1 a.wav"],
        text=["u1 ONE", "u2 TWO"],
        segments=["u1 r1 0.5 2", "u2 r1 2.25 -1"],
    )
    recordings, problems = read(folder, tmp_path)
    assert problems == []
    assert [(entry.id, entry.offset, entry.duration) for entry in recordings] == [
        ("u1", 0.5, 1.5),
        ("u2", 2.25, None),
    ]
    assert recordings[0].speaker is None


def test_paths_start_from_the_first_root_that_has_them(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, wav_scp=["u1 a.wav", "u2 b.wav"], text=["u1 X", "u2 X"])
    record(tmp_path / "a.wav")
    recordings, _ = read_kaldi(folder, [folder, tmp_path], "dev")
    assert [entry.audio for entry in recordings] == [tmp_path / "a.wav", folder / "b.wav"]
    assert {entry.split for entry in recordings} == {"dev"}


def test_commands_are_refused_and_never_run(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    folder = folder_of(
        tmp_path, wav_scp=[f"u1 touch {trace} |", "u2 b.wav"], text=["u1 ONE", "u2 TWO"]
    )
    recordings, problems = read(folder, tmp_path)
    assert [entry.id for entry in recordings] == ["u2"]
    assert problems == [
        "wav.scp:1: a command instead of a file; run it yourself and list what it wrote"
    ]
    assert not trace.exists()


def test_lists_that_do_not_fit_are_reported_line_by_line(tmp_path: Path) -> None:
    folder = folder_of(
        tmp_path,
        wav_scp=["u1 a.wav", "u2 b.wav", "u1 c.wav", "u4"],
        text=["u1 ONE", "u3 THREE"],
        utt2spk=["u1 s1"],
    )
    recordings, problems = read(folder, tmp_path)
    assert [entry.id for entry in recordings] == ["u1"]
    assert problems == [
        "wav.scp:3: 'u1' comes twice",
        "wav.scp:4: has one column, needs more",
        "text:2: 'u3' has no recording",
        "wav.scp:2: 'u2' has no transcript",
        "text:2: 'u3' has no speaker",
    ]


def test_segments_that_make_no_sense_are_reported(tmp_path: Path) -> None:
    folder = folder_of(
        tmp_path,
        wav_scp=["r1 a.wav", "r2 b.wav"],
        text=[f"u{number} X" for number in range(1, 8)],
        segments=[
            "u1 r1 0 1",
            "u2 r1 0",
            "u3 r9 0 1",
            "u4 r1 2 1",
            "u5 r1 -3 -1",
            "u6 r1 nan 1",
            "u7 r1 x 1",
        ],
    )
    recordings, problems = read(folder, tmp_path)
    assert [entry.id for entry in recordings] == ["u1"]
    assert problems == [
        "segments:2: needs four columns: UTTERANCE RECORDING BEGIN END",
        "segments:3: recording 'r9' is not in wav.scp",
        "segments:4: 2.0 s to 1.0 s is no stretch of time",
        "segments:5: -3.0 s to -1.0 s is no stretch of time",
        "segments:6: 'nan' is no time in seconds",
        "segments:7: 'x' is no time in seconds",
        "wav.scp:2: 'r2' has no segment",
    ]


def test_folders_that_are_not_whole(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, wav_scp=["u1 a.wav"])
    with pytest.raises(DataError, match="text: cannot be read: No such file"):
        read_kaldi(folder, [tmp_path])
    write(folder / "text", " ")
    with pytest.raises(DataError, match="text: is empty; give a complete Kaldi data folder"):
        read_kaldi(folder, [tmp_path])
