"""How a language model, a lexicon and hot words count in a search: settings, and their arrays."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from asr.data.labels import Labels, decomposed
from asr.decoding.hotwords import (
    MAX_WEIGHT,
    NO_HOT_WORD,
    HotWord,
    hot_automaton,
    hot_vocabulary,
    most_given,
)
from asr.decoding.lexicon import check_spellable, unspellable
from asr.decoding.prefix_score import NO_LM, STEPWISE, TOKEN, WORD, Scorer, Weights
from asr.decoding.trie import Trie, best_below, build_trie, with_look
from asr.errors import DataError, shown
from asr.lm.ngram import Automaton, NgramModel
from asr.lm.protocol import StepwiseModel

SPACE_WORD = "<space>"  # how language models of characters write the space between words
UNKNOWN_PENALTY = 10.0  # nats, where nobody says otherwise
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
    unknown_penalty: float = UNKNOWN_PENALTY
    unit: Literal["word", "token"] = "word"
    kind: Literal["shallow", "prior"] = "shallow"
    by_length: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.lm_weight <= MAX_WEIGHT:
            raise ValueError(f"lm_weight must be 0 to {MAX_WEIGHT:g}, got {self.lm_weight}")
        if not abs(self.word_bonus) <= MAX_WEIGHT:
            raise ValueError(
                f"word_bonus must be {-MAX_WEIGHT:g} to {MAX_WEIGHT:g}, got {self.word_bonus}"
            )
        if not 0 <= self.unknown_penalty <= MAX_WEIGHT:
            raise ValueError(
                f"unknown_penalty must be 0 to {MAX_WEIGHT:g}, got {self.unknown_penalty}"
            )
        if self.kind == "prior" and self.unit == "token":
            raise ValueError(
                "kind 'prior' turns words into labels; with unit 'token' it has no use"
            )

    def signature(self, lm: str | None) -> list[str]:
        """What one must know of it to compare an error rate; `lm` names the language model."""
        bonus = f"word_bonus:{self.word_bonus:g}"
        if lm is None:
            return [bonus] if self.word_bonus else []
        named = [f"lm:{lm}", f"{self.kind} {self.unit}", f"lm_weight:{self.lm_weight:g}", bonus]
        if self.unit == "word" and self.unknown_penalty != UNKNOWN_PENALTY:
            named.append(f"unknown_penalty:{self.unknown_penalty:g}")
        return named


@dataclass(frozen=True, slots=True, eq=False)
class Knowledge:
    """What a search knows, before any weight: its words and where they stand in each model.

    Attributes:
        lm: the language model.
        labels: of the recogniser.
        words: of the trie, by their number.
        trie: their prefix tree.
        closed: whether no other word may be said.
        hot: the automaton of hot words.
        word_lm: (words,) each for the language model; zeros where its words are none.
        word_hot: (words,) each for `hot`.
        token_lm: (V,) each label for the language model, where its words are labels.
        unit: what the words of the language model are.
    """

    lm: NgramModel | StepwiseModel | None
    labels: Labels
    words: Sequence[str]
    trie: Trie
    closed: bool
    hot: Automaton
    word_lm: NDArray[np.int32]
    word_hot: NDArray[np.int32]
    token_lm: NDArray[np.int32]
    unit: Literal["word", "token"]


def gather(
    labels: Labels,
    lm: NgramModel | StepwiseModel | None,
    lexicon: Sequence[str] | None,
    hotwords: Sequence[HotWord],
    unit: Literal["word", "token"],
) -> Knowledge:
    """Bring the words of a language model, a lexicon and hot words together.

    Raises:
        DataError: no words in the lexicon; words of it, or hot words, that the labels cannot
            spell; a language model none of whose words they can, or that knows none of the lexicon.
        ValueError: a neural language model with unit "word".
    """
    if lm is not None and not isinstance(lm, NgramModel) and unit == "word":
        raise ValueError(
            f"{shown(lm.source)}: is a model of labels: its unit is 'token', not 'word'"
        )
    hot_words = hot_vocabulary(hotwords)
    if lexicon is not None:
        if not lexicon:
            raise DataError("the lexicon has no words")
        check_spellable(lexicon, labels, "the lexicon")
    check_spellable(hot_words, labels, "the hot words")
    words = _vocabulary(labels, lm, lexicon, hot_words, unit)
    hot_ids = {word: index + 1 for index, word in enumerate(hot_words)}
    word_hot = np.array([hot_ids.get(word, NO_HOT_WORD) for word in words], dtype=np.int32)
    word_lm = np.zeros(len(words), np.int32)
    if isinstance(lm, NgramModel) and unit == "word":
        word_lm = _lm_words(lm, words)
        if lexicon is not None and (word_lm == lm.unk).all():
            raise DataError(
                f"{lm.source}: knows none of the {len(words)} words of the lexicon; is it of "
                "another case or language, or a model of tokens?"
            )
    return Knowledge(
        lm=lm,
        labels=labels,
        words=words,
        trie=build_trie(words),
        closed=lexicon is not None,
        hot=hot_automaton(hotwords, hot_words),
        word_lm=_frozen(word_lm),
        word_hot=_frozen(word_hot),
        token_lm=_token_words(labels, lm, unit),
        unit=unit,
    )


def weigh(knowledge: Knowledge, fusion: Fusion) -> Scorer:
    """The arrays of a search with the weights of a fusion, whose unit is that of `knowledge`.

    Raises:
        ValueError: a prior without a language model or lexicon.
    """
    lm = knowledge.lm
    if fusion.kind == "prior" and (lm is None or not knowledge.closed):
        raise ValueError("kind 'prior' needs a language model and a lexicon")
    word_cost, unknown_cost = _costs(knowledge, fusion)
    weights = _weights(knowledge, fusion, unknown_cost)
    look, weights = _look(knowledge, weights, word_cost)
    return Scorer(
        labels=knowledge.labels.arrays,
        trie=with_look(knowledge.trie, look),
        lm=lm.automaton if isinstance(lm, NgramModel) else hot_automaton([], []),
        hot=knowledge.hot,
        word_lm=knowledge.word_lm,
        word_cost=_frozen(word_cost),
        word_hot=knowledge.word_hot,
        token_lm=knowledge.token_lm,
        weights=weights,
    )


def _vocabulary(
    labels: Labels,
    lm: NgramModel | StepwiseModel | None,
    lexicon: Sequence[str] | None,
    hot_words: Sequence[str],
    unit: Literal["word", "token"],
) -> list[str]:
    """The words of the trie: those of the lexicon, else those of the model, and the hot ones."""
    known: list[str] = []
    if lexicon is not None:
        known = list(lexicon)
    elif lm is not None and unit == "word":
        ordinary = [word for word in lm.words if word not in SPECIAL]
        foreign = set(unspellable(ordinary, labels))
        known = [word for word in ordinary if word not in foreign]
        if not known:
            raise DataError(
                f"{lm.source}: none of its {len(ordinary)} words can be spelt with the labels of "
                "the recogniser; is it upper case where they are lower case, or a model of tokens?"
            )
    return list({decomposed(word): word for word in (*known, *hot_words)}.values())


def _lm_words(lm: NgramModel, words: Sequence[str]) -> NDArray[np.int32]:
    """The words (n,) for a language model, which may write letters and their accents otherwise."""
    ids = np.array(lm.word_ids(words), dtype=np.int32)
    unknown = [at for at in np.flatnonzero(ids == lm.unk).tolist() if not words[at].isascii()]
    if unknown:
        spelt = {decomposed(word): index for index, word in enumerate(lm.words)}
        ids[unknown] = [spelt.get(decomposed(words[at]), lm.unk) for at in unknown]
    return ids


def _costs(knowledge: Knowledge, fusion: Fusion) -> tuple[NDArray[np.float64], float]:
    """What each word costs besides the language model's opinion, and what an unknown one does."""
    lm = knowledge.lm
    bonus = fusion.word_bonus if lm is None or fusion.unit == "word" else 0.0
    costs = np.full(len(knowledge.words), bonus, dtype=np.float64)
    if lm is None or fusion.unit == "token":
        return costs, bonus
    penalty = fusion.lm_weight * fusion.unknown_penalty
    costs[(knowledge.word_lm == lm.unk) & (knowledge.word_hot == NO_HOT_WORD)] -= penalty
    return costs, bonus - penalty


def _weights(knowledge: Knowledge, fusion: Fusion, unknown_cost: float) -> Weights:
    """The numbers of a fusion; those about the best of all words are not known yet."""
    lm = knowledge.lm
    tokens = TOKEN if isinstance(lm, NgramModel) else STEPWISE
    unit = NO_LM if lm is None else WORD if fusion.unit == "word" else tokens
    return Weights(
        lm_weight=float(fusion.lm_weight),
        unknown_cost=float(unknown_cost),
        unknown_look=0.0,
        best_cost=0.0,
        word_bonus=0.0 if unit == tokens else float(fusion.word_bonus),
        token_bonus=float(fusion.word_bonus) if unit == tokens else 0.0,
        unknown_lm=lm.unk if lm is not None else 0,
        eos=lm.eos if lm is not None else 0,
        unit=unit,
        closed=knowledge.closed,
        prior=fusion.kind == "prior",
        hot=bool(knowledge.word_hot.any()),
        pieces=any(piece and piece.starts_word and piece.text for piece in knowledge.labels.pieces),
    )


def _look(
    knowledge: Knowledge, weights: Weights, word_cost: NDArray[np.float64]
) -> tuple[NDArray[np.float64], Weights]:
    """What an unfinished word can still become, from scores without history; completed weights."""
    hot_bonuses = knowledge.hot.arc_log_probs
    values = word_cost + hot_bonuses[knowledge.word_hot]
    unknown = weights.unknown_cost
    if isinstance(knowledge.lm, NgramModel) and weights.unit == WORD:
        automaton = knowledge.lm.automaton
        alone = automaton.arc_log_probs[: automaton.arc_begin[1]].astype(np.float64)
        values = values + weights.lm_weight * alone[knowledge.word_lm]
        unknown += weights.lm_weight * float(alone[knowledge.lm.unk])
    look = best_below(knowledge.trie, values, -np.inf if weights.closed else unknown)
    if weights.prior:
        look = np.zeros(len(look))
    best = float(word_cost.max(initial=-1e30 if weights.closed else weights.unknown_cost))
    best += most_given(knowledge.hot)
    return look, weights._replace(unknown_look=unknown, best_cost=best)


def _token_words(
    labels: Labels, lm: NgramModel | StepwiseModel | None, unit: Literal["word", "token"]
) -> NDArray[np.int32]:
    """Each label for a language model of labels.

    Raises:
        DataError: the model knows hardly any label.
    """
    if lm is None or unit == "word":
        return _frozen(np.zeros(len(labels), np.int32))
    names = list(labels.names)
    ids = lm.word_ids(names)
    for index, piece in enumerate(labels.pieces):
        if ids[index] == lm.unk and piece and piece.starts_word and not piece.text:
            names[index] = SPACE_WORD  # as models of characters call it
            ids[index] = lm.word_ids([SPACE_WORD])[0]
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
