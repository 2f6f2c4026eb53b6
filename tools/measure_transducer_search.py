"""How wide must a transducer's beam be, and how long does it take?

    python tools/measure_transducer_search.py exp/an4/transducer/best data/an4/test.jsonl

Prints a row for greedy decoding and for each beam: WER and CER; the share of utterances with a
search error, where the labels that were found are less probable than others that are known (found
with another beam, or the transcript), by the exact probability over all paths; by how many nats
the score of a beam falls short of that probability, on average and at most; and the real-time
factor on one core, utterances one at a time and in batches, without and with the encoder.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from asr.data.batching import AudioReader
from asr.data.labels import read_labels
from asr.data.manifest import Utterance, read_manifest
from asr.data.text import normalize_text
from asr.decoding.batch import Decoder, ScoredBatch, best_path_decoder, score_utterances
from asr.decoding.hypothesis import Hypothesis
from asr.decoding.transducer import TransducerLimits, TransducerSearch
from asr.decoding.transducer_alignment import transducer_log_prob
from asr.models.transducer import TransducerModel
from asr.recognizer import Recognizer, load
from asr.scoring.error_rate import score_corpus

BEAMS = (4, 8, 16, 100)
BATCH_SECONDS = 120.0
ALONE_SECONDS = 0.01  # shorter than any utterance: each is a batch
OTHERS = 0x4E00  # a long row of characters that are letters
ROUNDING = 1e-3  # nats, of float32 sums of hundreds


class Row(NamedTuple):
    """What one decoder found, and how long it took.

    Attributes:
        name: of the decoder.
        found: id → the best hypothesis.
        alone, together: seconds of processor time, utterances one at a time and in batches.
    """

    name: str
    found: dict[str, Hypothesis]
    alone: float
    together: float


class Bench:
    """The outputs of a network for a manifest, and how long they took."""

    def __init__(
        self, recognizer: Recognizer, model: TransducerModel, utterances: Sequence[Utterance]
    ) -> None:
        self.recognizer, self.utterances, self.model = recognizer, utterances, model
        self.alone, self.seconds_alone = self._encoded(ALONE_SECONDS)
        self.together, self.seconds_together = self._encoded(BATCH_SECONDS)

    def _encoded(self, batch_seconds: float) -> tuple[list[ScoredBatch], float]:
        begun = time.process_time()
        batches = list(
            score_utterances(
                self.model,
                self.utterances,
                reader=AudioReader(self.recognizer.sample_rate, cache_bytes=0),
                device=torch.device("cpu"),
                batch_seconds=batch_seconds,
            )
        )
        return batches, time.process_time() - begun

    def row(self, name: str, decoder: Decoder) -> Row:
        """Decode all of it, once in each way."""
        decoder.decode_nbest(self.alone[0].outputs, self.alone[0].lengths)  # compiles
        _, together = self._decoded(decoder, self.together)
        found, alone = self._decoded(decoder, self.alone)
        return Row(name, found, alone, together)

    def _decoded(
        self, decoder: Decoder, batches: Sequence[ScoredBatch]
    ) -> tuple[dict[str, Hypothesis], float]:
        found: dict[str, Hypothesis] = {}
        begun = time.process_time()
        for batch in batches:
            lists = decoder.decode_nbest(batch.outputs, batch.lengths, nbest=1)
            found |= {u.id: each[0] for u, each in zip(batch.utterances, lists, strict=True)}
        return found, time.process_time() - begun


def exact(
    bench: Bench, labellings: dict[str, set[tuple[int, ...]]]
) -> dict[str, dict[tuple[int, ...], float]]:
    """Id → labels → their log-probability over all paths."""
    known = {}
    for batch in bench.alone:
        (utterance,) = batch.utterances
        encoded = batch.outputs[0, : int(batch.lengths[0])]
        known[utterance.id] = {
            tokens: transducer_log_prob(bench.model, encoded, np.array(tokens, dtype=np.int64))
            for tokens in labellings[utterance.id]
        }
    return known


def report(bench: Bench, rows: Sequence[Row]) -> None:
    """The table, on stdout."""
    recognizer = bench.recognizer
    texts = {u.id: normalize_text(u.text, recognizer.recipe.data.case) for u in bench.utterances}
    labellings = {
        name: {tuple(recognizer.tokenizer.encode(text)), *(row.found[name].tokens for row in rows)}
        for name, text in texts.items()
    }
    known = exact(bench, labellings)
    seconds = sum(utterance.duration for utterance in bench.utterances)
    print(
        "| decoder | WER | CER | search errors | short by (mean, most) | RTF alone | in batches |"
    )
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        heard = {name: recognizer.tokenizer.decode(one.tokens) for name, one in row.found.items()}
        score = score_corpus(texts, heard)
        missed, short = 0, []
        for name, one in row.found.items():
            probable = known[name][one.tokens]
            missed += max(known[name].values()) > probable + ROUNDING
            short.append(probable - one.acoustic_log_prob)
        print(
            f"| {row.name} | {100 * score.wer.rate:.2f} % | {100 * score.cer.rate:.2f} % "
            f"| {missed} of {len(texts)} | {np.mean(short):.4f}, {max(short):.3f} "
            f"| {row.alone / seconds:.4f} | {row.together / seconds:.4f} |"
        )
        if min(short) < -ROUNDING:
            raise SystemExit(f"a score is {-min(short):.3g} above the probability of its labels")
    print(
        f"\n{len(texts)} utterances, {seconds:.0f} s; the encoder takes "
        f"{bench.seconds_alone / seconds:.4f} alone, {bench.seconds_together / seconds:.4f} in "
        "batches (with reading the files)"
    )


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--beams", type=int, nargs="+", default=BEAMS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    recognizer = load(options.bundle, device="cpu")
    model, tokenizer = recognizer.model, recognizer.tokenizer
    if not isinstance(model, TransducerModel):
        raise SystemExit(f"{options.bundle}: is no transducer")
    bench = Bench(recognizer, model, read_manifest(options.manifest))
    rows = [bench.row("greedy", best_path_decoder(model, tokenizer))]
    # A character of its own for each label: the search adds up labels that spell the same text.
    labels = read_labels(
        ["<blank>", *map(chr, range(OTHERS, OTHERS + tokenizer.vocabulary_size - 1))]
    )
    for size in options.beams:
        search = TransducerSearch(model, labels, limits=TransducerLimits(beam_size=size))
        rows.append(bench.row(f"beam {size}", search))
    report(bench, rows)


if __name__ == "__main__":
    main()
