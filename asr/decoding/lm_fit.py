"""How well a language model fits a recogniser: what is said, warned of or refused on loading.

A search with the wrong model runs without complaint and only makes more errors.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from asr.data.labels import decomposed
from asr.decoding.fusion import SPACE_WORD, SPECIAL
from asr.errors import DataError, shown
from asr.lm.ngram import NgramModel
from asr.lm.protocol import StepwiseModel

WARN_BELOW, REFUSE_BELOW = 0.95, 0.5  # of the running words of the training text
MANY = 1000  # words looked at to tell the case of a model


def describe_lm(
    lm: NgramModel | StepwiseModel,
    unit: Literal["word", "token"],
    vocabulary: Mapping[str, int],
) -> list[str]:
    """Lines about a language model for a recogniser.

    Args:
        lm: the model.
        unit: what its words are.
        vocabulary: how often each word occurs in the recogniser's training text; empty: not known.

    Raises:
        DataError: it knows less than half of the training text.
    """
    case = _case([w for w in lm.words if w not in SPECIAL][:MANY])
    if not isinstance(lm, NgramModel):
        labels = len(set(lm.words) - SPECIAL)
        return [f"language model {shown(lm.source)}: neural, of {labels:,} labels, {case}"]
    sizes = " + ".join(f"{count:,}" for count in lm.counts)
    kind = "words" if unit == "word" else "labels"
    line = f"language model {shown(lm.source)}: {lm.order}-gram of {kind}, {sizes} n-grams, {case}"
    if unit == "token" or not vocabulary:
        return [line]
    knows = _known(lm)
    share = _share(knows, vocabulary, str)
    line += f"; knows {share:.1%} of the training text"
    if share >= WARN_BELOW:
        return [line]
    unknown = [word for word in vocabulary if not knows(word)][:5]
    missing = ", ".join(f"'{shown(word)}'" for word in unknown)
    for name, change in (("upper", str.upper), ("lower", str.lower)):
        other = _share(knows, vocabulary, change)
        if other > max(0.5, share + 0.25):
            raise DataError(
                f"{shown(lm.source)}: knows {share:.1%} of the training text, but {other:.1%} of "
                f"it in {name} case: model and recogniser differ in case. Make the model of text "
                "in the recogniser's case"
            )
    if share < REFUSE_BELOW:
        raise DataError(
            f"{shown(lm.source)}: knows only {share:.1%} of the training text (not {missing} …); "
            "is it of another language, of labels (--lm-unit token), or of another spelling?"
        )
    return [line, f"warning: the language model does not know {missing} … of the training text"]


def _known(lm: NgramModel) -> Callable[[str], bool]:
    """Whether a model knows a word, as the search sees it: however letters have their accents."""
    accented = {decomposed(word) for word in lm.words if not word.isascii()}
    return lambda word: word in lm or (not word.isascii() and decomposed(word) in accented)


def _share(
    knows: Callable[[str], bool], vocabulary: Mapping[str, int], change: Callable[[str], str]
) -> float:
    """The share of running words that a model knows."""
    known = sum(count for word, count in vocabulary.items() if knows(change(word)))
    return known / max(1, sum(vocabulary.values()))


def _case(words: Sequence[str]) -> str:
    """How words are written."""
    letters = [word for word in words if word.lower() != word.upper() and word != SPACE_WORD]
    upper = sum(word == word.upper() for word in letters)
    lower = sum(word == word.lower() for word in letters)
    if not letters or max(upper, lower) < 0.9 * len(letters):
        return "mixed case" if letters else "no letters"
    return "upper case" if upper >= lower else "lower case"
