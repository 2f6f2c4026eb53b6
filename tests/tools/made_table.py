"""A made-up recipe for the table of Graves & Jaitly, and an `asr` that only writes files."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from asr.data.manifest import Utterance, write_manifest
from tests.tools.made_runs import put_json, write_made_bundle
from tools.paper_table import main

RECIPE = """
[data]
train = "{folder}/data/train.jsonl"
dev = "{folder}/data/dev.jsonl"
test = "{folder}/data/test.jsonl"
[encoder]
num_layers = 1
"""


def rates(wer: float, cer: float) -> dict[str, Any]:
    """What `asr evaluate --json` writes of error rates, the WER with an interval of 0.1 around."""
    words = {"rate": wer, "interval": [wer - 0.1, wer + 0.1]}
    return {"wer": wer, "words": words, "characters": {"rate": cer, "interval": None}}


@dataclass
class FakeAsr:
    """In the place of `asr`.

    Attributes:
        wer: of the arguments.
        fail: the exit code for arguments; 0: they work.
        calls: the arguments of all calls, in their order.
    """

    wer: Callable[[Sequence[str]], float] = lambda arguments: 0.25
    fail: Callable[[Sequence[str]], int] = lambda arguments: 0
    calls: list[list[str]] = field(default_factory=list)

    def __call__(self, arguments: Sequence[str], log: Path) -> int:
        self.calls.append(list(arguments))
        if code := self.fail(arguments):
            with log.open("a", encoding="utf-8") as file:
                file.write("error: it is broken\n")
            return code
        given = dict(pairwise(arguments))
        if arguments[0] == "lm":
            Path(given["-o"]).parent.mkdir(parents=True, exist_ok=True)
            Path(given["-o"]).write_text(" ".join(arguments), encoding="utf-8")
        elif arguments[0] == "tune":
            write(Path(given["--out"]) / "surface.txt", " ".join(arguments))
        elif arguments[0] == "evaluate":
            put_json(Path(given["--json"]), rates(self.wer(arguments), 0.0512))
            write(Path(given["--out"]) / "nbest.jsonl", " ".join(arguments))
        else:
            write(Path(given["--out"]), " ".join(arguments))
            if "--json" in given:
                wer = self.wer(arguments)
                parts = {"before": wer + 0.1, "rescored": wer, "oracle": wer - 0.1}
                put_json(Path(given["--json"]), {n: rates(w, w / 5) for n, w in parts.items()})
        return 0

    def folders(self) -> list[str]:
        """Where the calls write, below the table's folder or that of the language models."""
        return [_place(call) for call in self.calls]


def _place(call: Sequence[str]) -> str:
    place = Path(call[call.index("-o" if "-o" in call else "--out") + 1])
    place = place.parent if place.suffix == ".jsonl" else place
    return "/".join(place.parts[-2:])


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


class Made:
    """A recipe folder with its data and, at first, both recognisers."""

    def __init__(self, folder: Path, name: str = "made", trainings: Sequence[str] = ()) -> None:
        self.folder, self.recipe, self.data = folder, folder / name, folder / "data"
        write(self.recipe / "recipe.toml", RECIPE.format(folder=folder))
        for split in ("dev", "test"):
            sound = Utterance(id=split, audio=folder / "x.wav", duration=1.0, text="A")
            write_manifest(self.data / f"{split}.jsonl", [sound])
        write(self.data / "lm.txt.gz", "text")
        write(self.data / "dictionary.txt", "A\n")
        self.out, self.lm = folder / "out", folder / "lm"
        self.trainings = trainings or ("default", "expected_wer")
        for training in self.trainings:
            write_made_bundle(self.bundle(training), training, dev_wer=0.5)

    def bundle(self, training: str) -> Path:
        return self.folder / training / "best"

    def run(self, *words: str, asr: FakeAsr | None = None, command: str = "run") -> int:
        bundles = [w for t in self.trainings for w in ("--bundle", f"{t}={self.bundle(t)}")]
        places = ["--out", str(self.out), "--lm", str(self.lm)]
        given = [command, str(self.recipe), *places, *bundles, *words]
        return main(given, asr or FakeAsr())

    def lists(self, name: str, **scores: float) -> str:
        """N-best lists of another system."""
        line = {"id": "test", "nbest": [{"text": "A", **scores}]}
        return str(write(self.folder / name, json.dumps(line) + "\n"))
