"""`asr lm train | perplexity | sample`: language models made, measured, and let speak."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asr.cli.options import show_progress
from asr.errors import ConfigError, shown

if TYPE_CHECKING:
    from asr.lm.kenlm_binary import KenlmModel
    from asr.lm.neural_model import NeuralModel
    from asr.lm.ngram import NgramModel

app = typer.Typer(
    help="Make n-gram language models of text; measure any language model, and draw from it.",
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
UNIT_HELP = "character: every letter a word, a space is <space>."
UnitOption = Annotated[Unit, typer.Option("--unit", help=UNIT_HELP)]
UnitOfModel = Annotated[
    Unit | None, typer.Option("--unit", help=f"Of an n-gram model: word, or {UNIT_HELP}")
]
Model = Annotated[
    Path,
    typer.Argument(help="An ARPA file (also .gz), a KenLM binary, or a neural model's folder."),
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
def perplexity_command(model: Model, texts: Texts, unit: UnitOfModel = None) -> int:
    """Measure how well a language model predicts text: perplexity and unknown words."""
    from asr.lm.measuring import measured_lines

    for line in measured_lines(_loaded(model, unit), texts, (unit or Unit.word).value):
        print(line)
    return 0


@app.command("sample")
def sample_command(
    model: Model,
    prompt: Annotated[str, typer.Option("--prompt", help="How every text begins.")] = "",
    temperature: Annotated[
        float,
        typer.Option(help="Below 1 more probable, above 1 more varied; 0: the most probable."),
    ] = 0.75,
    length: Annotated[int, typer.Option(help="Most words, characters or pieces to draw.")] = 200,
    count: Annotated[int, typer.Option(help="How many texts.")] = 1,
    seed: Annotated[
        int | None, typer.Option(help="The same number draws the same. Default: another one.")
    ] = None,
    unit: UnitOfModel = None,
) -> int:
    """Draw texts from a language model, a line each."""
    import numpy as np

    from asr.lm.sampling import check_sampling, sample_texts

    check_sampling(count=count, length=length, temperature=temperature)
    if seed is not None and seed < 0:
        raise ConfigError(f"--seed must be 0 or more, got {seed}")
    texts = sample_texts(
        _loaded(model, unit),
        prompt,
        count=count,
        length=length,
        temperature=temperature,
        generator=np.random.default_rng(seed),
        unit=(unit or Unit.word).value,
    )
    for text in texts:
        print(text)
    return 0


def _loaded(path: Path, unit: Unit | None) -> "NgramModel | KenlmModel | NeuralModel":
    """A language model, and an option that would have no effect on it refused."""
    from asr.lm.loading import load_lm

    model = load_lm(path)
    if unit is not None and model.order is None:
        raise ConfigError(
            f"{shown(path)}: is a neural model, whose words are its own tokens; leave out --unit"
        )
    return model


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
