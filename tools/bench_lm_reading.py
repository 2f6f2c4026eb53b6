"""Reading an n-gram model, starting with it again, and asking it, beside the `kenlm` package.

    python tools/bench_lm_reading.py model.arpa sentences.txt [--sentences 20000]

Every step runs in a process of its own, after the loops are compiled, with a cache of its own in a
temporary folder. Processor time stands beside wall time: other programs disturb it less. Queries
are the words of the text in their order, as a search asks them, and random words in the contexts of
the text, where nearly every access misses the processor's cache. A call of the `kenlm` package
costs some time in Python; its `score` of a sentence loops in C++, but looks the words up as well.
"""

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from asr.lm import cache
from asr.lm.loading import load_lm
from asr.lm.ngram import NgramModel, score_word
from asr.lm.perplexity import perplexity
from asr.lm.text import read_sentences

TINY = (
    "\\data\\\nngram 1=3\nngram 2=1\n\n\\1-grams:\n-1\t<unk>\n-1\t<s>\n-1\t</s>\n\n"
    "\\2-grams:\n-1\t<s> </s>\n\n\\end\\\n"
)
LN10 = float(np.log(10))


@dataclass
class Watch:
    """Time since it was made."""

    wall: float = field(default_factory=time.perf_counter)
    cpu: float = field(default_factory=time.process_time)

    def seconds(self) -> str:
        """For a table."""
        wall, cpu = time.perf_counter() - self.wall, time.process_time() - self.cpu
        return f"{wall:8.3f} s wall {cpu:8.3f} s processor"

    def each(self, count: int) -> str:
        """Per query, for a table."""
        wall, cpu = time.perf_counter() - self.wall, time.process_time() - self.cpu
        return f"{wall / count * 1e9:8.0f} ns wall {cpu / count * 1e9:8.0f} ns processor"


def alone(function: Callable[..., Any], *arguments: object) -> Any:
    """What a function gives in a new process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def compile_loops(path: Path) -> None:
    """Leave the compiled loops in numba's cache."""
    cache.SMALL_BYTES = 0
    for _ in range(2):
        perplexity(load_lm(path).open(), [["a"]])


def ours(path: Path) -> str:
    """Time and memory of `load_lm`."""
    watch = Watch()
    load_lm(path)
    return f"{watch.seconds()}, peak {peak()}"


def ours_with_words(path: Path) -> str:
    """The same, with the words as a dictionary."""
    watch = Watch()
    model = load_lm(path)
    model.word_ids(["A"])
    return f"{watch.seconds()}, peak {peak()}"


def theirs(path: Path) -> str:
    """Time and memory of the `kenlm` package."""
    import kenlm  # type: ignore[import-not-found]

    watch = Watch()
    kenlm.Model(str(path))
    return f"{watch.seconds()}, peak {peak()}"


def peak() -> str:
    """The most memory that this process had."""
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB"


def queries(path: Path, text: Path, num_sentences: int) -> str:
    """A table of time per query, and how far the two differ."""
    import kenlm

    model = load_lm(path)
    if not isinstance(model, NgramModel):
        raise SystemExit(f"{path}: give an ARPA file")
    reference = kenlm.Model(str(path))
    sentences = list(islice(read_sentences(text), num_sentences))
    rows = [*text_queries(model, reference, sentences)]
    rows += random_queries(model, reference, sentences)
    return "\n".join(rows)


def text_queries(model: NgramModel, reference: Any, sentences: list[list[str]]) -> list[str]:
    """All words of the text, and the ends of sentences."""
    ids = [np.append(model.word_ids(sentence), model.eos) for sentence in sentences]
    words = np.concatenate(ids)
    ends = np.cumsum([len(sentence) for sentence in ids])
    chain(model.automaton, model.start(), words[:10], ends[:0])
    lines = [" ".join(sentence) for sentence in sentences]
    watch = Watch()
    total = chain(model.automaton, model.start(), words, ends)
    rows = [f"text, compiled loop   {watch.each(len(words))}"]
    watch = Watch()
    found = sum(reference.score(line) for line in lines)
    rows.append(f"text, kenlm score     {watch.each(len(words))}")
    watch = Watch()
    result = perplexity(model, sentences)
    rows.append(f"text, perplexity      {watch.each(len(words))}; {result.perplexity:.3f}")
    difference = abs(total / LN10 - found) / len(words)
    rows.append(f"{len(words)} words; the mean log10 probabilities differ by {difference:.1e}")
    return rows


def random_queries(model: NgramModel, reference: Any, sentences: list[list[str]]) -> list[str]:
    """A random word after each word of the text."""
    import kenlm

    states, theirs = contexts(model, reference, sentences)
    words = np.random.default_rng(1).integers(0, model.counts[0], len(states)).astype(np.int32)
    names = [model.words[word] for word in words]
    scatter(model.automaton, states[:10], words[:10])
    watch = Watch()
    scores = scatter(model.automaton, states, words)
    rows = [f"random, compiled loop {watch.each(len(words))}"]
    watch = Watch()
    model.score(states, words)
    rows.append(f"random, batched score {watch.each(len(words))}")
    after = kenlm.State()
    watch = Watch()
    found = [
        reference.BaseScore(state, name, after) for state, name in zip(theirs, names, strict=True)
    ]
    rows.append(f"random, kenlm calls   {watch.each(len(words))}")
    difference = np.abs(scores / LN10 - np.array(found)).max()
    rows.append(f"{len(words)} queries; the log10 probabilities differ by up to {difference:.1e}")
    return rows


def contexts(
    model: NgramModel, reference: Any, sentences: list[list[str]]
) -> tuple[NDArray[np.int32], list[Any]]:
    """The states after each word of the text, of both models, in random order."""
    import kenlm

    own, theirs = [], []
    for sentence in sentences:
        state = np.array([model.start()], dtype=np.int32)
        before = kenlm.State()
        reference.BeginSentenceWrite(before)
        for word in sentence:
            _, state = model.score(state, model.word_ids([word]))
            after = kenlm.State()
            reference.BaseScore(before, word, after)
            before = after
            own.append(int(state[0]))
            theirs.append(after)
    shuffled = np.random.default_rng(0).permutation(len(own))
    return np.array(own, dtype=np.int32)[shuffled], [theirs[place] for place in shuffled]


@njit(nogil=True)
def chain(automaton, start, words, ends):  # type: ignore[no-untyped-def]
    """The sum of the log-probabilities of sentences that lie one after the other."""
    total, place = 0.0, 0
    for end in ends:
        state = start
        while place < end:
            log_prob, state = score_word(automaton, state, words[place])
            total += log_prob
            place += 1
    return total


@njit(nogil=True)
def scatter(automaton, states, words):  # type: ignore[no-untyped-def]
    """The log-probability of a word after each state."""
    log_probs = np.empty(len(words), np.float64)
    for k in range(len(words)):
        log_probs[k], _ = score_word(automaton, states[k], words[k])
    return log_probs


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("model", type=Path, help="an ARPA file")
    parser.add_argument("text", type=Path, help="sentences to ask for, one a line")
    parser.add_argument("--sentences", type=int, default=20_000, help="how many of them")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        tiny = Path(folder) / "tiny.arpa"
        tiny.write_text(TINY, encoding="utf-8")
        alone(compile_loops, tiny)
        steps = (("first reading", ours), ("second start", ours), ("third start", ours))
        for name, step in (*steps, ("with words", ours_with_words), ("kenlm", theirs)):
            print(f"{name:14}", alone(step, options.model), flush=True)
        print(alone(queries, options.model, options.text, options.sentences))


if __name__ == "__main__":
    main()
