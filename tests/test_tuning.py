"""Weights of a language model, found on the made-up corpus."""

import shutil
from pathlib import Path

import pytest

from asr.bundle import read_bundle
from asr.data.manifest import read_manifest
from asr.decoder import Decoding
from asr.decoding.beam import BeamSearch
from asr.decoding.confidence import Calibration
from asr.errors import ConfigError, DataError, ModelError
from asr.lm.arpa import write_arpa
from asr.lm.estimate import estimate
from asr.recognizer import load
from asr.tuning import Point, Surface, _Trials, _tuning, tune, write_surface


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
    assert stored.confidence_scale == surface.calibration.scale > 0
    recognizer = load(bundle, decoding=Decoding(lm=arpa), say=said.append)
    assert said[-1].endswith(f"tuned on {dev}")
    assert recognizer.decoder.fusion.lm_weight == surface.best.lm_weight  # type: ignore[attr-defined]


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
    surface = Surface(points, points[2], 1.5, Calibration(), (0.1, 0.2))
    assert surface.table().split("\n")[:3] == [
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
    written = write_surface(Surface((point,), point, 0.2, Calibration(), (0.1, 0.2)), tmp_path)
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
    surface = Surface((), Point(1.0, 0.0, 0.1, 0.1), 0.2, Calibration(1.0, 0.0), (0.0, 0.0))
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
