"""Text → speech by espeak-ng: many voices and accents, made on the spot, the same on every run.

The library and its voices come in the wheel `espeakng-loader`. espeak-ng is GPL-3, so the wheel is
an extra (`quickstart`); nothing but preparation uses this file, and no model needs it.
"""

import _ctypes
import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from asr.errors import DataError, shown

INSTALL = "pip install 'asr-toolkit[quickstart]'"
# espeak-ng keeps its data folder in a fixed buffer of 160 bytes; a longer path is dropped silently.
MAX_DATA_PATH_BYTES = 158
MAX_PITCH = 99
MIN_RATE, MAX_RATE = 80, 450

# Constants of espeak-ng's speak_lib.h.
_SYNCHRONOUS = 2
_DONT_EXIT = 0x8000
_UTF8 = 1
_RATE, _PITCH, _PITCH_RANGE = 1, 3, 4

# The library holds one voice and one utterance for the whole process.
_LOCK = threading.Lock()

_SynthesisCallback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_int16), ctypes.c_int, ctypes.c_void_p
)


class _VoiceEntry(ctypes.Structure):
    """`espeak_VOICE` of speak_lib.h."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("languages", ctypes.c_char_p),
        ("identifier", ctypes.c_char_p),
        ("gender", ctypes.c_ubyte),
        ("age", ctypes.c_ubyte),
        ("variant", ctypes.c_ubyte),
        ("reserved", ctypes.c_ubyte),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    )


@dataclass(frozen=True, kw_only=True)
class Voice:
    """A speaker: an accent, the sound of a throat, and a manner of speaking.

    Attributes:
        language: accent as espeak-ng names it: "en-us", "en-gb-scotland", "de" …
        variant: throat as the wheel names it: "f1", "m3", "linda" …
        pitch: 0 to 99; 50 is the variant's own.
        pitch_range: 0 (monotonous) to 99; 50 is the variant's own.
        rate: words per minute, 80 to 450.
    """

    language: str
    variant: str
    pitch: int = 50
    pitch_range: int = 50
    rate: int = 175

    def __post_init__(self) -> None:
        for name, value in (("pitch", self.pitch), ("pitch_range", self.pitch_range)):
            if not 0 <= value <= MAX_PITCH:
                raise ValueError(f"{name} must be 0 to {MAX_PITCH}, got {value}")
        if not MIN_RATE <= self.rate <= MAX_RATE:
            raise ValueError(
                f"rate must be {MIN_RATE} to {MAX_RATE} words per minute, got {self.rate}"
            )


class Synthesizer:
    """Speaks text in any voice of the wheel; safe to use from several threads, one at a time.

    Attributes:
        sample_rate: of the waveforms, Hz.
        languages: what `Voice.language` may be, sorted.
        variants: what `Voice.variant` may be, sorted.
    """

    def __init__(self, *, sample_rate: int = 16_000) -> None:
        """Find the library and its voices.

        Raises:
            DataError: the wheel is not installed, does not fit this machine, or is damaged.
        """
        self.sample_rate = sample_rate
        self._library_path, self._data_path = _installed_paths()
        with _LOCK, self._session() as library:
            self._identifiers = _language_identifiers(library)
        self.languages = tuple(sorted(self._identifiers))
        variants = (self._data_path / "voices" / "!v").iterdir()
        self.variants = tuple(sorted(path.name for path in variants))

    def speak(self, text: str, voice: Voice) -> NDArray[np.float32]:
        """The waveform (samples,) of `text`; the same arguments always give the same samples.

        Args:
            text: words as they are written. Lower case is safer than capitals, which espeak-ng may
                take for abbreviations.
            voice: who speaks.

        Raises:
            DataError: the voice is not in the wheel, the text has control characters or no word.
        """
        if not text.isprintable():
            # A NUL would end the text early, and control characters are espeak-ng's commands.
            raise DataError(f"'{shown(text)}' has control characters; take them out to speak it")
        name = self._full_name(voice)
        with _LOCK, self._session() as library:
            samples, native_rate = _synthesize(library, text, name, voice)
        if not samples.any():
            raise DataError(
                f"'{text}': espeak-ng says nothing in {voice.language}; give it a word, or another "
                "language if this one's dictionary is not in the wheel"
            )
        waveform = samples.astype(np.float32) / np.float32(32768)
        resampled: NDArray[np.float32] = soxr.resample(waveform, native_rate, self.sample_rate)
        return resampled

    def _full_name(self, voice: Voice) -> str:
        """What espeak-ng calls the voice. It ignores an unknown variant, so both are checked."""
        for kind, name, known in (
            ("language", voice.language, self.languages),
            ("variant", voice.variant, self.variants),
        ):
            if name not in known:
                near = ", ".join(get_close_matches(name, known, n=3, cutoff=0.3))
                raise DataError(
                    f"espeak-ng has no {kind} '{shown(name)}'; "
                    f"choose one of its {len(known)}{f', for example {near}' if near else ''}"
                )
        return f"{self._identifiers[voice.language]}+{voice.variant}"

    @contextmanager
    def _session(self) -> Iterator[ctypes.CDLL]:
        """The library with all its state new: the caller holds the lock.

        Pitch flutter and filters go on from one utterance to the next in static variables that no
        call resets, so what is said would depend on what was said before. Unloading the library
        resets them; that and loading it again takes 2 ms.
        """
        try:
            library = ctypes.CDLL(str(self._library_path))
        except OSError as error:
            raise DataError(
                f"{shown(self._library_path)}: cannot be loaded: {shown(str(error))}; "
                f"install it for this machine: {INSTALL}"
            ) from error
        try:
            path = os.fsencode(self._data_path)
            if library.espeak_Initialize(_SYNCHRONOUS, 0, path, _DONT_EXIT) <= 0:
                raise DataError(
                    f"{shown(self._data_path)}: espeak-ng cannot read its voices; "
                    f"install them again: {INSTALL}"
                )
            try:
                yield library
            finally:
                library.espeak_Terminate()  # ends its thread, which must not outlive the code
        finally:
            _ctypes.dlclose(library._handle)


def _installed_paths() -> tuple[Path, Path]:
    """The library's file and the folder of its voices."""
    try:
        import espeakng_loader
    except ImportError as error:
        raise DataError(f"made speech needs the package espeakng-loader: {INSTALL}") from error
    data_path = Path(espeakng_loader.get_data_path())
    if not (data_path / "phontab").is_file():
        # espeak-ng would look for another installation instead and speak with other voices.
        raise DataError(f"{shown(data_path)}: has no espeak-ng voices; install again: {INSTALL}")
    length = len(os.fsencode(data_path))
    if length > MAX_DATA_PATH_BYTES:
        raise DataError(
            f"{shown(data_path)}: path of {length} bytes; espeak-ng takes at most "
            f"{MAX_DATA_PATH_BYTES}. Install into a folder with a shorter name"
        )
    return Path(espeakng_loader.get_library_path()), data_path


def _language_identifiers(library: ctypes.CDLL) -> dict[str, str]:
    """Language → the file that defines it; names by language do not always work ("en-gb")."""
    library.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(_VoiceEntry))
    entries = library.espeak_ListVoices(None)
    identifiers: dict[str, str] = {}
    index = 0
    while entries[index]:
        entry = entries[index].contents
        language = entry.languages[1:].decode("utf-8")  # the first byte is a priority
        identifiers.setdefault(language, entry.identifier.decode("utf-8"))
        index += 1
    return identifiers


def _synthesize(
    library: ctypes.CDLL, text: str, name: str, voice: Voice
) -> tuple[NDArray[np.int16], int]:
    """Samples (samples,) and their rate in Hz."""
    blocks: list[bytes] = []

    def collect(samples: Any, count: int, _events: object) -> int:
        if samples and count > 0:
            blocks.append(ctypes.string_at(samples, 2 * count))
        return 0  # go on

    callback = _SynthesisCallback(collect)
    library.espeak_SetSynthCallback(callback)
    statuses = [library.espeak_SetVoiceByName(name.encode("utf-8"))]
    for parameter, value in (
        (_RATE, voice.rate),
        (_PITCH, voice.pitch),
        (_PITCH_RANGE, voice.pitch_range),
    ):
        statuses.append(library.espeak_SetParameter(parameter, value, 0))
    # Breath is noise, for some voices from espeak-ng's own generator, which starts with the clock,
    # for others from the C library's.
    statuses.append(library.espeak_ng_SetRandSeed(ctypes.c_long(1)))
    library.srand(1)
    data = text.encode("utf-8")
    statuses.append(library.espeak_Synth(data, len(data) + 1, 0, 0, 0, _UTF8, None, None))
    if any(statuses):
        raise DataError(
            f"espeak-ng cannot speak as {name} (statuses {statuses}); install it again: {INSTALL}"
        )
    return np.frombuffer(b"".join(blocks), np.int16), int(library.espeak_ng_GetSampleRate())
