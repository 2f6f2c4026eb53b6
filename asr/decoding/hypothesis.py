"""What a decoder returns: tokens, text, and the words with their times and confidences.

How a token, and then a word, gets its time and confidence is the same for every decoder:

- A token lasts from the first to the last frame that its alignment gives it. CTC emits most tokens
  in a single frame somewhere inside the sound, so that words come out a little short.
- The confidence of a token is the posterior probability of that token in the best of its frames.
- The confidence of a word is that of its least certain token.

So confidences lie in 0 to 1, and raising the posterior of a token never lowers one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

ROUNDING = 1e-3  # how far above 0 the largest of normalised log-probabilities may come out


@dataclass(frozen=True, slots=True)
class TokenSpan:
    """A token and the frames, `start_frame` to before `end_frame`, that it was found in."""

    token: int
    start_frame: int
    end_frame: int
    confidence: float


@dataclass(frozen=True, slots=True)
class Word:
    """A word from `start` to `end` seconds, with its confidence in 0 to 1."""

    word: str
    start: float
    end: float
    confidence: float


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What one utterance may have said.

    Attributes:
        tokens: without blanks.
        log_prob: what the decoder maximised, in nats.
        text: the words with one space between two.
        words: in the order of their times.
    """

    tokens: tuple[int, ...]
    log_prob: float
    text: str
    words: tuple[Word, ...]


class SpelledWord(Protocol):
    """A word that `tokens[start:stop]` spell."""

    @property
    def word(self) -> str: ...  # noqa: D102
    @property
    def start(self) -> int: ...  # noqa: D102
    @property
    def stop(self) -> int: ...  # noqa: D102


class Spelling(Protocol):
    """What a decoder needs of a tokenizer."""

    def word_spans(self, tokens: Sequence[int]) -> Sequence[SpelledWord]:
        """The words that `tokens` (without blanks) spell, in order."""


def check_normalised(largest: float) -> None:
    """Return when `largest` can be the largest of normalised log-probabilities; NaN can.

    Raises:
        ValueError: it is above 0 by more than rounding, as logits are.
    """
    if largest > ROUNDING:
        raise ValueError(f"log_probs must be normalised, got {largest:.3g}; are they logits?")


def hypothesis_of(
    spans: Sequence[TokenSpan],
    log_prob: float,
    spelling: Spelling,
    *,
    frame_seconds: float,
    duration: float | None = None,
) -> Hypothesis:
    """The hypothesis whose tokens were found in `spans`; arguments as for `timed_words`."""
    words = timed_words(spans, spelling, frame_seconds=frame_seconds, duration=duration)
    tokens = tuple(span.token for span in spans)
    return Hypothesis(tokens, log_prob, " ".join(word.word for word in words), words)


def timed_words(
    spans: Sequence[TokenSpan],
    spelling: Spelling,
    *,
    frame_seconds: float,
    duration: float | None = None,
) -> tuple[Word, ...]:
    """The words that the tokens of `spans` spell, with times and confidences.

    Args:
        spans: tokens in the order of their frames.
        spelling: joins tokens into words.
        frame_seconds: time from one frame to the next.
        duration: seconds of the utterance; no time lies beyond it. None: the frames decide.
    """
    return tuple(
        _timed(word.word, spans[word.start : word.stop], frame_seconds, duration)
        for word in spelling.word_spans([span.token for span in spans])
    )


def _timed(
    word: str, spans: Sequence[TokenSpan], frame_seconds: float, duration: float | None
) -> Word:
    start, end = spans[0].start_frame * frame_seconds, spans[-1].end_frame * frame_seconds
    if duration is not None:  # the last frame may reach over the last sample
        start, end = min(start, duration), min(end, duration)
    return Word(word, start, end, min(span.confidence for span in spans))
