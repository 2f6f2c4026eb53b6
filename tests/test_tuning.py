"""Weights of a language model, found on the made-up corpus."""

import math
import os
import shutil
from pathlib import Path

import pytest

from asr.bundle import read_bundle
from asr.data.manifest import read_manifest
from asr.decoder import Decoding
from asr.decoding.beam import BeamSearch
from asr.decoding.confidence import Calibration
from asr.decoding.hypothesis import Hypothesis, Word
from asr.errors import ConfigError, DataError, ModelError, ResourceError
from asr.lm.arpa import write_arpa
from asr.lm.estimate import estimate
from asr.recognizer import load
from asr.scoring.equivalence import Scoring
from asr.tuning import Confidences, Point, Surface, _Trials, _tuning, tune, write_surface

SURE = Confidences(Calibration(), right=3, wrong=1, before=0.1, after=0.2)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def bundle(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained / "run" / "best", tmp_path / "bundle"))


@pytest.fixture
def arpa(trained: Path, tmp_path: Path) -> Path:
    texts = [u.text for u in read_manifest(trained / "data" / "train.jsonl")]
    model = estimate([*texts, "BED", "CAB FACE", "DAD", "A BEE"], order=2)
    write_arpa(tmp_path / "words.arpa", model.words, model.orders)
    return tmp_path / "words.arpa"


def test_the_best_weights_are_stored_and_used(trained: Path, bundle: Path, arpa: Path) -> None:
    said: list[str] = []
    done: list[tuple[int, int]] = []
    dev = trained / "data" / "dev.jsonl"
    surface = tune(
        bundle,
        dev,
        Decoding(lm=arpa, beam_size=20),
        command="asr tune …",
        say=said.append,
        advance=lambda at, of: done.append((at, of)),
    )
    assert "language model" in said[0]
    assert len(surface.points) == len(done) >= 48
    assert all(at <= of for at, of in done)
    assert surface.best.wer == min(point.wer for point in surface.points)
    [stored] = read_bundle(bundle).tunings
    assert (stored.lm_weight, stored.word_bonus) == (
        surface.best.lm_weight,
        surface.best.word_bonus,
    )
    assert (stored.lm, stored.dev, stored.command) == ("words.arpa", str(dev), "asr tune …")
    assert stored.confidence_scale == surface.confidences.calibration.scale > 0
    assert not any("word bonus" in line for line in said), "it is what is looked for"
    recognizer = load(bundle, decoding=Decoding(lm=arpa), say=said.append)
    assert said[-1].endswith(f"tuned on {dev}")
    assert recognizer.decoder.fusion.lm_weight == surface.best.lm_weight  # type: ignore[attr-defined]


def test_weights_are_for_their_hot_words_and_unknown_penalty(
    trained: Path, bundle: Path, arpa: Path, tmp_path: Path
) -> None:
    hot = tmp_path / "hot.txt"
    hot.write_text("BED\n", encoding="utf-8")
    dev = trained / "data" / "dev.jsonl"
    asked = Decoding(lm=arpa, hotwords=hot, unknown_penalty=3.0, beam_size=4)
    tune(bundle, dev, asked, say=lambda line: None)
    said: list[str] = []
    with_them = load(bundle, decoding=Decoding(lm=arpa, hotwords=hot), say=said.append)
    assert with_them.decoder.fusion.unknown_penalty == 3.0  # type: ignore[attr-defined]
    assert said[-1].endswith(f", unknown penalty 3, tuned on {dev}")
    load(bundle, decoding=Decoding(lm=arpa), say=said.append)
    assert said[-1].startswith("weight 0.5, word bonus 0 (tuned only with another lexicon, hot")


@pytest.mark.parametrize("place", ["bundle", "."])
def test_a_bundle_that_cannot_be_written_is_refused_before_the_search(
    trained: Path, bundle: Path, arpa: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    locked = (bundle.parent / place).resolve()
    usable = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != locked and usable(path, mode))
    monkeypatch.setattr("asr.tuning.evaluate", lambda *given, **more: pytest.fail("too late"))
    advice = "make it writable, or copy the bundle and tune the copy"
    with pytest.raises(ResourceError, match=f"{locked}: cannot be written, so that .*; {advice}"):
        tune(bundle, trained / "data" / "dev.jsonl", Decoding(lm=arpa), say=lambda line: None)


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        (3, 1, "confidences of 4 words, 1 of them wrong: log-odds x 0.5 + 1.25; normalised cross-"
         "entropy 0.200 (0.100 before; 1 is perfect)"),
        (3, 0, "confidences of 3 words, 0 of them wrong: log-odds x 0.5 + 1.25; normalised cross-"
         "entropy not defined: all words are right"),
        (0, 2, "confidences of 2 words, 2 of them wrong: log-odds x 0.5 + 1.25; normalised cross-"
         "entropy not defined: no word is right"),
        (0, 0, "confidences of 0 words, 0 of them wrong: log-odds x 0.5 + 1.25; normalised cross-"
         "entropy not defined: no word is right"),
    ],
)  # fmt: skip
def test_what_confidences_are_worth(right: int, wrong: int, said: str) -> None:
    defined = right and wrong
    before, after = (0.1, 0.2) if defined else (math.nan, math.nan)
    confidences = Confidences(Calibration(0.5, 1.25), right, wrong, before, after)
    assert confidences.line() == said


def test_confidences_of_right_and_wrong_words_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def decoded(self: _Trials, weight: float, bonus: float) -> list[tuple[str, list[Hypothesis]]]:
        words = (Word("A", 0, 1, 0.9), Word("B", 1, 2, 0.6))
        return [("u", [Hypothesis((), -1.0, "A B", words, -1.0)])]

    monkeypatch.setattr(_Trials, "_decoded", decoded)
    best = Point(1.0, 0.0, 0.1, 0.1)
    for said, right, defined in (("A C", 1, True), ("A B", 2, False), ("C D", 0, False)):
        trials = _Trials(BeamSearch(["_", "A"]), {}, {"u": said}, lambda done, total: None)
        found = trials.confidences(best)
        assert (found.right, found.wrong) == (right, 2 - right)
        assert ("not defined" not in found.line()) == defined == (not math.isnan(found.after))


def test_words_are_weighed_as_they_are_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Said: B D. Heard: A Q C, scored as B C: one word is right."""

    def decoded(self: _Trials, weight: float, bonus: float) -> list[tuple[str, list[Hypothesis]]]:
        words = (Word("A", 0, 1, 0.9), Word("Q", 1, 2, 0.8), Word("C", 2, 3, 0.6))
        return [("u", [Hypothesis((), -1.0, "A Q C", words, -1.0)])]

    monkeypatch.setattr(_Trials, "_decoded", decoded)
    search, said = BeamSearch(["_", "A"]), {"u": "B D"}
    scoring = Scoring(replace={"A": "B", "Q": ""})
    trials = _Trials(search, {}, said, lambda done, total: None, scoring=scoring)
    assert trials._point(1.0, 0.0) == Point(1.0, 0.0, wer=1 / 2, cer=1 / 3)
    found = trials.confidences(Point(1.0, 0.0, 0.5, 0.3))
    assert (found.right, found.wrong) == (1, 1)
    plain = _Trials(search, {}, said, lambda done, total: None)
    assert plain._point(1.0, 0.0) == Point(1.0, 0.0, wer=3 / 2, cer=4 / 3)


def test_what_cannot_be_tuned(trained: Path, bundle: Path, arpa: Path, tmp_path: Path) -> None:
    data = trained / "data"
    with pytest.raises(ConfigError, match="asr tune needs --lm"):
        tune(bundle, data / "dev.jsonl", Decoding(beam_size=3))
    with pytest.raises(ConfigError, match="are what asr tune finds; leave them out"):
        tune(bundle, data / "dev.jsonl", Decoding(lm=arpa, lm_weight=1.0))
    with pytest.raises(ConfigError, match=r"test.jsonl: is a test set; .* such as .*dev.jsonl"):
        tune(bundle, data / "test.jsonl", Decoding(lm=arpa))
    renamed = tmp_path / "dev.jsonl"
    renamed.symlink_to(data / "test.jsonl")
    with pytest.raises(ConfigError, match="is a test set"):
        tune(bundle, renamed, Decoding(lm=arpa))
    broken = tmp_path / "broken"
    shutil.copytree(data, broken)
    next((broken / "wav").glob("dev-*.wav")).write_bytes(b"no sound")
    with pytest.raises(DataError, match=r"1 recordings of .* cannot be read, such as 'dev-"):
        tune(bundle, broken / "dev.jsonl", Decoding(lm=arpa, beam_size=2), say=lambda line: None)


def test_the_surface_is_a_table_and_a_picture(tmp_path: Path) -> None:
    points = tuple(
        Point(weight, bonus, abs(weight - 1) + abs(bonus) / 10, 0.0)
        for weight in (0.0, 1.0, 2.0)
        for bonus in (0.0, 1.0)
    )
    surface = Surface(points, points[2], 1.5, SURE)
    assert surface.table().split("\n")[:4] == [
        "word error rate in %: weights of the model down, word bonuses across; * the choice",
        "weight\\bonus        0        1",
        "           0  100.00   110.00 ",
        "           1    0.00*   10.00 ",
    ]
    table, picture = write_surface(surface, tmp_path / "surface")
    assert table.read_text(encoding="utf-8") == surface.table()
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_there_is_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    point = Point(1.0, 0.0, 0.1, 0.1)
    written = write_surface(Surface((point,), point, 0.2, SURE), tmp_path)
    assert [path.name for path in written] == ["surface.txt"]


def test_of_equally_good_weights_those_in_the_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where everything is equally good, bonuses at the edge would favour deletions."""

    def point(self: _Trials, weight: float, bonus: float) -> Point:
        return Point(weight, bonus, 0.0, 0.0)

    monkeypatch.setattr(_Trials, "_point", point)
    _, best = _Trials(BeamSearch(["_", "A"]), {}, {}, lambda done, total: None).run()
    assert 0.5 <= best.lm_weight <= 2
    assert 0 <= best.word_bonus <= 3


def test_weights_are_of_a_language_model_and_of_our_search(
    trained: Path, bundle: Path, arpa: Path
) -> None:
    surface = Surface((), Point(1.0, 0.0, 0.1, 0.1), 0.2, SURE)
    with pytest.raises(ValueError, match="a search without a language model has no weights"):
        _tuning(BeamSearch(["_", "A"]), Decoding(), Path("dev.jsonl"), surface, "")
    with pytest.raises(ConfigError, match="found with our own search, not with pyctcdecode"):
        tune(
            bundle,
            trained / "data" / "dev.jsonl",
            Decoding(lm=arpa, engine="pyctcdecode"),
            say=lambda line: None,
        )
    (bundle / "notes").mkdir()
    with pytest.raises(ModelError, match="notes: a folder inside the bundle; move it elsewhere"):
        tune(bundle, trained / "data" / "dev.jsonl", Decoding(lm=arpa))
