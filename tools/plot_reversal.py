"""Does reading the source from its end help? Trains made-up tasks both ways and draws the curves.

    python tools/plot_reversal.py recipes/seq2seq/images/reversal.png

Copies (`recipes/seq2seq/toy.toml`): reversed, the first symbol of the target is the one that was
read last. Reversals (`mirror.toml`) are so without reversing: there it should hurt. Each curve is
the mean over the seeds, the band from the best to the worst of them. Trainings that are finished
are not done again.
"""

import argparse
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from asr.experiment import train_recipe
from asr.storage import write_atomically
from asr.training.progress import read_history

RECIPE = Path("recipes/seq2seq")
TASKS = {"toy": "copies", "mirror": "reversals"}  # the variant → what it is called
METRIC = "ter"


class Curves(NamedTuple):
    """What trainings with several seeds found.

    Attributes:
        epochs: (E,) of the evaluations.
        rates: (seeds, E) error rates on dev.
    """

    epochs: list[float]
    rates: NDArray[np.float64]


def train_arm(
    variant: str, *, reverse: bool, seeds: Sequence[int], out: Path, settings: Sequence[str]
) -> Curves:
    """Train a variant with each seed, the source reversed or not.

    Args:
        variant: "toy" or "mirror".
        reverse: whether the source is reversed.
        seeds: of the trainings.
        out: where the run folders go.
        settings: more `section.key=value`, the same for all.
    """
    epochs: list[float] = []
    rates = []
    for seed in seeds:
        run = out / f"{variant}-{'reversed' if reverse else 'as-it-is'}-{seed}"
        chosen = [*settings, f"seed={seed}", f"task.reverse_source={str(reverse).lower()}"]
        train_recipe(RECIPE / f"{variant}.toml", overrides=chosen, out=run)
        history = read_history(run)
        epochs = [record["epoch"] for record in history]
        rates.append([record[METRIC] for record in history])
    return Curves(epochs, np.array(rates))


def draw(arms: dict[str, dict[str, Curves]]) -> Figure:
    """A panel for each task, in it a curve for each way of reading the source."""
    figure = Figure(figsize=(7.2, 3.0), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    panels: Sequence[Axes] = figure.subplots(1, len(arms), sharey=True, squeeze=False)[0]
    for axes, (task, curves) in zip(panels, arms.items(), strict=True):
        for name, (epochs, rates) in curves.items():
            (line,) = axes.plot(epochs, rates.mean(axis=0), marker=".", label=name)
            axes.fill_between(
                epochs, rates.min(axis=0), rates.max(axis=0), color=line.get_color(), alpha=0.15
            )
        axes.set_title(task, fontsize=10)
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3)
        axes.legend()
    panels[0].set_ylabel("errors by target tokens, dev")
    return figure


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The arguments of the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("picture", type=Path, help="the PNG to write")
    parser.add_argument("--out", type=Path, default=Path("exp/seq2seq/reversal"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--set", dest="settings", action="append", default=[], help="for all")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train what is not trained yet, and draw."""
    options = parsed(arguments)
    arms = {
        task: {
            name: train_arm(
                variant,
                reverse=reverse,
                seeds=options.seeds,
                out=options.out,
                settings=options.settings,
            )
            for name, reverse in (("source reversed", True), ("source as it is", False))
        }
        for variant, task in TASKS.items()
    }
    for task, curves in arms.items():
        for name, (_, rates) in curves.items():
            print(f"{task}, {name}: {METRIC} {' '.join(f'{r:.4f}' for r in rates.mean(axis=0))}")
    buffer = io.BytesIO()
    # Without a version and a time the same curves make the same file.
    draw(arms).savefig(buffer, format="png", metadata={"Software": None})
    write_atomically(options.picture, buffer.getvalue())


if __name__ == "__main__":
    main()
