"""The expected loss in plain Python: every transcript is spelled and scored from the beginning."""

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby, product, zip_longest

import numpy as np
import torch
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein
from torch import Tensor

from asr.data.labels import Labels, read_labels

Alignment = Sequence[int]
PlainLoss = Callable[[str, str], float]

ALPHABETS = {
    "characters": read_labels([" ", "a", "b", "c", "-"], blank=4),
    "pieces": read_labels(["-", "▁a", "a", "b", "▁", "ab", "▁b", "<s>"]),
    "several letters": read_labels(["-", "a", "b", " ", "ba", "aab"]),
    "two spaces": read_labels(["a", " ", "-", "b", "|", "<unk>"], blank=2),
    "one word": read_labels(["a", "-", "b"], blank=1),
    "phones": read_labels(["▁a", "▁b", "-", "▁ab", "▁c"], blank=2),
}
# Where a label's text is not what it adds to a transcript.
COMPOSING = {
    "accents": read_labels(["-", "e", "\u0301", " ", "a"]),
    "jamo": read_labels(["-", "\u1112", "\u1161", "\u11ab", " "]),
    "white space": read_labels(["-", "a", "a b", "b", "▁"]),
    "composed later": read_labels(["-", "▁e\u0301", "e", "\u00e9"]),
}


def transcript(alignment: Alignment, labels: Labels) -> str:
    """The text of an alignment: repeats are merged, then blanks removed."""
    return labels.decode([k for k, _ in groupby(alignment) if k != labels.blank])


def words_of(text: str) -> list[str]:
    return unicodedata.normalize("NFC", text).split()


def word_errors(hypothesis: str, reference: str) -> float:
    return Levenshtein.distance(words_of(reference), words_of(hypothesis))


def character_errors(hypothesis: str, reference: str) -> float:
    return Levenshtein.distance(" ".join(words_of(reference)), " ".join(words_of(hypothesis)))


def early_errors(hypothesis: str, reference: str) -> float:
    """No error rate: places that differ, of which early ones count more; sums are exact."""
    pairs = zip_longest(hypothesis, reference)
    return sum(2.0**-place for place, (one, other) in enumerate(pairs) if one != other)


LOSSES: dict[str, PlainLoss] = {
    "wer": word_errors,
    "cer": character_errors,
    "function": early_errors,
}


def loss_argument(name: str) -> str | PlainLoss:
    """What `expected_loss` is given for one of `LOSSES`."""
    return LOSSES[name] if name == "function" else name


def divisor(name: str, reference: str) -> int:
    """What the errors are divided by."""
    units = {"wer": words_of(reference), "cer": " ".join(words_of(reference)), "function": "1"}
    return max(1, len(units[name]))


def losses_with_each_label(
    alignment: Alignment, reference: str, labels: Labels, loss: PlainLoss
) -> NDArray[np.float64]:
    """(T, V) losses of an alignment with label k at frame t."""
    losses = np.empty((len(alignment), len(labels)))
    for t, k in np.ndindex(losses.shape):
        changed = [*alignment[:t], k, *alignment[t + 1 :]]
        losses[t, k] = loss(transcript(changed, labels), reference)
    return losses


def changes(
    alignments: NDArray[np.int64], reference: str, labels: Labels, loss: PlainLoss
) -> tuple[NDArray[np.float64], list[float]]:
    """(T, V) what each label changes, summed over (S, T) alignments; and their S losses."""
    samples = alignments.tolist()
    own = [loss(transcript(sample, labels), reference) for sample in samples]
    every = [losses_with_each_label(sample, reference, labels, loss) for sample in samples]
    return sum(every) - sum(own), own


def centred(probs: Tensor, mean_losses: Tensor) -> Tensor:
    """(T, V) gradient for the logits from (T, V) mean losses with each label: A5's formula."""
    return probs * (mean_losses - (probs * mean_losses).sum(dim=-1, keepdim=True))


def gradient(
    probs: Tensor, alignments: Tensor, reference: str, labels: Labels, loss: PlainLoss
) -> Tensor:
    """(T, V) estimated from (S, T) alignments, not divided by the length of the reference."""
    every = [losses_with_each_label(a, reference, labels, loss) for a in alignments.tolist()]
    return centred(probs, torch.from_numpy(np.mean(every, axis=0)))


def every_alignment(frames: int, labels: Labels) -> Tensor:
    """(V ** T, T) labels."""
    return torch.tensor(list(product(range(len(labels)), repeat=frames)))


def path_probs(log_probs: Tensor, alignments: Tensor) -> Tensor:
    """(A,) probabilities of (A, T) alignments, as a function of (T, V) scores."""
    return log_probs[torch.arange(len(log_probs)), alignments].sum(dim=1).exp()


def path_losses(alignments: Tensor, reference: str, labels: Labels, loss: PlainLoss) -> Tensor:
    """(A,) float64."""
    texts = [transcript(alignment, labels) for alignment in alignments.tolist()]
    return torch.tensor([loss(text, reference) for text in texts], dtype=torch.float64)


def enumerated(
    log_probs: Tensor, reference: str, labels: Labels, loss: PlainLoss
) -> tuple[float, Tensor]:
    """The expected loss of (T, V) scores, and its gradient for the logits by autograd."""
    logits = log_probs.detach().clone().requires_grad_()
    alignments = every_alignment(len(logits), labels)
    losses = path_losses(alignments, reference, labels, loss)
    expected = (path_probs(logits.log_softmax(dim=-1), alignments) * losses).sum()
    expected.backward()
    return expected.item(), logits.grad


def random_log_probs(*shape: int, seed: int = 0) -> Tensor:
    logits = 2 * torch.randn(*shape, dtype=torch.float64, generator=seeded(seed))
    return logits.log_softmax(dim=-1)


def seeded(seed: int = 0, device: str = "cpu") -> torch.Generator:
    return torch.Generator(device).manual_seed(seed)


def random_cases(
    labels: Labels, count: int, seed: int = 0
) -> Iterator[tuple[NDArray[np.int64], str]]:
    """Alignments (S, T) and a reference, of random words or of something like what they spell."""
    random = np.random.default_rng(seed)
    size = len(labels)
    for case in range(count):
        shape = (random.integers(1, 4), random.integers(1, 10))
        alignments = random.choice(size, shape, p=random.dirichlet(np.ones(size)))
        if case % 2:
            lengths = random.integers(1, 4, size=random.integers(0, 5))
            reference = " ".join("".join(random.choice(list("abc"), n)) for n in lengths)
        else:
            near = np.where(random.random(shape[1]) < 0.3, labels.blank, alignments[0])
            reference = transcript(near.tolist(), labels)
        yield alignments, reference


def agree(draws: Tensor, exact: Tensor) -> bool:
    """Whether the mean of N draws (N, …) is within four standard errors of what it should be."""
    error = draws.std(dim=0) / len(draws) ** 0.5
    return bool(((draws.mean(dim=0) - exact).abs() <= 4 * error + 1e-12).all())
