"""Recipes of the arms, the choice of a rate, and what finished runs tell."""

from pathlib import Path

import pytest

from asr.errors import ConfigError, ModelError
from asr.recipe import Recipe, as_toml, load_recipe
from tests.tools.made_runs import (
    make_experiment,
    make_recipe,
    put_json,
    write_made_bundle,
    write_run,
)
from tools.objective_arms import (
    ARMS,
    Experiment,
    Facts,
    Run,
    keep_start,
    open_experiment,
    rate_text,
    read_facts,
)


@pytest.mark.parametrize(
    ("rate", "text"), [(3e-5, "3e-5"), (0.0001, "1e-4"), (2.5e-4, "2.5e-4"), (0.1, "1e-1")]
)
def test_rates_are_written_as_people_do(rate: float, text: str) -> None:
    assert rate_text(rate) == text
    assert float(text) == rate


@pytest.mark.parametrize("arm", ARMS)
def test_a_recipe_differs_in_what_is_compared_alone(tmp_path: Path, arm: str) -> None:
    experiment = make_experiment(tmp_path)
    recipe = experiment.recipe_of(Run(arm, 3e-4, 2), 7)
    assert (recipe.seed, recipe.optimizer.learning_rate, recipe.training.epochs) == (2, 3e-4, 7)
    assert recipe.data.test == "", "no training looks at the test data"
    given = experiment.recipe
    assert recipe.init_from == given.init_from
    assert recipe.data.train == given.data.train
    assert recipe.optimizer.schedule == "constant"
    (tmp_path / "again.toml").write_text(as_toml(recipe), encoding="utf-8")
    assert load_recipe(tmp_path / "again.toml") == recipe


def test_the_objective_of_each_arm(tmp_path: Path) -> None:
    """What the recipe says besides the estimator holds for all expected error rates."""
    experiment = make_experiment(tmp_path)
    found = {arm: experiment.recipe_of(Run(arm, 1e-4, 1), 1).objective for arm in ARMS}
    assert found["ctc"].model_dump() == {"name": "ctc"}
    expected = {
        "reinforce-5": ("reinforce", 5),
        "nbest-4": ("nbest", 4),
        "exchange-1": ("exchange", 1),
        "exchange-5": ("exchange", 5),
        "exchange-20": ("exchange", 20),
    }
    for arm, (estimator, num_samples) in expected.items():
        dumped = found[arm].model_dump()
        assert (dumped["estimator"], dumped["num_samples"]) == (estimator, num_samples)
        assert dumped["ctc_weight"] == 0.5


def test_every_arm_and_rate_is_tried_with_the_first_seed(tmp_path: Path) -> None:
    experiment = make_experiment(tmp_path)
    names = [run.name for run in experiment.search()]
    assert len(names) == 2 * len(ARMS)
    assert names[:2] == ["ctc/lr-1e-4/seed-1", "ctc/lr-3e-5/seed-1"]


def with_dev(experiment: Experiment, arm: str, rates: dict[float, float]) -> None:
    for rate, dev_wer in rates.items():
        write_run(experiment.out / Run(arm, rate, 1).name, dev_wer=dev_wer)


def test_the_rate_with_the_lowest_dev_rate_is_chosen(tmp_path: Path) -> None:
    experiment = make_experiment(tmp_path)
    with_dev(experiment, "ctc", {1e-4: 0.41, 3e-5: 0.42})
    with_dev(experiment, "exchange-5", {1e-4: 0.40, 3e-5: 0.40})
    assert experiment.best_rate("ctc") == 1e-4
    assert experiment.best_rate("exchange-5") == 3e-5, "the lower of equals"
    assert experiment.chosen("ctc") == [Run("ctc", 1e-4, seed) for seed in (1, 2, 3)]


def test_nothing_is_chosen_before_all_was_tried(tmp_path: Path) -> None:
    experiment = make_experiment(tmp_path)
    with_dev(experiment, "ctc", {1e-4: 0.41})
    assert experiment.best_rate("ctc") is None
    assert experiment.chosen("ctc") == []


@pytest.mark.parametrize(("exit_code", "best"), [(6, 1e-4), (5, None)])
def test_a_rate_that_diverged_is_out_of_the_question(
    tmp_path: Path, exit_code: int, best: float | None
) -> None:
    """Any other failure can be mended, and its rate might be the best."""
    experiment = make_experiment(tmp_path)
    with_dev(experiment, "ctc", {1e-4: 0.41})
    failed = {Run("ctc", 3e-5, 1).name: {"exit_code": exit_code, "message": "it did"}}
    put_json(experiment.out / "failures.json", failed)
    assert experiment.best_rate("ctc") == best


def test_where_all_rates_diverged_there_is_no_best(tmp_path: Path) -> None:
    experiment = make_experiment(tmp_path)
    failed = {run.name: {"exit_code": 6, "message": "it did"} for run in experiment.search()}
    put_json(experiment.out / "failures.json", failed)
    assert experiment.best_rate("ctc") is None


def test_facts_are_of_the_end(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    write_run(folder, dev_wer=0.4, epochs=12, seconds=33.0, train_loss=0.6)
    (folder / "checkpoints" / "step-00000999.tmp-17").mkdir()  # of a killed process
    assert read_facts(folder) == Facts(
        epochs=12, steps=120, seconds=33.0, dev_wer=0.4, train_loss=0.6
    )
    (folder / "finished.json").unlink()
    assert read_facts(folder) is None
    assert read_facts(tmp_path / "nowhere") is None


def test_the_folder_is_named_after_the_recipe(tmp_path: Path) -> None:
    recipe = make_recipe(tmp_path)
    experiment = open_experiment(recipe, None, [1e-4, 1e-4], [2, 2, 1])
    assert experiment.out == Path("exp/compare/made")
    assert (experiment.rates, experiment.seeds) == ((1e-4,), (2, 1))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "expected_wer"\nctc_weight = 0.5', 'name = "ctc"', r"needs \[objective\]"),
        ("init_from", "# init_from", "needs init_from for a comparison"),
        ("test =", "# test =", "needs data.test for a comparison"),
    ],
)
def test_recipes_that_are_no_comparison(tmp_path: Path, old: str, new: str, message: str) -> None:
    recipe = make_recipe(tmp_path)
    recipe.write_text(recipe.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        open_experiment(recipe, None, [1e-4], [1])


def test_a_language_model_is_no_comparison(tmp_path: Path) -> None:
    recipe = tmp_path / "lm.toml"
    recipe.write_text('task = "language_model"\n[data]\ntrain = "x.txt"\n', encoding="utf-8")
    with pytest.raises(ConfigError, match=r"needs \[objective\]"):
        open_experiment(recipe, None, [1e-4], [1])


def test_the_starting_bundle_is_copied_once_and_watched(tmp_path: Path) -> None:
    experiment = make_experiment(tmp_path)
    copy = keep_start(experiment)
    assert copy == experiment.out / "start" / "best"
    assert (copy / "model.safetensors").read_text(encoding="utf-8") == "given"
    (copy / "decoding.json").write_text("{}", encoding="utf-8")
    assert keep_start(experiment) == copy
    assert (copy / "decoding.json").exists(), "what was tuned stays"
    write_made_bundle(Path(experiment.recipe.init_from), "trained anew", dev_wer=0.5)
    with pytest.raises(ConfigError, match="is not the bundle that this experiment began with"):
        keep_start(experiment)


def test_a_missing_starting_bundle_is_named(tmp_path: Path) -> None:
    experiment = make_experiment(tmp_path)
    (Path(experiment.recipe.init_from) / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"model\.safetensors: is missing"):
        keep_start(experiment)


def test_recipes_of_the_repository_can_be_compared() -> None:
    for corpus in ("an4", "speechocean762"):
        experiment = open_experiment(Path(f"recipes/{corpus}/expected_wer.toml"), None, [1e-4], [1])
        assert experiment.out == Path("exp/compare") / corpus
        assert isinstance(experiment.recipe_of(Run("ctc", 1e-4, 1), 1), Recipe)
