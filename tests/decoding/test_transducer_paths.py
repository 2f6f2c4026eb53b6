"""Where a transducer's search says that labels are: on the best path among those that it kept."""

import numpy as np
import pytest
import torch

from asr.decoding.transducer import TransducerLimits, TransducerSearch
from asr.decoding.transducer_alignment import transducer_frames
from asr.decoding.transducer_memory import TRACE_RECORD
from asr.decoding.transducer_paths import read_traces
from tests.decoding.made_transducer import WIDE, made_encoded, made_networks

NAMES = ["_", "A", "B"]  # no text twice: a token is a letter


@pytest.mark.parametrize("seed", range(6))
def test_at_full_width_it_is_the_best_of_all(seed: int) -> None:
    networks, encoded = made_networks(seed=seed), made_encoded([3, 2], seed=seed)
    search = TransducerSearch(networks, NAMES, limits=WIDE)
    lists = search.decode_nbest(encoded, torch.tensor([3, 2]), nbest=12)
    for hypotheses, outputs, length in zip(lists, encoded, (3, 2), strict=True):
        assert len(hypotheses) == 12
        for hypothesis in hypotheses:
            if 0 < len(hypothesis.tokens) <= WIDE.max_symbols_per_frame:
                tokens = np.array(hypothesis.tokens)
                frames, confidences, _ = transducer_frames(networks, outputs[:length], tokens)
                (word,) = hypothesis.words
                assert (word.start, word.end) == (frames[0], frames[-1] + 1)
                assert word.confidence == pytest.approx(confidences.min(), abs=1e-5)


@pytest.mark.parametrize("beam_size", [1, 3, 20])
def test_a_narrow_beam_has_paths_of_its_own(beam_size: int) -> None:
    """Frames never go back; one path after another through a long utterance and its batch."""
    networks, lengths = made_networks(seed=3, blank=1.0), [150, 40, 90]
    limits = TransducerLimits(beam_size=beam_size, max_symbols_per_frame=2)
    search = TransducerSearch(networks, ["_", "▁A", "▁B"], limits=limits)  # each a word
    encoded = made_encoded(lengths, seed=3)
    lists = search.decode_nbest(encoded, torch.tensor(lengths), nbest=5)
    for hypotheses, length in zip(lists, lengths, strict=True):
        for hypothesis in hypotheses:
            times = [time for word in hypothesis.words for time in (word.start, word.end - 1)]
            assert times == sorted(times)
            assert len(hypothesis.words) == len(hypothesis.tokens) > 0
            assert 0 <= times[0] <= times[-1] <= length - 1
            assert all(0 < word.confidence <= 1 for word in hypothesis.words)


def test_the_first_labels_of_a_longer_path() -> None:
    """Two paths share a label; of the second one the last label is not asked for."""
    traces = np.array([(-1, 2, -0.1), (0, 2, -0.2), (0, 4, -0.3), (2, 7, -0.4)], TRACE_RECORD)
    frames, said = read_traces(traces, np.array([1, 3, -1], np.int32), np.array([0, 2, 4, 4]))
    np.testing.assert_array_equal(frames, [2, 2, 2, 4])
    np.testing.assert_array_equal(said, [-0.1, -0.2, -0.1, -0.3])
