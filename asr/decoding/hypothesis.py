"""What a decoder returns: tokens, text, and the words with their times and confidences.

How a token, and then a word, gets its time and confidence is the same for every decoder:

- A token lasts from the first to the last frame that its alignment gives it. CTC emits most tokens
  in a single frame somewhere inside the sound, so that words come out a little short.
- The confidence of a token is the posterior probability of that token in the best of its frames.
- The confidence of a word is that of its least certain token.

So confidences lie in 0 to 1, and raising the posterior of a token never lowers one.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

ROUNDING = 1e-3  # how far above 0 the largest of normalised log-probabilities may come out


class TokenSpan(NamedTuple):
    """A token and the frames, `start_frame` to before `end_frame`, that it was found in."""

    token: int
    start_frame: int
    end_frame: int
    confidence: float


class TokenTimes(NamedTuple):
    """Tokens and where they were found: the columns of `TokenSpan`, all of one length."""

    tokens: Sequence[int]
    start_frames: Sequence[int]
    end_frames: Sequence[int]
    confidences: Sequence[float]

    @classmethod
    def of(cls, spans: Sequence[TokenSpan]) -> "TokenTimes":
        """The columns of rows."""
        return cls(*zip(*spans, strict=True)) if spans else cls((), (), (), ())

    def spans(self) -> tuple[TokenSpan, ...]:
        """The rows."""
        return tuple(map(TokenSpan._make, zip(*self, strict=True)))


class Word(NamedTuple):
    """A word from `start` to `end` seconds, with its confidence in 0 to 1."""

    word: str
    start: float
    end: float
    confidence: float

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "word": self.word,
            "start": round(self.start, 3),
            "end": round(self.end, 3),
            "confidence": round(self.confidence, 4),
        }


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What one utterance may have said.

    Attributes:
        tokens: without blanks.
        log_prob: what the decoder maximised, in nats.
        text: the words with one space between two.
        words: in the order of their times.
        acoustic_log_prob: of the tokens (greedy decoding: of the best path), without what a
            language model, bonuses and hot words add.
        lm_log_prob: of the text by the language model, before its weight; None: there is none.
    """

    tokens: tuple[int, ...]
    log_prob: float
    text: str
    words: tuple[Word, ...]
    acoustic_log_prob: float
    lm_log_prob: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON: an entry of an n-best list."""
        scores = {"score": round(self.log_prob, 4), "acoustic": round(self.acoustic_log_prob, 4)}
        if self.lm_log_prob is not None:
            scores["lm"] = round(self.lm_log_prob, 4)
        return {"text": self.text, **scores, "words": [word.as_dict() for word in self.words]}


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


def ctm_lines(name: str, words: Sequence[Word]) -> list[str]:
    """Words as lines of NIST's CTM: name, channel, start, seconds, word, confidence.

    White space in a name would end it, so it becomes `_`.
    """
    plain = "_".join(name.split()) or "_"
    return [
        f"{plain} 1 {word.start:.3f} {word.end - word.start:.3f} {word.word} {word.confidence:.4f}"
        for word in words
    ]


def check_normalised(largest: float) -> None:
    """Return when `largest` can be the largest of normalised log-probabilities; NaN can.

    Raises:
        ValueError: it is above 0 by more than rounding, as logits are.
    """
    if largest > ROUNDING:
        raise ValueError(f"log_probs must be normalised, got {largest:.3g}; are they logits?")


def hypothesis_of(
    times: TokenTimes,
    log_prob: float,
    spelling: Spelling,
    *,
    frame_seconds: float,
    duration: float | None = None,
    acoustic_log_prob: float | None = None,
    lm_log_prob: float | None = None,
) -> Hypothesis:
    """The hypothesis whose tokens were found at `times`; arguments as for `timed_words`."""
    words = timed_words(times, spelling, frame_seconds=frame_seconds, duration=duration)
    text = " ".join([word.word for word in words])
    acoustic = log_prob if acoustic_log_prob is None else acoustic_log_prob
    return Hypothesis(tuple(times.tokens), log_prob, text, words, acoustic, lm_log_prob)


def timed_words(
    times: TokenTimes,
    spelling: Spelling,
    *,
    frame_seconds: float,
    duration: float | None = None,
) -> tuple[Word, ...]:
    """The words that tokens spell, with times and confidences.

    Args:
        times: tokens in the order of their frames.
        spelling: joins tokens into words.
        frame_seconds: time from one frame to the next.
        duration: seconds of the utterance; no time lies beyond it, though the last frame may reach
            over the last sample. None: the frames decide.
    """
    tokens, starts, ends, confidences = times
    latest = math.inf if duration is None else duration
    return tuple(
        [
            Word(
                word.word,
                min(starts[word.start] * frame_seconds, latest),
                min(ends[word.stop - 1] * frame_seconds, latest),
                min(confidences[word.start : word.stop]),
            )
            for word in spelling.word_spans(tokens)
        ]
    )
