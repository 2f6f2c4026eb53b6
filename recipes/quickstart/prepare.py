"""The quickstart's corpus: commands, numbers and names, spoken on the spot by many made voices.

Nothing is downloaded. Sentences come from `grammar.py`, voices from `voices.py`, speech from
espeak-ng; half of the utterances are put into a room, all get noise. The same settings give the
same corpus. Sentences and voices of dev and test do not occur in training.
"""

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from shutil import rmtree

import numpy as np
from numpy.typing import NDArray

from asr.data.audio import write_wav
from asr.data.corpus.prepared import write_splits
from asr.data.manifest import Utterance, read_manifest
from asr.data.synthesis import Synthesizer, Voice
from asr.errors import DataError, ModelError, shown
from asr.frontend.augment import FLAT_BELOW, reverberate
from asr.storage import read_json, text_hash, write_json

from .grammar import SLOTS, draw_sentences
from .voices import DEV_VARIANTS, TEST_VARIANTS, TRAIN_VARIANTS, speaker_name, voices


@dataclass(frozen=True, kw_only=True)
class CorpusSettings:
    """What the corpus is made from; another value makes another corpus."""

    num_train: int = 1500
    num_dev: int = 100
    num_test: int = 150
    seed: int = 1
    # A speaker varies from one utterance to the next by up to so much.
    rate_jitter: int = 12  # words per minute
    pitch_jitter: int = 6  # espeak-ng's scale of 0 to 99
    silence_seconds: tuple[float, float] = (0.1, 0.4)  # before, and again behind
    room_share: float = 0.5
    rt60_seconds: tuple[float, float] = (0.15, 0.5)
    direct_to_reverberant_db: tuple[float, float] = (3.0, 18.0)
    snr_db: tuple[float, float] = (15.0, 35.0)
    level_db: tuple[float, float] = (-32.0, -20.0)  # RMS, of full scale


SETTINGS = CorpusSettings()
SAMPLE_RATE = 16_000
PEAK = 0.95  # of full scale, at most
THREADS = 4  # two cores, and two waits for the disk
MARK = "corpus.json"  # says what is in the folder and whether it is complete

Report = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class PlannedUtterance:
    """One utterance before it is spoken; `draws` seeds everything random about it."""

    id: str
    text: str
    voice: Voice
    draws: tuple[int, int, int]


def print_progress(done: int, total: int) -> None:
    """A line on stderr for every tenth of the work."""
    if done * 10 // total > (done - 1) * 10 // total:
        print(f"made {done} of {total} utterances", file=sys.stderr)


def prepare(
    corpus: list[Path],
    out: Path,
    *,
    settings: CorpusSettings = SETTINGS,
    report: Report = print_progress,
) -> None:
    """Make wav/, train.jsonl, dev.jsonl and test.jsonl in `out`, which no other process may use.

    A complete corpus of the same settings is kept; anything else that this recipe made there is
    made again.

    Args:
        corpus: must be empty: there is nothing to read.
        out: folder of the corpus; about 140 MB.
        settings: sizes and sound.
        report: told after each utterance how many of how many are done.

    Raises:
        DataError: a corpus was given, `out` holds other files, or the voices are not installed.
        ResourceError: the disk is full or not writable.
    """
    if corpus:
        raise DataError(
            f"{shown(corpus[0])}: the quickstart makes its own speech and reads no corpus; "
            "leave out --corpus"
        )
    _check_ours(out)
    identity, planned = _identity(settings), plan(settings)
    splits = _complete_splits(out, identity, planned)
    if splits is None:
        splits = _make(out, identity, planned, settings, report)
    write_splits(out, splits, notes=["speech made by espeak-ng: no real voice is in it"])
    write_json(out / MARK, identity | {"complete": True})


def plan(settings: CorpusSettings) -> dict[str, list[PlannedUtterance]]:
    """Who says what in each of train, dev and test; every sentence occurs once."""
    sets = {  # train last, so that more of it leaves dev and test as they are
        "dev": (settings.num_dev, DEV_VARIANTS),
        "test": (settings.num_test, TEST_VARIANTS),
        "train": (settings.num_train, TRAIN_VARIANTS),
    }
    total = sum(size for size, _ in sets.values())
    sentences = iter(draw_sentences(total, np.random.default_rng(settings.seed)))
    planned = {}
    for number, (name, (size, variants)) in enumerate(sets.items()):
        speakers = voices(variants)
        planned[name] = [
            PlannedUtterance(
                id=f"{name}-{index:04d}",
                text=next(sentences),
                voice=speakers[index % len(speakers)],
                draws=(settings.seed, number, index),
            )
            for index in range(size)
        ]
    return {name: planned[name] for name in ("train", "dev", "test")}


def record(
    planned: PlannedUtterance, synthesizer: Synthesizer, settings: CorpusSettings
) -> NDArray[np.float32]:
    """The planned utterance as a microphone hears it: (samples,) at the synthesizer's rate."""
    generator = np.random.default_rng(planned.draws)
    voice = replace(
        planned.voice,
        rate=planned.voice.rate + _jitter(settings.rate_jitter, generator),
        pitch=planned.voice.pitch + _jitter(settings.pitch_jitter, generator),
    )
    waveform = synthesizer.speak(planned.text.lower(), voice)
    silences = (generator.uniform(*settings.silence_seconds, 2) * SAMPLE_RATE).astype(int)
    waveform = np.pad(waveform, (silences[0], silences[1]))
    if generator.random() < settings.room_share:
        waveform = reverberate(
            waveform,
            SAMPLE_RATE,
            rt60_seconds=generator.uniform(*settings.rt60_seconds),
            direct_to_reverberant_db=generator.uniform(*settings.direct_to_reverberant_db),
            generator=generator,
        )
    noisy = _with_noise(waveform, generator.uniform(*settings.snr_db), generator)
    return _at_level(noisy, generator.uniform(*settings.level_db))


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


def _make(
    out: Path,
    identity: dict[str, object],
    planned: dict[str, list[PlannedUtterance]],
    settings: CorpusSettings,
    report: Report,
) -> dict[str, list[Utterance]]:
    """Speak everything; until all is written, the mark says that it is not."""
    synthesizer = Synthesizer(sample_rate=SAMPLE_RATE)
    write_json(out / MARK, identity | {"complete": False})
    rmtree(out / "wav", ignore_errors=True)

    def make(utterance: PlannedUtterance) -> Utterance:
        return _write(utterance, record(utterance, synthesizer, settings), out / "wav")

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


def _write(planned: PlannedUtterance, waveform: NDArray[np.float32], folder: Path) -> Utterance:
    speaker = speaker_name(planned.voice)
    path = folder / speaker / f"{planned.id}.wav"
    write_wav(path, waveform, SAMPLE_RATE)
    return Utterance(
        id=planned.id,
        audio=path,
        duration=len(waveform) / SAMPLE_RATE,
        text=planned.text,
        speaker=speaker,
    )


def _identity(settings: CorpusSettings) -> dict[str, object]:
    """What must be the same for a corpus to be the same; as JSON gives it back."""
    sources = (SLOTS, voices(TRAIN_VARIANTS), voices(DEV_VARIANTS), voices(TEST_VARIANTS))
    settings_as_read = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in asdict(settings).items()
    }
    return {"settings": settings_as_read, "sources": text_hash(repr(sources))}


def _check_ours(out: Path) -> None:
    """Refuse a folder with somebody else's files: what is in wav/ will be deleted."""
    names = {path.name for path in out.iterdir()} if out.is_dir() else set()
    visible = {name for name in names if not name.startswith(".")}  # not the lock
    if visible and MARK not in names:
        raise DataError(
            f"{shown(out)}: holds files that the quickstart did not make; choose another --out"
        )


def _complete_splits(
    out: Path, identity: dict[str, object], planned: dict[str, list[PlannedUtterance]]
) -> dict[str, list[Utterance]] | None:
    """The corpus that is there, if it is this one and whole; a damaged file counts as missing."""
    try:
        if read_json(out / MARK) != identity | {"complete": True}:
            return None
        splits = {name: read_manifest(out / f"{name}.jsonl") for name in planned}
    except (DataError, ModelError):
        return None
    whole = all(
        [(u.id, u.text) for u in splits[name]] == [(p.id, p.text) for p in utterances]
        and all(u.audio.is_file() for u in splits[name])
        for name, utterances in planned.items()
    )
    return splits if whole else None
