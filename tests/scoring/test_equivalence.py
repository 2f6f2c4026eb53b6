"""Words that are scored as others: by hand, by enumeration, and what is no such table."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.config import parse
from asr.errors import ConfigError
from asr.scoring.equivalence import PLAIN, Scoring, ScoringConfig
from asr.scoring.error_rate import score_corpus, signature
from asr.version import __version__

PHONES = Scoring(
    unit="phone",
    replace={"h#": "sil", "pau": "sil", "bcl": "sil", "ix": "ih", "q": "", "ih": "ih"},
    merge={"sil"},
)
texts = st.lists(st.sampled_from(["h#", "bcl", "ix", "ih", "q", "b"]), max_size=8).map(" ".join)


def test_words_become_what_they_are_scored_as() -> None:
    assert PHONES.replaced("h# q ix bcl b ih pau h#") == "sil ih sil b ih sil sil"
    assert PHONES.merged("sil ih sil b ih sil sil") == "sil ih sil b ih sil"
    assert PHONES.merged("ih ih sil sil sil") == "ih ih sil", "only the words that may be merged"
    assert PHONES.replaced("h# q h#") == "sil sil", "side by side once what is between is gone"
    assert (PHONES.replaced(""), PHONES.merged(""), PHONES.replaced("q")) == ("", "", "")
    assert (PLAIN.replaced("h# q"), PLAIN.merged("a a")) == ("h# q", "a a")


@given(texts, texts)
def test_scoring_is_that_of_the_replaced_texts(reference: str, hypothesis: str) -> None:
    score = score_corpus({"u": reference}, {"u": hypothesis}, scoring=PHONES)
    said, heard = PHONES.replaced(reference), PHONES.replaced(hypothesis)
    assert score.wer.errors == score_corpus({"u": said}, {"u": heard}).wer.errors
    assert score.merged is not None
    once = [
        " ".join(
            word
            for word, run in itertools.groupby(text.split(" "))
            for word in ([word] if word == "sil" else run)
        )
        for text in (said, heard)
    ]
    assert score.merged.errors == score_corpus({"u": once[0]}, {"u": once[1]}).wer.errors


def test_an_example_by_hand() -> None:
    """Said: sil ih sil b sil sil. Heard: sil ih sil d sil. d for b, and one silence less."""
    score = score_corpus({"u": "h# ix bcl b pau h#"}, {"u": "h# q ih h# d h#"}, scoring=PHONES)
    [one] = score.utterances
    assert (one.reference, one.hypothesis) == ("sil ih sil b sil sil", "sil ih sil d sil")
    assert (score.wer.substitutions, score.wer.deletions, score.wer.insertions) == (1, 1, 0)
    assert score.merged is not None
    merged = score.merged
    assert (merged.substitutions, merged.deletions, merged.insertions) == (1, 0, 0)
    assert (score.wer.reference_length, merged.reference_length) == (6, 5)
    assert score.metrics() == {"per": pytest.approx(2 / 6), "per_merged": pytest.approx(1 / 5)}


def test_what_a_model_of_words_reports() -> None:
    score = score_corpus({"u": "ok well"}, {"u": "okay"}, scoring=Scoring(replace={"ok": "okay"}))
    assert score.metrics() == {"wer": 0.5, "cer": pytest.approx(5 / 9)}
    both = score_corpus({"u": "a a"}, {"u": "a"}, scoring=Scoring(merge={"a"}))
    assert both.metrics() == {"wer": 0.5, "cer": pytest.approx(2 / 3), "wer_merged": 0.0}
    assert score_corpus({"u": "OK"}, {"u": "okay"}, case="lower", scoring=PLAIN).wer.errors == 1
    lower = Scoring(replace={"ok": "okay"})
    assert score_corpus({"u": "OK"}, {"u": "okay"}, case="lower", scoring=lower).wer.errors == 0


def test_signatures_say_what_was_done_to_texts() -> None:
    score = score_corpus({"u": "h# b"}, {"u": "b"}, scoring=PHONES)
    assert score.merged is not None
    digits = PHONES.signature()
    assert len(digits) == len("replaced:") + 8
    assert score.wer.signature == f"per|case:keep|nfc|{digits}|v:{__version__}"
    assert score.merged.signature == f"per|case:keep|nfc|{digits}|merged:sil|v:{__version__}"
    assert score.cer.signature == f"cer|case:keep|nfc|{digits}|v:{__version__}"
    assert Scoring(merge={"b", "a"}).signature(merged=True) == "merged:a,b"
    assert PLAIN.signature() == Scoring(replace={"a": "a"}).signature() == ""
    reordered = Scoring(replace=dict(reversed([*PHONES.replace.items()])))
    assert reordered.signature() == digits
    assert Scoring(replace={"ix": "ih"}).signature() != digits
    assert signature("wer", "lower", "x") == f"wer|case:lower|nfc|x|v:{__version__}"


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"replace": {"a b": "c"}}, "words without white space, not 'a b' = 'c'"),
        ({"replace": {"a": "b c"}}, "words without white space, not 'a' = 'b c'"),
        ({"replace": {"": "a"}}, "words without white space, not '' = 'a'"),
        ({"replace": {"e\u0301": "e"}}, "words without white space, not 'e\u0301' = 'e'"),
        (
            {"replace": {"a": "b", "b": "c"}},
            r"applied once \('a' = 'b', but 'b' is replaced itself; write 'a' = 'c'\)",
        ),
        ({"replace": {"a": 1}}, "'replace.a' must be a valid string, got 1"),
        ({"merge": ["a b"]}, "'merge' must be words without white space, not 'a b'"),
        ({"replace": {"a": "b"}, "merge": ["a"]}, "words as they are scored; 'a' is replaced"),
        ({"merged": ["a"]}, "unknown key 'merged'; did you mean 'merge'?"),
    ],
)
def test_what_is_no_table_of_words(section: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("?", r"\?")):
        parse(ScoringConfig, section, "x.toml")


def test_a_usable_table() -> None:
    config = parse(ScoringConfig, {"replace": {"a": "b", "b": "b", "q": ""}, "merge": ["b"]}, "x")
    assert not config.is_empty()
    assert ScoringConfig().is_empty()
    assert not ScoringConfig(merge=["a"]).is_empty()
