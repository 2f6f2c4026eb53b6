"""Word and character error rate of a test set, with intervals.

The rate of a set is its total number of errors by the total length of its references, never the
mean of the rates of its utterances; it can exceed 1. Text is normalised first (`normalize_text`):
words are what stands between white space, characters are Unicode code points, single spaces
included. The error rate of phones is the word error rate of texts whose words are phones. Words may
be scored as others (`asr.scoring.equivalence`), in references and hypotheses alike.

Edge cases: an utterance without reference text counts its insertions and adds no length. A set
without any reference text has its number of errors as its rate. A reference without a hypothesis is
scored as if nothing had been recognised: all its words are deletions.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

from asr.data.text import Case, normalize_text, words
from asr.errors import DataError, shown
from asr.scoring.alignment import Edit, EditCounts, align_units, count_edits
from asr.scoring.bootstrap import Interval, rate_interval
from asr.scoring.equivalence import PLAIN, Scoring, Unit
from asr.version import __version__

NAMED = 5  # utterances that an error message names


@dataclass(frozen=True, kw_only=True)
class ErrorRate:
    """Errors by reference length.

    Attributes:
        substitutions: units recognised as others.
        deletions: units not recognised.
        insertions: units recognised where there are none.
        reference_length: units of the references.
        interval: 95 % bootstrap interval of the rate over utterances; None with fewer than two.
        speaker_interval: the same over speakers; None without two known speakers.
        signature: what one must know to compare the rate with another.
    """

    substitutions: int
    deletions: int
    insertions: int
    reference_length: int
    interval: Interval | None
    speaker_interval: Interval | None
    signature: str

    @property
    def errors(self) -> int:
        """Substitutions, deletions and insertions."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """Errors / reference length; the number of errors when there is no reference text."""
        return self.errors / max(self.reference_length, 1)


@dataclass(frozen=True, kw_only=True)
class UtteranceScore:
    """One utterance of a test set.

    Attributes:
        utterance: its id.
        reference: what was said, normalised, each word as it is scored.
        hypothesis: what was recognised, likewise.
        missing: no hypothesis was given.
        words: errors in words.
        characters: errors in characters.
        merged: errors in words when repeats are one; None where none may be.
    """

    utterance: str
    reference: str
    hypothesis: str
    missing: bool
    words: EditCounts
    characters: EditCounts
    merged: EditCounts | None = None

    def edits(self) -> tuple[Edit, ...]:
        """How the words of the reference became those of the hypothesis."""
        return align_units(words(self.reference), words(self.hypothesis))


@dataclass(frozen=True, kw_only=True)
class CorpusScore:
    """A test set.

    Attributes:
        wer: word error rate; where words are phones, the phone error rate.
        cer: character error rate; where words are phones, it means nothing.
        utterances: all of them, in the order of the references.
        unit: what words are.
        merged: as `wer`, when repeats are one; None where none may be.
    """

    wer: ErrorRate
    cer: ErrorRate
    utterances: tuple[UtteranceScore, ...]
    unit: Unit = "word"
    merged: ErrorRate | None = None

    @property
    def missing(self) -> tuple[str, ...]:
        """The ids that had no hypothesis."""
        return tuple(score.utterance for score in self.utterances if score.missing)

    def metrics(self) -> dict[str, float]:
        """The rates that mean something, by name: `wer` and `cer`, or `per`; and `…_merged`."""
        main = "per" if self.unit == "phone" else "wer"
        rates = {main: self.wer.rate}
        if self.unit == "word":
            rates["cer"] = self.cer.rate
        if self.merged is not None:
            rates[f"{main}_merged"] = self.merged.rate
        return rates

    @property
    def wrong_utterances(self) -> int:
        """How many utterances have at least one word error."""
        return sum(score.words.errors > 0 for score in self.utterances)


def score_corpus(
    references: Mapping[str, str],
    hypotheses: Mapping[str, str],
    *,
    speakers: Mapping[str, str] | None = None,
    case: Case = "keep",
    scoring: Scoring = PLAIN,
) -> CorpusScore:
    """The error rates of `hypotheses`.

    Args:
        references: id → what was said.
        hypotheses: id → what was recognised; ids that are not there count as nothing recognised.
        speakers: id → speaker, for the interval over speakers; an utterance that is not there
            counts as by a speaker of its own. None: no such interval.
        case: "lower" or "upper" to score texts that differ in case as equal.
        scoring: which words are scored as others, after the change of case.

    Raises:
        DataError: no references, or hypotheses for ids that are not among them.
    """
    if not references:
        raise DataError("there are no references to score against")
    foreign = [utterance for utterance in hypotheses if utterance not in references]
    if foreign:
        named = ", ".join(f"'{shown(utterance)}'" for utterance in foreign[:NAMED])
        more = f" and {len(foreign) - NAMED} more" if len(foreign) > NAMED else ""
        raise DataError(
            f"{len(foreign)} of {len(hypotheses)} hypotheses have no reference: {named}{more}. "
            "Are they of the same test set?"
        )
    utterances = tuple(
        _score(utterance, reference, hypotheses.get(utterance), case=case, scoring=scoring)
        for utterance, reference in references.items()
    )
    groups = None if speakers is None else [_group(score, speakers) for score in utterances]
    changed = scoring.signature()
    of_words = signature(scoring.metric, case, changed)
    of_merged = signature(scoring.metric, case, scoring.signature(merged=True))
    merged = [score.merged for score in utterances if score.merged is not None]
    return CorpusScore(
        wer=_rate([score.words for score in utterances], groups, of_words),
        cer=_rate(
            [score.characters for score in utterances], groups, signature("cer", case, changed)
        ),
        utterances=utterances,
        unit=scoring.unit,
        merged=_rate(merged, groups, of_merged) if merged else None,
    )


def signature(metric: str, case: Case = "keep", scoring: str = "") -> str:
    """How a number was made, such as "wer|case:keep|nfc|v:0.1.0".

    Args:
        metric: the name of the rate.
        case: what was done to it.
        scoring: of `Scoring.signature`.
    """
    return "|".join(filter(None, (metric, f"case:{case}", "nfc", scoring, f"v:{__version__}")))


def _score(
    utterance: str, reference: str, hypothesis: str | None, *, case: Case, scoring: Scoring
) -> UtteranceScore:
    spoken = scoring.replaced(normalize_text(reference, case))
    recognised = scoring.replaced(normalize_text(hypothesis or "", case))
    merged = None
    if scoring.merge:
        merged = count_edits(words(scoring.merged(spoken)), words(scoring.merged(recognised)))
    return UtteranceScore(
        utterance=utterance,
        reference=spoken,
        hypothesis=recognised,
        missing=hypothesis is None,
        words=count_edits(words(spoken), words(recognised)),
        characters=count_edits(spoken, recognised),
        merged=merged,
    )


def _group(score: UtteranceScore, speakers: Mapping[str, str]) -> Hashable:
    speaker = speakers.get(score.utterance)
    return (score.utterance,) if speaker is None else speaker


def _rate(counts: list[EditCounts], groups: list[Hashable] | None, signed: str) -> ErrorRate:
    total = sum(counts, EditCounts())
    errors = [count.errors for count in counts]
    lengths = [count.reference_length for count in counts]
    return ErrorRate(
        substitutions=total.substitutions,
        deletions=total.deletions,
        insertions=total.insertions,
        reference_length=total.reference_length,
        interval=rate_interval(errors, lengths),
        speaker_interval=rate_interval(errors, lengths, groups=groups) if groups else None,
        signature=signed,
    )
