"""Recipes: reading, overriding, resolving; every recipe in the repository is a good one."""

from pathlib import Path

import pytest

from asr.config import parse_toml
from asr.errors import ConfigError
from asr.recipe import (
    LanguageRecipe,
    PretrainConfig,
    Recipe,
    TaskRecipe,
    apply_override,
    as_toml,
    load_recipe,
    parse_recipe,
    recipe_file,
    recipe_of,
    run_folder,
)
from asr.scoring.equivalence import ScoringConfig

RECIPES = sorted((Path(__file__).parent.parent / "recipes").rglob("*.toml"))
MINIMAL = '[data]\ntrain = "train.jsonl"\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "recipe.toml").write_text(MINIMAL, encoding="utf-8")
    return tmp_path / "x"


def test_there_are_recipes() -> None:
    names = {path.relative_to(RECIPES[0].parent.parent).as_posix() for path in RECIPES}
    assert {"an4/recipe.toml", "quickstart/recipe.toml", "librispeech/mini.toml"} <= names
    assert {"charlm/recipe.toml", "an4/charlm.toml"} <= names
    assert {"timit/recipe.toml", "timit/trans_3l_250h.toml"} <= names
    for corpus in ("an4", "speechocean762", "librispeech"):
        variants = ("expected_wer", "prediction", "transducer")
        assert {f"{corpus}/{variant}.toml" for variant in variants} <= names


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_recipe_is_good_and_short(path: Path) -> None:
    recipe = load_recipe(path)
    assert path.read_text(encoding="utf-8").count("\n") <= 40
    shared = isinstance(recipe, TaskRecipe)  # several recipes learn MNIST
    assert recipe.data.train.startswith("data/" if shared else f"data/{path.parent.name}")


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_the_resolved_recipe_reads_back_the_same(path: Path) -> None:
    recipe = load_recipe(path)
    again = parse_recipe(parse_toml(as_toml(recipe), "again"), path)
    assert again.model_dump() == recipe.model_dump()


def test_every_default_is_printed(folder: Path) -> None:
    """Those too that are left out where a run notes its recipe."""
    recipe = load_recipe(folder)
    assert "l2" not in recipe.model_dump()["training"]
    printed = parse_toml(as_toml(recipe), "printed")
    assert (printed["training"]["l2"], printed["training"]["artifacts"]) == (0.0, [])
    assert printed["encoder"]["leak"] == 0.0


def test_defaults(folder: Path) -> None:
    recipe = load_recipe(folder)
    assert recipe.objective.name == "ctc"
    assert recipe.frontend.name == "log_mel"
    assert recipe.training.epochs == 40


@pytest.mark.parametrize(
    ("override", "section", "key", "value"),
    [
        ("training.epochs=3", "training", "epochs", 3),
        ("training.clip_norm=1e-3", "training", "clip_norm", 1e-3),
        ("data.dev=my/dev.jsonl", "data", "dev", "my/dev.jsonl"),
        ('data.dev="a b"', "data", "dev", "a b"),
        ("augment.speed_factors=[0.9, 1.0]", "augment", "speed_factors", [0.9, 1.0]),
        ("encoder.bidirectional = false", "encoder", "bidirectional", False),
    ],
)
def test_overrides(folder: Path, override: str, section: str, key: str, value: object) -> None:
    recipe = load_recipe(folder, [override])
    assert getattr(getattr(recipe, section), key) == value


def test_later_overrides_win(folder: Path) -> None:
    assert load_recipe(folder, ["seed=3", "seed=4"]).seed == 4


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed", "--set seed: write section.key=value"),
        (".a=3", r"--set \.a=3: write section.key=value"),
        ("seed.a=3", "'seed' is a value, not a section"),
    ],
)
def test_bad_overrides(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        apply_override({"seed": 1}, override)


def test_an_override_is_checked_like_the_file(folder: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_recipe(folder, ["encoder.hiden_size=3", "training.epochs=half"])
    assert "unknown key 'encoder.hiden_size'; did you mean 'hidden_size'?" in str(caught.value)
    assert "'training.epochs' must be a valid integer, got 'half'" in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        '_target_ = "os.system"',
        'objective = { name = "ctc", _target_ = "os.system" }',
        '[objective]\nname = "asr.objectives.ctc.CTCConfig"',
        '[encoder]\n"__class__" = "x"',
        '[tokenizer]\nname = "!!python/object/apply:os.system"',
        '[frontend]\nname = "os.system"',
        '[optimizer]\nname = "torch.optim.SGD"',
    ],
)
def test_nothing_in_a_recipe_names_code(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.toml").write_text(f"{text}\n{MINIMAL}", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"unknown key|must be one of|must be 'ctc'"):
        load_recipe(tmp_path / "x.toml")


def test_which_file_a_recipe_is(folder: Path) -> None:
    assert recipe_file(folder) == folder / "recipe.toml"
    variant = folder / "big.toml"
    variant.write_text(MINIMAL, encoding="utf-8")
    assert recipe_file(variant) == variant
    assert run_folder(folder) == Path("exp/x/default")
    assert run_folder(variant) == Path("exp/x/big")


def test_the_recipe_of_a_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other way round: for those in `recipes/` of the working directory."""
    monkeypatch.chdir(tmp_path)
    folder = Path("recipes") / "x"
    folder.mkdir(parents=True)
    for name in ("recipe.toml", "big.toml"):
        (folder / name).write_text(MINIMAL, encoding="utf-8")
    assert recipe_of(Path("exp/x/default/best")) == folder
    assert recipe_of(Path("exp/x/big/best")) == folder / "big.toml"
    assert recipe_of(tmp_path / "exp" / "x" / "big") == folder / "big.toml"
    for other in ("exp/x/recipe/best", "exp/y/default/best", "my/x/big/best", "best", "."):
        assert recipe_of(Path(other)) is None, other


TRANSDUCER = f'{MINIMAL}[objective]\nname = "transducer"\n'


def test_what_a_transducer_begins_with(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(TRANSDUCER, encoding="utf-8")
    recipe = load_recipe(path, ["pretrain.encoder=exp/x/default/best"])
    assert isinstance(recipe, Recipe)
    assert recipe.pretrain == PretrainConfig(encoder="exp/x/default/best")
    assert Recipe.model_validate(recipe.model_dump()) == recipe
    path.write_text(as_toml(recipe), encoding="utf-8")
    assert load_recipe(path) == recipe


def test_others_are_stored_as_before_there_was_pretraining(folder: Path) -> None:
    """Older versions read them, and a training that goes on is not said to have changed."""
    recipe = load_recipe(folder)
    assert isinstance(recipe, Recipe)
    assert recipe.pretrain == PretrainConfig()
    assert "pretrain" not in recipe.model_dump()
    assert "pretrain" not in recipe.model_dump_json()
    assert "pretrain" not in as_toml(recipe)


def test_which_words_are_equal(folder: Path, tmp_path: Path) -> None:
    given = ['scoring.replace={"ax-h" = "ah", "h#" = "sil", q = ""}', 'scoring.merge=["sil"]']
    recipe = load_recipe(folder, [*given, "scoring.replace.ax=ah"])
    assert isinstance(recipe, Recipe)
    replace = {"ax-h": "ah", "h#": "sil", "q": "", "ax": "ah"}
    assert recipe.scoring == ScoringConfig(replace=replace, merge=["sil"])
    assert Recipe.model_validate(recipe.model_dump()) == recipe
    (tmp_path / "again.toml").write_text(as_toml(recipe), encoding="utf-8")
    assert load_recipe(tmp_path / "again.toml") == recipe


def test_equal_words_are_in_the_case_of_the_texts(folder: Path) -> None:
    for section in ("replace={OK = 'okay'}", "replace={ok = 'OKAY'}", "merge=['UH']"):
        given = ["data.case=lower", f"scoring.{section}"]
        said = r"'scoring' must be in the case of the texts, data.case = 'lower', unlike"
        with pytest.raises(ConfigError, match=said):
            load_recipe(folder, given)
        assert load_recipe(folder, given[1:])


def test_settings_that_are_not_used_leave_no_trace(folder: Path) -> None:
    """Older versions read such recipes, and a training that goes on is not said to have changed."""
    recipe = load_recipe(folder)
    assert isinstance(recipe, Recipe)
    assert recipe.scoring.is_empty()
    assert (recipe.training.batch_utterances, recipe.training.initial_range) == (0, 0.0)
    stored = recipe.model_dump()
    assert "scoring" not in stored
    assert not {"batch_utterances", "initial_range", "l1", "l2"} & stored["training"].keys()
    assert not {"leak", "batch_norm"} & stored["encoder"].keys()
    assert not {"floor", "floor_at"} & stored["optimizer"].keys()
    assert "input_noise" not in stored["augment"]
    assert stored["objective"] == {"name": "ctc"}
    given = ["training.batch_utterances=1", "training.initial_range=0.1"]
    training = load_recipe(folder, given).model_dump()["training"]
    assert (training["batch_utterances"], training["initial_range"]) == (1, 0.1)


SWITCHES = [
    "encoder.cell=leaky",
    "encoder.leak=0.5",
    "encoder.batch_norm=true",
    "augment.input_noise=0.5",
    "objective.name=ctc",
    "objective.label_smoothing=0.1",
    'optimizer={name="sgd", style="textbook", schedule="linear", floor=0.1, floor_at=0.5}',
]


def test_switches_that_are_used_are_stored(folder: Path, tmp_path: Path) -> None:
    recipe = load_recipe(folder, SWITCHES)
    assert isinstance(recipe, Recipe)
    assert (recipe.encoder.leak, recipe.encoder.batch_norm) == (0.5, True)
    (tmp_path / "again.toml").write_text(as_toml(recipe), encoding="utf-8")
    again = load_recipe(tmp_path / "again.toml")
    assert again == recipe
    assert again.model_dump()["optimizer"]["style"] == "textbook"
    plain = load_recipe(folder)
    assert isinstance(plain, Recipe)
    for section in ("encoder", "augment", "objective"):
        ours, theirs = recipe.model_dump()[section], plain.model_dump()[section]
        assert len(ours) > len(theirs), section


LEAKY = {
    "encoder": ("cell", "leak", []),
    "model": ("cell", "leak", ["task=language_model"]),
    "objective": ("prediction_cell", "prediction_leak", ["objective.name=transducer"]),
}


@pytest.mark.parametrize("section", LEAKY)
def test_leaky_units_need_a_leak_and_others_have_none(folder: Path, section: str) -> None:
    cell, leak, more = LEAKY[section]
    given = [*more, f"{section}.{cell}=leaky"]
    said = rf"'{section}\.{leak}' must be above 0 where {cell} is 'leaky' .*, got 0\.0"
    with pytest.raises(ConfigError, match=said):
        load_recipe(folder, given)
    with pytest.raises(ConfigError, match=rf"'{section}\.{leak}' must be 0 where {cell} is 'lstm'"):
        load_recipe(folder, [*more, f"{section}.{leak}=0.5"])
    stored = load_recipe(folder, [*given, f"{section}.{leak}=0.5"]).model_dump()[section]
    assert (stored[cell], stored[leak]) == ("leaky", 0.5)
    assert leak not in load_recipe(folder, more).model_dump()[section]


def test_weights_are_drawn_or_given(folder: Path) -> None:
    given = ["training.initial_range=0.1", "init_from=exp/x/default/best"]
    with pytest.raises(ConfigError, match=r"without initial_range beside init_from, .*\(set only"):
        load_recipe(folder, given)
    assert load_recipe(folder, [given[0], "objective.name=transducer", "pretrain.encoder=a"])


@pytest.mark.parametrize("name", ["ctc", "expected_wer"])
def test_parts_are_those_of_a_transducer(folder: Path, name: str) -> None:
    given = [f"objective.name={name}", "pretrain.prediction=exp/x/prediction/best"]
    with pytest.raises(ConfigError) as caught:
        load_recipe(folder, given)
    assert str(caught.value) == (
        f"{folder / 'recipe.toml'}: 'pretrain' must be empty where objective.name is '{name}' "
        "(only a transducer has such parts; init_from begins with all weights of a bundle), got "
        "{'prediction': 'exp/x/prediction/best'}"
    )
    assert load_recipe(folder, [f"objective.name={name}", "pretrain={}"])


def test_parts_or_the_whole(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text(TRANSDUCER, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"empty beside init_from, .*\(set only one\), got {"):
        load_recipe(tmp_path / "x.toml", ["pretrain.encoder=a", "init_from=b"])


def test_missing_recipes(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none: no such recipe \(a folder, or a .toml file\)"):
        load_recipe(tmp_path / "none")
    (folder / "recipe.toml").rename(folder / "other.toml")
    with pytest.raises(ConfigError, match=r"x: has no recipe\.toml; name one of other\.toml"):
        load_recipe(folder)
    (folder / "other.toml").unlink()
    with pytest.raises(ConfigError, match=r"has no recipe\.toml; name a folder that has one"):
        load_recipe(folder)


def test_the_schema_round_trips_through_json(folder: Path) -> None:
    recipe = load_recipe(folder)
    assert Recipe.model_validate(recipe.model_dump()) == recipe


LANGUAGE = f'task = "language_model"\n{MINIMAL}'


def test_the_task_chooses_the_schema(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(LANGUAGE, encoding="utf-8")
    recipe = load_recipe(path, ["model.hidden_size=7", "training.batch_characters=99"])
    assert isinstance(recipe, LanguageRecipe)
    assert (recipe.model.hidden_size, recipe.training.batch_characters) == (7, 99)
    assert recipe.tokenizer.name == "characters"
    assert recipe.examples.temperatures == [0.25, 0.75, 1.5]
    assert LanguageRecipe.model_validate(recipe.model_dump()) == recipe
    path.write_text(f'task = "speech"\n{MINIMAL}', encoding="utf-8")
    recipe = load_recipe(path)
    assert isinstance(recipe, Recipe)
    assert "task" not in recipe.model_dump(), "bundles and run folders are as they were"


@pytest.mark.parametrize("task", ['"lm"', "3", '["speech"]'])
def test_an_unknown_task(tmp_path: Path, task: str) -> None:
    (tmp_path / "x.toml").write_text(f"task = {task}\n{MINIMAL}", encoding="utf-8")
    with pytest.raises(ConfigError, match="'task' must be 'speech', 'language_model' or a sec"):
        load_recipe(tmp_path / "x.toml")


def test_all_problems_of_a_language_recipe_at_once(tmp_path: Path) -> None:
    text = """
[model]
cel = "lstm"
hidden_size = 0
[examples]
temperatures = [-1.0]
[tokenizer]
name = "bundle"
[training]
batch_seconds = 3.0
[encoder]
num_layers = 2
"""
    (tmp_path / "x.toml").write_text(f"{LANGUAGE}{text}", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_recipe(tmp_path / "x.toml")
    said = str(caught.value).split("\n")
    assert len(said) == 6
    for problem in (
        "unknown key 'model.cel'; did you mean 'cell'?",
        "'model.hidden_size' must be greater than or equal to 1, got 0",
        "'examples.temperatures.0' must be greater than or equal to 0, got -1.0",
        "'tokenizer.folder' is missing; it is needed",
        "unknown key 'training.batch_seconds'; ",
        "unknown key 'encoder'; ",
    ):
        assert any(problem in line for line in said), (problem, said)


def test_nothing_in_a_language_recipe_names_code(tmp_path: Path) -> None:
    for text in ('[model]\ncell = "torch.nn.LSTM"', '[tokenizer]\nname = "os.system"'):
        (tmp_path / "x.toml").write_text(f"{LANGUAGE}{text}\n", encoding="utf-8")
        with pytest.raises(ConfigError, match="must be"):
            load_recipe(tmp_path / "x.toml")
