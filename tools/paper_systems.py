"""The commands and the rows of one recogniser in the table of Graves & Jaitly (2014)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tools.objective_jobs import evaluate_arguments, tune_arguments
from tools.paper_figures import COMBINATION, DICTIONARY, NGRAMS, NO_LM, TRIGRAM
from tools.paper_plan import Table
from tools.paper_steps import Step

CANDIDATES = 300  # of a list at most, as in the paper, and prefixes of the beam that finds them
BEAM = 100
LISTS_ORDER = 2  # of the n-gram with which lists are made
WEIGHTS = ("--weight", "recognizer=1", "--weight", "ngram=1", "--weight", "words=0")


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table.

    Attributes:
        system: its title.
        lm: what helps it.
        paper: the row of the paper beside it, as `paper_figures.PAPER` names it; none: no such row.
        step: whose results it shows.
        part: of the results of `asr rescore`: before, rescored or oracle.
    """

    system: str
    lm: str
    paper: tuple[str, str] | None
    step: Step
    part: str = ""


@dataclass(frozen=True, slots=True)
class System:
    """One recogniser.

    Attributes:
        table: with its data.
        name: of its training.
        title: what the table calls it.
    """

    table: Table
    name: str
    title: str

    @property
    def bundle(self) -> Path:
        """Of the recogniser."""
        return self.table.bundles[self.name]

    def steps(self) -> list[Step]:
        """All, each after those that it needs."""
        steps = [self.best_path(), self.beam(), self.with_dictionary()]
        for order in NGRAMS:
            steps += [self.tuning(order), self.with_ngram(order)]
        steps += [self.lists(split) for split in ("dev", "test")]
        for prefix in self._prefixes():
            steps += [self.exact(prefix, split) for split in ("dev", "test")]
            steps += [self.rescored(prefix, order) for order in NGRAMS]
        return [*steps, self.combination()] if self._combines() else steps

    def rows(self) -> Iterator[Row]:
        """The rows of the table, in its order."""
        title = self.title
        yield Row(title, f"{NO_LM}, best path", None, self.best_path())
        yield Row(title, NO_LM, (title, NO_LM), self.beam())
        yield Row(title, DICTIONARY, (title, DICTIONARY), self.with_dictionary())
        for order, lm in NGRAMS.items():
            yield Row(title, lm, (title, lm), self.with_ngram(order))
        for prefix in self._prefixes():
            origin = "lists of another system" if prefix else "own lists"
            for order, lm in NGRAMS.items():
                step = self.rescored(prefix, order)
                yield Row(title, f"{lm}, {origin} rescored", (title, lm), step, "rescored")
            last = self.rescored(prefix, max(NGRAMS))
            yield Row(title, f"{origin} as they are", None, last, "before")
            yield Row(title, f"{origin}, best candidates (oracle)", None, last, "oracle")
        if self._combines():
            lm = f"{TRIGRAM}, {COMBINATION} with another system"
            yield Row(title, lm, (COMBINATION, TRIGRAM), self.combination(), "rescored")

    def best_path(self) -> Step:
        """Without a search."""
        return self._evaluation("best-path", ())

    def beam(self) -> Step:
        """A search without a model."""
        return self._evaluation("none", ("--beam-size", str(BEAM)))

    def with_dictionary(self) -> Step:
        """A search among the words of the dictionary."""
        return self._evaluation("dictionary", self._lexicon(), files={"lexicon": self._words()})

    def tuning(self, order: int) -> Step:
        """The weights of an n-gram for the search."""
        table, folder = self.table, self._folder(f"tune-{order}")
        return Step(
            name=self._name(f"tune-{order}"),
            arguments=tune_arguments(self.bundle, table.dev, self._ngram(order), folder),
            folder=folder,
            files={**self._ngram_files(order), "manifest": table.dev},
            bundle=self.bundle,
            after=(f"lm-{order}",),
        )

    def with_ngram(self, order: int) -> Step:
        """A search with an n-gram."""
        return self._evaluation(
            f"{order}-gram",
            self._ngram(order),
            files=self._tuned_files(order),
            after=(self._name(f"tune-{order}"),),
        )

    def lists(self, split: str) -> Step:
        """N-best lists of the search with the 2-gram; the beam is as wide as they are long."""
        size = str(CANDIDATES)
        return self._evaluation(
            f"lists-{split}",
            (*self._ngram(LISTS_ORDER), "--beam-size", size, "--nbest", size),
            split=split,
            files=self._tuned_files(LISTS_ORDER),
            after=(self._name(f"tune-{LISTS_ORDER}"),),
        )

    def exact(self, prefix: str, split: str) -> Step:
        """Lists with the exact score of the recogniser, in the order that they have."""
        name, manifest = f"{prefix}exact-{split}", self._manifest(split)
        lists, costs, after = self._lists_of(prefix, split)
        options = [word for cost in costs for word in ("--costs", cost)]
        given = {f"costs-{n}": Path(cost.rpartition("=")[2]) for n, cost in enumerate(costs)}
        return Step(
            name=self._name(name),
            arguments=(
                *("rescore", str(lists), "--model", str(self.bundle), "--manifest", str(manifest)),
                *(*options, "--out", str(self._folder(name) / "nbest.jsonl")),
            ),
            folder=self._folder(name),
            files={"lists": lists, "manifest": manifest, **given},
            bundle=self.bundle,
            after=after,
        )

    def rescored(self, prefix: str, order: int) -> Step:
        """Lists ranked by the recogniser, an n-gram and the number of words."""
        return self._rescoring(prefix, f"{prefix}rescored-{order}", order, WEIGHTS)

    def combination(self) -> Step:
        """Lists ranked by all that and the scores of the system that they come from."""
        return self._rescoring("other-", "other-combination", max(NGRAMS), ())

    def _rescoring(self, prefix: str, name: str, order: int, weights: tuple[str, ...]) -> Step:
        table, folder = self.table, self._folder(name)
        lists = {
            split: self._folder(f"{prefix}exact-{split}") / "nbest.jsonl"
            for split in ("test", "dev")
        }
        return Step(
            name=self._name(name),
            arguments=(
                *("rescore", str(lists["test"]), "--manifest", str(table.test)),
                *("--tune", str(lists["dev"]), "--references", str(table.dev)),
                *("--lm", f"ngram={table.arpa(order)}", *weights),
                *("--out", str(folder / "nbest.jsonl"), "--json", str(folder / "scores.json")),
            ),
            folder=folder,
            files={
                **{f"lists-{split}": file for split, file in lists.items()},
                "manifest": table.test,
                "references": table.dev,
                "lm": table.arpa(order),
            },
            after=(
                *(self._name(f"{prefix}exact-{split}") for split in ("dev", "test")),
                f"lm-{order}",
            ),
        )

    def _evaluation(
        self,
        name: str,
        options: tuple[str, ...],
        *,
        split: str = "test",
        files: Mapping[str, Path] | None = None,
        after: tuple[str, ...] = (),
    ) -> Step:
        manifest, folder = self._manifest(split), self._folder(name)
        return Step(
            name=self._name(name),
            arguments=evaluate_arguments(self.bundle, manifest, options, folder),
            folder=folder,
            files={**(files or {}), "manifest": manifest},
            bundle=self.bundle,
            after=after,
        )

    def _lists_of(self, prefix: str, split: str) -> tuple[Path, tuple[str, ...], tuple[str, ...]]:
        """Lists, their costs, and the step that makes them."""
        other = self.table.other
        if prefix and other is not None:
            if split == "test":
                return other.test, other.test_costs, ()
            return other.dev, other.dev_costs, ()
        name = f"lists-{split}"
        return self._folder(name) / "nbest.jsonl", (), (self._name(name),)

    def _prefixes(self) -> tuple[str, ...]:
        return ("",) if self.table.other is None else ("", "other-")

    def _combines(self) -> bool:
        return self.table.other is not None and self.table.other.have_scores()

    def _tuned_files(self, order: int) -> dict[str, Path]:
        tuning = self._folder(f"tune-{order}") / "surface.txt"
        return {**self._ngram_files(order), "tuning": tuning}

    def _ngram_files(self, order: int) -> dict[str, Path]:
        return {"lexicon": self._words(), "lm": self.table.arpa(order)}

    def _ngram(self, order: int) -> tuple[str, ...]:
        return (*self._lexicon(), "--lm", str(self.table.arpa(order)))

    def _lexicon(self) -> tuple[str, ...]:
        return ("--lexicon", str(self._words()))

    def _words(self) -> Path:
        return self.table.dictionary

    def _manifest(self, split: str) -> Path:
        return self.table.dev if split == "dev" else self.table.test

    def _name(self, name: str) -> str:
        return f"{self.name}/{name}"

    def _folder(self, name: str) -> Path:
        return self.table.out / self.name / name


def systems_of(table: Table, training: str) -> list[System]:
    """The systems that are trained on one of `table.trainings`."""
    return [System(table, name, title) for name, title in table.trainings[training].items()]
