"""Rows that are taken away and trees that grow change nothing about what is found."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from asr.decoding import transducer
from asr.decoding.fusion import Fusion
from asr.decoding.transducer import TransducerLimits, TransducerSearch
from asr.decoding.transducer_memory import Beams, Breadth, allocate_beams, with_room
from asr.decoding.transducer_rows import NetworkRows
from tests.decoding.made_transducer import made_encoded, made_networks
from tests.lm.made_neural import made_neural

NAMES = ["_", " ", "A", "B"]
LENGTHS = [200, 7, 120, 0]
ENCODED = made_encoded(LENGTHS)
KEPT = 1000  # rows for each prefix of each beam: none is ever taken away


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, list[int]]]:
    """How many rows there were whenever some became free, and places whenever they were too few."""
    sizes: dict[str, list[int]] = {"rows": [], "nodes": [], "traces": []}
    free = NetworkRows.free

    def freeing(rows: NetworkRows, beams: Beams, used: NDArray[np.bool_]) -> Beams:
        sizes["rows"].append(len(rows))
        return free(rows, beams, used)

    def growing(beams: Beams) -> Beams:
        roomy = with_room(beams)
        for name in ("nodes", "traces"):
            if getattr(roomy, name) is not getattr(beams, name):
                sizes[name].append(getattr(beams, name).shape[1])
        return roomy

    def allocating(frames: NDArray[np.int64], breadth: Breadth, num_labels: int) -> Beams:
        beams = allocate_beams(frames, breadth, num_labels)
        few = {
            name: getattr(beams, name)[:, : breadth.beam_size + 1].copy()
            for name in ("nodes", "rows", "stamps", "asked_at", "traces")
        }
        return beams._replace(**few)

    monkeypatch.setattr(NetworkRows, "free", freeing)
    monkeypatch.setattr(transducer, "with_room", growing)
    monkeypatch.setattr(transducer, "allocate_beams", allocating)
    return sizes


def found(search: TransducerSearch) -> list[list[tuple[Any, ...]]]:
    """Tokens with the times of their words, and scores."""
    lists = search.decode_nbest(ENCODED, torch.tensor(LENGTHS), nbest=4)
    return [
        [((h.tokens, [w[:3] for w in h.words]), h.log_prob, h.lm_log_prob) for h in hypotheses]
        for hypotheses in lists
    ]


@pytest.mark.parametrize("beam_size", [3, 6])
@pytest.mark.parametrize("symbols", [1, 4])
@pytest.mark.parametrize("neural", [False, True])
def test_memory_that_is_used_again(
    beam_size: int,
    symbols: int,
    neural: bool,
    counted: dict[str, list[int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    search = TransducerSearch(
        made_networks(4, seed=2, blank=-1.0),
        NAMES,
        lm=made_neural() if neural else None,
        fusion=Fusion(0.3, unit="token" if neural else "word"),
        limits=TransducerLimits(beam_size, max_symbols_per_frame=symbols),
    )
    monkeypatch.setattr(transducer, "ROWS", 1)
    tight = found(search)
    assert len(counted["rows"]) > 5
    assert max(counted["rows"]) <= 32 * beam_size
    assert len(counted["nodes"]) > 2
    assert len(counted["traces"]) > 2
    counted["rows"].clear()
    monkeypatch.setattr(transducer, "ROWS", KEPT)
    for one, other in zip(found(search), tight, strict=True):
        assert [said for said, *_ in one] == [said for said, *_ in other]
        # The last digits may depend on what the networks are asked about at once.
        for (_, *scores), (_, *expected) in zip(one, other, strict=True):
            assert scores == pytest.approx(expected, abs=1e-3)
    assert len(counted["rows"]) == 1, "only at the beginning"
    assert len({tokens for each in tight for (tokens, _), *_ in each}) > 4
