"""KenLM binaries: the same numbers as from the ARPA file, and what cannot be done said clearly."""

import base64
import math
import sys
import zlib
from pathlib import Path

import kenlm
import numpy as np
import pytest

from asr.errors import ModelError
from asr.lm.arpa import read_arpa
from asr.lm.kenlm_binary import MAGIC, open_kenlm
from asr.lm.loading import listed_words, load_lm
from asr.lm.protocol import LanguageModel
from asr.storage import file_hash
from tests.lm.plain_ngram import random_model, random_sentence

ARPA = """\\data\\
ngram 1=5
ngram 2=3
ngram 3=2

\\1-grams:
-2	<unk>
-99	<s>	-0.5
-1	</s>
-0.7	a	-0.3
-0.8	b	-0.2

\\2-grams:
-0.3	<s> a	-0.1
-0.4	a b	-0.2
-0.6	b </s>

\\3-grams:
-0.2	<s> a b
-0.1	a b </s>

\\end\\
"""
# KenLM's `build_binary probing` of that: zlib, base 85.
BINARY = (
    "c-qU&O)OBz$yLZGDJihh*U!#KO-##7%}LQq&d=3P&QD2INXswEO)OC;OD!tS%+FIW<zhg9274f}pAks>2Lg}?BUFYN"
    "OdhaD7Gp(`V_;xnKm{QAf;z>$mTjeAJ%ZWUmoJHnvokZ`23$GcKh_pM$Of5ZuBA1p_D}aK7EEOaK#pZ#ICco+UZ}epj"
    "E#-$XU&|s@9Y^Ldm!EiQ_S&+DWhehvGCb5XY4@YjYV%i)K=HDLe!qwtJ!9LVb7svg;_Ht?IGr(0<|yge1B{w<{_I20)"
    "bbiDx}0K7lF*MDb35aW3VX(VtpWy$dJSU0PQSY`2"
)


@pytest.fixture
def binary(tmp_path: Path) -> Path:
    path = tmp_path / "model.bin"
    path.write_bytes(zlib.decompress(base64.b85decode(BINARY)))
    return path


@pytest.fixture
def arpa(tmp_path: Path) -> Path:
    path = tmp_path / "model.arpa"
    path.write_text(ARPA, encoding="utf-8")
    return path


def test_a_binary_scores_as_the_file_that_it_was_made_of(binary: Path, arpa: Path) -> None:
    ours, theirs = load_lm(arpa), load_lm(binary)
    assert theirs.order == 3
    for sentence in (["a", "b"], ["b", "x", "a", "b", "b"], [], ["x"]):
        for bos, eos in ((True, True), (False, True), (True, False)):
            expected = ours.score_sentence(sentence, bos=bos, eos=eos)
            found = theirs.score_sentence(sentence, bos=bos, eos=eos)
            assert found == pytest.approx(expected, abs=1e-5)


def test_what_a_binary_says_of_itself(binary: Path) -> None:
    model = load_lm(binary)
    assert model.words is None
    assert model.sha256() == file_hash(binary)
    assert model.source == binary
    assert ["a" in model, "x" in model, "<unk>" in model] == [True, False, True]
    assert model.word_ids(["<unk>", "<s>", "</s>"]).tolist() == [model.unk, model.bos, model.eos]
    a, x, again = model.word_ids(["a", "x", "a"]).tolist()
    assert a == again > model.eos
    assert x == model.unk


@pytest.mark.parametrize("order", [2, 3, 4])
def test_batches_and_states(tmp_path: Path, order: int) -> None:
    plain = random_model(order, order)
    path = plain.write(tmp_path / "model.arpa")
    models: list[LanguageModel] = [read_arpa(path), open_kenlm(path)]
    random = np.random.default_rng(0)
    sentences = [random_sentence(random, plain, 8) for _ in range(10)]
    totals = []
    for model in models:
        states = np.full(10, model.start(), dtype=np.int32)
        total = np.zeros(10)
        for position in range(8):
            words = model.word_ids([sentence[position] for sentence in sentences])
            log_probs, states = model.score(states, words)
            assert (log_probs.dtype, states.dtype) == (np.float64, np.int32)
            total += log_probs
        totals.append(total)
    np.testing.assert_allclose(totals[0], totals[1], atol=1e-4)
    expected = [sum(plain.sentence(words, eos=False)) * math.log(10) for words in sentences]
    np.testing.assert_allclose(totals[1], expected, atol=1e-4)


def test_equal_states_have_equal_numbers(arpa: Path) -> None:
    model = open_kenlm(arpa)
    a, b = model.word_ids(["a", "b"])
    _, once = model.score([model.start(), 0], [b, b])
    _, again = model.score([model.start(), 0], [b, b])
    assert once.tolist() == again.tolist()
    assert once[0] == once[1], "no longer n-gram ends in b but `a b`"
    _, (after_a,) = model.score([0], [a])
    assert after_a not in once


@pytest.mark.parametrize(
    ("states", "words", "message"),
    [
        ([0, 0], [1], r"states and words must be \(K,\), got \(2,\) and \(1,\)"),
        ([99], [1], "state 99 or word 1 is none that this model gave"),
        ([-1], [1], "state -1 or word 1 is none"),
        ([0], [99], "state 0 or word 99 is none"),
        ([0], [-1], "state 0 or word -1 is none"),
    ],
)
def test_misuse_is_named(arpa: Path, states: list[int], words: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        open_kenlm(arpa).score(states, words)


def test_without_the_package(binary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kenlm", None)
    message = r"is a KenLM binary, .* pip install asr-toolkit\[decoders\], or give the ARPA file"
    with pytest.raises(ModelError, match=message):
        load_lm(binary)


def test_a_broken_binary(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(MAGIC + b" 5\n\0 and nothing more")
    with pytest.raises(ModelError, match="is no KenLM binary that the package kenlm can read") as e:
        load_lm(path)
    assert "\n" not in str(e.value)


def test_the_words_of_a_binary_cannot_be_listed(binary: Path, arpa: Path) -> None:
    assert listed_words(load_lm(arpa)) == ("<unk>", "<s>", "</s>", "a", "b")
    message = r"model\.bin: a KenLM binary cannot be searched with a lexicon of its own words"
    with pytest.raises(ModelError, match=message):
        listed_words(load_lm(binary))


def test_the_binary_is_what_the_comment_says(binary: Path) -> None:
    assert binary.read_bytes().startswith(MAGIC)
    assert kenlm.Model(str(binary)).order == 3
