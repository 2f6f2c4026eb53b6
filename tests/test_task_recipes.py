"""Recipes that bring their own task: loaded, checked, trained, resumed, shown again."""

import json
import sys
from pathlib import Path

import pytest

from asr.cli.main import main
from asr.errors import ConfigError, ModelError
from asr.experiment import train_recipe
from asr.recipe import TaskRecipe, as_toml, load_recipe
from asr.showing import show_run
from asr.storage import read_json, write_json

TASK = '''
from pathlib import Path

import torch
from pydantic import Field

from asr.config import Config as Settings
from asr.training.plain_task import PlainTask
from asr.training.task import Evaluation

from .model import Line


class Config(Settings):
    """The section `[task]`."""

    slope: float = Field(gt=0)
    noise: float = 0.1
    word: str = "first"
    size: int = 1


class LineTask(PlainTask):
    def __init__(self, config, seed):
        super().__init__(Line(config.size), num_items=64, batch_size=16, seed=seed)
        generator = torch.Generator().manual_seed(seed)
        self.x = torch.randn(64, generator=generator)
        self.y = config.slope * self.x + config.noise * torch.randn(64, generator=generator)
        self.word = config.word

    def fingerprints(self):
        return {"training data": str(self.y.sum().item())}

    def load_batch(self, plan, epoch):
        return list(plan.items), []

    def ids(self, batch):
        return [str(item) for item in batch]

    def loss(self, batch, device):
        return (self.model(self.x[batch]) - self.y[batch]).square()

    def evaluate(self, split, device, advance):
        advance(1, 1)
        with torch.no_grad():
            error = float((self.model(self.x) - self.y).square().mean())
        return Evaluation({"error": error}, monitor="error")

    def artifacts(self, folder, history):
        folder.mkdir(parents=True, exist_ok=True)
        slope = self.model.slope.mean().item()
        text = f"{self.word} {slope:.2f} after {len(history)} evaluations"
        (folder / "slope.txt").write_text(text, encoding="utf-8")


def build(config, data, seed):
    return LineTask(config, seed)
'''
MODEL = """
import torch
from torch import nn


class Line(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.slope = nn.Parameter(torch.zeros(size))

    def forward(self, x):
        return self.slope.mean() * x
"""
RECIPE = """
seed = 1
[task]
slope = 2.0
[optimizer]
name = "sgd"
learning_rate = 0.1
momentum = 0.0
[training]
epochs = 4
num_workers = 0
artifacts = [1]
"""


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "recipes" / "line"
    folder.mkdir(parents=True)
    for name, content in (("task.py", TASK), ("model.py", MODEL), ("recipe.toml", RECIPE)):
        (folder / name).write_text(content, encoding="utf-8")
    return Path("recipes/line")


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_a_recipe_is_checked_by_the_schema_of_its_task(recipe: Path) -> None:
    resolved = load_recipe(recipe, ["task.noise=0.5"])
    assert isinstance(resolved, TaskRecipe)
    assert resolved.task.model_dump() == {"slope": 2.0, "noise": 0.5, "word": "first", "size": 1}
    assert "[task]\nslope = 2.0\nnoise = 0.5\n" in as_toml(resolved)
    with pytest.raises(ConfigError) as raised:
        load_recipe(recipe, ["task.slope=-1.0", "task.nois=1.0", "training.epoch=3"])
    lines = str(raised.value).split("\n")
    assert len(lines) == 3
    assert any("'task.slope' must be greater than 0, got -1.0" in line for line in lines)
    assert any("unknown key 'task.nois'; did you mean 'noise'?" in line for line in lines)
    assert any("unknown key 'training.epoch'; did you mean 'epochs'?" in line for line in lines)


def test_programs_that_cannot_be_used(recipe: Path) -> None:
    program = recipe / "task.py"
    whole = program.read_text(encoding="utf-8")
    edit(program, "class Config(Settings):", "class Other(Settings):")
    with pytest.raises(ConfigError, match=r"task\.py: has no class Config, an asr\.config\.Config"):
        load_recipe(recipe)
    program.write_text(whole.replace("def build(", "def make("), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"task\.py: has no function build\(config, data, seed\)"):
        load_recipe(recipe)
    program.unlink()
    with pytest.raises(ConfigError, match=r"line: has no task\.py; a section \[task\] needs one"):
        load_recipe(recipe)
    edit(recipe / "recipe.toml", "[task]\nslope = 2.0", 'task = "cooking"')
    with pytest.raises(ConfigError, match=r"'task' must be 'speech', 'language_model' or a sec"):
        load_recipe(recipe)


def test_a_training_and_what_it_leaves(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", str(recipe)]) == 0
    assert "error 0.01" in capsys.readouterr().out
    run = Path("exp/line/default")
    facts = read_json(run / "best" / "task.json")
    assert facts["file"] == "recipes/line/recipe.toml"
    assert facts["command"] == "asr train recipes/line"
    assert facts["recipe"]["task"]["slope"] == 2.0
    card = (run / "best" / "README.md").read_text(encoding="utf-8")
    assert "asr train recipes/line" in card
    assert "dev: error 0.01" in card
    first = (run / "artifacts" / "epoch-0001" / "slope.txt").read_text(encoding="utf-8")
    final = (run / "artifacts" / "final" / "slope.txt").read_text(encoding="utf-8")
    assert first.endswith("after 1 evaluations")
    assert final.startswith(("first 1.9", "first 2.0"))
    assert final.endswith("after 4 evaluations")
    assert main(["train", str(recipe)]) == 0
    assert "this training is finished" in capsys.readouterr().err
    assert main(["train", str(recipe), "--set", "task.slope=3.0"]) == 2
    assert "the training data changed since this training began" in capsys.readouterr().err


def test_the_bundle_is_no_recogniser(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", str(recipe)]) == 0
    best = "exp/line/default/best"
    assert main(["evaluate", best, "dev.jsonl"]) == 2
    assert "is the model of a recipe's own task, no speech recogniser" in capsys.readouterr().err
    assert main(["info", best]) == 0
    assert "asr train recipes/line" in capsys.readouterr().out
    assert main(["info", best, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["recipe"]["task"]["slope"] == 2.0
    write_json(Path(best) / "task.json", [])
    assert main(["info", best]) == 2
    assert "task.json" in capsys.readouterr().err


def test_artifacts_are_made_again(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", str(recipe)]) == 0
    run = Path("exp/line/default")
    file = run / "artifacts" / "final" / "slope.txt"
    before = file.read_text(encoding="utf-8")
    file.unlink()
    capsys.readouterr()
    assert main(["artifacts", str(run)]) == 0
    said = capsys.readouterr()
    assert said.out == f"{file}\n"
    assert "running recipes/line/task.py" in said.err
    assert file.read_text(encoding="utf-8") == before
    other = ["--set", "task.word=second", "--out", "elsewhere"]
    assert main(["artifacts", str(run), *other]) == 0
    assert Path("elsewhere/slope.txt").read_text(encoding="utf-8").startswith("second ")


def test_what_lay_there_before_is_not_listed(
    recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", str(recipe)]) == 0
    run = Path("exp/line/default")
    (run / "artifacts" / "final" / "old.txt").write_text("", encoding="utf-8")
    capsys.readouterr()
    assert main(["artifacts", str(run)]) == 0
    assert capsys.readouterr().out == f"{run / 'artifacts' / 'final' / 'slope.txt'}\n"


def test_another_network_is_refused_by_its_setting(recipe: Path) -> None:
    assert main(["train", str(recipe)]) == 0
    run = Path("exp/line/default")
    other = ["task.size=3", "training.epochs=9"]
    needed = r"^exp/line/default: was trained with task\.size = 1, not 3; give another --out$"
    with pytest.raises(ConfigError, match=needed):
        train_recipe(recipe, overrides=other)
    needed = r"default: was trained with task\.size = 1, not 3; a setting of the .* leave it out$"
    with pytest.raises(ConfigError, match=needed):
        show_run(run, overrides=other)
    edit(recipe / "model.py", "torch.zeros(size)", "torch.zeros((size, 1))")
    del sys.modules["recipes.line.model"]  # as in another process
    with pytest.raises(ModelError, match=r"does not fit the model .*; give another --out$"):
        train_recipe(recipe)


def test_artifacts_that_cannot_be_made(recipe: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere: no such folder; asr train makes it"):
        show_run(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=r"line: is no run folder of .*json\); name one, such"):
        show_run(recipe)
    assert main(["train", str(recipe)]) == 0
    run = Path("exp/line/default")
    for part in (run / "best", run / "artifacts" / "final" / "slope.txt", run / "nothing"):
        with pytest.raises(ConfigError, match=rf"{part}: is .* part of one; name exp/line/default"):
            show_run(part)
    edit(recipe / "model.py", "torch.zeros(size)", "torch.zeros((size, 1))")
    del sys.modules["recipes.line.model"]  # as in another process
    with pytest.raises(ModelError, match="best: does not fit the model"):
        show_run(run)
    edit(recipe / "model.py", "torch.zeros((size, 1))", "torch.zeros(size)")
    del sys.modules["recipes.line.model"]
    edit(recipe / "task.py", "    def artifacts(", "    def nothing(")
    with pytest.raises(ConfigError, match="default: its task has nothing to show; try asr"):
        show_run(run)
    (recipe / "recipe.toml").unlink()
    with pytest.raises(ConfigError, match=r"its recipe recipes/line/recipe\.toml is gone; run"):
        show_run(run)
