import numpy as np
import pytest

from asr.data.labels import read_labels
from asr.objectives.transcript_exchange import exchange_transcripts
from tests.objectives.sampling_reference import (
    ALPHABETS,
    COMPOSING,
    changes,
    early_errors,
    losses_with_each_label,
    random_cases,
    transcript,
    word_errors,
)


@pytest.mark.parametrize("alphabet", ALPHABETS)
def test_equals_the_whole_transcripts_recomputed(alphabet: str) -> None:
    labels = ALPHABETS[alphabet]
    for alignments, reference in random_cases(labels, 400, seed=2):
        found = np.zeros((alignments.shape[1], len(labels)))
        losses = np.empty(len(alignments))
        exchange_transcripts(alignments, reference, labels, early_errors, found, losses)
        expected, own = changes(alignments, reference, labels, early_errors)
        np.testing.assert_array_equal(found, expected)
        assert losses.tolist() == own


@pytest.mark.parametrize("alphabet", COMPOSING)
def test_labels_that_depend_on_their_neighbours(alphabet: str) -> None:
    labels = COMPOSING[alphabet]
    for alignments, reference in random_cases(labels, 50, seed=3):
        found = np.zeros((alignments.shape[1], len(labels)))
        losses = np.empty(len(alignments))
        exchange_transcripts(alignments, reference, labels, word_errors, found, losses)
        expected, own = changes(alignments, reference, labels, word_errors)
        np.testing.assert_array_equal(found, expected)
        assert losses.tolist() == own


def test_a_function_is_asked_once_for_each_transcript() -> None:
    labels = read_labels(["-", "a", " ", "b"])
    alignments = np.array([[1, 0, 3, 2, 1], [0, 0, 3, 2, 1]])
    asked: list[str] = []

    def loss(hypothesis: str, reference: str) -> float:
        assert reference == "b a"
        asked.append(hypothesis)
        return float(len(hypothesis))

    exchange_transcripts(alignments, "b a", labels, loss, np.zeros((5, 4)), np.empty(2))
    spelled: set[str] = set()

    def note(hypothesis: str, _reference: str) -> float:
        spelled.add(hypothesis)
        return 0.0

    for alignment in alignments.tolist():
        losses_with_each_label(alignment, "b a", labels, note)
    assert len(asked) == len(set(asked))
    assert set(asked) == spelled


def test_a_loss_of_a_changed_transcript_must_be_finite() -> None:
    """Else the value is finite and the gradient is not."""

    def loss(hypothesis: str, _reference: str) -> float:
        return float("nan") if hypothesis == "b" else 1.0

    labels, found = read_labels(["-", "a", "b"]), np.zeros((1, 3))
    with pytest.raises(ValueError, match="loss must be finite, got nan for 'b', 'a'"):
        exchange_transcripts(np.array([[1]]), "a", labels, loss, found, np.empty(1))


def test_labels_that_are_not_wanted_are_not_asked_about() -> None:
    labels = read_labels(["-", "a", " ", "b"])
    alignments = np.array([[1, 0, 3, 2, 1], [1, 0, 0, 0, 1]])
    wanted = np.random.default_rng(0).random((5, 4)) < 0.4
    found = np.zeros((5, 4))
    asked: set[str] = set()

    def loss(hypothesis: str, reference: str) -> float:
        asked.add(hypothesis)
        return early_errors(hypothesis, reference)

    exchange_transcripts(alignments, "b a", labels, loss, found, np.empty(2), wanted)
    expected, _ = changes(alignments, "b a", labels, early_errors)
    np.testing.assert_array_equal(found, expected * wanted)
    own = {transcript(alignment, labels) for alignment in alignments.tolist()}
    changed = [
        transcript([*alignment[:t], k, *alignment[t + 1 :]], labels)
        for alignment in alignments.tolist()
        for t, k in np.argwhere(wanted).tolist()
    ]
    assert asked == own | set(changed)
