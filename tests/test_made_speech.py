"""How made speech sounds, and how a corpus of it is completed."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from asr.data.manifest import Utterance, write_manifest
from asr.data.synthesis import Synthesizer, Voice
from asr.data.voices import TEST_VARIANTS, voices
from asr.errors import DataError
from asr.made_speech import (
    PlannedUtterance,
    Sound,
    assigned,
    check_ours,
    log_progress,
    mark_complete,
    record,
    spoken_splits,
)

VOICES = voices(TEST_VARIANTS)
SOUND = Sound()

PLANNED = PlannedUtterance(
    id="train-0000",
    text="CALL MY SISTER AT HALF PAST SEVEN",
    voice=Voice(language="en-us", variant="f1"),
    draws=(1, 2, 0),
)


def say(out: Path, number: int, sound: Sound = SOUND, *, stop_at: int = 0) -> list[Utterance]:
    """Make a corpus of `number` utterances, interrupted at one of them."""

    def report(done: int, total: int) -> None:
        if done == stop_at:
            raise KeyboardInterrupt

    identity = {"number": number, "sound": repr(sound)}
    texts = [f"THIS IS SENTENCE {'AND '.join(['NINE '] * (n + 1))}" for n in range(number)]
    planned = {"train": assigned(texts, VOICES, name="train", draws=(1, 0))}
    spoken = spoken_splits(out, planned, sound, identity, report)
    write_manifest(out / "train.jsonl", spoken["train"])
    mark_complete(out, identity)
    return spoken["train"]


def times(out: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in out.rglob("*.wav")}


def test_what_an_interrupted_corpus_has_is_not_made_again(tmp_path: Path) -> None:
    expected = say(tmp_path / "whole", 12)
    with pytest.raises(KeyboardInterrupt):
        say(tmp_path / "cut", 12, stop_at=3)
    before = times(tmp_path / "cut")
    assert 3 <= len(before) < 12
    made = say(tmp_path / "cut", 12)
    after = times(tmp_path / "cut")
    assert {name: after[name] for name in before} == before
    assert len(after) == 12
    for one, other in zip(expected, made, strict=True):
        assert one.audio.read_bytes() == other.audio.read_bytes()
        assert (one.id, one.text, one.duration) == (other.id, other.text, other.duration)


def test_a_damaged_file_of_an_interrupted_corpus_is_made_again(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        say(tmp_path, 6, stop_at=6)
    damaged = next(tmp_path.rglob("train-0002.wav"))
    whole = damaged.read_bytes()
    damaged.write_bytes(b"RIFF")
    say(tmp_path, 6)
    assert damaged.read_bytes() == whole


def test_another_sound_makes_all_again(tmp_path: Path) -> None:
    loud, soft = Sound(level_db=(-20.0, -20.0)), Sound(level_db=(-40.0, -40.0))
    with pytest.raises(KeyboardInterrupt):
        say(tmp_path, 3, loud, stop_at=3)
    first = [path.read_bytes() for path in sorted(tmp_path.rglob("*.wav"))]
    say(tmp_path, 3, soft)
    second = [path.read_bytes() for path in sorted(tmp_path.rglob("*.wav"))]
    assert not set(first) & set(second)


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(DataError, match="holds files that my recipe did not make; choose another"):
        check_ours(tmp_path, "my recipe")
    check_ours(tmp_path / "new", "my recipe")


def test_a_speaker_varies_from_one_utterance_to_the_next() -> None:
    synthesizer = Synthesizer()
    first, second = (
        record(replace(PLANNED, draws=draws), synthesizer, SOUND)
        for draws in ((1, 0, 0), (1, 0, 1))
    )
    assert len(first) != len(second)


@pytest.mark.parametrize("snr", [15.0, 35.0])
def test_noise_has_the_asked_level(snr: float) -> None:
    dry = Sound(room_share=0.0, level_db=(-30.0, -30.0), silence_seconds=(0.3, 0.3))
    quiet_settings = replace(dry, snr_db=(200.0, 200.0))
    noisy_settings = replace(dry, snr_db=(snr, snr))
    synthesizer = Synthesizer()
    clean = record(PLANNED, synthesizer, quiet_settings).astype(np.float64)
    noisy = record(PLANNED, synthesizer, noisy_settings).astype(np.float64)
    assert 10 * np.log10(np.mean(clean**2)) == pytest.approx(-30.0, abs=0.01)
    gain = np.dot(noisy, clean) / np.dot(clean, clean)
    noise = noisy - gain * clean
    measured = 10 * np.log10(np.mean((gain * clean) ** 2) / np.mean(noise**2))
    assert measured == pytest.approx(snr, abs=0.5)


def test_loud_speech_is_turned_down_before_it_clips() -> None:
    loud = Sound(level_db=(0.0, 0.0))
    waveform = record(PLANNED, Synthesizer(), loud)
    assert np.abs(waveform).max() == pytest.approx(0.95)


def test_a_room_smears_the_end_of_the_speech() -> None:
    dry = Sound(room_share=0.0, silence_seconds=(0.4, 0.4), snr_db=(200.0, 200.0))
    wet = replace(dry, room_share=1.0, direct_to_reverberant_db=(0.0, 0.0))
    synthesizer = Synthesizer()
    tails = [record(PLANNED, synthesizer, settings)[-6000:-3000] for settings in (dry, wet)]
    dry_power, wet_power = (np.mean(tail**2) for tail in tails)
    assert wet_power > 100 * dry_power


def test_progress_is_a_line_for_every_tenth(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "asr.made_speech")
    for done in range(1, 26):
        log_progress(done, 25)
    assert len(caplog.messages) == 10
    assert caplog.messages[0] == "made 3 of 25 utterances"
    assert caplog.messages[-1] == "made 25 of 25 utterances"
