"""N-gram models the slow and obvious way: dictionaries of tuples, and the textbook's back-off."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

Gram = tuple[str, ...]
SPECIAL = ("<unk>", "<s>", "</s>")


@dataclass(frozen=True)
class PlainModel:
    """log10 of the probability and of the back-off weight of each n-gram."""

    grams: dict[Gram, tuple[float, float]]
    order: int

    def words(self) -> list[str]:
        """All, in the order of the file."""
        return [gram[0] for gram in self.grams if len(gram) == 1]

    def of_order(self, order: int) -> list[Gram]:
        """All n-grams of an order, in the order of the file."""
        return [gram for gram in self.grams if len(gram) == order]

    def log10_prob(self, context: Sequence[str], word: str) -> float:
        """Of a word after a context of any length; unknown ones count as `<unk>`."""
        known = [known if (known,) in self.grams else "<unk>" for known in (*context, word)]
        history, last = tuple(known[:-1])[-self.order + 1 :] if self.order > 1 else (), known[-1]
        if (*history, last) in self.grams:
            return self.grams[*history, last][0]
        weight = self.grams[history][1] if history in self.grams else 0.0
        return weight + self.log10_prob(history[1:], last)

    def sentence(self, words: Sequence[str], *, bos: bool = True, eos: bool = True) -> list[float]:
        """log10 of the probability of each word and of the end."""
        history = [*(["<s>"] if bos else []), *words, *(["</s>"] if eos else [])]
        return [self.log10_prob(history[:i], history[i]) for i in range(int(bos), len(history))]

    def arpa(self) -> str:
        """As an ARPA file."""
        orders = range(1, self.order + 1)
        lines = ["\\data\\", *(f"ngram {n}={len(self.of_order(n))}" for n in orders)]
        for n in orders:
            lines += ["", f"\\{n}-grams:"]
            for gram in self.of_order(n):
                prob, backoff = self.grams[gram]
                weight = "" if n == self.order else f"\t{backoff!r}"
                lines.append(f"{prob!r}\t{' '.join(gram)}{weight}")
        return "\n".join([*lines, "", "\\end\\", ""])

    def write(self, path: Path) -> Path:
        """Write the ARPA file."""
        path.write_text(self.arpa(), encoding="utf-8")
        return path


def random_model(
    seed: int, order: int, *, num_words: int = 4, pruned: float = 0.0, shuffled: bool = True
) -> PlainModel:
    """A model with random numbers (which sum to nothing) for some of all possible n-grams.

    Args:
        seed: of everything random.
        order: of the model.
        num_words: without the special ones.
        pruned: the share of n-grams left out that are the ending of longer ones; a model that was
            pruned by some tools is like that.
        shuffled: n-grams of an order in any order; else sorted.
    """
    random = np.random.default_rng(seed)
    words = [*SPECIAL, *(f"w{i}" for i in range(num_words))]
    grams: dict[Gram, tuple[float, float]] = {}
    for n in range(1, order + 1):
        for gram in itertools.product(words, repeat=n):
            inside = "<s>" not in gram[1:] and "</s>" not in gram[:-1]
            whole = gram[:-1] in grams and (gram[1:] in grams or random.random() < pruned)
            if n == 1 or (inside and whole and random.random() < 0.8):
                grams[gram] = _numbers(random, gram, n == order, 0.0 if pruned else 1.0)
    contexts = {gram[:-1] for gram in grams}
    for gram in [gram for gram in grams if len(gram) > 1 and gram not in contexts]:
        if random.random() < pruned:
            del grams[gram]
    items = list(grams.items())
    if shuffled:
        items = [items[i] for i in random.permutation(len(items))]
    return PlainModel(dict(sorted(items, key=lambda item: len(item[0]))), order)


def _numbers(
    random: np.random.Generator, gram: Gram, highest: bool, largest: float
) -> tuple[float, float]:
    """KenLM stores no probability above 1, which large weights give to n-grams that are missing."""
    prob = -99.0 if gram == ("<s>",) else round(-3 * random.random(), 4)
    idle = highest or gram[-1] == "</s>" or random.random() < 0.3
    return prob, 0.0 if idle else round(random.uniform(-2, largest), 4)


def random_sentence(random: np.random.Generator, model: PlainModel, length: int) -> list[str]:
    """Any words of the model, and unknown ones."""
    words = [word for word in model.words() if word not in ("<s>", "</s>")] + ["OOV", "Ünbekannt"]
    return [words[i] for i in random.integers(0, len(words), length)]


def nats(log10: float) -> float:
    """log10 to the natural logarithm."""
    return log10 * math.log(10)
