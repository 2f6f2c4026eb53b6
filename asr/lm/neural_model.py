"""A neural language model as a search, a measurement or a sampler sees it.

`NeuralModel` never changes, and threads may share it. Whoever follows sentences through it opens
`NeuralHistories` of their own: there a history is an integer, as in every `LanguageModel`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from asr.data.tokenizer import Tokenizer
from asr.data.vocabulary import UNKNOWN_SYMBOL
from asr.lm.neural import BOUNDARY, NeuralNetwork
from asr.lm.neural_histories import NeuralHistories
from asr.lm.neural_scoring import Advance, score_sentences
from asr.lm.tokens import END, SPACE, SPECIAL, UNKNOWN

# Where the tokens know no unknown symbol, each costs so much wherever it stands: one in a million.
# The network never saw one, so that it has no opinion; known tokens keep their probabilities.
UNKNOWN_LOG_PROB = float(np.log(1e-6))


@dataclass(frozen=True, eq=False)
class NeuralModel:
    """A trained network and its tokens, which are the words of this language model.

    Attributes:
        network: in evaluation mode.
        tokenizer: of its tokens.
        source: the folder that it was read from.
        digest: a SHA-256 of all that is in the folder.
        recipe: what it was trained with.
        facts: about the training, such as `dev` and `test` scores.
        order: none: a word depends on the whole sentence before it.
        bos: the boundary of sentences, which is also `eos`.
        eos: word 0, the end of a sentence.
    """

    network: NeuralNetwork
    tokenizer: Tokenizer
    source: Path
    digest: str = ""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)

    order: ClassVar[None] = None
    bos: ClassVar[int] = BOUNDARY
    eos: ClassVar[int] = BOUNDARY

    @cached_property
    def words(self) -> tuple[str, ...]:
        """What each word id stands for: `</s>`, then the tokens with `<space>` for a space.

        `<unk>` is the tokenizer's unknown symbol; where it has none, one more word at the end.
        """
        names = {" ": SPACE, UNKNOWN_SYMBOL: SPECIAL[UNKNOWN]}
        tokens = (names.get(symbol, symbol) for symbol in self.tokenizer.symbols[1:])
        more = () if UNKNOWN_SYMBOL in self.tokenizer.symbols else (SPECIAL[UNKNOWN],)
        return (SPECIAL[END], *tokens, *more)

    @cached_property
    def ids(self) -> Mapping[str, int]:
        """The id of each word."""
        return {word: index for index, word in enumerate(self.words)}

    @cached_property
    def unk(self) -> int:
        """The id of `<unk>`, which stands for every symbol that the tokens lack."""
        return self.ids[SPECIAL[UNKNOWN]]

    def __contains__(self, word: str) -> bool:
        """Whether `word` is one of the tokens, `<unk>` or `</s>`."""
        return word in self.ids

    def word_ids(self, words: Sequence[str]) -> NDArray[np.int32]:
        """The ids (n,) of words; `unk` for the unknown."""
        ids, unk = self.ids, self.unk
        return np.array([ids.get(word, unk) for word in words], dtype=np.int32)

    def sha256(self) -> str:
        """The SHA-256 of the folder's manifest, which has those of all its files."""
        return self.digest

    def open(self) -> NeuralHistories:
        """Histories to follow, for one user in one thread at a time."""
        return NeuralHistories(self.network, self.words, self.ids, unknown=UNKNOWN_LOG_PROB)

    def split(self, text: str) -> list[str]:
        """The words of a text: its tokens by name, `<unk>` for symbols that they lack."""
        words = self.words
        return [words[token] for token in self.tokenizer.encode_any(text, self.unk)]

    def score_texts(self, texts: Sequence[str]) -> list[float]:
        """The natural log-probability of each text with its end; an empty text has only an end."""
        return self.score_tokens([self.tokenizer.encode_any(text, self.unk) for text in texts])

    def score_sentence(self, words: Sequence[str]) -> list[float]:
        """The natural log-probability of each word of a sentence, and of its end."""
        histories = self.open()
        state, scores = histories.start(), []
        for word in [*self.word_ids(words).tolist(), self.eos]:
            (log_prob,), (state,) = histories.score([state], [word])
            histories.keep([state])
            scores.append(float(log_prob))
        return scores

    def score_tokens(
        self, sentences: Sequence[Sequence[int]], advance: Advance | None = None
    ) -> list[float]:
        """As `score_texts`, of word ids; `advance` as for `asr.lm.neural_scoring`."""
        size = self.network.vocabulary_size
        known = [[token for token in tokens if token < size] for tokens in sentences]
        return [
            score + UNKNOWN_LOG_PROB * (len(tokens) - len(kept))
            for score, tokens, kept in zip(
                score_sentences(self.network, known, advance), sentences, known, strict=True
            )
        ]
