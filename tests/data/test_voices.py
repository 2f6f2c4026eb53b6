"""The voices of made speech."""

from dataclasses import replace

import numpy as np
import pytest

from asr.data.synthesis import Synthesizer
from asr.data.voices import (
    DEV_VARIANTS,
    TEST_VARIANTS,
    TRAIN_VARIANTS,
    speaker_name,
    voices,
)

LEAST_VOICING = 0.35


def test_every_voice_is_intelligible_loud_and_unclipped():
    synthesizer = Synthesizer()
    for voice in voices(TRAIN_VARIANTS + DEV_VARIANTS + TEST_VARIANTS):
        waveform = synthesizer.speak("remind me to pay the rent on wednesday", voice)
        assert 1.5 < len(waveform) / 16_000 < 4.0, voice
        assert np.sqrt(np.mean(waveform**2)) > 0.02, voice
        assert np.mean(np.abs(waveform) > 0.99) < 2e-3, voice
        assert voicing(waveform) > LEAST_VOICING, voice


def voicing(waveform):
    """Share of loud 40 ms frames with a clear pitch: few in a whisper."""
    frames = waveform[: len(waveform) // 640 * 640].reshape(-1, 640)
    frames = frames[np.sqrt(np.mean(frames**2, axis=1)) > 0.02]
    spectra = np.abs(np.fft.rfft(frames, 2048)) ** 2
    correlations = np.fft.irfft(spectra)[:, :640]
    peaks = correlations[:, 40:267].max(axis=1) / correlations[:, 0]
    return np.mean(peaks > 0.5)


@pytest.mark.parametrize("variant", ["whisper", "whisperf"])
def test_a_whisper_would_not_pass_for_intelligible(variant):
    (whisper,) = voices((variant,))
    waveform = Synthesizer().speak("remind me to pay the rent on wednesday", whisper)
    assert voicing(waveform) < LEAST_VOICING


def test_no_two_voices_sound_the_same():
    synthesizer = Synthesizer()
    everyone = voices(TRAIN_VARIANTS + DEV_VARIANTS + TEST_VARIANTS)
    assert len({speaker_name(voice) for voice in everyone}) == len(everyone)
    throats = {voice.variant for voice in everyone}
    same_manner = [replace(everyone[0], variant=variant) for variant in throats]
    spoken = {synthesizer.speak("hello", voice).tobytes() for voice in same_manner}
    assert len(spoken) == len(throats)


def test_accents_of_dev_and_test_are_heard_in_training():
    trained = {voice.language for voice in voices(TRAIN_VARIANTS)}
    assert {voice.language for voice in voices(DEV_VARIANTS + TEST_VARIANTS)} <= trained
