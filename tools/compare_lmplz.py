"""Our n-gram models against those of KenLM's `lmplz`: the largest differences.

    python tools/compare_lmplz.py …/kenlm/build/bin/lmplz text.txt[.gz] 3 [--prune 0 0 1]
        [--vocabulary words.txt]

Both estimate a model of the same text. Printed for each length: the number of n-grams, how many
only one of the two has, and the largest difference of log10 probabilities and of back-offs; and the
seconds that each took. Where lmplz would stop for want of discounts, it is told to fall back as we
do. The text must be normalised (single spaces, NFC), for lmplz changes nothing, and end with a line
end, for lmplz leaves out the `</s>` of a line without.
"""

import argparse
import gzip
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from asr.lm.arpa import write_arpa
from asr.lm.estimate import estimate, read_vocabulary

Entries = dict[str, tuple[float, float]]  # n-gram → log10 probability, back-off


def main() -> None:
    """Compare, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("lmplz", type=Path)
    parser.add_argument("text", type=Path)
    parser.add_argument("order", type=int)
    parser.add_argument("--prune", type=int, nargs="+", default=[])
    parser.add_argument("--vocabulary", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        ours, theirs = Path(name) / "ours.arpa", Path(name) / "theirs.arpa"
        begin = time.perf_counter()
        _estimate_ours(arguments, ours)
        between = time.perf_counter()
        _estimate_theirs(arguments, theirs)
        end = time.perf_counter()
        print(f"seconds: ours {between - begin:.1f}, lmplz {end - between:.1f}")
        for length, (a, b) in enumerate(zip(_read(ours), _read(theirs), strict=True), start=1):
            print(_compared(length, a, b))


def _estimate_ours(arguments: argparse.Namespace, path: Path) -> None:
    vocabulary = read_vocabulary(arguments.vocabulary) if arguments.vocabulary else None
    model = estimate(
        [arguments.text], order=arguments.order, vocabulary=vocabulary, prune=arguments.prune
    )
    write_arpa(path, model.words, model.orders)


def _estimate_theirs(arguments: argparse.Namespace, path: Path) -> None:
    command = [arguments.lmplz, "-o", str(arguments.order), "-S", "2G", "-T", path.parent]
    command += ["--arpa", path, "--discount_fallback"]
    if arguments.prune:
        command += ["--prune", *map(str, arguments.prune)]
    if arguments.vocabulary:
        command += ["--limit_vocab_file", arguments.vocabulary]
    with tempfile.TemporaryFile() as plain:
        packed = arguments.text.suffix == ".gz"
        with gzip.open(arguments.text) if packed else arguments.text.open("rb") as file:
            shutil.copyfileobj(file, plain)
        plain.seek(0)
        subprocess.run(command, stdin=plain, stderr=subprocess.DEVNULL, check=True)  # noqa: S603


def _read(path: Path) -> Iterator[Entries]:
    """The n-grams of each length; a plain reader, independent of the one in `asr.lm`."""
    entries: Entries | None = None
    with path.open(encoding="utf-8", newline="\n") as file:
        for line in file:
            fields = line.rstrip("\n").split("\t")
            if line.endswith("-grams:\n"):
                if entries is not None:
                    yield entries
                entries = {}
            elif entries is not None and len(fields) > 1:
                backoff = float(fields[2]) if len(fields) > 2 else 0.0
                entries[fields[1]] = (float(fields[0]), backoff)
    yield entries or {}


def _compared(length: int, ours: Entries, theirs: Entries) -> str:
    common = ours.keys() & theirs.keys()
    prob = max((abs(ours[ngram][0] - theirs[ngram][0]) for ngram in common), default=0.0)
    backoff = max((abs(ours[ngram][1] - theirs[ngram][1]) for ngram in common), default=0.0)
    return (
        f"{length}-grams: {len(common):,} in both, {len(ours) - len(common)} only ours, "
        f"{len(theirs) - len(common)} only lmplz's; largest difference of log10 probabilities "
        f"{prob:.1e}, of back-offs {backoff:.1e}"
    )


if __name__ == "__main__":
    main()
