"""`asr lm train` and `asr lm perplexity`: n-gram language models."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from asr.cli.options import show_progress
from asr.errors import ConfigError, shown

app = typer.Typer(
    help="Make n-gram language models of text, and measure them.",
    rich_markup_mode=None,
)


class Unit(StrEnum):
    """What is a word to the model."""

    word = "word"
    character = "character"


Texts = Annotated[
    list[Path],
    typer.Argument(
        help="Text files (also .gz), a sentence a line; manifests (.jsonl); - for stdin."
    ),
]
UnitOption = Annotated[
    Unit, typer.Option("--unit", help="character: every letter a word, a space is <space>.")
]


@app.command("train")
def train_command(
    texts: Texts,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The ARPA file; compressed if it ends in .gz.")
    ],
    order: Annotated[int, typer.Option("--order", help="The longest n-gram, 1 to 6.")] = 3,
    vocabulary: Annotated[
        Path | None,
        typer.Option("--vocabulary", help="File with the words to know. Default: all."),
    ] = None,
    prune: Annotated[
        list[str] | None,
        typer.Option(
            "--prune",
            help="Leave out n-grams that occur no more often: a number a length, such as 0,0,1.",
        ),
    ] = None,
    unit: UnitOption = Unit.word,
) -> int:
    """Make an n-gram model of text (interpolated modified Kneser-Ney), as an ARPA file."""
    from asr.lm.arpa import write_arpa
    from asr.lm.estimate import estimate, read_vocabulary

    show_progress()
    thresholds = _numbers(prune or [])
    _check_paths(texts, out)
    model = estimate(
        texts,
        order=order,
        vocabulary=None if vocabulary is None else read_vocabulary(vocabulary),
        prune=thresholds,
        unit=unit.value,
    )
    write_arpa(out, model.words, model.orders)
    for line in model.lines():
        print(line)
    print(out)
    return 0


@app.command("perplexity")
def perplexity_command(
    model: Annotated[Path, typer.Argument(help="An ARPA file (also .gz) or a KenLM binary.")],
    texts: Texts,
    unit: UnitOption = Unit.word,
) -> int:
    """Measure how well a language model predicts text: perplexity and unknown words."""
    from asr.lm.loading import load_lm
    from asr.lm.perplexity import perplexity
    from asr.lm.tokens import split_sentences

    for line in perplexity(load_lm(model), split_sentences(texts, unit.value)).lines():
        print(line)
    return 0


def _numbers(prune: list[str]) -> list[int]:
    """The thresholds, given as `0,0,1` or one by one."""
    try:
        return [int(number) for words in prune for number in words.replace(",", " ").split(" ")]
    except ValueError:
        raise ConfigError(
            f"--prune must be whole numbers with commas between, such as 0,0,1, got "
            f"'{shown(' '.join(prune))}'"
        ) from None


def _check_paths(texts: list[Path], out: Path) -> None:
    for text in texts:
        if text.name.isdecimal() and not text.exists():
            raise ConfigError(
                f"{shown(text)}: no such text; the numbers of --prune have commas between, such as "
                "--prune 0,0,1"
            )
        if text.exists() and out.exists() and text.samefile(out):
            raise ConfigError(f"{shown(out)}: is the text itself; choose another --out")
