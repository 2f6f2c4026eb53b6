"""Corpus rates: totals, edge cases, and what is never dropped."""

import unicodedata

import jiwer
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.errors import DataError
from asr.scoring.alignment import EditCounts
from asr.scoring.error_rate import score_corpus, signature
from asr.version import __version__

texts = st.lists(st.sampled_from(["a", "b", "cat", "dog"]), max_size=8).map(" ".join)


def test_rates_are_totals_by_totals() -> None:
    """1 error in 1 word and 0 in 9 are 10 %, not the mean of 100 % and 0 %."""
    score = score_corpus({"x": "a", "y": "a b c d e f g h i"}, {"x": "b", "y": "a b c d e f g h i"})
    assert score.wer.rate == pytest.approx(0.1)
    assert (score.wer.errors, score.wer.reference_length) == (1, 10)
    assert score.cer.rate == pytest.approx(1 / 18)
    assert score.wrong_utterances == 1


def test_each_kind_of_error_is_counted() -> None:
    score = score_corpus({"x": "a b c", "y": "d"}, {"x": "a x", "y": "d e"})
    assert (score.wer.substitutions, score.wer.deletions, score.wer.insertions) == (1, 1, 1)
    assert [one.words for one in score.utterances] == [
        EditCounts(correct=1, substitutions=1, deletions=1),
        EditCounts(correct=1, insertions=1),
    ]
    assert [edit.kind for edit in score.utterances[1].edits()] == ["correct", "insertion"]


@settings(deadline=None)
@given(st.lists(st.tuples(texts.filter(bool), texts), min_size=1, max_size=6))
def test_agrees_with_jiwer(pairs: list[tuple[str, str]]) -> None:
    references = {str(index): reference for index, (reference, _) in enumerate(pairs)}
    hypotheses = {str(index): hypothesis for index, (_, hypothesis) in enumerate(pairs)}
    score = score_corpus(references, hypotheses)
    arguments = list(references.values()), list(hypotheses.values())
    assert score.wer.rate == pytest.approx(jiwer.wer(*arguments))
    assert score.cer.rate == pytest.approx(jiwer.cer(*arguments))


def test_a_missing_hypothesis_is_all_deletions_and_named() -> None:
    score = score_corpus({"x": "a b", "y": "c"}, {"y": "c"})
    assert (score.wer.deletions, score.wer.reference_length) == (2, 3)
    assert score.missing == ("x",)
    assert len(score.utterances) == 2
    nothing = score_corpus({"x": "a b"}, {})
    assert (nothing.wer.rate, nothing.cer.rate) == (1.0, 1.0)


def test_an_empty_hypothesis_is_not_missing() -> None:
    assert score_corpus({"x": "a"}, {"x": ""}).missing == ()


@pytest.mark.parametrize(("hypothesis", "errors"), [("", 0), ("a", 1), ("a b c", 3)])
def test_an_empty_reference_counts_insertions_and_divides_by_nothing(
    hypothesis: str, errors: int
) -> None:
    alone = score_corpus({"x": ""}, {"x": hypothesis})
    assert (alone.wer.rate, alone.wer.insertions, alone.wer.reference_length) == (errors, errors, 0)
    with_another = score_corpus({"x": "", "y": "a b"}, {"x": hypothesis, "y": "a b"})
    assert with_another.wer.rate == errors / 2


def test_rates_exceed_one() -> None:
    assert score_corpus({"x": "a"}, {"x": "b c d"}).wer.rate == 3


def test_hypotheses_of_another_test_set_are_refused() -> None:
    hypotheses = {f"u{index}": "a" for index in range(9)}
    message = r"^7 of 9 hypotheses have no reference: 'u2', .*'u6' and 2 more\. Are they"
    with pytest.raises(DataError, match=message):
        score_corpus({"u0": "a", "u1": "b"}, hypotheses)
    with pytest.raises(DataError, match=r"'u6'\. Are"):
        score_corpus({f"u{index}": "a" for index in (0, 1, 7, 8)}, hypotheses)


def test_no_references_are_refused() -> None:
    with pytest.raises(DataError, match="no references to score against"):
        score_corpus({}, {})


def test_texts_are_normalised_before_they_are_compared() -> None:
    spoken = "Caf\N{LATIN SMALL LETTER E WITH ACUTE} a"
    typed = "\ufeff " + unicodedata.normalize("NFD", spoken).replace(" ", "\N{NO-BREAK SPACE} \t")
    assert score_corpus({"x": spoken}, {"x": typed}).cer.errors == 0
    assert score_corpus({"x": "A b"}, {"x": "a B"}).wer.errors == 2
    assert score_corpus({"x": "A b"}, {"x": "a B"}, case="lower").wer.errors == 0
    assert score_corpus({"x": "A b"}, {"x": "a B"}, case="upper").utterances[0].reference == "A B"


def test_a_lost_space_is_one_character_error() -> None:
    score = score_corpus({"x": "to day"}, {"x": "today"})
    assert (score.cer.errors, score.cer.reference_length) == (1, 6)
    assert score.wer.errors == 2


def test_phones_are_words() -> None:
    assert score_corpus({"x": "HH AH L OW"}, {"x": "HH EH L OW"}).wer.rate == 0.25


def test_intervals_are_over_utterances_and_over_speakers() -> None:
    references = {f"u{index}": "a b" for index in range(40)}
    hypotheses = {name: "a x" if name < "u2" else "a b" for name in references}
    score = score_corpus(references, hypotheses)
    assert score.wer.speaker_interval is None
    assert score.wer.interval is not None
    assert score.wer.interval[0] < score.wer.rate < score.wer.interval[1]
    speakers = {name: name[1] for name in references}
    by_speaker = score_corpus(references, hypotheses, speakers=speakers).wer
    assert by_speaker.interval == score.wer.interval
    assert by_speaker.speaker_interval is not None
    assert by_speaker.speaker_interval != by_speaker.interval


def test_utterances_without_a_speaker_are_drawn_alone() -> None:
    references = {"u0": "a b", "u1": "c", "u2": "d e f"}
    hypotheses = {"u0": "a x", "u1": "c", "u2": "d e"}
    nobody = score_corpus(references, hypotheses, speakers={}).wer
    assert nobody.speaker_interval == nobody.interval
    one = score_corpus(references, hypotheses, speakers=dict.fromkeys(references, "s")).wer
    assert one.speaker_interval is None


def test_the_signature_says_how_the_number_was_made() -> None:
    assert signature("wer") == f"wer|case:keep|nfc|v:{__version__}"
    score = score_corpus({"x": "a"}, {"x": "a"}, case="lower")
    assert score.cer.signature == f"cer|case:lower|nfc|v:{__version__}"
