"""What a trained model has to show: files of targets, of scores, and pictures."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from asr.data.text import Case, normalize_text
from asr.errors import DataError, shown
from asr.pictures import plot_curves
from asr.storage import write_atomically

from .data import Units, read_columns, split_text
from .pairs import HeldOut
from .translator import Translator
from .vectors import draw_vectors, principal_components

EXAMPLES = 20  # sources of examples.txt

History = Sequence[Mapping[str, float]]


def write_lines(path: Path, lines: Sequence[str]) -> None:
    """Write a text file, in one step.

    Raises:
        ResourceError: the disk is full or not writable.
    """
    write_atomically(path, "".join(f"{line}\n" for line in lines))


def show_examples(path: Path, translator: Translator, held_out: HeldOut) -> None:
    """For some sources: what is right, and the n-best list with log-probabilities."""
    every = -(-len(held_out.sources) // EXAMPLES)
    sources = held_out.sources[::every]
    lines = []
    for number, hypotheses in sorted(translator.translate(sources), key=lambda found: found[0]):
        lines.append(held_out.texts[number * every])
        lines += [f"    = {' '.join(words)}" for words in held_out.references[number * every]]
        lines += [f"    {h.log_prob:8.3f} {' '.join(translator.words(h))}" for h in hypotheses]
    write_lines(path, lines)


def read_sources(words: Path, translator: Translator, units: Units, case: Case) -> list[str]:
    """The texts of a file, one a line, normalised.

    Raises:
        DataError: not readable, an empty line, or where tokens are characters one that the model
            never saw: it has no opinion of it.
    """
    texts = []
    for place, columns in read_columns(words):
        text = normalize_text(" ".join(columns), case)
        if not text:
            raise DataError(f"{place}: is empty; write a source on each line, or remove it")
        _check_known(place, text, translator.unknown(split_text(text, units)), units)
        texts.append(text)
    return texts


def _check_known(place: str, text: str, unknown: Sequence[str], units: Units) -> None:
    if units == "characters" and unknown:
        raise DataError(
            f"{place}: '{shown(unknown[0])}' in '{shown(text)}' was not in the training set; "
            "spell it otherwise, or remove the line"
        )


def show_targets(
    path: Path, translator: Translator, texts: Sequence[str], units: Units, count: int
) -> None:
    """For each text up to `count` lines "text<TAB>target", the most probable target first."""
    found = dict(translator.translate([split_text(text, units) for text in texts]))
    lines = [
        f"{text}\t{' '.join(translator.words(hypothesis))}"
        for number, text in enumerate(texts)
        for hypothesis in found[number][:count]
    ]
    write_lines(path, lines)


def rescore(path: Path, translator: Translator, pairs: Path, units: Units, case: Case) -> None:
    """N-best lists with the model's score: for each source its targets, the best first.

    Lines of `pairs` are "source<TAB>target" or "source<TAB>target<TAB>score", a log-probability of
    another system. Those written have the model's log-probability as well, then the mean of both
    (section 3.7 of the paper), which ranks them.

    Raises:
        DataError: not readable, a line that is neither, or where tokens are characters a letter
            or a target's symbol that the model never saw.
    """
    entries, sources, targets = [], [], []
    for place, columns in read_columns(pairs):
        source, target, given = _nbest_entry(place, columns, case)
        entries.append((source, target, given))
        sources.append(split_text(source, units))
        targets.append(target.split(" ") if target else [])
        unknown = translator.unknown(sources[-1], targets[-1])
        _check_known(place, f"{source} → {target}", unknown, units)
    log_probs = dict(translator.log_probs(sources, targets))
    lists: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for number, (source, target, given) in enumerate(entries):
        own = log_probs[number]
        mean = own if given is None else (given + own) / 2
        told = "" if given is None else f"\t{given:.6g}"
        lists[source].append((-mean, f"{source}\t{target}{told}\t{own:.6f}\t{mean:.6f}"))
    write_lines(path, [line for listed in lists.values() for _, line in sorted(listed)])


def _nbest_entry(place: str, columns: list[str], case: Case) -> tuple[str, str, float | None]:
    given: float | None = None
    try:
        if len(columns) == 3:
            given = float(columns[2])
            if not math.isfinite(given):
                raise ValueError
        elif len(columns) != 2:
            raise ValueError
    except ValueError as error:
        raise DataError(
            f"{place}: write a source, a tab, a target, and perhaps a tab and its log-probability"
        ) from error
    return normalize_text(columns[0], case), normalize_text(columns[1]), given


def show_vectors(
    path: Path, translator: Translator, groups: Sequence[Sequence[str]], units: Units
) -> None:
    """The picture of the sentence vectors of some texts, a colour for each group."""
    names = [name for group in groups for name in group]
    numbers = [number for number, group in enumerate(groups) for _ in group]
    vectors = translator.vectors([split_text(name, units) for name in names])
    draw_vectors(path, names, numbers, principal_components(vectors).numpy())


def show_history(path: Path, history: History, metric: str) -> None:
    """The curve of a metric over the epochs."""
    points = [(record["epoch"], record[metric]) for record in history if metric in record]
    if points:
        epochs, values = zip(*points, strict=True)
        plot_curves(path, {metric: (epochs, values)}, x="epoch", y=f"{metric} on dev")
