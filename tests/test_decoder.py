"""From what a user asks for to a search, and what is said of a language model on the way."""

import base64
import shutil
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from asr.building import build_model
from asr.bundle import Bundle, Tuning, add_tuning, read_bundle
from asr.data.labels import read_labels
from asr.data.manifest import read_manifest
from asr.decoder import Decoding, build_decoder, build_search
from asr.decoding.batch import GreedyDecoder
from asr.decoding.beam import BeamSearch
from asr.decoding.confidence import Calibration
from asr.decoding.fusion import Fusion
from asr.decoding.lm_fit import describe_lm
from asr.decoding.pyctcdecode_decoder import PyctcdecodeDecoder
from asr.errors import ConfigError, DataError, ModelError
from asr.lm.loading import load_lm
from asr.lm.ngram import NgramModel
from asr.models.speech import SpeechModel
from asr.storage import file_hash, folder_writer, write_json
from tests.decoding.made_lm import made_model
from tests.lm.made_neural import write_neural
from tests.lm.test_kenlm_binary import BINARY

LABELS = read_labels(["_", " ", "A", "B"])


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def made_arpa(folder: Path, words: list[str], order: int = 2) -> Path:
    return made_model(np.random.default_rng(0), words, order).write(folder / "made.arpa")


@pytest.fixture
def arpa(tmp_path: Path) -> Path:
    return made_arpa(tmp_path, ["A", "AB", "BA"])


def test_pyctcdecode_may_search(trained: Path) -> None:
    bundle = read_bundle(trained / "run" / "best")
    decoding = Decoding(engine="pyctcdecode")
    assert isinstance(build_decoder(decoding, bundle, model_of(bundle), print), PyctcdecodeDecoder)


def model_of(bundle: Bundle) -> SpeechModel:
    return build_model(bundle.recipe, bundle.tokenizer.vocabulary_size)


def searched(decoding: Decoding, **given: object) -> tuple[BeamSearch, list[str]]:
    said: list[str] = []
    arguments = {"vocabulary": {}, **given}
    search = build_search(decoding, LABELS, said.append, **arguments)  # type: ignore[arg-type]
    assert isinstance(search, BeamSearch)
    return search, [line for line in said if not line.startswith("compiling the search")]


def test_compiling_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for kept, told in (
        (False, ["compiling the search for this machine, once: 20 seconds to two minutes"]),
        (True, []),
    ):
        said: list[str] = []
        monkeypatch.setattr("asr.decoder.is_kept", lambda dispatcher, kept=kept: kept)
        build_search(Decoding(beam_size=4), LABELS, said.append, vocabulary={})
        assert said == told


def test_nothing_asked_for_is_the_best_path(trained: Path) -> None:
    bundle = read_bundle(trained / "run" / "best")
    model = model_of(bundle)
    assert isinstance(build_decoder(Decoding(), bundle, model, print), GreedyDecoder)
    assert isinstance(build_decoder(Decoding(beam_size=4), bundle, model, print), BeamSearch)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"lm_weight": 1.0}, "--lm-weight has no effect without --lm"),
        ({"unknown_penalty": 1.0}, "--unknown-penalty has no effect without --lm"),
        ({"lm_unit": "token"}, "--lm-unit has no effect without --lm"),
        ({"fusion": "prior"}, "--fusion has no effect without --lm"),
        ({"lm": "x.arpa", "fusion": "prior"}, "--fusion prior needs --lexicon"),
        (
            {"lm": "x.arpa", "lexicon": "w.txt", "fusion": "prior", "lm_unit": "token"},
            "it has no use for --lm-unit token",
        ),
        (
            {"lm": "x.arpa", "lm_unit": "token", "unknown_penalty": 2.0},
            "--unknown-penalty has no effect with --lm-unit token",
        ),
        (
            {"engine": "pyctcdecode", "lexicon": "w.txt"},
            "--decoder pyctcdecode has neither --lexicon nor --hotwords here",
        ),
        (
            {"engine": "pyctcdecode", "word_bonus": 1.0},
            "--word-bonus has no effect with --decoder pyctcdecode without --lm",
        ),
        ({"beam_size": 0}, "beam_size must be at least 1, got 0"),
        ({"beam_size": 2, "beam_threshold": 0.0}, "beam_threshold must be above 0"),
        ({"beam_size": 2, "token_threshold": 1.0}, "token_threshold must be 0 or below"),
        ({"beam_size": 2, "word_bonus": np.inf}, "word_bonus must be -1e[+]06 to 1e[+]06, got inf"),
    ],
)
def test_options_without_effect_or_out_of_range(given: dict[str, object], message: str) -> None:
    paths = {name: Path(str(given[name])) for name in ("lm", "lexicon") if name in given}
    with pytest.raises(ConfigError, match=message):
        searched(Decoding(**{**given, **paths}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"lm_weight": -1.0}, "lm_weight must be 0 to 1e[+]06, got -1"),
        ({"unknown_penalty": -1.0}, "unknown_penalty must be 0 to 1e[+]06, got -1"),
    ],
)
def test_weights_out_of_range(arpa: Path, given: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        searched(Decoding(lm=arpa, **given))


def test_the_language_model_is_described(arpa: Path) -> None:
    _, said = searched(Decoding(lm=arpa), vocabulary={"A": 60, "BA": 39, "BB": 1}, tunings=[])
    assert "2-gram of words, 6 + " in said[0]
    assert "upper case; knows 99.0% of the training text" in said[0]
    assert said[1] == "weight 0.5, word bonus 0 (not tuned for this model: see asr tune)"
    _, said = searched(Decoding(lm=arpa))
    assert len(said) == 1, "without a recogniser there is nothing to tune"


def test_a_model_that_knows_too_little_warns_or_is_refused(arpa: Path) -> None:
    _, said = searched(Decoding(lm=arpa), vocabulary={"A": 90, "BB": 10})
    assert said[1] == "warning: the language model does not know 'BB' … of the training text"
    with pytest.raises(DataError, match=r"knows only 40.0% of the training text \(not 'BB' …\)"):
        searched(Decoding(lm=arpa), vocabulary={"BB": 60, "A": 40})


def test_another_case_is_named(tmp_path: Path) -> None:
    lm = load_lm(made_arpa(tmp_path, ["a", "ab", "ba"]))
    assert isinstance(lm, NgramModel)
    with pytest.raises(DataError, match=r"knows 0.0% .*, but 100.0% of it in lower case"):
        describe_lm(lm, "word", {"A": 3, "AB": 1})
    assert "lower case" in describe_lm(lm, "word", {})[0]
    assert "mixed case" in describe_lm(mixed(tmp_path, ["a", "B"]), "word", {})[0]
    assert "no letters" in describe_lm(mixed(tmp_path, ["1", "2"]), "word", {})[0]


def mixed(folder: Path, words: list[str]) -> NgramModel:
    lm = load_lm(made_arpa(folder, words, order=1))
    assert isinstance(lm, NgramModel)
    return lm


def test_a_model_none_of_whose_words_can_be_spelt(tmp_path: Path) -> None:
    path = made_arpa(tmp_path, ["x", "yz"])
    with pytest.raises(DataError, match="none of its 2 words can be spelt with the labels"):
        searched(Decoding(lm=path))
    with pytest.raises(DataError, match="knows 0 of 3 labels of the recogniser"):
        searched(Decoding(lm=path, lm_unit="token"))


def test_a_kenlm_binary_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(zlib.decompress(base64.b85decode(BINARY)))
    with pytest.raises(ConfigError, match=r"model.bin: a KenLM binary cannot list its n-grams"):
        searched(Decoding(lm=path))


def tuning(lm: NgramModel, **given: object) -> Tuning:
    facts = {
        "lm_sha256": lm.sha256(),
        "lm": "made.arpa",
        "unit": "word",
        "fusion": "shallow",
        "lm_weight": 1.25,
        "word_bonus": 0.75,
        "beam_size": 100,
        "confidence_scale": 0.5,
        "confidence_offset": 0.25,
        "dev": "dev.jsonl",
        "dev_wer": 0.1,
        "dev_wer_greedy": 0.2,
        "command": "asr tune",
    }
    return Tuning(**{**facts, **given})  # type: ignore[arg-type]


def test_a_neural_model_scores_labels_without_being_told(tmp_path: Path) -> None:
    folder = write_neural(tmp_path / "best")
    search, said = searched(Decoding(lm=folder))
    assert search.fusion.unit == "token"
    assert "best: neural, of 3 labels, upper case" in said[0]
    assert searched(Decoding(lm=folder, lm_unit="token"))[0].fusion == search.fusion


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"lm_unit": "word"}, "best: is a neural language model of labels; leave out --lm-unit"),
        ({"engine": "pyctcdecode"}, "model, which pyctcdecode cannot search with; give an ARPA"),
        ({"unknown_penalty": 1.0}, "model of labels; --unknown-penalty has no effect with it"),
        ({"fusion": "prior", "lexicon": Path("w")}, "--fusion prior needs an n-gram model of word"),
    ],
)
def test_what_does_not_go_with_a_neural_model(
    given: dict[str, object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        searched(Decoding(lm=write_neural(tmp_path / "best"), **given))  # type: ignore[arg-type]


def test_accents_are_known_as_the_search_knows_them(tmp_path: Path) -> None:
    lm = load_lm(made_arpa(tmp_path, ["E\u0301A"]))
    assert isinstance(lm, NgramModel)
    assert "knows 100.0% of the training text" in describe_lm(lm, "word", {"\u00c9A": 2})[0]


def test_tuned_weights_are_used_for_the_same_model_only(arpa: Path, tmp_path: Path) -> None:
    lm = load_lm(arpa)
    assert isinstance(lm, NgramModel)
    search, said = searched(Decoding(lm=arpa), tunings=[tuning(lm)])
    assert (search.fusion.lm_weight, search.fusion.word_bonus) == (1.25, 0.75)
    assert said[1] == "weight 1.25, word bonus 0.75, tuned on dev.jsonl"
    assert search.calibration == Calibration(0.5, 0.25)
    search, said = searched(Decoding(lm=arpa, lm_weight=2.0), tunings=[tuning(lm)])
    assert (search.fusion.lm_weight, search.fusion.word_bonus) == (2.0, 0.75)
    assert said[1] == "weight 2, word bonus 0.75 (tuned: weight 1.25, word bonus 0.75)"
    lexicon = tmp_path / "words.txt"
    lexicon.write_text("A\n", encoding="utf-8")
    hotwords = tmp_path / "hot.txt"
    hotwords.write_text("B\n", encoding="utf-8")
    only = "(tuned only with another lexicon, hot words, --lm-unit or --fusion, as weight 1.25, "
    for decoding, other, why in (
        (Decoding(lm=arpa), tuning(lm, lm_sha256="0"), "(not tuned for this model: see asr tune)"),
        (Decoding(lm=arpa, lexicon=lexicon), tuning(lm), only),
        (Decoding(lm=arpa, lexicon=lexicon, fusion="prior"), tuning(lm), only),
        (Decoding(lm=arpa, hotwords=hotwords), tuning(lm), only),
        (Decoding(lm=arpa), tuning(lm, hotwords_sha256=file_hash(hotwords)), only),
    ):
        search, said = searched(decoding, tunings=[other])
        assert search.fusion.lm_weight == 0.5
        assert f"weight 0.5, word bonus 0 {why}" in said[1]
    hot = tuning(lm, hotwords_sha256=file_hash(hotwords))
    search, _ = searched(Decoding(lm=arpa, hotwords=hotwords), tunings=[hot])
    assert search.fusion.lm_weight == 1.25


def test_weights_come_with_the_unknown_penalty_of_their_tuning(arpa: Path) -> None:
    lm = load_lm(arpa)
    assert isinstance(lm, NgramModel)
    tuned = [tuning(lm, unknown_penalty=3.0)]
    search, said = searched(Decoding(lm=arpa), tunings=tuned)
    assert search.fusion.unknown_penalty == 3.0
    assert said[1] == "weight 1.25, word bonus 0.75, unknown penalty 3, tuned on dev.jsonl"
    search, said = searched(Decoding(lm=arpa, unknown_penalty=10.0), tunings=tuned)
    assert search.fusion.unknown_penalty == 10.0
    expected = "weight 1.25, word bonus 0.75 (tuned: weight 1.25, word bonus 0.75, unknown penalty"
    assert said[1] == f"{expected} 3)"


def test_tunings_of_older_versions_are_read(trained: Path, arpa: Path, tmp_path: Path) -> None:
    lm = load_lm(arpa)
    assert isinstance(lm, NgramModel)
    old = tuning(lm).model_dump(exclude={"unknown_penalty", "hotwords_sha256"})
    with folder_writer(tmp_path / "bundle") as folder:
        for file in (trained / "run" / "best").iterdir():
            if file.name != "manifest.json":
                shutil.copy2(file, folder)
        write_json(folder / "decoding.json", {"tunings": [old]})
    [read] = read_bundle(tmp_path / "bundle").tunings
    assert (read.unknown_penalty, read.hotwords_sha256) == (Fusion().unknown_penalty, "")


def test_tuned_weights_travel_with_the_bundle(trained: Path, arpa: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(trained / "run" / "best", folder)
    lm = load_lm(arpa)
    assert isinstance(lm, NgramModel)
    add_tuning(folder, tuning(lm))
    add_tuning(folder, tuning(lm, lm_sha256="other"))
    add_tuning(folder, tuning(lm, hotwords_sha256="hot", lm_weight=2.0))
    add_tuning(folder, tuning(lm, lm_weight=3.0))
    bundle: Bundle = read_bundle(folder)
    assert [t.lm_weight for t in bundle.tunings] == [1.25, 2.0, 3.0]
    said = [u.text.split(" ") for u in read_manifest(trained / "data" / "train.jsonl")]
    assert bundle.vocabulary == Counter(word for words in said for word in words)


def test_a_bundle_with_a_folder_inside_is_not_written_anew(
    trained: Path, arpa: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(trained / "run" / "best", folder)
    (folder / "notes").mkdir()
    lm = load_lm(arpa)
    assert isinstance(lm, NgramModel)
    with pytest.raises(ModelError, match="notes: a folder inside the bundle; move it elsewhere"):
        add_tuning(folder, tuning(lm))
    assert (folder / "notes").is_dir()


def test_a_bundle_is_written_where_a_link_leads(
    trained: Path, arpa: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(trained / "run" / "best", folder)
    link = tmp_path / "link"
    link.symlink_to(folder)
    lm = load_lm(arpa)
    assert isinstance(lm, NgramModel)
    add_tuning(link, tuning(lm))
    monkeypatch.chdir(folder)
    add_tuning(Path(), tuning(lm, lm_sha256="other"))
    assert link.is_symlink()
    assert len(read_bundle(folder).tunings) == 2
    assert {path.name for path in tmp_path.iterdir()} >= {"bundle", "link"}
    assert not list(tmp_path.glob("*.old-*"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("decoding.json", "[]", r"decoding.json: must be a JSON object"),
        ("decoding.json", '{"tunings": [{"lm": 3}]}', r"decoding.json: .*lm"),
        (
            "vocabulary.tsv",
            "A\t1\nB\tmany\n",
            r"vocabulary.tsv:2: needs a word, a tab, and a count",
        ),
    ],
)
def test_parts_of_a_bundle_that_are_none(
    trained: Path, tmp_path: Path, name: str, content: str, message: str
) -> None:
    with folder_writer(tmp_path / "bundle") as folder:
        for file in (trained / "run" / "best").iterdir():
            if file.name != "manifest.json":
                shutil.copy2(file, folder)
        (folder / name).write_text(content, encoding="utf-8")
    with pytest.raises(ModelError, match=message):
        read_bundle(tmp_path / "bundle")
