"""How a language model, a lexicon and hot words count in a search: settings, and their arrays."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from asr.decoding.hotwords import NO_HOT_WORD, HotWord, hot_automaton, hot_vocabulary
from asr.decoding.labels import Labels, decomposed
from asr.decoding.lexicon import Trie, best_below, build_trie, check_spellable, unspellable
from asr.decoding.prefix_score import NO_LM, TOKEN, WORD, Scorer, Weights
from asr.errors import DataError
from asr.lm.ngram import Automaton, NgramModel

SPACE_WORD = "<space>"  # how language models of characters write the space between words
SPECIAL = frozenset({"<s>", "</s>", "<unk>", "<UNK>"})


@dataclass(frozen=True, slots=True)
class Fusion:
    """How a language model counts.

    Attributes:
        lm_weight: factor of its log-probability.
        word_bonus: nats for every word, or for every token where its words are tokens.
        unknown_penalty: how much less likely an unknown word is than the model's `<unk>` says, in
            nats, before the weight.
        unit: what the words of the model are: words, or labels of the recogniser.
        kind: "shallow": the log-probability is added when a word ends; "prior": it is a normalised
            prior of every label (Graves & Jaitly 2014), which needs a lexicon.
        by_length: choose at the end by the score per label.
    """

    lm_weight: float = 0.5
    word_bonus: float = 0.0
    unknown_penalty: float = 10.0
    unit: Literal["word", "token"] = "word"
    kind: Literal["shallow", "prior"] = "shallow"
    by_length: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.lm_weight < np.inf:
            raise ValueError(f"lm_weight must be 0 or more, got {self.lm_weight}")
        if not np.isfinite(self.word_bonus):
            raise ValueError(f"word_bonus must be finite, got {self.word_bonus}")
        if not 0 <= self.unknown_penalty < np.inf:
            raise ValueError(f"unknown_penalty must be 0 or more, got {self.unknown_penalty}")
        if self.kind == "prior" and self.unit == "token":
            raise ValueError(
                "kind 'prior' turns words into labels; with unit 'token' it has no use"
            )


def build_scorer(
    labels: Labels,
    lm: NgramModel | None,
    lexicon: Sequence[str] | None,
    hotwords: Sequence[HotWord],
    fusion: Fusion,
) -> Scorer:
    """The arrays of a fusion; arguments as for `beam.BeamSearch`.

    Raises:
        DataError: words of the lexicon, or hot words, that the labels cannot spell; a language
            model none of whose words they can.
        ValueError: a prior without a language model or lexicon.
    """
    if fusion.kind == "prior" and (lm is None or lexicon is None):
        raise ValueError("kind 'prior' needs a language model and a lexicon")
    hot_words = hot_vocabulary(hotwords)
    if lexicon is not None:
        check_spellable(lexicon, labels, "the lexicon")
    check_spellable(hot_words, labels, "the hot words")
    vocabulary = _vocabulary(labels, lm, lexicon, hot_words, fusion)
    trie = build_trie(vocabulary)
    hot = hot_automaton(hotwords, hot_words)
    hot_ids = {word: index + 1 for index, word in enumerate(hot_words)}
    word_hot = np.array([hot_ids.get(word, NO_HOT_WORD) for word in vocabulary], dtype=np.int32)
    word_lm, word_cost, unknown_cost = _costs(vocabulary, lm, hot_ids, fusion)
    weights = _weights(lm, fusion, unknown_cost, closed=lexicon is not None, hot=bool(hot_words))
    look, weights = _look(trie, lm, hot, weights, (word_lm, word_cost, word_hot))
    return Scorer(
        labels=labels.arrays,
        trie=trie,
        look=look,
        lm=lm.automaton if lm is not None else hot_automaton([], []),
        hot=hot,
        word_lm=_frozen(word_lm),
        word_cost=_frozen(word_cost),
        word_hot=_frozen(word_hot),
        token_lm=_token_words(labels, lm, fusion),
        weights=weights,
    )


def _vocabulary(
    labels: Labels,
    lm: NgramModel | None,
    lexicon: Sequence[str] | None,
    hot_words: Sequence[str],
    fusion: Fusion,
) -> list[str]:
    """The words of the trie: those of the lexicon, else those of the model, and the hot ones."""
    known: list[str] = []
    if lexicon is not None:
        known = list(lexicon)
    elif lm is not None and fusion.unit == "word":
        ordinary = [word for word in lm.words if word not in SPECIAL]
        foreign = set(unspellable(ordinary, labels))
        known = [word for word in ordinary if word not in foreign]
        if not known:
            raise DataError(
                f"{lm.source}: none of its {len(ordinary)} words can be spelt with the labels of "
                "the recogniser; is it upper case where they are lower case, or a model of tokens?"
            )
    return list({decomposed(word): word for word in (*known, *hot_words)}.values())


def _costs(
    vocabulary: Sequence[str], lm: NgramModel | None, hot: dict[str, int], fusion: Fusion
) -> tuple[NDArray[np.int32], NDArray[np.float64], float]:
    """Each word for the language model, what each costs besides, and what an unknown one costs."""
    bonus = fusion.word_bonus if lm is None or fusion.unit == "word" else 0.0
    costs = np.full(len(vocabulary), bonus)
    if lm is None or fusion.unit == "token":
        return np.zeros(len(vocabulary), np.int32), costs, bonus
    ids = lm.word_ids(vocabulary)
    penalty = fusion.lm_weight * fusion.unknown_penalty
    ordinary = np.array([word not in hot for word in vocabulary], dtype=bool)
    costs[(ids == lm.unk) & ordinary] -= penalty
    return np.asarray(ids, dtype=np.int32), costs, bonus - penalty


def _weights(
    lm: NgramModel | None, fusion: Fusion, unknown_cost: float, *, closed: bool, hot: bool
) -> Weights:
    """The numbers of a fusion; those about the best of all words are not known yet."""
    unit = NO_LM if lm is None else WORD if fusion.unit == "word" else TOKEN
    return Weights(
        lm_weight=float(fusion.lm_weight),
        unknown_cost=float(unknown_cost),
        unknown_look=0.0,
        best_cost=0.0,
        token_bonus=float(fusion.word_bonus) if unit == TOKEN else 0.0,
        unknown_lm=lm.unk if lm is not None else 0,
        eos=lm.eos if lm is not None else 0,
        unit=unit,
        closed=closed,
        prior=fusion.kind == "prior",
        hot=hot,
    )


def _look(
    trie: Trie,
    lm: NgramModel | None,
    hot: Automaton,
    weights: Weights,
    words: tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.int32]],
) -> tuple[NDArray[np.float64], Weights]:
    """What an unfinished word can still become, from scores without history; completed weights."""
    word_lm, word_cost, word_hot = words
    values = word_cost + hot.arc_log_probs[word_hot]
    unknown = weights.unknown_cost
    if lm is not None and weights.unit == WORD:
        alone = lm.automaton.arc_log_probs[: lm.automaton.arc_begin[1]].astype(np.float64)
        values = values + weights.lm_weight * alone[word_lm]
        unknown += weights.lm_weight * float(alone[lm.unk])
    look = best_below(trie, values, -np.inf if weights.closed else unknown)
    if weights.prior:
        look = np.zeros(len(look))
    most_hot = float(hot.arc_log_probs.max(initial=0.0))
    costs = [
        *([] if weights.closed else [weights.unknown_cost]),
        float(word_cost.max(initial=-1e30)),
    ]
    completed = weights._replace(unknown_look=unknown, best_cost=max(costs) + most_hot)
    return _frozen(look), completed


def _token_words(labels: Labels, lm: NgramModel | None, fusion: Fusion) -> NDArray[np.int32]:
    """Each label for a language model of labels.

    Raises:
        DataError: the model knows hardly any label.
    """
    if lm is None or fusion.unit == "word":
        return _frozen(np.zeros(len(labels), np.int32))
    names = [
        SPACE_WORD if p and p.starts_word and not p.text else n
        for p, n in zip(labels.pieces, labels.names, strict=True)
    ]
    ids = lm.word_ids(names)
    emitted = [index for index, piece in enumerate(labels.pieces) if piece is not None]
    missing = [names[index] for index in emitted if ids[index] == lm.unk]
    if len(missing) > len(emitted) / 2:
        raise DataError(
            f"{lm.source}: knows {len(emitted) - len(missing)} of {len(emitted)} labels of the "
            "recogniser; is it a model of words (unit word), or of another case?"
        )
    return _frozen(np.asarray(ids, dtype=np.int32))


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    array.setflags(write=False)
    return array
