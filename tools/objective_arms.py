"""What `tools.compare_objectives` compares, where its runs lie, and what a finished run tells.

OUT/calibration.json               how long an epoch of each arm takes, and on what
OUT/calibration/ARM/               the run of one epoch that told
OUT/ARM/lr-RATE/seed-N/            a run; beside it seed-N.toml, its whole recipe, and its log
OUT/start/best/                    the starting bundle, copied: tuning writes into a bundle
OUT/decode/RUN/MODE/               what `asr evaluate --out` writes, scores.json and done.json
OUT/failures.json                  what failed and did not succeed since
"""

import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asr.config import parse
from asr.errors import ConfigError, DivergedError, shown
from asr.recipe import Recipe, load_recipe, recipe_file
from asr.storage import MANIFEST, folder_writer, read_json, verify_folder

ARMS: Mapping[str, Mapping[str, Any]] = {
    "ctc": {"name": "ctc"},
    "reinforce-5": {"name": "expected_wer", "estimator": "reinforce", "num_samples": 5},
    "nbest-4": {"name": "expected_wer", "estimator": "nbest", "num_samples": 4},
    "exchange-1": {"name": "expected_wer", "estimator": "exchange", "num_samples": 1},
    "exchange-5": {"name": "expected_wer", "estimator": "exchange", "num_samples": 5},
    "exchange-20": {"name": "expected_wer", "estimator": "exchange", "num_samples": 20},
}
BASELINE = "ctc"  # trained on for as long as the others: what they must beat
START = "start"


@dataclass(frozen=True, slots=True)
class Run:
    """One training: an arm, a learning rate, a seed."""

    arm: str
    rate: float
    seed: int

    @property
    def name(self) -> str:
        """Its folder below the experiment's."""
        return f"{self.arm}/lr-{rate_text(self.rate)}/seed-{self.seed}"


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """What is compared.

    Attributes:
        recipe: with the expected error rate and `init_from`, every default resolved.
        out: the folder of everything.
        rates: learning rates to choose from.
        seeds: the first for the choice, the others for the chosen rate.
    """

    recipe: Recipe
    out: Path
    rates: tuple[float, ...]
    seeds: tuple[int, ...]

    def search(self) -> list[Run]:
        """The runs among which each arm's rate is chosen."""
        return [Run(arm, rate, self.seeds[0]) for arm in ARMS for rate in self.rates]

    def chosen(self, arm: str) -> list[Run]:
        """The runs of an arm with its best rate, one a seed; none while that is not known."""
        rate = self.best_rate(arm)
        return [] if rate is None else [Run(arm, rate, seed) for seed in self.seeds]

    def best_rate(self, arm: str) -> float | None:
        """The rate with the lowest dev WER, the lower of equals; None while one is not tried.

        One that diverged is tried, and out of the question.
        """
        failed = read_failures(self.out)
        found: dict[float, float] = {}
        for run in (run for run in self.search() if run.arm == arm):
            facts = read_facts(self.out / run.name)
            if facts is not None:
                found[run.rate] = facts.dev_wer
            elif failed.get(run.name, {}).get("exit_code") != DivergedError.exit_code:
                return None
        return min(found, key=lambda rate: (found[rate], rate), default=None)

    def recipe_of(self, run: Run, epochs: int) -> Recipe:
        """The whole recipe of a run.

        The test set is left out: nothing about it is known while rates are chosen.

        Raises:
            ConfigError: settings that do not fit together.
        """
        given = json.loads(self.recipe.model_dump_json())
        objective = ARMS[run.arm]
        if objective["name"] == given["objective"]["name"]:
            objective = {**given["objective"], **objective}
        changed = {
            "seed": run.seed,
            "data": {**given["data"], "test": ""},
            "objective": objective,
            "optimizer": {**given["optimizer"], "learning_rate": run.rate},
            "training": {**given["training"], "epochs": epochs},
        }
        return parse(Recipe, {**given, **changed}, run.name)


@dataclass(frozen=True, slots=True)
class Facts:
    """What a finished training tells of itself.

    Attributes:
        epochs: that it made.
        steps: updates of the weights.
        seconds: of training, evaluation apart.
        dev_wer: of the final model, greedy.
        train_loss: the mean of its last epoch, of whatever it minimised.
    """

    epochs: int
    steps: int
    seconds: float
    dev_wer: float
    train_loss: float | None


def open_experiment(
    recipe: Path, out: Path | None, rates: Iterable[float], seeds: Iterable[int]
) -> Experiment:
    """The experiment that a recipe stands for; by default in `exp/compare/RECIPE`.

    Raises:
        ConfigError: a recipe that cannot be used, trains something else, or has no `init_from`,
            dev or test.
    """
    resolved, file = load_recipe(recipe), recipe_file(recipe)
    if not isinstance(resolved, Recipe) or resolved.objective.name != "expected_wer":
        raise ConfigError(f"{shown(file)}: needs [objective] name = 'expected_wer'")
    named = {"init_from": resolved.init_from}
    named |= {f"data.{name}": getattr(resolved.data, name) for name in ("dev", "test")}
    if missing := [key for key, value in named.items() if not value]:
        raise ConfigError(f"{shown(file)}: needs {' and '.join(missing)} for a comparison")
    return Experiment(
        recipe=resolved,
        out=out or Path("exp") / "compare" / file.resolve().parent.name,
        rates=tuple(dict.fromkeys(rates)),
        seeds=tuple(dict.fromkeys(seeds)),
    )


def keep_start(experiment: Experiment) -> Path:
    """The copy of the starting bundle, made now if it is not there.

    Raises:
        ConfigError: another one than that with which the experiment began.
        ModelError: no bundle, or a damaged one.
        ResourceError: the disk is full or not writable.
    """
    given, copy = Path(experiment.recipe.init_from), experiment.out / START / "best"
    verify_folder(given)
    if not copy.exists():
        with folder_writer(copy) as temporary:
            for file in given.iterdir():
                if file.is_file() and file.name != MANIFEST:
                    shutil.copy2(file, temporary / file.name)
    if model_hash(copy) != model_hash(given):
        raise ConfigError(
            f"{shown(given)}: is not the bundle that this experiment began with "
            f"({shown(copy)}); choose another --out"
        )
    return copy


def model_hash(bundle: Path) -> str:
    """The hash of a bundle's weights, as its manifest has it.

    Raises:
        ModelError: no bundle.
    """
    return str(read_json(bundle / MANIFEST)["files"]["model.safetensors"])


def read_facts(folder: Path) -> Facts | None:
    """What the run in `folder` tells; None while it is not finished.

    Raises:
        ModelError: files that are not of a run.
    """
    if not (folder / "finished.json").is_file():
        return None
    text = (folder / "metrics.jsonl").read_text(encoding="utf-8")
    lines = [json.loads(line) for line in text.split("\n") if line]
    last = {line["kind"]: line for line in lines}
    state = _last_state(folder / "checkpoints")
    return Facts(
        epochs=read_json(folder / "finished.json")["epochs"],
        steps=state["step"],
        seconds=state["seconds"],
        dev_wer=last["final_dev"]["wer"],
        train_loss=last["dev"].get("train_loss"),
    )


def read_failures(out: Path) -> dict[str, dict[str, Any]]:
    """What failed and did not succeed since: `exit_code` and `message` by name."""
    file = out / "failures.json"
    return dict(read_json(file)) if file.is_file() else {}


def rate_text(rate: float) -> str:
    """A learning rate as people write it: `3e-5`."""
    mantissa, exponent = f"{rate:e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def _last_state(checkpoints: Path) -> dict[str, Any]:
    """Where the newest checkpoint stands."""
    steps = {
        int(folder.name.removeprefix("step-")): folder
        for folder in checkpoints.glob("step-*")
        if folder.name.removeprefix("step-").isdecimal()  # not what a kill left behind
    }
    newest = steps[max(steps)]
    return dict(read_json(newest / "state.json")["state"])
