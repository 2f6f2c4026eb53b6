"""Ways to train a converged CTC model on, compared: CTC and the estimators of the expected WER.

    asr train recipes/speechocean762
    asr lm train data/speechocean762/train.jsonl --order 3 -o exp/lm/speechocean762_3.arpa
    cut -f1 exp/speechocean762/default/best/vocabulary.tsv > exp/lm/speechocean762_words.txt

    python -m tools.compare_objectives decode speechocean762
    python -m tools.compare_objectives report speechocean762 --before      # what could be seen
    python -m tools.compare_objectives train speechocean762 --epochs 4 --jobs 2         # hours
    python -m tools.compare_objectives decode speechocean762 --jobs 2
    python -m tools.compare_objectives report speechocean762 > report.md

From the repository's root. A corpus stands for `recipes/CORPUS/expected_wer.toml`; any such recipe
will do. Everything goes to `exp/compare/CORPUS`, or to `--out` (`tools/objective_arms.py` says
where). `--rates` and `--seeds` must be the same in all commands.

- train: every arm of `tools/objective_arms.py` begins with the bundle `init_from` of the recipe and
  trains for as long (`--minutes`), evaluation apart: a training of one epoch tells how long an
  epoch takes, which gives the number of epochs (`--epochs` gives the same number to all instead).
  Begin it on an idle machine: on a busy one the arms get the wrong number of epochs.
  Every rate is tried with the first seed; the one with the lowest dev WER, the lower of equals,
  runs with the other seeds. Test data is not looked at.
- decode: the starting bundle, and those chosen that are finished, on the test data: greedy, with
  the dictionary, with the dictionary and the language model, whose weights are found on dev for
  each bundle and stored in it (the starting one is copied first).
- report: tables in Markdown, only of what lies in the files; what does not is "not run".

What is finished is not done again, a training that was stopped goes on. What fails is named at the
end, with exit code 1; the rest is done. The same command may run several times at once: each leaves
to the others what they are at (a lock beside each run), does the rest, and waits for them.
"""

import argparse
import fcntl
import os
import platform
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from asr.config import parse
from asr.errors import AsrError, ConfigError, shown
from asr.recipe import Recipe, as_toml, recipe_file
from asr.storage import cannot_write, file_hash, read_json, write_atomically, write_json
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
from tools.objective_jobs import (
    Job,
    Runner,
    checked,
    evaluate_arguments,
    run_asr,
    run_jobs,
    run_step,
    tune_arguments,
)
from tools.objective_options import parser
from tools.objective_report import before, report

BUSY = 0.5  # load of a machine on which times mean little
POLL_SECONDS = 5.0


def train(experiment: Experiment, options: argparse.Namespace, run: Runner) -> list[str]:
    """All trainings; the names of those that failed.

    Raises:
        AsrError: the starting bundle or the folder cannot be used.
    """
    _begin(experiment)
    work = partial(share_jobs, out=experiment.out, side_by_side=options.jobs, run=run)
    failed: list[str] = []
    if options.epochs:
        epochs = dict.fromkeys(ARMS, options.epochs)
    else:
        seconds, failed = calibrate(experiment, options.jobs, run)
        epochs = {arm: max(1, round(60 * options.minutes / each)) for arm, each in seconds.items()}
    for arm, count in epochs.items():
        _say(f"{arm}: epochs {count}")

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
    load = round(os.getloadavg()[0], 1)
    for arm in ARMS:
        if arm not in known:
            runs[arm] = Run(arm, experiment.rates[0], experiment.seeds[0])
        elif known[arm]["machine"] != machine:
            _say(f"{arm}: an epoch was measured on {known[arm]['machine']}; now on {machine}")
    if runs and load > BUSY:
        _say(f"warning: a load of {load} before an epoch is measured, which others make longer")
    work = [_training(experiment, each, 1, f"calibration/{arm}") for arm, each in runs.items()]
    failed = share_jobs(work, out=experiment.out, side_by_side=jobs, run=run)
    for arm in runs:
        if facts := read_facts(experiment.out / "calibration" / arm):
            measured = {"seconds_per_epoch": facts.seconds / facts.epochs, "steps": facts.steps}
            known[arm] = {**measured, "machine": machine, "load": load}
    write_json(file, known)
    return {arm: known[arm]["seconds_per_epoch"] for arm in ARMS if arm in known}, failed


def decode(experiment: Experiment, options: argparse.Namespace, run: Runner) -> list[str]:
    """The starting bundle and all chosen that are finished on the test data; what failed.

    Raises:
        AsrError: the starting bundle or the folder cannot be used, or a file is missing.
    """
    corpus = recipe_file(options.recipe).resolve().parent.name
    files = {
        "lexicon": options.lexicon or Path(f"exp/lm/{corpus}_words.txt"),
        "lm": options.lm or Path(f"exp/lm/{corpus}_3.arpa"),
    }
    for file in files.values():
        if not file.is_file():
            raise ConfigError(f"{shown(file)}: no such file")
    bundles = {START: _begin(experiment)}
    for arm in ARMS:
        runs = experiment.chosen(arm)
        finished = [each for each in runs if read_facts(experiment.out / each.name)]
        bundles |= {each.name: experiment.out / each.name / "best" for each in finished}
        if len(finished) < len(experiment.seeds):
            _say(f"{arm}: {len(finished)} of {len(experiment.seeds)} chosen runs are finished")
    jobs = [_decoding(experiment, name, bundle, files) for name, bundle in bundles.items()]
    return share_jobs(jobs, out=experiment.out, side_by_side=options.jobs, run=run)


def share_jobs(jobs: Sequence[Job], *, out: Path, side_by_side: int, run: Runner) -> list[str]:
    """Do the jobs that no other command is at, then what others leave; the names that failed."""
    failed: list[str] = []
    left, taken, waiting = list(jobs), set[str](), set[str]()

    def tell(line: str) -> None:
        if not any(f" {name}: " in line for name in taken):  # nothing was done there
            _say(line)

    while left:
        taken.clear()
        work = [_unless_taken(job, out, taken) for job in left]
        failed += run_jobs(work, side_by_side=side_by_side, out=out, run=run, say=tell)
        for name in sorted(taken - waiting):
            _say(f"{name}: another command is at it")
        left, waiting = [job for job in left if job.name in taken], set(taken)
        while left and all(_is_taken(out, job.name) for job in left):
            time.sleep(POLL_SECONDS)
    return failed


@contextmanager
def claim(out: Path, name: str) -> Iterator[bool]:
    """True, and then no other process gets it before this one lets go or dies; or False.

    Raises:
        ResourceError: the folder cannot be written.
    """
    file = (out / name).with_name(f".{Path(name).name}.lock")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = file.open("wb")
    except OSError as error:
        raise cannot_write(file, error) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            mine = True
        except BlockingIOError:
            mine = False
        yield mine


def _unless_taken(job: Job, out: Path, taken: set[str]) -> Job:
    """The job, which only adds its name to `taken` where another process is at it."""

    def work(runner: Runner) -> None:
        with claim(out, job.name) as mine:
            if mine:
                job.work(runner)
            else:
                taken.add(job.name)

    return Job(job.name, work)


def _is_taken(out: Path, name: str) -> bool:
    with claim(out, name) as mine:
        return not mine


def _begin(experiment: Experiment) -> Path:
    """The copy of the starting bundle, made by one process alone."""
    while True:
        with claim(experiment.out, START) as mine:
            if mine:
                return keep_start(experiment)
        time.sleep(POLL_SECONDS)


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
        run_step(runner, tune_arguments(bundle, Path(data.dev), lm, place), place, tuned)
        for mode, options in given.items():
            place = folder / mode
            used = {key: digest for key, digest in hashes.items() if f"--{key}" in options}
            inputs = model | used | {"manifest": file_hash(Path(data.test))}
            inputs |= {"tuned_on": tuned["manifest"]} if mode == "lm" else {}
            arguments = evaluate_arguments(bundle, Path(data.test), options, place)
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


def main(arguments: Sequence[str] | None = None, run: Runner = run_asr) -> int:
    """The command line; `run` runs `asr`."""
    options = parser(__doc__ or "").parse_args(arguments)
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
    failed = [name for name in failed if name in failures]  # not what another command mended
    for name in failed:
        _say(f"failed: {name}: {failures[name]['message']}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
