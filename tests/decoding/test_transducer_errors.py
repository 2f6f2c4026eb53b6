"""What the decoders of a transducer refuse, and what they say of a network that diverged."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from asr.data.labels import read_labels
from asr.decoding import transducer
from asr.decoding.fusion import Fusion
from asr.decoding.transducer import TransducerLimits, TransducerSearch
from asr.decoding.transducer_greedy import TransducerGreedy
from asr.decoding.transducer_networks import TransducerNetworks
from asr.errors import DataError, ResourceError
from tests.decoding.made_transducer import TableNetworks, made_networks, rows_of
from tests.lm.made_neural import made_neural

LABELS = read_labels(["_", "A", "B"])
Kind = Callable[[TransducerNetworks], Any]


@pytest.fixture(params=[TransducerSearch, TransducerGreedy])
def kind(request: pytest.FixtureRequest) -> Kind:
    """Either decoder of networks with three labels."""
    return lambda networks: request.param(networks, LABELS)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"beam_size": 0}, "beam_size must be at least 1, got 0"),
        ({"beam_threshold": 0.0}, "beam_threshold must be above 0, got 0"),
        ({"beam_threshold": math.nan}, "beam_threshold must be above 0, got nan"),
        ({"token_threshold": 0.1}, "token_threshold must be 0 or below, got 0.1"),
        ({"token_threshold": math.nan}, "token_threshold must be 0 or below, got nan"),
        ({"max_symbols_per_frame": 0}, "max_symbols_per_frame must be at least 1, got 0"),
    ],
)
def test_limits_that_are_none(limits: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TransducerLimits(**limits)


def test_a_best_path_without_labels_in_a_frame() -> None:
    with pytest.raises(ValueError, match="max_symbols_per_frame must be at least 1, got 0"):
        TransducerGreedy(made_networks(), LABELS, 0)


def test_labels_and_models_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="the blank of a transducer is label 0, got 2"):
        TransducerSearch(made_networks(), read_labels(["A", "B", "_"], blank=2))
    with pytest.raises(ValueError, match="nowhere: is a model of labels: its unit is 'token'"):
        TransducerSearch(made_networks(), LABELS, lm=made_neural())
    with pytest.raises(ValueError, match="unit is 'word' here; another needs a new search"):
        TransducerSearch(made_networks(), LABELS).with_fusion(Fusion(unit="token"))


PAIR = torch.zeros(2, 3, 8)


@pytest.mark.parametrize(
    ("encoded", "lengths", "durations", "message"),
    [
        (PAIR[0], None, None, r"encoded must be \(B, T, J\), got \(3, 8\)"),
        (PAIR, [3], None, r"lengths must be 2 of 0 to 3, got \[3\]"),
        (PAIR, [4, 0], None, r"lengths must be 2 of 0 to 3, got \[4, 0\]"),
        (PAIR, [3, -1], None, r"lengths must be 2 of 0 to 3, got \[3, -1\]"),
        (PAIR, None, [1.0], "1 durations for 2 utterances"),
    ],
)
def test_shapes_that_do_not_fit(
    kind: Kind,
    encoded: Tensor,
    lengths: list[int] | None,
    durations: list[float] | None,
    message: str,
) -> None:
    sizes = None if lengths is None else torch.tensor(lengths)
    with pytest.raises(ValueError, match=message):
        kind(made_networks()).decode_nbest(encoded, sizes, durations=durations)


@pytest.mark.parametrize(("names", "outputs"), [("_AB", 4), ("_ABCDEFGH", 3)])
def test_labels_of_other_networks(names: str, outputs: int) -> None:
    search = TransducerSearch(made_networks(outputs), list(names))
    with pytest.raises(ValueError, match=f"{len(names)} labels for networks of {outputs} outputs"):
        search.decode_nbest(torch.zeros(1, 3, 8))


@pytest.mark.parametrize(("beam_size", "rows"), [(10**17, 8), (1000, 10**14)])
def test_more_than_there_is_memory_for(
    beam_size: int, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transducer, "ROWS", rows)
    search = TransducerSearch(made_networks(), LABELS, limits=TransducerLimits(beam_size))
    message = f"out of memory for a beam of {beam_size:,} over 2 utterances of up to 3 frames"
    with pytest.raises(ResourceError, match=message):
        search.decode_nbest(torch.zeros(2, 3, 8))


def test_no_hypotheses_at_all() -> None:
    with pytest.raises(ValueError, match="nbest must be at least 1, got 0"):
        TransducerSearch(made_networks(), LABELS).decode_nbest(torch.zeros(1, 3, 8), nbest=0)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_an_encoder_that_diverged(kind: Kind, value: float) -> None:
    encoded = torch.zeros(3, 4, 8)
    encoded[1, 2, 5] = value
    decoder = kind(made_networks())
    with pytest.raises(DataError, match="utterance 1 of the batch has outputs that are not finite"):
        decoder.decode_nbest(encoded, torch.tensor([4, 3, 4]))
    assert len(decoder.decode_nbest(encoded, torch.tensor([4, 2, 4]))) == 3, "it is padding"


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("prefix", [0, 1])
def test_a_joint_network_that_diverged(kind: Kind, value: float, prefix: int) -> None:
    """In the third frame of the third utterance, at the beginning or after an A."""
    table = torch.zeros(12, 3, 3)
    table[:, 1:, 1:] = -math.inf
    table[:, 0, 1] = prefix  # or else the best path would not get there
    table[10, prefix, 2] = value
    decoder = kind(TableNetworks(table, depth=1))
    with pytest.raises(DataError, match="joint network gives NaN for utterance 2 of the batch: th"):
        decoder.decode_nbest(rows_of([4, 4, 4]))
    assert len(decoder.decode_nbest(rows_of([4, 4, 2]))) == 3, "nobody asks about it"


def test_a_frame_of_labels_that_are_never_text() -> None:
    table = torch.full((8, 4, 4), -math.inf)
    table[..., 0] = 0.0
    table[5, 0] = torch.tensor([-math.inf, -math.inf, -math.inf, 0.0])
    search = TransducerSearch(TableNetworks(table, depth=1), ["_", "A", "B", "<unk>"])
    lengths = torch.tensor([4, 4])
    with pytest.raises(DataError, match="frame of utterance 1 of the batch neither the blank nor"):
        search.decode_nbest(rows_of([4, 4]), lengths)
    assert len(search.decode_nbest(rows_of([4, 4]), lengths - 3)) == 2
