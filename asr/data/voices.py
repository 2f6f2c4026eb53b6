"""Speakers for made speech: accent × throat × pitch × pace.

A variant ("throat") belongs to one of the three sets, so the voices of dev and test are new to a
model in all that tells people apart except the accent. Left out of the wheel's 104 variants are
whispers, robots and monsters, those that clip, and near-doubles of another variant.
"""

from itertools import cycle

from asr.data.synthesis import Voice

ACCENTS = (
    *("en-us", "en-gb", "en-gb-scotland", "en-gb-x-rp"),
    *("en-us-nyc", "en-gb-x-gbclan", "en-029", "en-gb-x-gbcwmd"),
)
PITCHES = (50, 40, 60, 45, 55)
RATES = (160, 145, 175, 150, 185, 165, 140)  # words per minute

_WOMEN = ("f1", "f2", "f5", "Annie", "aunty", "belinda", "anika", "Alicia", "grandma", "steph")
_MEN = (
    *("m1", "m3", "m4", "m6", "m7", "Andy", "Alex", "Denis", "Diogo", "Lee", "Michael", "Mike"),
    *("Reed", "Storm", "announcer", "david", "gustave", "iven3", "kaukovalta", "klatt4"),
    *("marcelo", "michel", "miguel", "mike2", "norbert", "pablo", "rob", "sandro", "travis", "ian"),
)
# The wheel has three times as many men. Women come twice, 27 places apart, which gives them
# another accent, pitch and pace the second time.
TRAIN_VARIANTS = (*_WOMEN, *_MEN[:17], *_WOMEN, *_MEN[17:])
DEV_VARIANTS = ("f4", "max", "Andrea", "Mario", "victor", "edward")
TEST_VARIANTS = ("f3", "m5", "shelby", "boris", "linda", "quincy", "Nguyen", "Gene2")


def voices(variants: tuple[str, ...]) -> list[Voice]:
    """A voice for each variant; accents, pitches and paces go round at different periods."""
    manners = zip(variants, cycle(ACCENTS), cycle(PITCHES), cycle(RATES), strict=False)
    return [
        Voice(variant=variant, language=accent, pitch=pitch, rate=rate)
        for variant, accent, pitch, rate in manners
    ]


def speaker_name(voice: Voice) -> str:
    """The name of a voice in manifests and folders."""
    return f"{voice.language}_{voice.variant}"
