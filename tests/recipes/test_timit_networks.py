"""The networks of Graves, Mohamed & Hinton (2013), and phone error rates of small ones."""

import json
import re
from pathlib import Path

import pytest

from asr.building import build_model, build_scoring
from asr.bundle import read_bundle
from asr.data.text import words
from asr.experiment import train_recipe
from asr.lm.neural import build_network
from asr.recipe import LanguageRecipe, Recipe, load_recipe
from asr.scoring.error_rate import score_corpus
from recipes.timit.prepare import PHONES, prepare
from tests.cli.conftest import Run, run
from tests.made import quiet
from tests.recipes.made_timit import LISTS, TINY, made_disc

__all__ = ["run"]  # a fixture

RECIPE = Path(__file__).parents[2] / "recipes" / "timit"
# Variant: weights, epochs, all as in the paper.
NETWORKS = {
    "recipe": (3_787_562, 124),
    "ctc_1l_250h": (780_562, 82),
    "ctc_1l_622h": (3_793_018, 87),
    "ctc_2l_250h": (2_284_062, 55),
    "ctc_3l_421h_uni": (3_786_957, 115),
    "ctc_3l_500h_tanh": (3_688_062, 107),
    "ctc_5l_250h": (6_794_562, 150),
    "trans_3l_250h": (4_335_312, 112),
    "pretrans_3l_250h": (4_335_312, 144),
}
# Lee and Hon 1989: the phones that are told apart, and what is scored as each.
TOLD_APART = {
    "aa": "aa ao", "ah": "ah ax ax-h", "er": "er axr", "hh": "hh hv", "ih": "ih ix", "l": "l el",
    "m": "m em", "n": "n en nx", "ng": "ng eng", "sh": "sh zh", "uw": "uw ux",
    "sil": "pcl tcl kcl bcl dcl gcl h# pau epi",
}  # fmt: skip
TOLD_APART |= {
    phone: phone
    for phone in words("ae aw ay b ch d dh dx eh ey f g iy jh k ow oy p r s t th uh v w y z")
}
GROUPS = {phone: group for group, phones in TOLD_APART.items() for phone in words(phones)}
SMALL = [
    "encoder.hidden_size=6",
    "encoder.num_layers=1",
    "optimizer.learning_rate=1e-3",
    "training.epochs=2",
    "training.num_workers=0",
]


def recipe_of(variant: str, *overrides: str) -> Recipe:
    recipe = load_recipe(RECIPE / f"{variant}.toml", overrides)
    assert isinstance(recipe, Recipe)
    return recipe


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with `data/timit`, of a made-up disc."""
    folder = tmp_path_factory.mktemp("timit")
    prepare([made_disc(folder / "disc")], folder / "data" / "timit", counts=TINY, **LISTS)
    return folder


def test_there_are_nine_networks_and_a_language_model() -> None:
    assert {path.stem for path in RECIPE.glob("*.toml")} == {*NETWORKS, "prediction"}


@pytest.mark.parametrize("variant", NETWORKS)
def test_each_has_the_weights_of_the_paper(variant: str) -> None:
    recipe = recipe_of(variant)
    model = build_model(recipe, len(PHONES) + 1)
    weights = sum(parameter.numel() for parameter in model.parameters())
    assert (weights, recipe.training.epochs) == NETWORKS[variant]
    assert model.frontend.output_size == 123


@pytest.mark.parametrize("variant", NETWORKS)
def test_each_is_trained_as_in_the_paper(variant: str) -> None:
    recipe = recipe_of(variant)
    training, optimizer = recipe.training, recipe.optimizer
    assert (training.batch_utterances, training.accumulate) == (1, 1)
    assert (training.initial_range, training.clip_norm, training.average_best) == (0.1, 0.0, 1)
    assert optimizer.name == "sgd"
    assert (optimizer.learning_rate, optimizer.momentum) == (1e-4, 0.9)
    assert (optimizer.schedule, optimizer.weight_decay) == ("constant", 0.0)
    assert recipe.frontend.normalize == "training_set"
    augment = recipe.augment
    assert (augment.time_masks, augment.frequency_masks, augment.noise_probability) == (0, 0, 0.0)
    assert (augment.speed_factors, recipe.encoder.dropout) == ([1.0], 0.0)
    noise = (training.weight_noise, training.weight_noise_after > 0)
    expected = {"ctc_3l_500h_tanh": (0.0, False), "pretrans_3l_250h": (0.075, False)}
    assert noise == expected.get(variant, (0.075, True))
    assert training.patience > training.weight_noise_after


def test_the_language_model_is_the_prediction_network() -> None:
    language = load_recipe(RECIPE / "prediction.toml")
    assert isinstance(language, LanguageRecipe)
    network = build_network(language.model, len(PHONES) + 1)
    model = build_model(recipe_of("pretrans_3l_250h"), len(PHONES) + 1)
    theirs = {name: tensor.shape for name, tensor in network.state_dict().items()}
    ours = {name: tensor.shape for name, tensor in model.prediction.state_dict().items()}
    assert ours == {name: shape for name, shape in theirs.items() if not name.startswith("output")}


@pytest.mark.parametrize("variant", NETWORKS)
def test_39_phones_are_told_apart(variant: str) -> None:
    scoring = build_scoring(recipe_of(variant).scoring, "phones")
    scored = {phone: scoring.replaced(phone) for phone in PHONES}
    assert len(TOLD_APART) == 39
    assert scored == GROUPS | {"q": ""}
    assert (scoring.unit, scoring.merge) == ("phone", {"sil"})
    assert scoring.replace.keys() <= PHONES, "nothing that never occurs"


def test_a_phone_error_rate_by_hand() -> None:
    """Said: sil sh iy hh ah sil d sil sil. Heard: sil sh ih hh ah sil d sil."""
    scoring = build_scoring(recipe_of("recipe").scoring, "phones")
    said, heard = "h# zh iy hv ax-h q dcl d pau h#", "h# sh ix hh ah bcl d q h#"
    score = score_corpus({"u": said}, {"u": heard}, scoring=scoring)
    assert score.utterances[0].reference == "sil sh iy hh ah sil d sil sil"
    assert score.utterances[0].hypothesis == "sil sh ih hh ah sil d sil"
    assert (score.wer.errors, score.wer.reference_length) == (2, 9)
    assert score.merged is not None
    assert (score.merged.errors, score.merged.reference_length) == (1, 8)


def test_from_the_disc_to_a_phone_error_rate(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    monkeypatch.chdir(place)
    learns = [
        'optimizer={name = "adamw", learning_rate = 2e-2}',
        "training.weight_noise_after=0",
        "training.weight_noise=0.0",
        "training.epochs=6",
    ]
    overrides = [override for override in SMALL if not override.startswith("optimizer")] + learns
    given = [word for override in overrides for word in ("--set", override)]
    code, out, err = run("train", RECIPE, *given, "--out", tmp_path / "run")
    assert code == 0, err
    dev, test, best = out.rstrip("\n").split("\n")
    for name, line in (("dev", dev), ("test", test)):
        scores = r"PER \d+\.\d\d %  PER with repeats merged \d+\.\d\d %"
        assert re.fullmatch(f"{name}: {scores}", line), line
    bundle = read_bundle(Path(best))
    assert bundle.tokenizer.vocabulary_size == 62
    assert set(bundle.facts["test"]) == {"per", "per_merged"}

    manifest = place / "data" / "timit" / "test.jsonl"
    result = tmp_path / "scores.json"
    code, report, err = run("evaluate", best, manifest, "--json", result, "--out", tmp_path / "e")
    assert code == 0, err
    content = json.loads(result.read_text(encoding="utf-8"))
    assert content["per"] == pytest.approx(bundle.facts["test"]["per"])
    assert content["per_merged"] == pytest.approx(bundle.facts["test"]["per_merged"])
    assert not {"wer", "cer", "words", "characters"} & content.keys()
    lines = (tmp_path / "e" / "hypotheses.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    records = [json.loads(line) for line in lines]
    assert all(record["hypothesis"] for record in records), "the case that is meant"
    said, heard = (
        {record["id"]: mapped(record[key]) for record in records}
        for key in ("reference", "hypothesis")
    )
    assert content["per"] == pytest.approx(score_corpus(said, heard).wer.rate)
    assert report.split("\n")[0].startswith(f"PER {100 * content['per']:.2f} % [")
    assert "|replaced:" in report.split("\n")[0]
    assert "|merged:sil|" in report.split("\n")[1]
    assert "CER" not in report
    card = (Path(best) / "README.md").read_text(encoding="utf-8")
    assert f"greedy, no LM: PER {100 * content['per']:.2f} %, PER with repeats merged" in card


def mapped(text: str) -> str:
    """A text of the 61 phones in those that are told apart."""
    return " ".join(GROUPS[phone] for phone in words(text) if phone != "q")


def test_a_transducer_of_two_trainings(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    """The encoder and the language model give all but the joint network; PER by beam search."""
    monkeypatch.chdir(place)
    train_recipe(RECIPE, overrides=SMALL, out=tmp_path / "encoder", say=quiet)
    language = ["model.hidden_size=5", "training.epochs=1", "training.num_workers=0"]
    train_recipe(
        RECIPE / "prediction.toml", overrides=language, out=tmp_path / "prediction", say=quiet
    )
    said: list[str] = []
    outcome = train_recipe(
        RECIPE / "pretrans_3l_250h.toml",
        overrides=[
            *SMALL,
            "training.epochs=1",
            "objective.joint_size=5",
            "objective.prediction_size=5",
            f"pretrain.encoder={tmp_path / 'encoder' / 'best'}",
            f"pretrain.prediction={tmp_path / 'prediction' / 'best'}",
        ],
        out=tmp_path / "transducer",
        say=said.append,
    )
    assert [line.split(":")[0] for line in said[-2:]] == ["encoder", "prediction network"]
    assert outcome.test is not None
    assert outcome.test.monitor == "per"
    manifest = place / "data" / "timit" / "test.jsonl"
    code, report, err = run("evaluate", outcome.bundle, manifest, "--beam-size", 4)
    assert code == 0, err
    assert report.startswith("PER ")
    assert "|beam:4" in report.split("\n")[0]
