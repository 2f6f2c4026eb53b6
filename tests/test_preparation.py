"""Recipes run their own program; anybody's recordings run none. Corpora are made up."""

import json
import os
import sys
from pathlib import Path

import pytest

from asr.data.corpus.prepared import find_prepared
from asr.data.manifest import read_manifest
from asr.errors import ConfigError, DataError
from asr.preparation import load_preparation, prepare
from tests.data.corpus.small_sounds import record, write

PROGRAM = """
from pathlib import Path

from asr.data.manifest import Utterance
from asr.data.corpus.prepared import write_splits

def prepare(corpus, out):
    folder = corpus[0] if corpus else out / "downloaded"
    sets = {
        name: [Utterance(id=name, audio=folder / f"{name}.wav", duration=1.0, text="A")]
        for name in ("train", "dev", "test")
    }
    write_splits(out, sets)
"""


def recipe(folder: Path, program: str | None = PROGRAM, settings: str = "seed = 1") -> Path:
    write(folder / "recipe.toml", settings)
    if program is not None:
        write(folder / "prepare.py", program)
    return folder


def own_recordings(folder: Path, speakers: int = 12, each: int = 2) -> Path:
    for speaker in range(speakers):
        for number in range(each):
            record(folder / f"s{speaker}" / f"{number}.wav")
            write(folder / f"s{speaker}" / f"{number}.txt", "HELLO")
    return folder


@pytest.fixture(autouse=True)
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ASR_CORPORA", raising=False)
    return tmp_path


def audio_of(folder: Path, name: str = "train") -> Path:
    return read_manifest(folder / f"{name}.jsonl")[0].audio


def test_a_recipe_runs_its_program_on_the_corpus_that_is_given(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    prepared = prepare(recipe(tmp_path / "mine"), corpus=[Path("here")])
    assert prepared.out == Path("data/mine")
    assert prepared.counts == {"train": 1, "dev": 1, "test": 1}
    assert audio_of(tmp_path / "data/mine") == tmp_path / "here" / "train.wav"
    assert find_prepared(Path("data/mine")) == prepared


def test_without_a_corpus_the_usual_place_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = recipe(tmp_path / "mine")
    monkeypatch.setenv("ASR_CORPORA", str(tmp_path / "corpora"))
    prepare(folder)
    assert audio_of(tmp_path / "data/mine").parent.name == "downloaded"
    (tmp_path / "corpora" / "mine").mkdir(parents=True)
    prepare(folder)
    assert audio_of(tmp_path / "data/mine").parent == tmp_path / "corpora" / "mine"
    (tmp_path / "corpora" / "other").mkdir()
    write(folder / "prepare.py", PROGRAM + 'CORPUS_FOLDER = "other"')
    prepare(folder)
    assert audio_of(tmp_path / "data/mine").parent == tmp_path / "corpora" / "other"


def test_the_manifests_go_where_the_recipe_reads_them(tmp_path: Path) -> None:
    folder = recipe(tmp_path / "mine", settings='[data]\ntrain = "put/here/train.jsonl"')
    assert prepare(folder).out == Path("put/here")
    assert prepare(folder, out=Path("there")).out == Path("there")
    write(folder / "odd.toml", '[data]\ntrain = "elsewhere/all.jsonl"')
    assert prepare(folder / "odd.toml").out == Path("data/mine")


def test_a_variant_tells_the_program_its_name(tmp_path: Path) -> None:
    program = PROGRAM.replace("corpus, out)", "corpus, out, *, variant)").replace('"A"', "variant")
    folder = recipe(tmp_path / "mine", program)
    write(folder / "mini.toml", '[data]\ntrain = "data/mine-mini/train.jsonl"')
    prepare(folder / "mini.toml")
    prepare(folder)
    assert read_manifest(Path("data/mine-mini/train.jsonl"))[0].text == "mini"
    assert read_manifest(Path("data/mine/train.jsonl"))[0].text == "recipe"


def test_each_variant_may_have_a_corpus_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = 'CORPUS_FOLDER = {"recipe": "one", "other": "two"}'
    folder = recipe(tmp_path / "mine", PROGRAM + folders)
    for name in ("other", "third"):
        write(folder / f"{name}.toml", "seed = 1")
    monkeypatch.setenv("ASR_CORPORA", str(tmp_path / "corpora"))
    for name in ("one", "two", "mine"):
        (tmp_path / "corpora" / name).mkdir(parents=True)
    for variant, place in (("recipe", "one"), ("other", "two"), ("third", "mine")):
        prepare(folder / f"{variant}.toml")
        assert audio_of(tmp_path / "data/mine").parent == tmp_path / "corpora" / place


def test_hours_are_for_recipes_that_make_their_speech(tmp_path: Path) -> None:
    program = PROGRAM.replace("prepare(corpus, out)", "prepare(corpus, out, hours=1.0)")
    spoken = program.replace('text="A"', 'text=f"{hours} HOURS"')
    folder = recipe(tmp_path / "made", spoken)
    for given, text in ((None, "1.0 HOURS"), (2.5, "2.5 HOURS")):
        prepare(folder, hours=given)
        assert read_manifest(Path("data/made/train.jsonl"))[0].text == text
    with pytest.raises(ConfigError, match="mine: reads a corpus; --hours is for recipes that make"):
        prepare(recipe(tmp_path / "mine"), hours=1.0)
    with pytest.raises(ConfigError, match="own: is no recipe; --hours is for recipes that make"):
        prepare(own_recordings(tmp_path / "own"), hours=1.0)


def test_preparing_again_gives_the_same(tmp_path: Path) -> None:
    folder = recipe(tmp_path / "mine")
    out = prepare(folder).out
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert prepare(folder).out == out
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_a_program_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    folder = recipe(tmp_path / "mine")
    out = prepare(folder).out
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    text = PROGRAM.replace("    write_splits", '    del sets["test"]\n    write_splits')
    write(folder / "prepare.py", text)
    with pytest.raises(DataError, match="no test set, and nobody said why"):
        prepare(folder)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_manifests_that_a_program_wrote_itself_are_checked(tmp_path: Path) -> None:
    program = PROGRAM.replace(
        "    write_splits(out, sets)",
        "    from asr.data.manifest import write_manifest\n"
        "    for name in sets:\n"
        '        write_manifest(out / f"{name}.jsonl", sets[name])',
    )
    folder = recipe(tmp_path / "mine", program)
    assert prepare(folder).counts == {"train": 1, "dev": 1, "test": 1}
    write(folder / "prepare.py", program.replace("folder / f", 'folder / "same.wav" or f'))
    with pytest.raises(DataError, match="train and dev share 1 recording"):
        prepare(folder)
    write(folder / "prepare.py", "def prepare(corpus, out): pass")
    with pytest.raises(DataError, match=r"train\.jsonl, dev\.jsonl, test\.jsonl not written by"):
        prepare(folder, out=Path("new"))


def test_programs_may_import_their_neighbours(tmp_path: Path) -> None:
    folder = recipe(tmp_path / "my-own", "from .words import WORD\ndef prepare(corpus, out): ...")
    write(folder / "words.py", 'WORD = "HELLO"')
    program = load_preparation(folder)
    assert program.WORD == "HELLO"
    assert program.__name__ == "recipes.my-own.prepare"
    assert sys.modules["recipes.my-own.prepare"] is program


def test_recipes_without_a_usable_program(tmp_path: Path) -> None:
    folder = recipe(tmp_path / "mine", None)
    with pytest.raises(ConfigError, match=r"mine: has no prepare\.py; write its manifests by hand"):
        prepare(folder)
    write(folder / "prepare.py", "prepare = None")
    with pytest.raises(ConfigError, match=r"prepare\.py: has no function prepare\(corpus, out\)"):
        prepare(folder)


def test_folders_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere: no such recipe, and no folder of recordings"):
        prepare(Path("nowhere"))
    with pytest.raises(DataError, match=r"nowhere: no such folder; --corpus needs the unpacked"):
        prepare(recipe(tmp_path / "mine"), corpus=[Path("nowhere")])


def test_recordings_of_ones_own_are_split_by_speaker_and_run_nothing(tmp_path: Path) -> None:
    folder = own_recordings(tmp_path / "mine")
    write(folder / "prepare.py", "raise SystemExit('this must not run')")
    prepared = prepare(folder)
    assert prepared.out == Path("data/mine")
    assert sum(prepared.counts.values()) == 24
    assert sum(prepared.speakers.values()) == 12
    assert prepared.shared_speakers is None
    assert prepared.notes == ("read as a text file beside each recording; speakers by sub-folder",)
    assert not Path("data/mine/skipped.jsonl").exists()


def test_names_of_any_bytes_survive(tmp_path: Path) -> None:
    """Each of them is one utterance; nothing is run, nothing lands outside, nothing collides."""
    mine = tmp_path / "mine"
    names = [b"-rf", b"two\nlines", b";$(touch x)", b"'quotes\"", b"\xff\xfe", b"n" * 250]
    for name in names:
        record(mine / os.fsdecode(name + b".wav"))
        write(mine / os.fsdecode(name + b".txt"), "HELLO")
    prepared = prepare(mine)
    entries = [entry for path in prepared.paths.values() for entry in read_manifest(path)]
    assert len({entry.id for entry in entries}) == len(names)
    assert all(entry.audio.is_file() for entry in entries)
    assert {path.name for path in tmp_path.iterdir()} == {"mine", "data"}


def test_recordings_of_few_people_share_them_and_that_is_said(tmp_path: Path) -> None:
    prepared = prepare(own_recordings(tmp_path / "mine", speakers=2, each=20))
    assert prepared.shared_speakers == (
        "2 speakers are named, too few to keep apart: split by recording, so the scores hold for "
        "these speakers only"
    )
    alone = prepare(own_recordings(tmp_path / "alone", speakers=1, each=20))
    assert str(alone.shared_speakers).startswith("no speaker known: split by recording")


def test_what_is_dropped_is_listed(tmp_path: Path) -> None:
    folder = own_recordings(tmp_path / "mine")
    record(folder / "s0" / "untold.wav")
    with pytest.raises(DataError, match=r"untold\.wav: has no transcript\n.*--drop-bad"):
        prepare(folder)
    assert not Path("data").exists()
    prepared = prepare(folder, drop_bad=True)
    assert prepared.notes[1] == "1 left out, listed in skipped.jsonl"
    (line,) = Path("data/mine/skipped.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line) == {
        "where": str(folder / "s0" / "untold.wav"),
        "reason": "has no transcript",
    }
    write(folder / "s0" / "untold.txt", "NOW TOLD")
    prepare(folder)
    assert not Path("data/mine/skipped.jsonl").exists()


def test_sets_that_a_folder_keeps_apart_are_kept(tmp_path: Path) -> None:
    for name, speakers in (("train", 20), ("test", 3)):
        own_recordings(tmp_path / "mine" / name, speakers)
    prepared = prepare(tmp_path / "mine")
    assert prepared.shared_speakers == "the folder itself has them in several of its sets"
    assert prepared.counts["test"] == 6
    assert prepared.counts["train"] + prepared.counts["dev"] == 40
    assert prepared.counts["dev"] == 4
    assert prepared.notes[1:] == ("the folder has no dev: dev was taken out of train",)


def test_sets_without_train_are_refused(tmp_path: Path) -> None:
    own_recordings(tmp_path / "mine" / "test")
    with pytest.raises(DataError, match="the folder keeps test apart, but has no train"):
        prepare(tmp_path / "mine")


def test_options_that_do_not_go_together(tmp_path: Path) -> None:
    own = own_recordings(tmp_path / "own")
    with pytest.raises(ConfigError, match=r"own: no recipe\.toml here, .* without --corpus"):
        prepare(own, corpus=[tmp_path])
    with pytest.raises(ConfigError, match=r"0\.wav: no recipe\.toml here, so these are recordings"):
        prepare(own / "s0" / "0.wav")
    with pytest.raises(ConfigError, match="own: the manifests cannot lie among the recordings"):
        prepare(own, out=own)
    with pytest.raises(ConfigError, match="mine: is a recipe; --drop-bad is for recordings of you"):
        prepare(recipe(tmp_path / "mine"), drop_bad=True)


TEXT_PROGRAM = """
from asr.data.corpus.prepared_texts import write_texts

TAKES_FILES = True

def prepare(corpus, out):
    write_texts(out, {name: [f"{name} of {corpus[0].name}"] for name in ("train", "dev", "test")})
"""


def test_a_recipe_of_a_language_model_makes_texts(tmp_path: Path) -> None:
    settings = 'task = "language_model"\n[data]\ntrain = "put/here/train.txt.gz"'
    folder = recipe(tmp_path / "mine", TEXT_PROGRAM, settings)
    write(tmp_path / "book.txt", "A")
    prepared = prepare(folder, corpus=[tmp_path / "book.txt"])
    assert prepared.out == Path("put/here")
    assert prepared.lines()[0] == "put/here/train.txt.gz: 1 lines, 3 words, 17 characters"
    with pytest.raises(DataError, match="none: no such file or folder; --corpus needs"):
        prepare(folder, corpus=[tmp_path / "none"])


def test_a_corpus_of_speech_is_a_folder(tmp_path: Path) -> None:
    write(tmp_path / "book.txt", "A")
    with pytest.raises(DataError, match=r"book\.txt: no such folder; --corpus needs the unpacked"):
        prepare(recipe(tmp_path / "mine"), corpus=[tmp_path / "book.txt"])
