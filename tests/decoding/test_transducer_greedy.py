"""Greedy decoding of a transducer against one node at a time."""

from collections import Counter

import pytest
import torch

from asr.data.labels import read_labels
from asr.decoding.transducer_greedy import LOOKED_AT, TransducerGreedy
from tests.decoding.made_transducer import Nodes, made_encoded, made_networks, plain_greedy

NAMES = ["_", "▁A", "B", "<x>"]
LENGTHS = [2 * LOOKED_AT + 1, 0, 1, LOOKED_AT, LOOKED_AT + 1, 5]
LABELS = read_labels(NAMES)


@pytest.mark.parametrize("symbols", [1, 2, 10])
@pytest.mark.parametrize("blank", [0.0, 3.0, 6.0])
def test_a_batch_equals_the_plain_decoder(symbols: int, blank: float) -> None:
    full = changes = 0
    for seed in range(3):
        networks = made_networks(4, seed=seed, blank=blank)
        encoded = made_encoded(LENGTHS, seed=seed)
        decoder = TransducerGreedy(networks, LABELS, symbols)
        lists = decoder.decode_nbest(
            encoded, torch.tensor(LENGTHS), nbest=5, frame_seconds=0.5, durations=[6.25] * 6
        )
        assert [len(found) for found in lists] == [1] * 6, "there is one path"
        for index, (found,) in enumerate(lists):
            nodes = Nodes(networks, encoded[index, : LENGTHS[index]])
            said, log_prob = plain_greedy(nodes, symbols)
            tokens = [token for token, _, _ in said]
            assert found.tokens == tuple(tokens)
            assert found.log_prob == pytest.approx(log_prob, abs=1e-4)
            assert found.acoustic_log_prob == found.log_prob
            spans = LABELS.word_spans(tokens)
            assert [word.word for word in found.words] == [span.word for span in spans]
            for word, span in zip(found.words, spans, strict=True):
                own = said[span.start : span.stop]
                assert word.start == min(own[0][1] * 0.5, 6.25)
                assert word.end == min((own[-1][1] + 1) * 0.5, 6.25)
                assert word.confidence == pytest.approx(min(p for _, _, p in own), abs=1e-5)
            in_frame = Counter(frame for _, frame, _ in said).values()
            assert max(in_frame, default=0) <= symbols
            full += symbols in in_frame
            changes += LENGTHS[index] > LOOKED_AT and len(in_frame) > 1
    assert full > 0 or symbols == 10, "some frames have all the labels that they may"
    assert changes > 0 or blank == 6.0


def test_an_empty_batch_and_utterances_without_frames() -> None:
    decoder = TransducerGreedy(made_networks(4), LABELS)
    assert decoder.decode_nbest(torch.zeros(0, 5, 8)) == []
    silent = decoder.decode_nbest(torch.zeros(2, 0, 8))
    assert [[(h.text, h.log_prob) for h in found] for found in silent] == [[("", 0.0)]] * 2
