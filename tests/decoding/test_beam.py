"""The compiled search against enumeration and against a plain one, in every mode."""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from asr.decoding.beam import BeamLimits, BeamSearch
from asr.decoding.beam_kernel import begin, node_of
from asr.decoding.fusion import Fusion
from asr.decoding.hotwords import HotWord
from asr.decoding.labels import Labels, read_labels
from asr.decoding.prefix_score import extend
from asr.errors import DataError
from asr.lm.loading import load_lm
from asr.lm.ngram import NgramModel
from tests.decoding.made_lm import MadeModel, made_model
from tests.decoding.search_reference import (
    NEVER,
    Tokens,
    beam_texts,
    best_texts,
    labelling_log_probs,
    random_log_probs,
    words_of,
)

CHARACTERS = ["_", " ", "A", "B"]
PIECES = ["_", "▁A", "▁B", "A", "▁AB"]
WIDE = BeamLimits(beam_size=20_000, beam_threshold=math.inf, token_threshold=-math.inf)
WEIGHT, BONUS, PENALTY = 0.7, 0.4, 1.3


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@dataclass(frozen=True)
class Mode:
    """A way to search, and the same in plain Python."""

    name: str
    search: BeamSearch
    added: Callable[[Tokens], float]
    partial: Callable[[Tokens], float]


def loaded(model: MadeModel, folder: Path) -> NgramModel:
    found = load_lm(model.write(folder / "made.arpa"))
    assert isinstance(found, NgramModel)
    return found


@dataclass(frozen=True)
class Plain:
    """What a language model, lexicon and hot words add, in plain Python."""

    labels: Labels
    model: MadeModel | None = None
    lexicon: Sequence[str] | None = None
    hot: tuple[tuple[str, float], ...] = ()
    weight: float = WEIGHT
    bonus: float = 0.0

    def word(self, word: str, history: Sequence[str]) -> float:
        score = self.bonus + sum(weight for hot, weight in self.hot if hot == word)
        if self.model is not None:
            score += self.weight * self.model.log_prob(word, ["<s>", *history])
            hot = any(word == phrase for phrase, _ in self.hot)
            if (word,) not in self.model.grams and not hot:
                score -= self.weight * PENALTY
        return score

    def finished(self, words: Sequence[str]) -> float:
        return sum(self.word(word, words[:at]) for at, word in enumerate(words))

    def allowed(self, tokens: Tokens, *, whole: bool) -> bool:
        """Whether a lexicon allows the labels: its words, and a space only after a word."""
        if self.lexicon is None:
            return True
        words = words_of(tokens, self.labels)
        text = "".join(self.labels.names[token] for token in tokens)
        if text.startswith(" ") or "  " in text:
            return False
        begun = bool(words) and not text.endswith(" ")
        whole_words = words if whole or not begun else words[:-1]
        if any(word not in self.lexicon for word in whole_words):
            return False
        return not begun or any(word.startswith(words[-1]) for word in self.lexicon)

    def added(self, tokens: Tokens) -> float:
        if not self.allowed(tokens, whole=True):
            return NEVER
        words = words_of(tokens, self.labels)
        end = 0.0
        if self.model is not None:
            end = self.weight * self.model.log_prob("</s>", ["<s>", *words])
        return self.finished(words) + end

    def known(self) -> list[str]:
        """The words that an unfinished one may become."""
        if self.lexicon is not None:
            return list(self.lexicon)
        words = [] if self.model is None else [g[0] for g in self.model.grams if len(g) == 1]
        return [word for word in words if word[0] != "<"] + [hot for hot, _ in self.hot]

    def partial(self, tokens: Tokens) -> float:
        """What labels count as before their last word is finished."""
        if not self.allowed(tokens, whole=False):
            return NEVER
        words = words_of(tokens, self.labels)
        last = self.labels.pieces[tokens[-1]] if tokens else None
        space = last is None or (last.starts_word and not last.text)
        done, begun = (words, "") if space or not words else (words[:-1], words[-1])
        becomes = [word for word in self.known() if word.startswith(begun)]
        values = [self.alone(word) for word in becomes]
        if self.lexicon is None:
            values.append(self.alone("never seen"))
        return self.finished(done) + max(values)

    def alone(self, word: str) -> float:
        """What a word adds without a history."""
        score = self.bonus + sum(weight for hot, weight in self.hot if hot == word)
        if self.model is not None:
            score += self.weight * self.model.log_prob(word, [])
            hot = any(word == phrase for phrase, _ in self.hot)
            if (word,) not in self.model.grams and not hot:
                score -= self.weight * PENALTY
        return score


class Shares(Plain):
    """A language model as a prior of labels: its words share one, whatever the history."""

    def word(self, word: str, history: Sequence[str]) -> float:
        return self.share(word, history) + self.bonus

    def partial(self, tokens: Tokens) -> float:
        if not self.allowed(tokens, whole=False):
            return NEVER
        words = words_of(tokens, self.labels)
        last = self.labels.pieces[tokens[-1]] if tokens else None
        if not words or last is None or not last.text:
            return self.finished(words)
        *done, begun = words
        return self.finished(done) + self.share(begun, done, whole=False)

    def share(self, begun: str, history: Sequence[str], *, whole: bool = True) -> float:
        """ln of the share of a word, or of all that begin so, among the words of the lexicon."""
        assert self.model is not None
        assert self.lexicon is not None
        known = ["<s>", *history]
        weighted = {
            w: WEIGHT * (self.model.log_prob(w, known) - PENALTY * ((w,) not in self.model.grams))
            for w in self.lexicon
        }
        meant = [v for w, v in weighted.items() if (w == begun if whole else w.startswith(begun))]
        return float(np.logaddexp.reduce(meant) - np.logaddexp.reduce(list(weighted.values())))


def token_lm(plain: MadeModel, labels: Labels) -> Callable[[Tokens], float]:
    """ln Pr of the labels as the words of a model, with a bonus each, without the end."""

    def score(tokens: Tokens) -> float:
        names = ["<space>" if labels.names[t] == " " else labels.names[t] for t in tokens]
        return sum(
            WEIGHT * plain.log_prob(name, ["<s>", *names[:at]]) + BONUS
            for at, name in enumerate(names)
        )

    return score


def modes(names: Sequence[str], folder: Path, limits: BeamLimits, seed: int) -> list[Mode]:
    """Every way to search, over labels."""
    labels = read_labels(names)
    random = np.random.default_rng(seed)
    words = ["A", "B", "AB", "BAA"]
    found = []

    def add(name: str, plain: Plain, **given: object) -> None:
        search = BeamSearch(names, limits=limits, **given)  # type: ignore[arg-type]
        found.append(Mode(name, search, plain.added, plain.partial))

    add("none", Plain(labels))
    add("bonus", Plain(labels, bonus=BONUS), fusion=Fusion(word_bonus=BONUS))
    add("dictionary", Plain(labels, lexicon=words), lexicon=words)
    hot = (("AB", 1.5), ("BAA", 0.5))
    add("hot words", Plain(labels, hot=hot), hotwords=[HotWord(*one) for one in hot])
    fusion = Fusion(lm_weight=WEIGHT, word_bonus=BONUS, unknown_penalty=PENALTY)
    for order in (1, 2, 3):
        made = made_model(random, ["A", "AB", "BA"], order)
        lm = loaded(made, folder)
        open_words = Plain(labels, made, bonus=BONUS)
        add(f"open {order}", open_words, lm=lm, fusion=fusion)
        closed = Plain(labels, made, lexicon=words, bonus=BONUS)
        add(f"closed {order}", closed, lm=lm, lexicon=words, fusion=fusion)
        boosted = Plain(labels, made, hot=hot, bonus=BONUS)
        add(
            f"open hot {order}",
            boosted,
            lm=lm,
            fusion=fusion,
            hotwords=[HotWord(*one) for one in hot],
        )
        shares = Shares(labels, made, lexicon=words, bonus=BONUS)
        as_prior = replace(fusion, kind="prior")
        add(f"prior {order}", shares, lm=lm, lexicon=words, fusion=as_prior)
        spelt = made_model(random, ["<space>", *names[2:]] if " " in names else names[1:], order)
        score = token_lm(spelt, labels)

        def whole(tokens: Tokens, score=score, spelt=spelt) -> float:  # type: ignore[no-untyped-def]
            written = ["<space>" if labels.names[t] == " " else labels.names[t] for t in tokens]
            return float(score(tokens) + WEIGHT * spelt.log_prob("</s>", ["<s>", *written]))

        search = BeamSearch(
            names,
            lm=loaded(spelt, folder),
            fusion=Fusion(lm_weight=WEIGHT, word_bonus=BONUS, unit="token"),
            limits=limits,
        )
        found.append(Mode(f"token {order}", search, whole, score))
    return found


@pytest.mark.parametrize("names", [CHARACTERS, PIECES], ids=["characters", "pieces"])
def test_a_full_width_search_equals_enumeration(names: list[str], tmp_path: Path) -> None:
    labels = read_labels(names)
    random = np.random.default_rng(1)
    for mode in modes(names, tmp_path, WIDE, seed=2):
        for frames in (0, 1, 4, 5):
            log_probs = random_log_probs(random, frames, len(names), sharpness=2.0)
            expected = best_texts(log_probs, labels, mode.added)
            found = mode.search.decode_nbest(log_probs[None], nbest=10_000)[0]
            assert [h.text for h in found] == [text for text, _ in expected], mode.name
            scores = [score for _, score in expected]
            np.testing.assert_allclose([h.log_prob for h in found], scores, atol=1e-5, rtol=0)


@pytest.mark.parametrize("names", [CHARACTERS, PIECES], ids=["characters", "pieces"])
def test_a_narrow_search_equals_the_plain_one(names: list[str], tmp_path: Path) -> None:
    labels = read_labels(names)
    random = np.random.default_rng(3)
    cases = 0
    for beam_size, threshold, token_threshold in ((1, 50.0, -9.0), (3, 4.0, -3.0), (9, 2.0, -1.5)):
        limits = BeamLimits(beam_size, threshold, token_threshold)
        for mode, _ in itertools.product(modes(names, tmp_path, limits, seed=4), range(25)):
            log_probs = random_log_probs(random, 12, len(names), sharpness=2.0)
            reference = beam_texts(
                log_probs,
                labels,
                mode.added,
                mode.partial,
                beam_size=beam_size,
                beam_threshold=threshold,
                token_threshold=token_threshold,
            )
            expected: dict[str, float] = {}
            for tokens, score in reference.items():
                text = " ".join(words_of(tokens, labels))
                expected[text] = float(np.logaddexp(expected.get(text, NEVER), score))
            if not expected:
                continue
            found = mode.search.decode_nbest(log_probs[None], nbest=10_000)[0]
            assert {h.text for h in found} == set(expected), mode.name
            for hypothesis in found:
                assert hypothesis.log_prob == pytest.approx(expected[hypothesis.text], abs=1e-5)
            cases += 1
    assert cases > 1000


def test_nothing_is_lost_at_full_width() -> None:
    log_probs = random_log_probs(np.random.default_rng(5), 6, 3)
    found = BeamSearch(["_", " ", "A"], limits=WIDE).decode_nbest(log_probs[None], nbest=10_000)[0]
    assert np.logaddexp.reduce([h.log_prob for h in found]) == pytest.approx(0.0, abs=1e-12)


def test_weight_zero_equals_no_language_model(tmp_path: Path) -> None:
    random = np.random.default_rng(6)
    lm = loaded(made_model(random, ["A", "AB"], 2), tmp_path)
    log_probs = random_log_probs(random, 30, 4, sharpness=2.0)[None]
    without = BeamSearch(CHARACTERS).decode_nbest(log_probs, nbest=5)[0]
    weightless = BeamSearch(CHARACTERS, lm=lm, fusion=Fusion(lm_weight=0.0))
    for plain, fused in zip(without, weightless.decode_nbest(log_probs, nbest=5)[0], strict=True):
        assert fused.text == plain.text
        assert fused.log_prob == pytest.approx(plain.log_prob, abs=1e-12)


def test_tensors_arrays_and_any_blank_give_the_same(tmp_path: Path) -> None:
    random = np.random.default_rng(7)
    log_probs = random_log_probs(random, 20, 4, sharpness=2.0)
    last = np.concatenate([log_probs[:, 1:], log_probs[:, :1]], axis=1)
    first = BeamSearch(CHARACTERS).decode(log_probs[None])[0]
    other = BeamSearch([*CHARACTERS[1:], "_"], blank=3).decode(torch.tensor(last)[None])[0]
    assert first.text == other.text
    assert first.log_prob == pytest.approx(other.log_prob)


def test_a_batch_equals_single_utterances_on_any_number_of_threads() -> None:
    random = np.random.default_rng(8)
    batch = np.stack([random_log_probs(random, 25, 4, sharpness=2.0) for _ in range(5)])
    lengths = torch.tensor([25, 3, 0, 14, 1])
    search = BeamSearch(CHARACTERS)
    together = search.decode_nbest(batch, lengths, nbest=3, num_threads=2)
    alone = [search.decode_nbest(batch[i : i + 1, :n], nbest=3)[0] for i, n in enumerate(lengths)]
    assert together == alone


def test_masses_of_a_long_utterance_do_not_vanish() -> None:
    frames = np.log(np.full((3000, 4), 0.25))
    hypothesis = BeamSearch(CHARACTERS, limits=BeamLimits(beam_size=8)).decode(frames[None])[0]
    assert math.isfinite(hypothesis.log_prob)
    assert hypothesis.log_prob < -1000


@pytest.mark.parametrize(
    ("log_probs", "error", "message"),
    [
        (np.zeros((2, 3)), ValueError, r"must be \(B, T, 4\)"),
        (np.zeros((1, 2, 3)), ValueError, r"must be \(B, T, 4\)"),
        (np.full((1, 2, 4), 1.0), ValueError, "are they logits"),
        (np.full((1, 2, 4), -0.1), ValueError, "sum to 3.62; apply log_softmax"),
        (np.full((1, 2, 4), np.nan), DataError, "utterance 0 of the batch has NaN"),
    ],
)
def test_scores_that_are_none(log_probs: np.ndarray, error: type, message: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(error, match=message):
        BeamSearch(CHARACTERS).decode(log_probs)


def test_a_beam_that_ends_inside_a_word_gives_the_finished_ones() -> None:
    """The best path says A BB, but the dictionary has no BB, and one prefix is all there is."""
    sure = {"_": 0, " ": 1, "A": 2, "B": 3}
    frames = np.log(np.full((4, 4), 0.01))
    for t, symbol in enumerate("A B_"):
        frames[t, sure[symbol]] = math.log(0.97)
    search = BeamSearch(CHARACTERS, lexicon=["A", "BB"], limits=BeamLimits(beam_size=1))
    hypothesis = search.decode(frames[None])[0]
    assert hypothesis.text == "A"
    exact = np.logaddexp.reduce(
        [score for tokens, score in best_labellings(frames) if tokens == hypothesis.tokens]
    )
    assert hypothesis.log_prob == pytest.approx(exact)


def best_labellings(frames: np.ndarray) -> list[tuple[Tokens, float]]:  # type: ignore[type-arg]
    return list(labelling_log_probs(frames, 0).items())


def test_the_best_score_per_label_may_be_chosen(tmp_path: Path) -> None:
    """As Graves & Jaitly choose with a prior: by p^(1/|y|)."""
    random = np.random.default_rng(9)
    labels = read_labels(CHARACTERS)
    words = ["A", "B", "AB", "BAA"]
    made = made_model(random, ["A", "AB", "BA"], 2)
    fusion = Fusion(WEIGHT, BONUS, PENALTY, kind="prior", by_length=True)
    search = BeamSearch(
        CHARACTERS, lm=loaded(made, tmp_path), lexicon=words, fusion=fusion, limits=WIDE
    )
    shares = Shares(labels, made, lexicon=words, bonus=BONUS)
    for _ in range(20):
        log_probs = random_log_probs(random, 5, 4, sharpness=2.0)
        by_text: dict[str, list[tuple[float, int]]] = {}
        for tokens, acoustic in labelling_log_probs(log_probs, 0).items():
            text = " ".join(words_of(tokens, labels))
            by_text.setdefault(text, []).append((acoustic + shares.added(tokens), len(tokens)))
        per_label = {  # of the most probable spelling of a text
            text: float(np.logaddexp.reduce([score for score, _ in found])) / max(1, max(found)[1])
            for text, found in by_text.items()
        }
        assert search.decode(log_probs[None])[0].text == max(per_label, key=per_label.__getitem__)


def test_a_prior_shares_out_one_among_the_next_labels(tmp_path: Path) -> None:
    random = np.random.default_rng(10)
    words = ["A", "B", "AB", "BAA", "BAB"]
    lm = loaded(made_model(random, ["A", "AB", "BAA", "BAB"], 3), tmp_path)
    fusion = Fusion(lm_weight=1.7, kind="prior", unknown_penalty=0.5)
    search = BeamSearch(CHARACTERS, lm=lm, lexicon=words, fusion=fusion)
    scorer = search._scorer
    work = search._borrowed(10)
    begin(work, scorer, lm.start())
    for path in ((), (3,), (3, 2), (2, 1, 3)):
        node = 0
        for token in path:
            node = node_of(work, scorer, node, token)
        following = [extend(scorer, work.prior, work.nodes, node, token) for token in (1, 2, 3)]
        shares = [np.exp(offset) for allowed, _, offset, *_ in following if allowed]
        assert sum(shares) == pytest.approx(np.exp(work.nodes[node]["offset"]))
