"""The beam search of a transducer against enumeration and against a plain one."""

import itertools
import math

import numpy as np
import pytest
import torch

from asr.data.labels import read_labels
from asr.decoding.transducer import TransducerLimits, TransducerSearch
from asr.decoding.transducer_alignment import transducer_log_prob
from tests.decoding.made_transducer import (
    WIDE,
    Nodes,
    PlainSearch,
    TableNetworks,
    made_encoded,
    made_networks,
    prefixes_of,
    random_table,
    rows_of,
)

NAMES = ["_", "A", "B"]
WORDS = ["_", "▁A", "▁B"]  # each label has a time of its own
ALL = 10_000


@pytest.mark.parametrize(("cell", "seed"), [("lstm", 0), ("peephole", 1)])
def test_a_full_width_search_equals_enumeration(cell: str, seed: int) -> None:
    networks = made_networks(seed=seed, cell=cell, blank=3.0)
    encoded = made_encoded([3], seed=seed)
    found = TransducerSearch(networks, NAMES, limits=WIDE).decode_nbest(encoded, nbest=ALL)[0]
    assert len(found) == len(prefixes_of(3, depth=9)), "every one that the limits allow"
    nodes = Nodes(networks, encoded[0])
    exact = {tokens: nodes.log_prob(tokens) for tokens in prefixes_of(3, depth=3)}
    for hypothesis in found:
        if hypothesis.tokens in exact:
            assert hypothesis.log_prob == pytest.approx(exact[hypothesis.tokens], abs=1e-5)
    best = max(exact, key=exact.__getitem__)
    assert 1 - np.exp(list(exact.values())).sum() < math.exp(exact[best]), "no longer one is better"
    assert found[0].tokens == best
    assert np.exp([h.log_prob for h in found]).sum() <= 1 + 1e-5


def test_nothing_is_lost_or_found_twice_where_a_text_has_an_end() -> None:
    networks = random_table(np.random.default_rng(0), 8, 3, depth=3)
    encoded = rows_of([4, 1, 3])
    search = TransducerSearch(networks, NAMES, limits=WIDE)
    for index, found in enumerate(search.decode_nbest(encoded, torch.tensor([4, 1, 3]), nbest=ALL)):
        nodes = Nodes(networks, encoded[index, : (4, 1, 3)[index]])
        for hypothesis in found:
            assert hypothesis.log_prob == pytest.approx(nodes.log_prob(hypothesis.tokens), abs=1e-5)
        assert len(found) == len(prefixes_of(3, depth=3))
        assert np.logaddexp.reduce([h.log_prob for h in found]) == pytest.approx(0.0, abs=1e-5)


NARROW = [
    TransducerLimits(1, math.inf, -math.inf, 1),
    TransducerLimits(2, 50.0, -9.0, 4),
    TransducerLimits(3, 2.0, -1.0, 2),
    TransducerLimits(5, math.inf, -2.0, 3),
    TransducerLimits(5, math.inf, -9.0, 10),
]


@pytest.mark.parametrize("limits", NARROW)
@pytest.mark.parametrize("names", [WORDS, ["_", "▁A", "<x>", "▁B"]], ids=["words", "no text"])
def test_a_narrow_search_equals_the_plain_one(names: list[str], limits: TransducerLimits) -> None:
    lengths = [6, 2, 4]
    for seed in range(6):
        networks = made_networks(len(names), seed=seed, blank=seed % 3)
        encoded = made_encoded(lengths, seed=seed)
        search = TransducerSearch(networks, names, limits=limits)
        lists = search.decode_nbest(encoded, torch.tensor(lengths), nbest=ALL)
        for index, found in enumerate(lists):
            nodes = Nodes(networks, encoded[index, : lengths[index]])
            expected = PlainSearch(nodes, read_labels(names), limits).kept()
            totals = {tokens: kept.total for tokens, kept in expected.items()}
            assert {h.tokens: h.log_prob for h in found} == pytest.approx(totals, abs=1e-4)
            for one in found:
                frames = expected[one.tokens].frames
                assert [word.start for word in one.words] == list(frames)
                said = [nodes(one.tokens[:u])[t, one.tokens[u]] for u, t in enumerate(frames)]
                confidences = np.exp(said).tolist()
                assert [w.confidence for w in one.words] == pytest.approx(confidences, abs=1e-5)


@pytest.mark.parametrize("symbols", [1, 2, 5])
@pytest.mark.parametrize("beam_size", [1, 2, 4, 8])
def test_no_score_is_above_the_probability(beam_size: int, symbols: int) -> None:
    lengths = [5, 0, 3, 1]
    below = 0
    for seed in range(8):
        networks = made_networks(4, seed=seed)
        encoded = made_encoded(lengths, seed=seed)
        limits = TransducerLimits(beam_size, max_symbols_per_frame=symbols)
        search = TransducerSearch(networks, ["_", "A", "B", "C"], limits=limits)
        found = search.decode_nbest(encoded, torch.tensor(lengths), nbest=3)
        for index in (0, 2, 3):
            for hypothesis in found[index]:
                tokens = np.array(hypothesis.tokens, dtype=np.int64)
                exact = transducer_log_prob(networks, encoded[index, : lengths[index]], tokens)
                assert hypothesis.acoustic_log_prob <= exact + 1e-4
                below += hypothesis.acoustic_log_prob < exact - 1e-2
        assert [(h.tokens, h.log_prob) for h in found[1]] == [((), 0.0)]
    assert below > 0, "paths outside the beam are missing"


def by_hand(*frames: dict[str, tuple[float, float]], depth: int = 2) -> TableNetworks:
    """Networks of a blank and an A, whose probabilities follow "", "A", "AA" …"""
    texts = ["A" * length for length in range(depth + 1)]
    rows = [[frame.get(text, (1.0, 0.0)) for text in texts] for frame in frames]
    return TableNetworks(torch.tensor(rows).log(), depth)


def probabilities(networks: TableNetworks, limits: TransducerLimits) -> dict[str, float]:
    search = TransducerSearch(networks, ["_", "A"], limits=limits)
    found = search.decode_nbest(rows_of([len(networks.table)]), nbest=ALL)[0]
    return {hypothesis.text: math.exp(hypothesis.log_prob) for hypothesis in found}


def test_a_label_of_this_frame_counts_for_a_prefix_that_has_it_already() -> None:
    networks = by_hand({"": (0.6, 0.4), "A": (0.5, 0.5)}, {"": (0.7, 0.3), "A": (0.8, 0.2)})
    found = probabilities(networks, TransducerLimits(2, max_symbols_per_frame=1))
    expected = {"": 0.6 * 0.7, "A": (0.4 * 0.5 + 0.6 * 0.3) * 0.8}
    assert found == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("depth", "joined"), [(2, True), (3, True), (4, False)])
def test_labels_of_this_frame_go_through_prefixes_that_are_not_in_the_beam(
    depth: int, joined: bool
) -> None:
    """After the first frame there are "" and "AA" alone, or "AAA", between which is room for two.

    No blank may come after what lies between them.
    """
    between = ["A" * length for length in range(1, depth)]
    first = {"": (0.6, 0.4), **dict.fromkeys(between, (0.0, 1.0))}
    second = {"": (0.5, 0.5), **dict.fromkeys(between, (0.1, 0.9))}
    networks = by_hand(first, second, depth=depth)
    found = probabilities(networks, TransducerLimits(2, max_symbols_per_frame=depth))
    over = 0.6 * 0.5 * 0.9 ** (depth - 1) if joined else 0.0
    assert found == pytest.approx({"": 0.6 * 0.5, "A" * depth: 0.4 + over}, abs=1e-6)


def test_the_prefix_sums_are_what_makes_scores_exact() -> None:
    labels, higher = read_labels(NAMES), 0
    limits = TransducerLimits(16, math.inf, -math.inf, 3)
    for seed in range(10):
        networks = random_table(np.random.default_rng(seed), 5, 3, depth=3)
        encoded = rows_of([5])
        best = TransducerSearch(networks, NAMES, limits=limits).decode_nbest(encoded)[0][0]
        nodes = Nodes(networks, encoded[0])
        without = PlainSearch(nodes, labels, limits, prefix_sums=False).totals()
        assert best.log_prob == pytest.approx(nodes.log_prob(best.tokens), abs=1e-5)
        higher += best.log_prob > without.get(best.tokens, -math.inf) + 0.1
    assert higher > 5


@pytest.mark.parametrize("beam_size", [1, 4])
def test_an_utterance_gets_the_same_alone_and_in_a_batch(beam_size: int) -> None:
    networks = made_networks(4)
    lengths = [9, 0, 20, 1, 14]
    encoded = made_encoded(lengths)
    search = TransducerSearch(networks, ["_", " ", "A", "B"], limits=TransducerLimits(beam_size))
    together = search.decode_nbest(encoded, torch.tensor(lengths), nbest=3)
    for index, length in enumerate(lengths):
        alone = search.decode_nbest(encoded[index : index + 1, :length], nbest=3)[0]
        assert [h.tokens for h in together[index]] == [h.tokens for h in alone]
        assert [h.words for h in together[index]] == [
            tuple(word._replace(confidence=pytest.approx(word.confidence)) for word in h.words)
            for h in alone
        ]
        assert [h.log_prob for h in together[index]] == pytest.approx([h.log_prob for h in alone])


def test_an_empty_batch_and_utterances_without_frames() -> None:
    search = TransducerSearch(made_networks(), NAMES)
    assert search.decode_nbest(torch.zeros(0, 5, 8)) == []
    silent = search.decode_nbest(torch.zeros(2, 0, 8))
    assert [[(h.text, h.log_prob) for h in found] for found in silent] == [[("", 0.0)]] * 2


def test_lists_are_ordered_and_their_texts_differ() -> None:
    networks = made_networks(4, blank=1.0)
    encoded = made_encoded([12] * 6)
    search = TransducerSearch(networks, ["_", " ", "A", "B"])  # " A", "A " and "A" are one text
    longest = search.decode_nbest(encoded, nbest=ALL)
    assert any(len(each) < 16 for each in longest), "some texts were added up"
    for nbest in (1, 2, 5):
        assert search.decode_nbest(encoded, nbest=nbest) == [each[:nbest] for each in longest]
    for found in longest:
        assert len({h.text for h in found}) == len(found)
        assert all(first.log_prob >= other.log_prob for first, other in itertools.pairwise(found))


def test_times_are_those_of_the_best_path() -> None:
    networks = by_hand({"": (0.9, 0.1)}, {"": (0.2, 0.8), "A": (0.9, 0.1)}, {"A": (0.3, 0.7)})
    search = TransducerSearch(networks, ["_", "▁A"])
    timed = search.decode_nbest(rows_of([3]), frame_seconds=0.5, durations=[1.25])[0][0]
    assert [(word.word, word.start, word.end) for word in timed.words] == [
        ("A", 0.5, 1.0),
        ("A", 1.0, 1.25),
    ]
    assert [word.confidence for word in timed.words] == pytest.approx([0.8, 0.7])


def test_a_vocabulary_of_the_blank_alone() -> None:
    networks = TableNetworks(torch.zeros(3, 1, 1), depth=0)
    found = TransducerSearch(networks, ["_"]).decode_nbest(rows_of([3]))[0]
    assert [(h.text, h.log_prob) for h in found] == [("", 0.0)]
