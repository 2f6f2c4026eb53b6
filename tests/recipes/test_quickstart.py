import itertools
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.data.manifest import read_manifest
from asr.errors import DataError
from asr.made_speech import MARK
from recipes.quickstart import grammar
from recipes.quickstart.grammar import draw_sentences, expand, num_derivations, vocabulary
from recipes.quickstart.prepare import SETTINGS, CorpusSettings, plan, prepare

TINY = CorpusSettings(num_train=4, num_dev=1, num_test=2)
MANIFESTS = ("train", "dev", "test")


def quiet(done: int, total: int) -> None:
    pass


def prepare_tiny(out: Path, settings: CorpusSettings = TINY) -> None:
    prepare([], out, settings=settings, report=quiet)


def content(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture
def small_grammar(monkeypatch):
    slots = {
        "sentence": ("GO {where}", "{name}'S {thing}", "STOP"),
        "where": ("HOME", "TO {name}"),
        "name": ("ANNA", "JOHN"),
        "thing": ("CAT", "DOG", "CAR"),
    }
    monkeypatch.setattr(grammar, "SLOTS", slots)
    num_derivations.cache_clear()
    yield {
        *("GO HOME", "GO TO ANNA", "GO TO JOHN", "STOP"),
        *(f"{name}'S {thing}" for name in ("ANNA", "JOHN") for thing in ("CAT", "DOG", "CAR")),
    }
    num_derivations.cache_clear()


def test_the_grammar_gives_exactly_its_sentences(small_grammar):
    generator = np.random.default_rng(0)
    drawn = {expand("{sentence}", generator) for _ in range(1000)}
    assert drawn == small_grammar
    assert num_derivations("sentence") == len(small_grammar)
    assert vocabulary() == sorted({word for text in small_grammar for word in text.split()})


def test_more_sentences_than_the_grammar_has_are_refused(small_grammar):
    with pytest.raises(ValueError, match="2 sentences of 10; draw at most 1"):
        draw_sentences(2, np.random.default_rng(0))


def test_sentences_are_different_and_in_the_alphabet():
    sentences = draw_sentences(500, np.random.default_rng(3))
    assert len(set(sentences)) == 500
    letters = set("".join(sentences))
    assert letters <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZ' ")
    assert {word for text in sentences for word in text.split()} <= set(vocabulary())
    assert all(text == " ".join(text.split()) for text in sentences)


def test_the_vocabulary_is_small_and_all_of_it_is_trained():
    planned = plan(SETTINGS)
    counts = Counter(word for item in planned["train"] for word in item.text.split())
    assert 100 <= len(vocabulary()) <= 150
    assert set(counts) == set(vocabulary())
    assert min(counts.values()) >= 5


def test_sentences_and_voices_of_the_three_sets_are_disjoint():
    planned = plan(SETTINGS)
    texts = {name: {item.text for item in items} for name, items in planned.items()}
    throats = {name: {item.voice.variant for item in items} for name, items in planned.items()}
    for one, other in itertools.combinations(MANIFESTS, 2):
        assert not texts[one] & texts[other]
        assert not throats[one] & throats[other]
    assert [len(texts[name]) for name in MANIFESTS] == [1500, 100, 150]
    assert len(throats["train"]) >= 32
    assert len(throats["dev"]) >= 5
    assert len(throats["test"]) >= 6


def test_more_training_data_leaves_dev_and_test_as_they_are():
    small, large = plan(TINY), plan(replace(TINY, num_train=20))
    assert small["dev"] == large["dev"]
    assert small["test"] == large["test"]
    assert small["train"] == large["train"][:4]


def test_the_corpus_has_real_files_that_agree_with_its_manifests(tmp_path):
    prepare_tiny(tmp_path / "data")
    for name, size in zip(MANIFESTS, (4, 1, 2), strict=True):
        utterances = read_manifest(tmp_path / "data" / f"{name}.jsonl")
        assert len(utterances) == size
        assert [u.text for u in utterances] == [planned.text for planned in plan(TINY)[name]]
        for utterance in utterances:
            waveform, sample_rate = soundfile.read(utterance.audio)
            assert sample_rate == 16_000
            assert waveform.ndim == 1
            assert len(waveform) / 16_000 == pytest.approx(utterance.duration, abs=1e-9)
            assert utterance.audio.parent.name == utterance.speaker
            assert utterance.audio.parent.parent == tmp_path / "data" / "wav"
            assert 0.02 < np.abs(waveform).max() <= 0.96


def test_the_same_settings_give_the_same_corpus_and_another_seed_another(tmp_path):
    for name, settings in (("a", TINY), ("b", TINY), ("c", replace(TINY, seed=2))):
        prepare_tiny(tmp_path / name, settings)
    first, second, other = (content(tmp_path / name) for name in "abc")
    assert first == second
    assert first["train.jsonl"] != other["train.jsonl"]


def test_a_complete_corpus_is_kept(tmp_path):
    prepare_tiny(tmp_path)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.wav")}
    prepare([], tmp_path, settings=TINY, report=lambda done, total: pytest.fail("made again"))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.wav")} == times


@pytest.mark.parametrize("lost", ["dev.jsonl", "wav/*/train-0003.wav"])
def test_an_incomplete_corpus_is_completed(tmp_path, lost):
    prepare_tiny(tmp_path)
    expected = content(tmp_path)
    next(tmp_path.glob(lost)).unlink()
    prepare_tiny(tmp_path)
    assert content(tmp_path) == expected


@pytest.mark.parametrize(
    ("name", "damage"), [(MARK, "{"), (MARK, "{}"), ("dev.jsonl", ""), ("dev.jsonl", '{"id": 3}\n')]
)
def test_a_damaged_corpus_is_made_again(tmp_path, name, damage):
    prepare_tiny(tmp_path)
    expected = content(tmp_path)
    (tmp_path / name).write_text(damage)
    prepare_tiny(tmp_path)
    assert content(tmp_path) == expected


def test_an_interrupted_corpus_is_made_again_cleanly(tmp_path):
    def interrupt(done: int, total: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    prepare_tiny(tmp_path / "expected")
    prepare_tiny(tmp_path / "data", replace(TINY, seed=2))
    with pytest.raises(KeyboardInterrupt):
        prepare([], tmp_path / "data", settings=replace(TINY, num_train=60), report=interrupt)
    assert 4 <= len(list(tmp_path.glob("data/wav/*/*.wav"))) < 30  # the rest was not begun
    assert not json.loads((tmp_path / "data" / MARK).read_text())["complete"]
    prepare_tiny(tmp_path / "data")
    made, expected = content(tmp_path / "data"), content(tmp_path / "expected")
    assert made == expected


def test_other_settings_replace_the_corpus(tmp_path):
    prepare_tiny(tmp_path, replace(TINY, num_train=9))
    prepare_tiny(tmp_path)
    assert len(list(tmp_path.rglob("*.wav"))) == 7
    assert len(read_manifest(tmp_path / "train.jsonl")) == 4


def test_a_corpus_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(DataError, match="makes its own speech and reads no corpus; leave out"):
        prepare([tmp_path], tmp_path / "data", settings=TINY)
    assert not (tmp_path / "data").exists()


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    (tmp_path / "wav").mkdir()
    (tmp_path / "wav" / "mine.wav").write_bytes(b"precious")
    with pytest.raises(DataError, match="holds files that the quickstart did not make"):
        prepare_tiny(tmp_path)
    assert (tmp_path / "wav" / "mine.wav").read_bytes() == b"precious"


def test_a_lock_and_a_half_written_mark_are_no_other_files(tmp_path):
    for name in (".lock", f".{MARK}.tmp-1"):
        (tmp_path / name).touch()
    prepare_tiny(tmp_path)
    assert len(read_manifest(tmp_path / "train.jsonl")) == 4
