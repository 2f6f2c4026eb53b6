"""What becomes train, dev and test of the parts that are there, on tiny made parts."""

from pathlib import Path

import pytest

from asr.data.corpus.prepared import PreparedData, find_prepared
from asr.data.corpus.published import Archive
from asr.data.manifest import read_manifest
from asr.errors import DataError
from asr.preparation import prepare as prepare_recipe
from recipes.librispeech.prepare import ARCHIVES, COUNTS, MINI, find_parts, prepare, read_part
from tests.data.corpus.local_server import serve, tar_folder
from tests.data.corpus.small_sounds import record, write

RECIPE = Path(__file__).parents[2] / "recipes" / "librispeech"


def made_part(root: Path, part: str, speakers: range, each: int = 2) -> Path:
    """One part: each speaker reads one chapter."""
    folder = root / "LibriSpeech" / part
    for speaker in speakers:
        chapter = folder / str(speaker) / "7"
        names = [f"{speaker}-7-{number:04d}" for number in range(each)]
        for name in names:
            record(chapter / f"{name}.flac")
        write(chapter / f"{speaker}-7.trans.txt", *(f"{name} GO ON" for name in names))
    return folder


def prepared(corpus: list[Path], out: Path, variant: str = "recipe") -> PreparedData:
    prepare(corpus, out, variant=variant, counts={})
    result = find_prepared(out)
    assert result is not None
    return result


def ids(prepared: PreparedData, name: str) -> list[str]:
    return [entry.id for entry in read_manifest(prepared.paths[name])]


def test_all_kinds_of_parts(tmp_path: Path) -> None:
    made_part(tmp_path, "train-clean-100", range(100, 104))
    made_part(tmp_path, "train-other-500", range(200, 202))
    for start, part in enumerate(("dev-clean", "dev-other", "test-clean", "test-other"), start=3):
        made_part(tmp_path, part, range(100 * start, 100 * start + 2))
    result = prepared([tmp_path], tmp_path / "out")
    parts = ["dev-clean", "dev-other", "test-clean", "test-other"]
    assert list(result.paths) == ["train", "dev", "test", *parts]
    assert result.counts["train"] == 12
    assert ids(result, "dev") == ids(result, "dev-clean")
    assert ids(result, "test") == ids(result, "test-clean")
    assert ids(result, "test-other")[0] == "600-7-0000"
    assert (result.absent, result.shared_speakers, result.notes) == ({}, None, ())
    first = read_manifest(result.paths["train"])[0]
    assert (first.id, first.speaker, first.text) == ("100-7-0000", "100", "GO ON")


def test_without_a_test_part_nothing_is_called_test(tmp_path: Path) -> None:
    made_part(tmp_path, "train-clean-100", range(20))
    made_part(tmp_path, "dev-clean", range(100, 102))
    result = prepared([tmp_path], tmp_path / "out")
    assert list(result.paths) == ["train", "dev", "dev-clean"]
    assert result.absent == {
        "test": "none of its parts is a test set; score dev-clean.jsonl at the end, and tune on dev"
    }
    assert result.counts == {"train": 38, "dev": 2, "dev-clean": 4}
    held = {name.split("-")[0] for name in ids(result, "dev")}
    assert not held & {name.split("-")[0] for name in ids(result, "train")}
    assert not (tmp_path / "out" / "test.jsonl").exists()


def test_train_parts_alone(tmp_path: Path) -> None:
    made_part(tmp_path, "train-clean-100", range(20))
    result = prepared([tmp_path], tmp_path / "out")
    assert list(result.paths) == ["train", "dev"]
    assert "score other people's recordings at the end" in result.absent["test"]


def test_a_test_part_without_a_dev_part(tmp_path: Path) -> None:
    made_part(tmp_path, "train-clean-100", range(20))
    made_part(tmp_path, "test-other", range(100, 102))
    result = prepared([tmp_path], tmp_path / "out")
    assert result.counts == {"train": 38, "dev": 2, "test": 4, "test-other": 4}


def test_the_variant_chooses_between_mini_and_full(tmp_path: Path) -> None:
    for part in ("train-clean-5", "train-clean-100"):
        made_part(tmp_path, part, range(20))  # the small one is a part of the large one
    made_part(tmp_path, "dev-clean-2", range(100, 102))
    made_part(tmp_path, "dev-clean", range(100, 104))
    full = prepared([tmp_path], tmp_path / "full")
    assert full.counts == {"train": 38, "dev": 2, "dev-clean": 8}
    mini = prepared([tmp_path], tmp_path / "mini", "mini")
    assert mini.counts == {"train": 38, "dev": 2, "dev-clean-2": 4}
    assert "train-clean-5" in str(read_manifest(mini.paths["train"])[0].audio)


def test_a_variant_takes_other_parts_when_its_own_are_not_there(tmp_path: Path) -> None:
    made_part(tmp_path / "a", "train-clean-5", range(20))
    made_part(tmp_path / "b", "dev-clean-2", range(100, 102))
    result = prepared([tmp_path / "a", tmp_path / "b" / "LibriSpeech"], tmp_path / "out")
    assert result.counts == {"train": 38, "dev": 2, "dev-clean-2": 4}


def test_incomplete_parts_are_used_and_named(tmp_path: Path) -> None:
    made_part(tmp_path, "train-clean-100", range(20))
    prepare([tmp_path], tmp_path / "out")
    result = find_prepared(tmp_path / "out")
    assert result is not None
    assert result.notes == (
        "train-clean-100 is incomplete (40 of 28539 utterances); say so with any result",
    )


def test_from_the_published_archives_to_manifests(tmp_path: Path) -> None:
    archives = {}
    with serve(tmp_path / "site") as address:
        for part, speakers in (("train-clean-5", range(20)), ("dev-clean-2", range(100, 102))):
            made_part(tmp_path / part, part, speakers)
            tar_folder(tmp_path / part, tmp_path / "site" / f"{part}.tar.gz")
            archives[part] = Archive(url=f"{address}/{part}.tar.gz", max_bytes=1_000_000)
        with pytest.raises(DataError, match="dev-clean-2 has 4 of 5 utterances; the corpus is inc"):
            prepare(
                [], tmp_path / "o", variant="mini", archives=archives, counts={"dev-clean-2": 5}
            )
        prepare([], tmp_path / "out", variant="mini", archives=archives)
    result = find_prepared(tmp_path / "out")
    assert result is not None
    assert result.counts == {"train": 38, "dev": 2, "dev-clean-2": 4}
    assert read_manifest(result.paths["dev"])[0].audio.is_relative_to(tmp_path / "out" / "corpus")


def test_parts_with_faults_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"{tmp_path}: no part to train on; it needs one such as"):
        find_parts([tmp_path])
    folder = made_part(tmp_path, "train-clean-100", range(2))
    (folder / "0" / "7" / "0-7-0000.flac").unlink()
    record(folder / "1" / "7" / "1-7-0009.flac")
    with pytest.raises(DataError) as caught:
        read_part(folder)
    lines = str(caught.value).split("\n")
    assert lines[0].endswith("0-7.trans.txt:1: no recording '0-7-0000' in this folder")
    assert lines[1].endswith("1-7-0009.flac: has no transcript")
    assert lines[2] == f"{folder}: 2 problems; unpack the archive again"
    with pytest.raises(DataError, match=r"no \*\.trans\.txt in it; unpack the archive again"):
        read_part(write(tmp_path / "dev-clean" / "x").parent)


def test_what_is_known_of_the_archives() -> None:
    assert sum(COUNTS.values()) == 292_367  # the whole corpus, as its authors count it
    for part, archive in ARCHIVES.items():
        number = 31 if part in MINI else 12
        assert archive.url == f"https://www.openslr.org/resources/{number}/{part}.tar.gz"
        digest, length = (archive.md5, 32) if part in MINI else (archive.sha256, 64)
        assert digest is not None
        assert len(bytes.fromhex(digest)) * 2 == length


def test_torchaudio_knows_the_same_checksums() -> None:
    from torchaudio.datasets import librispeech

    for url, digest in librispeech._CHECKSUMS.items():
        part = url.rsplit("/", 1)[1].removesuffix(".tar.gz")
        assert ARCHIVES[part].sha256 == digest


@pytest.mark.data
def test_the_real_corpus(corpora: Path, tmp_path: Path) -> None:
    folder = corpora / "librispeech"
    found = {
        part: sum(1 for _ in path.rglob("*-*-*.*")) for part, path in find_parts([folder]).items()
    }
    result = prepare_recipe(RECIPE, corpus=[folder], out=tmp_path)
    entries = [entry for path in result.paths.values() for entry in read_manifest(path)]
    assert set("".join(entry.text for entry in entries)) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZ' ")
    assert all(1 < entry.duration < 36 for entry in entries)
    assert all(entry.id.startswith(f"{entry.speaker}-") for entry in entries)
    trained = sum(found[part] for part in found if part.startswith("train-"))
    if any(part.startswith("test-") for part in found):
        assert result.counts["train"] <= trained
    else:
        assert result.counts["train"] + result.counts["dev"] == trained
        assert result.counts["dev-clean"] == found["dev-clean"]
        assert list(result.absent) == ["test"]
