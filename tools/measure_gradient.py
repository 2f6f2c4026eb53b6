"""The gradient of the expected error rate on a trained model: is it right, and how noisy is it?

    OMP_NUM_THREADS=2 python -m tools.measure_gradient exp/an4/default/best data/an4/dev.jsonl \
        [--only forced noise floor] [--draws 20000] [--frames 300] [--batches 3]

Prints tables in Markdown. All is about the word error rate; the model is in evaluation mode.

- forced: the mean of many draws of the estimator with 5 samples, on the utterance whose length is
  next to `--frames`, against another estimate that shares nothing with it but the definition. With
  P the probability of label k at frame t, the derivative is P (E[errors | k at t] - E[errors]) =
  P (1 - P) (E[errors | k at t] - E[errors | another label at t]). Each E is the mean over
  alignments drawn anew, read as text and compared with the reference one by one. For the labels and
  frames with the largest derivatives, and for random ones. z is the difference by its standard
  error; where all is well, z squared adds up to about the number of checks.
- noise: for batches, the gradient by all of the model's weights as a vector. Its mean g over many
  draws, the same for all estimators but the n-best list's, and the mean of |draw - g|^2. The signal
  is |g|^2 by that. The n-best list has no noise, but another mean.
- floor: what `probability_floor` leaves out, what that does to the gradient by the logits, with the
  same samples, and the time of a loss that is a Python function.
"""

import argparse
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asr.criterion import ExpectedErrorCriterion
from asr.data.batching import AudioReader, Batch
from asr.data.labels import Labels, labels_of
from asr.data.manifest import read_manifest
from asr.data.text import normalize_text, words
from asr.models.ctc import CTCModel
from asr.objectives.expected_wer import ExpectedWERConfig, expected_loss
from asr.objectives.text_loss import text_loss
from asr.recognizer import Recognizer, load
from asr.scoring.alignment import count_edits
from tools.gradient_subject import Subject

NUM_CHECKS = 25  # of the largest derivatives, and as many random ones
BLOCK = 100  # copies of an utterance in a batch
MEAN_DRAWS = 300  # of 20 samples, for the mean gradient of a batch
NOISE_DRAWS = 20
FLOORS = (0.0, 1e-4, 1e-3, 1e-2)
ESTIMATORS = (
    ("exchange", 1),
    ("exchange", 5),
    ("exchange", 20),
    ("reinforce", 5),
    ("reinforce", 20),
)


def measure_forced(subject: Subject) -> Iterator[str]:
    """The estimator against alignments with a label forced."""
    count_frames = subject.model.frontend.num_frames_of
    rate = subject.model.frontend.sample_rate
    utterance = min(
        subject.utterances,
        key=lambda u: abs(count_frames(round(u.duration * rate)) - subject.frames),
    )
    batch = subject.batch([utterance])
    with torch.no_grad():
        log_probs, _ = subject.model(batch.waveforms, batch.waveform_lengths)
    log_probs = log_probs[0].double().log_softmax(dim=-1)
    probs = log_probs.exp()
    begun = time.perf_counter()
    mean, error = mean_gradient(log_probs, utterance.text, subject)
    drawn = time.perf_counter() - begun
    errors = TranscriptErrors(subject.labels, utterance.text)
    generator = torch.Generator().manual_seed(3)
    largest = mean.abs().flatten().topk(NUM_CHECKS).indices
    anywhere = torch.randint(mean.numel(), (NUM_CHECKS,), generator=generator)
    yield (
        f"`{utterance.id}`: {utterance.text}. {len(probs)} frames; the largest probability of a "
        f"frame is {probs.max(dim=-1).values.mean():.3f} in the mean. {subject.draws} draws of 5 "
        f"samples ({drawn:.0f} s), twice {subject.forced_draws} alignments for each check."
    )
    yield ""
    yield "| | frame | label | P | estimator | forced | z |"
    yield "|---|---|---|---|---|---|---|"
    scores: dict[str, list[float]] = {"largest": [], "random": []}
    for kind, places in (("largest", largest), ("random", anywhere)):
        for place in places.tolist():
            t, k = divmod(place, probs.shape[1])
            value, own = forced_derivative(probs, t, k, errors, subject.forced_draws, generator)
            difference = float(mean[t, k]) - value
            z = difference / math.hypot(own, float(error[t, k]))
            scores[kind].append(z)
            yield (
                f"| {kind} | {t} | {subject.labels.names[k]!r} | {probs[t, k]:.2e} | "
                f"{mean[t, k]:.3e} ± {error[t, k]:.0e} | {value:.3e} ± {own:.0e} | {z:.2f} |"
            )
    yield ""
    for kind, found in scores.items():
        yield f"{kind}: {summary(found)}"
    yield f"all: {summary(scores['largest'] + scores['random'])}"


def mean_gradient(log_probs: Tensor, text: str, subject: Subject) -> tuple[Tensor, Tensor]:
    """(T, V) mean of the estimator's gradient by the logits, and its standard error."""
    total, squares, done = torch.zeros_like(log_probs), torch.zeros_like(log_probs), 0
    while done < subject.draws:
        size = min(BLOCK, subject.draws - done)
        logits = log_probs.expand(size, -1, -1).clone().requires_grad_()
        losses = expected_loss(
            logits.log_softmax(dim=-1),
            torch.full((size,), len(log_probs)),
            [text] * size,
            labels=subject.labels,
        )
        (gradient,) = torch.autograd.grad(losses.sum(), logits)
        total += gradient.sum(dim=0)
        squares += gradient.square().sum(dim=0)
        done += size
    mean = total / done
    return mean, ((squares / done - mean.square()).clamp(min=0) / (done - 1)).sqrt()


class TranscriptErrors:
    """The word error rates of alignments, each read as text; those met before are remembered."""

    def __init__(self, labels: Labels, reference: str) -> None:
        self._labels = labels
        self._reference = words(normalize_text(reference))
        self._known: dict[bytes, float] = {}

    def __call__(self, alignments: NDArray[np.int64]) -> NDArray[np.float64]:
        """(N,) of alignments (N, T)."""
        kept = alignments != self._labels.blank
        kept[:, 1:] &= alignments[:, 1:] != alignments[:, :-1]
        rates = np.empty(len(alignments))
        for index, (alignment, emits) in enumerate(zip(alignments, kept, strict=True)):
            tokens = alignment[emits]
            name = tokens.tobytes()
            if name not in self._known:
                said = words(normalize_text(self._labels.decode(tokens.tolist())))
                self._known[name] = count_edits(self._reference, said).errors / len(self._reference)
            rates[index] = self._known[name]
        return rates


def forced_derivative(
    probs: Tensor, t: int, k: int, errors: TranscriptErrors, count: int, generator: torch.Generator
) -> tuple[float, float]:
    """The derivative by the logit of a label at a frame and its standard error."""
    others = probs.clone()
    others[t, k] = 0
    scale = float(probs[t, k] * others[t].sum())
    without = errors(torch.multinomial(others, count, True, generator=generator).t().numpy())
    forced = torch.multinomial(probs, count, True, generator=generator).t().numpy()
    forced[:, t] = k
    with_label = errors(forced)
    variance = (with_label.var(ddof=1) + without.var(ddof=1)) / count
    return scale * float(with_label.mean() - without.mean()), scale * math.sqrt(variance)


def summary(scores: Sequence[float]) -> str:
    """What z should look like, beside what it does."""
    total = sum(z * z for z in scores)
    half = torch.tensor([len(scores) / 2, total / 2], dtype=torch.float64)
    above = float(torch.special.gammaincc(half[0], half[1]))
    beyond = sum(abs(z) > 2 for z in scores)
    return (
        f"{len(scores)} checks, largest |z| {max(map(abs, scores)):.2f}, beyond 2: {beyond}, "
        f"sum of squares {total:.1f} (one as large by chance: {above:.2f})"
    )


def measure_noise(subject: Subject) -> Iterator[str]:
    """Signal by noise of the gradient by the weights."""
    yield "| batch | estimator | samples | mean gradient | noise | signal | cosine to the mean |"
    yield "|---|---|---|---|---|---|---|"
    for number, utterances in enumerate(subject.chosen()):
        batch = subject.batch(utterances)
        texts = [utterance.text for utterance in utterances]
        gradients = Gradients(subject, batch, texts)
        mean = gradients.of_weights(gradients.mean())
        length = float(mean.norm())
        for estimator, samples in ESTIMATORS:
            criterion = criterion_of(subject.labels, estimator, samples)
            squares = []
            for _ in range(NOISE_DRAWS):
                drawn = gradients.of_weights(gradients.of_scores(criterion))
                squares.append(float((drawn - mean).square().sum()))
            noise = statistics.fmean(squares)
            spread = statistics.stdev(squares) / noise / math.sqrt(len(squares))
            signal, cosine = length**2 / noise, length / math.sqrt(length**2 + noise)
            yield (
                f"| {number + 1} | {estimator} | {samples} | {length:.3f} | {math.sqrt(noise):.3f} "
                f"| {signal:.3g} ± {100 * spread:.0f} % | {cosine:.2f} |"
            )
        for size in (5, 20):
            listed = gradients.of_scores(criterion_of(subject.labels, "nbest", size))
            own = gradients.of_weights(listed)
            cosine = float(torch.nn.functional.cosine_similarity(own, mean, dim=0))
            yield f"| {number + 1} | nbest | {size} | {own.norm():.3f} | 0 | | {cosine:.2f} |"


class Gradients:
    """Of the mean loss of one batch, by scores and by weights."""

    def __init__(self, subject: Subject, batch: Batch, texts: Sequence[str]) -> None:
        self._batch, self._texts = batch, texts
        self._labels = subject.labels
        self._weights = [weight for weight in subject.model.parameters() if weight.requires_grad]
        self._scores, self._lengths = subject.model(batch.waveforms, batch.waveform_lengths)

    def of_scores(self, criterion: ExpectedErrorCriterion) -> Tensor:
        """(B, T, V) by the log-probabilities, of one draw."""
        leaf = self._scores.detach().clone().requires_grad_()
        losses = criterion(leaf, self._lengths, self._batch, self._texts)
        return torch.autograd.grad(losses.mean(), leaf)[0]

    def mean(self) -> Tensor:
        """(B, T, V) of many draws."""
        criterion = criterion_of(self._labels, "exchange", 20)
        return (
            sum((self.of_scores(criterion) for _ in range(MEAN_DRAWS)), torch.zeros(()))
            / MEAN_DRAWS
        )

    def of_weights(self, of_scores: Tensor) -> Tensor:
        """All weights' as one vector."""
        each = torch.autograd.grad(self._scores, self._weights, of_scores, retain_graph=True)
        return torch.cat([gradient.flatten() for gradient in each])


def criterion_of(labels: Labels, estimator: str, samples: int) -> ExpectedErrorCriterion:
    """As a recipe has it."""
    config = {"name": "expected_wer", "estimator": estimator, "num_samples": samples}
    return ExpectedErrorCriterion(ExpectedWERConfig.model_validate(config), labels)


def measure_floor(subject: Subject) -> Iterator[str]:
    """What a floor saves and costs."""
    skipped: dict[float, list[float]] = {floor: [] for floor in FLOORS}
    wrong: dict[float, list[float]] = {floor: [] for floor in FLOORS}
    seconds: dict[float, list[float]] = {floor: [] for floor in FLOORS}
    for seed, utterances in enumerate(subject.chosen()):
        batch = subject.batch(utterances)
        with torch.no_grad():
            log_probs, lengths = subject.model(batch.waveforms, batch.waveform_lengths)
        inside = torch.arange(log_probs.shape[1]) < lengths[:, None]
        exact = torch.zeros(())
        for floor in FLOORS:
            logits = log_probs.clone().requires_grad_()
            begun = time.perf_counter()
            losses = expected_loss(
                logits.log_softmax(dim=-1),
                lengths,
                [utterance.text for utterance in utterances],
                labels=subject.labels,
                loss=text_loss("wer"),
                generator=torch.Generator().manual_seed(seed),
                probability_floor=floor,
            )
            (gradient,) = torch.autograd.grad(losses.mean(), logits)
            seconds[floor].append((time.perf_counter() - begun) / len(utterances))
            exact = gradient if floor == 0 else exact
            wrong[floor].append(float((gradient - exact).norm() / exact.norm()))
            skipped[floor].append(float((log_probs.exp()[inside] < floor).float().mean()))
    yield "| floor | left out | error of the gradient | largest | a function, ms an utterance |"
    yield "|---|---|---|---|---|"
    for floor in FLOORS:
        yield (
            f"| {floor:g} | {100 * statistics.fmean(skipped[floor]):.1f} % "
            f"| {100 * statistics.fmean(wrong[floor]):.2g} % | {100 * max(wrong[floor]):.2g} % "
            f"| {1e3 * statistics.median(seconds[floor]):.0f} |"
        )


MEASUREMENTS: dict[str, Callable[[Subject], Iterator[str]]] = {
    "forced": measure_forced,
    "noise": measure_noise,
    "floor": measure_floor,
}


def subject_of(recognizer: Recognizer, options: argparse.Namespace) -> Subject:
    """A bundle and a manifest."""
    tokenizer, model = recognizer.tokenizer, recognizer.model
    if not isinstance(model, CTCModel):
        raise SystemExit(f"{recognizer.folder}: is a transducer, which has no CTC posteriors")
    return Subject(
        model,
        labels_of(tokenizer.pieces, tokenizer.symbols),
        read_manifest(options.manifest),
        AudioReader(recognizer.sample_rate, cache_bytes=0),
        tokenizer.encode,
        options.draws,
        options.forced_draws,
        options.frames,
        options.batches,
    )


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--only", nargs="*", choices=MEASUREMENTS, default=list(MEASUREMENTS))
    parser.add_argument("--draws", type=int, default=20_000)
    parser.add_argument("--forced-draws", type=int, default=10_000)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--batches", type=int, default=3)
    options = parser.parse_args()
    torch.manual_seed(1)
    subject = subject_of(load(options.bundle, device="cpu"), options)
    for name in options.only:
        print(f"\n{name}:\n", flush=True)
        for line in MEASUREMENTS[name](subject):
            print(line, flush=True)


if __name__ == "__main__":
    main()
