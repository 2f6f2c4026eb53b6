"""The search in plain Python: by enumeration of all labellings, and as a beam over dictionaries."""

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asr.data.labels import Labels

Tokens = tuple[int, ...]
NEVER = -math.inf
# A text as the search sees it: finished words, and the unfinished one (or "").
Scoring = Callable[[Tokens], float]


@dataclass(frozen=True)
class Settings:
    """Numbers of a made fusion."""

    lm_weight: float = 0.8
    word_bonus: float = 0.3
    unknown_penalty: float = 1.5


def words_of(tokens: Sequence[int], labels: Labels) -> list[str]:
    """The words that tokens spell, by hand."""
    text = ""
    for token in tokens:
        piece = labels.pieces[token]
        assert piece is not None
        text += (" " if piece.starts_word else "") + piece.text
    return [word for word in text.split(" ") if word]


def labelling_log_probs(log_probs: NDArray[np.float64], blank: int) -> dict[Tokens, float]:
    """ln Pr(labelling) of every labelling of (T, V) scores, summed over all its paths."""
    found: dict[Tokens, list[float]] = defaultdict(list)
    frames, size = log_probs.shape
    for path in itertools.product(range(size), repeat=frames):
        merged = [k for k, _ in itertools.groupby(path) if k != blank]
        found[tuple(merged)].append(sum(log_probs[t, k] for t, k in enumerate(path)))
    return {tokens: float(np.logaddexp.reduce(values)) for tokens, values in found.items()}


def best_texts(
    log_probs: NDArray[np.float64], labels: Labels, added: Scoring
) -> list[tuple[str, float]]:
    """Every text with its score, the best first, by enumeration.

    `added` is what is added to ln Pr of a labelling; -inf forbids it.
    """
    scores = {
        tokens: acoustic + added(tokens)
        for tokens, acoustic in labelling_log_probs(log_probs, labels.blank).items()
        if all(labels.pieces[token] is not None for token in tokens)
    }
    totals = by_text({t: score for t, score in scores.items() if score > NEVER}, labels)
    return sorted(totals.items(), key=lambda item: -item[1])


def beam_texts(
    log_probs: NDArray[np.float64],
    labels: Labels,
    added: Scoring,
    partial: Scoring,
    *,
    beam_size: int,
    beam_threshold: float = math.inf,
    token_threshold: float = -math.inf,
    future: Callable[[Tokens], Hashable] | None = None,
) -> dict[Tokens, float]:
    """The labellings that a beam search ends with, and their scores, over dictionaries of tuples.

    `partial` is what an unfinished labelling counts as beside its probability while beams are
    compared. In a full beam, what is behind the best of the same `future` is left out.
    """
    beam: dict[Tokens, tuple[float, float]] = {(): (0.0, NEVER)}
    for frame in log_probs:
        likely = [
            k
            for k in range(len(frame))
            if labels.pieces[k] is not None and frame[k] >= token_threshold
        ]
        best = int(frame.argmax())
        if frame[best] < token_threshold and labels.pieces[best] is not None:
            likely = [best]
        following: dict[Tokens, tuple[float, float]] = {}
        for prefix, (blank, label) in beam.items():
            stays = label + frame[prefix[-1]] if prefix else NEVER
            shorter = beam.get(prefix[:-1]) if prefix else None
            if shorter is not None:
                from_blank = shorter[0]
                doubled = len(prefix) > 1 and prefix[-2] == prefix[-1]
                from_all = from_blank if doubled else np.logaddexp(*shorter)
                stays = np.logaddexp(stays, from_all + frame[prefix[-1]])
            following[prefix] = (np.logaddexp(blank, label) + frame[labels.blank], stays)
        for prefix, (blank, label) in beam.items():
            for token in likely:
                longer = (*prefix, token)
                if longer not in beam and partial(longer) > NEVER:
                    doubled = bool(prefix) and prefix[-1] == token
                    mass = blank if doubled else np.logaddexp(blank, label)
                    following[longer] = (NEVER, mass + frame[token])
        if not likely:  # nothing new: nothing need be left out
            beam = following
            continue
        ranked = sorted(
            (
                (np.logaddexp(*masses) + partial(prefix), prefix)
                for prefix, masses in following.items()
            ),
            reverse=True,
        )
        ranked = [(score, p) for score, p in ranked if score > NEVER]
        kept = [p for score, p in ranked[:beam_size] if score >= ranked[0][0] - beam_threshold]
        if future is not None and len(kept) == beam_size:
            kept = recombined(kept, following, future, partial)
        beam = {prefix: following[prefix] for prefix in kept}
    scored = {p: float(np.logaddexp(*masses)) + added(p) for p, masses in beam.items()}
    return {prefix: score for prefix, score in scored.items() if score > NEVER}


def by_text(scores: Mapping[Tokens, float], labels: Labels) -> dict[str, float]:
    """The scores of texts: those of their labellings added up."""
    totals: dict[str, float] = {}
    for tokens, score in scores.items():
        text = " ".join(words_of(tokens, labels))
        totals[text] = float(np.logaddexp(totals.get(text, NEVER), score))
    return totals


def recombined(
    kept: Sequence[Tokens],
    masses: Mapping[Tokens, tuple[float, float]],
    future: Callable[[Tokens], Hashable],
    partial: Scoring,
) -> list[Tokens]:
    """What is not behind the best of the same future, after a blank and after a label."""
    best_of = {future(prefix): prefix for prefix in reversed(kept)}

    def behind(prefix: Tokens, best: Tokens) -> bool:
        lead = partial(best) - partial(prefix)
        pairs = zip(masses[prefix], masses[best], strict=True)
        return best != prefix and all(own <= other + lead for own, other in pairs)

    return [prefix for prefix in kept if not behind(prefix, best_of[future(prefix)])]


def random_log_probs(
    random: np.random.Generator, frames: int, size: int, sharpness: float = 1.0
) -> NDArray[np.float64]:
    """(T, V) normalised log-probabilities."""
    logits = sharpness * random.normal(size=(frames, size))
    return np.asarray(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True))
