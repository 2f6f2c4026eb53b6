"""A made-up text that a tiny network learns in a second, and a recipe for it."""

from pathlib import Path

import numpy as np

from asr.data.corpus.prepared_texts import write_texts

WORDS = ["GO", "STOP", "TURN LEFT", "TURN RIGHT", "AND", "ON"]

RECIPE = """
task = "language_model"
seed = 1
[data]
train = "{data}/train.txt.gz"
dev = "{data}/dev.txt.gz"
test = "{data}/test.txt.gz"
[model]
num_layers = 1
hidden_size = 16
embedding_size = 8
[examples]
prompt = "GO "
length = 20
[optimizer]
name = "adamw"
learning_rate = 0.02
[training]
epochs = 2
batch_characters = 300
num_workers = 0
average_best = 2
"""


def lines(count: int, seed: int) -> list[str]:
    """Commands of one to five words."""
    random = np.random.default_rng(seed)
    return [" ".join(random.choice(WORDS, size=random.integers(1, 6))) for _ in range(count)]


def write_text(folder: Path) -> Path:
    """The three sets in `folder`; the folder."""
    sets = {name: lines(size, size) for name, size in (("train", 60), ("dev", 11), ("test", 9))}
    write_texts(folder, sets)
    return folder


def write_text_recipe(folder: Path, data: Path) -> Path:
    """A recipe for the made-up text in `folder/recipe.toml`; the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.toml").write_text(RECIPE.format(data=data.as_posix()), encoding="utf-8")
    return folder
