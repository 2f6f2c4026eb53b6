"""Times and confidences of words."""

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from asr.data.tokenizer import CharactersConfig, train_tokenizer
from asr.decoding.hypothesis import (
    Hypothesis,
    SpelledWord,
    TokenSpan,
    TokenTimes,
    Word,
    hypothesis_of,
    timed_words,
)

TOKENIZER = train_tokenizer(CharactersConfig(symbols=" ab"), [])
SPACE, A, B = 1, 2, 3


def times_of(tokens: Sequence[int]) -> TokenTimes:
    """Each token in two frames, one frame apart, with confidences 1, 1/2, 1/3 …"""
    spans = [
        TokenSpan(token, 3 * index, 3 * index + 2, 1 / (index + 1))
        for index, token in enumerate(tokens)
    ]
    times = TokenTimes.of(spans)
    assert times.spans() == tuple(spans)
    return times


def test_a_word_lasts_from_its_first_to_its_last_token_and_is_as_sure_as_the_least() -> None:
    words = timed_words(times_of([A, B, SPACE, B]), TOKENIZER, frame_seconds=0.5)
    assert words == (Word("ab", 0.0, 2.5, 1 / 2), Word("b", 4.5, 5.5, 1 / 4))


def test_no_time_lies_beyond_the_utterance() -> None:
    times = times_of([A, SPACE, B])
    cut = timed_words(times, TOKENIZER, frame_seconds=0.5, duration=3.9)
    assert cut == (Word("a", 0.0, 1.0, 1.0), Word("b", 3.0, 3.9, 1 / 3))
    before = timed_words(times, TOKENIZER, frame_seconds=0.5, duration=0.7)
    assert before[1] == Word("b", 0.7, 0.7, 1 / 3)


def test_nothing_said_is_an_empty_hypothesis() -> None:
    assert hypothesis_of(times_of([]), -1.5, TOKENIZER, frame_seconds=0.01) == Hypothesis(
        (), -1.5, "", (), -1.5
    )
    only_spaces = hypothesis_of(times_of([SPACE]), -1.5, TOKENIZER, frame_seconds=0.01)
    assert only_spaces == Hypothesis((SPACE,), -1.5, "", (), -1.5)


@settings(deadline=None)
@given(st.lists(st.sampled_from([SPACE, A, B])), st.floats(0, 100))
def test_words_follow_one_another_within_the_utterance(tokens: list[int], duration: float) -> None:
    hypothesis = hypothesis_of(
        times_of(tokens), 0.0, TOKENIZER, frame_seconds=0.03, duration=duration
    )
    times = [time for word in hypothesis.words for time in (word.start, word.end)]
    assert times == sorted(times)
    assert all(0 <= time <= duration for time in times)
    assert hypothesis.text == TOKENIZER.decode(hypothesis.tokens)
    assert all(0 <= word.confidence <= 1 for word in hypothesis.words)


def test_any_spelling_will_do() -> None:
    class Whole:
        def word_spans(self, tokens: Sequence[int]) -> Sequence[SpelledWord]:
            del tokens
            return TOKENIZER.word_spans([A])

    assert timed_words(times_of([B]), Whole(), frame_seconds=1.0) == (Word("a", 0.0, 2.0, 1.0),)
