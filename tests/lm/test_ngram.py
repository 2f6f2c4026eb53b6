"""The automaton against the textbook's recursion over dictionaries, and against KenLM."""

import itertools
import math
from pathlib import Path

import kenlm
import numpy as np
import pytest
import torch
from numba import njit

from asr.lm.arpa import read_arpa
from asr.lm.ngram import NgramModel, score_word
from tests.lm.plain_ngram import Gram, PlainModel, random_model, random_sentence

LN10 = math.log(10)
# Order, words, share of n-grams that are missing though they are the ending of longer ones.
SHAPES = [
    (1, 5, 0.0),
    (2, 5, 0.0),
    (3, 4, 0.0),
    (3, 4, 0.5),
    (4, 2, 0.0),
    (4, 2, 0.5),
    (5, 2, 0.0),
    (5, 2, 0.5),
    (6, 2, 0.0),
    (6, 2, 0.05),
    (6, 2, 0.5),
]
# It reads no order 1, and not the last, where too many endings are missing for its table.
KENLM_SHAPES = SHAPES[1:-1]


def made(
    tmp_path: Path, order: int, num_words: int, pruned: float
) -> tuple[PlainModel, NgramModel]:
    plain = random_model(order, order, num_words=num_words, pruned=pruned)
    return plain, read_arpa(plain.write(tmp_path / "model.arpa"))


def state_after(model: NgramModel, words: Gram) -> int:
    """From the empty context, or from the beginning of a sentence if the first word is `<s>`."""
    begins = words[:1] == ("<s>",)
    state = np.array([model.start() if begins else 0])
    for word in model.word_ids(words[int(begins) :]):
        _, state = model.score(state, [word])
    return int(state[0])


def histories(plain: PlainModel, length: int) -> list[Gram]:
    """All sequences of up to `length` words, `<s>` only in front."""
    words = [word for word in plain.words() if word != "<s>"]
    found: list[Gram] = []
    for size in range(length + 1):
        found += itertools.product(words, repeat=size)
        found += [("<s>", *rest) for rest in itertools.product(words, repeat=max(0, size - 1))]
    return found


@pytest.mark.parametrize(("order", "num_words", "pruned"), SHAPES)
def test_every_word_after_every_history(
    tmp_path: Path, order: int, num_words: int, pruned: float
) -> None:
    plain, model = made(tmp_path, order, num_words, pruned)
    every = model.word_ids(plain.words())
    sample = histories(plain, min(order, 3))
    random = np.random.default_rng(0)
    for history in [sample[i] for i in random.permutation(len(sample))[:150]]:
        state = state_after(model, history)
        log_probs, _ = model.score([state] * len(every), every)
        expected = [plain.log10_prob(history, word) * LN10 for word in plain.words()]
        np.testing.assert_allclose(log_probs, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("order", "num_words", "pruned"), SHAPES)
def test_random_sentences(tmp_path: Path, order: int, num_words: int, pruned: float) -> None:
    plain, model = made(tmp_path, order, num_words, pruned)
    random = np.random.default_rng(1)
    for bos, eos in itertools.product([True, False], repeat=2):
        for length in [0, 1, 2, 7, 30]:
            words = random_sentence(random, plain, length)
            expected = [value * LN10 for value in plain.sentence(words, bos=bos, eos=eos)]
            found = model.score_sentence(words, bos=bos, eos=eos)
            assert found == pytest.approx(expected, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(("order", "num_words", "pruned"), KENLM_SHAPES)
def test_kenlm_gives_the_same_for_every_ngram(
    tmp_path: Path, order: int, num_words: int, pruned: float
) -> None:
    plain, model = made(tmp_path, order, num_words, pruned)
    reference = kenlm.Model(str(model.source))
    for gram in plain.grams:
        if gram == ("<s>",):
            continue
        before, after = kenlm.State(), kenlm.State()
        begins = gram[0] == "<s>"
        (reference.BeginSentenceWrite if begins else reference.NullContextWrite)(before)
        for word in gram[int(begins) :]:
            expected = reference.BaseScore(before, word, after)
            before, after = after, before
        (log_prob,), _ = model.score([state_after(model, gram[:-1])], model.word_ids(gram[-1:]))
        assert log_prob / LN10 == pytest.approx(expected, abs=1e-5)
        assert log_prob / LN10 == pytest.approx(plain.grams[gram][0], abs=1e-5)


@pytest.mark.parametrize(("order", "num_words", "pruned"), KENLM_SHAPES)
def test_kenlm_gives_the_same_for_sentences(
    tmp_path: Path, order: int, num_words: int, pruned: float
) -> None:
    plain, model = made(tmp_path, order, num_words, pruned)
    reference = kenlm.Model(str(model.source))
    random = np.random.default_rng(2)
    for bos, eos in itertools.product([True, False], repeat=2):
        for _ in range(20):
            words = random_sentence(random, plain, 12)
            theirs = reference.full_scores(" ".join(words), bos=bos, eos=eos)
            found = np.array(model.score_sentence(words, bos=bos, eos=eos)) / LN10
            np.testing.assert_allclose(found, [score for score, _, _ in theirs], atol=1e-5)


def test_an_unknown_word_is_a_context_too(tmp_path: Path) -> None:
    grams = {("<unk>",): (-2.0, -0.5), ("<s>",): (-99.0, 0.0), ("</s>",): (-1.0, 0.0)}
    plain = PlainModel({**grams, ("a",): (-1.5, 0.0), ("<unk>", "a"): (-0.25, 0.0)}, 2)
    model = read_arpa(plain.write(tmp_path / "a.arpa"))
    found = model.score_sentence(["xyz", "a", "xyz", "xyz"])
    assert found == pytest.approx([n * LN10 for n in (-2, -0.25, -2, -2.5, -1.5)], rel=1e-6)
    assert "a" in model
    assert "xyz" not in model


def test_words_without_a_future_of_their_own_lead_to_one_state(tmp_path: Path) -> None:
    grams: dict[Gram, tuple[float, float]] = {
        ("<unk>",): (-2.0, 0.0),
        ("<s>",): (-99.0, 0.0),
        ("</s>",): (-1.0, 0.0),
        ("a",): (-1.0, -0.5),  # has an arc and a weight
        ("b",): (-1.0, 0.0),  # has neither
        ("c",): (-1.0, -0.5),  # has a weight
        ("a", "b"): (-1.0, 0.0),
        ("a", "c"): (-1.0, -0.5),
        ("a", "a"): (-1.0, 0.0),
        ("a", "c", "b"): (-1.0, 0.0),
    }
    model = read_arpa(PlainModel(grams, 3).write(tmp_path / "a.arpa"))
    state = {gram: state_after(model, gram) for gram in grams}
    assert state[("b",)] == state[("a", "b")] == state[("<unk>",)] == state[("a", "c", "b")] == 0
    assert model.start() == 0
    assert state[("a", "a")] == state[("a",)] != 0
    assert len({0, state[("a",)], state[("c",)], state[("a", "c")]}) == 4


@pytest.mark.parametrize(("order", "num_words", "pruned"), SHAPES)
def test_the_automaton_is_as_it_is_described(
    tmp_path: Path, order: int, num_words: int, pruned: float
) -> None:
    plain, model = made(tmp_path, order, num_words, pruned)
    begin, words, log_probs, targets, backoffs, backoff_states = model.automaton
    num_states = 1 + sum(model.counts[:-1])
    assert (begin[0], begin[-1]) == (0, len(plain.grams))
    assert words[: begin[1]].tolist() == list(range(model.counts[0]))
    assert model.words == tuple(plain.words())
    assert model.counts == tuple(len(plain.of_order(n)) for n in range(1, order + 1))
    assert backoff_states[0] == -1
    for state in range(num_states):
        assert (np.diff(words[begin[state] : begin[state + 1]]) > 0).all()
        assert state == 0 or 0 <= backoff_states[state] < state
    idle = (np.diff(begin) == 0) & (backoffs == 0)
    idle[0] = False
    assert not idle[targets].any()
    assert not idle[backoff_states[1:]].any()
    dtypes = [np.int64, np.int32, np.float32, np.int32, np.float32, np.int32]
    lengths = [num_states + 1, len(words), len(words), len(words), num_states, num_states]
    for array, dtype, length in zip(model.automaton, dtypes, lengths, strict=True):
        assert type(array) is np.ndarray
        assert (array.dtype, array.shape) == (dtype, (length,))
        assert array.flags.c_contiguous
        assert not array.flags.writeable
    assert log_probs.max() <= 0


def test_the_order_of_lines_does_not_matter(tmp_path: Path) -> None:
    for pruned in (0.0, 0.5):
        sorted_lines = random_model(7, 4, num_words=3, pruned=pruned, shuffled=False)
        words = sorted_lines.of_order(1)
        rest = [gram for gram in sorted_lines.grams if len(gram) > 1]
        backwards = {gram: sorted_lines.grams[gram] for gram in [*words, *reversed(rest)]}
        first = read_arpa(sorted_lines.write(tmp_path / "a.arpa"))
        second = read_arpa(PlainModel(backwards, 4).write(tmp_path / "b.arpa"))
        for one, other in zip(first.automaton, second.automaton, strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_batch_is_its_single_queries(tmp_path: Path) -> None:
    _, model = made(tmp_path, 3, 5, 0.0)
    random = np.random.default_rng(3)
    states = random.integers(0, len(model.automaton.backoff_states), 500)
    words = random.integers(0, model.counts[0], 500)
    log_probs, after = model.score(states, words)
    assert (log_probs.dtype, after.dtype) == (np.float64, np.int32)
    for k in range(500):
        log_prob, state = model.score(states[k : k + 1], words[k : k + 1])
        assert (log_prob[0], state[0]) == (log_probs[k], after[k])
        assert score_word(model.automaton, int(states[k]), int(words[k])) == (log_prob, state)
    assert [len(found) for found in model.score([], [])] == [0, 0]


def test_other_compiled_loops_can_ask(tmp_path: Path) -> None:
    @njit(nogil=True)
    def total(automaton, state, words):  # type: ignore[no-untyped-def]
        found = 0.0
        for word in words:
            log_prob, state = score_word(automaton, state, word)
            found += log_prob
        return found

    _, model = made(tmp_path, 3, 5, 0.0)
    words = list(model.words[3:]) * 3
    ids = model.word_ids(words)
    expected = pytest.approx(sum(model.score_sentence(words, eos=False)))
    for kind in (np.int32, np.int64):
        assert total(model.automaton, model.start(), ids.astype(kind)) == expected
    assert total(model.automaton, np.int32(model.start()), ids) == expected


@pytest.mark.parametrize(
    ("states", "words", "message"),
    [
        ([0, 0], [1], r"states and words must be \(K,\), got \(2,\) and \(1,\)"),
        ([[0]], [[1]], r"states and words must be \(K,\), got \(1, 1\) and \(1, 1\)"),
        ([0, -1], [1, 2], "state -1 or word 2 is outside the model of 6 states and 5 words"),
        ([0, 6], [1, 2], "state 6 or word 2 is outside"),
        ([0], [5], "state 0 or word 5 is outside"),
        ([0], [-1], "state 0 or word -1 is outside"),
    ],
)
def test_misuse_is_named(tmp_path: Path, states: list[int], words: list[int], message: str) -> None:
    model = read_arpa(random_model(0, 2, num_words=2).write(tmp_path / "a.arpa"))
    with pytest.raises(ValueError, match=message):
        model.score(states, words)


def test_tensors_are_the_arrays(tmp_path: Path) -> None:
    _, model = made(tmp_path, 3, 4, 0.5)
    tensors = model.tensors()
    assert list(tensors) == list(model.automaton._fields)
    for name, tensor in tensors.items():
        array = getattr(model.automaton, name)
        assert tensor.dtype == getattr(torch, str(array.dtype))
        np.testing.assert_array_equal(tensor.numpy(), array)


def test_some_endings_are_missing_in_models_that_kenlm_checks() -> None:
    for order, num_words, pruned in KENLM_SHAPES:
        grams = random_model(order, order, num_words=num_words, pruned=pruned).grams
        missing = [gram for gram in grams if len(gram) > 1 and gram[1:] not in grams]
        assert bool(missing) == (pruned > 0)
