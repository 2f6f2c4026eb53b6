import gzip
from pathlib import Path

import numpy as np
import pytest

from asr.data.labels import labels_of, read_labels
from asr.data.tokenizer import SymbolTokenizer
from asr.data.vocabulary import UNREADABLE
from asr.decoding.beam import BeamLimits, BeamSearch
from asr.decoding.fusion import Fusion
from asr.decoding.pyctcdecode_decoder import PyctcdecodeDecoder
from asr.errors import ConfigError, DataError
from asr.lm.loading import load_lm
from asr.lm.ngram import NgramModel
from tests.decoding.made_lm import made_model
from tests.decoding.search_reference import random_log_probs

NAMES = ["_", " ", "A", "B"]
LIMITS = BeamLimits(beam_size=500, beam_threshold=50.0, token_threshold=-20.0)


def test_it_finds_what_our_search_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    random = np.random.default_rng(0)
    path = made_model(random, ["A", "AB", "BA"], 2).write(tmp_path / "made.arpa")
    lm = load_lm(path)
    assert isinstance(lm, NgramModel)
    fusion = Fusion(lm_weight=0.6, word_bonus=0.3, unknown_penalty=2.0)
    ours = BeamSearch(NAMES, lm=lm, fusion=fusion, limits=LIMITS)
    theirs = PyctcdecodeDecoder(read_labels(NAMES), path, fusion, LIMITS)
    scores = np.stack([random_log_probs(random, 12, 4, sharpness=3.0) for _ in range(10)])
    same = 0
    for mine, other in zip(ours.decode_nbest(scores), theirs.decode_nbest(scores), strict=True):
        same += mine[0].text == other[0].text
        for hypothesis in other:
            assert " ".join(word.word for word in hypothesis.words) == hypothesis.text
    assert same >= 8  # it prunes otherwise


def test_without_a_language_model() -> None:
    scores = random_log_probs(np.random.default_rng(1), 9, 4, sharpness=3.0)[None]
    theirs = PyctcdecodeDecoder(read_labels(NAMES), None, Fusion(), LIMITS)
    assert theirs.decode_nbest(scores)[0][0].text == BeamSearch(NAMES).decode(scores)[0].text


def test_the_unknown_symbol_and_an_utterance_without_frames() -> None:
    tokenizer = SymbolTokenizer("characters", ("<blank>", "<unknown>", " ", "A"), "replace")
    labels = labels_of(tokenizer.pieces, tokenizer.symbols)
    decoder = PyctcdecodeDecoder(labels, None, Fusion(), LIMITS)
    frames = np.log(np.array([[0.02, 0.94, 0.02, 0.02], [0.94, 0.02, 0.02, 0.02]]))
    assert decoder.decode_nbest(frames[None])[0][0].text == UNREADABLE
    [[nothing]] = decoder.decode_nbest(frames[None, :0])
    assert (nothing.text, nothing.log_prob) == ("", 0.0)


def test_a_compressed_model_counts_as_the_same_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pyctcdecode lists the words of plain files only, and holds all of the others for unknown."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    random = np.random.default_rng(0)
    path = made_model(random, ["A", "AB", "BA"], 2).write(tmp_path / "made.arpa")
    packed = tmp_path / "made.arpa.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    scores = np.stack([random_log_probs(random, 25, 4, sharpness=3.0) for _ in range(10)])
    limits = BeamLimits(beam_size=20, beam_threshold=10.0)
    plain, other = (
        PyctcdecodeDecoder(read_labels(NAMES), file, Fusion(0.6), limits).decode_nbest(scores)
        for file in (path, packed)
    )
    assert plain == other


def test_it_tells_what_an_error_rate_must_name() -> None:
    decoder = PyctcdecodeDecoder(read_labels(NAMES), None, Fusion(), LIMITS)
    assert decoder.signature == "pyctcdecode|beam:500"


def test_what_it_cannot_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = read_labels(NAMES)
    for fusion in (Fusion(unit="token"), Fusion(kind="prior")):
        with pytest.raises(ConfigError, match="has neither --lm-unit token nor --fusion prior"):
            PyctcdecodeDecoder(labels, None, fusion, LIMITS)
    with pytest.raises(ConfigError, match="for labels that are characters, not '▁A'"):
        PyctcdecodeDecoder(read_labels(["_", "▁A"]), None, Fusion(), LIMITS)
    with pytest.raises(ConfigError, match="needs the blank to be label 0, not 3"):
        PyctcdecodeDecoder(read_labels(NAMES, blank=3), None, Fusion(), LIMITS)
    with pytest.raises(DataError, match=r"none.arpa: cannot be read: No such file"):
        PyctcdecodeDecoder(labels, tmp_path / "none.arpa", Fusion(), LIMITS)
    unigram = made_model(np.random.default_rng(0), ["A"], 1).write(tmp_path / "one.arpa")
    with pytest.raises(DataError, match=r"one.arpa: KenLM cannot read it"):
        PyctcdecodeDecoder(labels, unigram, Fusion(), LIMITS)
    monkeypatch.setitem(__import__("sys").modules, "pyctcdecode.decoder", None)
    with pytest.raises(ConfigError, match=r"pip install 'asr-toolkit\[decoders\]'"):
        PyctcdecodeDecoder(labels, None, Fusion(), LIMITS)
