"""Edits against an own recursion, jiwer, and hand-made cases."""

from functools import cache

import jiwer
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.scoring.alignment import Edit, EditCounts, align_units, count_edits

units = st.lists(st.sampled_from("abc"), max_size=10)


def distance(reference: list[str], hypothesis: list[str]) -> int:
    """Levenshtein by its definition."""

    @cache
    def of(i: int, j: int) -> int:
        if i == 0 or j == 0:
            return i + j
        differs = reference[i - 1] != hypothesis[j - 1]
        return min(of(i - 1, j) + 1, of(i, j - 1) + 1, of(i - 1, j - 1) + differs)

    return of(len(reference), len(hypothesis))


def aligned_as_documented(reference: list[str], hypothesis: list[str]) -> list[Edit]:
    """The tie-breaking rule of the module's docstring, in plain steps."""
    if reference and hypothesis and reference[0] == hypothesis[0]:
        first = Edit("correct", reference[0], reference[0])
        return [first, *aligned_as_documented(reference[1:], hypothesis[1:])]
    if reference and hypothesis and reference[-1] == hypothesis[-1]:
        last = Edit("correct", reference[-1], reference[-1])
        return [*aligned_as_documented(reference[:-1], hypothesis[:-1]), last]
    edits: list[Edit] = []
    while reference or hypothesis:
        here, shorter = distance(reference, hypothesis), distance(reference[:-1], hypothesis)
        if reference and here == shorter + 1:
            edits.append(Edit("deletion", reference.pop(), None))
        elif not reference or (
            distance(reference, hypothesis[:-1]) < distance(reference[:-1], hypothesis[:-1])
        ):
            edits.append(Edit("insertion", None, hypothesis.pop()))
        else:
            said, heard = reference.pop(), hypothesis.pop()
            edits.append(Edit("correct" if said == heard else "substitution", said, heard))
    return edits[::-1]


@settings(deadline=None)
@given(units, units)
def test_no_alignment_has_fewer_errors(reference: list[str], hypothesis: list[str]) -> None:
    assert count_edits(reference, hypothesis).errors == distance(reference, hypothesis)


@settings(deadline=None)
@given(units, units)
def test_ties_are_broken_as_documented(reference: list[str], hypothesis: list[str]) -> None:
    expected = aligned_as_documented(list(reference), list(hypothesis))
    assert list(align_units(reference, hypothesis)) == expected


@settings(deadline=None)
@given(st.lists(st.text()), st.lists(st.text()))
def test_an_alignment_holds_both_sides_and_its_counts(
    reference: list[str], hypothesis: list[str]
) -> None:
    edits = align_units(reference, hypothesis)
    assert [edit.reference for edit in edits if edit.kind != "insertion"] == reference
    assert [edit.hypothesis for edit in edits if edit.kind != "deletion"] == hypothesis
    assert all((edit.kind == "correct") == (edit.reference == edit.hypothesis) for edit in edits)
    counts = count_edits(reference, hypothesis)
    kinds = [edit.kind for edit in edits]
    assert counts == EditCounts(
        correct=kinds.count("correct"),
        substitutions=kinds.count("substitution"),
        deletions=kinds.count("deletion"),
        insertions=kinds.count("insertion"),
    )
    assert counts.reference_length == len(reference)


@pytest.mark.parametrize("length", [6, 40, 3000])
def test_agrees_with_jiwer(length: int) -> None:
    """Also in how ties are broken, and for texts so long that another algorithm is used."""
    generator = np.random.default_rng(length)
    for _ in range(3000 // length + 1):
        reference = generator.choice(list("abcdefgh"), size=length).tolist()
        hypothesis = generator.choice(
            list("abcdefgh"), size=generator.integers(1, 2 * length)
        ).tolist()
        counts = count_edits(reference, hypothesis)
        expected = jiwer.process_words(" ".join(reference), " ".join(hypothesis))
        assert counts == EditCounts(
            expected.hits, expected.substitutions, expected.deletions, expected.insertions
        )


@pytest.mark.parametrize(
    ("reference", "hypothesis", "counts"),
    [
        ("", "", EditCounts()),
        ("", "a b", EditCounts(insertions=2)),
        ("a b", "", EditCounts(deletions=2)),
        ("a b c", "a x c", EditCounts(correct=2, substitutions=1)),
        ("a b", "b a", EditCounts(correct=1, deletions=1, insertions=1)),
    ],
)
def test_small_cases(reference: str, hypothesis: str, counts: EditCounts) -> None:
    assert count_edits(reference.split(), hypothesis.split()) == counts


def test_characters_of_a_string_are_units() -> None:
    assert count_edits("a cat", "a bat") == EditCounts(correct=4, substitutions=1)
    assert count_edits("ab", "a b") == EditCounts(correct=2, insertions=1)


def test_counts_add_up() -> None:
    total = EditCounts(1, 2, 3, 4) + EditCounts(10, 20, 30, 40)
    assert total == EditCounts(11, 22, 33, 44)
    assert (total.errors, total.reference_length) == (99, 66)
