"""Several systems made one: by a vote on every word, or by adding their log-posteriors.

The vote: hypotheses are aligned one after another into a network of places, each of which holds
what every hypothesis says there, a word or nothing. In each place the largest
`alpha frequency + (1 - alpha) confidence` wins. Frequency is the share of the weights of those
hypotheses that say so, confidence the mean of theirs; that of nothing is a constant. Of equal ones
the first system wins.

The log-linear combination ranks the texts of all systems by the weighted sum of the log-posteriors
that the systems give them, each normalised over the list of its system.

A system without candidates for an utterance has no say in it.

References: Fiscus, "A Post-Processing System to Yield Reduced Word Error Rates: Recognizer Output
Voting Error Reduction (ROVER)", ASRU 1997; Evermann & Woodland, "Posterior Probability Decoding,
Confidence Estimation and System Combination", 2000, for n-best lists that vote.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from asr.data.text import words
from asr.decoding.hypothesis import Word
from asr.decoding.nbest import (
    SCORE,
    Candidate,
    NbestList,
    check_same_utterances,
    is_score_name,
    listed,
    score_names,
)
from asr.decoding.rescoring import check_common_words
from asr.errors import ConfigError, DataError, shown

# Of nothing being said in a place: where two of three say nothing, it wins at alpha 0.5, however
# sure the third is of its word (Fiscus tunes this number).
NULL_CONFIDENCE = 0.7
FLOOR = math.log(1e-4)  # log-posterior of a text that a system does not list, if no worse there
ROUNDING = 1e-12  # sums of weights that differ by less are equal
SUBSTITUTION, INSERTION, DELETION = 4, 3, 3  # costs of the alignment, as in NIST's sclite
_PAIR, _SKIP, _INSERT = range(3)  # steps of it; of equally good ones the first

Place = list[Word | None]
Systems = Mapping[str, Sequence[NbestList]]


@dataclass(frozen=True, slots=True)
class Ballot:
    """A hypothesis with its weight in a vote."""

    words: tuple[Word, ...]
    weight: float = 1.0


def vote(
    ballots: Sequence[Ballot], *, alpha: float = 0.5, null_confidence: float = NULL_CONFIDENCE
) -> tuple[Word, ...]:
    """The words that win; each with the time of the first ballot that has it.

    The confidence of a word is the number by which it won.

    Args:
        ballots: at least one, with positive weights.
        alpha: 0 to 1, how much frequency counts and confidence does not.
        null_confidence: 0 to 1, the confidence of saying nothing.
    """
    weights = [ballot.weight for ballot in ballots]
    winners = (
        _winner(place, weights, alpha, null_confidence)
        for place in transition_network([ballot.words for ballot in ballots])
    )
    return tuple(word for word in winners if word is not None)


def transition_network(hypotheses: Sequence[Sequence[Word]]) -> list[Place]:
    """Places in order; each has for every hypothesis what it says there, none for nothing.

    A hypothesis is aligned with the network of those before it at the least cost. In a place, what
    it says costs as much as against that entry of the place to which it is nearest.
    """
    network: list[Place] = []
    for earlier, hypothesis in enumerate(hypotheses):
        network = [
            [*([None] * earlier if place is None else place), word]
            for place, word in _aligned(network, hypothesis)
        ]
    return network


def vote_systems(
    systems: Systems,
    weights: Mapping[str, float],
    *,
    alpha: float = 0.5,
    nbest: int = 1,
    scale: float = 1.0,
) -> list[NbestList]:
    """One candidate for each utterance, on whose words the systems voted.

    Args:
        systems: name → lists, all of the same utterances; their order settles ties.
        weights: of the systems, 0 or more; one of weight 0 is left out.
        alpha: as for `vote`.
        nbest: candidates of each list that vote, each with its share of the weight of its system:
            its posterior among them.
        scale: factor of the scores in these posteriors.

    Raises:
        DataError: different utterances, or no word in common; confidences are needed but missing,
            or scores for more than one candidate.
        ConfigError: weights, alpha or a scale that cannot be used.
        ValueError: nbest below 1.
    """
    if nbest < 1:
        raise ValueError(f"nbest must be at least 1, got {nbest}")
    if not 0 <= alpha <= 1:
        raise ConfigError(f"alpha must be 0 to 1, got {alpha}")
    chosen = _chosen(systems, weights)
    _check_scale(scale)
    if alpha < 1:
        _check_confidences(chosen, nbest)
    if nbest > 1:
        _check_scores(chosen)
    by_id = {name: {one.id: one.candidates[:nbest] for one in chosen[name]} for name in chosen}
    voted = []
    for one in next(iter(chosen.values())):
        ballots = [
            Ballot(_words_of(candidate), weights[name] * math.exp(log_posterior))
            for name in chosen
            for candidate, log_posterior in _weighted(by_id[name][one.id], scale)
        ]
        if not ballots:
            voted.append(one)
            continue
        said = vote([ballot for ballot in ballots if ballot.weight > 0], alpha=alpha)
        timed = all(each.words or not each.text for n in chosen for each in by_id[n][one.id])
        text = " ".join(word.word for word in said)
        voted.append(NbestList(one.id, (Candidate(text, {}, said if timed else ()),)))
    return voted


def combine(
    systems: Systems, weights: Mapping[str, float], *, scale: float = 1.0
) -> list[NbestList]:
    """All texts of all systems, ranked by the weighted sum of their log-posteriors.

    A text that a system does not list has there the log-posterior `FLOOR`, or that of the worst
    listed one if that is less. The scores of a candidate are the sum and the log-posterior of each
    system by name, so that `weight_tuning` can find the weights. Equal ones stay in the order of
    the systems.

    Args:
        systems: name → lists with a score, all of the same utterances.
        weights: of the systems, 0 or more; one of weight 0 is left out.
        scale: factor of the scores before they are normalised.

    Raises:
        DataError: different utterances, no word in common, or no score.
        ConfigError: weights or a scale that cannot be used.
    """
    chosen = _chosen(systems, weights)
    _check_scale(scale)
    _check_scores(chosen)
    by_id = {name: {one.id: one for one in chosen[name]} for name in chosen}
    return [
        _combined({name: by_id[name][one.id] for name in chosen}, weights, scale)
        for one in next(iter(chosen.values()))
    ]


def log_posteriors(candidates: Sequence[Candidate], scale: float) -> list[float]:
    """The logarithm of each candidate's share, by its score, of the whole list."""
    scaled = [scale * candidate.scores[SCORE] for candidate in candidates]
    total = _log_sum(scaled)
    return [value - total for value in scaled]


def _combined(
    lists: Mapping[str, NbestList], weights: Mapping[str, float], scale: float
) -> NbestList:
    found: dict[str, Candidate] = {}
    by_system: dict[str, dict[str, float]] = {}
    for name, one in lists.items():
        log_probs: dict[str, list[float]] = {}
        for candidate, log_prob in _weighted(one.candidates, scale):
            found.setdefault(candidate.text, candidate)
            log_probs.setdefault(candidate.text, []).append(log_prob)
        by_system[name] = {text: _log_sum(several) for text, several in log_probs.items()}
    floors = {name: min([FLOOR, *known.values()]) for name, known in by_system.items()}
    ranked = []
    for text, candidate in found.items():
        scores = {name: by_system[name].get(text, floors[name]) for name in lists}
        total = sum(weights[name] * value for name, value in scores.items())
        ranked.append(replace(candidate, scores={SCORE: total, **scores}))
    ranked.sort(key=lambda each: -each.scores[SCORE])
    first = next(iter(lists.values()))
    return NbestList(first.id, tuple(ranked), "" if ranked else first.error)


def _weighted(candidates: Sequence[Candidate], scale: float) -> list[tuple[Candidate, float]]:
    """Candidates with their log-posteriors; a single one needs no score."""
    alone = len(candidates) <= 1
    log_probs = [0.0] * len(candidates) if alone else log_posteriors(candidates, scale)
    return list(zip(candidates, log_probs, strict=True))


def _log_sum(values: Sequence[float]) -> float:
    largest = max(values)
    return largest + math.log(math.fsum(math.exp(value - largest) for value in values))


def _words_of(candidate: Candidate) -> tuple[Word, ...]:
    """The words of the text; where none are timed, without times and certain."""
    return candidate.words or tuple(Word(word, 0.0, 0.0, 1.0) for word in words(candidate.text))


def _aligned(
    network: Sequence[Place], hypothesis: Sequence[Word]
) -> list[tuple[Place | None, Word | None]]:
    """Pairs of a place and what stands there: a new place for a word, or nothing in an old one."""
    steps = [[(INSERTION * column, _INSERT) for column in range(len(hypothesis) + 1)]]
    for place in network:
        said = {word.word for word in place if word is not None}
        new, skip = (INSERTION, 0) if None in place else (SUBSTITUTION, DELETION)
        above = steps[-1]
        steps.append([(above[0][0] + skip, _SKIP)])
        for column, word in enumerate(hypothesis):
            pair = above[column][0] + (0 if word.word in said else new)
            skipped, inserted = above[column + 1][0] + skip, steps[-1][column][0] + INSERTION
            steps[-1].append(min((pair, _PAIR), (skipped, _SKIP), (inserted, _INSERT)))
    pairs: list[tuple[Place | None, Word | None]] = []
    row, column = len(network), len(hypothesis)
    while row or column:
        step = steps[row][column][1]
        row, column = row - (step != _INSERT), column - (step != _SKIP)
        pairs.append(
            (
                None if step == _INSERT else network[row],
                None if step == _SKIP else hypothesis[column],
            )
        )
    return pairs[::-1]


def _winner(
    place: Place, weights: Sequence[float], alpha: float, null_confidence: float
) -> Word | None:
    shares: dict[str | None, float] = {}
    confidences: dict[str | None, float] = {}
    first: dict[str | None, Word | None] = {}
    for entry, weight in zip(place, weights, strict=True):
        key = None if entry is None else entry.word
        confidence = null_confidence if entry is None else entry.confidence
        shares[key] = shares.get(key, 0.0) + weight
        confidences[key] = confidences.get(key, 0.0) + weight * confidence
        first.setdefault(key, entry)
    total = sum(weights)
    best, most = place[0], -1.0
    for key, share in shares.items():
        votes = alpha * share / total + (1 - alpha) * confidences[key] / share
        if votes > most + ROUNDING:
            best, most = first[key], votes
    return None if best is None else best._replace(confidence=min(most, 1.0))


def _chosen(systems: Systems, weights: Mapping[str, float]) -> dict[str, Sequence[NbestList]]:
    """The systems whose weight is not 0, after all checks."""
    _check_weights(systems, weights)
    first, *others = systems
    ids = [one.id for one in systems[first]]
    spoken = {w for one in systems[first] for each in one.candidates for w in words(each.text)}
    for name in others:
        check_same_utterances(shown(name), [one.id for one in systems[name]], shown(first), ids)
        check_common_words(shown(name), systems[name], shown(first), spoken)
    return {name: lists for name, lists in systems.items() if weights[name] > 0}


def _check_weights(systems: Systems, weights: Mapping[str, float]) -> None:
    if len(systems) < 2:
        raise ConfigError(f"a combination needs two systems or more, got {len(systems)}")
    if wrong := [name for name in systems if not is_score_name(name) or name == SCORE]:
        raise ConfigError(
            f"{listed(wrong)} cannot name a system: one word without '=', not score, text or "
            "words. Name it: NAME=FILE"
        )
    if set(weights) != set(systems):
        lacking = [name for name in systems if name not in weights]
        foreign = [name for name in weights if name not in systems]
        wrong_ones = f"a weight for {listed(foreign)}" if foreign else f"none for {listed(lacking)}"
        raise ConfigError(
            f"weights are given for all systems or for none, got {wrong_ones}; the systems are "
            f"{', '.join(map(shown, systems))}"
        )
    if not all(0 <= weight < math.inf for weight in weights.values()) or not any(weights.values()):
        raise ConfigError(
            "the weights of systems must be 0 or more, one above 0, got "
            + ", ".join(f"{shown(name)}={weight}" for name, weight in weights.items())
        )


def _check_scale(scale: float) -> None:
    if not 0 < scale < math.inf:
        raise ConfigError(f"scale must be above 0 and finite, got {scale}")


def _check_scores(systems: Systems) -> None:
    for name, lists in systems.items():
        if SCORE not in score_names(lists):
            raise DataError(
                f"{shown(name)}: its candidates have no 'score' to weigh them by; asr rescore with "
                "--weight and --out writes lists that have one"
            )


def _check_confidences(systems: Systems, nbest: int) -> None:
    for name, lists in systems.items():
        for one in lists:
            if any(each.text and not each.words for each in one.candidates[:nbest]):
                raise DataError(
                    f"{shown(name)}: utterance '{shown(one.id)}' has no 'words' with confidences; "
                    "vote by frequency alone (--alpha 1), or give lists that have them"
                )
