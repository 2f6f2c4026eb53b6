"""Sentences of a text become a corpus of made speech, with all that the chain of WSJ needs."""

import gzip
import itertools
import random
from dataclasses import replace
from pathlib import Path

import pytest

from asr.cli.main import main
from asr.data.manifest import read_manifest
from asr.errors import ConfigError, DataError
from asr.lm.text_lines import read_text_lines
from asr.made_speech import MARK
from asr.preparation import prepare as prepare_recipe
from recipes.made_wsj.prepare import SETTINGS, plan, prepare, speakers_of_sets
from recipes.made_wsj.sentences import Sentences, draw_sentences, seconds_of, spoken_form

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "recipes" / "made_wsj"
TINY = replace(SETTINGS, num_dev=2, num_test=3)
HOURS = 0.01
SENTENCE = "the old man saw a red boat near his house and she'd never heard of such bad luck"
WORDS = SENTENCE.split()


def quiet(done: int, total: int) -> None:
    pass


def novel(path: Path, count: int = 400) -> Path:
    """Made-up sentences of 2 to 22 words; some lines cannot be said."""
    draw = random.Random(1)  # noqa: S311 - no secret
    lines = [" ".join(draw.choices(WORDS, k=draw.randint(2, 22))) for _ in range(count)]
    lines[7], lines[11], lines[13] = "in 1875 he died", "the café was shut", ""
    path.write_text("\n".join(f"{line}." for line in lines) + "\n", encoding="utf-8")
    return path


def sentences(path: Path, *, hours: float = HOURS, seed: int = 1) -> Sentences:
    text = read_text_lines([path], "upper")
    return draw_sentences(text, hours=hours, num_dev=2, num_test=3, seed=seed)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("“WELL—GO!” HE SAID; ‘TIS (NOT) LATE…", "WELL GO HE SAID 'TIS NOT LATE"),
        ("THE BOYS’ SEA-SIDE O'CLOCK", "THE BOYS' SEA SIDE O'CLOCK"),
        ("IN 1875", ""),
        ("THE CAFÉ", ""),
        ("ROCK ' ROLL", ""),
        ("£5", ""),
        ("", ""),
    ],
)
def test_a_line_as_it_is_said(line: str, said: str) -> None:
    assert spoken_form(line) == said


def test_sets_share_no_sentence_and_the_models_see_train_alone(tmp_path: Path) -> None:
    drawn = sentences(novel(tmp_path / "novel.txt"))
    sets = {"train": set(drawn.train), "dev": set(drawn.dev), "test": set(drawn.test)}
    for one, other in itertools.combinations(sets.values(), 2):
        assert not one & other
    assert (len(sets["dev"]), len(sets["test"])) == (2, 3)
    seen = set(drawn.lm_lines())
    assert sets["train"] <= seen
    assert not (sets["dev"] | sets["test"]) & seen
    assert all(4 <= len(text.split()) <= 20 for texts in sets.values() for text in texts)
    assert any(len(line.split()) > 20 for line in seen)
    assert "" not in seen
    assert drawn.unusable == 2


def test_hours_are_about_what_was_asked_for(tmp_path: Path) -> None:
    path = novel(tmp_path / "novel.txt", 4000)
    for hours in (0.05, 0.5):
        drawn = sentences(path, hours=hours)
        seconds = sum(map(seconds_of, drawn.train))
        assert 3600 * hours <= seconds < 3600 * hours + 10
    assert sentences(path, seed=2).train != sentences(path, seed=1).train
    assert sentences(path).train == sentences(path).train


def test_a_sentence_that_stands_in_train_too_is_not_for_test(tmp_path: Path) -> None:
    path = novel(tmp_path / "novel.txt")
    held_out = sentences(path).test[0]
    lines = path.read_text(encoding="utf-8")
    path.write_text(f"{held_out.lower()}\n{lines}", encoding="utf-8")
    drawn = sentences(path)
    assert held_out not in drawn.test
    assert held_out in set(drawn.lm_lines())


def test_hours_that_are_too_many_are_told_in_plain_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recipes.made_wsj.sentences.SECONDS_AROUND", 1e5)
    message = r"for about \d\d+0 h of training speech, not for 100000; give more text, or fewer"
    with pytest.raises(DataError, match=message):
        sentences(novel(tmp_path / "novel.txt"), hours=1e5)


def test_texts_that_are_too_short(tmp_path: Path) -> None:
    path = novel(tmp_path / "novel.txt")
    message = r"sentences of 4 to 20 words for about 0\.\d+ h of training speech, not for 9"
    with pytest.raises(DataError, match=message):
        sentences(path, hours=9)
    short = tmp_path / "short.txt"
    short.write_text("too short\n" * 100, encoding="utf-8")
    with pytest.raises(DataError, match="no sentence of 4 to 20 words for dev that does not occ"):
        sentences(short)
    with pytest.raises(DataError, match="made_wsj: no text: give a file or folder with --corpus"):
        prepare([], tmp_path / "out")


def test_voices_of_the_sets_are_apart() -> None:
    throats = {name: {v.variant for v in said} for name, said in speakers_of_sets().items()}
    for one, other in itertools.combinations(throats.values(), 2):
        assert not one & other


def test_the_corpus_and_what_language_models_need(tmp_path: Path) -> None:
    path, out = novel(tmp_path / "novel.txt"), tmp_path / "out"
    prepare([path], out, hours=HOURS, settings=TINY, report=quiet)
    drawn = sentences(path)
    planned = plan(drawn, TINY)
    for name in ("train", "dev", "test"):
        utterances = read_manifest(out / f"{name}.jsonl")
        assert [u.text for u in utterances] == [p.text for p in planned[name]]
        assert all(u.audio.is_file() for u in utterances)
    text = gzip.decompress((out / "lm.txt.gz").read_bytes()).decode().splitlines()
    assert text == list(drawn.lm_lines())
    dictionary = (out / "dictionary.txt").read_text(encoding="utf-8").split()
    assert dictionary == sorted(word.upper() for word in set(WORDS))
    marked = (out / MARK).read_bytes()
    before = {wav: wav.stat().st_mtime_ns for wav in out.rglob("*.wav")}
    prepare([path], out, hours=HOURS, settings=TINY, report=lambda done, total: pytest.fail("made"))
    assert (out / MARK).read_bytes() == marked
    assert {wav: wav.stat().st_mtime_ns for wav in out.rglob("*.wav")} == before


def test_hours_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    path = novel(tmp_path / "novel.txt")
    command = ["prepare", str(RECIPE), "--corpus", str(path)]
    with pytest.raises(ConfigError, match=r"--hours -1: must be above 0"):
        prepare_recipe(RECIPE, corpus=[path], hours=-1)
    assert main([*command, "--hours", str(HOURS)]) == 0
    said = capsys.readouterr().out
    assert "synthetic: speech made by espeak-ng, no real voice is in it" in said
    assert "2 lines of the text left out: digits, or letters outside A to Z" in said
    assert "words for language models; dictionary.txt: 18 words" in said
    assert len(read_manifest(Path("data/made_wsj/train.jsonl"))) == len(sentences(path).train)
    with pytest.raises(DataError, match="holds files that made_wsj did not make"):
        prepare_recipe(RECIPE, corpus=[path], out=tmp_path)


def test_the_chain_from_text_to_word_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every command of the README, on a corpus and networks so small that nothing is learnt."""
    monkeypatch.chdir(tmp_path)
    prepare(
        [novel(tmp_path / "novel.txt")],
        Path("data/made_wsj"),
        hours=0.004,
        settings=TINY,
        report=quiet,
    )
    small = ["encoder.num_layers=1", "encoder.hidden_size=4", "training.epochs=1"]
    settings = [option for value in small for option in ("--set", value)]
    for variant in ("recipe", "expected_wer"):
        assert main(["train", str(RECIPE / f"{variant}.toml"), *settings]) == 0
    network = ["--set", "model.hidden_size=4", "--set", "training.epochs=1"]
    assert main(["train", str(RECIPE / "prediction.toml"), *network]) == 0
    prediction = ["--set", "objective.prediction_size=4"]
    assert main(["train", str(RECIPE / "transducer.toml"), *settings, *prediction]) == 0
    vocabulary = ["--vocabulary", "data/made_wsj/dictionary.txt"]
    text = "data/made_wsj/lm.txt.gz"
    for order in "123":
        lm = ["--order", order, "-o", f"exp/made_wsj/lm/{order}.arpa"]
        assert main(["lm", "train", text, *vocabulary, *lm]) == 0
    capsys.readouterr()
    for bundle in ("default", "expected_wer", "transducer"):
        command = ["evaluate", f"exp/made_wsj/{bundle}/best", "data/made_wsj/test.jsonl"]
        model = ["--lexicon", "data/made_wsj/dictionary.txt", "--lm", "exp/made_wsj/lm/2.arpa"]
        assert main([*command, *model, "--beam-size", "4"]) == 0
        assert "WER" in capsys.readouterr().out
