import numpy as np
import pytest
from numpy.typing import NDArray

from asr.data.labels import Labels, read_labels
from asr.objectives.transcripts import spelling_of
from asr.objectives.word_exchange import exchange_words
from tests.objectives.sampling_reference import ALPHABETS, changes, random_cases, word_errors

NAMES = "- ABCDEORTW"
LETTERS = read_labels(list(NAMES))


def exchange(
    alignments: NDArray[np.int64], reference: str, labels: Labels = LETTERS
) -> tuple[NDArray[np.float64], list[float]]:
    spelling = spelling_of(labels)
    changed = np.zeros((alignments.shape[1], len(labels)))
    errors = np.empty(len(alignments))
    words = spelling.reference_words(reference)
    exchange_words(alignments, labels.blank, spelling.labels, words, changed, errors)
    return changed, errors.tolist()


def one(alignment: str, reference: str) -> tuple[NDArray[np.float64], float]:
    """Of an alignment written as a text, with - for the blank."""
    changed, errors = exchange(np.array([[NAMES.index(label) for label in alignment]]), reference)
    return changed, errors[0]


@pytest.mark.parametrize("alphabet", ALPHABETS)
def test_equals_the_whole_transcripts_recomputed(alphabet: str) -> None:
    labels = ALPHABETS[alphabet]
    altered = 0
    for alignments, reference in random_cases(labels, 400):
        found, errors = exchange(alignments, reference, labels)
        expected, own = changes(alignments, reference, labels, word_errors)
        np.testing.assert_array_equal(found, expected)
        assert errors == own
        altered += bool(expected.any())
    assert altered > 200  # the comparison is not one of zeros


def test_a_long_alignment_of_many_words() -> None:
    random = np.random.default_rng(0)
    alignments = random.choice(len(LETTERS), (1, 60))
    reference = "AB RT WORD A E CAB TOO"
    found, errors = exchange(alignments, reference)
    expected, own = changes(alignments, reference, LETTERS, word_errors)
    np.testing.assert_array_equal(found, expected)
    assert errors == own


@pytest.mark.parametrize(
    ("alignment", "reference", "errors", "frame", "label", "change"),
    [
        ("CAT-BAT", "CAT BAT", 2, 3, " ", -2),  # a space comes: one word becomes two
        ("CA TOO", "CATOO", 2, 2, "-", -1),  # a space goes: two become one, which is CATO
        ("CA TE", "CATE", 2, 2, "-", -2),
        ("CA TE", "CATE", 2, 2, "A", -2),  # as the label before: the space goes as well
        ("CA TE", "CATE", 2, 2, "B", -1),
        ("W-TRD", "WORD", 1, 2, "O", -1),
        ("WORD", "WORD", 0, 0, " ", 1),  # the first frame
        ("WORD", "WORD", 0, 3, "-", 1),  # the last
        ("TO-O", "TOO", 0, 2, "O", 1),  # O-O becomes OOO, one letter
        ("TOOO", "TOO", 1, 2, "-", -1),
        ("-A-", "A", 0, 2, " ", 0),  # a space at the end is nothing
        (" A", "A", 0, 0, "-", 0),
        ("---", "A", 1, 1, "A", -1),
        ("---", "", 0, 1, "A", 1),
    ],
)
def test_one_exchange(
    alignment: str, reference: str, errors: int, frame: int, label: str, change: int
) -> None:
    found, own = one(alignment, reference)
    assert own == errors
    assert found[frame, NAMES.index(label)] == change


def test_a_label_in_place_of_itself_changes_nothing() -> None:
    alignment = "--A BB-BE ORRR-- T"
    found, _ = one(alignment, "A BE WORD")
    own = [NAMES.index(label) for label in alignment]
    np.testing.assert_array_equal(found[np.arange(len(own)), own], 0)
    assert found.any()


def test_samples_add_up_to_what_is_there() -> None:
    alignments = np.array([[2, 0, 3], [2, 1, 3]])
    both, errors = exchange(alignments, "A")
    (first, one_error), (second, two_errors) = (exchange(a[None], "A") for a in alignments)
    np.testing.assert_array_equal(both, first + second)
    assert errors == one_error + two_errors
    spelling = spelling_of(LETTERS)
    words = spelling.reference_words("A")
    changed = np.full(both.shape, 0.5)
    exchange_words(alignments, 0, spelling.labels, words, changed, np.empty(2))
    np.testing.assert_array_equal(changed, both + 0.5)
