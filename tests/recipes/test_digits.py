from pathlib import Path

import pytest

from asr.data.corpus.prepared import PreparedData, find_prepared
from asr.data.corpus.published import Archive
from asr.data.manifest import read_manifest
from asr.errors import DataError
from asr.preparation import prepare as prepare_recipe
from recipes.digits.prepare import CORPUS_FOLDER, prepare, set_of
from tests.data.corpus.local_server import serve, tar_folder
from tests.data.corpus.small_sounds import record

RECIPE = Path(__file__).parents[2] / "recipes" / "digits"


def made_corpus(root: Path, speakers: tuple[str, ...] = ("ann", "bob")) -> Path:
    """Ten takes of every digit by each speaker."""
    for speaker in speakers:
        for digit in range(10):
            for take in range(10):
                record(root / "recordings" / f"{digit}_{speaker}_{take}.wav", 0.01)
    return root


def found(out: Path) -> PreparedData:
    prepared = find_prepared(out)
    assert prepared is not None
    return prepared


def test_the_index_decides_the_set(tmp_path: Path) -> None:
    root = made_corpus(tmp_path / "fsdd")
    prepare([root], tmp_path / "out", num_speakers=2, num_takes=10)
    prepared = found(tmp_path / "out")
    assert prepared.counts == {"train": 20, "dev": 80, "test": 100}
    assert prepared.speakers == {"train": 2, "dev": 2, "test": 2}
    assert str(prepared.shared_speakers).startswith("all six speakers are in every set")
    test = read_manifest(prepared.paths["test"])
    assert (test[0].id, test[0].text, test[0].speaker) == ("0_ann_0", "ZERO", "ann")
    assert {entry.text for entry in test if entry.id.startswith("9_")} == {"NINE"}
    assert len({entry.text for entry in test}) == 10


@pytest.mark.parametrize(
    ("take", "name"),
    [(0, "test"), (4, "test"), (5, "dev"), (8, "dev"), (9, "train"), (49, "train")],
)
def test_sets_of_indices(take: int, name: str) -> None:
    assert set_of(f"3_theo_{take}") == name


def test_from_the_published_archive_to_manifests(tmp_path: Path) -> None:
    made_corpus(tmp_path / "made" / "free-spoken-digit-dataset-1.0.10", ("ann",))
    tar_folder(tmp_path / "made", tmp_path / "site" / "v1.0.10.tar.gz")
    with serve(tmp_path / "site") as address:
        archive = Archive(url=f"{address}/v1.0.10.tar.gz", max_bytes=1_000_000)
        prepare([], tmp_path / "out", archive=archive, num_speakers=1, num_takes=10)
    assert found(tmp_path / "out").counts == {"train": 10, "dev": 40, "test": 50}


def test_an_incomplete_corpus_is_refused(tmp_path: Path) -> None:
    root = made_corpus(tmp_path / "fsdd")
    (root / "recordings" / "7_bob_3.wav").unlink()
    with pytest.raises(
        DataError, match="199 clips of 2 speakers, needs 200 of 2, missing 7_bob_3;"
    ):
        prepare([root], tmp_path / "out", num_speakers=2, num_takes=10)
    with pytest.raises(DataError, match="needs 300 of 3, missing 7_bob_3; download it again"):
        prepare([root], tmp_path / "out", num_speakers=3, num_takes=10)
    record(root / "recordings" / "noise.wav")
    with pytest.raises(DataError, match=r"noise\.wav: no clip of the dataset; needs DIGIT_SPEAKER"):
        prepare([root], tmp_path / "out")


@pytest.mark.data
def test_the_real_corpus(corpora: Path, tmp_path: Path) -> None:
    prepared = prepare_recipe(RECIPE, corpus=[corpora / CORPUS_FOLDER], out=tmp_path)
    assert prepared.counts == {"train": 2460, "dev": 240, "test": 300}
    assert set(prepared.speakers.values()) == {6}
    assert sum(prepared.hours.values()) == pytest.approx(0.3645, abs=0.001)
    sets = {name: read_manifest(path) for name, path in prepared.paths.items()}
    assert len({entry.audio for entries in sets.values() for entry in entries}) == 3000
    for entries in sets.values():
        assert len({entry.text for entry in entries}) == 10
        assert all(0.1 < entry.duration < 3 for entry in entries)
