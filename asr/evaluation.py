"""A manifest transcribed and scored, and the report of it."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.data.batching import AudioReader
from asr.data.json_lines import json_lines
from asr.data.manifest import Utterance, read_manifest
from asr.data.text import normalize_text
from asr.decoding.batch import decode_batch, decode_scored, ranks_by_length, score_utterances
from asr.decoding.hypothesis import Hypothesis, ctm_lines
from asr.decoding.nbest import nbest_entries
from asr.errors import AudioError, DataError, shown
from asr.recognizer import Recognizer
from asr.scoring.error_rate import CorpusScore, ErrorRate, score_corpus
from asr.scoring.table import aligned_text, confusions, summary, worst
from asr.storage import write_atomically

BATCH_SECONDS = 120.0  # of audio, padding included
NUM_WORST = 5
NUM_CONFUSIONS = 5
SOME_FAILED = 4


@dataclass(frozen=True, slots=True)
class EvaluationResult:
    """The scores of a recogniser on a manifest.

    Attributes:
        manifest: what was transcribed.
        utterances: its utterances.
        hypotheses: id → its hypotheses, the best first, of those whose audio could be used.
        failures: id → why not, of the others; they count as if nothing had been recognised.
        by_length: whether the order of hypotheses is that of the score per label.
        score: error rates with intervals.
        audio_seconds: of all audio that was transcribed.
        seconds: that it took, reading the files included, compiling the search not.
    """

    manifest: Path
    utterances: tuple[Utterance, ...]
    hypotheses: Mapping[str, Sequence[Hypothesis]]
    failures: Mapping[str, AudioError]
    by_length: bool
    score: CorpusScore
    audio_seconds: float
    seconds: float

    @property
    def real_time_factor(self) -> float:
        """Time taken by time spoken: below 1 is faster than speech."""
        return self.seconds / max(self.audio_seconds, 1e-9)

    @property
    def exit_code(self) -> int:
        """0 all transcribed, 3 none, 4 some."""
        if not self.failures:
            return 0
        return SOME_FAILED if self.hypotheses else AudioError.exit_code

    def as_dict(self) -> dict[str, Any]:
        """For JSON; rates are fractions."""
        score, units = self.score, f"{self.score.unit}s"
        counts = {units: _as_dict(score.wer)}
        if score.unit == "word":
            counts["characters"] = _as_dict(score.cer)
        if score.merged is not None:
            counts[f"{units}_merged"] = _as_dict(score.merged)
        return {
            "manifest": str(self.manifest),
            "utterances": len(self.utterances),
            "failed": len(self.failures),
            **score.metrics(),
            "rtf": self.real_time_factor,
            "audio_seconds": self.audio_seconds,
            **counts,
        }

    def complaints(self) -> list[str]:
        """A line for a person when some utterances could not be transcribed."""
        if not self.failures:
            return []
        name, failure = next(iter(self.failures.items()))
        return [
            f"error: {len(self.failures)} of {len(self.utterances)} utterances were not "
            f"transcribed and count as deletions, such as {shown(name)}: {failure}"
        ]

    def report(self) -> str:
        """The whole result for a person."""
        parts = [
            summary(self.score),
            f"real-time factor {self.real_time_factor:.4f}: {self.audio_seconds:.1f} s of audio in "
            f"{self.seconds:.1f} s",
        ]
        for name, failure in self.failures.items():
            parts.append(f"not transcribed: {shown(name)}: {failure}")
        frequent = confusions(self.score, NUM_CONFUSIONS).substitutions
        if frequent:
            pairs = ", ".join(f"{said} → {heard} ({count})" for said, heard, count in frequent)
            parts.append(f"most frequent confusions: {pairs}")
        for one in worst(self.score, NUM_WORST):
            parts.append(f"\n{shown(one.utterance)}\n{aligned_text(one.edits())}")
        return "\n".join(parts)


def evaluate(
    recognizer: Recognizer,
    manifest: Path,
    advance: Callable[[int, int], None] = lambda done, total: None,
    *,
    nbest: int = 1,
    scores: dict[str, NDArray[np.float32]] | None = None,
) -> EvaluationResult:
    """Transcribe and score a manifest.

    Args:
        recognizer: what transcribes.
        manifest: with the references; their case is made that of the recogniser's training.
        advance: called with (done, total) as it goes.
        nbest: most hypotheses of an utterance that are kept.
        scores: is filled with the log-probabilities (T, V) of each utterance.

    Raises:
        DataError: the manifest cannot be used or has no utterances.
    """
    utterances = read_manifest(manifest)
    if not utterances:
        raise DataError(f"{shown(manifest)}: has no utterances to evaluate")
    hypotheses: dict[str, Sequence[Hypothesis]] = {}
    failures: dict[str, AudioError] = {}
    _warm_up(recognizer, nbest)
    begun = time.perf_counter()
    for batch in score_utterances(
        recognizer.model,
        utterances,
        reader=AudioReader(recognizer.sample_rate, cache_bytes=0),
        device=recognizer.device,
        batch_seconds=BATCH_SECONDS,
    ):
        failures.update((utterance.id, error) for utterance, error in batch.failures)
        found = decode_scored(recognizer.decoder, batch, recognizer.frame_seconds, nbest=nbest)
        hypotheses.update((u.id, best) for u, best in zip(batch.utterances, found, strict=True))
        if scores is not None:
            scores.update(batch.by_id())
        advance(len(hypotheses) + len(failures), len(utterances))
    seconds = time.perf_counter() - begun
    case = recognizer.recipe.data.case
    score = score_corpus(
        {u.id: normalize_text(u.text, case) for u in utterances},
        {name: found[0].text for name, found in hypotheses.items()},
        speakers={u.id: u.speaker for u in utterances if u.speaker is not None} or None,
        scoring=recognizer.scoring,
    )
    return EvaluationResult(
        manifest=manifest,
        utterances=tuple(utterances),
        hypotheses=hypotheses,
        failures=failures,
        by_length=ranks_by_length(recognizer.decoder),
        score=_signed(score, recognizer.decoder.signature),
        audio_seconds=sum(u.duration for u in utterances if u.id in hypotheses),
        seconds=seconds,
    )


def write_results(result: EvaluationResult, folder: Path) -> None:
    """Write what was recognised, a record for every utterance, into a folder.

    `hypotheses.jsonl`, `nbest.jsonl` (all hypotheses with scores and word times), `words.ctm`
    (where one that was not transcribed is a comment) and `report.txt`.

    Raises:
        ResourceError: the disk is full or not writable.
    """
    lines: list[dict[str, Any]] = []
    lists: list[dict[str, Any]] = []
    words: list[str] = []
    for utterance in result.utterances:
        record = {"id": utterance.id, "reference": utterance.text}
        found = result.hypotheses.get(utterance.id)
        if found is None:
            failure = result.failures[utterance.id]
            why = {"error": failure.reason, "code": failure.code}
            lines.append(record | why)
            lists.append({"id": utterance.id, "nbest": [], **why})
            words.append(f";; {shown(utterance.id)}: not transcribed: {failure}")
        else:
            best = found[0]
            lines.append(record | {"hypothesis": best.text, "log_prob": round(best.log_prob, 4)})
            entries = nbest_entries(found, by_length=result.by_length)
            lists.append({"id": utterance.id, "nbest": entries})
            words += ctm_lines(utterance.id, best.words)
    write_atomically(folder / "hypotheses.jsonl", json_lines(lines))
    write_atomically(folder / "nbest.jsonl", json_lines(lists))
    write_atomically(folder / "words.ctm", "".join(f"{line}\n" for line in words))
    write_atomically(folder / "report.txt", result.report() + "\n")


def _warm_up(recognizer: Recognizer, nbest: int) -> None:
    """Decode a second of silence: searches, and networks on GPUs, are compiled when first used."""
    silence = np.zeros(recognizer.sample_rate, np.float32)
    decode_batch(recognizer.model, recognizer.decoder, [silence], recognizer.device, nbest=nbest)


def _signed(score: CorpusScore, search: str) -> CorpusScore:
    """Scores whose signatures tell how hypotheses were searched for."""

    def signed(rate: ErrorRate) -> ErrorRate:
        return replace(rate, signature=f"{rate.signature}|{search}") if search else rate

    merged = None if score.merged is None else signed(score.merged)
    return replace(score, wer=signed(score.wer), cer=signed(score.cer), merged=merged)


def _as_dict(rate: ErrorRate) -> dict[str, Any]:
    return {
        "rate": rate.rate,
        "interval": rate.interval,
        "speaker_interval": rate.speaker_interval,
        "substitutions": rate.substitutions,
        "deletions": rate.deletions,
        "insertions": rate.insertions,
        "reference_length": rate.reference_length,
        "signature": rate.signature,
    }
