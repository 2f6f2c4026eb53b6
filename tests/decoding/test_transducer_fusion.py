"""A transducer's search with language models, dictionaries and hot words, in every mode."""

import itertools
import math
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from asr.data.labels import Labels, read_labels
from asr.decoding.fusion import Fusion
from asr.decoding.hotwords import HotWord
from asr.decoding.transducer import TransducerLimits, TransducerSearch
from asr.errors import DataError
from tests.decoding.made_lm import made_model
from tests.decoding.made_transducer import (
    Nodes,
    PlainSearch,
    TableNetworks,
    made_encoded,
    made_networks,
    prefixes_of,
    random_table,
    rows_of,
)
from tests.decoding.search_modes import (
    BONUS,
    CHARACTERS,
    PENALTY,
    PIECES,
    WEIGHT,
    Plain,
    Shares,
    loaded,
    modes,
    written,
)
from tests.decoding.search_reference import NEVER, Scoring, Tokens, by_text, words_of
from tests.lm.made_neural import CELLS, made_neural

DEPTH = 3
WHOLE = TransducerLimits(200, math.inf, -math.inf, DEPTH)
TOKENS = Fusion(WEIGHT, BONUS, unit="token")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def enumerated(nodes: Nodes, labels: Labels, added: Scoring) -> list[tuple[str, float]]:
    """Every text with its score, the best first, of all labellings of up to `DEPTH` labels."""
    scores = {t: nodes.log_prob(t) + added(t) for t in prefixes_of(len(labels), DEPTH)}
    texts = by_text({t: score for t, score in scores.items() if score > NEVER}, labels)
    return sorted(texts.items(), key=lambda item: -item[1])


@pytest.mark.parametrize("names", [CHARACTERS, PIECES], ids=["characters", "pieces"])
def test_a_full_width_search_equals_enumeration(names: list[str], tmp_path: Path) -> None:
    labels = read_labels(names)
    lengths = [4, 2]
    networks = random_table(np.random.default_rng(1), sum(lengths), len(names), DEPTH)
    encoded = rows_of(lengths)
    every = [Nodes(networks, encoded[i, :length]) for i, length in enumerate(lengths)]
    for mode in modes(names, tmp_path, WHOLE, seed=2, kind=partial(TransducerSearch, networks)):
        lists = mode.search.decode_nbest(encoded, torch.tensor(lengths), nbest=1000)
        for nodes, found in zip(every, lists, strict=True):
            expected = enumerated(nodes, labels, mode.added)
            assert [h.text for h in found] == [text for text, _ in expected], mode.name
            scores = [score for _, score in expected]
            np.testing.assert_allclose([h.log_prob for h in found], scores, atol=1e-4, rtol=0)


LIMITS = [
    TransducerLimits(1, 50.0, -9.0, 2),
    TransducerLimits(3, 4.0, -2.0, 3),
    TransducerLimits(6, math.inf, -math.inf, 2),
]


@pytest.mark.parametrize("names", [CHARACTERS, PIECES], ids=["characters", "pieces"])
def test_a_narrow_search_equals_the_plain_one(names: list[str], tmp_path: Path) -> None:
    labels = read_labels(names)
    networks = [made_networks(len(names), seed=seed, blank=seed) for seed in range(2)]
    encoded = made_encoded([4, 4])
    every = [[Nodes(each, frames) for frames in encoded] for each in networks]
    cases = 0
    for which, limits in itertools.product(range(2), LIMITS):
        kind = partial(TransducerSearch, networks[which])
        for mode in modes(names, tmp_path, limits, seed=3, kind=kind):
            plain = [
                PlainSearch(nodes, labels, limits, mode.partial).totals() for nodes in every[which]
            ]
            scores = [
                {t: total + mode.added(t) for t, total in totals.items() if mode.added(t) > NEVER}
                for totals in plain
            ]
            if not all(scores):
                continue
            for found, one in zip(mode.search.decode_nbest(encoded, nbest=99), scores, strict=True):
                expected = by_text(one, labels)
                assert {h.text: h.log_prob for h in found} == pytest.approx(expected, abs=1e-4), (
                    mode.name
                )
                cases += 1
    assert cases > 150


@pytest.mark.parametrize("bonus", [4.0, -4.0])
def test_a_bonus_for_each_label_may_be_more_than_labels_cost(bonus: float, tmp_path: Path) -> None:
    """Then a longer prefix counts more than the one before it; the end changes the order."""
    labels, random = read_labels(["_", "▁A", "▁B", "C"]), np.random.default_rng(5)
    made = made_model(random, labels.names[1:], 2)
    fusion, lm = Fusion(1.0, bonus, unit="token"), loaded(made, tmp_path)

    def begun(tokens: Tokens) -> float:
        names = written(labels, tokens)
        said = [made.log_prob(name, ["<s>", *names[:at]]) for at, name in enumerate(names)]
        return sum(said) + bonus * len(names)

    reordered = 0
    for seed in range(4):
        networks, encoded = made_networks(4, seed=seed), made_encoded([4, 4], seed=seed)
        for limits in (*LIMITS, TransducerLimits(12, 1.0, max_symbols_per_frame=4)):
            search = TransducerSearch(networks, labels, lm=lm, fusion=fusion, limits=limits)
            for frames, found in zip(encoded, search.decode_nbest(encoded, nbest=99), strict=True):
                kept = PlainSearch(Nodes(networks, frames), labels, limits, begun).kept()
                assert {h.tokens for h in found} == set(kept)
                for one in found:
                    total, _, said_in = kept[one.tokens]
                    end = made.log_prob("</s>", ["<s>", *written(labels, one.tokens)])
                    assert one.log_prob == pytest.approx(total + begun(one.tokens) + end, abs=1e-4)
                    starts = [said_in[span.start] for span in labels.word_spans(one.tokens)]
                    assert [word.start for word in one.words] == starts
                before = [kept[h.tokens].total + begun(h.tokens) for h in found]
                reordered += before != sorted(before, reverse=True)
    assert reordered > 0


class NeuralScores:
    """What a made network adds to labels, from whole sentences at once."""

    def __init__(self, cell: str = "lstm", lexicon: list[str] | None = None) -> None:
        self.model = made_neural(cell=cell)
        self._plain = Plain(read_labels(CHARACTERS), lexicon=lexicon)

    def lm(self, tokens: Tokens) -> float:
        names = ["<space>" if token == 1 else CHARACTERS[token] for token in tokens]
        return self.model.score_tokens([self.model.word_ids(names).tolist()])[0]

    def added(self, tokens: Tokens) -> float:
        return self._plain.added(tokens) + WEIGHT * self.lm(tokens) + BONUS * len(tokens)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("lexicon", [None, ["A", "AB"]])
def test_a_network_of_labels_equals_enumeration(cell: str, lexicon: list[str] | None) -> None:
    scores = NeuralScores(cell, lexicon)
    lengths = [3, 0, 5]
    networks = random_table(np.random.default_rng(4), 8, len(CHARACTERS), DEPTH)
    search = TransducerSearch(
        networks, CHARACTERS, lm=scores.model, lexicon=lexicon, fusion=TOKENS, limits=WHOLE
    )
    encoded = rows_of(lengths)
    lists = search.decode_nbest(encoded, torch.tensor(lengths), nbest=1000)
    for index, found in enumerate(lists):
        nodes = Nodes(networks, encoded[index, : lengths[index]])
        expected = enumerated(nodes, read_labels(CHARACTERS), scores.added)
        expected = expected if lengths[index] else [("", scores.added(()))]
        assert [h.text for h in found] == [text for text, _ in expected]
        totals = [score for _, score in expected]
        np.testing.assert_allclose([h.log_prob for h in found], totals, atol=1e-4, rtol=0)
        for hypothesis in found[:5]:
            assert hypothesis.lm_log_prob == pytest.approx(scores.lm(hypothesis.tokens), abs=1e-4)


def test_weight_zero_equals_no_language_model(tmp_path: Path) -> None:
    random = np.random.default_rng(6)
    networks, encoded = made_networks(4, blank=1.0), made_encoded([20, 15])
    sizes = torch.tensor([20, 15])
    plain = TransducerSearch(networks, CHARACTERS).decode_nbest(encoded, sizes, nbest=5)
    of_words = loaded(made_model(random, ["A", "AB"], 2), tmp_path)
    of_labels = loaded(made_model(random, ["A", "B", "<space>"], 2), tmp_path)
    for lm, unit in ((of_words, "word"), (of_labels, "token"), (made_neural(), "token")):
        fusion = Fusion(lm_weight=0.0, unit=unit)
        search = TransducerSearch(networks, CHARACTERS, lm=lm, fusion=fusion)
        for one, other in zip(plain, search.decode_nbest(encoded, sizes, nbest=5), strict=True):
            assert [h.text for h in other] == [h.text for h in one]
            for ours, weightless in zip(one, other, strict=True):
                assert weightless.log_prob == pytest.approx(ours.log_prob, abs=1e-5)
                assert weightless.acoustic_log_prob == pytest.approx(ours.log_prob, abs=1e-5)
                assert weightless.lm_log_prob < 0
                assert ours.lm_log_prob is None


def test_scores_are_made_of_their_parts(tmp_path: Path) -> None:
    lm = loaded(made_model(np.random.default_rng(7), ["A", "AB", "B"], 3), tmp_path)
    networks, encoded = made_networks(4), made_encoded([8])
    fusion = Fusion(WEIGHT, BONUS, unknown_penalty=0.0)
    search = TransducerSearch(networks, CHARACTERS, lm=lm, fusion=fusion)
    for one in search.decode_nbest(encoded, nbest=16)[0]:
        parts = one.acoustic_log_prob + WEIGHT * one.lm_log_prob + BONUS * len(one.words)
        assert one.log_prob == pytest.approx(parts, abs=1e-5)


def test_hot_words_and_other_weights(tmp_path: Path) -> None:
    networks, encoded = made_networks(4, blank=2.0), made_encoded([15])
    lm = loaded(made_model(np.random.default_rng(8), ["A", "AB", "B"], 2), tmp_path)
    fusion = Fusion(lm_weight=1.1, word_bonus=-0.5)
    search = TransducerSearch(networks, CHARACTERS, lm=lm)
    again = search.with_fusion(fusion).decode_nbest(encoded)
    assert again == TransducerSearch(networks, CHARACTERS, lm=lm, fusion=fusion).decode_nbest(
        encoded
    )
    assert again != search.decode_nbest(encoded)
    hot = TransducerSearch(networks, CHARACTERS, lm=lm, hotwords=[HotWord("BB", 8.0)])
    assert "BB" in hot.decode_nbest(encoded)[0][0].text.split()
    assert "BB" not in search.decode_nbest(encoded)[0][0].text.split()
    assert hot.signature == (
        "beam:16|lm:made.arpa|shallow word|lm_weight:0.5|word_bonus:0|hotwords:1"
    )


def test_the_best_score_per_label_may_be_chosen(tmp_path: Path) -> None:
    labels, words = read_labels(CHARACTERS), ["A", "B", "AB", "BAA"]
    made = made_model(np.random.default_rng(9), ["A", "AB", "BA"], 2)
    fusion = Fusion(WEIGHT, BONUS, PENALTY, kind="prior", by_length=True)
    networks = random_table(np.random.default_rng(9), 20, len(labels), DEPTH)
    search = TransducerSearch(
        networks, labels, lm=loaded(made, tmp_path), lexicon=words, fusion=fusion, limits=WHOLE
    )
    shares, differing = Shares(labels, made, lexicon=words, bonus=BONUS), 0
    for index in range(10):
        encoded = torch.tensor([[[2.0 * index], [2.0 * index + 1]]])
        nodes = Nodes(networks, encoded[0])
        texts: dict[str, list[tuple[float, int]]] = {}
        for tokens in prefixes_of(len(labels), DEPTH):
            score = nodes.log_prob(tokens) + shares.added(tokens)
            texts.setdefault(" ".join(words_of(tokens, labels)), []).append((score, len(tokens)))
        totals = {t: float(np.logaddexp.reduce([s for s, _ in all_])) for t, all_ in texts.items()}
        per_label = {t: totals[t] / max(1, max(all_)[1]) for t, all_ in texts.items()}
        best = search.decode_nbest(encoded)[0][0]
        assert best.text == max(per_label, key=per_label.__getitem__)
        differing += best.text != max(totals, key=totals.__getitem__)
    assert differing > 0


def spelling(text: str) -> TableNetworks:
    """Networks that are almost sure of a label in each frame, those of `text`."""
    prefixes = prefixes_of(len(CHARACTERS), len(text))
    table = torch.full((len(text), len(prefixes), len(CHARACTERS)), 0.01)
    table[..., 0] = 0.97
    for frame, label in enumerate(text):
        said = tuple(CHARACTERS.index(one) for one in text[:frame])
        table[frame, prefixes.index(said)] = 0.01
        table[frame, prefixes.index(said), CHARACTERS.index(label)] = 0.97
    table[:, [len(prefix) == len(text) for prefix in prefixes], 1:] = 0.0
    return TableNetworks(table.log(), len(text))


def test_a_beam_that_ends_inside_a_word_gives_the_finished_ones(tmp_path: Path) -> None:
    """The best path says A B, but the dictionary has no B, and one prefix is all there is."""
    networks, lexicon = spelling("A B"), ["A", "BB"]
    encoded = torch.tensor([[0, 1, 2, 2], [0, 1, 2, 2]])[..., None].float()
    made = made_model(np.random.default_rng(10), ["A", "BB"], 2)
    scores = NeuralScores("lstm", lexicon)
    limits = TransducerLimits(1)
    nodes, lengths = Nodes(networks, encoded[0, :3]), torch.tensor([3, 4])
    plain = Plain(read_labels(CHARACTERS), made, lexicon, bonus=BONUS)
    of_words = Fusion(WEIGHT, BONUS, PENALTY)
    for lm, fusion, added in (
        (None, None, lambda tokens: 0.0),
        (loaded(made, tmp_path), of_words, plain.added),
        (scores.model, TOKENS, scores.added),
    ):
        search = TransducerSearch(
            networks, CHARACTERS, lm=lm, fusion=fusion, lexicon=lexicon, limits=limits
        )
        for nbest in (1, 5):
            (best,) = search.decode_nbest(encoded, lengths, nbest=nbest)[0]
            assert (best.text, best.tokens) == ("A", (2, 1))
            exact = nodes.log_prob(best.tokens)
            assert best.acoustic_log_prob == pytest.approx(exact, abs=1e-5)
            assert best.log_prob == pytest.approx(exact + added(best.tokens), abs=1e-4)
            assert (best.words[0].start, best.words[0].end) == (0.0, 1.0)
    assert best.lm_log_prob == pytest.approx(scores.lm(best.tokens), abs=1e-4)


def test_a_dictionary_of_which_nothing_is_possible() -> None:
    table = torch.zeros(1, len(prefixes_of(4, 1)), 4)
    table[0, 0, 2] = table[0, 1:, 0] = 1.0  # certainly an A, but the dictionary needs a B after it
    search = TransducerSearch(TableNetworks(table.log(), 1), CHARACTERS, lexicon=["AB"])
    with pytest.raises(DataError, match="no words of the lexicon have a probability above zero"):
        search.decode_nbest(rows_of([1]))
