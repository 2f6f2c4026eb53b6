"""Scores as text."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.errors import shown
from asr.scoring.alignment import align_units
from asr.scoring.equivalence import Scoring
from asr.scoring.error_rate import score_corpus
from asr.scoring.table import aligned_text, confusions, display_width, rates_text, summary, worst

any_words = st.lists(st.text(st.characters(exclude_characters=" "), min_size=1, max_size=5))


def test_an_alignment_has_a_column_per_word() -> None:
    edits = align_units(["the", "cat", "sat", "down"], ["the", "on", "sat"])
    assert aligned_text(edits) == "\n".join(
        [
            "REF:  the cat sat down",
            "HYP:  the on  sat ****",
            "EVAL:     S       D",
        ]
    )


def test_what_is_inserted_stands_below_asterisks() -> None:
    text = aligned_text(align_units(["a", "b"], ["a", "cat", "b"]))
    assert text == "REF:  a *** b\nHYP:  a cat b\nEVAL:   I"


def test_wide_and_combining_characters_keep_the_columns() -> None:
    edits = align_units(["東京", "e\u0301e\u0301", "x"], ["京", "ee", "x"])
    assert aligned_text(edits).split("\n") == [
        "REF:  東京 e\u0301e\u0301 x",
        "HYP:  京   ee x",
        "EVAL: S    S",
    ]


def test_control_characters_do_not_reach_the_terminal() -> None:
    assert "\x1b" not in aligned_text(align_units(["\x1b[2J"], ["\u202e"]))
    assert r"\u202e" in aligned_text(align_units(["a"], ["\u202e"]))


def test_long_alignments_go_on_below() -> None:
    text = aligned_text(align_units(list("abcdef"), list("abxdef")), width=11)
    assert text == "\n\n".join(
        [
            "REF:  a b c\nHYP:  a b x\nEVAL:     S",
            "REF:  d e f\nHYP:  d e f\nEVAL:",
        ]
    )


def test_a_word_wider_than_the_line_stands_alone() -> None:
    text = aligned_text(align_units(["abcdefghij", "k"], ["abcdefghij", "k"]), width=8)
    assert [line for line in text.split("\n") if line.startswith("REF")] == [
        "REF:  abcdefghij",
        "REF:  k",
    ]


def test_nothing_aligned_with_nothing() -> None:
    assert aligned_text([]) == "REF:\nHYP:\nEVAL:"


@settings(deadline=None)
@given(any_words, any_words)
def test_the_marks_stand_below_their_words_whatever_the_script(
    reference: list[str], hypothesis: list[str]
) -> None:
    edits = align_units(reference, hypothesis)
    spoken, recognised, marks = aligned_text(edits, width=10**9).split("\n")
    columns = [column for column, mark in enumerate(marks) if mark != " " and column > 4]
    wrong = [edit for edit in edits if edit.kind != "correct"]
    for column, edit in zip(columns, wrong, strict=True):
        assert marks[column] == edit.kind[0].upper()
        assert from_column(spoken, column).startswith(shown(edit.reference or "*"))
        assert from_column(recognised, column).startswith(shown(edit.hypothesis or "*"))


def from_column(line: str, column: int) -> str:
    """What stands in a line from a terminal's column on."""
    index = next(n for n in range(len(line) + 1) if display_width(line[:n]) == column)
    return line[index:]


@pytest.mark.parametrize(
    ("text", "columns"),
    [("abc", 3), ("é", 1), ("e\u0301", 1), ("東京", 4), ("ＡＢ", 4), ("한", 2), ("", 0)],
)
def test_display_width(text: str, columns: int) -> None:
    assert display_width(text) == columns


REFERENCES = {"u1": "a b c", "u2": "a b", "u3": "a a a", "u4": "d e"}
HYPOTHESES = {"u1": "a x c", "u2": "a x", "u3": "b", "u4": "d y e"}


def test_the_worst_utterances_come_first() -> None:
    score = score_corpus(REFERENCES, HYPOTHESES)
    assert [one.utterance for one in worst(score, 10)] == ["u3", "u1", "u2", "u4"]
    assert [one.utterance for one in worst(score, 1)] == ["u3"]


def test_confusions_are_counted_over_the_test_set() -> None:
    found = confusions(score_corpus(REFERENCES, HYPOTHESES), 10)
    assert found.substitutions == (("b", "x", 2), ("a", "b", 1))
    assert found.deletions == (("a", 2),)
    assert found.insertions == (("y", 1),)
    assert confusions(score_corpus(REFERENCES, HYPOTHESES), 1).substitutions == (("b", "x", 2),)


def test_the_summary_has_rates_intervals_and_signatures() -> None:
    score = score_corpus(
        REFERENCES, {"u1": "a b x"}, speakers=dict(zip(REFERENCES, "sstt", strict=True))
    )
    lines = summary(score).split("\n")
    assert score.wer.interval is not None
    assert score.wer.speaker_interval is not None
    low, high = (100 * border for border in score.wer.interval)
    least, most = (100 * border for border in score.wer.speaker_interval)
    expected = f"WER 80.00 % [{low:.2f}, {high:.2f}], over speakers [{least:.2f}, {most:.2f}]"
    assert lines[0].startswith(expected)
    assert (
        ": 8 errors in 10 words (1 substitutions, 7 deletions, 0 insertions) wer|case:" in lines[0]
    )
    assert lines[1].startswith("CER ")
    assert lines[2:] == [
        "4 of 4 utterances have an error",
        "3 of 4 utterances have no hypothesis",
    ]


def test_a_summary_without_intervals() -> None:
    lines = summary(score_corpus({"x": "a"}, {"x": "a"})).split("\n")
    assert lines[0].startswith("WER 0.00 %: 0 errors in 1 words")
    assert len(lines) == 3


def test_a_summary_of_phones() -> None:
    """Without characters; with repeats merged where they may be."""
    scoring = Scoring(unit="phone", replace={"h#": "sil"}, merge={"sil"})
    score = score_corpus({"x": "h# h# a", "y": "a"}, {"x": "h# a", "y": "b"}, scoring=scoring)
    lines = summary(score).split("\n")
    assert lines[0].startswith("PER 50.00 % [")
    assert ": 2 errors in 4 phones (1 substitutions, 1 deletions, 0 insertions) per|" in lines[0]
    assert lines[1].startswith("PER with repeats merged 33.33 % [")
    assert ": 1 errors in 3 phones (" in lines[1]
    assert lines[2:] == ["2 of 2 utterances have an error"]
    assert confusions(score, 5).deletions == (("sil", 1),)


def test_rates_among_metrics() -> None:
    metrics = {"per": 0.25, "per_merged": 0.2, "unreadable": 2.0}
    assert rates_text(metrics) == "PER 25.00 %, PER with repeats merged 20.00 %"
    assert rates_text({"wer": 0.1, "cer": 0.04321}) == "WER 10.00 %, CER 4.32 %"
    assert rates_text({"perplexity": 3.0}) == ""
