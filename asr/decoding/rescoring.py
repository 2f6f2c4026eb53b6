"""N-best lists with further scores, ranked anew by a weighted sum of them.

The rank of a candidate follows `sum_i w_i score_i`, a log-linear combination; the score `words` is
its number of words, so that its weight is a bonus for every word. `weight_tuning` finds weights.

Reference: Graves & Jaitly, "Towards End-to-End Speech Recognition with Recurrent Neural Networks",
ICML 2014, section 5, which combines a network, a language model and another system so.
"""

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from asr.data.text import normalize_text, words
from asr.decoding.nbest import (
    NEVER,
    SCORE,
    WORDS,
    Candidate,
    NbestList,
    check_same_utterances,
    is_score_name,
    listed,
    score_names,
)
from asr.errors import ConfigError, DataError, shown
from asr.lm.tokens import SPACE, SPECIAL, UNKNOWN
from asr.scoring.alignment import count_edits

MIN_KNOWN = 0.1  # share of running words that a language model must know


class SentenceModel(Protocol):
    """What rescoring needs of a language model: `asr.lm.loading.load_lm` gives one."""

    @property
    def source(self) -> Path: ...  # noqa: D102

    def __contains__(self, word: str) -> bool:
        """Whether the model knows `word`."""

    def score_sentence(self, words: Sequence[str]) -> list[float]:
        """The natural log-probability of each word of a sentence, and of its end."""


@runtime_checkable
class TextModel(Protocol):
    """A neural language model, which has tokens of its own and scores many texts at once."""

    @property
    def source(self) -> Path: ...  # noqa: D102

    def __contains__(self, word: str) -> bool:
        """Whether the model knows `word`."""

    def split(self, text: str) -> list[str]:
        """The tokens of a text, `<unk>` for what it lacks."""

    def score_texts(self, texts: Sequence[str]) -> list[float]:
        """The natural log-probability of each text with its end."""


def with_lm(
    lists: Sequence[NbestList],
    model: SentenceModel | TextModel,
    *,
    name: str = "lm",
    unit: Literal["word", "character"] = "word",
) -> list[NbestList]:
    """The lists with a further score: the log-probability of the text and of its end.

    Args:
        lists: with any scores.
        model: an unknown word counts as its `<unk>` says.
        name: of the new score.
        unit: what the words of an n-gram model are; characters are scored with `<space>` between
            words. A neural model knows its own.

    Raises:
        DataError: the model knows hardly any word of the texts.
        ConfigError: a name that is taken or cannot be one.
    """
    check_new_scores(lists, [name])
    texts = list(dict.fromkeys(candidate.text for one in lists for candidate in one.candidates))
    if isinstance(model, TextModel):
        split, advice = model.split, "another case, or of another language?"
    else:
        split = partial(_tokens, unit=unit)
        advice = "another case, or are its words others (--lm-unit word or character)?"
    counts = Counter(token for text in texts for token in split(text))
    known = sum(n for token, n in counts.items() if token in model and token != SPECIAL[UNKNOWN])
    if known < MIN_KNOWN * counts.total():
        kind = "token" if isinstance(model, TextModel) else unit
        raise DataError(
            f"{shown(model.source)}: knows {known} of {counts.total()} {kind}s of the n-best "
            f"lists; is it of {advice}"
        )
    if isinstance(model, TextModel):
        scores = dict(zip(texts, model.score_texts(texts), strict=True))
    else:
        scores = {text: sum(model.score_sentence(split(text))) for text in texts}
    return [
        _extended(one, [{name: scores[candidate.text]} for candidate in one.candidates])
        for one in lists
    ]


def with_scores_of(
    lists: Sequence[NbestList], others: Sequence[NbestList], *, prefix: str, source: str
) -> list[NbestList]:
    """The lists with the scores that their texts have in other lists of the same utterances.

    The score `acoustic` there is called `PREFIX.acoustic` here. A text that stands there twice
    counts as the better ranked.

    Raises:
        DataError: other utterances, or texts that are not there.
        ConfigError: names that are taken or cannot be names.
    """
    check_new_scores(lists, [f"{prefix}.{name}" for name in score_names(others)])
    if not score_names(others):
        raise DataError(f"{source}: its candidates have no scores")
    by_id = {other.id: other for other in others}
    check_same_utterances(source, by_id, "the n-best lists", {one.id: () for one in lists})
    extended = []
    for one in lists:
        texts = {each.text: each.scores for each in reversed(by_id[one.id].candidates)}
        if missing := [each.text for each in one.candidates if each.text not in texts]:
            raise DataError(
                f"{source}: utterance '{shown(one.id)}' has no scores for {len(missing)} of its "
                f"{len(one.candidates)} candidates: {listed(missing)}. It must score the same "
                "texts; lists of different texts are joined by asr combine --method loglinear"
            )
        added = [
            {f"{prefix}.{name}": value for name, value in texts[each.text].items()}
            for each in one.candidates
        ]
        extended.append(_extended(one, added))
    return extended


def with_costs(
    lists: Sequence[NbestList], scores: Mapping[str, float], *, name: str, source: str
) -> list[NbestList]:
    """The lists with a further score from `nbest.read_costs`: of `UTTERANCE-N`, N the rank from 1.

    Raises:
        DataError: candidates without a cost, or costs without a candidate.
        ConfigError: a name that is taken or cannot be one.
    """
    check_new_scores(lists, [name])
    keys = [[f"{one.id}-{n + 1}" for n in range(len(one.candidates))] for one in lists]
    every = {key: () for ranked in keys for key in ranked}
    if missing := [key for key in every if key not in scores]:
        raise DataError(
            f"{source}: has no cost for {len(missing)} of {len(every)} candidates: "
            f"{listed(missing)}. It needs one for each"
        )
    if foreign := [key for key in scores if key not in every]:
        raise DataError(
            f"{source}: {len(foreign)} of {len(scores)} costs are for no candidate of the n-best "
            f"lists: {listed(foreign)}. Are they of the same lists?"
        )
    return [
        _extended(one, [{name: scores[key]} for key in ranked])
        for one, ranked in zip(lists, keys, strict=True)
    ]


def rescore(lists: Sequence[NbestList], weights: Mapping[str, float]) -> list[NbestList]:
    """The lists with the largest weighted sum first; equal ones stay in order.

    The sum becomes the `score` of a candidate; the other scores stay. Candidates that cannot be
    (`is_never`) are behind all others, and `NEVER` is their `score`.

    Args:
        lists: with the same scores.
        weights: by name of a score or `words`; a score without a weight does not count.

    Raises:
        ConfigError: a weight for no score, one that is not finite, or none but zeros.
    """
    check_weights(lists, weights)
    ranked = []
    for one in lists:
        order = sorted(
            one.candidates, key=lambda each: (is_never(each, weights), -_total(each, weights))
        )
        best_first = (
            replace(each, scores={**each.scores, SCORE: _score(each, weights)}) for each in order
        )
        ranked.append(replace(one, candidates=tuple(best_first)))
    return ranked


def is_never(candidate: Candidate, names: Collection[str]) -> bool:
    """Whether one of the scores of these names says that the candidate cannot be."""
    return any(name != WORDS and candidate.scores[name] <= NEVER for name in names)


def oracle_texts(lists: Sequence[NbestList], references: Mapping[str, str]) -> dict[str, str]:
    """Id → the text with the fewest word errors that the list has; of equal ones, the first.

    It is empty where there is no candidate.

    Raises:
        DataError: as `check_references`.
    """
    check_references(lists, references)
    texts = {}
    for one in lists:
        errors = word_errors(one, references[one.id])
        texts[one.id] = one.candidates[errors.index(min(errors))].text if errors else ""
    return texts


def word_errors(one: NbestList, reference: str) -> list[int]:
    """How many words of each candidate are wrong."""
    spoken = words(normalize_text(reference))
    return [count_edits(spoken, words(each.text)).errors for each in one.candidates]


def check_new_scores(lists: Sequence[NbestList], names: Sequence[str]) -> None:
    """Return when further scores can be called so.

    Raises:
        ConfigError: a name that is taken or cannot be one.
    """
    for name in names:
        if not is_score_name(name):
            raise ConfigError(
                f"'{shown(name)}' cannot name a score: one word without '=', neither text nor words"
            )
        if name in score_names(lists):
            raise ConfigError(
                f"the n-best lists have a score '{shown(name)}' already; give the new one another "
                "name, as NAME=FILE"
            )


def with_added(
    lists: Sequence[NbestList], name: str, scores: Mapping[str, Sequence[float]]
) -> list[NbestList]:
    """The lists with a further score: id → that of each candidate; none where there are none."""
    return [_extended(one, [{name: score} for score in scores.get(one.id, ())]) for one in lists]


def check_references(
    lists: Sequence[NbestList],
    references: Mapping[str, str],
    *,
    lists_name: str = "the n-best lists",
    name: str = "the references",
) -> None:
    """Return when the references are those of the lists; names are for messages.

    Raises:
        DataError: other utterances, or no word in common.
    """
    check_same_utterances(name, references, lists_name, [one.id for one in lists])
    spoken = {word for text in references.values() for word in words(normalize_text(text))}
    check_common_words(lists_name, lists, name, spoken)


def check_common_words(
    name: str, lists: Sequence[NbestList], other_name: str, other_words: Collection[str]
) -> None:
    """Return when lists have a word in common with something else, or either has no words.

    Raises:
        DataError: they have none.
    """
    example = None
    for one in lists:
        for candidate in one.candidates:
            for word in words(candidate.text):
                if word in other_words:
                    return
                example = word
    if example is not None and other_words:
        raise DataError(
            f"{name} and {other_name} have no word in common, such as '{shown(example)}' and "
            f"'{shown(min(other_words))}'; are they of the same case and language?"
        )


def check_weights(lists: Sequence[NbestList], weights: Mapping[str, float]) -> None:
    """Return when lists can be ranked by these weights.

    Raises:
        ConfigError: a weight for no score, one that is not finite, or none but zeros.
    """
    known = (*score_names(lists), WORDS)
    if unknown := [name for name in weights if name not in known]:
        raise ConfigError(
            f"a weight for {listed(unknown)}, but the n-best lists have the scores "
            f"{', '.join(map(shown, known))}"
        )
    if endless := [name for name in weights if not math.isfinite(weights[name])]:
        raise ConfigError(f"the weight of {listed(endless)} must be a finite number")
    if not any(weights.values()):
        raise ConfigError("all weights are 0, so that nothing ranks the candidates; give one")


def score_of(candidate: Candidate, name: str) -> float:
    """A score of a candidate, or its number of words."""
    return float(len(words(candidate.text))) if name == WORDS else candidate.scores[name]


def _score(candidate: Candidate, weights: Mapping[str, float]) -> float:
    return NEVER if is_never(candidate, weights) else _total(candidate, weights)


def _total(candidate: Candidate, weights: Mapping[str, float]) -> float:
    """The sum in the order of the weights, rounded as `weight_tuning` rounds it."""
    total = 0.0
    for name, weight in weights.items():
        total += weight * score_of(candidate, name)
    return total


def _tokens(text: str, unit: Literal["word", "character"]) -> list[str]:
    if unit == "word":
        return words(text)
    return [SPACE if character == " " else character for character in text]


def _extended(one: NbestList, added: Sequence[Mapping[str, float]]) -> NbestList:
    """The list with further scores for each candidate."""
    candidates = (
        replace(each, scores={**each.scores, **more})
        for each, more in zip(one.candidates, added, strict=True)
    )
    return replace(one, candidates=tuple(candidates))
