"""Sentences are scored the same in batches, alone, and step by step."""

import pytest
import torch

from asr.errors import StoppedError
from asr.lm import neural_scoring
from asr.lm.neural import sentence_losses
from asr.lm.neural_scoring import pad_tokens, score_sentences
from tests.lm.made_neural import CELLS, CONFIG, opinionated

SENTENCES = [[1, 2, 2], [], [3, 1], [2, 3, 3, 1, 2] * 4, [3] * 9, [1], [2, 1] * 8]


def expected_of(network) -> list[float]:
    return [-float(sentence_losses(network, *pad_tokens([tokens]))[0]) for tokens in SENTENCES]


@pytest.mark.parametrize("longest", [1, 3, 10, 17, 10_000])
@pytest.mark.parametrize("cell", CELLS)
def test_the_bound_on_memory_changes_nothing(
    cell: str, longest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = opinionated(4, CONFIG.model_copy(update={"cell": cell}))
    monkeypatch.setattr(neural_scoring, "MAX_TOKENS", longest)
    monkeypatch.setattr(neural_scoring, "MAX_ROWS", 2)
    assert score_sentences(network, SENTENCES) == pytest.approx(expected_of(network), rel=1e-5)


def test_a_large_vocabulary_makes_small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    network = opinionated(4)
    monkeypatch.setattr(neural_scoring, "MAX_SCORES", 4 * 6)
    sizes: list[tuple[int, ...]] = []
    network.register_forward_pre_hook(lambda module, inputs: sizes.append(inputs[0].shape))
    found = score_sentences(network, SENTENCES)
    assert sizes
    assert all(batch * (longest + 1) <= 6 for batch, longest in sizes)
    assert found == pytest.approx(expected_of(opinionated(4)), rel=1e-5)


def test_it_tells_how_far_it_is_and_can_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neural_scoring, "MAX_TOKENS", 10)
    told: list[tuple[int, int]] = []
    score_sentences(opinionated(4), SENTENCES, lambda done, total: told.append((done, total)))
    assert told[-1] == (7, 7)
    assert told == sorted(set(told))

    def stop(done: int, total: int) -> None:
        raise StoppedError("enough", 15)

    with pytest.raises(StoppedError, match="enough"):
        score_sentences(opinionated(4), SENTENCES, stop)


def test_nothing_to_score() -> None:
    assert score_sentences(opinionated(4), []) == []
    tokens, lengths = pad_tokens([])
    assert tokens.shape == (0, 0)
    assert lengths.dtype == torch.int64
