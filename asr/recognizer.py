"""A trained model as a user holds it: `load(bundle)`, `transcribe(audio)` → `Transcript`."""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import torch

from asr.building import build_model, build_scoring
from asr.bundle import WEIGHTS, Bundle, is_bundle, read_bundle
from asr.data.audio import Audio, read_audio
from asr.data.batching import Waveform
from asr.data.tokenizer import Tokenizer
from asr.decoder import Decoding, build_decoder
from asr.decoding.batch import Decoder, decode_batch, ranks_by_length
from asr.decoding.hypothesis import Hypothesis, Word
from asr.decoding.nbest import nbest_entries
from asr.devices import choose_device
from asr.errors import ConfigError, shown
from asr.models.speech import SpeechModel
from asr.models.state import load_weights
from asr.recipe import Recipe

MODEL_VARIABLE = "ASR_MODEL"

logger = logging.getLogger("asr")


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was said in one recording.

    Attributes:
        text: the transcript, empty when nothing was recognised.
        duration: seconds of audio that were read.
        words: with start and end in seconds and confidence in 0 … 1.
        log_prob: what the decoder maximised, in nats.
        truncated: the file ends before its header says.
        declared_seconds: what the header says, when it is truncated.
        too_short: shorter than one frame, so nothing could be recognised.
        warnings: what was done to the audio (channels mixed, level changed …).
        nbest: the best hypotheses, the best first, where several were asked for.
        by_length: whether their order is that of `log_prob` per label.
    """

    text: str
    duration: float
    words: tuple[Word, ...] = ()
    log_prob: float = 0.0
    truncated: bool = False
    declared_seconds: float | None = None
    too_short: bool = False
    warnings: tuple[str, ...] = ()
    nbest: tuple[Hypothesis, ...] = ()
    by_length: bool = False

    def as_dict(self) -> dict[str, Any]:
        """For JSON: always `text`, `duration` and `words`; the rest where it says something."""
        result: dict[str, Any] = {
            "text": self.text,
            "duration": round(self.duration, 3),
            "words": [word.as_dict() for word in self.words],
        }
        if self.nbest:
            result["nbest"] = nbest_entries(self.nbest, by_length=self.by_length)
        if self.truncated:
            result |= {"truncated": True, "read_seconds": round(self.duration, 3)}
            if self.declared_seconds is not None:
                result["declared_seconds"] = round(self.declared_seconds, 3)
        if self.too_short:
            result["too_short"] = True
        if self.warnings:
            result["warnings"] = list(self.warnings)
        return result


class Recognizer:
    """A loaded bundle, ready to transcribe.

    Attributes:
        model: the network, in evaluation mode, on `device`.
        tokenizer: of its output labels.
        recipe: what it was trained with.
        facts: about the training, such as `dev` and `test` scores.
        folder: of the bundle.
        device: where it computes.
        decoder: what makes text of its scores.
        scoring: which of its words are equal when errors are counted.
    """

    def __init__(
        self, bundle: Bundle, model: SpeechModel, device: torch.device, decoder: Decoder
    ) -> None:
        self.model = model.to(device).eval()
        self.tokenizer: Tokenizer = bundle.tokenizer
        self.recipe: Recipe = bundle.recipe
        self.facts: Mapping[str, Any] = bundle.facts
        self.folder = bundle.folder
        self.device = device
        self.decoder = decoder
        self.scoring = build_scoring(bundle.recipe.scoring, bundle.tokenizer.name)

    @property
    def sample_rate(self) -> int:
        """Samples per second that the network works at; other rates are resampled."""
        return self.model.frontend.sample_rate

    @property
    def frame_seconds(self) -> float:
        """Time from one frame of scores to the next."""
        return self.model.frontend.frame_seconds

    def transcribe(
        self, audio: Path | str | BinaryIO | npt.NDArray[Any], sample_rate: int | None = None
    ) -> Transcript:
        """What is said in a recording.

        Args:
            audio: a file, an open binary file, or a waveform (samples,) of floats in [-1, 1].
            sample_rate: of a waveform; `self.sample_rate` when not given. Not used for files.

        Raises:
            AudioError: the file cannot be used.
            TypeError, ValueError: the waveform is no 1-D array of finite floats.
        """
        if isinstance(audio, np.ndarray):
            return self.transcribe_all([self._from_array(audio, sample_rate)])[0]
        source = Path(audio) if isinstance(audio, str) else audio
        return self.transcribe_all([read_audio(source, sample_rate=self.sample_rate)])[0]

    def transcribe_all(self, audios: Sequence[Audio], *, nbest: int = 1) -> list[Transcript]:
        """Several recordings at once, read at `self.sample_rate`; in their order.

        With `nbest` above 1 the transcripts list that many hypotheses where there are so many.
        """
        waveforms = [audio.waveform for audio in audios]
        hypotheses = decode_batch(self.model, self.decoder, waveforms, self.device, nbest=nbest)
        return [
            self._transcript(audio, found, keep_all=nbest > 1)
            for audio, found in zip(audios, hypotheses, strict=True)
        ]

    def _transcript(
        self, audio: Audio, found: Sequence[Hypothesis], *, keep_all: bool
    ) -> Transcript:
        hypothesis = found[0]
        frames = self.model.frontend.num_frames_of(len(audio.waveform))
        return Transcript(
            text=hypothesis.text,
            duration=audio.duration,
            words=hypothesis.words,
            log_prob=hypothesis.log_prob,
            truncated=audio.truncated,
            declared_seconds=audio.declared_seconds if audio.truncated else None,
            too_short=frames == 0,
            warnings=audio.warnings,
            nbest=tuple(found) if keep_all else (),
            by_length=ranks_by_length(self.decoder),
        )

    def _from_array(self, waveform: npt.NDArray[Any], sample_rate: int | None) -> Audio:
        if not np.issubdtype(waveform.dtype, np.floating):
            raise TypeError(f"waveform must be floats in [-1, 1], got {waveform.dtype}")
        if waveform.ndim != 1:
            raise ValueError(f"waveform must be (samples,), got shape {waveform.shape}")
        if not np.isfinite(waveform).all():
            raise ValueError("waveform has NaN or infinite samples")
        rate = self.sample_rate if sample_rate is None else sample_rate
        if rate <= 0:
            raise ValueError(f"sample_rate must be positive, got {rate}")
        return Audio(
            waveform=_resampled(waveform.astype(np.float32), rate, self.sample_rate),
            sample_rate=self.sample_rate,
            duration=len(waveform) / rate,
            truncated=False,
            declared_seconds=None,
            warnings=(),
        )


def load(
    bundle: Path | str | None = None,
    *,
    device: str = "auto",
    decoding: Decoding | None = None,
    say: Callable[[str], None] = logger.info,
) -> Recognizer:
    """The recogniser in a bundle.

    Args:
        bundle: its folder; `default_bundle()` when not given.
        device: auto, cpu, cuda or cuda:N.
        decoding: a language model, a lexicon, hot words …; the best path when not given.
        say: is given lines about the language model.

    Raises:
        ConfigError: no bundle given and none found, no such device, or an option without effect.
        DataError: a language model, lexicon or hot words that cannot be used.
        ModelError: the bundle is damaged, foreign, or of a newer version.
    """
    folder = default_bundle() if bundle is None else Path(bundle)
    content = read_bundle(folder)
    model = build_model(content.recipe, content.tokenizer.vocabulary_size)
    load_weights(model, folder / WEIGHTS)
    decoder = build_decoder(decoding or Decoding(), content, model, say)
    return Recognizer(content, model, choose_device(device), decoder)


def transcribe(
    audio: Path | str | BinaryIO | npt.NDArray[Any],
    *,
    model: Path | str | None = None,
    sample_rate: int | None = None,
) -> Transcript:
    """What is said in one recording; to transcribe many, `load` once."""
    return load(model).transcribe(audio, sample_rate)


def default_bundle() -> Path:
    """The bundle used when none is named: `$ASR_MODEL`, else the newest `exp/*/*/best`.

    Raises:
        ConfigError: there is none.
    """
    named = os.environ.get(MODEL_VARIABLE)
    if named:
        return Path(named)
    found = [path for path in Path("exp").glob("*/*/best") if is_bundle(path)]
    if not found:
        raise ConfigError(
            "no model: name one with --model or the variable ASR_MODEL, or make one here with "
            "`make demo` (about 8 minutes) or `asr train recipes/quickstart`"
        )
    finished = [path for path in found if (path.parent / "finished.json").is_file()]
    return max(finished or found, key=lambda path: (path / "manifest.json").stat().st_mtime_ns)


def described(recognizer: Recognizer) -> str:
    """One line about a recogniser: where it is and how good it was on its dev data."""
    dev, metric = recognizer.facts.get("dev"), recognizer.scoring.metric
    # A bundle of an older version has the WER of phones.
    name = metric if dev and metric in dev else "wer"
    score = f"dev {name.upper()} {100 * dev[name]:.1f} %" if dev else "no dev score"
    unfinished = "" if recognizer.facts.get("finished") else ", training not finished"
    return f"model {shown(recognizer.folder)} ({score}{unfinished})"


def _resampled(waveform: Waveform, rate: int, wanted: int) -> Waveform:
    if rate == wanted:
        return waveform
    import soxr

    return np.asarray(soxr.resample(waveform, rate, wanted), dtype=np.float32)
