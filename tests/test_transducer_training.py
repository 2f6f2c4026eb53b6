"""A transducer from recipe to transcript, and a training of one that is stopped."""

from pathlib import Path

import pytest
import torch

import asr
from asr.decoder import Decoding
from asr.decoding.transducer import TransducerSearch
from asr.decoding.transducer_greedy import TransducerGreedy
from asr.experiment import train_recipe
from tests.made import TEST_TEXTS, quiet, spoken
from tests.stopped import whole_and_stopped

SMALL = ["objective.name=transducer", "objective.joint_size=32", "objective.prediction_size=16"]


@pytest.fixture(scope="module")
def bundle(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A transducer that has learned the made-up corpus, from the encoder of a CTC model on."""
    run = tmp_path_factory.mktemp("transducer") / "run"
    begins = f"pretrain.encoder={trained / 'run' / 'best'}"
    overrides = [*SMALL, begins, "objective.joint=additive", "training.epochs=8"]
    return train_recipe(trained / "beeps", overrides=overrides, out=run, say=quiet).bundle


def test_it_learns(bundle: Path) -> None:
    recognizer = asr.load(bundle, device="cpu")
    assert isinstance(recognizer.decoder, TransducerGreedy)
    assert recognizer.facts["test"]["cer"] <= 0.2
    transcript = recognizer.transcribe(spoken("FACE BED"))
    assert transcript.text == "FACE BED"
    face, bed = transcript.words
    assert 0 <= face.start < face.end <= bed.start < bed.end <= transcript.duration


def test_a_search_finds_the_same_and_lists_others(bundle: Path) -> None:
    recognizer = asr.load(bundle, device="cpu", decoding=Decoding(beam_size=4))
    assert isinstance(recognizer.decoder, TransducerSearch)
    assert [recognizer.transcribe(spoken(text)).text for text in TEST_TEXTS] == [
        asr.load(bundle, device="cpu").transcribe(spoken(text)).text for text in TEST_TEXTS
    ]


def test_a_stopped_training_ends_in_the_same_weights(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the bit, with everything that is random switched on; stopped twice within an epoch."""
    overrides = [
        *SMALL,
        "objective.prediction_dropout=0.2",
        "objective.ctc_weight=0.3",
        "encoder.dropout=0.2",
        "augment.noise_probability=0.5",
        "augment.speed_factors=[0.9, 1.0, 1.1]",
        "training.weight_noise=0.01",
        "training.accumulate=3",
        "training.epochs=2",
    ]
    expected, found = whole_and_stopped(trained / "beeps", overrides, tmp_path, monkeypatch)
    assert found.keys() == expected.keys()
    assert "ctc_output.weight" in found
    for name, weights in found.items():
        assert torch.equal(weights, expected[name]), name
