"""Speech recognition as a `Task`: batches of utterances, their losses, error rates."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from asr.criterion import Criterion
from asr.data.batching import AudioReader, Batch, collate, padding_share, plan_batches
from asr.data.manifest import Utterance
from asr.data.tokenizer import Tokenizer, check_texts
from asr.decoding.batch import best_path_decoder, recognize
from asr.decoding.hypothesis import Hypothesis
from asr.errors import AudioError
from asr.frontend.augment import add_noise, change_speed
from asr.models.speech import SpeechModel
from asr.scoring.equivalence import PLAIN, Scoring
from asr.scoring.error_rate import score_corpus
from asr.training.task import Advance, BatchPlan, Evaluation, Skipped

NUM_EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class Example:
    """An utterance that can be trained on."""

    utterance: Utterance
    tokens: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Splits:
    """The utterances of a recipe; dev and test may be empty. `scoring`: how these are scored."""

    train: Sequence[Utterance]
    dev: Sequence[Utterance]
    test: Sequence[Utterance]
    scoring: Scoring = PLAIN


@dataclass(frozen=True, slots=True)
class Sampling:
    """How training batches are drawn, and their waveforms varied; masks are the front end's.

    Attributes:
        batch_seconds: most audio in a batch, padding included.
        seed: of the order and of the speeds.
        speed_factors: one is drawn per utterance and epoch.
        noise_probability: share of utterances with noise.
        noise_snr_db: lowest and highest dB of speech over noise.
        batch_utterances: most utterances in a batch; 0: as many as fit.
    """

    batch_seconds: float
    seed: int
    speed_factors: tuple[float, ...] = (1.0,)
    noise_probability: float = 0.0
    noise_snr_db: tuple[float, float] = (10.0, 40.0)
    batch_utterances: int = 0


class SpeechTask:
    """A recogniser with its data, for the training loop."""

    def __init__(
        self,
        model: SpeechModel,
        tokenizer: Tokenizer,
        splits: Splits,
        criterion: Criterion,
        *,
        reader: AudioReader,
        sampling: Sampling,
        write_bundle: Callable[[Path, Mapping[str, object]], None],
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self._splits = splits
        self._criterion = criterion
        self._decoder = best_path_decoder(model, tokenizer)
        self._reader = reader
        self._sampling = sampling
        self._write_bundle = write_bundle
        self.unknown = check_texts(tokenizer, [(u.id, u.text) for u in splits.train])
        self._examples, self.excluded = trainable(model, tokenizer, criterion, splits.train)
        self._texts = {example.utterance.id: example.utterance.text for example in self._examples}

    @property
    def loss_name(self) -> str:
        """What the mean loss is, for people."""
        return self._criterion.name

    def describe(self) -> list[str]:
        """Hours of speech, what was left out, and the padding of the batches."""
        lines = [
            f"{name}: {len(part)} utterances, {hours(part):.2f} h"
            for name, part in (
                ("train", [example.utterance for example in self._examples]),
                ("dev", self._splits.dev),
                ("test", self._splits.test),
            )
            if part
        ]
        if self.excluded:
            lines.append(f"left out of training: {len(self.excluded)} utterances")
            lines += [f"    {skipped.id}: {skipped.reason}" for skipped in self.excluded[:5]]
        if self.unknown:
            listed = ", ".join(f"{symbol!r} ({n})" for symbol, n in self.unknown.most_common(10))
            lines.append(f"symbols outside the vocabulary: {listed}")
        durations = self.durations(epoch=0)
        plans = self.plan_epoch(0)
        share = padding_share(durations, [plan.items for plan in plans])
        lines.append(f"{self.tokenizer.vocabulary_size} output labels; {share:.1%} padding")
        return lines

    def fingerprints(self) -> dict[str, str]:
        """Hashes of the training data and of the tokens."""
        content = hashlib.sha256()
        for example in self._examples:
            content.update(f"{example.utterance.id}\t{example.utterance.text}\n".encode())
        return {"training data": content.hexdigest(), "tokens": self.tokenizer.fingerprint()}

    def plan_epoch(self, epoch: int) -> list[BatchPlan]:
        """Length buckets; `size` is seconds of audio with padding."""
        durations = self.durations(epoch)
        batches = plan_batches(
            durations,
            batch_seconds=self._sampling.batch_seconds,
            batch_utterances=self._sampling.batch_utterances,
            seed=self._sampling.seed,
            epoch=epoch,
        )
        return [
            BatchPlan(tuple(batch), max(durations[i] for i in batch) * len(batch))
            for batch in batches
        ]

    def load_batch(self, plan: BatchPlan, epoch: int) -> tuple[Batch | None, list[Skipped]]:
        """Read the audio of a batch; what cannot be read, or is too short, is left out."""
        factors = self._speeds(epoch)
        ids, waveforms, targets, skipped = [], [], [], []
        for index in plan.items:
            example = self._examples[index]
            try:
                waveform = self._reader.read_whole(example.utterance)
            except AudioError as error:
                skipped.append(Skipped(example.utterance.id, f"{error.reason} [{error.code}]"))
                continue
            waveform = change_speed(waveform, self._reader.sample_rate, factors[index])
            frames = self.model.frontend.num_frames_of(len(waveform))
            needed = self._criterion.frames_needed(example.tokens)
            if frames < needed:
                reason = f"{frames} frames of audio for a text that needs {needed}"
                skipped.append(Skipped(example.utterance.id, reason))
                continue
            ids.append(example.utterance.id)
            waveforms.append(waveform)
            targets.append(example.tokens)
        return (collate(ids, waveforms, targets) if ids else None), skipped

    def ids(self, batch: Batch) -> Sequence[str]:
        """The utterances of a batch."""
        return batch.ids

    def loss(self, batch: Batch, device: torch.device) -> Tensor:
        """(B,) losses of the utterances, as the criterion has them."""
        batch = batch.to(device)
        waveforms = batch.waveforms
        if self._sampling.noise_probability > 0:
            waveforms = add_noise(
                waveforms,
                batch.waveform_lengths,
                snr_db=self._sampling.noise_snr_db,
                probability=self._sampling.noise_probability,
            )
        outputs, lengths = self.model(waveforms, batch.waveform_lengths)
        texts = [self._texts[name] for name in batch.ids]
        return self._criterion(outputs, lengths, batch, texts)

    def evaluate(self, split: str, device: torch.device, advance: Advance) -> Evaluation | None:
        """Greedy WER and CER, or PER where words are phones; None when the split is empty."""
        utterances = {"dev": self._splits.dev, "test": self._splits.test}[split]
        if not utterances:
            return None
        results: dict[str, list[Hypothesis] | AudioError] = {}
        for utterance, result in recognize(
            self.model,
            self._decoder,
            utterances,
            reader=self._reader,
            device=device,
            batch_seconds=self._sampling.batch_seconds,
        ):
            results[utterance.id] = result
            advance(len(results), len(utterances))
        references = {utterance.id: utterance.text for utterance in utterances}
        hypotheses = {
            name: result[0].text
            for name, result in results.items()
            if not isinstance(result, AudioError)
        }
        metrics = score_corpus(references, hypotheses, scoring=self._splits.scoring).metrics()
        if len(hypotheses) < len(utterances):
            metrics["unreadable"] = float(len(utterances) - len(hypotheses))
        shown = utterances[:: -(-len(utterances) // NUM_EXAMPLES)]
        examples = [
            line
            for utterance in shown
            for line in (
                f"reference:  {utterance.text}",
                f"hypothesis: {hypotheses.get(utterance.id, '(unreadable)')}",
            )
        ]
        return Evaluation(metrics, monitor=self._splits.scoring.metric, examples=examples)

    def write_bundle(self, folder: Path, facts: Mapping[str, object]) -> None:
        """Write the recogniser as a user loads it."""
        self._write_bundle(folder, facts)

    def artifacts(self, folder: Path, history: Sequence[Mapping[str, float]]) -> None:
        """Nothing to draw: a recogniser shows itself by its transcripts."""

    def _speeds(self, epoch: int) -> Sequence[float]:
        """The speed factor of every utterance in an epoch."""
        random = np.random.default_rng((self._sampling.seed, epoch, 1))
        factors = self._sampling.speed_factors
        return [factors[i] for i in random.integers(len(factors), size=len(self._examples))]

    def durations(self, epoch: int) -> list[float]:
        """Seconds of every utterance that is trained on, in an epoch: its speed counts."""
        return [
            example.utterance.duration / speed
            for example, speed in zip(self._examples, self._speeds(epoch), strict=True)
        ]


def trainable(
    model: SpeechModel, tokenizer: Tokenizer, criterion: Criterion, utterances: Sequence[Utterance]
) -> tuple[list[Example], list[Skipped]]:
    """The utterances that can be trained on, and the others with the reason.

    Left out are empty texts and texts for which the audio has too few frames: with CTC one for each
    token (and repeat), since the loss would be infinite.

    Raises:
        DataError: a text has a symbol outside the vocabulary.
    """
    examples, excluded = [], []
    rate = model.frontend.sample_rate
    for utterance in utterances:
        tokens = tuple(tokenizer.encode(utterance.text))
        frames = model.frontend.num_frames_of(round(utterance.duration * rate))
        needed = criterion.frames_needed(tokens)
        if not tokens:
            excluded.append(Skipped(utterance.id, "the text is empty"))
        elif frames < needed:
            reason = f"{frames} frames of audio for a text that needs {needed}"
            excluded.append(Skipped(utterance.id, reason))
        else:
            examples.append(Example(utterance, tokens))
    return examples, excluded


def hours(utterances: Sequence[Utterance]) -> float:
    """Hours of audio."""
    return sum(utterance.duration for utterance in utterances) / 3600
