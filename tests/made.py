"""A made-up corpus that a tiny network learns in seconds: every letter is a tone."""

from pathlib import Path

import numpy as np

from asr.data.audio import write_wav
from asr.data.batching import Waveform
from asr.data.manifest import Utterance, write_manifest
from asr.recipe import Recipe, load_recipe

RATE = 16000
LETTER_SECONDS = 0.08
FREQUENCIES = {letter: 300.0 + 500.0 * index for index, letter in enumerate("ABCDEF")}
TEST_TEXTS = ["BED", "CAB FACE", "DAD", "A BEE"]
NUM_TRAIN = 150

RECIPE = """
seed = 1
[data]
train = "{data}/train.jsonl"
dev = "{data}/dev.jsonl"
test = "{data}/test.jsonl"
[frontend]
name = "log_mel"
num_mels = 24
normalize = "training_set"
[augment]
time_masks = 2
time_mask_frames = 6
frequency_masks = 0
[encoder]
num_layers = 1
hidden_size = 32
[optimizer]
name = "adamw"
learning_rate = 0.01
[training]
epochs = 20
batch_seconds = 3.0
num_workers = 0
average_best = 2
"""


def spoken(text: str, *, seed: int = 0) -> Waveform:
    """The waveform (samples,) of a text: a tone per letter, silence for a space, a little noise."""
    random = np.random.default_rng(seed)
    time = np.arange(round(LETTER_SECONDS * RATE)) / RATE
    envelope = np.hanning(len(time)) * 0.3
    parts = [np.zeros(800)]
    for letter in text:
        tone = (
            np.zeros(len(time)) if letter == " " else np.sin(2 * np.pi * FREQUENCIES[letter] * time)
        )
        parts.append(tone * envelope)
    parts.append(np.zeros(800))
    signal = np.concatenate(parts)
    noisy = signal + 1e-3 * random.standard_normal(len(signal))
    return noisy.astype(np.float32)


def train_texts() -> list[str]:
    """Random words of one to five letters, one to three in a text."""
    random = np.random.default_rng(0)
    letters = sorted(FREQUENCIES)
    return [
        " ".join(
            "".join(random.choice(letters, size=random.integers(1, 6)))
            for _ in range(random.integers(1, 4))
        )
        for _ in range(NUM_TRAIN)
    ]


def write_corpus(folder: Path) -> Path:
    """Manifests and sound files of the made-up corpus; the folder."""
    for split, texts in (("train", train_texts()), ("dev", TEST_TEXTS), ("test", TEST_TEXTS)):
        utterances = []
        for index, text in enumerate(texts):
            name = f"{split}-{index:03d}"
            path = folder / "wav" / f"{name}.wav"
            waveform = spoken(text, seed=hash_of(name))
            write_wav(path, waveform, RATE)
            utterances.append(
                Utterance(
                    id=name,
                    audio=path,
                    duration=len(waveform) / RATE,
                    text=text,
                    speaker=f"{split}-{index % 3}",
                )
            )
        write_manifest(folder / f"{split}.jsonl", utterances)
    return folder


def write_recipe(folder: Path, data: Path) -> Path:
    """A recipe for the made-up corpus in `folder/recipe.toml`; the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.toml").write_text(RECIPE.format(data=data.as_posix()), encoding="utf-8")
    return folder


def recipe_with(trained: Path, *overrides: str) -> Recipe:
    """The recipe of the fixture `trained`, with overrides."""
    recipe = load_recipe(trained / "beeps", overrides)
    assert isinstance(recipe, Recipe)
    return recipe


def quiet(line: str) -> None:
    """Say nothing."""


def hash_of(name: str) -> int:
    """A small number that depends on the name."""
    return sum(map(ord, name))
