"""A recurrent network over tokens: its two kinds of input, all at once or token by token."""

import pytest
import torch

from asr.lm.neural import NeuralConfig, build_network
from asr.models.tokens import OneHot, TokenNetwork


def network(embedding_size: int, cell: str = "peephole") -> TokenNetwork:
    torch.manual_seed(0)
    sizes = {"embedding_size": embedding_size, "hidden_size": 6, "num_layers": 2}
    return TokenNetwork(5, cell=cell, **sizes).double()  # type: ignore[arg-type]


def test_one_hot_vectors() -> None:
    vectors = OneHot(4)(torch.tensor([[0, 1], [3, 2]]))
    assert vectors.tolist() == [[[0, 0, 0], [1, 0, 0]], [[0, 0, 1], [0, 1, 0]]]
    assert not OneHot(4).state_dict(), "nothing of it is learnt or stored"


@pytest.mark.parametrize("embedding_size", [0, 3])
@pytest.mark.parametrize("cell", ["lstm", "peephole", "gru", "tanh"])
def test_token_by_token_equals_all_at_once(embedding_size: int, cell: str) -> None:
    net = network(embedding_size, cell)
    tokens, lengths = torch.tensor([[4, 1, 1], [2, 3, 0]]), torch.tensor([3, 2])
    whole = net.encode(tokens, lengths)
    assert whole.shape == (2, 4, 6)
    states, steps = net.begin(2), []
    for column in torch.cat((torch.zeros(2, 1, dtype=torch.int64), tokens), dim=1).t():
        encoded, states = net.advance(column, states)
        steps.append(encoded)
    stepwise = torch.stack(steps, dim=1)
    torch.testing.assert_close(whole[0], stepwise[0], rtol=0, atol=1e-12)
    torch.testing.assert_close(whole[1, :3], stepwise[1, :3], rtol=0, atol=1e-12)
    assert (whole[1, 3] == 0).all()


def test_what_follows_a_beginning_does_not_matter_for_it() -> None:
    net = network(3)
    some = net.encode(torch.tensor([[4, 1, 2]]), torch.tensor([3]))
    other = net.encode(torch.tensor([[4, 1, 3]]), torch.tensor([3]))
    assert torch.equal(some[:, :3], other[:, :3])
    assert not torch.equal(some[:, 3], other[:, 3])


def test_the_prediction_network_of_graves_has_as_many_weights_as_in_the_paper() -> None:
    """One layer of 250 cells with peepholes over 61 phones: 4 H (K + H + 1) + 3 H."""
    net = TokenNetwork(62, embedding_size=0, hidden_size=250, num_layers=1, cell="peephole")
    assert sum(parameter.numel() for parameter in net.parameters()) == 312_750


def test_a_language_model_of_one_hot_vectors() -> None:
    model = build_network(NeuralConfig(embedding_size=0, hidden_size=4), vocabulary_size=5)
    log_probs = model(torch.tensor([[1, 2]]), torch.tensor([2]))
    torch.testing.assert_close(log_probs.exp().sum(dim=-1), torch.ones(1, 3))
