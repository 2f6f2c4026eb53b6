import shutil
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import espeakng_loader
import numpy as np
import pytest

from asr.data.synthesis import Synthesizer, Voice
from asr.errors import DataError

DATA_PATH = Path(espeakng_loader.get_data_path())
LIBRARY_PATH = Path(espeakng_loader.get_library_path())

ANNIE = Voice(language="en-us", variant="Annie")
BREATHY = Voice(language="en-gb", variant="Reed")  # noise from the C library
ASPIRATE = Voice(language="en-gb", variant="f2")  # noise from espeak-ng's own generator


@pytest.fixture(scope="module")
def synthesizer() -> Synthesizer:
    return Synthesizer()


@pytest.fixture
def install(monkeypatch):
    """Make the wheel name other files than its own."""

    def installed(*, data: Path = DATA_PATH, library: Path = LIBRARY_PATH):
        fake = SimpleNamespace(
            get_data_path=lambda: str(data), get_library_path=lambda: str(library)
        )
        monkeypatch.setitem(sys.modules, "espeakng_loader", fake)

    return installed


def pitch_hz(waveform, sample_rate):
    """The most common pitch of 40 ms frames, by their autocorrelation."""
    size = sample_rate // 25
    shortest, longest = sample_rate // 400, sample_rate // 60
    periods = []
    for start in range(0, len(waveform) - size, size):
        frame = waveform[start : start + size]
        correlation = np.correlate(frame, frame, "full")[size - 1 :]
        period = shortest + int(correlation[shortest:longest].argmax())
        if correlation[0] > 1 and correlation[period] > 0.5 * correlation[0]:
            periods.append(period)
    return sample_rate / np.median(periods)


@pytest.mark.parametrize("voice", [ANNIE, BREATHY, ASPIRATE])
def test_speech_does_not_depend_on_what_was_said_before(synthesizer, voice):
    first = synthesizer.speak("turn on the light", voice)
    synthesizer.speak("something else, in another voice", BREATHY)
    again = synthesizer.speak("turn on the light", voice)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first, Synthesizer().speak("turn on the light", voice))


def test_speech_does_not_depend_on_the_clock(synthesizer):
    voices = [Voice(language="en-us", variant=variant) for variant in synthesizer.variants]
    first = [synthesizer.speak("seven", voice) for voice in voices]
    started = int(time.time())
    while int(time.time()) == started:
        time.sleep(0.01)
    for waveform, voice in zip(first, voices, strict=True):
        np.testing.assert_array_equal(synthesizer.speak("seven", voice), waveform, str(voice))


def test_threads_speak_one_at_a_time(synthesizer):
    texts = ["one two three", "call maria", "turn off the lamp", "seven thirty"]
    expected = [synthesizer.speak(text, ANNIE) for text in texts]
    spoken = {}
    threads = [
        threading.Thread(target=lambda t=text: spoken.update({t: synthesizer.speak(t, ANNIE)}))
        for text in texts
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for text, waveform in zip(texts, expected, strict=True):
        np.testing.assert_array_equal(spoken[text], waveform)


def test_the_waveform_is_audible_float32(synthesizer):
    waveform = synthesizer.speak("turn on the kitchen light", ANNIE)
    assert waveform.dtype == np.float32
    assert waveform.ndim == 1
    assert 1.0 < len(waveform) / 16_000 < 3.0
    assert 0.01 < np.sqrt(np.mean(waveform**2)) < 0.5


def test_the_sample_rate_changes_the_samples_and_not_the_duration():
    seconds = {
        rate: len(Synthesizer(sample_rate=rate).speak("hello", ANNIE)) / rate
        for rate in (8_000, 22_050)
    }
    assert seconds[8_000] == pytest.approx(seconds[22_050], abs=1e-3)


def test_a_longer_text_lasts_longer(synthesizer):
    once = synthesizer.speak("seven", ANNIE)
    four_times = synthesizer.speak("seven seven seven seven", ANNIE)
    assert 2.5 * len(once) < len(four_times) < 4.5 * len(once)


def test_rate_is_words_per_minute(synthesizer):
    text = "please remind maria to send the kitchen report on wednesday at seven thirty"
    slow, fast = (
        len(synthesizer.speak(text, Voice(language="en-us", variant="m3", rate=rate)))
        for rate in (120, 240)
    )
    assert slow / fast == pytest.approx(2.0, rel=0.15)


def test_pitch_raises_the_voice_and_keeps_its_pace(synthesizer):
    low, high = (
        synthesizer.speak("are you all there", Voice(language="en-us", variant="m3", pitch=pitch))
        for pitch in (30, 70)
    )
    assert pitch_hz(high, 16_000) > 1.2 * pitch_hz(low, 16_000)
    assert len(high) == pytest.approx(len(low), rel=0.05)


def test_pitch_range_zero_is_monotonous(synthesizer):
    def spread(pitch_range):
        voice = Voice(language="en-us", variant="klatt4", pitch_range=pitch_range)
        waveform = synthesizer.speak("are you all there", voice)
        return np.ptp([pitch_hz(part, 16_000) for part in np.array_split(waveform, 4)])

    assert spread(0) < spread(99)


def test_variants_and_languages_sound_different(synthesizer):
    voices = [ANNIE, BREATHY, Voice(language="en-gb-scotland", variant="Annie")]
    spoken = [synthesizer.speak("turn the bath water off", voice).tobytes() for voice in voices]
    assert len(set(spoken)) == 3


def test_every_english_accent_is_there(synthesizer):
    accents = {"en-us", "en-gb", "en-gb-scotland", "en-gb-x-rp", "en-029", "en-us-nyc"}
    assert accents <= set(synthesizer.languages)
    assert {"f1", "m3", "linda"} <= set(synthesizer.variants)


@pytest.mark.parametrize("text", ["", "   ", "…"])
def test_a_text_without_words_is_refused(synthesizer, text):
    with pytest.raises(DataError, match=f"'{text}': espeak-ng says nothing in en-us"):
        synthesizer.speak(text, ANNIE)


@pytest.mark.parametrize("text", ["stop\0here", "\x01200s fast", "two\nlines"])
def test_control_characters_are_refused(synthesizer, text):
    with pytest.raises(DataError, match="has control characters"):
        synthesizer.speak(text, ANNIE)


def test_an_unknown_language_is_named(synthesizer):
    with pytest.raises(DataError, match=r"no language 'en-uk'; choose .*for example.*en-us"):
        synthesizer.speak("hello", Voice(language="en-uk", variant="f1"))


@pytest.mark.parametrize("variant", ["f99", "../../lang/gmw/de", ""])
def test_an_unknown_variant_is_named(synthesizer, variant):
    with pytest.raises(DataError, match=f"no variant '{variant}'; choose one of its 1"):
        synthesizer.speak("hello", Voice(language="en-us", variant=variant))


@pytest.mark.parametrize("values", [{"pitch": 100}, {"pitch": -1}, {"pitch_range": 100}])
def test_pitches_are_bounded(values):
    with pytest.raises(ValueError, match=f"{next(iter(values))} must be 0 to 99"):
        Voice(language="en-us", variant="f1", **values)


@pytest.mark.parametrize("rate", [79, 451])
def test_the_rate_is_bounded(rate):
    with pytest.raises(ValueError, match="rate must be 80 to 450 words per minute"):
        Voice(language="en-us", variant="f1", rate=rate)


def test_the_missing_wheel_is_named_with_its_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(DataError, match=r"pip install 'asr-toolkit\[quickstart\]'"):
        Synthesizer()


def test_a_wheel_without_voices_is_not_replaced_by_another_installation(install, tmp_path):
    install(data=tmp_path)
    with pytest.raises(DataError, match="has no espeak-ng voices; install again"):
        Synthesizer()


def test_a_damaged_wheel_is_named(install, tmp_path, capfd):
    (tmp_path / "phontab").write_bytes(b"")
    install(data=tmp_path)
    with pytest.raises(DataError, match="espeak-ng cannot read its voices"):
        Synthesizer()
    capfd.readouterr()  # the library's own words about it


def test_a_voice_that_vanished_is_named(install, tmp_path):
    for entry in DATA_PATH.iterdir():
        (tmp_path / entry.name).symlink_to(entry)
    (tmp_path / "lang").unlink()
    shutil.copytree(DATA_PATH / "lang", tmp_path / "lang")
    install(data=tmp_path)
    synthesizer = Synthesizer()
    (tmp_path / "lang" / "gmw" / "en-US").unlink()
    with pytest.raises(DataError, match=r"cannot speak as gmw/en-US\+Annie .*install it again"):
        synthesizer.speak("hello", ANNIE)


def test_a_path_that_the_library_would_cut_is_named(install, tmp_path):
    folder = tmp_path / ("x" * 160)
    folder.symlink_to(DATA_PATH)
    install(data=folder)
    with pytest.raises(DataError, match="espeak-ng takes at most 158"):
        Synthesizer()


def test_the_longest_allowed_path_works(install, tmp_path):
    folder = tmp_path / ("x" * (158 - len(str(tmp_path)) - 1))
    folder.symlink_to(DATA_PATH)
    install(data=folder)
    expected = Synthesizer().speak("hello", ANNIE)
    assert expected.any()


def test_a_library_of_another_machine_is_named(install, tmp_path):
    (tmp_path / "libespeak-ng.so").write_bytes(b"not a library")
    install(library=tmp_path / "libespeak-ng.so")
    with pytest.raises(DataError, match=r"cannot be loaded: .*install it for this machine"):
        Synthesizer()


def test_an_error_in_a_session_leaves_the_library_usable(synthesizer, monkeypatch):
    def broken(pointer, size):
        raise MemoryError

    expected = synthesizer.speak("hello", ANNIE)
    monkeypatch.setattr(np, "frombuffer", broken)
    with pytest.raises(MemoryError):
        synthesizer.speak("hello", ANNIE)
    monkeypatch.undo()
    np.testing.assert_array_equal(synthesizer.speak("hello", ANNIE), expected)
