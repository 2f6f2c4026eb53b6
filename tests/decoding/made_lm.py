"""Small language models for tests, as ARPA text and as a plain Python function."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

Gram = tuple[str, ...]


@dataclass(frozen=True)
class MadeModel:
    """Back-off probabilities by n-gram: log10 of probability and of back-off weight."""

    grams: dict[Gram, tuple[float, float]]
    order: int

    def log_prob(self, word: str, history: Sequence[str]) -> float:
        """Natural log-probability of a word, `<unk>` for an unknown one, after a history."""
        known = word if (word,) in self.grams else "<unk>"
        context = tuple(h if (h,) in self.grams else "<unk>" for h in history)
        context = context[max(0, len(context) - self.order + 1) :]
        total = 0.0
        while (*context, known) not in self.grams:
            total += self.grams.get(context, (0.0, 0.0))[1]
            context = context[1:]
        return (total + self.grams[(*context, known)][0]) * math.log(10)

    def write(self, path: Path) -> Path:
        """The model as an ARPA file."""
        lines = ["\\data\\"]
        by_order = [sorted(g for g in self.grams if len(g) == n) for n in range(1, self.order + 1)]
        lines += [f"ngram {n}={len(grams)}" for n, grams in enumerate(by_order, start=1)]
        for n, grams in enumerate(by_order, start=1):
            lines += ["", f"\\{n}-grams:"]
            for gram in grams:
                probability, weight = self.grams[gram]
                back = f"\t{weight!r}" if n < self.order else ""
                lines.append(f"{probability!r}\t{' '.join(gram)}{back}")
        path.write_text("\n".join([*lines, "", "\\end\\", ""]), encoding="utf-8")
        return path


def made_model(random: np.random.Generator, words: Sequence[str], order: int) -> MadeModel:
    """Random probabilities (which need not sum to one) for some n-grams of `words`."""
    vocabulary = ["<s>", "</s>", "<unk>", *words]
    grams: dict[Gram, tuple[float, float]] = {}
    for n in range(1, order + 1):
        for gram in itertools.product(vocabulary, repeat=n):
            inside = "<s>" not in gram[1:] and "</s>" not in gram[:-1]
            likely = n == 1 or random.random() < 0.6
            if inside and likely and (n == 1 or gram[:-1] in grams):
                weight = -float(random.random()) if n < order and gram[-1] != "</s>" else 0.0
                grams[gram] = (-2 * float(random.random()), weight)
    return MadeModel(grams, order)
