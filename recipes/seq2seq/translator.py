"""Models with their vocabularies: texts in, texts and log-probabilities out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .data import UNKNOWN, Vocabulary, pad
from .model import SequenceToSequence
from .search import Hypothesis, beam_search, score_pairs

ROWS_AT_ONCE = 2048  # hypotheses of all sentences that are searched together
TOKENS_AT_ONCE = 8192  # of targets that are scored together, padding included
LONGEST_RATIO, LONGEST_MORE = 3, 10  # most tokens of a target: 3 S + 10

Words = Sequence[str]


@dataclass(frozen=True, eq=False)
class Translator:
    """One model, or several that predict as one.

    Attributes:
        models: with the same tokens, in evaluation mode.
        source_vocabulary: of the sources.
        target_vocabulary: of the targets.
        beam_size: of the search.
    """

    models: Sequence[SequenceToSequence]
    source_vocabulary: Vocabulary
    target_vocabulary: Vocabulary
    beam_size: int

    def translate(self, sources: Sequence[Words]) -> Iterator[tuple[int, list[Hypothesis]]]:
        """The number of each source with its hypotheses, the best first, the short sources first.

        Words that are not in the vocabulary are read as the unknown one.
        """
        lines = [self.source_vocabulary.encode(source) for source in sources]
        order = np.argsort([len(line) for line in lines], kind="stable").tolist()
        at_once = max(1, ROWS_AT_ONCE // self.beam_size)
        for begin in range(0, len(order), at_once):
            part = order[begin : begin + at_once]
            source, lengths = self._padded([lines[index] for index in part])
            limits = LONGEST_RATIO * lengths + LONGEST_MORE
            yield from zip(
                part,
                beam_search(self.models, source, lengths, beam_size=self.beam_size, limits=limits),
                strict=True,
            )

    def words(self, hypothesis: Hypothesis) -> list[str]:
        """What a hypothesis says."""
        return self.target_vocabulary.decode(hypothesis.tokens)

    def log_probs(
        self, sources: Sequence[Words], targets: Sequence[Words]
    ) -> Iterator[tuple[int, float]]:
        """The number of each pair with ln p(target | source), the end included; any order."""
        lines = [
            (self.source_vocabulary.encode(source), self.target_vocabulary.encode(target))
            for source, target in zip(sources, targets, strict=True)
        ]
        order = sorted(range(len(lines)), key=lambda index: len(lines[index][1]))
        while order:
            longest = len(lines[order[-1]][1]) + 1
            part = order[-max(1, TOKENS_AT_ONCE // longest) :]
            del order[-len(part) :]
            source = self._padded([lines[index][0] for index in part])
            target = self._padded([lines[index][1] for index in part])
            yield from zip(part, score_pairs(self.models, *source, *target).tolist(), strict=True)

    @torch.no_grad()
    def vectors(self, sources: Sequence[Words]) -> Tensor:
        """(N, L * 2 * H) sentence vectors of the first model, on the CPU."""
        lines = [self.source_vocabulary.encode(source) for source in sources]
        return self.models[0].encode(*self._padded(lines)).flatten(1).float().cpu()

    def unknown(self, source: Words, target: Words = ()) -> list[str]:
        """The words of a source and a target that are not in the vocabularies."""
        sides = ((source, self.source_vocabulary), (target, self.target_vocabulary))
        return [
            word
            for words, vocabulary in sides
            for word, number in zip(words, vocabulary.encode(words), strict=True)
            if number == UNKNOWN
        ]

    def _padded(self, lines: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        device = next(self.models[0].parameters()).device
        tokens, lengths = pad(lines)
        return tokens.to(device), lengths.to(device)
