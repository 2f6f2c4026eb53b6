"""Made-up pairs for trying out the networks: copies, and reversals, of random symbols."""

from collections.abc import Iterator, Mapping

import numpy as np

COUNTS = {"train": 20_000, "dev": 500, "test": 500}
SYMBOLS = "abcdefghij"
LENGTHS = (3, 8)  # shortest, longest


def made_pairs(
    *, mirrored: bool, counts: Mapping[str, int] = COUNTS, seed: int = 1
) -> dict[str, list[str]]:
    """Lines "source<TAB>target" of each set; no source is in two sets, or twice in one.

    Args:
        mirrored: whether the target is the source reversed; else it is the source.
        counts: pairs of each set.
        seed: of the symbols.
    """
    sources = _sources(np.random.default_rng(seed))
    taken: set[str] = set()
    sets: dict[str, list[str]] = {}
    for name, count in counts.items():
        lines: list[str] = []
        while len(lines) < count:
            source = next(sources)
            if source not in taken:
                taken.add(source)
                target = source[::-1] if mirrored else source  # a symbol is one character
                lines.append(f"{source}\t{target}")
        sets[name] = lines
    return sets


def _sources(generator: np.random.Generator) -> Iterator[str]:
    """Symbols with spaces between, without end; lengths equally probable."""
    symbols = np.array(list(SYMBOLS))
    shortest, longest = LENGTHS
    while True:
        length = int(generator.integers(shortest, longest + 1))
        yield " ".join(symbols[generator.integers(0, len(symbols), length)].tolist())
