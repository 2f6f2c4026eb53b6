"""A picture of the gradient of the expected word error rate, for `docs/expected_wer.md`.

    python tools/plot_expected_wer_gradient.py docs/images/expected_wer_gradient.png

A made-up model is nearly certain of WTRD ERROR RATE where WORD ERROR RATE was said; only at the
second letter it also thinks of O. Above, its posteriors; below, minus the gradient of the loss by
the logits, from a single draw of the usual 5 samples: what a step of training adds to the scores.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from asr.objectives.expected_wer import expected_loss

REFERENCE, HEARD = "WORD ERROR RATE", "WTRD ERROR RATE"
LABELS = ["blank", " ", "A", "D", "E", "O", "R", "T", "W"]
STRIDE = 3  # frames from one letter to the next; between them the blank
CERTAIN, UNSURE = 0.995, (("T", 0.6), ("O", 0.3))


def posteriors() -> Tensor:
    """(T, V) of the made-up model."""
    num_frames, num_labels = STRIDE * len(HEARD) + 1, len(LABELS)
    labels = torch.zeros(num_frames, dtype=torch.int64)
    labels[1::STRIDE] = torch.tensor([LABELS.index(letter) for letter in HEARD])
    rest = torch.rand(num_frames, num_labels, generator=torch.Generator().manual_seed(1)) ** 4
    rest[range(num_frames), labels] = 0
    certain = torch.nn.functional.one_hot(labels, num_labels)
    probs = CERTAIN * certain + (1 - CERTAIN) * rest / rest.sum(dim=-1, keepdim=True)
    second = 1 + STRIDE * (HEARD.index("T"))
    left = 1 - sum(prob for _, prob in UNSURE)
    probs[second] = left / (num_labels - len(UNSURE))
    for letter, prob in UNSURE:
        probs[second, LABELS.index(letter)] = prob
    return probs


def descent(probs: Tensor) -> NDArray[np.float32]:
    """(T, V) minus the gradient by the logits, from one draw."""
    logits = probs.log()[None].requires_grad_()
    losses = expected_loss(
        logits.log_softmax(dim=-1),
        torch.tensor([len(probs)]),
        [REFERENCE],
        labels=LABELS,
        generator=torch.Generator().manual_seed(1),
    )
    (gradient,) = torch.autograd.grad(losses.sum(), logits)
    return -gradient[0].numpy()


def draw(probs: Tensor) -> Figure:
    """Both pictures, one above the other."""
    figure = Figure(figsize=(8, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, sharex=True)
    change = descent(probs)
    largest = float(np.abs(change).max())
    panel(above, probs.numpy(), "posteriors", cmap="Greys", vmin=0, vmax=1)
    panel(below, change, "minus the gradient", cmap="RdBu", vmin=-largest, vmax=largest)
    above.set_title(f"the model hears {HEARD}; said was {REFERENCE}", fontsize=10)
    below.set_xlabel("frames")
    places = [1 + STRIDE * index for index in range(len(HEARD))]
    below.set_xticks(places, [letter.replace(" ", "␣") for letter in HEARD])
    return figure


def panel(axes: Axes, values: NDArray[Any], name: str, **colours: Any) -> None:
    """(T, V) as an image, a row for each label."""
    image = axes.imshow(values.T, aspect="auto", interpolation="nearest", **colours)
    axes.set_yticks(
        range(len(LABELS)), [label.replace(" ", "space") for label in LABELS], fontsize=8
    )
    axes.set_ylabel(name)
    bar = axes.figure.colorbar(image, ax=axes, pad=0.01)
    bar.ax.tick_params(labelsize=8)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("picture", type=Path)
    options = parser.parse_args()
    options.picture.parent.mkdir(parents=True, exist_ok=True)
    draw(posteriors()).savefig(options.picture, dpi=110)


if __name__ == "__main__":
    main()
