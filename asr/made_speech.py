"""Texts spoken by made voices: a corpus of speech out of nothing but sentences.

A recipe plans who says what; here that is spoken by espeak-ng, put into rooms, mixed with noise,
and written. Everything random about an utterance follows from its `draws`, so the same plan gives
the same corpus. One that was interrupted is completed; one of another plan is replaced.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.data.audio import audio_info, write_wav
from asr.data.manifest import Utterance, read_manifest
from asr.data.synthesis import Synthesizer, Voice
from asr.data.voices import speaker_name
from asr.errors import AudioError, DataError, ModelError, shown
from asr.frontend.augment import FLAT_BELOW, reverberate
from asr.storage import read_json, write_json

log = logging.getLogger(__name__)

SAMPLE_RATE = 16_000
PEAK = 0.95  # of full scale, at most
THREADS = 4  # two cores, and two waits for the disk
MARK = "corpus.json"  # says what is in the folder and whether it is complete

Report = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Sound:
    """How made speech is recorded; a pair is the range that a value is drawn from."""

    # A speaker varies from one utterance to the next by up to so much.
    rate_jitter: int = 12  # words per minute
    pitch_jitter: int = 6  # espeak-ng's scale of 0 to 99
    silence_seconds: tuple[float, float] = (0.1, 0.4)  # before, and again behind
    room_share: float = 0.5
    rt60_seconds: tuple[float, float] = (0.15, 0.5)
    direct_to_reverberant_db: tuple[float, float] = (3.0, 18.0)
    snr_db: tuple[float, float] = (15.0, 35.0)
    level_db: tuple[float, float] = (-32.0, -20.0)  # RMS, of full scale


def settings_as_read(settings: Sound) -> dict[str, Any]:
    """Settings of a corpus as JSON gives them back, for its identity."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in asdict(settings).items()
    }


@dataclass(frozen=True, kw_only=True)
class PlannedUtterance:
    """One utterance before it is spoken; `draws` seeds everything random about it."""

    id: str
    text: str
    voice: Voice
    draws: tuple[int, int, int]


Plan = Mapping[str, Sequence[PlannedUtterance]]  # set → its utterances


def assigned(
    texts: Sequence[str], voices: Sequence[Voice], *, name: str, draws: tuple[int, int]
) -> list[PlannedUtterance]:
    """The texts of the set `name`, said by the voices in turn."""
    return [
        PlannedUtterance(
            id=f"{name}-{index:04d}",
            text=text,
            voice=voices[index % len(voices)],
            draws=(*draws, index),
        )
        for index, text in enumerate(texts)
    ]


def record(
    planned: PlannedUtterance, synthesizer: Synthesizer, sound: Sound
) -> NDArray[np.float32]:
    """The planned utterance as a microphone hears it: (samples,) at the synthesizer's rate.

    Raises:
        DataError: the voice is not installed, or the text has no word that it can say.
    """
    generator = np.random.default_rng(planned.draws)
    voice = replace(
        planned.voice,
        rate=planned.voice.rate + _jitter(sound.rate_jitter, generator),
        pitch=planned.voice.pitch + _jitter(sound.pitch_jitter, generator),
    )
    waveform = synthesizer.speak(planned.text.lower(), voice)
    silences = (generator.uniform(*sound.silence_seconds, 2) * SAMPLE_RATE).astype(int)
    waveform = np.pad(waveform, (silences[0], silences[1]))
    if generator.random() < sound.room_share:
        waveform = reverberate(
            waveform,
            SAMPLE_RATE,
            rt60_seconds=generator.uniform(*sound.rt60_seconds),
            direct_to_reverberant_db=generator.uniform(*sound.direct_to_reverberant_db),
            generator=generator,
        )
    noisy = _with_noise(waveform, generator.uniform(*sound.snr_db), generator)
    return _at_level(noisy, generator.uniform(*sound.level_db))


def check_ours(out: Path, recipe: str) -> None:
    """Return when `out` holds nothing but what was made here: what is in wav/ may be deleted.

    Raises:
        DataError: it holds files that `recipe` did not make.
    """
    names = {path.name for path in out.iterdir()} if out.is_dir() else set()
    visible = {name for name in names if not name.startswith(".")}  # not the lock
    if visible and MARK not in names:
        raise DataError(
            f"{shown(out)}: holds files that {recipe} did not make; choose another --out"
        )


def spoken_splits(
    out: Path, planned: Plan, sound: Sound, identity: Mapping[str, Any], report: Report
) -> dict[str, list[Utterance]]:
    """Speak what is not spoken yet into `out`/wav; no other process may use the folder.

    When all else of the corpus is written too, call `mark_complete`.

    Args:
        out: folder of the corpus, which `check_ours` accepts.
        planned: who says what.
        sound: how it is recorded.
        identity: what must be the same for a corpus to be the same; as JSON gives it back.
        report: told after each utterance how many of how many are done; not called when all are.

    Returns:
        The utterances of each set of the plan, in its order.

    Raises:
        DataError: the voices are not installed.
        ResourceError: the disk is full or not writable.
    """
    mark = _read_mark(out)
    if mark == {**identity, "complete": True}:
        splits = _written_splits(out, planned)
        if splits is not None:
            return splits
    elif mark != {**identity, "complete": False}:
        rmtree(out / "wav", ignore_errors=True)  # of another plan
    write_json(out / MARK, {**identity, "complete": False})
    return _speak(out, planned, sound, report)


def mark_complete(out: Path, identity: Mapping[str, Any]) -> None:
    """Note that the corpus of this identity is whole.

    Raises:
        ResourceError: the disk is full or not writable.
    """
    write_json(out / MARK, {**identity, "complete": True})


def log_progress(done: int, total: int) -> None:
    """A line of the log for every tenth of the work."""
    if done * 10 // total > (done - 1) * 10 // total:
        log.info("made %d of %d utterances", done, total)


def _jitter(limit: int, generator: np.random.Generator) -> int:
    return int(generator.integers(-limit, limit + 1))


def _with_noise(
    waveform: NDArray[np.float32], snr_db: float, generator: np.random.Generator
) -> NDArray[np.float64]:
    """The waveform with Gaussian noise of a random colour, from white to brown.

    In float64 numpy: the same to the last bit on every run, which torch's FFT is not.
    """
    size = 1 << (len(waveform) - 1).bit_length()
    spectrum = np.fft.rfft(generator.standard_normal(size))
    frequency = np.fft.rfftfreq(size).clip(min=FLAT_BELOW)
    noise = np.fft.irfft(spectrum * frequency ** -generator.uniform(0.0, 1.0))[: len(waveform)]
    signal = waveform.astype(np.float64)
    noise *= 10 ** (-snr_db / 20) * np.sqrt(np.mean(signal**2) / np.mean(noise**2))
    return signal + noise


def _at_level(waveform: NDArray[np.float64], level_db: float) -> NDArray[np.float32]:
    """The waveform with an RMS of `level_db`, or softer where its peak would be clipped."""
    gain = 10 ** (level_db / 20) / float(np.sqrt(np.mean(waveform**2)))
    highest = PEAK / float(np.abs(waveform).max())
    return (waveform * min(gain, highest)).astype(np.float32)


def _speak(out: Path, planned: Plan, sound: Sound, report: Report) -> dict[str, list[Utterance]]:
    """Speak what has no file; a file that is there was written whole by this same plan."""
    synthesizer = Synthesizer(sample_rate=SAMPLE_RATE)

    def make(utterance: PlannedUtterance) -> Utterance:
        path = _path(out, utterance)
        seconds = _seconds(path)
        if seconds is None:
            waveform = record(utterance, synthesizer, sound)
            write_wav(path, waveform, SAMPLE_RATE)
            seconds = len(waveform) / SAMPLE_RATE
        return Utterance(
            id=utterance.id,
            audio=path,
            duration=seconds,
            text=utterance.text,
            speaker=speaker_name(utterance.voice),
        )

    total = sum(map(len, planned.values()))
    splits: dict[str, list[Utterance]] = {name: [] for name in planned}
    done = 0
    pool = ThreadPoolExecutor(THREADS)
    try:
        for name, utterances in planned.items():
            for utterance in pool.map(make, utterances):
                splits[name].append(utterance)
                done += 1
                report(done, total)
    finally:
        pool.shutdown(cancel_futures=True)
    return splits


def _path(out: Path, planned: PlannedUtterance) -> Path:
    return out / "wav" / speaker_name(planned.voice) / f"{planned.id}.wav"


def _seconds(path: Path) -> float | None:
    """How long the speech in a file is; None where there is no usable file."""
    try:
        return audio_info(path).duration if path.exists() else None
    except AudioError:
        return None


def _read_mark(out: Path) -> Any:
    try:
        return read_json(out / MARK)
    except (DataError, ModelError):
        return None


def _written_splits(out: Path, planned: Plan) -> dict[str, list[Utterance]] | None:
    """The manifests of a corpus that is called complete; None when one or a file is missing."""
    try:
        splits = {name: read_manifest(out / f"{name}.jsonl") for name in planned}
    except (DataError, ModelError):
        return None
    whole = all(
        [(u.id, u.text) for u in splits[name]] == [(p.id, p.text) for p in utterances]
        and all(u.audio.is_file() for u in splits[name])
        for name, utterances in planned.items()
    )
    return splits if whole else None
