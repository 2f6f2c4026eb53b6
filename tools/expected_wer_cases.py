"""Made-up posteriors and references for `bench_expected_wer`, which says what they are."""

import random
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from asr.data.labels import Labels, read_labels
from asr.objectives.sampling import sample_alignments

BATCH, FRAMES, CHARACTERS = 16, 400, 60
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
FREQUENT = "EEEEEETTTTTAAAAOOOOIIIINNNNSSSHHHRRRDDLLCUMWFGYPBVK"  # roughly as in English
WORD_LENGTHS = (1, 2, 2, 3, 3, 3, 4, 4, 5, 5, 6, 7, 8)
Kind = Literal["wer", "cer"]


@dataclass(frozen=True)
class Case:
    """What is measured.

    Attributes:
        loss: which errors.
        posteriors: "peaky" or "flat".
        num_labels: 30 or 500.
        num_samples: S.
    """

    loss: Kind
    posteriors: str = "peaky"
    num_labels: int = 30
    num_samples: int = 5

    def __str__(self) -> str:
        return (
            f"{self.loss}, {self.posteriors:5}, {self.num_labels:3} labels, {self.num_samples:2} "
            "samples"
        )

    @cached_property
    def labels(self) -> Labels:
        """Of the model."""
        return read_labels(label_names(self.num_labels))

    @cached_property
    def references(self) -> list[str]:
        """Of the batch, the same for all cases."""
        return [reference_text(random.Random(index)) for index in range(BATCH)]  # noqa: S311

    @cached_property
    def logits(self) -> Tensor:
        """(B, T, V)."""
        generator = torch.Generator().manual_seed(1)
        noise = torch.randn(BATCH, FRAMES, self.num_labels, generator=generator)
        if self.posteriors == "flat":
            return noise
        names = self.labels.names
        paths = [
            alignment_of(text, names, random.Random(index))  # noqa: S311
            for index, text in enumerate(self.references)
        ]
        certain = nn.functional.one_hot(torch.tensor(paths), self.num_labels)
        return (0.9 * certain + 0.1 * (2 * noise).softmax(dim=-1)).log()

    @cached_property
    def samples(self) -> NDArray[np.int64]:
        """(B, S, T) alignments."""
        scores, generator = self.logits.log_softmax(dim=-1), torch.Generator().manual_seed(2)
        return sample_alignments(scores, lengths(), self.num_samples, generator).numpy()


def label_names(count: int) -> list[str]:
    """The blank, a space, an apostrophe, a hyphen, letters; or pieces of words."""
    if count == 30:
        return ["<blank>", " ", "'", "-", *LETTERS]
    rng = random.Random(0)  # noqa: S311
    names = dict.fromkeys(["<blank>", "<unk>", "▁", *LETTERS, *(f"▁{c}" for c in LETTERS)])
    while len(names) < count:
        word = "▁" + random_word(rng)
        begin = rng.randrange(len(word))
        names[word[begin : begin + rng.randint(2, 5)]] = None
    return list(names)


def random_word(rng: random.Random) -> str:
    """Letters as frequent as in English."""
    return "".join(rng.choices(FREQUENT, k=rng.choice(WORD_LENGTHS)))


def reference_text(rng: random.Random) -> str:
    """Words of 60 characters in all, spaces included."""
    text = random_word(rng)
    while len(text) < CHARACTERS:
        text += " " + random_word(rng)
    return text[: CHARACTERS - 1] + "E"  # no space at the end


def alignment_of(text: str, names: tuple[str, ...], rng: random.Random) -> list[int]:
    """Frames of the tokens of a text, the longest first, one to four each between blanks."""
    spaces = text.replace(" ", "▁" if "▁" in names else " ")
    rest = ("▁" if "▁" in names else "") + spaces
    by_length = sorted(range(1, len(names)), key=lambda index: -len(names[index]))
    tokens = []
    while rest:
        tokens.append(next(index for index in by_length if rest.startswith(names[index])))
        rest = rest[len(names[tokens[-1]]) :]
    path = [0] * FRAMES
    begins = sorted(rng.sample(range(FRAMES), len(tokens)))
    for token, begin, end in zip(tokens, begins, [*begins[1:], FRAMES], strict=True):
        longest = min(begin + rng.randint(1, 4), max(end - 1, begin + 1))  # leaves room for a blank
        path[begin:longest] = [token] * (longest - begin)
    return path


def lengths() -> Tensor:
    """(B,) frames."""
    return torch.full((BATCH,), FRAMES)
