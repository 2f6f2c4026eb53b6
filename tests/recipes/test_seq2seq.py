"""Sequence to sequence networks: their equations, the search, ensembles, sizes."""

import itertools
import math

import pytest
import torch
from torch import Tensor, nn

from asr.models.stepping import start_states, step
from recipes.seq2seq.model import (
    BOUNDARY,
    SequenceToSequence,
    ending_together,
    lstm_by_steps,
    lstm_by_torch,
    run_stack,
)
from recipes.seq2seq.search import Hypothesis, beam_search, mean_probability, score_pairs

SOURCE = torch.tensor([[2, 3, 4, 5], [3, 2, 0, 0], [5, 5, 2, 0]])
LENGTHS = torch.tensor([4, 2, 3])


def network(
    seed: int = 0, *, vocabulary: int = 6, num_layers: int = 2, reverse: bool = True
) -> SequenceToSequence:
    """An untrained network in float64, with weights large enough to have opinions."""
    torch.manual_seed(seed)
    model = SequenceToSequence(
        6,
        vocabulary,
        embedding_size=3,
        hidden_size=5,
        num_layers=num_layers,
        reverse_source=reverse,
    ).double()
    for weights in model.parameters():
        nn.init.uniform_(weights, -1.0, 1.0)
    return model.eval()


def test_the_paper_has_384_million_parameters() -> None:
    """160M + 80M of embeddings, 80M of the softmax, 32M of each LSTM; biases are not counted."""
    with torch.device("meta"):
        model = SequenceToSequence(
            160_000, 80_000, embedding_size=1000, hidden_size=1000, num_layers=4
        )
    sizes = {name: p.numel() for name, p in model.named_parameters() if not name.endswith("bias")}
    assert sum(sizes.values()) == 384_000_000
    assert sum(size for name, size in sizes.items() if name.startswith("encoder.")) == 32_000_000
    biases = [p.numel() for name, p in model.named_parameters() if name.endswith("bias")]
    assert sum(biases) == 8 * 4000 + 80_000


@pytest.mark.parametrize("reverse", [True, False])
def test_the_equations_one_token_after_the_other(reverse: bool) -> None:
    """s_j from the reversed source, d_0 = s_S in all layers, y_0 the boundary, <eos> at the end."""
    model = network(reverse=reverse)
    target, target_lengths = (
        torch.tensor([[2, 4, 0], [3, 0, 0], [4, 5, 3]]),
        torch.tensor([2, 1, 3]),
    )
    log_probs = model.token_log_probs(SOURCE, LENGTHS, target, target_lengths)
    for row, (length, target_length) in enumerate(zip(LENGTHS, target_lengths, strict=True)):
        words = SOURCE[row, :length].tolist()
        state = start_states(model.encoder, 1)
        for word in reversed(words) if reverse else words:
            embedded = model.source_embedding(torch.tensor([word]))
            _, state = step(model.encoder, embedded, state)
        said = BOUNDARY
        for place, word in enumerate([*target[row, :target_length].tolist(), BOUNDARY]):
            embedded = model.target_embedding(torch.tensor([said]))
            hidden, state = step(model.decoder, embedded, state)
            expected = torch.log_softmax(model.output(hidden), dim=1)[0, word]
            torch.testing.assert_close(log_probs[row, place], expected)
            said = word
        assert log_probs[row, target_length + 1 :].tolist() == [0.0] * (3 - target_length)
    losses = model.losses(SOURCE, LENGTHS, target, target_lengths)
    torch.testing.assert_close(losses, -log_probs.sum(dim=1))


def test_sources_are_reversed_by_their_own_length() -> None:
    moved, padding = ending_together(SOURCE, LENGTHS, reverse=True)
    assert [row[~hidden].tolist() for row, hidden in zip(moved, padding, strict=True)] == [
        [5, 4, 3, 2],
        [2, 3],
        [2, 5, 5],
    ]
    moved, padding = ending_together(SOURCE, LENGTHS, reverse=False)
    assert [row[~hidden].tolist() for row, hidden in zip(moved, padding, strict=True)] == [
        [2, 3, 4, 5],
        [3, 2],
        [5, 5, 2],
    ]
    assert padding.int().tolist() == [[0, 0, 0, 0], [1, 1, 0, 0], [1, 0, 0, 0]]


@pytest.mark.parametrize("reverse", [True, False])
def test_padding_changes_nothing(reverse: bool) -> None:
    """Neither what is in it nor how much there is; losses and their gradients are those alone."""
    model = network(reverse=reverse)
    target, target_lengths = (
        torch.tensor([[2, 4, 0], [3, 0, 0], [4, 5, 3]]),
        torch.tensor([2, 1, 3]),
    )
    noisy = SOURCE.clone()
    noisy[1, 2:], noisy[2, 3:] = 5, 4
    wide = nn.functional.pad(noisy, (0, 3), value=3)
    noisy_target = target.clone()
    noisy_target[0, 2:], noisy_target[1, 1:] = 5, 2
    together = model.losses(wide, LENGTHS, noisy_target, target_lengths)
    gradients = torch.autograd.grad(together.sum(), list(model.parameters()))
    alone = torch.cat(
        [
            model.losses(
                SOURCE[i : i + 1, : LENGTHS[i]], LENGTHS[i : i + 1],
                target[i : i + 1, : target_lengths[i]], target_lengths[i : i + 1],
            )
            for i in range(3)
        ]
    )  # fmt: skip
    torch.testing.assert_close(together, alone)
    expected = torch.autograd.grad(alone.sum(), list(model.parameters()))
    for one, other in zip(gradients, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_both_ways_of_computing_a_layer_agree() -> None:
    model = network()
    weights = model.encoder.layers[0].weights()  # type: ignore[operator]
    values = torch.randn(4, 3, 3, dtype=torch.float64, requires_grad=True)
    state = torch.randn(3, 2, 5, dtype=torch.float64)
    closing = torch.tensor([[1, 1, 0], [0, 1, 0], [0, 0, 0], [0, 0, 0]]).double().unsqueeze(2)
    for closed, begin in ((None, state), (closing, torch.zeros_like(state))):
        results = []
        for compute in (lstm_by_steps, lstm_by_torch):
            outputs, last = compute(values, begin, weights, closed)
            loss = outputs.square().sum() + last.pow(3).sum()
            gradients = torch.autograd.grad(loss, [values, *model.encoder.layers[0].parameters()])
            results.append([outputs, last, *gradients])
        for one, other in zip(*results, strict=True):
            torch.testing.assert_close(one, other)
    outputs, _ = lstm_by_steps(values, torch.zeros_like(state), weights, closing)
    assert not outputs[0, :2].any(), "a closed gate keeps a state of zeros, to the bit"
    assert outputs[0, 2].all()


def test_nothing_to_read_leaves_the_states() -> None:
    model = network()
    states = torch.randn(2, 2, 2, 5, dtype=torch.float64)
    outputs, after = run_stack(model.encoder, torch.zeros(2, 0, 3, dtype=torch.float64), states)
    assert outputs.shape == (2, 0, 5)
    assert torch.equal(after, states)
    empty = model.encode(torch.zeros(2, 0, dtype=torch.int64), torch.tensor([0, 0]))
    assert not empty.any()


def test_dropout_is_for_training_alone_and_not_from_step_to_step() -> None:
    model = SequenceToSequence(6, 6, embedding_size=4, hidden_size=64, num_layers=2, dropout=0.5)
    target = torch.tensor([[2, 3], [4, 0], [5, 0]])
    arguments = (SOURCE, LENGTHS, target, torch.tensor([2, 1, 1]))
    assert not torch.equal(model.losses(*arguments), model.losses(*arguments))
    assert not torch.equal(model.encode(SOURCE, LENGTHS), model.encode(SOURCE, LENGTHS))
    first_layer = model.encode(SOURCE, LENGTHS)[:, 0]
    model.eval()
    assert torch.equal(model.losses(*arguments), model.losses(*arguments))
    torch.testing.assert_close(model.encode(SOURCE, LENGTHS)[:, 0], first_layer)


def enumerated(models: list[SequenceToSequence], row: int, longest: int) -> list[Hypothesis]:
    """All targets of at most `longest` tokens with their log-probability, the best first."""
    vocabulary = models[0].output.out_features
    found = []
    for length in range(longest + 1):
        for tokens in itertools.product(range(1, vocabulary), repeat=length):
            log_prob = score_pairs(
                models, SOURCE[row : row + 1], LENGTHS[row : row + 1],
                torch.tensor([tokens], dtype=torch.int64).view(1, length), torch.tensor([length]),
            )  # fmt: skip
            found.append(Hypothesis(tokens, log_prob.item()))
    return sorted(found, key=lambda hypothesis: -hypothesis.log_prob)


def search(models: list[SequenceToSequence], beam_size: int, limit: int) -> list[list[Hypothesis]]:
    limits = torch.full((len(SOURCE),), limit)
    return beam_search(models, SOURCE, LENGTHS, beam_size=beam_size, limits=limits)


def assert_same(one: list[Hypothesis], other: list[Hypothesis]) -> None:
    assert [hypothesis.tokens for hypothesis in one] == [hypothesis.tokens for hypothesis in other]
    expected = [hypothesis.log_prob for hypothesis in other]
    assert [hypothesis.log_prob for hypothesis in one] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("members", [1, 2])
def test_a_beam_for_all_is_the_exhaustive_search(members: int) -> None:
    """3 kinds of tokens, up to 4 of them: 1 + 2 + 4 + 8 + 16 targets."""
    models = [network(seed, vocabulary=3) for seed in range(members)]
    for row, found in enumerate(search(models, 31, 4)):
        expected = enumerated(models, row, 4)
        assert len(expected) == 31
        assert_same(found, expected)


@pytest.mark.parametrize("beam_size", [1, 2, 5])
def test_scores_are_those_of_the_targets_that_are_found(beam_size: int) -> None:
    model = network(3)
    for row, found in enumerate(search([model], beam_size, 7)):
        assert 1 <= len(found) <= beam_size
        assert found == sorted(found, key=lambda hypothesis: -hypothesis.log_prob)
        for hypothesis in found:
            length = len(hypothesis.tokens)
            assert length <= 7
            loss = model.losses(
                SOURCE[row : row + 1], LENGTHS[row : row + 1],
                torch.tensor([hypothesis.tokens], dtype=torch.int64).view(1, length),
                torch.tensor([length]),
            )  # fmt: skip
            assert -loss.item() == pytest.approx(hypothesis.log_prob, abs=1e-9)


def by_hand(model: SequenceToSequence, row: int, beam_size: int, limit: int) -> list[Hypothesis]:
    """The search of the paper for one source, with lists."""
    state = model.encode(SOURCE[row : row + 1], LENGTHS[row : row + 1])
    beam: list[tuple[tuple[int, ...], float, Tensor]] = [((), 0.0, state)]
    complete: list[Hypothesis] = []
    places = beam_size
    for length in range(limit + 1):
        extended = []
        for tokens, score, state in beam:
            log_probs, after = model.step(torch.tensor([(BOUNDARY, *tokens)[-1]]), state)
            allowed = range(log_probs.shape[1]) if length < limit else (BOUNDARY,)
            extended += [
                ((*tokens, word), score + log_probs[0, word].item(), after) for word in allowed
            ]
        extended.sort(key=lambda found: -found[1])
        beam = []
        for tokens, score, after in extended[:places]:
            if tokens[-1] == BOUNDARY:
                complete.append(Hypothesis(tokens[:-1], score))
                places -= 1
            else:
                beam.append((tokens, score, after))
    return sorted(complete, key=lambda hypothesis: -hypothesis.log_prob)


@pytest.mark.parametrize("beam_size", [1, 2, 3, 6])
def test_what_ends_leaves_the_beam_which_shrinks(beam_size: int) -> None:
    for seed in range(6):
        model = network(seed)
        for row, found in enumerate(search([model], beam_size, 6)):
            assert_same(found, by_hand(model, row, beam_size, 6))


def test_identical_members_are_one_model() -> None:
    model = network(1)
    for alone, together in zip(search([model], 4, 6), search([model] * 3, 4, 6), strict=True):
        assert_same(together, alone)


def test_members_vote_with_probabilities() -> None:
    one, other = torch.tensor([0.9, 0.1]), torch.tensor([0.2, 0.8])
    mean = mean_probability([one.log(), other.log()])
    torch.testing.assert_close(mean.exp(), torch.tensor([0.55, 0.45]))
    models = [network(seed) for seed in (1, 2)]
    target, length = torch.tensor([[2, 3]]), torch.tensor([2])
    arguments = (SOURCE[:1], LENGTHS[:1], target, length)
    expected = sum(
        math.log(sum(probabilities) / 2)
        for probabilities in zip(
            *(model.token_log_probs(*arguments)[0].exp().tolist() for model in models), strict=True
        )
    )
    assert score_pairs(models, *arguments).item() == pytest.approx(expected, abs=1e-12)


def test_limits_are_those_of_each_source() -> None:
    model = network(0)
    nn.init.constant_(model.output.bias[:1], -50.0)  # it never wants to end
    limits = torch.tensor([1, 3, 2])
    found = beam_search([model], SOURCE, LENGTHS, beam_size=2, limits=limits)
    assert [{len(h.tokens) for h in hypotheses} for hypotheses in found] == [{1}, {3}, {2}]


def test_a_search_without_a_beam_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="needs models and a beam, got 1 and beam_size 0"):
        search([network()], 0, 3)
    with pytest.raises(ValueError, match="needs models and a beam, got 0 and beam_size 2"):
        search([], 2, 3)
