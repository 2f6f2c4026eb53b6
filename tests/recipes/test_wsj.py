"""The preparation of WSJ on made discs: layouts, what is missing, sets and their notes."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from asr.data.audio import read_audio
from asr.data.corpus.prepared import PreparedData, find_prepared
from asr.data.manifest import read_manifest
from asr.errors import DataError
from asr.preparation import prepare as prepare_recipe
from recipes.wsj.discs import Discs, read_lists
from recipes.wsj.prepare import COUNTS, LISTS, prepare
from tests.recipes import made_discs
from tests.recipes.made_discs import (
    DEV_NDX,
    TEST_NDX,
    TRAIN_NDX,
    WSJ1_NDX,
    converted,
    files,
    lay_out,
)

RECIPE = Path(__file__).parents[2] / "recipes" / "wsj"
LEFT_OUT = "si84 without the 2 utterances that its list has of speaker 401 on disc 11-2.1"
LM_NOTES = (
    "lm.txt.gz: 7 sentences, 30 words, of 3 files of the years 87 88 89",
    "dictionary.txt: 11 words, 8 of them of wlist20o.nvp",
)


def prepared(corpus: list[Path], out: Path) -> PreparedData:
    prepare(corpus, out, counts=made_discs.COUNTS)
    result = find_prepared(out)
    assert result is not None
    return result


def refused(tmp_path: Path, made: Mapping[str, bytes], *, layout: str = "published") -> str:
    """What the preparation says of discs with these files; it must leave nothing behind."""
    with pytest.raises(DataError) as caught:
        prepare(lay_out(tmp_path, layout, made), tmp_path / "out", counts=made_discs.COUNTS)
    assert not (tmp_path / "out").exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def without(*places: str) -> dict[str, bytes]:
    return {key: content for key, content in files().items() if not key.startswith(places)}


@pytest.mark.parametrize("layout", ["published", "underscores", "merged", "mounted"])
def test_the_discs_are_found_in_any_layout(tmp_path: Path, layout: str) -> None:
    result = prepared(lay_out(tmp_path / "discs", layout), tmp_path / "out")
    assert list(result.paths) == ["train", "dev", "test", "train-si84"]
    assert result.counts == {"train": 6, "dev": 2, "test": 2, "train-si84": 4}
    assert result.speakers == {"train": 3, "dev": 1, "test": 1, "train-si84": 2}
    assert result.hours["train"] == pytest.approx(6 * 0.6 / 3600, abs=1e-4)
    assert result.notes == (LEFT_OUT, *LM_NOTES)
    texts = {entry.id: entry.text for entry in read_manifest(result.paths["train"])}
    assert texts == {
        "01ic0201": "THE BANK FELL",
        "01ic0202": "THE BANK ROSE ,COMMA MR. BELL SAID .PERIOD",
        "01jc0201": "A BOND FELL",
        "01jc0202": "MR. BELL SOLD A BOND",
        "46cc0201": "THE BOND ROSE",
        "46cc0202": "A BANK SOLD A BOND",
    }
    small = read_manifest(result.paths["train-si84"])
    assert small == read_manifest(result.paths["train"])[:4]
    dev = read_manifest(result.paths["dev"])
    assert [(entry.id, entry.speaker) for entry in dev] == [
        ("4k0c0301", "4k0"),
        ("4k0c0302", "4k0"),
    ]


def test_packed_and_plain_recordings_are_read(tmp_path: Path) -> None:
    result = prepared(lay_out(tmp_path / "discs", "mounted"), tmp_path / "out")
    for packed, plain in zip(*[iter(read_manifest(result.paths["train"]))] * 2, strict=True):
        first, second = (read_audio(u.audio, sample_rate=16000) for u in (packed, plain))
        assert b"shorten" in packed.audio.read_bytes()[:1024]
        assert b"shorten" not in plain.audio.read_bytes()[:1024]
        assert (first.waveform == second.waveform).all()
        assert packed.duration == plain.duration == first.duration


@pytest.mark.parametrize("suffix", [".flac", ".wav"])
def test_converted_recordings_do_where_the_original_is_not_there(
    tmp_path: Path, suffix: str
) -> None:
    made = files()
    for name in list(made_discs.SPEECH)[1:]:
        del made[f"{name}.wv1"]
        made[name + suffix] = converted(suffix)
    made[f"wsj0/si_tr_s/01i/01ic0201{suffix}"] = b"broken, but the original is there"
    result = prepared(lay_out(tmp_path / "discs", "merged", made), tmp_path / "out")
    suffixes = [entry.audio.suffix for entry in read_manifest(result.paths["train"])]
    assert suffixes == [".wv1", *[suffix] * 5]


def test_a_folder_of_other_name_and_twice_the_same_disc(tmp_path: Path) -> None:
    """The corpus need not be wsj0's parent: its own path is looked at too."""
    first = lay_out(tmp_path / "first", "merged")
    lay_out(tmp_path / "second", "published")
    result = prepared([*first, tmp_path / "second"], tmp_path / "out")
    entries = [entry for path in result.paths.values() for entry in read_manifest(path)]
    assert all(entry.audio.is_relative_to(tmp_path / "first") for entry in entries)


def test_a_folder_of_lists_may_be_called_as_the_corpus(tmp_path: Path) -> None:
    made = files()
    made["wsj1/doc/indices/wsj0/x.ndx"] = b""
    discs = Discs.of(lay_out(tmp_path, "merged", made))
    assert "wsj1/doc/indices/wsj0/x.ndx" in discs.files
    assert discs.matching(r"wsj[01]/.*x\.ndx") == [
        ("wsj0/x.ndx", tmp_path / "wsj1" / "doc" / "indices" / "wsj0" / "x.ndx")
    ]


def test_the_recipe_is_prepared_by_the_command(tmp_path: Path) -> None:
    """With the real counts: what is missing stops it."""
    corpus = lay_out(tmp_path / "discs", "published")
    with pytest.raises(
        DataError, match=r"si84 has 4 instead of 7138, si284 has 6 instead of 37416"
    ):
        prepare_recipe(RECIPE, corpus=corpus, out=tmp_path / "out")


def test_without_a_corpus_the_licence_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASR_CORPORA", str(tmp_path))
    expected = (
        r"^wsj: the Wall Street Journal corpus needs a licence of the Linguistic Data Consortium "
        r"\(LDC93S6A or LDC93S6B, and LDC94S13A or LDC94S13B\) and is not downloaded; give the "
        r"folders of its discs with --corpus DIR \(as often as needed\), or put them into "
        r"\$ASR_CORPORA/wsj$"
    )
    with pytest.raises(DataError, match=expected):
        prepare_recipe(RECIPE, out=tmp_path / "out")
    lay_out(tmp_path / "wsj", "underscores")
    with pytest.raises(DataError, match="instead of 7138"):
        prepare_recipe(RECIPE, out=tmp_path / "out")


def test_missing_lists_are_named_all_of_them(tmp_path: Path) -> None:
    made = without(TRAIN_NDX, DEV_NDX)
    assert refused(tmp_path, made) == (
        f"{tmp_path}/csr_1, {tmp_path}/csr_2_comp: no {TRAIN_NDX}, {DEV_NDX} (wsj0's are on disc "
        "11-13.1, wsj1's on 13-34.1); give the folders of all discs of WSJ0 and WSJ1 with --corpus"
    )


def test_missing_recordings_are_counted_by_disc(tmp_path: Path) -> None:
    made = without("wsj0/si_tr_s/01i/01ic0201", "wsj0/si_tr_s/01j/", "wsj1/si_dt_20/4k0/4k0c0301")
    made["wsj0/si_tr_s/01i/01ic0201.wv2"] = b"another microphone is no replacement"
    assert refused(tmp_path, made) == (
        f"{tmp_path}/csr_1, {tmp_path}/csr_2_comp: 4 of 10 recordings are missing, such as "
        "wsj0/si_tr_s/01i/01ic0201.wv1 (by the lists: 2 on 11_1_1, 1 on 11_2_1, 1 on 13_32_1); "
        "give the folders of these discs too, or copy them again"
    )


def test_other_counts_are_refused(tmp_path: Path) -> None:
    made = files()
    made[TEST_NDX] = made[TEST_NDX].splitlines(keepends=True)[0]
    assert refused(tmp_path, made, layout="merged") == (
        f"{tmp_path}/wsj0, {tmp_path}/wsj1: eval92 has 1 instead of 2 utterances in the lists "
        f"({TRAIN_NDX}, {WSJ1_NDX}, {DEV_NDX}, {TEST_NDX}); they are cut off or of another "
        "version, copy them again (wsj0's are on disc 11-13.1, wsj1's on 13-34.1)"
    )


def test_a_line_of_another_form_is_refused(tmp_path: Path) -> None:
    made = files()
    made[TEST_NDX] += b"\x1a\n11_14_1 si_et_20\x07\n"
    assert refused(tmp_path, made, layout="merged") == (
        f"{tmp_path}/{TEST_NDX}:4: needs DISC:wsj0/…/UTTERANCE.wv1 (or wsj1), has "
        "'11_14_1 si_et_20\\x07'; copy the disc again"
    )


def test_speaker_401_is_left_out_of_one_disc_only(tmp_path: Path) -> None:
    made = files()
    line = b"11_1_1:wsj0/si_tr_s/401/401c0203.wv1\n"
    made[TRAIN_NDX] += line + line.replace(b"11_1_1", b"11-2.1").replace(b"203", b"204")
    discs = Discs.of(lay_out(tmp_path, "merged", made))
    lists = read_lists(discs, LISTS, "")
    assert sum(entry.name.startswith("wsj0/si_tr_s/401/") for entry in lists["si84"]) == 4
    message = refused(tmp_path, made, layout="merged")
    assert "si84 has 5 instead of 4, si284 has 7 instead of 6 utterances" in message


def test_a_disc_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no-disc: no such folder"):
        Discs.of([tmp_path / "no-disc"])


def test_a_damaged_recording_is_named_with_its_line(tmp_path: Path) -> None:
    made = files()
    made["wsj0/si_tr_s/01i/01ic0202.wv1"] = b"no sound"
    with pytest.raises(DataError, match=r"tr_s_wv1\.ndx:4: 01ic0202\.wv1: is text, not sound"):
        prepared(lay_out(tmp_path, "merged", made), tmp_path / "out")


def test_the_counts_of_the_corpus() -> None:
    assert COUNTS == {"si84": 7138, "si284": 37416, "dev93": 503, "eval92": 333}


def test_without_text_the_speech_is_prepared_and_a_note_says_so(tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepared(lay_out(tmp_path / "whole", "merged"), out)
    assert {"lm.txt.gz", "dictionary.txt"} <= {path.name for path in out.iterdir()}
    made = without(made_discs.NP_DATA)
    result = prepared(lay_out(tmp_path / "less", "merged", made), out)
    assert result.notes == (
        LEFT_OUT,
        "no LM text (disc 13-32.1): no lm.txt.gz and no dictionary.txt; only the rows with a "
        "dictionary or an n-gram need them",
    )
    assert not {"lm.txt.gz", "dictionary.txt"} & {path.name for path in out.iterdir()}
