"""Transducers where decoders are chosen, and many utterances together."""

import numpy as np
import pytest
import torch

from asr.data.labels import read_labels
from asr.decoder import Decoding, build_search
from asr.decoding import batch
from asr.decoding.batch import decode_each
from asr.decoding.beam import BeamSearch
from asr.decoding.transducer import TransducerLimits, TransducerSearch
from asr.errors import ConfigError, DataError
from tests.decoding.made_transducer import made_encoded, made_networks

LABELS = read_labels(["_", " ", "A", "B"])


@pytest.mark.parametrize("together", [1, 30, 10_000])
def test_utterances_of_similar_lengths_are_decoded_together_and_come_in_their_order(
    together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "FRAMES_TOGETHER", together)
    lengths = [9, 0, 14, 3, 9, 1, 30]
    encoded = made_encoded(lengths)
    outputs = {f"u{9 - i}": encoded[i, :length].numpy().copy() for i, length in enumerate(lengths)}
    search = TransducerSearch(made_networks(4), LABELS, limits=TransducerLimits(4))
    sizes: list[tuple[int, int]] = []
    decode_nbest = search.decode_nbest

    def counted(*given: torch.Tensor, **settings: object) -> object:
        sizes.append(tuple(given[0].shape[:2]))
        return decode_nbest(*given, **settings)

    monkeypatch.setattr(search, "decode_nbest", counted)
    found = dict(decode_each(search, outputs, nbest=3, frame_seconds=0.5))
    assert list(found) == list(outputs)
    for name, array in outputs.items():
        alone = decode_nbest(torch.from_numpy(array)[None], nbest=3, frame_seconds=0.5)[0]
        assert [(h.tokens, h.text) for h in found[name]] == [(h.tokens, h.text) for h in alone]
        assert [[w.start for w in h.words] for h in found[name]] == [
            [w.start for w in h.words] for h in alone
        ]
        assert [h.log_prob for h in found[name]] == pytest.approx([h.log_prob for h in alone])
    assert sum(number for number, _ in sizes) == len(lengths)
    assert all(number == 1 or number * frames <= together for number, frames in sizes)
    assert {1: len(sizes) == 7, 30: 1 < len(sizes) < 7, 10_000: len(sizes) == 1}[together]
    frames = [longest for _, longest in sizes]
    assert frames == sorted(frames)


def test_an_error_names_the_utterance() -> None:
    outputs = {f"u{index}": made_encoded([4])[0].numpy().copy() for index in range(5)}
    outputs["u3"][2] = np.nan
    search = TransducerSearch(made_networks(4), LABELS)
    with pytest.raises(DataError, match=r"^utterance 'u3': .* has outputs that are not finite"):
        list(decode_each(search, outputs))


def test_nothing_to_decode() -> None:
    search = TransducerSearch(made_networks(4), LABELS)
    assert list(decode_each(search, {})) == []


def test_a_transducer_gets_its_own_search() -> None:
    networks = made_networks(4)
    given = Decoding(beam_size=7, beam_threshold=3.0, max_symbols_per_frame=2)
    search = build_search(given, LABELS, print, vocabulary={}, networks=networks)
    assert isinstance(search, TransducerSearch)
    assert search.limits == TransducerLimits(7, 3.0, max_symbols_per_frame=2)
    assert search.beam_size == 7
    assert search.signature == "beam:7"
    of_ctc = build_search(Decoding(beam_size=7), LABELS, print, vocabulary={})
    assert isinstance(of_ctc, BeamSearch)


@pytest.mark.parametrize(
    ("given", "transducer", "message"),
    [
        ({"max_symbols_per_frame": 3}, False, "max_symbols_per_frame has no effect on a CTC model"),
        (
            {"engine": "pyctcdecode"},
            True,
            "--decoder pyctcdecode searches what CTC models put out, no transducer",
        ),
        ({"max_symbols_per_frame": 0}, True, "max_symbols_per_frame must be at least 1, got 0"),
        ({"beam_size": 0}, True, "beam_size must be at least 1, got 0"),
    ],
)
def test_what_does_not_go_with_a_kind_of_model(
    given: dict[str, object], transducer: bool, message: str
) -> None:
    networks = made_networks(4) if transducer else None
    with pytest.raises(ConfigError, match=message):
        build_search(
            Decoding(**given),  # type: ignore[arg-type]
            LABELS,
            print,
            vocabulary={},
            networks=networks,
        )
