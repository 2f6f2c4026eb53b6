"""A manifest transcribed and scored, and the report of it."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asr.data.batching import AudioReader
from asr.data.manifest import Utterance, read_manifest
from asr.data.text import normalize_text
from asr.decoding.batch import recognize
from asr.decoding.hypothesis import Hypothesis
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
        hypotheses: id → hypothesis, of those whose audio could be used.
        failures: id → why not, of the others; they count as if nothing had been recognised.
        score: error rates with intervals.
        audio_seconds: of all audio that was transcribed.
        seconds: that it took, reading the files included.
    """

    manifest: Path
    utterances: tuple[Utterance, ...]
    hypotheses: Mapping[str, Hypothesis]
    failures: Mapping[str, AudioError]
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
        return {
            "manifest": str(self.manifest),
            "utterances": len(self.utterances),
            "failed": len(self.failures),
            "wer": self.score.wer.rate,
            "cer": self.score.cer.rate,
            "rtf": self.real_time_factor,
            "audio_seconds": self.audio_seconds,
            "words": _as_dict(self.score.wer),
            "characters": _as_dict(self.score.cer),
        }

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
) -> EvaluationResult:
    """Transcribe and score a manifest.

    Args:
        recognizer: what transcribes.
        manifest: with the references; their case is made that of the recogniser's training.
        advance: called with (done, total) as it goes.

    Raises:
        DataError: the manifest cannot be used or has no utterances.
    """
    utterances = read_manifest(manifest)
    if not utterances:
        raise DataError(f"{shown(manifest)}: has no utterances to evaluate")
    hypotheses: dict[str, Hypothesis] = {}
    failures: dict[str, AudioError] = {}
    begun = time.perf_counter()
    for utterance, result in recognize(
        recognizer.model,
        recognizer.tokenizer,
        utterances,
        reader=AudioReader(recognizer.sample_rate, cache_bytes=0),
        device=recognizer.device,
        batch_seconds=BATCH_SECONDS,
    ):
        if isinstance(result, AudioError):
            failures[utterance.id] = result
        else:
            hypotheses[utterance.id] = result
        advance(len(hypotheses) + len(failures), len(utterances))
    seconds = time.perf_counter() - begun
    case = recognizer.recipe.data.case
    score = score_corpus(
        {u.id: normalize_text(u.text, case) for u in utterances},
        {name: hypothesis.text for name, hypothesis in hypotheses.items()},
        speakers={u.id: u.speaker for u in utterances if u.speaker is not None},
    )
    return EvaluationResult(
        manifest=manifest,
        utterances=tuple(utterances),
        hypotheses=hypotheses,
        failures=failures,
        score=score,
        audio_seconds=sum(u.duration for u in utterances if u.id in hypotheses),
        seconds=seconds,
    )


def write_results(result: EvaluationResult, folder: Path) -> None:
    """Write `hypotheses.jsonl` (a record for every utterance) and `report.txt` into a folder.

    Raises:
        ResourceError: the disk is full or not writable.
    """
    lines = []
    for utterance in result.utterances:
        record: dict[str, Any] = {"id": utterance.id, "reference": utterance.text}
        hypothesis = result.hypotheses.get(utterance.id)
        if hypothesis is None:
            failure = result.failures[utterance.id]
            record |= {"error": failure.reason, "code": failure.code}
        else:
            record |= {"hypothesis": hypothesis.text, "log_prob": round(hypothesis.log_prob, 4)}
        lines.append(json.dumps(record, ensure_ascii=False))
    write_atomically(folder / "hypotheses.jsonl", "\n".join(lines) + "\n")
    write_atomically(folder / "report.txt", result.report() + "\n")


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
