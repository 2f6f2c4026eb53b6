"""Every way to search, and the same in plain Python."""

import itertools
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from asr.data.labels import Labels, read_labels
from asr.decoding.beam import BeamLimits, BeamSearch
from asr.decoding.fused_search import FusedSearch
from asr.decoding.fusion import Fusion
from asr.decoding.hotwords import HotWord
from asr.decoding.transducer import TransducerLimits
from asr.lm.loading import load_lm
from asr.lm.ngram import NgramModel
from tests.decoding.made_lm import MadeModel, made_model
from tests.decoding.search_reference import NEVER, Tokens, words_of

CHARACTERS = ["_", " ", "A", "B"]
PIECES = ["_", "▁A", "▁B", "A", "▁AB"]
SPACED_PIECES = ["_", "▁", "▁A", "A", "B"]  # as sentencepiece writes a rare word: "▁", "B"
WEIGHT, BONUS, PENALTY = 0.7, 0.4, 1.3


@dataclass(frozen=True)
class Mode:
    """A way to search, and the same in plain Python."""

    name: str
    search: Any
    added: Callable[[Tokens], float]
    partial: Callable[[Tokens], float]
    future: Callable[[Tokens], Hashable]


def loaded(model: MadeModel, folder: Path) -> NgramModel:
    found = load_lm(model.write(folder / "made.arpa"))
    assert isinstance(found, NgramModel)
    return found


@dataclass(frozen=True)
class Plain:
    """What a language model, lexicon and hot words add, in plain Python."""

    labels: Labels
    model: MadeModel | None = None
    lexicon: Sequence[str] | None = None
    hot: tuple[tuple[str, float], ...] = ()
    weight: float = WEIGHT
    bonus: float = 0.0

    def word(self, word: str, history: Sequence[str]) -> float:
        score = self.bonus + sum(weight for hot, weight in self.hot if hot == word)
        if self.model is not None:
            score += self.weight * self.model.log_prob(word, ["<s>", *history])
            hot = any(word == phrase for phrase, _ in self.hot)
            if (word,) not in self.model.grams and not hot:
                score -= self.weight * PENALTY
        return score

    def finished(self, words: Sequence[str]) -> float:
        return sum(self.word(word, words[:at]) for at, word in enumerate(words))

    def allowed(self, tokens: Tokens, *, whole: bool) -> bool:
        """Whether a lexicon allows the labels: its words, and a space only after a word.

        Where other labels begin a word and spell it, the first label may be one that only begins.
        """
        if self.lexicon is None:
            return True
        words = words_of(tokens, self.labels)
        bare = [spaces(self.labels, token) for token in tokens]
        pieces = any(p is not None and p.starts_word and p.text for p in self.labels.pieces)
        if (bare[:1] == [True] and not pieces) or (True, True) in itertools.pairwise(bare):
            return False
        begun = bool(words) and not bare[-1]
        whole_words = words if whole or not begun else words[:-1]
        if any(word not in self.lexicon for word in whole_words):
            return False
        return not begun or any(word.startswith(words[-1]) for word in self.lexicon)

    def added(self, tokens: Tokens) -> float:
        if not self.allowed(tokens, whole=True):
            return NEVER
        words = words_of(tokens, self.labels)
        end = 0.0
        if self.model is not None:
            end = self.weight * self.model.log_prob("</s>", ["<s>", *words])
        return self.finished(words) + end

    def known(self) -> list[str]:
        """The words that an unfinished one may become."""
        if self.lexicon is not None:
            return list(self.lexicon)
        words = [] if self.model is None else [g[0] for g in self.model.grams if len(g) == 1]
        return [word for word in words if word[0] != "<"] + [hot for hot, _ in self.hot]

    def partial(self, tokens: Tokens) -> float:
        """What labels count as before their last word is finished."""
        if not self.allowed(tokens, whole=False):
            return NEVER
        words = words_of(tokens, self.labels)
        last = self.labels.pieces[tokens[-1]] if tokens else None
        space = last is None or (last.starts_word and not last.text)
        done, begun = (words, "") if space or not words else (words[:-1], words[-1])
        becomes = [word for word in self.known() if word.startswith(begun)]
        values = [self.alone(word) for word in becomes]
        if self.lexicon is None:
            values.append(self.alone("never seen"))
        return self.finished(done) + max(values)

    def alone(self, word: str) -> float:
        """What a word adds without a history."""
        score = self.bonus + sum(weight for hot, weight in self.hot if hot == word)
        if self.model is not None:
            score += self.weight * self.model.log_prob(word, [])
            hot = any(word == phrase for phrase, _ in self.hot)
            if (word,) not in self.model.grams and not hot:
                score -= self.weight * PENALTY
        return score


class AskedModel:
    """A made n-gram model that must be asked between frames, as a network."""

    def __init__(self, lm: NgramModel) -> None:
        self.words, self.unk, self.eos, self.source = lm.words, lm.unk, lm.eos, lm.source
        self.word_ids, self.sha256 = lm.word_ids, lm.sha256
        self._lm = lm

    def open(self) -> "AskedHistories":
        return AskedHistories(self._lm)


class AskedHistories:
    """Its histories, which forget all states but those that are kept."""

    def __init__(self, lm: NgramModel) -> None:
        self._lm = lm
        self._known = {lm.start()}
        self.words, self.unk, self.bos, self.eos = lm.words, lm.unk, lm.bos, lm.eos
        self.order, self.word_ids = None, lm.word_ids

    def __contains__(self, word: str) -> bool:
        return word in self._lm

    def start(self) -> int:
        return self._lm.start()

    def score(
        self, states: ArrayLike, words: ArrayLike
    ) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
        assert set(np.asarray(states).tolist()) <= self._known
        log_probs, after = self._lm.score(states, words)
        self._known |= set(after.tolist())
        return log_probs, after

    def advance(self, states: ArrayLike, words: ArrayLike) -> NDArray[np.int32]:
        return self.score(states, words)[1]

    def log_probs(self, states: ArrayLike) -> NDArray[np.float32]:
        every = np.arange(len(self.words))
        rows = [self._lm.score(np.full(len(every), s), every)[0] for s in np.asarray(states)]
        assert set(np.asarray(states).tolist()) <= self._known
        return np.array(rows, dtype=np.float32)

    def keep(self, states: ArrayLike) -> None:
        self._known &= {self._lm.start(), *np.asarray(states).tolist()}


class Shares(Plain):
    """A language model as a prior of labels: its words share one, whatever the history."""

    def word(self, word: str, history: Sequence[str]) -> float:
        return self.share(word, history) + self.bonus

    def partial(self, tokens: Tokens) -> float:
        if not self.allowed(tokens, whole=False):
            return NEVER
        words = words_of(tokens, self.labels)
        last = self.labels.pieces[tokens[-1]] if tokens else None
        if not words or last is None or not last.text:
            return self.finished(words)
        *done, begun = words
        return self.finished(done) + self.share(begun, done, whole=False)

    def share(self, begun: str, history: Sequence[str], *, whole: bool = True) -> float:
        """ln of the share of a word, or of all that begin so, among the words of the lexicon."""
        assert self.model is not None
        assert self.lexicon is not None
        known = ["<s>", *history]
        weighted = {
            w: WEIGHT * (self.model.log_prob(w, known) - PENALTY * ((w,) not in self.model.grams))
            for w in self.lexicon
        }
        meant = [v for w, v in weighted.items() if (w == begun if whole else w.startswith(begun))]
        return float(np.logaddexp.reduce(meant) - np.logaddexp.reduce(list(weighted.values())))


def spaces(labels: Labels, token: int) -> bool:
    """Whether a label only begins a word."""
    piece = labels.pieces[token]
    return piece is not None and piece.starts_word and not piece.text


def written(labels: Labels, tokens: Sequence[int]) -> list[str]:
    """Labels as the words of a language model of labels."""
    return ["<space>" if spaces(labels, t) else labels.names[t] for t in tokens]


def token_lm(plain: MadeModel, labels: Labels) -> Callable[[Tokens], float]:
    """ln Pr of the labels as the words of a model, with a bonus each, without the end."""

    def score(tokens: Tokens) -> float:
        names = written(labels, tokens)
        return sum(
            WEIGHT * plain.log_prob(name, ["<s>", *names[:at]]) + BONUS
            for at, name in enumerate(names)
        )

    return score


def future_of(
    labels: Labels, lm: NgramModel | None, unit: Literal["word", "token"], known: Sequence[str]
) -> Callable[[Tokens], Hashable]:
    """What decides about all that may follow some labels."""

    def future(tokens: Tokens) -> Hashable:
        words = words_of(tokens, labels)
        begun = bool(words) and not spaces(labels, tokens[-1])
        place = words[-1] if begun else ""
        if not any(word.startswith(place) for word in known):
            place = "unknown" if begun else ""
        heard = written(labels, tokens) if unit == "token" else words[: len(words) - begun]
        state = 0 if lm is None else lm.start()
        for word in heard if lm is not None else ():
            state = int(lm.score([state], lm.word_ids([word]))[1][0])
        return tokens[-1:], place, state

    return future


def modes(
    names: Sequence[str],
    folder: Path,
    limits: BeamLimits | TransducerLimits,
    seed: int,
    kind: Callable[..., FusedSearch] = BeamSearch,
) -> list[Mode]:
    """Every way to search, over labels; `kind` makes a search of what `BeamSearch` takes."""
    labels = read_labels(names)
    random = np.random.default_rng(seed)
    words = ["A", "B", "AB", "BAA"]
    found = []

    def add(name: str, plain: Plain, **given: object) -> None:
        search = kind(names, limits=limits, **given)
        future = future_of(labels, search.lm, "word", plain.known())
        found.append(Mode(name, search, plain.added, plain.partial, future))

    add("none", Plain(labels))
    add("bonus", Plain(labels, bonus=BONUS), fusion=Fusion(word_bonus=BONUS))
    add("dictionary", Plain(labels, lexicon=words), lexicon=words)
    hot = (("AB", 1.5), ("BAA", 0.5))
    add("hot words", Plain(labels, hot=hot), hotwords=[HotWord(*one) for one in hot])
    fusion = Fusion(lm_weight=WEIGHT, word_bonus=BONUS, unknown_penalty=PENALTY)
    for order in (1, 2, 3):
        made = made_model(random, ["A", "AB", "BA"], order)
        lm = loaded(made, folder)
        open_words = Plain(labels, made, bonus=BONUS)
        add(f"open {order}", open_words, lm=lm, fusion=fusion)
        closed = Plain(labels, made, lexicon=words, bonus=BONUS)
        add(f"closed {order}", closed, lm=lm, lexicon=words, fusion=fusion)
        boosted = Plain(labels, made, hot=hot, bonus=BONUS)
        add(
            f"open hot {order}",
            boosted,
            lm=lm,
            fusion=fusion,
            hotwords=[HotWord(*one) for one in hot],
        )
        shares = Shares(labels, made, lexicon=words, bonus=BONUS)
        as_prior = replace(fusion, kind="prior")
        add(f"prior {order}", shares, lm=lm, lexicon=words, fusion=as_prior)
        spelt = made_model(random, written(labels, range(1, len(names))), order)
        score = token_lm(spelt, labels)

        def whole(tokens: Tokens, score=score, spelt=spelt) -> float:  # type: ignore[no-untyped-def]
            heard = ["<s>", *written(labels, tokens)]
            return float(score(tokens) + WEIGHT * spelt.log_prob("</s>", heard))

        lm = loaded(spelt, folder)
        search = kind(
            names,
            lm=lm,
            fusion=Fusion(lm_weight=WEIGHT, word_bonus=BONUS, unit="token"),
            limits=limits,
        )
        future = future_of(labels, lm, "token", [])
        found.append(Mode(f"token {order}", search, whole, score, future))
        asked = kind(names, lm=AskedModel(lm), fusion=search.fusion, limits=limits)
        found.append(Mode(f"stepwise {order}", asked, whole, score, lambda tokens: tokens))
    return found
