"""Two toys that a transducer learns: held symbols, and a coin flip that CTC cannot.

Reference: Graves, "Sequence transduction with recurrent neural networks", 2012.
"""

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asr.data.labels import read_labels
from asr.decoding.transducer import TransducerSearch
from asr.decoding.transducer_greedy import TransducerGreedy
from asr.models.lstm import RecurrentStack
from asr.models.transducer import PredictionNetwork, TanhJoint
from asr.objectives.ctc import ctc_loss
from asr.objectives.transducer import joint_transducer_loss

SYMBOLS = "ABCD"
SIZE = 32
STEPS = 120
NAMES = ["_", *SYMBOLS]


class Toy(nn.Module):
    """A transducer of one-hot inputs."""

    def __init__(self, input_size: int, vocabulary_size: int) -> None:
        super().__init__()
        self.encoder = RecurrentStack(input_size, SIZE, 1)
        self.projection = nn.Linear(2 * SIZE, SIZE)
        self.prediction = PredictionNetwork(
            vocabulary_size, embedding_size=0, hidden_size=SIZE, num_layers=1
        )
        self.joint = TanhJoint(SIZE, vocabulary_size)

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        encoded: Tensor = self.projection(self.encoder(features, lengths))
        return encoded

    def begin(self, batch: int) -> Tensor:
        return self.prediction.begin(batch)

    def advance(self, tokens: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
        return self.prediction.advance(tokens, states)

    def predict(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        predicted: Tensor = self.prediction(tokens, lengths)
        return predicted

    def costs(
        self, features: Tensor, lengths: Tensor, targets: Tensor, target_lengths: Tensor
    ) -> Tensor:
        """(B,) nats."""
        return joint_transducer_loss(
            self.joint,
            self(features, lengths),
            self.predict(targets, target_lengths),
            targets,
            lengths,
            target_lengths,
        )


def seeded_toy(input_size: int, vocabulary_size: int) -> Toy:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Toy(input_size, vocabulary_size)


def held(random: np.random.Generator, count: int) -> tuple[list[str], Tensor, Tensor]:
    """Strings without doubled symbols; frames that hold each symbol one to three times."""
    texts, rows = [], []
    for _ in range(count):
        symbols = [int(random.integers(len(SYMBOLS)))]
        for _ in range(random.integers(6)):
            symbols.append((symbols[-1] + int(random.integers(1, len(SYMBOLS)))) % len(SYMBOLS))
        texts.append("".join(SYMBOLS[symbol] for symbol in symbols))
        rows.append(torch.tensor(np.repeat(symbols, random.integers(1, 4, size=len(symbols)))))
    lengths = torch.tensor([len(row) for row in rows])
    padded = nn.utils.rnn.pad_sequence(rows, batch_first=True)
    return texts, F.one_hot(padded, len(SYMBOLS)).float(), lengths


def padded_targets(texts: Sequence[str]) -> tuple[Tensor, Tensor]:
    tokens = [torch.tensor([NAMES.index(symbol) for symbol in text]) for text in texts]
    lengths = torch.tensor([len(one) for one in tokens])
    return nn.utils.rnn.pad_sequence(tokens, batch_first=True), lengths


def test_held_symbols_are_transcribed_without_an_error() -> None:
    """Two equal symbols side by side are one to the ear, so there are none."""
    random = np.random.default_rng(0)
    toy = seeded_toy(len(SYMBOLS), len(NAMES))
    optimizer = torch.optim.Adam(toy.parameters(), lr=0.03)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, STEPS)
    for _ in range(STEPS):
        texts, features, lengths = held(random, 16)
        cost = toy.costs(features, lengths, *padded_targets(texts)).mean()
        optimizer.zero_grad()
        cost.backward()
        optimizer.step()
        schedule.step()
    toy.eval()
    texts, features, lengths = held(random, 100)
    assert any(len(set(text)) < len(text) for text in texts), "symbols come back"
    with torch.no_grad():
        encoded = toy(features, lengths)
    labels = read_labels(NAMES)
    for decoder in (TransducerGreedy(toy, labels), TransducerSearch(toy, labels)):
        found = decoder.decode_nbest(encoded, lengths, nbest=1)
        assert [hypotheses[0].text for hypotheses in found] == texts


FLIPPED = torch.tensor([[1, 1], [2, 2]])  # AA or BB
BOTH = torch.tensor([2, 2])
THREE = torch.tensor([3, 3])


def test_a_coin_flip_costs_a_transducer_ln_2() -> None:
    """Its prediction network knows what the first label was."""
    toy = seeded_toy(1, 3)
    optimizer = torch.optim.Adam(toy.parameters(), lr=0.03)
    audio = torch.ones(2, 3, 1)
    for _ in range(120):
        cost = toy.costs(audio, THREE, FLIPPED, BOTH).mean()
        optimizer.zero_grad()
        cost.backward()
        optimizer.step()
    assert math.log(2) - 1e-5 < cost.item() < math.log(2) + 0.01
    search = TransducerSearch(toy.eval(), ["_", "A", "B"])
    with torch.no_grad():
        encoded = toy(audio[:1], THREE[:1])
    first, second, *_ = search.decode_nbest(encoded)[0]
    assert {first.text, second.text} == {"AA", "BB"}
    assert [math.exp(h.log_prob) for h in (first, second)] == [
        pytest.approx(0.5, abs=0.05),
        pytest.approx(0.5, abs=0.05),
    ]


def test_a_coin_flip_costs_ctc_twice_as_much() -> None:
    """In three frames the only alignment is label, blank, label, and frames are independent."""
    generator = torch.Generator().manual_seed(0)
    starts = 20
    logits = torch.randn(starts, 3, 3, generator=generator).mul(2).requires_grad_()
    optimizer = torch.optim.Adam([logits], lr=0.2)
    for _ in range(200):
        log_probs = logits.log_softmax(dim=-1).repeat_interleave(2, dim=0)
        costs = ctc_loss(
            log_probs, THREE.repeat(starts), FLIPPED.repeat(starts, 1), BOTH.repeat(starts)
        )
        means = costs.reshape(starts, 2).mean(dim=1)
        optimizer.zero_grad()
        means.sum().backward()
        optimizer.step()
    assert means.min().item() > 2 * math.log(2) - 1e-3
    assert means.max().item() < 2 * math.log(2) + 0.01, "all of them are at the optimum"
