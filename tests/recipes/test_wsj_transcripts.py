"""What becomes of WSJ's detailed transcripts."""

from pathlib import Path

import pytest

from asr.data.corpus.prepared import find_prepared
from asr.data.manifest import read_manifest
from asr.errors import DataError
from recipes.wsj.discs import Entry
from recipes.wsj.prepare import prepare
from recipes.wsj.transcripts import CHARACTERS, DotLine, nearest, spoken
from tests.recipes.made_discs import COUNTS, files, lay_out

DOTS = "wsj0/transcrp/dots/si_tr_s/01i/01ic0200.dot"


@pytest.mark.parametrize(
    ("transcript", "expected"),
    [
        ("the  cat", "THE CAT"),
        ("it\\'s [door_slam] late", "IT'S LATE"),
        ("[<door_slam] it is", "IT IS"),
        ("it is [door_slam>]", "IT IS"),
        ("[phone_ring/] it is [/phone_ring] late", "IT IS LATE"),
        ("it[cough]is", "IT IS"),
        ("[\\<tongue_click] it", "IT"),
        ("it is la- ~", "IT IS LA-"),
        ("it . is late .", "IT IS LATE"),
        ("he <and> she", "HE AND SHE"),
        ("he <isn't> *reelly* here", "HE ISN'T REELLY HERE"),
        ("*<very>* odd", "VERY ODD"),
        ("ten %percent", "TEN PERCENT"),
        ("ten .point five", "TEN POINT FIVE"),
        ("yes --dash no", "YES -DASH NO"),
        ("yes ,COMMA no .PERIOD", "YES ,COMMA NO .PERIOD"),
        ('\\"double-quote so \\"end-quote', '"DOUBLE-QUOTE SO "END-QUOTE'),
        ("\\(left-paren a \\)right-paren", "(LEFT-PAREN A )RIGHT-PAREN"),
        ("-hyphen &ampersand /slash", "-HYPHEN &AMPERSAND /SLASH"),
        (":colon ;semi-colon", ":COLON ;SEMI-COLON"),
        ("?question-mark !exclamation-point", "?QUESTION-MARK !EXCLAMATION-POINT"),
        ("{left-brace }right-brace 'single-quote", "{LEFT-BRACE }RIGHT-BRACE 'SINGLE-QUOTE"),
        ("so ...ellipsis", "SO ...ELLIPSIS"),
        ("mr. bell a. t. and t.", "MR. BELL A. T. AND T."),
        ("[loud_breath] ~", ""),
    ],
)  # fmt: skip
def test_what_is_spoken(transcript: str, expected: str) -> None:
    assert spoken(transcript) == expected
    assert CHARACTERS.issuperset(expected)
    assert spoken(expected) == expected


def test_there_are_43_characters() -> None:
    assert len(CHARACTERS) == 43
    assert sum(character.isalpha() for character in CHARACTERS) == 26
    assert not any(character.isdigit() for character in CHARACTERS)


def test_other_characters_are_taken_out_and_counted(tmp_path: Path) -> None:
    made = files()
    made[DOTS] = (
        b"the `bank` f_e~ll (01ic0201)\r\n\r\n"
        b"a caf\xe9 <rose up> 2 (01IC0202)\r\n\x1a"
    )  # fmt: skip
    prepare(lay_out(tmp_path, "merged", made), tmp_path / "out", counts=COUNTS)
    texts = {u.id: u.text for u in read_manifest(tmp_path / "out" / "train.jsonl")}
    assert texts["01ic0201"] == "THE BANK FELL"
    assert texts["01ic0202"] == "A CAF ROSE UP"
    result = find_prepared(tmp_path / "out")
    assert result is not None
    assert (
        "taken out of the transcripts, since outside the 43 characters: 2 × '`', 1 × '_', 1 × '~', "
        "1 × 'É', 1 × '<', 1 × '>', 1 × '2'"
    ) in result.notes


def test_missing_transcripts_are_named(tmp_path: Path) -> None:
    made = files()
    made[DOTS] = b"The bank fell (01ic0201)\nThe bank rose 01ic0202\n"
    with pytest.raises(DataError) as caught:
        prepare(lay_out(tmp_path, "merged", made), tmp_path / "out", counts=COUNTS)
    assert str(caught.value) == (
        f"{tmp_path}/wsj0, {tmp_path}/wsj1: 1 utterances have no transcript in a .dot file: "
        f"01ic0202 ({tmp_path}/wsj0/doc/indices/train/tr_s_wv1.ndx:4); 1 lines are not WORDS "
        f"(UTTERANCE), such as {tmp_path}/{DOTS}:2; give the folders of all discs with --corpus"
    )


def test_no_transcripts_at_all(tmp_path: Path) -> None:
    made = {key: content for key, content in files().items() if not key.endswith(".dot")}
    expected = "10 utterances have no transcript in a .dot file: 01ic0201 .* and 5 more; give the f"
    with pytest.raises(DataError, match=expected):
        prepare(lay_out(tmp_path, "merged", made), tmp_path / "out", counts=COUNTS)


def test_utterances_without_words_are_left_out_by_name(tmp_path: Path) -> None:
    made = files()
    whole = lay_out(tmp_path / "whole", "merged", made)
    prepare(whole, tmp_path / "all", counts=COUNTS)
    made[DOTS] = b"[door_slam] ~ (01ic0201)\n__ _ (01ic0202)\n"
    corpus = lay_out(tmp_path, "merged", made)
    prepare(corpus, tmp_path / "out", counts=COUNTS)
    prepared = find_prepared(tmp_path / "out")
    assert prepared is not None
    assert (
        "left out, since nothing but noises is in their transcripts: "
        f"01ic0201 ({tmp_path}/{DOTS}:1), 01ic0202 ({tmp_path}/{DOTS}:2)"
    ) in prepared.notes
    for name in ("train", "train-si84"):
        everything = {u.id for u in read_manifest(tmp_path / "all" / f"{name}.jsonl")}
        kept = {u.id for u in read_manifest(tmp_path / "out" / f"{name}.jsonl")}
        assert everything - kept == {"01ic0201", "01ic0202"}


def test_of_different_transcripts_that_of_the_set_is_taken_and_a_note_says_so(
    tmp_path: Path,
) -> None:
    made = files()
    made["wsj0/another/01ic0200.dot"] = (
        b"Another text (01ic0201)\n[cough] The BANK rose ,COMMA Mr. Bell said .PERIOD (01ic0202)\n"
    )
    prepare(lay_out(tmp_path, "merged", made), tmp_path / "out", counts=COUNTS)
    texts = {u.id: u.text for u in read_manifest(tmp_path / "out" / "train.jsonl")}
    assert texts["01ic0201"] == "THE BANK FELL"
    result = find_prepared(tmp_path / "out")
    assert result is not None
    assert (
        f"1 utterances have several different transcripts: 01ic0201 ({tmp_path}/{DOTS}:1 was taken)"
    ) in result.notes


def test_where_no_transcript_is_of_the_set_the_first_is_taken() -> None:
    lines = [DotLine(f"wsj0/{place}/x.dot", place, place) for place in ("a", "b", "si_tr_s")]
    entry = Entry(disc="11_1_1", name="wsj0/si_tr_s/01i/01ic0201", source="")
    assert nearest(lines, entry).text == "si_tr_s"
    assert nearest(lines[:2], entry).text == "a"
