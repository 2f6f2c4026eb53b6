"""A picture of a transducer's lattice for a real utterance, for `docs/transducer.md`.

    python tools/plot_transducer_lattice.py BUNDLE MANIFEST UTTERANCE PICTURE.png

Above, how probable it is that a path of the transcript passes each node (t, u), with the best path;
below, what the joint network says at the nodes of that path.
"""

import argparse
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from asr.data.audio import read_audio
from asr.data.labels import labels_of
from asr.data.manifest import read_manifest
from asr.data.text import normalize_text
from asr.decoding.transducer_alignment import arcs, transducer_frames
from asr.models.transducer import TransducerModel
from asr.objectives.transducer_lattice import occupancies
from asr.recognizer import Recognizer, load

FAINTEST = 1e-4  # probability of a node that is drawn white
TICKS = 40  # labels, at most, that are written beside a column


class Lattice(NamedTuple):
    """The lattice of an utterance's transcript.

    Attributes:
        names: (U,) of its labels.
        nodes: (T, U + 1) how probable it is that a path passes.
        blanks: (T, U + 1) log-probability of the blank.
        frames: (U,) where the best path says each label.
        confidences: (U,) of the labels there.
        cost: nats of the transcript.
        best: nats of the best path.
        frame_seconds: time from one frame to the next.
    """

    names: list[str]
    nodes: NDArray[np.float64]
    blanks: NDArray[np.float64]
    frames: NDArray[np.int64]
    confidences: NDArray[np.float64]
    cost: float
    best: float
    frame_seconds: float


def lattice_of(recognizer: Recognizer, manifest: Path, name: str) -> Lattice:
    """The lattice of an utterance of a manifest."""
    model = recognizer.model
    if not isinstance(model, TransducerModel):
        raise SystemExit(f"{recognizer.folder}: is no transducer")
    utterance = next((u for u in read_manifest(manifest) if u.id == name), None)
    if utterance is None:
        raise SystemExit(f"{manifest}: has no utterance {name}")
    waveform = torch.from_numpy(
        read_audio(utterance.audio, sample_rate=recognizer.sample_rate).waveform
    )
    with torch.inference_mode():
        encoded, _ = model(waveform[None], torch.tensor([len(waveform)]))
    tokenizer = recognizer.tokenizer
    tokens = np.array(tokenizer.encode(normalize_text(utterance.text, recognizer.recipe.data.case)))
    blanks, labels = arcs(model, encoded[0], tokens)
    cost, by_blank, by_label = occupancies(
        torch.from_numpy(blanks)[None],
        torch.from_numpy(labels)[None],
        torch.tensor([len(blanks)]),
        torch.tensor([len(tokens)]),
    )
    nodes = by_blank[0].numpy()
    nodes[:, :-1] += by_label[0].numpy()
    frames, confidences, best = transducer_frames(model, encoded[0], tokens)
    names = labels_of(tokenizer.pieces, tokenizer.symbols).names
    return Lattice(
        [names[token] for token in tokens],
        nodes,
        blanks,
        frames,
        confidences,
        float(cost[0]),
        -best,
        recognizer.frame_seconds,
    )


def draw(lattice: Lattice) -> Figure:
    """Both pictures, one above the other."""
    figure = Figure(figsize=(8.5, 6.2), layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    draw_nodes(above, lattice)
    draw_path(below, lattice)
    share = math.exp(lattice.cost - lattice.best)
    above.set_title(
        f"all paths: {lattice.cost:.2f} nats; the best (red): {lattice.best:.2f}, "
        f"{100 * share:.0f} % of them",
        fontsize=10,
    )
    return figure


def draw_nodes(axes: Axes, lattice: Lattice) -> None:
    """How probable each node is, with the best path over it."""
    num_frames, columns = lattice.nodes.shape
    seconds = num_frames * lattice.frame_seconds
    shades = np.log10(np.maximum(lattice.nodes.T, FAINTEST))
    image = axes.imshow(
        shades,
        aspect="auto",
        interpolation="nearest",
        cmap="Greys",
        origin="lower",
        extent=(0, seconds, -0.5, columns - 0.5),
        vmin=math.log10(FAINTEST),
        vmax=0,
    )
    times, said = path_points(lattice)
    axes.plot(times, said, color="tab:red", linewidth=1.2)
    every = -(-len(lattice.names) // TICKS)
    axes.set_yticks(
        range(1, columns, every), [shown(name) for name in lattice.names[::every]], fontsize=7
    )
    axes.set_ylabel("labels said so far")
    bar = axes.figure.colorbar(image, ax=axes, pad=0.01, ticks=[-4, -3, -2, -1, 0])
    bar.ax.set_yticklabels(["1e-4", "0.001", "0.01", "0.1", "1"], fontsize=8)
    bar.set_label("probability of the node", fontsize=8)


def draw_path(axes: Axes, lattice: Lattice) -> None:
    """The probability of the blank along the best path, and of each label where it is said."""
    num_frames = len(lattice.nodes)
    said = np.searchsorted(lattice.frames, np.arange(num_frames), side="right")
    middle = (np.arange(num_frames) + 0.5) * lattice.frame_seconds
    axes.step(
        middle, np.exp(lattice.blanks[np.arange(num_frames), said]), where="mid", color="0.6",
        linewidth=1, label="blank",
    )  # fmt: skip
    at = (lattice.frames + 0.5) * lattice.frame_seconds
    axes.vlines(at, 0, lattice.confidences, color="tab:red", linewidth=1.2, label="label")
    for frame in np.unique(lattice.frames).tolist():
        here = np.flatnonzero(lattice.frames == frame)
        names = "".join(shown(lattice.names[index]) for index in here)
        place = (frame + 0.5) * lattice.frame_seconds, lattice.confidences[here].max() + 0.02
        axes.text(*place, names, ha="center", fontsize=7, color="tab:red")
    axes.set_ylim(0, 1.18)
    axes.set_ylabel("probability")
    axes.set_xlabel("seconds")
    axes.legend(loc="center right", fontsize=7)


def path_points(lattice: Lattice) -> tuple[list[float], list[int]]:
    """The corners of the best path: its times, and how many labels it has said."""
    times, said = [0.0], [0]
    for count, frame in enumerate(lattice.frames.tolist()):
        middle = (frame + 0.5) * lattice.frame_seconds
        times += [middle, middle]
        said += [count, count + 1]
    times.append(len(lattice.nodes) * lattice.frame_seconds)
    said.append(said[-1])
    return times, said


def shown(name: str) -> str:
    """A label as it is written in the picture."""
    return name.replace(" ", "␣")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("utterance")
    parser.add_argument("picture", type=Path)
    options = parser.parse_args()
    lattice = lattice_of(load(options.bundle, device="cpu"), options.manifest, options.utterance)
    options.picture.parent.mkdir(parents=True, exist_ok=True)
    draw(lattice).savefig(options.picture, dpi=100)


if __name__ == "__main__":
    main()
