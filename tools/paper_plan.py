"""What the table of Graves & Jaitly (2014) is made of: data, trainings, models, and where they lie.

LM/N.arpa                  the N-gram models, N from 1 to 3, and lm-N/ for their logs
OUT/RUN/best-path          RUN is a training such as default or expected_wer; each folder is what
OUT/RUN/none               `asr evaluate --out` writes, with scores.json, done.json and log.txt
OUT/RUN/dictionary
OUT/RUN/tune-N             weights of the N-gram for the search, found on dev, stored in the bundle
OUT/RUN/N-gram
OUT/RUN/lists-dev, -test   300-best lists of the search with dictionary and 2-gram
OUT/RUN/exact-dev, -test   the same lists with the exact score of the recogniser
OUT/RUN/rescored-N         ranked by that and the N-gram; weights found on dev
OUT/RUN/other-…            the same for the lists of another system
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from asr.decoding.nbest import read_nbest, score_names
from asr.errors import ConfigError, shown
from asr.recipe import Recipe, load_recipe, recipe_file
from tools.paper_figures import CTC, EXPECTED_WER, HOURS, NGRAMS
from tools.paper_steps import State, Step

FULL = {"default": CTC, "expected_wer": EXPECTED_WER}
SMALL = {"si84": CTC, "expected_wer_si84": EXPECTED_WER}


@dataclass(frozen=True, slots=True)
class OtherLists:
    """N-best lists of another system.

    Attributes:
        test: of the test set.
        dev: of the dev set, for the weights.
        test_costs: `NAME=FILE` for `asr rescore --costs`, of the test lists.
        dev_costs: the same of the dev lists.
    """

    test: Path
    dev: Path
    test_costs: tuple[str, ...] = ()
    dev_costs: tuple[str, ...] = ()

    def have_scores(self) -> bool:
        """Whether the other system says how good its candidates are."""
        return bool(self.test_costs) or bool(score_names(read_nbest(self.test)))


@dataclass(frozen=True, kw_only=True)
class Table:
    """What is run and shown.

    Attributes:
        recipe: the recipe's folder.
        dev: manifest for weights.
        test: manifest for rates.
        data: folder of `lm.txt.gz` and `dictionary.txt`.
        out: folder of the results.
        lm: folder of the language models.
        trainings: hours of training speech, or nothing where a recipe has one size → names of
            trainings → their systems.
        bundles: name of a training → its bundle.
        other: lists of another system.
    """

    recipe: Path
    dev: Path
    test: Path
    data: Path
    out: Path
    lm: Path
    trainings: Mapping[str, Mapping[str, str]]
    bundles: Mapping[str, Path]
    other: OtherLists | None = None

    @property
    def corpus(self) -> str:
        """The name of the recipe's folder."""
        return self.recipe.resolve().name

    @property
    def dictionary(self) -> Path:
        """The words that are possible."""
        return self.data / "dictionary.txt"

    def arpa(self, order: int) -> Path:
        """The n-gram model of an order."""
        return self.lm / f"{order}.arpa"

    @property
    def text(self) -> Path:
        """What the n-gram models are of."""
        return self.data / "lm.txt.gz"

    def unprepared(self) -> list[str]:
        """A line for each file that `asr prepare` makes, that is needed and not there.

        Models that are all there, the user's own, need no text.
        """
        needed = {self.dictionary: "the dictionary"}
        if any(step.state() is not State.DONE for step in self.lm_steps()):
            needed = {self.text: "the text of the language models"} | needed
        return [
            f"{shown(file)}: no such file; the table needs {what}, which asr prepare "
            f"{shown(self.recipe)} writes; or name the folder that has it with --data"
            for file, what in needed.items()
            if not file.is_file()
        ]

    def lm_steps(self) -> list[Step]:
        """The n-gram models."""
        text = self.text
        return [
            Step(
                name=f"lm-{order}",
                arguments=(
                    *("lm", "train", str(text), "--order", str(order)),
                    *("--vocabulary", str(self.dictionary), "-o", str(self.arpa(order))),
                ),
                folder=self.out / f"lm-{order}",
                files={"text": text, "vocabulary": self.dictionary},
                output=self.arpa(order),
            )
            for order in NGRAMS
        ]


def open_table(
    folder: Path,
    *,
    data: Path | None = None,
    out: Path | None = None,
    lm: Path | None = None,
    bundles: Mapping[str, Path] | None = None,
    other: OtherLists | None = None,
) -> Table:
    """The table of a recipe folder.

    A folder with `si84.toml` has two sizes of training, as the paper.

    Args:
        folder: of the recipe.
        data: by default where the training data of the recipe is.
        out: by default `exp/CORPUS/table`.
        lm: by default `exp/CORPUS/lm`.
        bundles: name of a training → its bundle; by default `exp/CORPUS/NAME/best`.
        other: lists of another system.

    Raises:
        ConfigError: a recipe that cannot be used, one of phones, or a bundle for a training that
            is not in it.
    """
    recipe, file = load_recipe(folder), recipe_file(folder)
    if not isinstance(recipe, Recipe) or not (recipe.data.dev and recipe.data.test):
        raise ConfigError(f"{shown(file)}: needs a recogniser with data.dev and data.test")
    if recipe.tokenizer.name == "phones":
        raise ConfigError(
            f"{shown(file.parent)}: scores phones (PER); the table needs words (WER and CER), such "
            "as those of recipes/wsj"
        )
    two_sizes = (file.parent / "si84.toml").is_file()
    trainings = {HOURS[1]: FULL, HOURS[0]: SMALL} if two_sizes else {"": FULL}
    names = [name for each in trainings.values() for name in each]
    if strange := [name for name in bundles or {} if name not in names]:
        raise ConfigError(
            f"--bundle {shown(strange[0])}=…: no such training in {shown(file.parent)}; it has "
            f"{', '.join(names)}"
        )
    own = Path("exp") / file.resolve().parent.name
    return Table(
        recipe=file.parent,
        dev=Path(recipe.data.dev),
        test=Path(recipe.data.test),
        data=data or Path(recipe.data.train).parent,
        out=out or own / "table",
        lm=lm or own / "lm",
        trainings=trainings,
        bundles={name: own / name / "best" for name in names} | dict(bundles or {}),
        other=other,
    )
