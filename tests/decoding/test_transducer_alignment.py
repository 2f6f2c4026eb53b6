"""The lattice of a transducer's labels against every path through it."""

import math

import numpy as np
import pytest
import torch

from asr.decoding import transducer_alignment
from asr.decoding.transducer_alignment import arcs, transducer_frames, transducer_log_prob
from asr.objectives.transducer import joint_transducer_loss
from tests.decoding.made_transducer import (
    MadeNetworks,
    Nodes,
    TableNetworks,
    made_encoded,
    made_networks,
    rows_of,
)

SIZES = [(1, 0), (4, 0), (1, 3), (2, 4), (4, 2), (6, 3)]


def cases(seed: int) -> list[tuple[MadeNetworks, torch.Tensor, np.ndarray]]:  # type: ignore[type-arg]
    """Networks, what an encoder made of an utterance, and labels."""
    random = np.random.default_rng(seed)
    return [
        (
            made_networks(4, seed=seed),
            made_encoded([frames], seed=seed)[0],
            random.integers(1, 4, size=labels),
        )
        for frames, labels in SIZES
    ]


@pytest.mark.parametrize("seed", range(5))
def test_the_probability_sums_over_every_path_as_the_loss_does(seed: int) -> None:
    for networks, encoded, tokens in cases(seed):
        found = transducer_log_prob(networks, encoded, tokens)
        exact = Nodes(networks, encoded).log_prob(tuple(tokens.tolist()))
        assert found == pytest.approx(exact, abs=1e-5)
        targets, lengths = torch.from_numpy(tokens)[None], torch.tensor([len(tokens)])
        predicted = networks.predict(targets, lengths)
        sizes = torch.tensor([len(encoded)])
        (cost,) = joint_transducer_loss(
            networks.joint, encoded[None], predicted, targets, sizes, lengths
        )
        assert found == pytest.approx(-cost.item(), abs=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_labels_are_said_where_the_best_of_all_paths_says_them(seed: int) -> None:
    for networks, encoded, tokens in cases(seed):
        nodes, said = Nodes(networks, encoded), tuple(tokens.tolist())
        expected, log_prob = max(nodes.paths(said), key=lambda path: path[1])
        frames, confidences, found = transducer_frames(networks, encoded, tokens)
        assert tuple(frames.tolist()) == expected
        assert found == pytest.approx(log_prob, abs=1e-5)
        exact = [nodes(said[:u])[frames[u], token] for u, token in enumerate(said)]
        assert confidences.tolist() == pytest.approx(np.exp(exact).tolist(), abs=1e-5)


@pytest.mark.parametrize("values", [1, 100, 300])
def test_frames_may_be_looked_at_a_few_at_a_time(
    values: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    networks, encoded = made_networks(4), made_encoded([30])[0]
    tokens = np.array([1, 3, 2, 2, 1])
    expected = arcs(networks, encoded, tokens)
    sizes: list[int] = []
    forward = networks.joint.forward

    def counted(frames: torch.Tensor, predicted: torch.Tensor) -> torch.Tensor:
        sizes.append(len(frames))
        return forward(frames, predicted)

    monkeypatch.setattr(networks.joint, "forward", counted)
    monkeypatch.setattr(transducer_alignment, "CHUNK_VALUES", values)
    for found, whole in zip(arcs(networks, encoded, tokens), expected, strict=True):
        np.testing.assert_allclose(found, whole, atol=1e-6)
    assert len(sizes) > 5
    assert sum(sizes[:-1]) < 30 <= sum(sizes)


def test_confidences_are_never_above_one_and_certain_labels_cost_nothing() -> None:
    sure = TableNetworks(torch.tensor([[[0.0, 80.0], [80.0, 0.0]], [[80.0, 0.0]] * 2]), depth=1)
    frames, confidences, log_prob = transducer_frames(sure, rows_of([2])[0], np.array([1]))
    assert (frames.tolist(), confidences.tolist(), log_prob) == ([0], [1.0], 0.0)


def test_labels_that_cannot_be_said() -> None:
    never = TableNetworks(torch.tensor([[[0.0, -math.inf], [0.0, -math.inf]]] * 3), depth=1)
    tokens = np.array([1])
    assert transducer_log_prob(never, rows_of([3])[0], tokens) == -math.inf
    frames, confidences, log_prob = transducer_frames(never, rows_of([3])[0], tokens)
    assert (confidences.tolist(), log_prob) == ([0.0], -math.inf)
    assert 0 <= frames[0] < 3
