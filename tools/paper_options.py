"""The options of `paper_table`."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from asr.errors import ConfigError, shown
from tools.paper_plan import OtherLists, Table, open_table

COMMANDS = ("print", "run")


def parsed(text: str, arguments: Sequence[str]) -> argparse.Namespace:
    """The command line; without a command, it is print. The first sentence of `text` describes."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("recipe", type=_folder, metavar="CORPUS", help="of recipes/, or a folder")
    common.add_argument("--data", type=Path, help="default: where the training data is")
    common.add_argument("--out", type=Path, help="default: exp/CORPUS/table")
    common.add_argument("--lm", type=Path, metavar="FOLDER", help="default: exp/CORPUS/lm")
    common.add_argument(
        "--bundle",
        action="append",
        default=[],
        metavar="TRAINING=BUNDLE",
        help="such as default=exp/other/best; default: exp/CORPUS/TRAINING/best",
    )
    common.add_argument("--nbest-from", type=Path, help="n-best lists of another system, of test")
    common.add_argument("--nbest-dev", type=Path, help="the same of dev")
    for name in ("costs", "dev-costs"):
        common.add_argument(
            f"--nbest-{name}",
            action="append",
            default=[],
            metavar="NAME=FILE",
            help="scores of those lists, as `asr rescore --costs` takes them",
        )
    program = argparse.ArgumentParser(description=text.split("\n\n", 1)[0])
    commands = program.add_subparsers(dest="command", required=True)
    commands.add_parser("run", parents=[common])
    printing = commands.add_parser("print", parents=[common])
    printing.add_argument("--without-paper", action="store_true", help="only what was reached")
    named = bool(arguments) and arguments[0] in (*COMMANDS, "-h", "--help")
    return program.parse_args([*([] if named else ["print"]), *arguments])


def table_of(options: argparse.Namespace) -> Table:
    """The table that the options ask for.

    Raises:
        ConfigError: options that cannot be used, or do not fit together.
    """
    return open_table(
        options.recipe,
        data=options.data,
        out=options.out,
        lm=options.lm,
        bundles=dict(map(_named, options.bundle)),
        other=_other(options),
    )


def _folder(text: str) -> Path:
    """The recipe folder that a corpus stands for, or the path itself."""
    of_corpus = Path("recipes") / text
    return of_corpus if of_corpus.is_dir() else Path(text)


def _named(option: str) -> tuple[str, Path]:
    name, separator, bundle = option.partition("=")
    if not (name and separator and bundle):
        raise ConfigError(f"--bundle must be TRAINING=BUNDLE, got '{shown(option)}'")
    return name, Path(bundle)


def _other(options: argparse.Namespace) -> OtherLists | None:
    test, dev = options.nbest_from, options.nbest_dev
    costs, dev_costs = options.nbest_costs, options.nbest_dev_costs
    if test is None:
        if dev or costs or dev_costs:
            raise ConfigError("--nbest-dev and costs are those of --nbest-from; give it as well")
        return None
    if dev is None:
        raise ConfigError("--nbest-from needs --nbest-dev, lists of the dev set, for the weights")
    if sorted(map(_name, costs)) != sorted(map(_name, dev_costs)):
        raise ConfigError("--nbest-costs and --nbest-dev-costs must have the same names")
    return OtherLists(test, dev, tuple(costs), tuple(dev_costs))


def _name(option: str) -> str:
    name, separator, _ = option.partition("=")
    if not separator:
        raise ConfigError(f"costs must be NAME=FILE, got '{shown(option)}'")
    return name
