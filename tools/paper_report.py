"""The table of `tools.paper_table` in Markdown, of what lies in the files alone."""

from collections.abc import Iterator, Sequence
from typing import Any

from asr.errors import DataError, shown
from asr.storage import read_json
from tools.paper_figures import BASELINE, DICTIONARY, HOURS, NGRAMS, PAPER
from tools.paper_plan import Table
from tools.paper_steps import State
from tools.paper_systems import Row, systems_of

NONE = "–"
MADE = "made_"  # how the names of recipes of synthetic speech begin


def report(table: Table, *, with_paper: bool) -> Iterator[str]:
    """All of it, line by line.

    Raises:
        DataError: results that are not what `asr` writes.
    """
    yield f"# {shown(table.corpus)}: the table of Graves & Jaitly (2014)"
    yield ""
    yield from _notes(table, with_paper=with_paper)
    for hours in table.trainings:
        yield ""
        if hours:
            yield from [f"## Trained on {hours}", ""]
        yield from _rows(table, hours, with_paper=with_paper)
    yield from ["", "## Commands", "", "```"]
    yield from (step.command for step in table.lm_steps())
    for hours in table.trainings:
        for system in systems_of(table, hours):
            yield from (step.command for step in system.steps())
    yield "```"


def _notes(table: Table, *, with_paper: bool) -> Iterator[str]:
    yield (
        f"Error rates in %, WER / CER, on {shown(table.test)} with 95 % bootstrap intervals over "
        f"utterances; weights are found on {shown(table.dev)}. Rows without a language model are a "
        "search by beam, but for the best path. Own lists have at most 300 candidates of the "
        "search with dictionary and 2-gram."
    )
    if not with_paper:
        return
    yield ""
    yield (
        "The paper's figures are of the Wall Street Journal. Its rows with an n-gram are lists of "
        "at most 300 candidates of its DNN-HMM system, rescored. They stand beside two things "
        "here: a search with the n-gram, which is another procedure, and rescored lists."
    )
    if table.corpus.startswith(MADE):
        yield ""
        yield (
            "The speech here is synthetic: these rates cannot be compared with the paper's, only "
            "how the rows of each differ from one another."
        )


def _rows(table: Table, hours: str, *, with_paper: bool) -> Iterator[str]:
    paper = [f"paper, {each}" for each in HOURS] if with_paper else []
    yield from _table_line(["system", "language model", *paper, "reached", "command"])
    yield from _table_line(["---"] * (4 + len(paper)))
    for system in systems_of(table, hours):
        for row in system.rows():
            beside = _paper(row.paper) if with_paper else []
            command = f"`{shown(row.step.command)}`"
            yield from _table_line([row.system, row.lm, *beside, _reached(row), command])
    if with_paper:
        for lm in (DICTIONARY, *NGRAMS.values()):
            cells = [f"{BASELINE} of the paper", lm, *_paper((BASELINE, lm)), NONE, NONE]
            yield from _table_line(cells)


def _paper(key: tuple[str, str] | None) -> list[str]:
    """The paper's figures for each size of training."""
    figures = PAPER.get(key, {}) if key is not None else {}
    return [figures[hours].text() if hours in figures else NONE for hours in HOURS]


def _reached(row: Row) -> str:
    """The rates that a step found, or why there are none."""
    state = row.step.state()
    if state is not State.DONE:
        return state.value
    file = row.step.folder / "scores.json"
    found = read_json(file)
    try:
        rates = found[row.part] if row.part else found
        return " / ".join(_rate(rates[unit]) for unit in ("words", "characters"))
    except (KeyError, TypeError) as error:
        raise DataError(f"{shown(file)}: has no rates; remove its folder and run again") from error


def _rate(rate: dict[str, Any]) -> str:
    """A rate in %, with its interval where there is one."""
    text = f"{100 * rate['rate']:.2f}"
    if rate["interval"] is None:
        return text
    low, high = rate["interval"]
    return f"{text} [{100 * low:.2f}, {100 * high:.2f}]"


def _table_line(cells: Sequence[str]) -> Iterator[str]:
    yield f"| {' | '.join(cells)} |"
