"""Modified Kneser-Ney smoothing as the textbook defines it, in exact fractions and without speed.

Every quantity is looked up in the sentences by its definition: p(w | c) by recursion over the
context, the counts by going through all n-grams. It shares no idea with `asr.lm.counting`.
"""

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from functools import cache

Gram = tuple[str, ...]
FALLBACK = (Fraction(1, 2), Fraction(1), Fraction(3, 2))


class PlainModel:
    """A model of sentences (lists of words) of the order `len(thresholds)`."""

    def __init__(
        self,
        sentences: Sequence[Sequence[str]],
        thresholds: Sequence[int],
        known: set[str] | None = None,
    ) -> None:
        self.order = len(thresholds)
        self.thresholds = thresholds
        self.known = known
        self.counts: Counter[Gram] = Counter()
        for sentence in sentences:
            words = ("<s>", *sentence, "</s>")
            for length in range(1, self.order + 1):
                for first in range(len(words) - length + 1):
                    self.counts[words[first : first + length]] += 1
        self.before: dict[Gram, set[str]] = {}
        self.after: dict[Gram, set[str]] = {}
        for gram in self.counts:
            if gram != ("<s>",):
                self.before.setdefault(gram[1:], set()).add(gram[0])
                self.after.setdefault(gram[:-1], set()).add(gram[-1])
        kept = {gram[0] for gram in self.counts if len(gram) == 1 and self.stays(gram)}
        self.vocabulary = (kept | {"<unk>", "</s>"}) - {"<s>"}
        self.prob = cache(self._prob)  # a cache for each model
        self.discounts = [self._discounts(length) for length in range(1, self.order + 1)]

    def stays(self, gram: Gram) -> bool:
        if gram in {("<s>",), ("</s>",), ("<unk>",)}:
            return True
        special = {"<s>", "</s>"}
        known = self.known is None or all(word in self.known | special for word in gram)
        return known and self.counts[gram] > self.thresholds[len(gram) - 1]

    def adjusted(self, gram: Gram) -> int:
        if gram == ("<s>",):
            return 0
        if len(gram) == self.order or gram[0] == "<s>":
            return self.counts[gram]
        return len(self.before[gram])

    def backoff(self, context: Gram) -> Fraction:
        """The share of the words after `context` that goes to the shorter context."""
        if context not in self.after:
            return Fraction(1)
        grams = [(*context, word) for word in self.after[context]]
        freed = [self.taken(gram) if self.stays(gram) else self.adjusted(gram) for gram in grams]
        return sum(freed, Fraction(0)) / sum(self.adjusted(gram) for gram in grams)

    def taken(self, gram: Gram) -> Fraction:
        return self.discounts[len(gram) - 1][min(self.adjusted(gram), 3) - 1]

    def _prob(self, context: Gram, word: str) -> Fraction:
        lower = self.prob(context[1:], word) if context else Fraction(1, len(self.vocabulary))
        prob = self.backoff(context) * lower
        gram = (*context, word)
        if gram in self.counts and self.stays(gram):
            total = sum(self.adjusted((*context, other)) for other in self.after[context])
            prob += (self.adjusted(gram) - self.taken(gram)) / total
        return prob

    def _discounts(self, length: int) -> tuple[Fraction, ...]:
        adjusted = Counter(self.adjusted(gram) for gram in self.counts if len(gram) == length)
        n1, n2, n3, n4 = (Fraction(adjusted[k]) for k in (1, 2, 3, 4))
        if not (n1 and n2 and n3):
            return FALLBACK
        y = n1 / (n1 + 2 * n2)
        found = (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
        return found if all(0 <= d <= k for k, d in enumerate(found, 1)) else FALLBACK
