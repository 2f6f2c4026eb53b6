"""The error rates of pairs of weights, as a table and as a picture."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from asr.scoring.equivalence import Unit

RATE_NAMES: dict[Unit, str] = {"word": "WER", "phone": "PER"}


@dataclass(frozen=True, slots=True)
class Point:
    """The error rates of one pair of weights; those of words are those of phones where they are."""

    lm_weight: float
    word_bonus: float
    wer: float
    cer: float


def rate_table(points: Sequence[Point], best: Point, unit: Unit) -> str:
    """WER in percent: a row for each weight, a column for each bonus, the choice marked.

    Args:
        points: all that were tried.
        best: the choice.
        unit: what words are.
    """
    title = f"{unit} error rate in %: weights of the model down, word bonuses across; * the choice"
    bonuses = sorted({point.word_bonus for point in points})
    found = {(point.lm_weight, point.word_bonus): point for point in points}
    lines = [title, "weight\\bonus" + "".join(f"{bonus:>9g}" for bonus in bonuses)]
    for weight in sorted({point.lm_weight for point in points}):
        row = [found.get((weight, bonus)) for bonus in bonuses]
        lines.append(f"{weight:>12g}" + "".join(_cell(point, best) for point in row))
    return "\n".join(lines) + "\n"


def rate_picture(
    points: Sequence[Point], best: Point, *, greedy_wer: float, unit: Unit
) -> bytes | None:
    """The surface as a PNG; None where matplotlib is not installed.

    Args:
        points: all that were tried.
        best: the choice.
        greedy_wer: without a search, for the title.
        unit: what words are.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return None
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes: Any = figure.add_subplot()
    bonuses = [point.word_bonus for point in points]
    weights = [point.lm_weight for point in points]
    rates = [100 * point.wer for point in points]
    shading = axes.tricontourf(bonuses, weights, rates, levels=20, cmap="viridis_r")
    axes.plot(bonuses, weights, ".", color="black", markersize=3)
    axes.plot([best.word_bonus], [best.lm_weight], "o", color="red", fillstyle="none", markersize=9)
    axes.set_xlabel("word bonus (nats)")
    axes.set_ylabel("language model weight")
    name = RATE_NAMES[unit]
    axes.set_title(
        f"{100 * best.wer:.2f} % {name} at weight {best.lm_weight:g}, bonus {best.word_bonus:g} "
        f"(greedy {100 * greedy_wer:.2f} %)"
    )
    figure.colorbar(shading, label=f"{name} (%)")
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=120)
    return content.getvalue()


def _cell(point: Point | None, best: Point) -> str:
    if point is None:
        return " " * 9
    return f"{100 * point.wer:>8.2f}" + ("*" if point == best else " ")
