from pathlib import Path

import pytest

from asr.data.corpus.prepared import PreparedData, find_prepared
from asr.data.corpus.published import Archive
from asr.data.manifest import read_manifest
from asr.errors import DataError
from asr.preparation import prepare as prepare_recipe
from recipes.speechocean762.prepare import prepare
from tests.data.corpus.local_server import serve, tar_folder
from tests.data.corpus.small_sounds import record, write

TINY = {"train": 10, "test": 4}

RECIPE = Path(__file__).parents[2] / "recipes" / "speechocean762"


def made_corpus(root: Path) -> Path:
    """Five training and two test speakers with two sentences each."""
    for name, speakers in (("train", range(1, 6)), ("test", range(6, 8))):
        ids = [(f"{speaker:04d}", f"{speaker:04d}1000{n}") for speaker in speakers for n in (1, 2)]
        for speaker, identifier in ids:
            record(root / "WAVE" / f"SPEAKER{speaker}" / f"{identifier}.WAV")
        folder = root / name
        write(folder / "wav.scp", *(f"{i}\tWAVE/SPEAKER{s}/{i}.WAV" for s, i in ids))
        write(folder / "text", *(f"{i}\tWE CALL IT BEAR" for _, i in ids))
        write(folder / "utt2spk", *(f"{i} {s}" for s, i in ids))
    return root


def found(out: Path) -> PreparedData:
    prepared = find_prepared(out)
    assert prepared is not None
    return prepared


def test_the_published_split_with_speakers_held_out(tmp_path: Path) -> None:
    root = made_corpus(tmp_path / "speechocean762")
    prepare([tmp_path], tmp_path / "out", counts=TINY, dev_speakers=1)
    prepared = found(tmp_path / "out")
    assert prepared.counts == {"train": 8, "dev": 2, "test": 4}
    assert prepared.speakers == {"train": 4, "dev": 1, "test": 2}
    first = read_manifest(prepared.paths["test"])[0]
    assert (first.id, first.speaker, first.text) == ("000610001", "0006", "WE CALL IT BEAR")
    assert first.audio == root / "WAVE" / "SPEAKER0006" / "000610001.WAV"


def test_from_the_published_archive_to_manifests(tmp_path: Path) -> None:
    made_corpus(tmp_path / "made" / "speechocean762")
    tar_folder(tmp_path / "made", tmp_path / "site" / "speechocean762.tar.gz")
    with serve(tmp_path / "site") as address:
        archive = Archive(url=f"{address}/speechocean762.tar.gz", max_bytes=1_000_000)
        prepare([], tmp_path / "out", archive=archive, counts=TINY, dev_speakers=1)
    assert found(tmp_path / "out").counts == {"train": 8, "dev": 2, "test": 4}


def test_an_incomplete_corpus_is_refused(tmp_path: Path) -> None:
    root = made_corpus(tmp_path / "speechocean762")
    with pytest.raises(DataError, match="train has 10 of 2500, test has 4 of 2500 utterances"):
        prepare([root], tmp_path / "out")
    (root / "WAVE" / "SPEAKER0001" / "000110001.WAV").unlink()
    with pytest.raises(DataError, match=r"train/text:1: the recording .*000110001\.WAV is missing"):
        prepare([root], tmp_path / "out", counts=TINY)
    (root / "train" / "wav.scp").unlink()
    with pytest.raises(
        DataError, match=r"no train/wav\.scp in it; give the folder of the unpacked"
    ):
        prepare([root], tmp_path / "out", counts=TINY)


@pytest.mark.data
def test_the_real_corpus(corpora: Path, tmp_path: Path) -> None:
    prepared = prepare_recipe(RECIPE, corpus=[corpora / "speechocean762"], out=tmp_path)
    assert prepared.counts == {"train": 2260, "dev": 240, "test": 2500}
    assert prepared.speakers == {"train": 113, "dev": 12, "test": 125}
    assert prepared.hours["train"] + prepared.hours["dev"] == pytest.approx(2.88, abs=0.005)
    assert prepared.hours["test"] == pytest.approx(2.69, abs=0.005)
    entries = [entry for path in prepared.paths.values() for entry in read_manifest(path)]
    assert len({entry.id for entry in entries}) == 5000
    assert set("".join(entry.text for entry in entries)) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZ' ")
    assert all(0.5 < entry.duration < 25 for entry in entries)
