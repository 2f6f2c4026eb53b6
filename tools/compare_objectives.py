"""Ways to train a converged CTC model on, compared: CTC and the estimators of the expected WER.

    asr train recipes/speechocean762
    asr lm train data/speechocean762/train.jsonl --order 3 -o 3.arpa
    cut -f1 exp/speechocean762/default/best/vocabulary.tsv > words.txt

    RECIPE=recipes/speechocean762/expected_wer.toml
    python -m tools.compare_objectives decode $RECIPE --lexicon words.txt --lm 3.arpa --jobs 2
    python -m tools.compare_objectives report $RECIPE --before    # what could be seen at all
    python -m tools.compare_objectives train $RECIPE --jobs 2     # hours; the same command resumes
    python -m tools.compare_objectives decode $RECIPE --lexicon words.txt --lm 3.arpa --jobs 2
    python -m tools.compare_objectives report $RECIPE > report.md

From the repository's root; everything goes to `exp/compare/speechocean762`, or to `--out`
(`tools/objective_arms.py` says where). `--rates` and `--seeds` must be the same in all commands.

- train: every arm of `tools/objective_arms.py` begins with the bundle `init_from` of the recipe and
  trains for as long (`--minutes`), evaluation apart: a training of one epoch tells how long an
  epoch takes, which gives the number of epochs (`--epochs` gives the same number to all instead).
  Every rate is tried with the first seed; the one with the lowest dev WER, the lower of equals,
  runs with the other seeds. Test data is not looked at.
- decode: the starting bundle, and those chosen that are finished, on the test data: greedy, with
  the dictionary, with the dictionary and the language model, whose weights are found on dev for
  each bundle and stored in it (the starting one is copied first).
- report: tables in Markdown, only of what lies in the files; what does not is "not run".

What is finished is not done again, a training that was stopped goes on. What fails is named at the
end, with exit code 1; the rest is done.
"""

import argparse
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from asr.config import parse
from asr.errors import AsrError, ConfigError, shown
from asr.recipe import Recipe, as_toml
from asr.storage import file_hash, read_json, write_atomically, write_json
from asr.training.run import differences
from tools.objective_arms import (
    ARMS,
    START,
    Experiment,
    Run,
    keep_start,
    model_hash,
    open_experiment,
    read_facts,
    read_failures,
)
from tools.objective_jobs import Job, Runner, checked, run_asr, run_jobs, run_step
from tools.objective_report import before, report

RATES, SEEDS, MINUTES = (3e-5, 1e-4, 3e-4), (1, 2, 3), 6.0


def train(experiment: Experiment, options: argparse.Namespace, run: Runner) -> list[str]:
    """All trainings; the names of those that failed.

    Raises:
        AsrError: the starting bundle or the folder cannot be used.
    """
    keep_start(experiment)
    work = partial(run_jobs, side_by_side=options.jobs, out=experiment.out, run=run, say=_say)
    failed: list[str] = []
    if options.epochs:
        epochs = dict.fromkeys(ARMS, options.epochs)
    else:
        seconds, failed = calibrate(experiment, options.jobs, run)
        epochs = {arm: max(1, round(60 * options.minutes / each)) for arm, each in seconds.items()}
    for arm, count in epochs.items():
        _say(f"{arm}: {count} epochs")

    def training(runs: Sequence[Run]) -> list[Job]:
        return [
            _training(experiment, each, epochs[each.arm]) for each in runs if each.arm in epochs
        ]

    failed += work(training(experiment.search()))
    failed += work(training([each for arm in ARMS for each in experiment.chosen(arm)[1:]]))
    return failed


def calibrate(experiment: Experiment, jobs: int, run: Runner) -> tuple[dict[str, float], list[str]]:
    """Seconds of training in an epoch of each arm, measured once; and what failed."""
    file = experiment.out / "calibration.json"
    known: dict[str, dict[str, Any]] = read_json(file) if file.is_file() else {}
    machine, runs = f"{_machine()}, {jobs} side by side", {}
    for arm in ARMS:
        if arm not in known:
            runs[arm] = Run(arm, experiment.rates[0], experiment.seeds[0])
        elif known[arm]["machine"] != machine:
            _say(f"{arm}: an epoch was measured on {known[arm]['machine']}; now on {machine}")
    work = [_training(experiment, each, 1, f"calibration/{arm}") for arm, each in runs.items()]
    failed = run_jobs(work, side_by_side=jobs, out=experiment.out, run=run, say=_say)
    for arm in runs:
        if facts := read_facts(experiment.out / "calibration" / arm):
            measured = {"seconds_per_epoch": facts.seconds / facts.epochs, "steps": facts.steps}
            known[arm] = {**measured, "machine": machine}
    write_json(file, known)
    return {arm: known[arm]["seconds_per_epoch"] for arm in ARMS if arm in known}, failed


def decode(experiment: Experiment, options: argparse.Namespace, run: Runner) -> list[str]:
    """The starting bundle and all chosen that are finished on the test data; what failed.

    Raises:
        AsrError: the starting bundle or the folder cannot be used, or a file is missing.
    """
    for file in (options.lexicon, options.lm):
        if not file.is_file():
            raise ConfigError(f"{shown(file)}: no such file")
    bundles = {START: keep_start(experiment)}
    for arm in ARMS:
        runs = experiment.chosen(arm)
        finished = [each for each in runs if read_facts(experiment.out / each.name)]
        bundles |= {each.name: experiment.out / each.name / "best" for each in finished}
        if len(finished) < len(experiment.seeds):
            _say(f"{arm}: {len(finished)} of {len(experiment.seeds)} chosen runs are finished")
    files = {"lexicon": options.lexicon, "lm": options.lm}
    jobs = [_decoding(experiment, name, bundle, files) for name, bundle in bundles.items()]
    return run_jobs(jobs, side_by_side=options.jobs, out=experiment.out, run=run, say=_say)


def _training(experiment: Experiment, run: Run, epochs: int, name: str = "") -> Job:
    """The training of a run, in the folder of its name."""
    folder = experiment.out / (name or run.name)

    def work(runner: Runner) -> None:
        recipe = experiment.recipe_of(run, epochs)
        _check_begun(folder, recipe)
        if read_facts(folder) is not None:
            return
        file = folder.with_name(f"{folder.name}.toml")
        write_atomically(file, as_toml(recipe))
        arguments = ["train", str(file), "--out", str(folder)]
        checked(runner, arguments, folder.with_name(f"{folder.name}.log"))

    return Job(name or run.name, work)


def _check_begun(folder: Path, recipe: Recipe) -> None:
    """Return when a run was not begun, or with this recipe.

    Raises:
        ConfigError: it was begun with another.
    """
    file = folder / "recipe.json"
    if not file.is_file():
        return
    # Through the schema: settings that are newer than the run have their default in it.
    begun = parse(Recipe, read_json(file)["recipe"], shown(file))
    changed = differences(begun.model_dump(), recipe.model_dump())
    if changed:
        raise ConfigError(
            f"{shown(folder)}: was begun otherwise ({', '.join(changed)}); choose another --out, "
            "or remove it"
        )


def _decoding(experiment: Experiment, name: str, bundle: Path, files: Mapping[str, Path]) -> Job:
    """A bundle on the test data in every mode, its weights found on dev."""
    data, folder = experiment.recipe.data, experiment.out / "decode" / name
    lexicon = ["--lexicon", str(files["lexicon"])]
    lm = [*lexicon, "--lm", str(files["lm"])]

    def work(runner: Runner) -> None:
        hashes = {key: file_hash(file) for key, file in files.items()}
        model = {"model": model_hash(bundle)}
        given = {"greedy": [], "lexicon": lexicon, "lm": lm}
        place = folder / "tuning"
        tuned = model | hashes | {"manifest": file_hash(Path(data.dev))}
        run_step(runner, ["tune", str(bundle), data.dev, *lm, "--out", str(place)], place, tuned)
        for mode, options in given.items():
            place = folder / mode
            used = {key: digest for key, digest in hashes.items() if f"--{key}" in options}
            inputs = model | used | {"manifest": file_hash(Path(data.test))}
            written = ["--out", str(place), "--json", str(place / "scores.json")]
            arguments = ["evaluate", str(bundle), data.test, *options, *written]
            run_step(runner, arguments, place, inputs)

    return Job(f"decode/{name}", work)


def _machine() -> str:
    """What times were measured on."""
    model = platform.processor() or platform.machine()
    if (cpus := Path("/proc/cpuinfo")).is_file():
        lines = cpus.read_text(encoding="utf-8", errors="replace").split("\n")
        model = next((line.split(": ")[1] for line in lines if "model name" in line), model)
    return f"{model}, {os.cpu_count()} cores, torch {version('torch')}"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _rate(text: str) -> float:
    rate = float(text)
    if not 0 < rate < 1:
        raise argparse.ArgumentTypeError("must be above 0 and below 1")
    return rate


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _minutes(text: str) -> float:
    minutes = float(text)
    if not 0 < minutes < float("inf"):
        raise argparse.ArgumentTypeError("must be above 0")
    return minutes


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("recipe", type=Path, help="with the expected WER and init_from")
    common.add_argument("--out", type=Path, help="default: exp/compare/RECIPE")
    common.add_argument("--rates", type=_rate, nargs="+", default=RATES)
    common.add_argument("--seeds", type=_positive, nargs="+", default=SEEDS)
    jobs = argparse.ArgumentParser(add_help=False)
    jobs.add_argument("--jobs", type=_positive, default=1, help="side by side, one core each")
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    commands = parser.add_subparsers(dest="command", required=True)
    training = commands.add_parser("train", parents=[common, jobs])
    length = training.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=_minutes, default=MINUTES, help="of training, each")
    length.add_argument("--epochs", type=_positive, help="of all arms alike, instead of --minutes")
    decoding = commands.add_parser("decode", parents=[common, jobs])
    decoding.add_argument("--lexicon", type=Path, required=True)
    decoding.add_argument("--lm", type=Path, required=True, help="ARPA file")
    reporting = commands.add_parser("report", parents=[common])
    reporting.add_argument("--before", action="store_true", help="only what could be detected")
    return parser


def main(arguments: Sequence[str] | None = None, run: Runner = run_asr) -> int:
    """The command line; `run` runs `asr`."""
    options = _parser().parse_args(arguments)
    try:
        experiment = open_experiment(options.recipe, options.out, options.rates, options.seeds)
        if options.command == "report":
            for line in (before if options.before else report)(experiment):
                print(line)
            return 0
        failed = {"train": train, "decode": decode}[options.command](experiment, options, run)
    except AsrError as error:
        _say(f"error: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        _say("stopped; the same command goes on")
        return 130
    failures = read_failures(experiment.out)
    for name in failed:
        _say(f"failed: {name}: {failures[name]['message']}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
