"""A made-up experiment: a recipe, data, a starting bundle, and an `asr` that only writes files."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

from asr.data.manifest import Utterance, write_manifest
from asr.data.text import words
from asr.recipe import Recipe, load_recipe
from asr.scoring.alignment import EditCounts, count_edits
from asr.storage import FORMAT_VERSION, MANIFEST, file_hash
from tools.objective_arms import Experiment, open_experiment

TEXTS = ["A B C D", "B C", "D A B", "C A", "D D C", "A"]
SPEAKERS = ["x", "x", "y", "y", "z", "z"]
SECONDS = {"ctc": 60.0, "reinforce": 90.0, "nbest": 120.0, "exchange": 240.0}

RECIPE = """
init_from = "{folder}/given/best"
[data]
train = "{folder}/data/train.jsonl"
dev = "{folder}/data/dev.jsonl"
test = "{folder}/data/test.jsonl"
[objective]
name = "expected_wer"
ctc_weight = 0.5
[optimizer]
name = "adamw"
schedule = "constant"
[training]
epochs = 9
"""


def make_recipe(folder: Path, *, speakers: bool = True) -> Path:
    """A recipe `made/recipe.toml` with its data and its starting bundle."""
    utterances = [
        Utterance(
            id=f"u{number}",
            audio=folder / f"u{number}.wav",
            duration=1.0,
            text=text,
            speaker=speaker if speakers else None,
        )
        for number, (text, speaker) in enumerate(zip(TEXTS, SPEAKERS, strict=True))
    ]
    for split in ("train", "dev", "test"):
        write_manifest(folder / "data" / f"{split}.jsonl", utterances)
    write_made_bundle(folder / "given" / "best", "given", dev_wer=0.5)
    recipe = folder / "made" / "recipe.toml"
    recipe.parent.mkdir()
    recipe.write_text(RECIPE.format(folder=folder), encoding="utf-8")
    return recipe


def make_experiment(folder: Path, *, speakers: bool = True) -> Experiment:
    recipe = make_recipe(folder, speakers=speakers)
    return open_experiment(recipe, folder / "out", (1e-4, 3e-5), (1, 2, 3))


def write_made_bundle(folder: Path, weights: str, *, dev_wer: float) -> None:
    """A bundle of which the weights are some text."""
    facts = {"dev": {"wer": dev_wer, "cer": 0.1}}
    put_json(folder / "recipe.json", {"recipe": {}, "facts": facts})
    (folder / "model.safetensors").write_text(weights, encoding="utf-8")
    hashes = {name: file_hash(folder / name) for name in ("model.safetensors", "recipe.json")}
    put_json(folder / MANIFEST, {"format_version": FORMAT_VERSION, "files": hashes})


def put_json(path: Path, value: object) -> None:
    """Write a file without waiting for the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def write_run(
    folder: Path,
    *,
    dev_wer: float = 0.5,
    epochs: int = 2,
    seconds: float = 60.0,
    train_loss: float = 0.7,
    recipe: Recipe | None = None,
) -> None:
    """A finished run of ten steps an epoch."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        {"kind": "train", "step": 10, "epoch": 1, "loss": 3.0},
        {"kind": "dev", "step": 10, "epoch": 1, "train_loss": 2.0, "wer": 0.9},
        {"kind": "dev", "step": 10 * epochs, "epoch": epochs, "train_loss": train_loss, "wer": 0.8},
        {"kind": "final_dev", "step": 10 * epochs, "wer": dev_wer, "cer": 0.3},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "metrics.jsonl").write_text(text, encoding="utf-8")
    for step, spent in ((10, 1.0), (10 * epochs, seconds)):
        state = {"step": step, "epoch": step // 10, "seconds": spent}
        put_json(folder / "checkpoints" / f"step-{step:08d}" / "state.json", {"state": state})
    write_made_bundle(folder / "best", str(folder), dev_wer=dev_wer)
    if recipe is not None:
        resolved = json.loads(recipe.model_dump_json())
        put_json(folder / "recipe.json", {"recipe": resolved, "seed": recipe.seed})
    put_json(folder / "finished.json", {"epochs": epochs, "stopped_early": False})


def write_decoded(folder: Path, heard: Sequence[str]) -> None:
    """What `asr evaluate` writes of the texts that were heard."""
    texts = list(zip(TEXTS, heard, strict=True))
    lines = [
        {"id": f"u{number}", "reference": said, "hypothesis": text}
        for number, (said, text) in enumerate(texts)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    written = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "hypotheses.jsonl").write_text(written, encoding="utf-8")
    edits = sum((count_edits(words(said), words(text)) for said, text in texts), EditCounts())
    counts = {
        name: getattr(edits, name)
        for name in ("substitutions", "deletions", "insertions", "reference_length")
    }
    put_json(folder / "scores.json", {"words": counts})


@dataclass
class FakeAsr:
    """In the place of `asr`.

    Attributes:
        dev_wer: of what a recipe trains.
        heard: of a bundle's path and the options.
        fail: the exit code for arguments; 0: they work.
        calls: the arguments of all calls, in their order.
    """

    dev_wer: Callable[[Recipe], float] = lambda recipe: 0.5
    heard: Callable[[str, Sequence[str]], Sequence[str]] = lambda bundle, options: TEXTS
    fail: Callable[[Sequence[str]], int] = lambda arguments: 0
    calls: list[list[str]] = field(default_factory=list)
    _lock: Lock = field(default_factory=Lock)

    def __call__(self, arguments: Sequence[str], log: Path) -> int:
        with self._lock:
            self.calls.append(list(arguments))
        if code := self.fail(arguments):
            log.parent.mkdir(parents=True, exist_ok=True)
            log.write_text("some lines\nerror: it is broken\n\n", encoding="utf-8")
            return code
        command, first, *rest = arguments
        out = Path(rest[rest.index("--out") + 1])
        if command == "train":
            self._train(Path(first), out)
        elif command == "evaluate":
            write_decoded(out, self.heard(first, rest))
        return 0

    def _train(self, recipe: Path, out: Path) -> None:
        resolved = load_recipe(recipe)
        assert isinstance(resolved, Recipe)
        kind = getattr(resolved.objective, "estimator", "ctc")
        epochs = resolved.training.epochs
        write_run(
            out,
            dev_wer=self.dev_wer(resolved),
            epochs=epochs,
            seconds=SECONDS[kind] * epochs,
            recipe=resolved,
        )

    def folders(self, command: str) -> list[str]:
        """The `--out` of the calls of a command, below `out`."""
        found = [call[call.index("--out") + 1] for call in self.calls if call[0] == command]
        return [folder.split("/out/")[1] for folder in found]
