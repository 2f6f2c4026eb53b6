"""Histories give what one forward pass gives, whatever is kept and in whatever order."""

import math

import numpy as np
import pytest
import torch

from asr.devices import choose_device
from asr.lm.neural_model import UNKNOWN_LOG_PROB, NeuralModel
from tests.lm.made_neural import CELLS, characters, made_neural


def rows_of(model: NeuralModel, tokens: list[int]) -> np.ndarray:
    """(V,) log-probabilities after tokens, by one pass over all of them."""
    known = torch.tensor([[t for t in tokens if t < model.network.vocabulary_size]])
    known = known.reshape(1, -1).long()
    return model.network(known, torch.tensor([known.shape[1]]))[0, -1].numpy()


def assert_row(model: NeuralModel, row: np.ndarray, tokens: list[int]) -> None:
    expected = rows_of(model, tokens)
    np.testing.assert_allclose(row[: len(expected)], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("seed", range(2))
def test_random_walks_of_a_search(cell: str, seed: int) -> None:
    """Hypotheses are extended, dropped and doubled as a beam does; each keeps its own past."""
    model = made_neural(cell=cell)
    histories, random = model.open(), np.random.default_rng(seed)
    states, pasts = np.array([histories.start()]), [[]]
    for _ in range(12):
        parents = random.integers(len(pasts), size=random.integers(1, 150))
        words = random.integers(1, len(model.words), size=len(parents))
        log_probs, after = histories.score(states[parents], words)
        for k in (0, len(parents) - 1):
            expected = rows_of(model, pasts[parents[k]])
            if words[k] < len(expected):
                assert log_probs[k] == pytest.approx(expected[words[k]], rel=1e-4)
        chosen = random.permutation(len(parents))[:20]
        states, pasts = after[chosen], [[*pasts[parents[k]], int(words[k])] for k in chosen]
        histories.keep(states)
        for state, past in list(zip(states, pasts, strict=True))[:5]:
            assert_row(model, histories.log_probs([state])[0], past)


def test_kept_states_keep_their_integers_and_rows_are_used_again() -> None:
    model = made_neural()
    histories = model.open()
    start = histories.start()
    first = histories.advance([start] * 3, [1, 2, 3])
    before = histories.log_probs(first)
    histories.keep(first[1:2])
    for _ in range(1000):
        more = histories.advance(np.full(40, first[1]), np.tile([1, 2, 3, 1], 10))
        histories.keep([*more[:1], first[1]])
    np.testing.assert_array_equal(histories.log_probs(first[1:2]), before[1:2])
    assert len(histories._used) <= 65  # the bound on memory
    assert_row(model, histories.log_probs([start])[0], [])


def test_equal_pairs_share_a_state() -> None:
    histories = made_neural().open()
    after = histories.advance([0, 0, 0, 0], [2, 1, 2, 2])
    assert after[0] == after[2] == after[3] != after[1]
    assert after.dtype == np.int32


def test_the_end_leads_to_the_start() -> None:
    histories = made_neural().open()
    [state] = histories.advance([0], [1])
    assert histories.advance([state, 0], [histories.eos, histories.eos]).tolist() == [0, 0]


def test_all_words_at_once_are_what_is_scored_one_by_one() -> None:
    model = made_neural()
    histories = model.open()
    states = histories.advance([0, 0], [1, 3])
    rows = histories.log_probs(states)
    assert rows.shape == (2, len(model.words))
    assert rows.dtype == np.float32
    words = np.arange(len(model.words))
    for state, row in zip(states, rows, strict=True):
        scores, _ = histories.score(np.full(len(words), state), words)
        assert scores.dtype == np.float64
        np.testing.assert_array_equal(scores.astype(np.float32), row)
    np.testing.assert_allclose(np.exp(rows[:, :-1]).sum(1), 1, rtol=1e-5)


def test_an_unknown_symbol_costs_the_floor_and_leaves_the_history() -> None:
    model = made_neural()
    histories = model.open()
    [state] = histories.advance([0], [2])
    assert model.words[model.unk] == "<unk>"
    (log_prob,), (after,) = histories.score([state], [model.unk])
    assert log_prob == pytest.approx(UNKNOWN_LOG_PROB) == pytest.approx(math.log(1e-6))
    assert after == state


def test_a_tokenizer_with_an_unknown_symbol_has_the_network_ask() -> None:
    model = made_neural(characters(unknown="replace"))
    assert model.unk == 1
    assert len(model.words) == model.network.vocabulary_size
    histories = model.open()
    (log_prob,), (after,) = histories.score([0], [1])
    assert log_prob == pytest.approx(rows_of(model, [])[1], rel=1e-5)
    assert_row(model, histories.log_probs([after])[0], [1])


def test_histories_do_not_know_of_each_other() -> None:
    model = made_neural()
    one, other = model.open(), model.open()
    one.advance([0, 0], [1, 2])
    [state] = other.advance([0], [3])
    assert_row(model, other.log_probs([state])[0], [3])


def test_no_gradients_are_kept() -> None:
    histories = made_neural().open()
    histories.advance([0], [1])
    assert not histories._states.requires_grad


def test_no_hypothesis() -> None:
    histories = made_neural().open()
    scores, states = histories.score([], [])
    assert scores.shape == states.shape == (0,)
    assert histories.log_probs([]).shape == (0, len(histories.words))
    histories.keep([])
    assert histories.start() == 0


@pytest.mark.parametrize(
    ("states", "words", "message"),
    [
        ([0, 0], [1], r"states and words must be \(K,\), got \(2,\) and \(1,\)"),
        ([[0]], [[1]], r"states must be \(K,\), got \(1, 1\)"),
        ([7], [1], "state 7 was never given"),
        ([-1], [1], "state -1 was never given"),
        ([10**6], [1], "state 1000000 was never given"),
        ([0], [5], "word 5 is outside the model of 5 words"),
        ([0], [-1], "word -1 is outside"),
    ],
)
def test_what_was_never_given_is_refused(states, words, message) -> None:
    histories = made_neural().open()
    with pytest.raises(ValueError, match=message):
        histories.score(states, words)
    with pytest.raises(ValueError, match=message):
        histories.advance(states, words)


def test_a_forgotten_state_is_refused() -> None:
    histories = made_neural().open()
    first, second = histories.advance([0, 0], [1, 2])
    histories.keep([first])
    for use in (histories.log_probs, histories.keep):
        with pytest.raises(ValueError, match=f"state {second} was never given, or is forgotten"):
            use([second])
    histories.keep([first])


@pytest.mark.gpu
@pytest.mark.parametrize("cell", CELLS)
def test_on_a_gpu(cell: str) -> None:
    model = made_neural(cell=cell)
    words = [1, 3, 2, 2]
    expected = model.open()
    before = expected.score(expected.advance([0] * 4, words), words[::-1])[0]
    model.network.to(choose_device("cuda"))
    histories = model.open()
    found, states = histories.score(histories.advance([0] * 4, words), words[::-1])
    np.testing.assert_allclose(found, before, rtol=1e-4)
    histories.keep(states[:2])
    assert model.score_texts(["AB", ""]) == pytest.approx(
        made_neural(cell=cell).score_texts(["AB", ""]), rel=1e-4
    )
