"""Commands that search: options, output, and what they refuse."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.building import build_model
from asr.bundle import WEIGHTS, read_bundle, write_bundle
from asr.cli import tune
from asr.config import parse
from asr.data.manifest import read_manifest
from asr.data.tokenizer import train_tokenizer
from asr.decoder import Decoding
from asr.decoding.nbest import read_nbest
from asr.recipe import Recipe
from asr.storage import folder_writer, load_tensors
from tests.cli.conftest import Run
from tests.made import RATE, spoken

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def bundle(trained: Path) -> Path:
    return trained / "run" / "best"


@pytest.fixture
def arpa(run: Run, trained: Path, tmp_path: Path) -> Path:
    path = tmp_path / "words.arpa"
    assert run("lm", "train", trained / "data" / "train.jsonl", "--order", 2, "-o", path)[0] == 0
    return path


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    path = tmp_path / "my sound.wav"
    soundfile.write(path, spoken("FACE BED"), RATE)
    return path


MODELS = "--lm --lexicon --hotwords"
NUMBERS = "--lm-weight --word-bonus --unknown-penalty"
WAYS = "--lm-unit --fusion --beam-size"


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("transcribe", f"--model --format --strict {MODELS} {NUMBERS} {WAYS} --decoder --nbest "
         "--device"),
        ("evaluate", f"--out --json --scores {MODELS} {NUMBERS} {WAYS} --decoder --nbest --device"),
        ("decode", f"--labels --blank --frame-seconds --format {MODELS} {NUMBERS} {WAYS} --decoder "
         "--nbest"),
        ("tune", f"{MODELS} --unknown-penalty {WAYS} --out --device"),
    ],
)  # fmt: skip
def test_help_lists_all_options_in_their_order(run: Run, command: str, options: str) -> None:
    code, out, _ = run(command, "--help")
    assert code == 0
    lines = [line.split() for line in out.split("\n") if line.startswith("  --")]
    assert [words[0] for words in lines] == [*options.split(), "--help"]
    assert all(len(words) > 2 for words in lines), "each says what it does"


def test_options_that_a_command_does_not_have(run: Run, bundle: Path, tmp_path: Path) -> None:
    for option in ("--lm-weight", "--word-bonus", "--decoder", "--nbest"):
        code, _, err = run("tune", bundle, "dev.jsonl", option, 1)
        assert (code, f"No such option: {option}" in err) == (2, True)
    code, _, err = run("decode", "x.npz", "--labels", "l.txt", "--fusion", "deep")
    assert (code, "'deep' is not one of 'shallow', 'prior'" in err) == (2, True)


def test_transcribing_with_a_dictionary(run: Run, bundle: Path, sound: Path) -> None:
    lexicon = sound.parent / "words.txt"
    lexicon.write_text("FACED\nBED\nCAB\n", encoding="utf-8")
    code, out, _ = run("transcribe", sound, "--model", bundle, "--lexicon", lexicon)
    assert code == 0
    assert set(out.split()) <= {"FACED", "BED", "CAB"}
    assert out.split()[-1] == "BED"


def test_transcribing_with_a_language_model_says_what_it_is(
    run: Run, bundle: Path, sound: Path, arpa: Path
) -> None:
    code, out, err = run("transcribe", sound, "--model", bundle, "--lm", arpa, "--lm-weight", 0.1)
    assert (code, out) == (0, "FACE BED\n")
    assert "asr: language model" in err
    assert "knows 100.0% of the training text" in err
    assert "asr: weight 0.1, word bonus 0 (not tuned for this model: see asr tune)" in err


def test_nbest_lists_have_scores_and_times(run: Run, bundle: Path, sound: Path, arpa: Path) -> None:
    words = ("--lm", arpa, "--lm-weight", 0.1, "--nbest", 3, "--format", "json")
    code, out, _ = run("transcribe", sound, "--model", bundle, *words)
    assert code == 0
    record = json.loads(out)
    first, *others = record["nbest"]
    assert first["text"] == record["text"] == "FACE BED"
    assert len(others) == 2
    assert all(first["score"] >= other["score"] for other in others)
    for one in record["nbest"]:
        unknown = one["score"] - (one["acoustic"] + 0.1 * one["lm"])
        assert unknown / (-0.1 * 10) == pytest.approx(
            round(-unknown), abs=1e-2
        )  # words of no model
        assert " ".join(word["word"] for word in one["words"]) == one["text"]
        assert all(0 <= word["confidence"] <= 1 for word in one["words"])


def test_ctm(run: Run, bundle: Path, sound: Path) -> None:
    code, out, _ = run("transcribe", sound, "--model", bundle, "--format", "ctm")
    lines = out.rstrip("\n").split("\n")
    assert code == 0
    assert [line.split()[4] for line in lines] == ["FACE", "BED"]
    assert [len(line.split()) for line in lines] == [6, 6]
    assert lines[0].split()[:2] == [str(sound).replace(" ", "_"), "1"]


def test_any_models_scores_are_decoded_as_ours_are(
    run: Run, bundle: Path, trained: Path, arpa: Path, tmp_path: Path
) -> None:
    manifest, scores = trained / "data" / "test.jsonl", tmp_path / "s.npz"
    labels = tmp_path / "s.labels.txt"
    search = ("--lm", arpa, "--lm-weight", 0.3, "--word-bonus", 0.5)
    out = tmp_path / "out"
    code, _, err = run(
        "evaluate", bundle, manifest, *search, "--scores", scores, "--out", out, "--nbest", 2
    )
    assert code == 0
    assert f"written to {scores} and {labels}; they are searched by: asr decode {scores}" in err
    code, text, err = run("decode", scores, "--labels", labels, *search)
    assert code == 0
    assert err.endswith("asr: weight 0.3, word bonus 0.5\n"), "there is no bundle to tune"
    kept = [json.loads(line) for line in (out / "nbest.jsonl").read_text("utf-8").split("\n")[:-1]]
    expected = {record["id"]: record["nbest"][0] for record in kept}
    found = dict(line.split("\t") for line in text.rstrip("\n").split("\n"))
    assert found == {name: best["text"] for name, best in expected.items()}
    assert all(len(record["nbest"]) == 2 for record in kept)
    seconds = ("--frame-seconds", 0.01, "--format")
    code, text, _ = run(
        "decode", scores, "--labels", labels, *search, *seconds, "json", "--nbest", 2
    )
    for line in text.rstrip("\n").split("\n"):
        record = json.loads(line)
        assert record["nbest"][0]["score"] == pytest.approx(
            expected[record["id"]]["score"], abs=1e-3
        )
    code, text, _ = run("decode", scores, "--labels", labels, *search, *seconds, "ctm")
    assert text.rstrip("\n").split("\n") == (out / "words.ctm").read_text("utf-8").rstrip(
        "\n"
    ).split("\n")


def with_tokenizer(bundle: Path, folder: Path, config: dict[str, object], text: str) -> Path:
    """A bundle like another one, but with other labels, for which it was never trained."""
    content = read_bundle(bundle)
    recipe = parse(Recipe, {**content.recipe.model_dump(), "tokenizer": config}, "made")
    tokenizer = train_tokenizer(recipe.tokenizer, [text])
    model = build_model(recipe, tokenizer.vocabulary_size)
    weights = load_tensors(bundle / WEIGHTS)
    own = model.state_dict()
    alike = {name: value for name, value in weights.items() if value.shape == own[name].shape}
    model.load_state_dict({**own, **alike})
    with folder_writer(folder) as temporary:
        write_bundle(temporary, model, tokenizer, recipe, facts={}, vocabulary={})
    return folder


@pytest.mark.parametrize(
    ("config", "text", "unit"),
    [
        ({"name": "characters", "unknown": "replace"}, "A|B <E>▁' B|A", "character"),
        ({"name": "phones", "unknown": "replace"}, "A <B> | ▁D E A E D", "word"),
        (
            {"name": "sentencepiece", "vocabulary_size": 12},
            "A BED FED DAD BEE FACE CAB ABBA",
            "character",
        ),
    ],
    ids=["characters", "phones", "sentencepiece"],
)
def test_scores_of_a_bundle_are_written_with_its_labels(
    run: Run,
    bundle: Path,
    trained: Path,
    tmp_path: Path,
    config: dict[str, object],
    text: str,
    unit: str,
) -> None:
    """A character that is a bar, a phone in angle brackets, pieces: all mean what they did."""
    other = with_tokenizer(bundle, tmp_path / "other", config, text)
    (tmp_path / "text").write_text(text + "\n", encoding="utf-8")
    made = ("lm", "train", tmp_path / "text", "--order", 2, "-o", tmp_path / "t.arpa")
    assert run(*made, "--unit", unit)[0] == 0
    lm = ("--lm", tmp_path / "t.arpa", "--lm-unit", "token", "--lm-weight", 0.5)
    for search in (("--beam-size", 8), lm):
        out, scores = tmp_path / "out", tmp_path / "scores"
        words = ("--scores", scores, "--out", out, "--nbest", 5)
        assert run("evaluate", other, trained / "data" / "test.jsonl", *search, *words)[0] == 0
        labels = ("--labels", tmp_path / "scores.labels.txt", "--format", "json", "--nbest", 5)
        code, found, _ = run("decode", scores, *labels, *search)
        assert code == 0
        expected = lists_of((out / "nbest.jsonl").read_text("utf-8"))
        assert lists_of(found) == expected
        assert len({text for one in expected.values() for text, _ in one}) > 5


def lists_of(lines: str) -> dict[str, list[tuple[str, float]]]:
    """The texts and scores of each utterance of n-best lists."""
    entries = [json.loads(line) for line in lines.split("\n")[:-1]]
    return {
        entry["id"]: [
            (each["text"], pytest.approx(each["score"], abs=1e-3)) for each in entry["nbest"]
        ]
        for entry in entries
    }


def test_lists_of_the_prior_fusion_are_ranked_by_their_score(
    run: Run, bundle: Path, trained: Path, arpa: Path, tmp_path: Path
) -> None:
    """So that rescoring and combining them by `score` changes nothing, where `total` would."""
    lexicon, out = tmp_path / "words.txt", tmp_path / "out"
    texts = [u.text for u in read_manifest(trained / "data" / "train.jsonl")]
    lexicon.write_text("\n".join({w: "" for t in texts for w in t.split()}), encoding="utf-8")
    search = ("--lm", arpa, "--lexicon", lexicon, "--fusion", "prior", "--nbest", 10)
    manifest, file = trained / "data" / "test.jsonl", out / "nbest.jsonl"
    code, _, _ = run("evaluate", bundle, manifest, *search, "--out", out)
    assert code == 0
    lists = read_nbest(file)
    scores = [[each.scores["score"] for each in one.candidates] for one in lists]
    assert all(each == sorted(each, reverse=True) for each in scores)
    totals = [[each.scores["total"] for each in one.candidates] for one in lists]
    assert any(each != sorted(each, reverse=True) for each in totals), "the orders differ"
    run("rescore", file, "--weight", "score=1", "--out", tmp_path / "r.jsonl")
    run("combine", f"a={file}", f"b={file}", "--method", "loglinear", "--out", tmp_path / "c.jsonl")
    for name in ("r.jsonl", "c.jsonl"):
        again = read_nbest(tmp_path / name)
        assert [[c.text for c in one.candidates] for one in again] == [
            [c.text for c in one.candidates] for one in lists
        ]
    sounds = [u.audio for u in read_manifest(manifest)]
    code, printed, _ = run("transcribe", *sounds, "--model", bundle, *search, "--format", "json")
    for line, one in zip(printed.split("\n")[:-1], lists, strict=True):
        first = json.loads(line)["nbest"][0]
        assert first["total"] == pytest.approx(one.candidates[0].scores["total"], abs=1e-3)


def test_tuning(run: Run, bundle: Path, trained: Path, arpa: Path, tmp_path: Path) -> None:
    import shutil

    copy = shutil.copytree(bundle, tmp_path / "copy" / "best")
    code, out, err = run(
        "tune", copy, trained / "data" / "dev.jsonl", "--lm", arpa, "--beam-size", 4
    )
    assert code == 0
    assert "weight\\bonus" in out
    assert f"asr: stored in {copy}, for every command with the same --lm" in err
    assert (tmp_path / "copy" / "tuning" / "words" / "surface.png").is_file()
    assert "asr: scoring " in err
    assert "asr: written to " in err
    assert "see asr tune" not in err, "this is it"


def test_surfaces_are_named_for_what_was_weighed(tmp_path: Path) -> None:
    lm, lexicon, hot = Path("x/tri.v2.arpa.gz"), Path("words.txt"), Path("hot")
    assert tune._name(Decoding(lm=lm)) == "tri.v2"
    assert tune._name(Decoding(lm=lm, lexicon=lexicon, fusion="prior")) == "tri.v2+words+prior"
    assert tune._name(Decoding(lm=lm, hotwords=hot, lm_unit="token")) == "tri.v2+hot+token"
    assert tune._name(Decoding(lm=lm, fusion="shallow", lm_unit="word")) == "tri.v2"
    folder = tmp_path / "charlm" / "default" / "best"
    folder.mkdir(parents=True)
    assert tune._name(Decoding(lm=folder)) == "charlm-default-best"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--nbest", 3), "--nbest has no effect on the best path; search with --beam-size"),
        (("--nbest", 3, "--beam-size", 9), "--nbest needs --format json"),
        (("--lm-weight", 1), "--lm-weight has no effect without --lm"),
        (("--lm", "none.arpa"), "none.arpa"),
        (("--lexicon", "none.txt"), "none.txt: cannot be read: No such file or directory"),
        (("--hotwords", "none.txt"), "none.txt: cannot be read: No such file or directory"),
        (("--beam-size", 0), "beam_size must be at least 1, got 0"),
    ],
)
def test_refusals(
    run: Run, bundle: Path, sound: Path, words: tuple[object, ...], message: str
) -> None:
    code, out, err = run("transcribe", sound, "--model", bundle, *words)
    assert (code, out) == (2, "")
    assert message in err
    assert err.startswith("asr: error: ")


def test_nbest_of_an_evaluation_needs_a_folder(run: Run, bundle: Path, trained: Path) -> None:
    manifest = trained / "data" / "test.jsonl"
    code, _, err = run("evaluate", bundle, manifest, "--beam-size", 5, "--nbest", 2)
    assert (code, err) == (
        2,
        "asr: error: --nbest needs --out, a folder for nbest.jsonl\n",
    )


def test_scores_that_cannot_be_decoded(run: Run, tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("_\n \nA\n", encoding="utf-8")
    good = np.log(np.full((4, 3), 1 / 3))
    for array, message in (
        (np.full((4, 3), 0.5), "utterance 'u1': log_probs must be normalised, got 0.5"),
        (good[:, :2], "s.npz: utterance 'u1' has scores of 2 labels, but "),
        (good * np.nan, "utterance 'u1': utterance 0 of the batch has NaN scores"),
        (np.full((4, 3), -np.inf), "utterance 'u1': "),
    ):
        np.savez(tmp_path / "s.npz", u0=good, u1=array)
        code, _, err = run("decode", tmp_path / "s.npz", "--labels", labels)
        assert code == 2
        assert message in err
    code, _, err = run("decode", tmp_path / "s.npz", "--labels", labels, "--nbest", 2)
    assert (code, "--nbest needs --format json" in err) == (2, True)


def test_an_utterance_without_words_is_no_line_of_a_ctm(run: Run, tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("_\nA\n", encoding="utf-8")
    heard, silent = np.log([[0.1, 0.9]]), np.log([[0.9, 0.1]])
    np.savez(tmp_path / "s.npz", silent=silent, heard=heard, none=heard[:0])
    code, out, _ = run("decode", tmp_path / "s.npz", "--labels", labels, "--format", "ctm")
    assert (code, out) == (0, "heard 1 0.000 1.000 A 0.9000\n")
    for seconds in (-1, 0, "nan", "inf"):
        words = ("--labels", labels, "--frame-seconds", seconds)
        code, out, err = run("decode", tmp_path / "s.npz", *words)
        assert (code, out) == (2, "")
        assert f"--frame-seconds must be above 0, got {seconds}" in err


def test_a_report_names_the_search(
    run: Run, bundle: Path, trained: Path, arpa: Path, tmp_path: Path
) -> None:
    manifest = trained / "data" / "test.jsonl"
    _, greedy, _ = run("evaluate", bundle, manifest)
    _, _, _ = run(
        "evaluate", bundle, manifest, "--lm", arpa, "--beam-size", 5, "--json", tmp_path / "x.json"
    )
    scores = json.loads((tmp_path / "x.json").read_text("utf-8"))
    assert "beam" not in greedy
    for unit in ("words", "characters"):
        assert scores[unit]["signature"].endswith(
            "|beam:5|lm:words.arpa|shallow word|lm_weight:0.5|word_bonus:0"
        )
