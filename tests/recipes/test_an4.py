from pathlib import Path

import pytest

from asr.data.corpus.prepared import find_prepared
from asr.data.corpus.published import Archive
from asr.data.manifest import Utterance, read_manifest
from asr.errors import DataError
from asr.preparation import prepare as prepare_recipe
from recipes.an4.prepare import ARCHIVE, prepare, read_set, read_transcripts
from tests.data.corpus.local_server import serve, tar_folder
from tests.data.corpus.small_sounds import record, write

TINY = {"train": 12, "test": 2}

RECIPE = Path(__file__).parents[2] / "recipes" / "an4"


def made_corpus(root: Path, suffix: str = ".wav") -> Path:
    """AN4 with six training speakers who say two things each, and two test speakers."""
    for name, folder, speakers in (("train", "an4_clstk", 6), ("test", "an4test_clstk", 2)):
        places, lines = [], []
        for number in range(speakers * (2 if name == "train" else 1)):
            speaker = f"m{name}{number % speakers}"
            identifier = f"an{number}-{speaker}-b"
            record(root / "wav" / folder / speaker / f"{identifier}.wav").rename(
                root / "wav" / folder / speaker / f"{identifier}{suffix}"
            )
            places.append(f"{folder}/{speaker}/{identifier}")
            words = "RUBOUT  G M" if number else "YES"
            marked = f"<s> {words} </s>" if name == "train" else words
            lines.append(f"{marked} ({identifier})")
        write(root / "etc" / f"an4_{name}.fileids", *places)
        write(root / "etc" / f"an4_{name}.transcription", *lines)
    return root


def sets(out: Path) -> dict[str, list[Utterance]]:
    return {name: read_manifest(out / f"{name}.jsonl") for name in ("train", "dev", "test")}


@pytest.mark.parametrize("suffix", [".wav", ".sph", ".flac"])
def test_lists_become_manifests(tmp_path: Path, suffix: str) -> None:
    root = made_corpus(tmp_path / "corpora" / "an4", suffix)
    prepare([tmp_path / "corpora"], tmp_path / "out", counts=TINY, dev_speakers=2)
    written = sets(tmp_path / "out")
    assert {name: len(entries) for name, entries in written.items()} == {
        "train": 8,
        "dev": 4,
        "test": 2,
    }
    speakers = {name: {entry.speaker for entry in entries} for name, entries in written.items()}
    assert {name: len(names) for name, names in speakers.items()} == {
        "train": 4,
        "dev": 2,
        "test": 2,
    }
    assert not speakers["train"] & speakers["dev"]
    first = written["test"][0]
    assert (first.id, first.text, first.speaker) == ("an0-mtest0-b", "YES", "mtest0")
    assert first.audio == root / "wav" / "an4test_clstk" / "mtest0" / f"an0-mtest0-b{suffix}"
    texts = {entry.text for entries in written.values() for entry in entries}
    assert texts == {"YES", "RUBOUT G M"}


def test_from_the_published_archive_to_manifests(tmp_path: Path) -> None:
    made_corpus(tmp_path / "made" / "an4")
    tar_folder(tmp_path / "made", tmp_path / "site" / "an4_sphere.tar.gz")
    out = tmp_path / "out"
    with serve(tmp_path / "site") as address:
        archive = Archive(url=f"{address}/an4_sphere.tar.gz", max_bytes=1_000_000)
        prepare([], out, archive=archive, counts=TINY, dev_speakers=2)
    assert sum(len(entries) for entries in sets(out).values()) == 14
    assert '"audio_filepath": "corpus/an4/wav/' in (out / "test.jsonl").read_text(encoding="utf-8")
    assert all(entry.audio.is_file() for entries in sets(out).values() for entry in entries)
    prepare([], out, archive=archive, counts=TINY, dev_speakers=2)  # nothing is fetched again


def test_an_incomplete_corpus_is_refused(tmp_path: Path) -> None:
    root = made_corpus(tmp_path / "an4")
    with pytest.raises(DataError, match="train has 12 of 948, test has 2 of 130 utterances"):
        prepare([root], tmp_path / "out")
    lost = root / "wav" / "an4_clstk" / "mtrain1" / "an1-mtrain1-b.wav"
    lost.unlink()
    with pytest.raises(DataError, match=r"an4_train\.fileids:2: .*an1-mtrain1-b\.sph is missing"):
        prepare([root], tmp_path / "out", counts=TINY)
    assert not (tmp_path / "out").exists()


def test_lists_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    root = made_corpus(tmp_path / "an4")
    listing = root / "etc" / "an4_test.fileids"
    write(listing, "an4test_clstk/mtest0/an0-mtest0-b")
    with pytest.raises(
        DataError, match="lacks 1 utterances that have a transcript, such as an1-mt"
    ):
        read_set(root, "test")
    write(root / "etc" / "an4_test.transcription", "YES (an9-mtest0-b)")
    with pytest.raises(DataError, match="lacks 1 utterances"):
        read_set(root, "test")
    write(root / "etc" / "an4_test.transcription", "YES an0-mtest0-b")
    with pytest.raises(DataError, match=r"transcription:1: needs: WORDS \(UTTERANCE\)"):
        read_transcripts(root / "etc" / "an4_test.transcription")


def test_a_line_without_a_folder_is_refused(tmp_path: Path) -> None:
    root = made_corpus(tmp_path / "an4")
    write(root / "etc" / "an4_test.fileids", "an0-mtest0-b")
    with pytest.raises(DataError, match=r"fileids:1: needs: FOLDER/SPEAKER/UTTERANCE"):
        read_set(root, "test")


def test_the_published_archive_is_the_original() -> None:
    assert ARCHIVE.url.startswith("http://www.speech.cs.cmu.edu/")


@pytest.mark.data
def test_the_real_corpus(corpora: Path, tmp_path: Path) -> None:
    prepare_recipe(RECIPE, corpus=[corpora / "an4"], out=tmp_path)
    prepared = find_prepared(tmp_path)
    assert prepared is not None
    assert prepared.counts == {"train": 857, "dev": 91, "test": 130}
    assert prepared.speakers == {"train": 67, "dev": 7, "test": 10}
    assert prepared.hours["train"] + prepared.hours["dev"] == pytest.approx(0.71, abs=0.005)
    assert prepared.hours["test"] == pytest.approx(0.10, abs=0.005)
    entries = [entry for group in sets(tmp_path).values() for entry in group]
    assert len({entry.id for entry in entries}) == 1078
    assert set("".join(entry.text for entry in entries)) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZ ")
    assert all(0.4 < entry.duration < 10 for entry in entries)
    assert next(e.text for e in entries if e.id == "an406-fcaw-b") == "RUBOUT G M E F THREE NINE"
