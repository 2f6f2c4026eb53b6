"""The tables of `tools.compare_objectives`, in Markdown, of what lies in the files alone.

Two systems are compared utterance by utterance. Errors of an arm are the mean over its seeds, so
that intervals say what other test utterances, or other speakers, would change. What other seeds
would change they do not say: for that the rates stand with their range.
"""

import statistics
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import NormalDist

from asr.data.json_lines import json_object
from asr.data.manifest import read_manifest
from asr.data.text import Case, normalize_text, words
from asr.errors import DataError, shown
from asr.scoring.alignment import count_edits
from asr.scoring.bootstrap import Difference, paired_difference
from asr.storage import MANIFEST, read_json
from tools.objective_arms import (
    ARMS,
    BASELINE,
    START,
    Experiment,
    Run,
    model_hash,
    rate_text,
    read_facts,
    read_failures,
)
from tools.objective_jobs import read_done

MODES = {"greedy": "greedy", "lexicon": "dictionary", "lm": "trigram"}
NOT_RUN = "not run"
NONE = "–"
POWER, LEVEL = 0.8, 0.05


@dataclass(frozen=True, slots=True)
class Errors:
    """Word errors of each utterance of the test data.

    Attributes:
        ids: of the utterances.
        errors: of each; fractions where they are means over trainings.
        lengths: words of each reference.
    """

    ids: tuple[str, ...]
    errors: tuple[float, ...]
    lengths: tuple[int, ...]

    @property
    def rate(self) -> float:
        """The word error rate."""
        return sum(self.errors) / max(sum(self.lengths), 1)


class Decoded:
    """The test data as decoded, read once.

    Args:
        experiment: whose.
    """

    def __init__(self, experiment: Experiment) -> None:
        self._experiment = experiment
        self._found: dict[tuple[str, str], Errors | None] = {}
        self._inputs: dict[str, dict[str, str]] = {}

    def errors(self, name: str, mode: str) -> Errors | None:
        """Of the bundle of a name; None where it was not decoded as it is now.

        Raises:
            DataError: it was decoded with other files than others, or is not of one piece.
        """
        if (name, mode) not in self._found:
            self._found[name, mode] = self._read(name, mode)
        return self._found[name, mode]

    def pooled(self, arm: str, mode: str) -> Errors | None:
        """The means over all seeds of an arm; None while one is missing."""
        if arm == START:
            return self.errors(START, mode)
        found = [self.errors(run.name, mode) for run in self._experiment.chosen(arm)]
        whole = [each for each in found if each is not None]
        if not whole or len(whole) < len(found):
            return None
        means = map(statistics.fmean, zip(*(each.errors for each in whole), strict=True))
        return Errors(whole[0].ids, tuple(means), whole[0].lengths)

    def _read(self, name: str, mode: str) -> Errors | None:
        folder = self._experiment.out / "decode" / name / mode
        done, bundle = read_done(folder), self._experiment.out / name / "best"
        if done is None or not (bundle / MANIFEST).is_file():
            return None
        if done.pop("model") != model_hash(bundle):
            return None  # trained on since
        if self._inputs.setdefault(mode, done) != done:
            raise DataError(f"{shown(folder)}: made with other files than others; decode again")
        errors = _count(folder, self._experiment.recipe.data.case)
        known = [each.ids for each in self._found.values() if each is not None]
        if known and errors.ids != known[0]:
            raise DataError(f"{shown(folder)}: has other utterances than others; decode again")
        return errors


def before(experiment: Experiment) -> Iterator[str]:
    """What difference could be detected, as far as that is known."""
    decoded = Decoded(experiment)
    yield "## The least difference that could be detected"
    yield ""
    systems = {f"start, {title}": decoded.errors(START, mode) for mode, title in MODES.items()}
    for run in experiment.chosen(BASELINE):
        systems[f"{BASELINE}, seed {run.seed}, greedy"] = decoded.errors(run.name, "greedy")
    there = {name: errors for name, errors in systems.items() if errors is not None}
    if len(there) < 2:
        yield f"{NOT_RUN}: needs the starting bundle decoded (`decode`)"
        return
    one = next(iter(there.values()))
    yield (
        f"{len(one.ids)} utterances, {sum(one.lengths)} words. A two-sided test at "
        f"{100 * LEVEL:g} % finds a difference in WER of {least_detectable(1):.2f} standard errors "
        f"of the paired difference with a probability of {100 * POWER:g} %. How large that error "
        "is depends on how alike two systems err; each row takes two that there are. Assumption: "
        "the errors of two arms are as alike as theirs. Arms begin with the same weights and are "
        "means over seeds: they should part less than greedy and a dictionary or a language model, "
        "whose rows thus are likely upper bounds; two seeds of one arm are nearer. "
        "The last column is for two systems of these rates whose errors have nothing to do with "
        "each other."
    )
    yield ""
    yield from _table(
        ["pair", "WER %", "standard error", "detectable, points", "unpaired, points"],
        [
            _power_row(f"{a} / {b}", there[a], there[b])
            for a, b in combinations(there, 2)
            if (START in a) == (START in b)
        ],
    )


def report(experiment: Experiment) -> Iterator[str]:
    """All tables.

    Raises:
        AsrError: files that cannot be read or do not fit together.
    """
    decoded = Decoded(experiment)
    yield from before(experiment)
    yield from ["", "## Arms", ""]
    yield from _arms(experiment, decoded)
    yield from ["", f"## Differences from {BASELINE}", ""]
    yield from _differences(experiment, decoded)
    yield from ["", "## Choice of the learning rate", ""]
    yield from _search(experiment)


def least_detectable(standard_error: float) -> float:
    """The difference that a two-sided test at 5 % finds in 80 % of test sets.

    Reference: Cohen, "Statistical power analysis for the behavioral sciences", 1988.
    """
    normal = NormalDist()
    return (normal.inv_cdf(1 - LEVEL / 2) + normal.inv_cdf(POWER)) * standard_error


def _count(folder: Path, case: Case) -> Errors:
    """The errors of the texts in a folder, which must add up to those of its scores."""
    file = folder / "hypotheses.jsonl"
    lines = file.read_text(encoding="utf-8").split("\n")
    ids, errors, lengths = [], [], []
    for record in (json_object(line) for line in lines if line):
        said, heard = (
            words(normalize_text(record.get(key, ""), case)) for key in ("reference", "hypothesis")
        )
        edits = count_edits(said, heard)
        ids.append(record["id"])
        errors.append(float(edits.errors))
        lengths.append(edits.reference_length)
    scores = read_json(folder / "scores.json")["words"]
    told = scores["substitutions"] + scores["deletions"] + scores["insertions"]
    if (told, scores["reference_length"]) != (sum(errors), sum(lengths)):
        raise DataError(f"{shown(file)}: has other errors than scores.json beside it")
    return Errors(tuple(ids), tuple(errors), tuple(lengths))


def _power_row(name: str, one: Errors, other: Errors) -> list[str]:
    paired = paired_difference(one.errors, other.errors, one.lengths)
    nothing = [0.0] * len(one.lengths)
    alone = [paired_difference(each.errors, nothing, one.lengths) for each in (one, other)]
    if paired is None:
        return [name, *[NONE] * 4]
    unpaired = sum(each.standard_error**2 for each in alone if each is not None) ** 0.5
    return [
        name,
        f"{100 * one.rate:.2f} / {100 * other.rate:.2f}",
        f"{100 * paired.standard_error:.3f}",
        f"{100 * least_detectable(paired.standard_error):.2f}",
        f"{100 * least_detectable(unpaired):.2f}",
    ]


def _arms(experiment: Experiment, decoded: Decoded) -> Iterator[str]:
    """A row for each arm: means over seeds, with their range."""
    yield (
        "Error rates in %, means over seeds with the lowest and the highest. The train loss is the "
        "mean of the last epoch, with dropout and augmentation: for reinforce and exchange the "
        "expected error rate by what was drawn, for nbest over its hypotheses, "
        "which is not to be compared with the others."
    )
    calibration = experiment.out / "calibration.json"
    if calibration.is_file():
        measured = read_json(calibration).values()
        places = {f"{each['machine']}, load {each['load']} before" for each in measured}
        yield f"Epochs were measured on: {'; '.join(sorted(places))}."
    yield ""
    tests = [f"test, {title}" for title in MODES.values()]
    head = ["arm", "rate", "epochs", "ms / step", "minutes", "dev", *tests, "train loss"]
    start = [_spread([_wer(decoded, START, mode)]) for mode in MODES]
    rows = [[START, *[NONE] * 4, _start_dev(experiment), *start, NONE]]
    rows += [_arm_row(experiment, decoded, arm) for arm in ARMS]
    yield from _table(head, rows)


def _arm_row(experiment: Experiment, decoded: Decoded, arm: str) -> list[str]:
    runs = experiment.chosen(arm)
    if not runs:
        return [arm, *[NOT_RUN] * 9]
    facts = [read_facts(experiment.out / run.name) for run in runs]
    there = [each for each in facts if each is not None]
    tests = [_spread([_wer(decoded, run.name, mode) for run in runs]) for mode in MODES]
    losses = [each.train_loss if each else None for each in facts]
    return [
        arm,
        rate_text(runs[0].rate),
        "/".join(str(count) for count in sorted({each.epochs for each in there})),
        f"{1e3 * sum(each.seconds for each in there) / sum(each.steps for each in there):.0f}",
        f"{statistics.fmean(each.seconds for each in there) / 60:.1f}",
        _spread([100 * each.dev_wer if each else None for each in facts]),
        *tests,
        NONE if arm == BASELINE else _spread(losses, digits=3),
    ]


def _differences(experiment: Experiment, decoded: Decoded) -> Iterator[str]:
    """A row for each arm and mode against the baseline."""
    others = [START, *(arm for arm in ARMS if arm != BASELINE)]
    yield (
        f"Points of test WER less those of {BASELINE}, below 0 is better; errors of an utterance "
        f"are means over seeds {', '.join(map(str, experiment.seeds))}. 95 % intervals and p by "
        "paired bootstrap, drawing utterances, then speakers. They hold for these trainings, and "
        f"are not corrected for {len(others) * len(MODES)} comparisons."
    )
    yield ""
    speakers = _speakers(experiment)
    rows = []
    for mode, title in MODES.items():
        base = decoded.pooled(BASELINE, mode)
        for arm in others:
            own = decoded.pooled(arm, mode)
            if own is None or base is None:
                rows.append([arm, title, *[NOT_RUN] * 5])
                continue
            pairs = own.errors, base.errors, own.lengths
            groups = _groups(own.ids, speakers)
            plain = paired_difference(*pairs)
            grouped = paired_difference(*pairs, groups=groups) if speakers else None
            value = f"{100 * plain.value:+.2f}" if plain else NONE
            rows.append([arm, title, value, *_interval(plain), *_interval(grouped)])
    head = ["arm", "test", "difference", "95 %", "p", "95 %, speakers", "p, speakers"]
    yield from _table(head, rows)


def _search(experiment: Experiment) -> Iterator[str]:
    """Dev WER of each arm and rate."""
    yield f"Dev WER in % with seed {experiment.seeds[0]}; * is chosen."
    yield ""
    failures = read_failures(experiment.out)

    def cell(run: Run) -> str:
        facts = read_facts(experiment.out / run.name)
        if facts is None:
            failed = failures.get(run.name)
            return NOT_RUN if failed is None else f"failed (exit {failed['exit_code']})"
        chosen = experiment.best_rate(run.arm) == run.rate
        return f"{100 * facts.dev_wer:.2f}" + (" *" if chosen else "")

    runs = experiment.search()
    rows = [[arm, *(cell(run) for run in runs if run.arm == arm)] for arm in ARMS]
    yield from _table(["arm", *map(rate_text, experiment.rates)], rows)


def _speakers(experiment: Experiment) -> dict[str, str]:
    """The speaker of each test utterance that has one."""
    utterances = read_manifest(Path(experiment.recipe.data.test))
    return {each.id: each.speaker for each in utterances if each.speaker is not None}


def _groups(ids: Sequence[str], speakers: dict[str, str]) -> list[Hashable]:
    """Who spoke; an utterance without a speaker is by one of its own."""
    return [speakers.get(utterance, (utterance,)) for utterance in ids]


def _start_dev(experiment: Experiment) -> str:
    """The dev WER that the starting bundle tells of itself."""
    file = experiment.out / START / "best" / "recipe.json"
    if not file.is_file():
        return NOT_RUN
    told = read_json(file)["facts"].get("dev")
    return NONE if told is None else f"{100 * told['wer']:.2f}"


def _wer(decoded: Decoded, name: str, mode: str) -> float | None:
    errors = decoded.errors(name, mode)
    return None if errors is None else 100 * errors.rate


def _spread(values: Sequence[float | None], digits: int = 2) -> str:
    """The mean with the lowest and the highest, and of how many if some are missing."""
    there = [value for value in values if value is not None]
    if not there:
        return NOT_RUN
    notes = [f"{min(there):.{digits}f}–{max(there):.{digits}f}"] if len(there) > 1 else []
    notes += [f"{len(there)} of {len(values)}"] if len(there) < len(values) else []
    return f"{statistics.fmean(there):.{digits}f}" + (f" ({'; '.join(notes)})" if notes else "")


def _interval(found: Difference | None) -> tuple[str, str]:
    if found is None:
        return NONE, NONE
    low, high = (100 * end for end in found.interval)
    return f"[{low:+.2f}, {high:+.2f}]", "< 0.001" if found.p < 0.001 else f"{found.p:.3f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    for row in (head, ["---"] * len(head), *rows):
        yield f"| {' | '.join(row)} |"
