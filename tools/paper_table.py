"""The table of Graves & Jaitly (2014) beside what was reached.

CTC and expected WER, each without a language model, with a dictionary, a 1-, 2- and 3-gram, and
with n-best lists rescored.

    asr prepare recipes/wsj --corpus DISCS
    asr train recipes/wsj
    asr train recipes/wsj/expected_wer.toml

    python -m tools.paper_table run wsj                    # hours
    python -m tools.paper_table print wsj > table.md       # or without print

From the repository's root. A name stands for the folder below `recipes/`; any recipe folder with
`lm.txt.gz` and `dictionary.txt` beside its training data will do. Everything goes to
`exp/CORPUS/table`, or to `--out` (`tools/paper_plan.py` says where), and language models to
`exp/CORPUS/lm`. Options must be the same in both commands.

- run: whatever is missing or out of date, each step a command of `asr` that is said, logged, and
  shown by print: n-gram models, weights found on dev, rates on the test set, n-best lists of at
  most 300 candidates and their rescoring. What is finished is not done again. What fails is named
  at the end, with exit code 1; what does not need it is done. Recognisers that are not trained are
  left out. Without the text and the dictionary nothing is begun.
- print: a table in Markdown, only of what lies in the files; what does not is "not run".

The paper's rows with a language model are lists of a DNN-HMM system, rescored. Lists of any system
can be given: `--nbest-from` those of the test set, `--nbest-dev` those of dev, for the weights.
"""

import sys
from collections.abc import Sequence
from functools import partial

from asr.errors import AsrError, ConfigError, shown
from tools.objective_jobs import JobError, Runner, run_asr
from tools.paper_options import parsed, table_of
from tools.paper_plan import Table
from tools.paper_report import report
from tools.paper_steps import State, Step
from tools.paper_systems import systems_of


def run_table(table: Table, run: Runner) -> dict[str, str]:
    """Do whatever is missing; what failed, and why."""
    steps = table.lm_steps()
    for training in table.trainings:
        for system in systems_of(table, training):
            if (system.bundle / "manifest.json").is_file():
                steps += system.steps()
            else:
                _say(f"{system.name}: {shown(system.bundle)}: not trained; its rows are left out")
    failed: dict[str, str] = {}
    for number, step in enumerate(steps, start=1):
        _do(step, f"{number}/{len(steps)} {step.name}", failed, run)
    return failed


def _do(step: Step, title: str, failed: dict[str, str], run: Runner) -> None:
    """A step, unless it is done or needs one that failed."""
    if step.state() is State.DONE:
        return
    if needed := [name for name in step.after if name in failed]:
        failed[step.name] = f"needs {needed[0]}, which failed"
        return
    _say(f"{title}: {step.command}")
    try:
        step.do(run)
    except (JobError, AsrError) as error:
        failed[step.name] = str(error)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None, run: Runner | None = None) -> int:
    """Run one command; its exit code.

    0 all done, 1 something failed, 2 usage or recipe, 130 stopped.
    """
    options = parsed(__doc__ or "", sys.argv[1:] if arguments is None else arguments)
    try:
        table = table_of(options)
        if options.command == "print":
            for line in report(table, with_paper=not options.without_paper):
                print(line)
            return 0
        if lines := table.unprepared():
            for line in lines:
                _say(f"error: {line}")
            return ConfigError.exit_code
        failed = run_table(table, run or partial(run_asr, threads=None))
    except AsrError as error:
        _say(f"error: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        _say("stopped; the same command goes on")
        return 130
    for name, message in failed.items():
        _say(f"failed: {name}: {message}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
