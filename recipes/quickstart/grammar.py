"""The language of the quickstart: commands, numbers and names, by a grammar of templates.

`{name}` in a template stands for one of `SLOTS["name"]`, whose entries may hold slots themselves.
"""

import re
from functools import cache

import numpy as np

SLOTS: dict[str, tuple[str, ...]] = {
    "sentence": (
        "TURN {switch} THE {room} {device}",
        "TURN THE {room} {device} {switch}",
        "{shut} THE {room} {opening}",
        "CALL {person} AT {time}",
        "CALL {name}'S {relative}",
        "SET A TIMER FOR {number} {unit}",
        "SET AN ALARM FOR {time}",
        "WAKE ME AT {time} ON {day}",
        "PLAY {medium} {number}",
        "DIAL {digit} {digit} {digit} {digit} {digit}",
        "TELL {person} I'LL BE {state} IN {number} MINUTES",
        "REMIND ME TO {task} ON {day}",
        "DON'T FORGET TO {task} AT {time}",
        "DON'T FORGET {name}'S BIRTHDAY ON {day}",
        "WHAT'S THE WEATHER IN {city} ON {day}",
        "ADD {number} {food} TO THE SHOPPING LIST",
        "SET THE {room} HEATER TO {number} DEGREES",
        "WHAT IS {number} {operation} {number}",
        "WHEN IS THE NEXT TRAIN FROM {city} TO {city}",
        "TURN THE VOLUME {direction} TO {number}",
        "BOOK A TABLE FOR {digit} PEOPLE AT {time}",
    ),
    "switch": ("ON", "OFF"),
    "direction": ("UP", "DOWN"),
    "room": ("KITCHEN", "BEDROOM", "BATHROOM", "GARDEN", "OFFICE", "HALL"),
    "device": ("LIGHT", "LAMP", "FAN", "HEATER", "RADIO", "CAMERA"),
    "shut": ("OPEN", "CLOSE", "LOCK"),
    "opening": ("DOOR", "WINDOW", "GATE"),
    "person": ("{name}", "MY {relative}"),
    "name": ("MARIA", "JOHN", "ANNA", "DAVID", "SARAH", "VICTOR", "OSCAR"),
    "relative": ("MOTHER", "FATHER", "SISTER", "BROTHER"),
    "unit": ("MINUTES", "SECONDS"),
    "medium": ("TRACK", "STATION", "CHANNEL"),
    "state": ("HOME", "THERE", "READY", "LATE"),
    "task": ("BUY {number} {food}", "FEED THE CAT", "WATER THE PLANTS", "PAY THE RENT"),
    "food": ("APPLES", "EGGS", "LEMONS", "POTATOES", "ONIONS", "PIZZAS"),
    "operation": ("PLUS", "MINUS", "TIMES"),
    "city": ("LONDON", "PARIS", "BERLIN", "ROME", "MADRID", "BOSTON"),
    "day": ("MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY"),
    "time": (
        *("{hour}", "{hour} O'CLOCK", "{hour} FIFTEEN", "{hour} THIRTY"),
        *("HALF PAST {hour}", "QUARTER TO {hour}"),
    ),
    "number": ("{digit}", "{teen}", "{tens}", "{tens} {digit}", "{tens} {digit}"),
    "hour": (
        *("ONE", "TWO", "THREE", "FOUR", "FIVE", "SIX"),
        *("SEVEN", "EIGHT", "NINE", "TEN", "ELEVEN", "TWELVE"),
    ),
    "digit": ("ONE", "TWO", "THREE", "FOUR", "FIVE", "SIX", "SEVEN", "EIGHT", "NINE"),
    "teen": (
        *("TEN", "ELEVEN", "TWELVE", "THIRTEEN", "FOURTEEN", "FIFTEEN"),
        *("SIXTEEN", "SEVENTEEN", "EIGHTEEN", "NINETEEN"),
    ),
    "tens": ("TWENTY", "THIRTY", "FORTY", "FIFTY", "SIXTY", "SEVENTY", "EIGHTY", "NINETY"),
}

_SLOT = re.compile(r"{(\w+)}")


def draw_sentences(count: int, generator: np.random.Generator) -> list[str]:
    """`count` different sentences, in the order in which they were drawn.

    Raises:
        ValueError: the grammar has too few sentences to draw that many quickly.
    """
    available = num_derivations("sentence")
    if count > available // 10:
        raise ValueError(f"{count} sentences of {available}; draw at most {available // 10}")
    sentences: dict[str, None] = {}  # a set that keeps the order
    while len(sentences) < count:
        sentences.setdefault(expand("{sentence}", generator))
    return list(sentences)


def expand(template: str, generator: np.random.Generator) -> str:
    """`template` with an entry in place of every slot, each entry as likely as the others."""

    def choose(slot: re.Match[str]) -> str:
        entries = SLOTS[slot.group(1)]
        return expand(entries[generator.integers(len(entries))], generator)

    return _SLOT.sub(choose, template)


@cache
def num_derivations(slot: str) -> int:
    """In how many ways `slot` can be filled (the same text in two ways counts twice)."""
    total = 0
    for entry in SLOTS[slot]:
        ways = 1
        for inner in _SLOT.findall(entry):
            ways *= num_derivations(inner)
        total += ways
    return total


def vocabulary() -> list[str]:
    """Every word that a sentence can have, sorted; "MARIA" and "MARIA'S" are two."""
    words: set[str] = set()
    for entries in SLOTS.values():
        for entry in entries:
            for word in entry.split():
                words.update(_spellings(word))
    return sorted(words)


def _spellings(word: str) -> list[str]:
    """What a word of an entry can become when it is not a slot alone."""
    slot = _SLOT.search(word)
    if slot is None:
        return [word]
    if slot.group() == word:
        return []  # its entries are counted where they stand
    return [word.replace(slot.group(), entry) for entry in SLOTS[slot.group(1)]]
