"""Which words are equal when errors are counted: some are scored as others, some not at all.

Spellings of one word ("ok" and "okay"), marks of hesitation, or the 61 phones that TIMIT writes and
the 39 that are told apart: a table says what each word is scored as, in references and hypotheses
alike. It is applied once, word by word, before errors are counted (what NIST's sclite does with a
`.glm` file). A text may then have a word twice in a row that was two words before, such as two
silences; whether such repeats are one or two is a second choice, and both rates are reported.
"""

import hashlib
import json
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from asr.config import Config
from asr.data.text import normalize_text, words

Unit = Literal["word", "phone"]

DIGITS = 8  # of the SHA-256 of a table, in a signature


class ScoringConfig(Config):
    """The section `[scoring]` of a recipe of a recogniser: which words are equal when scored."""

    # Word: the word that it is scored as, in references and hypotheses; "": it is not counted.
    replace: dict[str, str] = Field(default={})
    # Words (as they are scored) whose repeats side by side may count once: both rates are reported.
    merge: list[str] = Field(default=[])

    def is_empty(self) -> bool:
        """Whether every word is scored as it is."""
        return not (self.replace or self.merge)

    @field_validator("replace")
    @classmethod
    def _is_applied_once(cls, replace: dict[str, str]) -> dict[str, str]:
        for word, other in replace.items():
            if not _is_word(word) or not (_is_word(other) or other == ""):
                raise ValueError(f"words without white space, not {word!r} = {other!r}")
            if replace.get(other, other) != other:
                raise ValueError(
                    f"a table that is applied once ({word!r} = {other!r}, but {other!r} is "
                    f"replaced itself; write {word!r} = {replace[other]!r})"
                )
        return replace

    @field_validator("merge")
    @classmethod
    def _can_occur(cls, merge: list[str], info: ValidationInfo) -> list[str]:
        replace = info.data.get("replace", {})
        for word in merge:
            if not _is_word(word):
                raise ValueError(f"words without white space, not {word!r}")
            if replace.get(word, word) != word:
                raise ValueError(f"words as they are scored; {word!r} is replaced before")
        return merge


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """How two texts are compared.

    Attributes:
        unit: what stands between white space: a word, or a phone, whose letters mean nothing.
        replace: word → the word that it is scored as; "": it is not counted.
        merge: words, as they are scored, whose repeats side by side may count once.
    """

    unit: Unit = "word"
    replace: Mapping[str, str] = field(default_factory=dict)
    merge: Set[str] = frozenset()

    @property
    def metric(self) -> str:
        """The rate that is monitored: "wer" or "per"."""
        return "per" if self.unit == "phone" else "wer"

    def replaced(self, text: str) -> str:
        """A normalised text with every word as it is scored."""
        if not self.replace:
            return text
        scored = (self.replace.get(word, word) for word in words(text))
        return " ".join(word for word in scored if word)

    def merged(self, text: str) -> str:
        """A text of `replaced` with the words of `merge` once where they stand side by side."""
        kept: list[str] = []
        for word in words(text):
            if not (word in self.merge and kept and kept[-1] == word):
                kept.append(word)
        return " ".join(kept)

    def signature(self, *, merged: bool = False) -> str:
        """What it does to texts, such as "replaced:1f0c4d2a|merged:sil"; empty for nothing.

        Tables that differ have other digits.
        """
        parts = []
        changes = sorted((word, to) for word, to in self.replace.items() if word != to)
        if changes:
            digest = hashlib.sha256(json.dumps(changes).encode()).hexdigest()
            parts.append(f"replaced:{digest[:DIGITS]}")
        if merged:
            parts.append(f"merged:{','.join(sorted(self.merge))}")
        return "|".join(parts)


PLAIN = Scoring()


def _is_word(text: str) -> bool:
    return words(normalize_text(text)) == [text]
