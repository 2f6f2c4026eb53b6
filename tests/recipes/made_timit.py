"""A made-up TIMIT disc: every phone is a tone, in SPHERE files such as those of the real disc."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

from recipes.timit.prepare import PHONES
from tests.data.audio.sounds import RATE, Int16, sphere
from tests.data.corpus.small_sounds import write

TINY = {"train": 6, "dev": 2, "test": 2}
LISTS = {"dev_speakers": ["faks0"], "test_speakers": ["mdab0"]}
PHONE_SAMPLES = 960  # 60 ms
SPEAKERS = {
    "TRAIN/DR1/FCJF0": ("SA1", "SA2", "SI1027", "SX37"),
    "TRAIN/DR1/MDAC0": ("SA1", "SA2", "SI1261", "SX91"),
    "TRAIN/DR2/FAEM0": ("SA1", "SA2", "SI762", "SX42"),
    "TEST/DR1/FAKS0": ("SA1", "SA2", "SI943", "SX43"),
    "TEST/DR1/MDAB0": ("SA1", "SA2", "SI1039", "SX49"),
    "TEST/DR3/MXYZ0": ("SA1", "SA2", "SI5", "SX6"),
}

Rename = Callable[[str], str]


def made_disc(
    root: Path, *, rename: Rename = str, wav: str = ".WAV", version: str = "", kind: str = "sphere"
) -> Path:
    """A disc of six speakers, three of them in TRAIN, whose texts have all 61 phones between them.

    Args:
        root: a folder to make; the disc is TIMIT/ in it.
        rename: what becomes of every name below `root`.
        wav: the end of the names of sound files.
        version: after every name of a file, such as ";1".
        kind: `sphere`, or a format of soundfile.
    """
    for index, (folder, names) in enumerate(SPEAKERS.items()):
        for number, name in enumerate(names):
            phones = phones_of(2 * index + number - 2)
            place = root / rename(f"TIMIT/{folder}")
            write(place / rename(f"{name}.PHN{version}"), *lines_of(phones))
            sound = place / rename(f"{name}{wav}{version}")
            if kind == "sphere":
                sound.write_bytes(disc_file(tones(phones)))
            else:
                soundfile.write(sound, tones(phones), RATE, format=kind, subtype="PCM_16")
    write(root / rename("TIMIT/README.DOC"), "TIMIT")
    return root


def phones_of(number: int) -> list[str]:
    """A text: eleven phones, the next ones with the next number, and neighbouring silences."""
    phones = sorted(PHONES)
    inner = [phones[(10 * number + step) % len(phones)] for step in range(11)]
    return ["h#", *inner, "bcl", "b", "q", "pau", "h#"]


def lines_of(phones: list[str]) -> list[str]:
    """The lines of a .PHN file."""
    times = [PHONE_SAMPLES * index for index in range(len(phones) + 1)]
    return [
        f"{begin} {end} {phone}"
        for begin, end, phone in zip(times, times[1:], phones, strict=False)
    ]


def tones(phones: list[str]) -> Int16:
    """What is heard: a tone for each phone."""
    time = np.arange(PHONE_SAMPLES) / RATE
    frequencies = {phone: 200.0 + 100.0 * index for index, phone in enumerate(sorted(PHONES))}
    parts = [
        np.sin(2 * np.pi * frequencies[phone] * time) * np.hanning(PHONE_SAMPLES)
        for phone in phones
    ]
    random = np.random.default_rng(len(phones))
    heard = 8000 * np.concatenate(parts) + 20 * random.standard_normal(len(parts) * PHONE_SAMPLES)
    return heard.astype(np.int16)


def disc_file(samples: Int16) -> bytes:
    """A SPHERE file as on the disc, whose header does not say how samples are coded."""
    data = sphere(samples, "pcm", samples.astype("<i2").tobytes())
    return data[:1024].replace(b"sample_coding -s3 pcm\n", b"").ljust(1024, b"\0") + data[1024:]
