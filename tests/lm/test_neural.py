"""The network is a probability distribution over sentences, however it is computed."""

import math
from itertools import product

import pytest
import torch

from asr.lm.neural import (
    NeuralConfig,
    NeuralNetwork,
    build_network,
    config_of,
    sentence_losses,
)
from asr.lm.neural_scoring import pad_tokens
from tests.lm.made_neural import CELLS, CONFIG, opinionated

SENTENCES = [[1, 2, 2], [], [3, 1], [2, 3, 3, 1, 2]]


@pytest.mark.parametrize("cell", CELLS)
def test_carried_state_is_one_long_pass(cell: str) -> None:
    network = opinionated(4, CONFIG.model_copy(update={"cell": cell})).double()
    tokens = torch.randint(1, 4, (3, 9))
    expected = network(tokens, torch.full((3,), 9))
    states = network.begin(3)
    last = torch.zeros(3, dtype=torch.int64)
    for position in range(10):
        log_probs, states = network.step(last, states)
        torch.testing.assert_close(log_probs, expected[:, position], rtol=0, atol=1e-6)
        last = tokens[:, min(position, 8)]


def test_the_definition() -> None:
    """Embedding, stack, output and softmax of a sentence with the boundary before it."""
    network = opinionated(4)
    encoded = network.stack(network.embedding(torch.tensor([[0, 3, 1]])), torch.tensor([3]))
    expected = torch.softmax(network.output(encoded), dim=2).log()
    log_probs = network(torch.tensor([[3, 1]]), torch.tensor([2]))
    torch.testing.assert_close(log_probs, expected)
    assert log_probs.dtype == torch.float32


@pytest.mark.parametrize(
    "config",
    [
        CONFIG,
        NeuralConfig(cell="gru", num_layers=1, hidden_size=4, embedding_size=0, dropout=0.5),
    ],
)
def test_the_config_of_a_network(config: NeuralConfig) -> None:
    assert config_of(build_network(config, 7)) == config


@pytest.mark.parametrize("cell", CELLS)
def test_the_probabilities_of_all_sentences_sum_to_one(cell: str) -> None:
    """Those up to a length, and of all that go on."""
    network = opinionated(3, CONFIG.model_copy(update={"cell": cell}))
    longest = 5
    sentences = [list(s) for n in range(longest) for s in product([1, 2], repeat=n)]
    whole = torch.exp(-sentence_losses(network, *pad_tokens(sentences)).double()).sum()
    going_on = [list(s) for s in product([1, 2], repeat=longest)]
    tokens, lengths = pad_tokens(going_on)
    log_probs = network(tokens, lengths)[:, :-1].double()
    continued = log_probs.gather(2, tokens.unsqueeze(2)).sum((1, 2)).exp().sum()
    assert float(whole + continued) == pytest.approx(1, abs=1e-6)
    assert 0.01 < float(continued) < 0.99


def test_a_sentence_costs_the_sum_of_its_tokens_and_its_end() -> None:
    network = opinionated(4)
    losses = sentence_losses(network, *pad_tokens(SENTENCES))
    for tokens, loss in zip(SENTENCES, losses.tolist(), strict=True):
        log_probs = network(torch.tensor([tokens], dtype=torch.int64), torch.tensor([len(tokens)]))
        terms = [float(log_probs[0, u, token]) for u, token in enumerate([*tokens, 0])]
        assert loss == pytest.approx(-sum(terms), rel=1e-5)


def test_smoothed_targets_in_the_definition() -> None:
    """1 - s on the token, s / (V - 1) on each other symbol, the end among them."""
    network = opinionated(4)
    losses = sentence_losses(network, *pad_tokens(SENTENCES), label_smoothing=0.3)
    for tokens, loss in zip(SENTENCES, losses.tolist(), strict=True):
        log_probs = network(torch.tensor([tokens], dtype=torch.int64), torch.tensor([len(tokens)]))
        targets = torch.full((len(tokens) + 1, 4), 0.1)
        targets[range(len(tokens) + 1), [*tokens, 0]] = 0.7
        assert loss == pytest.approx(-float((targets * log_probs[0]).sum()), rel=1e-5)


@pytest.mark.parametrize("smoothing", [0.1, 0.6])
def test_the_least_smoothed_loss_is_the_entropy_of_the_targets(smoothing: float) -> None:
    """Of a network whose output is its bias alone, for sentences that are all empty."""
    network = opinionated(5)
    target = torch.full((5,), smoothing / 4)
    target[0] = 1 - smoothing
    entropy = -float((target * target.log()).sum())

    def loss(log_probs: torch.Tensor) -> float:
        network.output.bias.copy_(log_probs)
        nothing = torch.zeros(1, 0, dtype=torch.int64), torch.tensor([0])
        return float(sentence_losses(network, *nothing, label_smoothing=smoothing))

    network.output.weight.zero_()
    assert loss(target.log()) == pytest.approx(entropy, rel=1e-6)
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        assert loss(target.log() + 0.1 * torch.randn(5, generator=generator)) > entropy


def test_without_dropout_the_output_is_the_geometric_mean_over_all_masks() -> None:
    """Exactly so for a softmax of linear scores: the mean of the scores is that of no mask."""
    config = CONFIG.model_copy(update={"num_layers": 1, "dropout": 0.5})
    network = opinionated(4, config).double()
    tokens, lengths = torch.tensor([[2, 1]]), torch.tensor([2])
    hidden = network.encode(tokens, lengths)  # in evaluation: without a mask
    masks = torch.tensor(list(product([0.0, 2.0], repeat=hidden.shape[2]))).double()
    masked = [torch.log_softmax(network.output(mask * hidden), dim=2) for mask in masks]
    mean = torch.log_softmax(torch.stack(masked).mean(0), dim=2)
    torch.testing.assert_close(mean.float(), network(tokens, lengths), rtol=0, atol=1e-6)
    assert not torch.allclose(masked[3].float(), mean.float(), atol=1e-2)


def test_padding_and_company_change_nothing() -> None:
    network = opinionated(4)
    tokens, lengths = pad_tokens(SENTENCES)
    alone = [float(sentence_losses(network, *pad_tokens([tokens]))[0]) for tokens in SENTENCES]
    assert sentence_losses(network, tokens, lengths).tolist() == pytest.approx(alone, rel=1e-5)
    garbage = torch.nn.functional.pad(tokens, (0, 3), value=3)
    log_probs, expected = network(garbage, lengths), network(tokens, lengths)
    for row, length in enumerate(lengths.tolist()):
        torch.testing.assert_close(log_probs[row, : length + 1], expected[row, : length + 1])


def test_a_new_network_is_nearly_uniform() -> None:
    """So that a uniform text costs about ln V a token: nothing is learnt yet."""
    torch.manual_seed(0)
    network = build_network(NeuralConfig(hidden_size=32), 8)
    tokens = torch.randint(1, 8, (20, 50))
    losses = sentence_losses(network, tokens, torch.full((20,), 50)).detach()
    loss = float(losses.mean()) / 51
    assert loss == pytest.approx(math.log(8), abs=0.1)


def test_dropout_is_for_training_alone() -> None:
    network = opinionated(4, CONFIG.model_copy(update={"dropout": 0.5}))
    arguments = pad_tokens(SENTENCES)
    assert torch.equal(network(*arguments), network(*arguments))
    network.train()
    assert not torch.equal(network(*arguments), network(*arguments))


def test_dropout_reaches_the_first_layer_and_the_output() -> None:
    """With all that is recurrent at zero, an input or output that is left out still shows."""
    network = opinionated(4, CONFIG.model_copy(update={"num_layers": 1, "dropout": 0.5}))
    network.train()
    seen = []
    network.stack.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    network.output.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    network(torch.tensor([[1, 2, 3] * 5]), torch.tensor([15]))
    for values in seen:
        assert 0.2 < float((values == 0).double().mean()) < 0.8


def trained(sentences: list[list[int]], size: int, steps: int, seed: int = 0) -> NeuralNetwork:
    torch.manual_seed(seed)
    network = build_network(NeuralConfig(num_layers=1, hidden_size=16, embedding_size=8), size)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    batch = pad_tokens(sentences)
    for _ in range(steps):
        optimizer.zero_grad()
        sentence_losses(network, *batch).mean().backward()
        optimizer.step()
    return network.eval()


def perplexity(network: NeuralNetwork, sentences: list[list[int]]) -> float:
    with torch.no_grad():
        loss = float(sentence_losses(network, *pad_tokens(sentences)).sum())
    return math.exp(loss / sum(len(tokens) + 1 for tokens in sentences))


def test_a_cyclic_text_becomes_certain() -> None:
    cycle = [[1, 2, 3, 4] * 5]
    assert perplexity(trained(cycle, 5, 150), cycle) < 1.05


def test_a_uniform_text_cannot_be_learnt() -> None:
    """Of 4 equally likely tokens the perplexity is 4; only the end after 20 is certain."""
    generator = torch.Generator().manual_seed(1)
    texts = torch.randint(1, 5, (2, 200, 20), generator=generator).tolist()
    found = perplexity(trained(texts[0], 5, 60), texts[1])
    least = math.exp(20 / 21 * math.log(4))
    assert 0.99 * least < found < 1.1 * least
