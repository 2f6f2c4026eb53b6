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
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from asr.models.lstm import RecurrentStack
from asr.objectives.character_exchange import exchange_characters
from asr.objectives.exchange import differs, exchanges
from asr.objectives.expected_wer import expected_loss
from asr.objectives.sampling import sample_alignments
from asr.objectives.transcripts import ReferenceCharacters, ReferenceWords, spelling_of
from asr.objectives.word_exchange import exchange_words
from tools.expected_wer_cases import BATCH, FRAMES, Case, lengths
from tools.naive_expected_wer import naive, naive_references

LAYERS, HIDDEN, INPUTS = 3, 256, 240

Run = Callable[[], object]
Times = Mapping[str, Sequence[tuple[float, float]]]  # wall and processor seconds, by repetition


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
