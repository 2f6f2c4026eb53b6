"""Which words became which: the fewest substitutions, deletions and insertions.

The number of errors is the Levenshtein distance with unit costs and does not depend on how ties are
broken; how it divides into substitutions, deletions and insertions does. Ties are broken the same
way every time (rapidfuzz's, thus jiwer's): equal units at both ends are matched first; in what
remains, from its end backwards, a deletion wins where it is optimal, else an insertion where one
unit less of the hypothesis has fewer errors than one less of both, else the pair. (Texts of
thousands of units are cut into parts first and may divide their errors otherwise.)
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rapidfuzz.distance import Levenshtein

EditKind = Literal["correct", "substitution", "deletion", "insertion"]


@dataclass(frozen=True, slots=True)
class Edit:
    """One step of an alignment: a deletion has no `hypothesis`, an insertion no `reference`."""

    kind: EditKind
    reference: str | None
    hypothesis: str | None


@dataclass(frozen=True, slots=True)
class EditCounts:
    """How many units of each kind."""

    correct: int = 0
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0

    @property
    def errors(self) -> int:
        """Substitutions, deletions and insertions."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def reference_length(self) -> int:
        """Units of the reference."""
        return self.correct + self.substitutions + self.deletions

    def __add__(self, other: "EditCounts") -> "EditCounts":
        return EditCounts(
            self.correct + other.correct,
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
        )


def count_edits(reference: Sequence[str], hypothesis: Sequence[str]) -> EditCounts:
    """The counts of `align_units`, without the alignment.

    Args:
        reference: words, or characters (a string is a sequence of them).
        hypothesis: the same units.
    """
    kinds = Counter(kind for kind, _, _ in _edit_operations(reference, hypothesis))
    substitutions, deletions = kinds["replace"], kinds["delete"]
    correct = len(reference) - substitutions - deletions
    return EditCounts(correct, substitutions, deletions, kinds["insert"])


def align_units(reference: Sequence[str], hypothesis: Sequence[str]) -> tuple[Edit, ...]:
    """Every unit of both, in order, as the fewest edits; arguments as for `count_edits`."""
    edits: list[Edit] = []
    matched = 0  # units of the reference that are done with
    for kind, start, position in _edit_operations(reference, hypothesis):
        edits += [Edit("correct", unit, unit) for unit in reference[matched:start]]
        matched = start if kind == "insert" else start + 1
        if kind == "insert":
            edits.append(Edit("insertion", None, hypothesis[position]))
        elif kind == "delete":
            edits.append(Edit("deletion", reference[start], None))
        else:
            edits.append(Edit("substitution", reference[start], hypothesis[position]))
    edits += [Edit("correct", unit, unit) for unit in reference[matched:]]
    return tuple(edits)


def _edit_operations(
    reference: Sequence[str], hypothesis: Sequence[str]
) -> list[tuple[str, int, int]]:
    """(kind, position in the reference, position in the hypothesis) of each error, in order."""
    numbers: dict[str, int] = {}  # exact: rapidfuzz would compare 64-bit hashes of words
    operations = Levenshtein.editops(
        [numbers.setdefault(unit, len(numbers)) for unit in reference],
        [numbers.setdefault(unit, len(numbers)) for unit in hypothesis],
    )
    return [(operation.tag, operation.src_pos, operation.dest_pos) for operation in operations]
