"""What is added to a prefix."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from asr.decoding.beam import BeamLimits, BeamSearch
from asr.decoding.beam_kernel import begin
from asr.decoding.beam_memory import Search
from asr.decoding.fusion import Fusion
from asr.decoding.hotwords import HotWord
from asr.decoding.prefix_score import Scorer, extend, most_beyond
from asr.decoding.prefix_tree import node_of
from tests.decoding.made_lm import made_model
from tests.decoding.search_modes import (
    BONUS,
    CHARACTERS,
    PENALTY,
    PIECES,
    SPACED_PIECES,
    WEIGHT,
    loaded,
    modes,
)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def longer(work: Search, scorer: Scorer, node: int, token: int) -> int:
    """The node of a prefix with one more label."""
    _, *said = extend(scorer, work.memo, work.nodes, node, token)
    candidate = work.candidates[0]
    candidate["token"] = token
    for name, value in zip(
        ("scored", "offset", "place", "lm_state", "hot_state"), said, strict=True
    ):
        candidate[name] = value
    return int(node_of(work.nodes, work.sizes, node, candidate))


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
            node = longer(work, scorer, node, token)
        following = [extend(scorer, work.memo, work.nodes, node, token) for token in (1, 2, 3)]
        shares = [np.exp(offset) for allowed, _, offset, *_ in following if allowed]
        assert sum(shares) == pytest.approx(np.exp(work.nodes[node]["offset"]))


@pytest.mark.parametrize("names", [CHARACTERS, PIECES], ids=["characters", "pieces"])
def test_no_new_word_comes_to_more_than_its_bound(names: list[str], tmp_path: Path) -> None:
    """Else the search would leave out what there is room for."""
    random = np.random.default_rng(11)
    phrases = [HotWord("A A", 3.0), HotWord("A B A", 8.0), HotWord("B AB", 40.0), HotWord("B", -2)]
    lm = loaded(made_model(random, ["A", "AB", "BA"], 2), tmp_path)
    fusion = Fusion(WEIGHT, BONUS, PENALTY)
    words = ["A", "B", "AB", "BAA"]
    searches = [
        BeamSearch(names, hotwords=phrases),
        BeamSearch(names, lm=lm, hotwords=phrases, fusion=fusion),
        BeamSearch(names, lm=lm, lexicon=words, fusion=replace(fusion, kind="prior")),
        *(
            mode.search
            for mode in modes(names, tmp_path, BeamLimits(), seed=12)
            if "stepwise" not in mode.name  # nobody asks its model here
        ),
    ]
    compared = 0
    for search, _ in itertools.product(searches, range(60)):
        scorer, work = search._scorer, search._borrowed(12)
        begin(work, scorer, search._start)
        node = 0
        for token in random.integers(1, len(names), 12):
            bound = most_beyond(scorer, work.nodes, node)
            allowed, _, offset, *_ = extend(scorer, work.memo, work.nodes, node, token)
            if not allowed:
                continue
            if scorer.labels.starts_word[token]:
                assert offset <= bound + scorer.weights.token_bonus + 1e-9
                compared += 1
            node = longer(work, scorer, node, token)
    assert compared > 3000


@pytest.mark.parametrize("names", [CHARACTERS, SPACED_PIECES], ids=["characters", "pieces"])
def test_what_follows_adds_the_same_to_prefixes_of_one_future(
    names: list[str], tmp_path: Path
) -> None:
    """Of them a full beam keeps the best alone."""
    random = np.random.default_rng(31)
    phrases = [HotWord("A A", 3.0), HotWord("A B A", 8.0), HotWord("B AB", 4.0), HotWord("B", -2)]
    lm = loaded(made_model(random, ["A", "AB", "BA"], 3), tmp_path)
    fusion, words = Fusion(WEIGHT, BONUS, PENALTY), ["A", "B", "AB", "BA"]
    searches = [
        BeamSearch(names, hotwords=phrases),
        BeamSearch(names, lm=lm, hotwords=phrases, fusion=fusion),
        BeamSearch(names, lm=lm, lexicon=words, hotwords=phrases, fusion=fusion),
        BeamSearch(names, lm=lm, lexicon=words, fusion=replace(fusion, kind="prior")),
    ]
    compared = 0
    for search in searches:
        scorer, work = search._scorer, search._borrowed(400)
        begin(work, scorer, search._start)

        def grown(node: int, tokens: Sequence[int], work=work, scorer=scorer) -> int | None:  # type: ignore[no-untyped-def]
            for token in tokens:
                if not extend(scorer, work.memo, work.nodes, node, token)[0]:
                    return None
                node = longer(work, scorer, node, token)
            return node

        by_future: dict[tuple[int, ...], list[int]] = {}
        for _ in range(400):
            node = grown(0, random.integers(1, len(names), random.integers(1, 9)).tolist())
            if node:
                said = work.nodes[node]
                future = [int(said[n]) for n in ("token", "place", "lm_state", "hot_state")]
                by_future.setdefault(tuple(future), []).append(node)
        for first, *others in by_future.values():
            more = random.integers(1, len(names), 5).tolist()
            ends = [(node, grown(node, more)) for node in (first, *others[:5])]
            added = [
                None
                if end is None
                else float(work.nodes[end]["offset"]) - float(work.nodes[node]["scored"])
                for node, end in ends
            ]
            assert added == [None if added[0] is None else pytest.approx(added[0])] * len(added)
            compared += len(others)
    assert compared > 500
