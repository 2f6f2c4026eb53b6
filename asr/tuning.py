"""How much a language model should count, found on development data.

The network runs once. The search then runs over its scores for a coarse grid of weights and
bonuses, and for finer ones around the best. Of equally good points the one with fewer character
errors wins, then the one nearer to the middle of what was searched. With the weights chosen, the
confidences of words are calibrated on the same data.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asr.bundle import Bundle, Tuning, add_tuning, check_tunable, read_bundle
from asr.data.labels import labels_of
from asr.data.manifest import Utterance, read_manifest
from asr.data.text import normalize_text, words
from asr.decoder import Decoding, build_search, hash_or_none, networks_of
from asr.decoding.batch import decode_each
from asr.decoding.confidence import (
    Calibration,
    fit_calibration,
    judged,
    normalised_cross_entropy,
)
from asr.decoding.fused_search import FusedSearch
from asr.decoding.fusion import Fusion
from asr.decoding.hypothesis import Hypothesis
from asr.errors import ConfigError, DataError, shown
from asr.evaluation import evaluate
from asr.lm.loading import model_name
from asr.recognizer import Recognizer, load
from asr.scoring.alignment import EditCounts, count_edits
from asr.scoring.equivalence import PLAIN, Scoring, Unit
from asr.scoring.surface import Point, rate_picture, rate_table
from asr.storage import write_atomically

WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
BONUSES = (-1.0, 0.0, 1.0, 2.0, 3.0, 4.0)
REFINEMENTS = 2
PLANNED = len(WEIGHTS) * len(BONUSES) + 8 * REFINEMENTS  # points; fewer where they meet an edge
Advance = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Confidences:
    """How well the confidences of words tell right ones from wrong ones, with the best weights.

    Attributes:
        calibration: the curve that was fitted to them.
        right: how many of the words that were recognised are right.
        wrong: how many are not.
        before: normalised cross-entropy without the curve: 1 tells all, 0 tells nothing; NaN: not
            defined, since all words are right, or none.
        after: with the curve.
    """

    calibration: Calibration
    right: int
    wrong: int
    before: float
    after: float

    def line(self) -> str:
        """All of it for a person."""
        words = self.right + self.wrong
        curve = f"log-odds x {self.calibration.scale:.3g} + {self.calibration.offset:.3g}"
        line = f"confidences of {words} words, {self.wrong} of them wrong: {curve}; normalised "
        if math.isnan(self.after):
            every = "all words are" if self.right else "no word is"
            return f"{line}cross-entropy not defined: {every} right"
        return f"{line}cross-entropy {self.after:.3f} ({self.before:.3f} before; 1 is perfect)"


@dataclass(frozen=True, slots=True)
class Surface:
    """What a search for weights found.

    Attributes:
        points: all that were tried, in their order.
        best: the choice.
        greedy_wer: of the best path, without a search.
        confidences: of the words, with the choice.
        unit: what words are; with phones, the rates are those of phones.
    """

    points: tuple[Point, ...]
    best: Point
    greedy_wer: float
    confidences: Confidences
    unit: Unit = "word"

    def table(self) -> str:
        """Error rates in percent: a row a weight, a column a bonus, the choice marked."""
        return rate_table(self.points, self.best, self.unit)


def tune(
    bundle: Path,
    manifest: Path,
    decoding: Decoding,
    *,
    device: str = "auto",
    command: str = "",
    say: Callable[[str], None] = print,
    advance: Advance = lambda done, total: None,
) -> Surface:
    """Find the weights of a language model for a recogniser and store them in its bundle.

    Args:
        bundle: of the recogniser.
        manifest: development data; never a test set.
        decoding: the language model, lexicon, beam …; without weights.
        device: where the network runs.
        command: what the user typed.
        say: is given lines for the user.
        advance: called with (done, total) searches.

    Raises:
        ConfigError: no language model, weights that are given, or a manifest that is a test set.
        DataError: a file that cannot be used.
        ModelError: no bundle, a damaged one, or one with a folder inside.
        ResourceError: the bundle cannot be written.
    """
    content = read_bundle(bundle)
    _check(content, manifest, decoding)
    references = {u.id: u for u in read_manifest(manifest)}
    labels = labels_of(content.tokenizer.pieces, content.tokenizer.symbols)
    recognizer = load(bundle, device=device)
    search = build_search(
        decoding,
        labels,
        say,
        vocabulary=content.vocabulary,
        networks=networks_of(recognizer.model),
    )
    if not isinstance(search, FusedSearch):
        raise ConfigError("weights are found with our own search, not with pyctcdecode")
    say(f"scoring {shown(manifest)} once, then searching it with some {PLANNED} pairs of weights")
    scores: dict[str, NDArray[np.float32]] = {}
    greedy = evaluate(recognizer, manifest, scores=scores)
    if greedy.failures:
        name, failure = next(iter(greedy.failures.items()))
        raise DataError(
            f"{len(greedy.failures)} recordings of {shown(manifest)} cannot be read, such as "
            f"'{shown(name)}': {failure}; mend or remove them"
        )
    spoken, scoring = _references(references, recognizer), recognizer.scoring
    trials = _Trials(search, scores, spoken, advance, scoring=scoring)
    points, best = trials.run()
    greedy_wer, confidences = greedy.score.wer.rate, trials.confidences(best)
    surface = Surface(points, best, greedy_wer, confidences, scoring.unit)
    add_tuning(bundle, _tuning(search, decoding, manifest, surface, command))
    return surface


def write_surface(surface: Surface, folder: Path) -> list[Path]:
    """Write the table, and the picture where matplotlib is installed, into a folder.

    Raises:
        ResourceError: the disk is full or not writable.
    """
    table = folder / "surface.txt"
    write_atomically(table, surface.table())
    picture = rate_picture(
        surface.points, surface.best, greedy_wer=surface.greedy_wer, unit=surface.unit
    )
    if picture is None:
        return [table]
    write_atomically(folder / "surface.png", picture)
    return [table, folder / "surface.png"]


class _Trials:
    """Error rates of weights over scores that were computed once."""

    def __init__(
        self,
        search: FusedSearch,
        scores: Mapping[str, NDArray[np.float32]],
        references: Mapping[str, str],
        advance: Advance,
        *,
        scoring: Scoring = PLAIN,
    ) -> None:
        self._search, self._scores, self._references = search, scores, references
        self._advance, self._scoring = advance, scoring
        self._points: dict[tuple[float, float], Point] = {}

    def run(self) -> tuple[tuple[Point, ...], Point]:
        """All points, and the best."""
        self._try_all(WEIGHTS, BONUSES)
        weight_step, bonus_step = 0.25, 1.0
        for _ in range(REFINEMENTS):
            weight_step, bonus_step = weight_step / 2, bonus_step / 2
            best = self._best()
            weights = [best.lm_weight + step * weight_step for step in (-1, 0, 1)]
            bonuses = [best.word_bonus + step * bonus_step for step in (-1, 0, 1)]
            self._try_all([weight for weight in weights if weight >= 0], bonuses)
        return tuple(self._points.values()), self._best()

    def confidences(self, best: Point) -> Confidences:
        """What the confidences are worth with the best weights, and their calibration."""
        judgements = [
            one
            for name, found in self._decoded(best.lm_weight, best.word_bonus)
            for one in judged(words(self._references[name]), self._as_scored(found[0]))
        ]
        confidences = [confidence for confidence, _ in judgements]
        correct = [right for _, right in judgements]
        calibration = fit_calibration(confidences, correct)
        calibrated = [calibration.of(confidence) for confidence in confidences]
        return Confidences(
            calibration,
            right=sum(correct),
            wrong=len(correct) - sum(correct),
            before=normalised_cross_entropy(confidences, correct),
            after=normalised_cross_entropy(calibrated, correct),
        )

    def _try_all(self, weights: Sequence[float], bonuses: Sequence[float]) -> None:
        for weight in weights:
            for bonus in bonuses:
                if (weight, bonus) not in self._points:
                    self._points[weight, bonus] = self._point(weight, bonus)
                    self._advance(len(self._points), max(PLANNED, len(self._points)))

    def _point(self, weight: float, bonus: float) -> Point:
        in_words, in_characters = EditCounts(), EditCounts()
        for name, found in self._decoded(weight, bonus):
            said, heard = self._references[name], self._scoring.replaced(found[0].text)
            in_words += count_edits(words(said), words(heard))
            in_characters += count_edits(said, heard)
        return Point(weight, bonus, _rate(in_words), _rate(in_characters))

    def _as_scored(self, found: Hypothesis) -> Hypothesis:
        as_scored = (w._replace(word=self._scoring.replaced(w.word)) for w in found.words)
        return replace(found, words=tuple(word for word in as_scored if word.word))

    def _decoded(self, weight: float, bonus: float) -> Iterator[tuple[str, list[Hypothesis]]]:
        fusion = replace(self._search.fusion, lm_weight=weight, word_bonus=bonus)
        return decode_each(self._search.with_fusion(fusion), self._scores)

    def _best(self) -> Point:
        points = self._points.values()
        weight = sum(point.lm_weight for point in points) / len(points)
        bonus = sum(point.word_bonus for point in points) / len(points)
        return min(
            points,
            key=lambda p: (p.wer, p.cer, abs(p.lm_weight - weight), abs(p.word_bonus - bonus)),
        )


def _check(bundle: Bundle, manifest: Path, decoding: Decoding) -> None:
    """Whatever can be wrong before the minutes of the search."""
    if decoding.lm is None:
        raise ConfigError("asr tune needs --lm: there is nothing else to weigh")
    if decoding.lm_weight is not None or decoding.word_bonus is not None:
        raise ConfigError("--lm-weight and --word-bonus are what asr tune finds; leave them out")
    check_tunable(bundle.folder)
    test = bundle.recipe.data.test
    same = test and Path(test).exists() and manifest.exists() and Path(test).samefile(manifest)
    if same or manifest.stem == "test" or manifest.stem.startswith("test-"):
        raise ConfigError(
            f"{shown(manifest)}: is a test set; weights are tuned on development data, such as "
            f"{shown(manifest.with_name('dev.jsonl'))}"
        )


def _references(utterances: Mapping[str, Utterance], recognizer: Recognizer) -> dict[str, str]:
    case = recognizer.recipe.data.case
    replaced = recognizer.scoring.replaced
    return {name: replaced(normalize_text(u.text, case)) for name, u in utterances.items()}


def _tuning(
    search: FusedSearch, decoding: Decoding, manifest: Path, surface: Surface, command: str
) -> Tuning:
    if search.lm is None or decoding.lm is None:
        raise ValueError("a search without a language model has no weights")
    fusion: Fusion = search.fusion
    return Tuning(
        lm_sha256=search.lm.sha256(),
        lm=model_name(decoding.lm),
        lexicon_sha256=hash_or_none(decoding.lexicon),
        hotwords_sha256=hash_or_none(decoding.hotwords),
        unit=fusion.unit,
        fusion=fusion.kind,
        lm_weight=surface.best.lm_weight,
        word_bonus=surface.best.word_bonus,
        unknown_penalty=fusion.unknown_penalty,
        beam_size=search.beam_size,
        confidence_scale=surface.confidences.calibration.scale,
        confidence_offset=surface.confidences.calibration.offset,
        dev=str(manifest),
        dev_wer=surface.best.wer,
        dev_wer_greedy=surface.greedy_wer,
        command=command,
    )


def _rate(edits: EditCounts) -> float:
    return edits.errors / max(1, edits.reference_length)
