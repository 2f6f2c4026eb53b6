"""Parallel texts as pairs: NAME.en and NAME.fr have a sentence a line, the translation likewise.

Names that begin with one of `DEV` are the dev set, of `TEST` the test set, all others the training.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

from asr.data.text import normalize_text
from asr.errors import DataError, shown
from asr.lm.tokens import text_blocks

SOURCE, TARGET = "en", "fr"
DEV = ("dev", "valid", "ntst12", "newstest2012", "newstest2013")
TEST = ("test", "ntst14", "newstest2014")
SETS = ("train", "dev", "test")


@dataclass
class ParallelTexts:
    """The files of a corpus, by their sets, and what was left out of them.

    Attributes:
        files: of each set the files of both languages.
        notes: how many pairs of each training file were left out, once its lines have been read.
    """

    files: dict[str, list[tuple[Path, Path]]]
    notes: list[str] = field(default_factory=list)

    def lines(self, name: str) -> Iterator[str]:
        """Lines "source<TAB>target" of a set; in train, those with an empty side are left out.

        Raises:
            DataError: files that are not parallel or not readable, or an empty side in dev or test.
        """
        for source, target in self.files[name]:
            left_out = 0
            for number, (one, other) in enumerate(parallel_lines(source, target), start=1):
                if one and other:
                    yield f"{one}\t{other}"
                    continue
                if name != "train":
                    raise DataError(
                        f"{shown(target if one else source)}:{number}: is empty, and {name} must "
                        "be whole; correct it, or remove the line from both files"
                    )
                left_out += 1
            if left_out:
                self.notes.append(
                    f"{shown(source)}: {left_out:,} pairs with an empty side left out"
                )


def find_parallel(corpus: Sequence[Path]) -> ParallelTexts:
    """The parallel files right in some folders.

    Raises:
        DataError: none, one without its translation, or a set without files.
    """
    files: dict[str, list[tuple[Path, Path]]] = {name: [] for name in SETS}
    for folder in corpus:
        for end in ("", ".gz"):
            for source in sorted(folder.glob(f"*.{SOURCE}{end}")):
                name = source.name.removesuffix(f".{SOURCE}{end}")
                files[_set_of(name)].append((source, _translation(source, name)))
    missing = [name for name in SETS if not files[name]]
    if missing:
        places = ", ".join(map(shown, corpus)) or "seq2seq"
        raise DataError(
            f"{places}: no parallel files for {missing[0]}; give --corpus a folder with NAME."
            f"{SOURCE} and NAME.{TARGET}, names as in train, {DEV[-1]}, {TEST[-1]}"
        )
    return ParallelTexts(files)


def _set_of(name: str) -> str:
    if name.startswith(DEV):
        return "dev"
    return "test" if name.startswith(TEST) else "train"


def _translation(source: Path, name: str) -> Path:
    for end in ("", ".gz"):
        path = source.with_name(f"{name}.{TARGET}{end}")
        if path.is_file():
            return path
    raise DataError(f"{shown(source)}: has no {name}.{TARGET} beside it; parallel files are pairs")


def parallel_lines(source: Path, target: Path) -> Iterator[tuple[str, str]]:
    """The lines of both, normalised, side by side.

    Raises:
        DataError: one is longer, or not readable.
    """
    number = 0
    for number, (one, other) in enumerate(zip_longest(_lines(source), _lines(target)), start=1):
        if one is None or other is None:
            short, long = (source, target) if one is None else (target, source)
            raise DataError(
                f"{shown(short)}: ends after line {number - 1:,}, but {shown(long)} goes on; "
                "parallel files have as many lines, each the translation of the other's"
            )
        yield one, other


def _lines(path: Path) -> Iterator[str]:
    for block in text_blocks([path]):
        for line in block.lines():
            yield normalize_text(line)
