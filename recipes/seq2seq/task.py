"""Sequence to sequence learning as a task: its settings, its batches, its scores."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from asr.config import Config as Settings
from asr.config import parse
from asr.data.text import Case
from asr.errors import ConfigError, ModelError, shown
from asr.models.state import load_weights
from asr.storage import read_json, write_json
from asr.training.plain_task import WEIGHTS, PlainTask, TaskData, read_task_bundle
from asr.training.task import Advance, BatchPlan, Evaluation, Skipped

from .data import PairBatch, Units, Vocabulary, batches_of_similar_length, pad
from .model import SequenceToSequence
from .pairs import HeldOut, Reading, TrainingPairs, read_held_out, read_training
from .scores import Kind, check_installed, metrics_text, score
from .show import (
    History,
    read_sources,
    rescore,
    show_examples,
    show_history,
    show_targets,
    show_vectors,
    write_lines,
)
from .translator import Translator

VOCABULARIES = "vocabularies.json"  # in a bundle
NUM_EXAMPLES = 3  # lines of an evaluation
MONITORS: dict[Kind, str] = {"phones": "per", "tokens": "ter", "bleu": "perplexity"}


class Config(Settings):
    """The section `[task]`."""

    # The network.
    num_layers: int = Field(default=2, ge=1)  # of the encoder, and as many of the decoder
    hidden_size: int = Field(default=256, ge=1)  # cells of each layer
    embedding_size: int = Field(default=128, ge=1)
    dropout: float = Field(default=0.0, ge=0, lt=1)  # of what layers and the softmax get
    reverse_source: bool = True
    # The pairs.
    units: Units = "words"  # tokens of the sources; those of targets are words
    case: Case = "keep"  # of the sources
    source_size: int = Field(default=0, ge=0)  # of the vocabulary; 0: all of the training set
    target_size: int = Field(default=0, ge=0)
    max_tokens: int = Field(default=0, ge=0)  # of a side of a training pair; 0: as many as it has
    batch_size: int = Field(default=128, ge=1)  # pairs of similar length
    parts: int = Field(default=1, ge=1)  # a pass over the training set is so many epochs
    # The search, and how its results are scored.
    score: Kind = "tokens"
    beam_size: int = Field(default=5, ge=1)  # for test and what is shown
    dev_beam_size: int = Field(default=1, ge=1)
    ensemble: list[str] = Field(default=[])  # runs that predict with this one, not for dev
    # What is shown.
    words: str = ""  # a file of sources, one a line, of which the targets are written
    num_targets: int = Field(default=1, ge=1)  # for each of them
    pairs: str = ""  # a file of pairs, perhaps with scores of another system, to be rescored
    report: Literal["", "dev", "test"] = ""  # a set that is scored with the settings of now
    vectors: list[list[str]] = Field(default=[])  # texts to draw, a colour for each list


def build(config: Config, data: TaskData, seed: int) -> "PairTask":
    """The task of a recipe.

    Raises:
        ConfigError: no training pairs are named, or what scores is not installed.
        DataError: pairs that cannot be used.
        ModelError: a bundle of the ensemble that does not fit.
    """
    check_installed(config.score)
    reading = Reading(
        units=config.units,
        case=config.case,
        source_size=config.source_size,
        target_size=config.target_size,
        max_tokens=config.max_tokens,
    )
    train = read_training(data, reading)
    group = config.score != "bleu"
    splits = Splits(
        train,
        read_held_out(data.dev, reading, group=group),
        read_held_out(data.test, reading, group=group),
    )
    model = build_model(config, train.source_vocabulary, train.target_vocabulary)
    others = [
        load_member(Path(bundle), train.source_vocabulary, train.target_vocabulary)
        for bundle in config.ensemble
    ]
    return PairTask(model, splits, config, others=others, seed=seed)


def build_model(config: Config, source: Vocabulary, target: Vocabulary) -> SequenceToSequence:
    """The untrained networks of a config."""
    return SequenceToSequence(
        len(source),
        len(target),
        embedding_size=config.embedding_size,
        hidden_size=config.hidden_size,
        num_layers=config.num_layers,
        dropout=config.dropout,
        reverse_source=config.reverse_source,
    )


def load_member(bundle: Path, source: Vocabulary, target: Vocabulary) -> SequenceToSequence:
    """A trained model, to predict together with another that has the same tokens.

    Raises:
        ModelError: no bundle of this recipe, damaged, or with other tokens.
    """
    folder = bundle / "best" if (bundle / "best").is_dir() else bundle
    recipe = read_task_bundle(folder).get("recipe")
    settings = recipe.get("task") if isinstance(recipe, Mapping) else None
    if not isinstance(settings, Mapping) or not (folder / VOCABULARIES).is_file():
        raise ModelError(f"{shown(folder)}: is no model of this recipe; name a run folder of it")
    if read_json(folder / VOCABULARIES) != _listed(source, target):
        raise ModelError(
            f"{shown(folder)}: has other tokens; an ensemble needs models of the same training set"
        )
    model = build_model(parse(Config, settings, shown(folder)), source, target)
    load_weights(model, folder / WEIGHTS)
    return model.eval()


def _listed(source: Vocabulary, target: Vocabulary) -> dict[str, list[str]]:
    return {"source": list(source.symbols), "target": list(target.symbols)}


@dataclass(frozen=True, slots=True)
class Splits:
    """The pairs of a recipe; dev and test may be missing."""

    train: TrainingPairs
    dev: HeldOut | None
    test: HeldOut | None


class PairTask(PlainTask):
    """The networks with pairs of texts, for the training loop."""

    def __init__(
        self,
        model: SequenceToSequence,
        splits: Splits,
        config: Config,
        *,
        others: Sequence[SequenceToSequence] = (),
        seed: int,
    ) -> None:
        """Keep the data.

        Args:
            model: to be trained.
            splits: its pairs.
            config: how.
            others: models that predict with it, for test and what is shown.
            seed: of the order.
        """
        super().__init__(
            model, num_items=len(splits.train), batch_size=config.batch_size, seed=seed
        )
        self._network, self._splits, self._config, self._others = model, splits, config, others

    @property
    def excluded(self) -> Sequence[Skipped]:
        """Training pairs with too many tokens."""
        return self._splits.train.excluded

    def describe(self) -> list[str]:
        """How many pairs and tokens."""
        train = self._splits.train
        lines = [
            f"train: {len(train):,} pairs, {len(train.source.tokens):,} and "
            f"{len(train.target.tokens):,} tokens, of {len(train.source_vocabulary):,} and "
            f"{len(train.target_vocabulary):,} kinds"
        ]
        if train.excluded:
            lines.append(f"left out of training: {len(train.excluded):,} pairs")
        for name, held_out in (("dev", self._splits.dev), ("test", self._splits.test)):
            if held_out is not None:
                many = f"{len(held_out.targets):,} pairs, {len(held_out.sources):,} sources"
                lines.append(f"{name}: {many}")
        return lines

    def fingerprints(self) -> dict[str, str]:
        """A hash of the training pairs and their tokens."""
        return {"training data": self._splits.train.fingerprint()}

    def plan_epoch(self, epoch: int) -> list[BatchPlan]:
        """Batches of similar length; `parts` epochs together have every pair once."""
        passed, part = divmod(epoch, self._config.parts)
        generator = np.random.default_rng((self.seed, passed))
        items = np.array_split(generator.permutation(self.num_items), self._config.parts)[part]
        sources, targets = self._splits.train.source.lengths, self._splits.train.target.lengths
        batches = batches_of_similar_length(
            items, sources, targets, batch_size=self.batch_size, generator=generator
        )
        return [
            BatchPlan(tuple(b), float((sources[b].max() + targets[b].max()) * len(b)))
            for b in batches
        ]

    def load_batch(self, plan: BatchPlan, epoch: int) -> tuple[PairBatch, list[Skipped]]:
        """The tokens of a batch."""
        train = self._splits.train
        source, source_lengths = pad([train.source[item] for item in plan.items])
        target, target_lengths = pad([train.target[item] for item in plan.items])
        ids = tuple(f"pair {item + 1}" for item in plan.items)
        return PairBatch(ids, source, source_lengths, target, target_lengths), []

    def ids(self, batch: PairBatch) -> Sequence[str]:
        """Which pairs they are, by their number among those that are trained on."""
        return batch.ids

    def loss(self, batch: PairBatch, device: torch.device) -> Tensor:
        """(B,) -ln p(target | source), summed over the tokens of each target."""
        return self._network.losses(*batch.tensors(device))

    def evaluate(self, split: str, device: torch.device, advance: Advance) -> Evaluation | None:
        """The perplexity of the targets, and the errors or BLEU of what the search finds."""
        held_out = {"dev": self._splits.dev, "test": self._splits.test}[split]
        if held_out is None:
            return None
        translator = self.translator(whole=split == "test")
        return evaluate(translator, held_out, self._config.score, advance)

    def translator(self, *, whole: bool) -> Translator:
        """The model as it is: with its ensemble and the beam of test, or (dev) without."""
        train = self._splits.train
        device = next(self._network.parameters()).device
        others = [other.to(device) for other in self._others] if whole else []
        size = self._config.beam_size if whole else self._config.dev_beam_size
        return Translator(
            [self._network, *others], train.source_vocabulary, train.target_vocabulary, size
        )

    def write_bundle(self, folder: Path, facts: Mapping[str, Any]) -> None:
        """Write the model with its tokens."""
        train = self._splits.train
        write_json(folder / VOCABULARIES, _listed(train.source_vocabulary, train.target_vocabulary))
        super().write_bundle(folder, facts)

    def artifacts(self, folder: Path, history: History) -> None:
        """Write what the settings ask for; examples and the curve in any case.

        Raises:
            ConfigError: a set is to be scored that the recipe does not name.
            DataError: a file of words or pairs that cannot be used.
        """
        config, translator = self._config, self.translator(whole=True)
        if config.words:
            name = "pronunciations" if config.score == "phones" else "translations"
            texts = read_sources(Path(config.words), translator, config.units, config.case)
            path = folder / f"{name}.txt"
            show_targets(path, translator, texts, config.units, config.num_targets)
        if config.pairs:
            path = folder / "rescored.txt"
            rescore(path, translator, Path(config.pairs), config.units, config.case)
        if config.report:
            write_lines(folder / "report.txt", [self._report(translator)])
        if config.vectors:
            show_vectors(folder / "vectors.png", translator, config.vectors, config.units)
        shown_set = self._splits.test or self._splits.dev
        if shown_set is not None:
            show_examples(folder / "examples.txt", translator, shown_set)
        show_history(folder / "perplexity.png", history, "perplexity")

    def _report(self, translator: Translator) -> str:
        """The scores of a set with the beam and the ensemble of the settings."""
        split = self._config.report
        held_out = self._splits.dev if split == "dev" else self._splits.test
        if held_out is None:
            raise ConfigError(f"task.report: there is no {split} set; name it in data.{split}")
        scored = evaluate(translator, held_out, self._config.score, lambda done, total: None)
        models = len(translator.models)
        how = f"{models} models" if models > 1 else "1 model"
        return f"{split}: {metrics_text(scored.metrics)}  (beam {translator.beam_size}, {how})"


def evaluate(translator: Translator, held_out: HeldOut, kind: Kind, advance: Advance) -> Evaluation:
    """The scores of a set.

    Args:
        translator: the model.
        held_out: the set.
        kind: how its targets are scored.
        advance: told how many of the sources are done.
    """
    pairs = [held_out.sources[number] for number in held_out.source]
    nats = sum(log_prob for _, log_prob in translator.log_probs(pairs, held_out.targets))
    tokens = sum(len(target) + 1 for target in held_out.targets)
    total = len(held_out.sources)
    found: dict[int, list[str]] = {}
    for number, hypotheses in translator.translate(held_out.sources):
        found[number] = translator.words(hypotheses[0])
        advance(len(found), total)
    best = [found[number] for number in range(total)]
    perplexity = math.exp(-nats / tokens)
    metrics = {"perplexity": perplexity, **score(kind, best, held_out.references)}
    examples = [
        f"{held_out.texts[n]} → {' '.join(best[n])} "
        f"(reference {' '.join(held_out.references[n][0])})"
        for n in range(0, total, -(-total // NUM_EXAMPLES))
    ]
    return Evaluation(metrics, monitor=MONITORS[kind], examples=examples)
