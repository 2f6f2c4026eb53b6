"""TIMIT's disc to manifests, on a made-up one in the ways in which people have it."""

import shutil
from pathlib import Path

import pytest

from asr.data.corpus.prepared import PreparedData, find_prepared
from asr.data.manifest import Utterance, read_manifest
from asr.errors import DataError
from recipes.timit.prepare import (
    COUNTS,
    DEV_SPEAKERS,
    LICENCE,
    PHONES,
    TEST_SPEAKERS,
    find_sentences,
    prepare,
)
from tests.cli.conftest import Run, run
from tests.data.corpus.small_sounds import write
from tests.recipes.made_timit import LISTS, TINY, made_disc, phones_of

__all__ = ["run"]  # a fixture

RECIPE = Path(__file__).parents[2] / "recipes" / "timit"
FCJF0 = Path("TIMIT/TRAIN/DR1/FCJF0")


def sets(corpus: Path, out: Path) -> dict[str, list[Utterance]]:
    prepare([corpus], out, counts=TINY, **LISTS)
    return {name: read_manifest(out / f"{name}.jsonl") for name in ("train", "dev", "test")}


def texts(entries: dict[str, list[Utterance]]) -> dict[str, str]:
    return {entry.id: entry.text for found in entries.values() for entry in found}


def test_the_disc_becomes_manifests(tmp_path: Path) -> None:
    disc = made_disc(tmp_path / "disc")
    written = sets(disc, tmp_path / "out")
    assert [entry.id for entry in written["train"]] == [
        "faem0_si762", "faem0_sx42", "fcjf0_si1027", "fcjf0_sx37", "mdac0_si1261", "mdac0_sx91",
    ]  # fmt: skip
    assert [entry.id for entry in written["dev"]] == ["faks0_si943", "faks0_sx43"]
    assert [entry.id for entry in written["test"]] == ["mdab0_si1039", "mdab0_sx49"]
    first = written["train"][2]
    assert first.text == " ".join(phones_of(0)), "with q, and with silence at both ends"
    assert first.text.startswith("h# ")
    assert first.text.endswith(" bcl b q pau h#")
    assert (first.speaker, first.duration) == ("fcjf0", pytest.approx(1.02))
    assert first.audio == disc / FCJF0 / "SI1027.WAV"
    prepared = find_prepared(tmp_path / "out")
    assert prepared is not None
    assert prepared.speakers == {"train": 3, "dev": 1, "test": 1}


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    sets(made_disc(tmp_path / "disc"), tmp_path / "out")
    prepared: PreparedData | None = find_prepared(tmp_path / "out")
    assert prepared is not None
    note = (
        "left out as usual: 10 SA sentences, which everybody reads, and 4 sentences of 1 speaker "
        "of TEST in neither dev nor test"
    )
    assert prepared.notes == (note,)
    assert any(note in line for line in prepared.lines())


@pytest.mark.parametrize(
    "layout",
    [
        {"rename": str.lower, "wav": ".wav"},
        {"wav": ".WAV.wav", "kind": "WAV"},
        {"wav": ".WAV", "kind": "WAV"},
        {"wav": ".FLAC", "kind": "FLAC", "rename": str.lower},
        {"version": ";1"},
        {"version": ";1", "rename": str.lower},
        {"rename": lambda name: name.replace("TIMIT/", "LDC93S1/timit/timit/")},
        {"rename": lambda name: name.replace("TIMIT/", "")},
        {"rename": lambda name: name.replace("DR1/", "").replace("TRAIN", "Train")},
    ],
)
def test_however_people_have_it(tmp_path: Path, layout: dict[str, str]) -> None:
    plain = sets(made_disc(tmp_path / "plain"), tmp_path / "out")
    other = sets(made_disc(tmp_path / "other", **layout), tmp_path / "other-out")  # type: ignore[arg-type]
    assert texts(other) == texts(plain)
    for name, entries in other.items():
        assert [entry.id for entry in entries] == [entry.id for entry in plain[name]]
        assert all(entry.duration == pytest.approx(1.02) for entry in entries)


def test_several_folders_and_parts_of_one(tmp_path: Path) -> None:
    disc = made_disc(tmp_path / "test")  # a folder that is called like a set
    out = tmp_path / "out"
    prepare([disc / "TIMIT" / "TRAIN", disc / "TIMIT" / "TEST"], out, counts=TINY, **LISTS)
    prepare([disc, disc / "TIMIT"], out, counts=TINY, **LISTS)
    assert len(read_manifest(out / "train.jsonl")) == 6


def test_copies_beside_the_originals(tmp_path: Path) -> None:
    disc = made_disc(tmp_path / "disc")
    made_disc(tmp_path / "disc", wav=".WAV.wav", kind="WAV")
    made_disc(tmp_path / "disc", wav=".flac", kind="FLAC")
    written = sets(disc, tmp_path / "out")
    assert {entry.audio.suffix for found in written.values() for entry in found} == {".WAV"}
    for original in disc.rglob("*.WAV"):
        original.unlink()
    written = sets(disc, tmp_path / "out")
    assert {entry.audio.suffix for found in written.values() for entry in found} == {".flac"}


def test_two_copies_of_the_disc(tmp_path: Path) -> None:
    disc = made_disc(tmp_path / "disc")
    shutil.copytree(disc / "TIMIT", disc / "copy")
    with pytest.raises(DataError, match=r"TIMIT/TEST/DR1/FAKS0: faks0_sa1 is in .*copy/TEST/DR1/F"):
        sets(disc, tmp_path / "out")


def test_without_the_disc(tmp_path: Path) -> None:
    write(tmp_path / "x" / "TRAIN" / "readme.txt", "nothing")
    with pytest.raises(
        DataError, match=r"x: no TIMIT in it, such as .*; give the folder of the un"
    ):
        find_sentences([tmp_path / "x"])
    made_disc(tmp_path / "y", rename=lambda name: name.replace("TRAIN", "A").replace("TEST", "B"))
    with pytest.raises(DataError, match="y: no TIMIT in it"):
        find_sentences([tmp_path / "y"])


@pytest.mark.parametrize("command", ["prepare", "train"])
def test_it_needs_a_licence(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ASR_CORPORA", str(tmp_path))
    code, out, err = run(command, RECIPE)
    assert (code, out) == (2, "")
    assert err.rstrip("\n").split("\n")[-1] == f"asr: error: {LICENCE}"
    assert "LDC93S1 of the Linguistic Data Consortium" in LICENCE
    assert "--corpus DIR" in LICENCE
    with pytest.raises(DataError, match="TIMIT is not downloaded: it needs a licence"):
        prepare([], tmp_path / "out")
    made_disc(tmp_path / "timit")
    code, _, err = run(command, RECIPE)
    assert code == 2
    assert "timit: dev lacks 49 speakers in TEST: fadg0, " in err, "found by its place"


def test_an_incomplete_disc_is_refused(tmp_path: Path) -> None:
    disc = made_disc(tmp_path / "disc")
    lists = {"dev_speakers": ["faks0", "fdac1"], "test_speakers": ["mdab0"]}
    with pytest.raises(DataError, match="disc: dev lacks 1 speaker in TEST: fdac1; copy the disc"):
        prepare([disc], tmp_path / "out", counts=TINY, **lists)
    for file in (disc / FCJF0).glob("SX37.*"):
        file.unlink()
    with pytest.raises(DataError, match=r"train has 5 of 6 utterances; .* copy the disc again"):
        sets(disc, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_faults_are_all_named(tmp_path: Path) -> None:
    folder = made_disc(tmp_path / "disc") / FCJF0
    (folder / "SI1027.PHN").unlink()
    (folder.parent / "MDAC0" / "SX91.WAV").unlink()
    write(folder / "SX37.PHN", "0 960 h#", "960 h#", "960 1920 xx", "1920 960 b", "x 3 b")
    write(folder / "SA1.PHN", "which nobody reads")
    with pytest.raises(DataError) as caught:
        sets(tmp_path / "disc", tmp_path / "out")
    assert str(caught.value).split("\n") == [
        f"{folder / 'SI1027.WAV'}: has no phones (.PHN) beside it",
        f"{folder / 'SX37.PHN'}:2: needs: BEGIN END PHONE",
        f"{folder / 'SX37.PHN'}:3: 'xx' is none of TIMIT's 61 phones",
        f"{folder / 'SX37.PHN'}:4: needs: BEGIN END PHONE",
        f"{folder / 'SX37.PHN'}:5: needs: BEGIN END PHONE",
        f"{folder.parent / 'MDAC0' / 'SX91.PHN'}: has no recording (.WAV) beside it",
        f"{tmp_path / 'disc'}: 6 problems; copy the disc again",
    ]


def test_sound_that_is_none_is_refused(tmp_path: Path) -> None:
    disc = made_disc(tmp_path / "disc")
    (disc / FCJF0 / "SX37.WAV").write_bytes(b"no sound")
    write(disc / FCJF0 / "SI1027.PHN")
    with pytest.raises(DataError) as caught:
        sets(disc, tmp_path / "out")
    assert "SI1027.PHN: the transcript is empty" in str(caught.value)
    assert "SX37.PHN: SX37.WAV: " in str(caught.value)


def test_the_published_sets() -> None:
    """462 speakers train; 50 and 24 of the other 168 are dev and test, 8 sentences each."""
    assert (len(DEV_SPEAKERS), len(TEST_SPEAKERS), len(PHONES)) == (50, 24, 61)
    assert not DEV_SPEAKERS & TEST_SPEAKERS
    assert COUNTS == {"train": 8 * 462, "dev": 8 * 50, "test": 8 * 24}
    # The core test set has two men and a woman of each of the eight dialect regions.
    assert sum(speaker.startswith("f") for speaker in TEST_SPEAKERS) == 8
    assert all(len(speaker) == 5 for speaker in DEV_SPEAKERS | TEST_SPEAKERS)


@pytest.mark.data
def test_the_real_corpus(corpora: Path, tmp_path: Path) -> None:
    if not (corpora / "timit").is_dir():
        pytest.skip("needs a licence: put TIMIT at $ASR_CORPORA/timit to run this test")
    prepare([corpora / "timit"], tmp_path)
    prepared = find_prepared(tmp_path)
    assert prepared is not None
    assert prepared.counts == COUNTS
    assert prepared.speakers == {"train": 462, "dev": 50, "test": 24}
    entries = read_manifest(prepared.paths["train"])
    assert set(" ".join(entry.text for entry in entries).split(" ")) == PHONES
