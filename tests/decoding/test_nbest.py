"""N-best lists: what is written is read back, and every fault of a file is named."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.decoding.hypothesis import Hypothesis, Word
from asr.decoding.nbest import (
    Candidate,
    NbestList,
    check_same_utterances,
    first_texts,
    is_score_name,
    nbest_entries,
    read_costs,
    read_nbest,
    score_names,
    write_nbest,
)
from asr.errors import DataError, ResourceError

GO = Word("GO", 0.1, 0.3, 0.98)
ON = Word("ON", 0.3, 0.55, 0.5)
LISTS = [
    NbestList(
        "a b",
        (
            Candidate("GO ON", {"score": -3.125, "acoustic": -1.0, "my.lm": 2e-17}, (GO, ON)),
            Candidate("", {"acoustic": -4.0, "score": -5.0, "my.lm": 0.0}),
        ),
    ),
    NbestList("ü", (Candidate("É", {"score": 1 / 3, "acoustic": 0.0, "my.lm": -1e300}),)),
]


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def line(candidates: Sequence[Any], name: str = "u1") -> str:
    return json.dumps({"id": name, "nbest": candidates}) + "\n"


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "n.jsonl"
    write_nbest(path, LISTS)
    assert read_nbest(path) == LISTS
    assert score_names(LISTS) == ("score", "acoustic", "my.lm")
    assert score_names([]) == ()
    assert first_texts(LISTS) == {"a b": "GO ON", "ü": "É"}
    assert [entry.name for entry in path.parent.iterdir()] == ["n.jsonl"]


NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.lists(st.text("ABÉ'", min_size=1, max_size=3), max_size=3).map(" ".join)


@given(st.lists(st.lists(st.tuples(TEXTS, NUMBERS), min_size=1, max_size=3), min_size=1))
def test_any_text_and_number_comes_back(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[list[tuple[str, float]]]
) -> None:
    lists = [
        NbestList(str(index), tuple(Candidate(text, {"score": score}) for text, score in one))
        for index, one in enumerate(drawn)
    ]
    path = tmp_path_factory.mktemp("nbest") / "n.jsonl"
    write_nbest(path, lists)
    assert read_nbest(path) == lists


def test_what_our_decoders_write_is_read(tmp_path: Path) -> None:
    hypothesis = Hypothesis((1, 2), -2.25, "GO ON", (GO, ON), -1.5, -3.0)
    path = write(tmp_path / "n.jsonl", line([hypothesis.as_dict()]))
    scores = {"score": -2.25, "acoustic": -1.5, "lm": -3.0}
    assert read_nbest(path) == [NbestList("u1", (Candidate("GO ON", scores, (GO, ON)),))]


def test_lists_that_were_ranked_by_length_have_a_score_that_ranks(tmp_path: Path) -> None:
    """`score` is per label, so that the best is the first; `total` is the sum."""
    long = Hypothesis((1, 2, 3, 4), -4.0, "GO ON", (GO, ON), -1.5, -3.0)
    short = Hypothesis((1, 2), -3.0, "GO", (GO,), -2.0, -1.0)
    none = Hypothesis((), -9.0, "", (), -9.0, -9.0)
    found = [long, short, none]
    path = write(tmp_path / "n.jsonl", line(nbest_entries(found, by_length=True)))
    [one] = read_nbest(path)
    assert [each.scores["score"] for each in one.candidates] == [-1.0, -1.5, -9.0]
    assert [each.scores["total"] for each in one.candidates] == [-4.0, -3.0, -9.0]
    assert nbest_entries(found) == [each.as_dict() for each in found]


def test_an_utterance_that_could_not_be_decoded_has_an_error(tmp_path: Path) -> None:
    lists = [NbestList("gone", (), "no such file"), LISTS[0]]
    path = tmp_path / "n.jsonl"
    write_nbest(path, lists)
    assert read_nbest(path) == lists
    assert score_names(lists) == score_names(LISTS)
    assert first_texts(lists) == {"gone": "", "a b": "GO ON"}
    write(path, '{"id": "x", "nbest": [], "error": "no such\\nfile", "code": "NOT_A_FILE"}\n')
    with pytest.raises(DataError, match=r"has no candidates, since no .*, such as 'x': no such fi"):
        read_nbest(path)


def test_text_is_normalised_and_other_keys_of_an_utterance_are_ignored(tmp_path: Path) -> None:
    words = [{"word": "E\u0301", "start": 0, "end": 1, "confidence": 1}]
    entry = {"id": "u", "file": "u.wav", "nbest": [{"text": " E\u0301\u00a0", "words": words}]}
    path = write(tmp_path / "n", "\n" + json.dumps(entry) + "\n\n")
    assert read_nbest(path) == [NbestList("u", (Candidate("É", {}, (Word("É", 0, 1, 1),)),))]


WORD = {"word": "A", "start": 0.0, "end": 1.0, "confidence": 0.5}


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ("nothing", "2: not JSON: Expecting value at character 1"),
        ('{"id": 1' + "0" * 5000 + "}", "2: a number or a nesting that is too long"),
        ("[" * 100_000, "2: a number or a nesting that is too long"),
        ("[]", "2: must be an object with keys, got []"),
        ('{"id": "x", "id": "y"}', "2: 'id' is given twice"),
        ('{"nbest": []}', "2: 'id' is missing"),
        (line([], 7), "2: 'id' must be text without control characters, got 7"),  # type: ignore[arg-type]
        (line([], "a\tb"), "2: 'id' must be text without control characters, got"),
        (line([]), "2: utterance 'u1' needs 'nbest', a list of at least one candidate"),
        ('{"id": "x"}', "2: utterance 'x' needs 'nbest', a list of at least one"),
        ('{"id": "x", "error": "why"}', "2: utterance 'x' needs 'nbest', a list of at least one"),
        ('{"id": "x", "nbest": [], "error": ""}', "(or of none, and 'error' with the reason); go"),
        ('{"id": "x", "nbest": [], "error": 3}', "2: 'error' must be text, got 3"),
        (line([{"text": "A", "score": 1}], "u0"), "2: the id 'u0' is already used in line 1"),
        (line(["A"]), "2: utterance 'u1', candidate 1: must be an object with keys, got"),
        (line([{"score": 1}]), "2: utterance 'u1', candidate 1: 'text' must be text, got null"),
        (line([{"text": "\ud800", "score": 1}]), "'text' holds half a surrogate pair"),
        (line([{"text": "A", "score": "1"}]), "'score' must be a finite number, got \"1\""),
        (line([{"text": "A", "score": None}]), "'score' must be a finite number, got null"),
        (line([{"text": "A", "score": True}]), "'score' must be a finite number, got true"),
        (line([{"text": "A", "score": float("nan")}]), "'score' must be a finite number, got NaN"),
        ('{"id": "x", "nbest": [{"text": "A", "score": 1e999}]}', "must be a finite number"),
        (line([{"text": "A", "score": 10**400}]), "'score' must be a finite number, got 1000"),
        (line([{"text": "A", "b c": 1}]), "'b c' is no name of a score: one word without '='"),
        (line([{"text": "A", "b=": 1}]), "'b=' is no name of a score"),
        (line([{"text": "A", "": 1}]), "'' is no name of a score"),
        (
            line([{"text": "A", "score": 1}, {"text": "B", "lm": 1}]),
            "2: utterance 'u1', candidate 2 has the scores lm, the first of the file has score; "
            "all must have the same",
        ),
        (line([{"text": "A"}]), "2: utterance 'u1', candidate 1 has the scores (none), the first"),
        (line([{"text": "A", "words": 3}]), "'words' must be a list, got 3"),
        (line([{"text": "A", "words": ["A"]}]), "a word needs confidence, end, start, word, got"),
        (line([{"text": "A", "words": [{**WORD, "x": 1}]}]), "a word needs confidence, end, start"),
        (
            line([{"text": "A", "words": [{**WORD, "end": "1"}]}]),
            "start, end and confidence must be numbers, got",
        ),
        (
            line([{"text": "A", "words": [{**WORD, "end": -1}]}]),
            "needs 0 <= start <= end, in seconds, and 0 <= confidence <= 1, got",
        ),
        (line([{"text": "A", "words": [{**WORD, "confidence": 1.5}]}]), "0 <= confidence <= 1"),
        (line([{"text": "A", "words": [{**WORD, "end": True}]}]), "must be numbers, got"),
        (line([{"text": "A", "words": [{**WORD, "end": float("nan")}]}]), "0 <= start <= end, in"),
        (line([{"text": "A", "words": [{**WORD, "end": 10**400}]}]), "0 <= start <= end, in"),
        (line([{"text": "A", "words": [{**WORD, "word": 1}]}]), "'word' must be text, got 1"),
        (line([{"text": "A B", "words": [WORD]}]), 'its words do not spell its text "A B"'),
        (line([{"text": "", "words": [{**WORD, "word": ""}]}]), "its words do not spell its text"),
    ],
)
def test_faults_of_a_line(tmp_path: Path, second: str, message: str) -> None:
    path = write(tmp_path / "n.jsonl", line([{"text": "A", "score": 1}], "u0") + second)
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        read_nbest(path)
    assert str(caught.value).startswith(f"{path}:2: ")
    assert "\n" not in str(caught.value)


def test_files_without_lists(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="n: has no n-best lists; give a file with one a line"):
        read_nbest(write(tmp_path / "n", "\n  \n"))
    with pytest.raises(DataError, match="missing: cannot be read: No such file"):
        read_nbest(tmp_path / "missing")


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ([LISTS[0], LISTS[0]], "list 2: the id 'a b' is already used in line 1"),
        ([NbestList("u", ())], "list 1: utterance 'u' needs 'nbest'"),
        ([NbestList("u", (Candidate("A", {"x": float("inf")}),))], "'x' must be a finite number"),
        ([LISTS[1], NbestList("u", (Candidate("A", {}),))], "list 2: utterance 'u', candidate 1"),
    ],
)
def test_nothing_is_written_that_would_be_refused(
    tmp_path: Path, lists: list[NbestList], message: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        write_nbest(tmp_path / "n.jsonl", lists)
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    write(tmp_path / "file", "")
    with pytest.raises(ResourceError, match="cannot be written"):
        write_nbest(tmp_path / "file" / "n.jsonl", LISTS)


def test_kaldi_lists(tmp_path: Path) -> None:
    """Sorted as text, as archives often are: 10 comes before 2; an empty text is one."""
    lines = [f"spk-1-utt-{n} WORD {n}" for n in (1, 10, 2, 3, 4, 5, 6, 7, 8, 9)]
    path = write(tmp_path / "words", "\n".join([*lines, "other-1", " x-2\tB  C ", "x-1 A\r"]))
    first, *others = read_nbest(path)
    assert first.id == "spk-1-utt"
    assert [each.text for each in first.candidates] == [f"WORD {n}" for n in range(1, 11)]
    assert others == [
        NbestList("other", (Candidate("", {}),)),
        NbestList("x", (Candidate("A", {}), Candidate("B C", {}))),
    ]
    write_nbest(tmp_path / "n.jsonl", others)
    assert read_nbest(tmp_path / "n.jsonl") == others


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a-1 A\nnothing here\n", "n:2: must be UTTERANCE-N TEXT as Kaldi writes it, or a JSON"),
        ("a-0 A\n", "n:1: must be UTTERANCE-N TEXT"),
        ("a\x07-1 A\n", "n:1: must be UTTERANCE-N TEXT"),
        ("a-1 A\nb-1 A\na-1 B\n", "n:3: 'a-1' is already in line 1"),
        ("a-1 A\na-3 A\n", "n:2: 'a-3' is here but not 'a-2'; candidates are numbered from 1"),
        ("a-2 A\n", "n:1: 'a-2' is here but not 'a-1'"),
    ],
)
def test_faults_of_kaldi_lists(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        read_nbest(write(tmp_path / "n", text))


def test_the_name_jsonl_says_that_it_is_json(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"n\.jsonl:1: not JSON"):
        read_nbest(write(tmp_path / "n.jsonl", "a-1 A\n"))


def test_costs_are_negated(tmp_path: Path) -> None:
    path = write(tmp_path / "ac", "a-1 12.5\n\na-2 -1e2 \nb-x-1\t0\n")
    scores = read_costs(path)
    assert scores == {"a-1": -12.5, "a-2": 100.0, "b-x-1": 0.0}
    assert str(scores["b-x-1"]) == "0.0"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a-1 1\na-2 high\n", "ac:2: must be UTTERANCE-N COST with a finite number, got"),
        ("a-1 nan\n", "ac:1: must be UTTERANCE-N COST with a finite number"),
        ("a-1\n", "ac:1: must be UTTERANCE-N COST with a finite number"),
        ("a 1\n", "ac:1: must be UTTERANCE-N COST with a finite number"),
        ("a-1 1\na-1 2\n", "ac:2: 'a-1' has a cost already"),
    ],
)
def test_faults_of_costs(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        read_costs(write(tmp_path / "ac", text))


def test_different_utterances_are_listed() -> None:
    check_same_utterances("x", ["a", "b"], "y", ["b", "a"])
    ids = list("abcdefgh")
    with pytest.raises(DataError, match=re.escape("x: lacks 1 of the 2 utterances of y: 'b'. Bo")):
        check_same_utterances("x", ["a"], "y", ["a", "b"])
    with pytest.raises(
        DataError, match=r"y: lacks 7 of the 8 .* 'b', 'c', 'd', 'e', 'f' and 2 more"
    ):
        check_same_utterances("x", ids, "y", ["a"])


@pytest.mark.parametrize("name", ["", "text", "words", "a b", "a=b", "a\n"])
def test_names_that_no_score_has(name: str) -> None:
    assert not is_score_name(name)
    assert is_score_name("lm-4.x")
