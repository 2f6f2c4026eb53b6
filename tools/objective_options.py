"""The options of `compare_objectives`."""

import argparse
from pathlib import Path

RATES, SEEDS, MINUTES = (3e-5, 1e-4, 3e-4, 1e-3), (1, 2, 3), 6.0


def _recipe(text: str) -> Path:
    """The recipe that a corpus stands for, or the path itself."""
    of_corpus = Path("recipes") / text / "expected_wer.toml"
    return of_corpus if of_corpus.is_file() else Path(text)


def _rate(text: str) -> float:
    rate = float(text)
    if not 0 < rate < 1:
        raise argparse.ArgumentTypeError("must be above 0 and below 1")
    return rate


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _minutes(text: str) -> float:
    minutes = float(text)
    if not 0 < minutes < float("inf"):
        raise argparse.ArgumentTypeError("must be above 0")
    return minutes


def parser(text: str) -> argparse.ArgumentParser:
    """What reads the command line; the first line of `text` describes the program."""
    common = argparse.ArgumentParser(add_help=False)
    named = "a corpus of recipes/, or a recipe with the expected WER and init_from"
    common.add_argument("recipe", type=_recipe, metavar="CORPUS", help=named)
    common.add_argument("--out", type=Path, help="default: exp/compare/CORPUS")
    common.add_argument("--rates", type=_rate, nargs="+", default=RATES)
    common.add_argument("--seeds", type=_positive, nargs="+", default=SEEDS)
    jobs = argparse.ArgumentParser(add_help=False)
    jobs.add_argument("--jobs", type=_positive, default=1, help="side by side, one core each")
    program = argparse.ArgumentParser(description=text.split("\n", 1)[0])
    commands = program.add_subparsers(dest="command", required=True)
    training = commands.add_parser("train", parents=[common, jobs])
    length = training.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=_minutes, default=MINUTES, help="of training, each")
    length.add_argument("--epochs", type=_positive, help="of all arms alike, instead of --minutes")
    decoding = commands.add_parser("decode", parents=[common, jobs])
    decoding.add_argument("--lexicon", type=Path, help="default: exp/lm/CORPUS_words.txt")
    decoding.add_argument("--lm", type=Path, help="default: exp/lm/CORPUS_3.arpa")
    reporting = commands.add_parser("report", parents=[common])
    reporting.add_argument("--before", action="store_true", help="only what could be detected")
    return program
