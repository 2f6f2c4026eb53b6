"""What the expected error rate costs beside the network it trains, and beside plain recomputation.

    OMP_NUM_THREADS=2 python -m tools.bench_expected_wer [--only share naive parts] [--repeats 7]

From the repository's root. 16 utterances of 400 frames with references of 60 characters, with 30
labels that are characters, or 500 pieces of words. Posteriors are made, not learned: `peaky` has
0.9 on an alignment of the reference, two thirds of it blank, and the rest spread unevenly over all
labels, so that a sample has some 40 other labels; that is harder than a trained model. `flat` is
the softmax of normal noise, harder yet. What is compared takes turns within a repetition. Numbers
are medians, of wall and of processor time, and of ratios within a repetition; where other programs
run, processor time is the one to look at.

- share: forward and backward of the objective down to the logits, by those of a 3 x 256 BLSTM on
  240 inputs with its output layer, on the same batch.
- naive: the compiled counts of errors by a compiled count that writes every label into every frame
  of every sample and compares whole transcripts. Both must find the same changes. Utterances run on
  as many threads in both.
- parts: where the objective's time goes, and for how many frames errors are counted.

The floor. The network has 4.2 million weights, thus 6 x 4.2e6 x 6400 frames = 160 GFLOP, which two
cores do in some 0.6 s. The objective with S samples asks for S x 6400 x V errors, 960,000 with 30
labels and 5 samples. For each, the naive count reads 400 frames, writes 60 characters and fills 12
x 12 cells of a table of words: 6e8 steps. What must be done at least is to draw 32,000 labels out
of 30 each, and to add an integer to 960,000 others: 1 or 2 ms. Between the two lies what is done:
errors are counted where a frame's neighbours differ from those of the frame before, for six frames
of ten, by ten passes over a row of the table: 20,000 x 10 x 12 = 2.4e6 cells.
"""

import argparse
import random
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from multiprocessing import get_context
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor, nn

from asr.data.labels import Labels, read_labels
from asr.data.text import normalize_text
from asr.models.lstm import RecurrentStack
from asr.objectives.character_exchange import exchange_characters
from asr.objectives.exchange import BEGINS, BOUNDARY, differs, exchanges
from asr.objectives.expected_wer import expected_loss
from asr.objectives.sampling import sample_alignments
from asr.objectives.transcripts import ReferenceCharacters, ReferenceWords, spelling_of
from asr.objectives.word_exchange import exchange_words

BATCH, FRAMES, CHARACTERS = 16, 400, 60
LAYERS, HIDDEN, INPUTS = 3, 256, 240
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
FREQUENT = "EEEEEETTTTTAAAAOOOOIIIINNNNSSSHHHRRRDDLLCUMWFGYPBVK"  # roughly as in English
SPACE = 32
WORD_LENGTHS = (1, 2, 2, 3, 3, 3, 4, 4, 5, 5, 6, 7, 8)

Kind = Literal["wer", "cer"]
Run = Callable[[], object]
Times = Mapping[str, Sequence[tuple[float, float]]]  # wall and processor seconds, by repetition


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


def network(num_labels: int) -> Run:
    """Forward and backward of the BLSTM and its output layer."""
    torch.manual_seed(1)
    stack, output = RecurrentStack(INPUTS, HIDDEN, LAYERS), nn.Linear(2 * HIDDEN, num_labels)
    features = torch.randn(BATCH, FRAMES, INPUTS)
    outgoing = torch.randn(BATCH, FRAMES, num_labels)

    def run() -> None:
        stack.zero_grad()
        output.zero_grad()
        output(stack(features, lengths())).backward(outgoing)

    return run


def objective(case: Case) -> Run:
    """Forward and backward of the loss, down to the logits."""
    logits, frames = case.logits.requires_grad_(), lengths()

    def run() -> None:
        logits.grad = None
        losses = expected_loss(
            logits.log_softmax(dim=-1),
            frames,
            case.references,
            labels=case.labels,
            num_samples=case.num_samples,
            loss=case.loss,
        )
        losses.mean().backward()  # type: ignore[no-untyped-call]

    return run


def references_of(case: Case) -> list[ReferenceWords] | list[ReferenceCharacters]:
    """As numbers, for the counts of the toolkit."""
    spelling = spelling_of(case.labels)
    if case.loss == "wer":
        return [spelling.reference_words(text) for text in case.references]
    return [spelling.reference_characters(text) for text in case.references]


class Reference(NamedTuple):
    """What `naive` compares with: numbers of words and the words, or code points."""

    as_words: bool
    units: NDArray[np.int64]
    begin: NDArray[np.int64]
    text: NDArray[np.int32]


def naive_references(case: Case) -> list[Reference]:
    """The references for `naive`."""
    if case.loss == "wer":
        spelling = spelling_of(case.labels)
        each = [spelling.reference_words(text) for text in case.references]
        return [Reference(True, words.words, words.begin, words.text) for words in each]
    nothing, texts = np.zeros(1, np.int64), map(normalize_text, case.references)
    codes = [np.array([ord(character) for character in text], np.int64) for text in texts]
    return [Reference(False, units, nothing, nothing.astype(np.int32)) for units in codes]


def counted(
    case: Case, count: Any, references: Sequence[Any], utterances: int = BATCH
) -> Callable[[], NDArray[np.float32]]:
    """The changes (B, T, V) of the first utterances, by a compiled count."""
    labels, blank = spelling_of(case.labels).labels, case.labels.blank

    def run() -> NDArray[np.float32]:
        changes = np.zeros((utterances, FRAMES, case.num_labels), np.float32)
        errors = np.empty((utterances, case.num_samples))

        def one(b: int) -> None:
            count(case.samples[b], blank, labels, references[b], changes[b], errors[b])

        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            list(pool.map(one, range(utterances)))
        return changes

    return run


def ours(case: Case, utterances: int = BATCH) -> Callable[[], NDArray[np.float32]]:
    """The changes by the toolkit."""
    count = exchange_words if case.loss == "wer" else exchange_characters
    return counted(case, count, references_of(case), utterances)


@njit(nogil=True)
def naive(alignments, blank, labels, reference, changes, errors):  # type: ignore[no-untyped-def]
    """As `exchange_words` and `exchange_characters`, from a transcript for each label and frame.

    Args:
        alignments: (S, T) labels.
        blank: the label that stands for no token.
        labels: `LabelTexts`.
        reference: `Reference`.
        changes: (T, V), added to.
        errors: (S,), filled.
    """
    longest = 2 * len(labels.text) * alignments.shape[1]
    memory = np.empty(longest, np.int64), np.empty(longest, np.int64), np.empty((2, 999), np.int32)
    for s in range(len(alignments)):
        changed = alignments[s].copy()
        errors[s] = _errors(changed, blank, labels, reference, memory)
        for t in range(len(changed)):
            kept = changed[t]
            for k in range(changes.shape[1]):
                changed[t] = k
                changes[t, k] += _errors(changed, blank, labels, reference, memory) - errors[s]
            changed[t] = kept


@njit(nogil=True)
def _errors(alignment, blank, labels, reference, memory):  # type: ignore[no-untyped-def]
    text, numbers, rows = memory
    written = _spell(alignment, blank, labels, text)
    if reference.as_words:
        count = _number(text[:written], reference, numbers)
        return _distance(numbers[:count], reference.units, rows)
    return _distance(text[:written], reference.units, rows)


@njit(nogil=True)
def _spell(alignment, blank, labels, text):  # type: ignore[no-untyped-def]
    """The code points of an alignment, with single spaces; how many."""
    written, before, ended = 0, blank, False
    for k in alignment:
        if k not in (blank, before):
            ended |= labels.kind[k] in (BEGINS, BOUNDARY)
            for c in range(labels.begin[k], labels.begin[k + 1]):
                if ended and written:
                    text[written] = SPACE
                    written += 1
                text[written] = labels.text[c]
                written += 1
                ended = False
        before = k
    return written


@njit(nogil=True)
def _number(text, reference, numbers):  # type: ignore[no-untyped-def]
    """The numbers of the words of a text, -1 for those that the reference lacks; how many."""
    count = begin = 0
    for end in range(len(text) + 1):
        if begin < end and (end == len(text) or text[end] == SPACE):
            numbers[count] = -1
            for d in range(len(reference.begin) - 1):
                first = reference.begin[d]
                if reference.begin[d + 1] - first == end - begin:
                    same = 0
                    while same < end - begin and reference.text[first + same] == text[begin + same]:
                        same += 1
                    if same == end - begin:
                        numbers[count] = d
            count += 1
            begin = end + 1
    return count


@njit(nogil=True)
def _distance(hypothesis, reference, rows):  # type: ignore[no-untyped-def]
    """Levenshtein's distance, with two rows."""
    now, following = rows[0], rows[1]
    for m in range(len(reference) + 1):
        now[m] = m
    for unit in hypothesis:
        following[0] = now[0] + 1
        for m in range(len(reference)):
            pair = now[m] + (reference[m] != unit)
            following[m + 1] = min(pair, now[m + 1] + 1, following[m] + 1)
        now, following = following, now
    return now[len(reference)]


def measure_share(repeats: int) -> Iterator[str]:
    """The objective by the network."""
    small = [
        Case(loss, posteriors, num_samples=samples)
        for loss in ("wer", "cer")
        for posteriors in ("peaky", "flat")
        for samples in (1, 5, 20)
    ]
    large = [Case(loss, kind, 500) for loss in ("wer", "cer") for kind in ("peaky", "flat")]
    for cases in (small, large):
        runs = {"BLSTM": network(cases[0].num_labels)} | {str(c): objective(c) for c in cases}
        times = take_turns(warm(runs), repeats)
        yield from table(times, "by BLSTM", lambda by: f"{100 * by:.1f} %")


def measure_naive(repeats: int) -> Iterator[str]:
    """The counts by each other; the same changes or an error."""
    for case, utterances in (
        (Case("wer", num_samples=1), BATCH),
        (Case("wer"), BATCH),
        (Case("wer", num_samples=20), BATCH),
        (Case("wer", "flat"), BATCH),
        (Case("wer", num_labels=500), 2),
        (Case("cer"), 4),
        (Case("cer", "flat"), 2),
        (Case("cer", num_labels=500), 2),
    ):
        runs = {
            "naive": counted(case, naive, naive_references(case), utterances),
            "ours": ours(case, utterances),
        }
        np.testing.assert_array_equal(runs["naive"](), runs["ours"]())
        times = take_turns(runs, max(3, repeats // 2))
        yield f"{case}; {utterances} utterances; equal changes"
        yield from table(times, "faster", lambda by: f"{1 / by:.1f} x")


def measure_parts(repeats: int) -> Iterator[str]:
    """Pieces of the objective."""
    for case in (Case("wer"), Case("wer", "flat"), Case("cer"), Case("wer", num_labels=500)):
        scores = case.logits.log_softmax(dim=-1)
        probs = scores.exp()
        changes = torch.from_numpy(ours(case)())
        runs: dict[str, Run] = {
            "all": objective(case),
            "drawing alignments": partial(
                sample_alignments, scores, lengths(), case.num_samples, None
            ),
            "references as numbers": partial(references_of, case),
            "counting errors": ours(case),
            "centring, gradient": partial(centred, probs, changes),
            "log-softmax, there and back": softmax_alone(case),
        }
        yield f"{case}: errors counted for {places(case):.0%} of the frames of a sample"
        yield from table(take_turns(warm(runs), repeats), "of all", lambda by: f"{by:.2f}")


def centred(probs: Tensor, changes: Tensor) -> Tensor:
    """What the objective does with its counts."""
    own = changes - (probs * changes).sum(dim=-1, keepdim=True)
    return probs * own / torch.ones(BATCH, 1, 1)


def softmax_alone(case: Case) -> Run:
    """The part of forward and backward that any loss has."""
    logits, outgoing = case.logits.detach().clone().requires_grad_(), torch.ones_like(case.logits)
    return lambda: logits.log_softmax(dim=-1).backward(outgoing)  # type: ignore[no-untyped-call]


def places(case: Case) -> float:
    """The share of frames with other outcomes than the frame before."""
    found = total = 0
    for sample in case.samples.reshape(-1, FRAMES):
        _, where = exchanges(sample, case.labels.blank)
        found += sum(t == 0 or bool(differs(where, t)) for t in range(FRAMES))
        total += FRAMES
    return found / total


MEASUREMENTS: dict[str, Callable[[int], Iterator[str]]] = {
    "share": measure_share,
    "naive": measure_naive,
    "parts": measure_parts,
}


def warm(runs: Mapping[str, Run]) -> Mapping[str, Run]:
    """Each run once, so that what is compiled, is."""
    for run in runs.values():
        run()
    return runs


def take_turns(runs: Mapping[str, Run], repeats: int) -> Times:
    """Of each, wall and processor seconds, `repeats` times."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            begin = time.perf_counter(), time.process_time()
            run()
            end = time.perf_counter(), time.process_time()
            times[name].append((end[0] - begin[0], end[1] - begin[1]))
    return times


def table(times: Times, head: str, ratio: Callable[[float], str]) -> Iterator[str]:
    """Median and range in milliseconds, and the median of the ratios to the first row."""
    kinds = "".join(f"{kind:>9} ms      min {head:>9}" for kind in ("wall", "cpu"))
    yield f"  {'':34}{kinds}"
    first = next(iter(times.values()))
    for name, own in times.items():
        row = f"  {name:34}"
        for kind in range(2):
            seconds, base = [pair[kind] for pair in own], [pair[kind] for pair in first]
            middle = statistics.median(a / b for a, b in zip(seconds, base, strict=True))
            row += f"{1e3 * statistics.median(seconds):12.2f}{1e3 * min(seconds):9.2f}"
            row += f"{ratio(middle):>10}"
        yield row


def measure(name: str, repeats: int, threads: int) -> None:
    """Print one measurement as it goes."""
    torch.set_num_threads(threads)
    print(f"{name}:")
    for line in MEASUREMENTS[name](repeats):
        print(line, flush=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--only", nargs="*", choices=MEASUREMENTS, default=list(MEASUREMENTS))
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    print(f"{options.threads} threads, torch {torch.__version__}", flush=True)
    for name in options.only:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            pool.submit(measure, name, options.repeats, options.threads).result()


if __name__ == "__main__":
    main()
