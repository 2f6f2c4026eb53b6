"""Our beam search beside pyctcdecode and flashlight-text, and what it takes by itself.

    .venv-peers/bin/python -m tools.bench_decoder scores.npz labels.txt test.jsonl trigram.arpa \
        [--binary trigram.bin] [--only open lexicon threads plain memory start] [--repeats 5]

From the repository's root, in the environment of `constraints-peers.txt`. `scores.npz` has an array
(T, V) of natural log-probabilities for each id of the manifest; the labels are one a line, the
blank first. Every comparison runs in a process of its own, on one thread but for `threads`. Its
candidates take turns at all utterances, so a busy machine slows all. A table gives milliseconds for
an utterance (median over the repeats, and the smallest), ratios to the first row, the same of the
processor's time, and microseconds for a frame (median wall time). Then come the word error rate and
the mean total of the texts found: what all of them maximise, worked out exactly and alike for all,
with the numbers of utterances where it is higher and lower than that of the first row. The first
total counts one space between two words, the second sums over all numbers of spaces, also around
the text: pyctcdecode, flashlight-text, and ours without a lexicon let them differ.

- open: any word may be said; against pyctcdecode, with its own thresholds.
- lexicon: only words of the language model, or of --lexicon; against flashlight-text.
- threads: ours, many utterances in one call.
- plain: ours without a language model.
- memory: ours, beyond the language model itself, for one long utterance.
- start: ours, whole processes up to a first hypothesis.
"""

import argparse
import ctypes
import gc
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import cycle, islice
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from asr.decoding.beam import BeamLimits, BeamSearch
from asr.decoding.lexicon import read_lexicon, unspellable
from asr.scoring.error_rate import score_corpus
from tools import decoder_peers as peers
from tools.decoder_peers import Material, Objective, Scores, Search

UNKNOWN_PENALTY = 10 * peers.LN10  # pyctcdecode's unk_score_offset of -10, in nats
MARGIN = 0.01  # nats that a total must be apart from another to count as different
LONG_SECONDS = 35.0
BATCH = 64

Times = Mapping[str, list[tuple[float, float]]]  # wall and processor seconds, for each repeat
FIRST_HYPOTHESIS = """
import sys
from pathlib import Path
import numpy as np
from asr.decoding.beam import BeamSearch
from asr.lm.loading import load_lm
scores, key, labels, *arpa = sys.argv[1:]
lm = load_lm(Path(arpa[0])) if arpa else None
search = BeamSearch(labels.split("\\n"), lm=lm)
print(search.decode(np.load(scores)[key][None])[0].text)
"""


def compare_open(material: Material, options: argparse.Namespace) -> Iterable[str]:
    """Against pyctcdecode, which may drop hypotheses that the language model cannot tell apart."""
    lm, limits = material.lm(), BeamLimits(100, 10.0, -5.0)
    searches = {
        "pyctcdecode, decode": peers.pyctcdecode(material, lm.words, limits, prune_history=True),
        "pyctcdecode, all": peers.pyctcdecode(material, lm.words, limits, prune_history=False),
        "ours": peers.ours(material, lm, limits, unknown_penalty=UNKNOWN_PENALTY),
    }
    yield f"open: {limits}"
    yield from compared(searches, Objective(material, lm, UNKNOWN_PENALTY), options.repeats)


def compare_lexicon(material: Material, options: argparse.Namespace) -> Iterable[str]:
    """Against flashlight-text with few and with all labels, and narrow and wide thresholds."""
    lm, labels = material.lm(), BeamSearch(material.names).labels
    given = read_lexicon(options.lexicon) if options.lexicon else lm.words
    foreign = {"<s>", "</s>", "<unk>", *unspellable(given, labels)}
    words = [word for word in given if word not in foreign]
    for max_tokens in (len(material.labels), 10):
        for threshold in (50.0, 20.0):
            limits = BeamLimits(100, threshold, -np.inf, max_tokens)
            searches = {
                "flashlight, log_add": peers.flashlight(material, words, limits, log_add=True),
                "flashlight, max": peers.flashlight(material, words, limits, log_add=False),
                "ours": peers.ours(material, lm, limits, lexicon=words),
            }
            yield f"lexicon of {len(words)} words: {limits}"
            yield from compared(searches, Objective(material, lm, 0.0), options.repeats)


def compare_threads(material: Material, options: argparse.Namespace) -> Iterable[str]:
    """One thread against two, on one batch."""
    search = BeamSearch(material.names, lm=material.lm())
    chosen = list(islice(cycle(material.scores.values()), BATCH))
    lengths = [len(scores) for scores in chosen]
    batch = np.zeros((BATCH, max(lengths), len(material.labels)), dtype=np.float32)
    for row, scores in zip(batch, chosen, strict=True):
        row[: len(scores)] = scores

    def with_threads(count: int) -> Callable[[Scores], object]:
        return lambda scores: search.decode_nbest(scores, lengths, nbest=1, num_threads=count)

    runs = {"1 thread": with_threads(1), "2 threads": with_threads(2)}
    yield f"threads: {BATCH} utterances, {search.limits}"
    yield from table(take_turns(runs, [batch], options.repeats), BATCH, sum(lengths))


def compare_plain(material: Material, options: argparse.Namespace) -> Iterable[str]:
    """Ours without a language model."""
    limits = BeamLimits(beam_size=16)
    runs = {"ours": peers.ours(material, None, limits)}
    times = take_turns(runs, list(material.scores.values()), options.repeats)
    yield f"plain: {limits}"
    yield from table(times, len(material.scores), material.num_frames)
    seconds = statistics.median(wall for wall, _ in times["ours"])
    heard = material.num_frames * options.frame_seconds
    yield f"  real-time factor {seconds / heard:.5f} ({heard:.0f} s at {options.frame_seconds} s)"


def compare_memory(material: Material, options: argparse.Namespace) -> Iterable[str]:
    """Resident memory, first of the search itself and then while it decodes."""
    frames = [frame for scores in material.scores.values() for frame in scores]
    count = round(LONG_SECONDS / options.frame_seconds)
    scores = np.stack(list(islice(cycle(frames), count)))
    lm = material.lm()
    BeamSearch(material.names, lm=lm).decode(scores[None, :50])  # compiles and touches
    for array in lm.automaton:
        array.max()  # every page is resident
    size = sum(array.nbytes for array in lm.automaton) / 1e6
    yield f"memory: MB of {count} frames ({LONG_SECONDS:.0f} s), beam 100; the model has {size:.1f}"
    before = begin_peak()
    search = BeamSearch(material.names, lm=lm)
    yield f"  making the search: peak {peak() - before:.1f}"
    before = begin_peak()
    search.decode(scores[None])
    yield f"  decoding: peak {peak() - before:.1f}"


def compare_start(material: Material, options: argparse.Namespace) -> Iterable[str]:
    """Whole processes with an empty and with a filled cache of compiled functions."""
    key = min(material.scores, key=lambda name: len(material.scores[name]))
    arguments = [str(options.scores), key, "\n".join(material.names)]
    material.lm()  # leaves it in the cache of models
    frames = len(material.scores[key])
    yield f"start: seconds up to a first hypothesis ({frames} frames), wall, then processor"
    for name, rest in (("without model", []), ("with model", [str(material.arpa)])):
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-c", FIRST_HYPOTHESIS, *arguments, *rest]
            first, *later = (process(command, folder) for _ in range(options.repeats + 1))
        yield f"  {name:14} at first {spread([first])}, later {spread(later)}"
    imports = [sys.executable, "-c", "import asr.decoding.beam"]
    yield f"  {'imports alone':14} {spread([process(imports, '') for _ in range(options.repeats)])}"


COMPARISONS = {
    "open": compare_open,
    "lexicon": compare_lexicon,
    "threads": compare_threads,
    "plain": compare_plain,
    "memory": compare_memory,
    "start": compare_start,
}


def compared(searches: Mapping[str, Search], objective: Objective, repeats: int) -> Iterable[str]:
    """Times, error rates and totals."""
    material = objective.material
    found = {
        name: {key: search(scores) for key, scores in material.scores.items()}
        for name, search in searches.items()
    }
    times = take_turns(searches, list(material.scores.values()), repeats)
    yield from table(times, len(material.scores), material.num_frames)
    yield f"{'':24}{'WER %':>8}" + f"{'total':>12} higher lower" * 2
    totals = {
        name: np.array([objective.totals(key, text) for key, text in texts.items()])
        for name, texts in found.items()
    }
    first = next(iter(totals.values()))
    for name, texts in found.items():
        row = f"  {name:22}{100 * score_corpus(material.texts, texts).wer.rate:8.2f}"
        for own, base in zip(totals[name].T, first.T, strict=True):
            above, below = (own - base > MARGIN).sum(), (own - base < -MARGIN).sum()
            row += f"{own.mean():12.3f}{above:7}{below:6}"
        yield row


def take_turns(
    runs: Mapping[str, Callable[[Scores], object]], inputs: Sequence[Scores], repeats: int
) -> Times:
    """Time of each over all inputs, `repeats` times after once to warm up."""
    for run in runs.values():
        run(inputs[0])
    gc.collect()
    gc.freeze()  # else a collection in one would go through the dictionaries of another
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            begin = time.perf_counter(), time.process_time()
            for scores in inputs:
                run(scores)
            wall, cpu = time.perf_counter() - begin[0], time.process_time() - begin[1]
            times[name].append((wall, cpu))
    return times


def table(times: Times, num_utterances: int, num_frames: int) -> Iterable[str]:
    """Of times: milliseconds for an utterance with ratios to the first row."""
    kinds = "  ".join(f"{kind + ' ms':>9}      min  ratio   min" for kind in ("wall", "cpu"))
    yield f"{'':22}{kinds}  us/frame"
    first = next(iter(times.values()))
    for name, own in times.items():
        text = f"  {name:20}"
        for kind in range(2):
            seconds, base = [pair[kind] for pair in own], [pair[kind] for pair in first]
            ratio = statistics.median(a / b for a, b in zip(seconds, base, strict=True))
            middle, least = statistics.median(seconds), min(seconds)
            text += f"{middle / num_utterances * 1e3:9.2f}{least / num_utterances * 1e3:9.2f}"
            text += f"{ratio:7.3f}{least / min(base):6.3f}  "
        yield f"{text}{statistics.median(wall for wall, _ in own) / num_frames * 1e6:8.1f}"


def begin_peak() -> float:
    """Give freed memory back and count the peak anew; the resident memory now, in MB."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _status("VmRSS")


def peak() -> float:
    """The most resident memory since `begin_peak`, in MB."""
    return _status("VmHWM")


def _status(name: str) -> float:
    lines = Path("/proc/self/status").read_text(encoding="ascii").split("\n")
    return next(int(line.split()[1]) / 1e3 for line in lines if line.startswith(name))


def process(command: Sequence[str], kernels: str) -> tuple[float, float]:
    """Wall and processor seconds of a process.

    Args:
        command: the program and its arguments.
        kernels: where compiled functions are kept; "": in the usual place.
    """
    environment = {**os.environ, **({"NUMBA_CACHE_DIR": kernels} if kernels else {})}
    begun, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True, env=environment)  # noqa: S603
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - begun, cpu


def spread(seconds: Sequence[tuple[float, float]]) -> str:
    """Median and smallest of wall and of processor time."""
    wall, cpu = zip(*seconds, strict=True)
    middle, least = statistics.median(wall), min(wall)
    return f"{middle:.2f} (min {least:.2f}), {statistics.median(cpu):.2f} (min {min(cpu):.2f})"


def read_material(options: argparse.Namespace) -> Material:
    """The files of a command line."""
    archive, texts = np.load(options.scores), peers.read_texts(options.manifest)
    chosen = [key for key in texts if key in archive.files][: options.utterances]
    return Material(
        labels=peers.read_labels(options.labels),
        scores={key: np.ascontiguousarray(archive[key], dtype=np.float32) for key in chosen},
        texts={key: texts[key] for key in chosen},
        arpa=options.arpa,
        binary=options.binary or options.arpa,
        lm_weight=options.lm_weight,
        word_bonus=options.word_bonus,
    )


def run(name: str, options: argparse.Namespace) -> None:
    """One comparison, printed as it goes."""
    for line in COMPARISONS[name](read_material(options), options):
        print(line, flush=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("scores", type=Path)
    parser.add_argument("labels", type=Path)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("arpa", type=Path)
    parser.add_argument("--binary", type=Path, help="the same model for the peers; default: arpa")
    parser.add_argument("--lexicon", type=Path, help="default: the words of the model")
    parser.add_argument("--only", nargs="*", choices=COMPARISONS, default=list(COMPARISONS))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--utterances", type=int, help="only so many")
    parser.add_argument("--frame-seconds", type=float, default=0.03)
    parser.add_argument("--lm-weight", type=float, default=0.5)
    parser.add_argument("--word-bonus", type=float, default=1.5)
    options = parser.parse_args()
    for name in options.only:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            pool.submit(run, name, options).result()


if __name__ == "__main__":
    main()
