import numpy as np
import pytest
from numpy.typing import NDArray

from asr.data.labels import Labels, read_labels
from asr.objectives.character_exchange import exchange_characters
from asr.objectives.transcripts import spelling_of
from tests.objectives.sampling_reference import ALPHABETS, changes, character_errors, random_cases

NAMES = "- ABCDEORTW"
LETTERS = read_labels(list(NAMES))


def exchange(
    alignments: NDArray[np.int64], reference: str, labels: Labels = LETTERS
) -> tuple[NDArray[np.float64], list[float]]:
    spelling = spelling_of(labels)
    changed = np.zeros((alignments.shape[1], len(labels)))
    errors = np.empty(len(alignments))
    characters = spelling.reference_characters(reference)
    exchange_characters(alignments, labels.blank, spelling.labels, characters, changed, errors)
    return changed, errors.tolist()


@pytest.mark.parametrize("alphabet", ALPHABETS)
def test_equals_the_whole_transcripts_recomputed(alphabet: str) -> None:
    labels = ALPHABETS[alphabet]
    altered = 0
    for alignments, reference in random_cases(labels, 400, seed=1):
        found, errors = exchange(alignments, reference, labels)
        expected, own = changes(alignments, reference, labels, character_errors)
        np.testing.assert_array_equal(found, expected)
        assert errors == own
        altered += bool(expected.any())
    assert altered > 200  # the comparison is not one of zeros


def test_a_long_alignment_of_many_words() -> None:
    random = np.random.default_rng(0)
    alignments = random.choice(len(LETTERS), (1, 60))
    reference = "AB RT WORD A E CAB TOO"
    found, errors = exchange(alignments, reference)
    expected, own = changes(alignments, reference, LETTERS, character_errors)
    np.testing.assert_array_equal(found, expected)
    assert errors == own


@pytest.mark.parametrize(
    ("alignment", "reference", "errors", "frame", "label", "change"),
    [
        ("CAT-BAT", "CAT BAT", 1, 3, " ", -1),  # a space comes
        ("CA TE", "CATE", 1, 2, "-", -1),  # a space goes
        ("A-", "A", 0, 1, " ", 0),  # none at the end
        ("A -- B", "A B", 0, 3, " ", 0),  # two spaces are one
        ("A - B", "A B", 0, 1, "-", 0),  # one of two goes
        (" AB", "AB", 0, 0, "-", 0),  # none at the beginning
        ("A AB", "A AB", 0, 2, " ", 1),
        ("A B", "A", 2, 2, "-", -2),  # the space goes with the last word
        ("A B", "B", 2, 0, "-", -2),  # and with the first
        ("TO-O", "TOO", 0, 2, "O", 1),  # O-O becomes OOO, one letter
        ("TOOO", "TOO", 1, 2, "-", -1),
        ("W-TRD", "WORD", 1, 2, "O", -1),
        ("---", "A", 1, 1, "A", -1),
        ("---", "", 0, 1, "A", 1),
    ],
)
def test_one_exchange(
    alignment: str, reference: str, errors: int, frame: int, label: str, change: int
) -> None:
    found, own = exchange(np.array([[NAMES.index(k) for k in alignment]]), reference)
    assert own == [errors]
    assert found[frame, NAMES.index(label)] == change


def test_a_label_in_place_of_itself_changes_nothing() -> None:
    own = np.array([NAMES.index(label) for label in "--A BB-BE ORRR-- T"])
    found, _ = exchange(own[None], "A BE WORD")
    np.testing.assert_array_equal(found[np.arange(len(own)), own], 0)
    assert found.any()
