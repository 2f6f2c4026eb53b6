"""A neural language model as a `Task`: batches of lines, their cost in nats, perplexity."""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asr.data.batching import padding_share, plan_batches
from asr.data.tokenizer import Tokenizer, check_texts
from asr.data.vocabulary import listed, refuse
from asr.errors import ConfigError, DataError
from asr.lm.measuring import PER_PHONE, bits_name
from asr.lm.neural import NeuralNetwork, sentence_losses
from asr.lm.neural_model import NeuralModel
from asr.lm.neural_scoring import pad_tokens
from asr.lm.sampling import prompt_ids, sample_texts
from asr.lm.text_lines import TextLines
from asr.lm.tokens import SPACE, SPECIAL
from asr.storage import write_atomically
from asr.training.task import Advance, BatchPlan, Evaluation, Skipped

LARGEST = 700.0  # whose exponential is a number
NUM_SAMPLES = 5  # of each temperature, among the artifacts


@dataclass(frozen=True, slots=True)
class TextBatch:
    """Lines side by side, padded.

    Attributes:
        ids: B places of the lines.
        tokens: (B, U) int64, zero beyond each length.
        lengths: (B,) int64, tokens.
    """

    ids: tuple[str, ...]
    tokens: Tensor
    lengths: Tensor


@dataclass(frozen=True, slots=True)
class TextSplits:
    """The lines of a recipe; dev and test may be empty."""

    train: TextLines
    dev: TextLines
    test: TextLines


@dataclass(frozen=True, slots=True)
class LineSampling:
    """How training batches are drawn.

    Attributes:
        batch_characters: most text in a batch, padding included.
        max_characters: a longer line is left out.
        epoch_lines: lines of an epoch, after which it is evaluated; 0: all. Every line comes once
            before any comes again.
        seed: of the order.
    """

    batch_characters: int
    max_characters: int
    epoch_lines: int
    seed: int


@dataclass(frozen=True, slots=True)
class Examples:
    """What is drawn from the model for people to look at.

    Attributes:
        prompt: how every sample begins.
        temperatures: one sample for each.
        length: most tokens of a sample.
    """

    prompt: str = ""
    temperatures: tuple[float, ...] = (0.25, 0.75, 1.5)
    length: int = 100


class LanguageTask:
    """A language model with its text, for the training loop."""

    def __init__(
        self,
        model: NeuralNetwork,
        tokenizer: Tokenizer,
        splits: TextSplits,
        *,
        sampling: LineSampling,
        examples: Examples,
        write_bundle: Callable[[Path, Mapping[str, object]], None],
        label_smoothing: float = 0.0,
    ) -> None:
        """Check the text; `label_smoothing` is that of `asr.lm.neural.sentence_losses`.

        Raises:
            DataError: a symbol outside the vocabulary, or a token named like a mark of language
                models.
            ConfigError: a prompt that the tokens cannot spell.
        """
        self.model = model
        self.tokenizer = tokenizer
        self._splits, self._sampling, self._examples = splits, sampling, examples
        self._write_bundle, self._label_smoothing = write_bundle, label_smoothing
        reserved = {symbol: 1 for symbol in tokenizer.symbols if symbol in (*SPECIAL, SPACE)}
        refuse(reserved, reserved, "which have a meaning of their own in language models")
        train = splits.train
        texts = ((train.place(index), train[index]) for index in range(len(train)))
        self.unknown = check_texts(tokenizer, texts)
        long = train.lengths > sampling.max_characters
        self._usable = np.flatnonzero(~long)
        self.excluded = [
            Skipped(train.place(index), _too_long(int(train.lengths[index]), sampling))
            for index in np.flatnonzero(long).tolist()
        ]
        self._lm = NeuralModel(model, tokenizer, Path())
        try:
            prompt_ids(self._lm, examples.prompt, "character")
        except DataError as error:
            raise ConfigError(f"examples.prompt: {error}") from error

    @property
    def loss_name(self) -> str:
        """What the mean loss is, for people."""
        return "smoothed loss" if self._label_smoothing else "loss"

    def describe(self) -> list[str]:
        """Sentences and characters, what was left out, and the padding of the batches."""
        lines = [
            f"{name}: {len(part):,} lines, {part.num_characters:,} characters"
            for name, part in (
                ("train", self._splits.train),
                ("dev", self._splits.dev),
                ("test", self._splits.test),
            )
            if len(part)
        ]
        if self.excluded:
            lines.append(f"left out of training: {len(self.excluded):,} lines")
            lines += [f"    {skipped.id}: {skipped.reason}" for skipped in self.excluded[:5]]
        if self.unknown:
            lines.append(f"outside the vocabulary: {listed(self.unknown)}")
        if self._is_part():
            lines.append(f"an epoch is {self._sampling.epoch_lines:,} lines")
        sizes = self._splits.train.lengths + 1
        share = padding_share(sizes.tolist(), [plan.items for plan in self.plan_epoch(0)])
        lines.append(f"{self.tokenizer.vocabulary_size} tokens; {share:.1%} padding")
        return lines

    def fingerprints(self) -> dict[str, str]:
        """Hashes of the training text and of the tokens."""
        content = hashlib.sha256(self._splits.train.data)
        content.update(self._splits.train.begins.tobytes())
        return {"training data": content.hexdigest(), "tokens": self.tokenizer.fingerprint()}

    def plan_epoch(self, epoch: int) -> list[BatchPlan]:
        """Length buckets; `size` is characters, ends and padding included."""
        chosen = self._lines_of(epoch)
        sizes = self._splits.train.lengths[chosen] + 1
        batches = plan_batches(
            sizes.tolist(),
            batch_seconds=self._sampling.batch_characters,  # whatever a size counts
            seed=self._sampling.seed,
            epoch=epoch,
        )
        return [
            BatchPlan(tuple(chosen[batch].tolist()), float(sizes[batch].max() * len(batch)))
            for batch in batches
        ]

    def load_batch(self, plan: BatchPlan, epoch: int) -> tuple[TextBatch | None, list[Skipped]]:
        """The tokens of a batch; nothing is ever left out here."""
        train = self._splits.train
        tokens, lengths = pad_tokens([self.tokenizer.encode(train[i]) for i in plan.items])
        return TextBatch(tuple(map(train.place, plan.items)), tokens, lengths), []

    def ids(self, batch: TextBatch) -> Sequence[str]:
        """Where the lines of a batch stand."""
        return batch.ids

    def loss(self, batch: TextBatch, device: torch.device) -> Tensor:
        """(B,) nats of each line with its end, perhaps of smoothed labels."""
        return sentence_losses(
            self.model,
            batch.tokens.to(device),
            batch.lengths.to(device),
            label_smoothing=self._label_smoothing,
        )

    def evaluate(self, split: str, device: torch.device, advance: Advance) -> Evaluation | None:
        """Perplexity of a token and bits per character or phone; None when the split is empty.

        The end of a line counts as a token, and as a character or phone; an unknown symbol costs
        what it does in `asr.lm.neural_model`.
        """
        lines = {"dev": self._splits.dev, "test": self._splits.test}[split]
        if not len(lines):
            return None
        advance(0, len(lines))
        unk = self._lm.unk
        sentences = [self.tokenizer.encode_any(lines[i], unk) for i in range(len(lines))]
        nats = -math.fsum(self._lm.score_tokens(sentences, advance))
        num_tokens = sum(map(len, sentences)) + len(lines)
        name = bits_name(self.tokenizer)
        count = num_tokens if name == PER_PHONE else lines.num_characters + len(lines)
        metrics = {
            "perplexity": math.exp(min(nats / num_tokens, LARGEST)),
            name: nats / math.log(2) / count,
        }
        return Evaluation(metrics, monitor=name, examples=self.samples(1))

    def samples(self, count: int) -> list[str]:
        """Lines with `count` samples at each temperature; the same model draws the same."""
        lines = []
        for number, temperature in enumerate(self._examples.temperatures):
            texts = sample_texts(
                self._lm,
                self._examples.prompt,
                count=count,
                length=self._examples.length,
                temperature=temperature,
                generator=np.random.default_rng((self._sampling.seed, number)),
            )
            lines += [f"temperature {temperature:g}: {text}" for text in texts]
        return lines

    def write_bundle(self, folder: Path, facts: Mapping[str, object]) -> None:
        """Write the language model as a user loads it."""
        self._write_bundle(folder, facts)

    def artifacts(self, folder: Path, history: Sequence[Mapping[str, float]]) -> None:
        """Write `samples.txt`."""
        write_atomically(folder / "samples.txt", "\n".join(self.samples(NUM_SAMPLES)) + "\n")

    def _is_part(self) -> bool:
        """Whether an epoch is less than all lines."""
        return 0 < self._sampling.epoch_lines < len(self._usable)

    def _lines_of(self, epoch: int) -> NDArray[np.int64]:
        """The lines of an epoch: the next ones of an order that is drawn anew at its end."""
        if not self._is_part():
            return self._usable
        total = len(self._usable)
        place = epoch * self._sampling.epoch_lines
        end = place + self._sampling.epoch_lines
        parts = []
        for turn in range(place // total, -(-end // total)):
            random = np.random.default_rng((self._sampling.seed, turn, 1))
            order = random.permutation(self._usable)
            parts.append(order[max(place - turn * total, 0) : end - turn * total])
        return np.concatenate(parts)


def _too_long(length: int, sampling: LineSampling) -> str:
    return f"{length:,} characters; data.max_characters is {sampling.max_characters:,}"
