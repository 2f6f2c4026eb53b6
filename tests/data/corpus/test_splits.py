import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.data.corpus.splits import hold_out_share, hold_out_speakers, split_three
from asr.data.manifest import Utterance
from asr.errors import DataError


def utterance(
    number: int, speaker: str | None, *, seconds: float = 1.0, audio: str | None = None
) -> Utterance:
    return Utterance(
        id=f"u{number}",
        audio=Path(audio or f"{number}.wav"),
        duration=seconds,
        text="HELLO",
        speaker=speaker,
    )


def spoken_by(*speakers: str | None, each: int = 2) -> list[Utterance]:
    names = [speaker for speaker in speakers for _ in range(each)]
    return [utterance(number, speaker) for number, speaker in enumerate(names)]


def people(number: int) -> list[str | None]:
    return [f"speaker{index}" for index in range(number)]


def speakers(utterances: list[Utterance]) -> set[str | None]:
    return {entry.speaker for entry in utterances}


def test_whole_speakers_are_held_out_in_the_order_of_the_corpus() -> None:
    corpus = spoken_by(*people(20))
    sets = hold_out_speakers(corpus, number=3)
    assert sets.by == "speaker"
    assert len(speakers(sets.held_out)) == 3
    assert speakers(sets.kept) | speakers(sets.held_out) == speakers(corpus)
    assert not speakers(sets.kept) & speakers(sets.held_out)
    order = {entry.id: number for number, entry in enumerate(corpus)}
    for part in (sets.kept, sets.held_out):
        assert [order[entry.id] for entry in part] == sorted(order[entry.id] for entry in part)


def test_the_choice_depends_on_names_and_seed_alone() -> None:
    corpus = spoken_by(*people(20))
    chosen = [speakers(hold_out_speakers(corpus, number=3, seed=seed).held_out) for seed in (0, 1)]
    assert chosen[0] != chosen[1]
    backwards = hold_out_speakers(corpus[::-1], number=3)
    assert speakers(backwards.held_out) == chosen[0]
    # The same in every process and on every machine, unlike Python's own hashes.
    order = sorted(
        people(20), key=lambda name: hashlib.sha256(f"0 speaker {name}".encode()).hexdigest()
    )
    assert chosen[0] == set(order[:3])


def test_a_share_is_not_exceeded_and_long_talkers_are_passed_over() -> None:
    short = [utterance(number, f"s{number}", seconds=10.0) for number in range(30)]
    long = [utterance(100 + number, f"l{number}", seconds=1000.0) for number in range(4)]
    sets = hold_out_share([*long, *short], share=0.05)
    held = sum(entry.duration for entry in sets.held_out)
    assert 0.05 * 4300 - 10 < held <= 0.05 * 4300
    assert all(str(name).startswith("s") for name in speakers(sets.held_out))
    assert not speakers(sets.kept) & speakers(sets.held_out)


def test_where_nobody_fits_the_share_the_shortest_is_taken() -> None:
    corpus = [utterance(number, f"s{number}", seconds=10.0 - number) for number in range(4)]
    assert speakers(hold_out_share(corpus, share=0.01).held_out) == {"s3"}


def test_without_speakers_recordings_are_kept_whole() -> None:
    pieces = [utterance(number, None, audio=f"{number // 3}.wav") for number in range(30)]
    sets = hold_out_speakers(pieces, number=2)
    assert sets.by == "recording"
    assert len(sets.held_out) == 6
    assert not {e.audio for e in sets.kept} & {e.audio for e in sets.held_out}


def test_known_speakers_stay_whole_where_others_are_unknown() -> None:
    corpus = spoken_by(*people(6), each=3) + [utterance(100 + n, None) for n in range(6)]
    sets = hold_out_share(corpus, share=0.4)
    assert sets.by == "recording"
    assert not (speakers(sets.kept) & speakers(sets.held_out)) - {None}


@pytest.mark.parametrize("number", [0, -1])
def test_a_number_below_one(number: int) -> None:
    with pytest.raises(ValueError, match=f"number must be at least 1, got {number}"):
        hold_out_speakers(spoken_by("a", "b"), number=number)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, float("nan")])
def test_a_share_out_of_range(share: float) -> None:
    with pytest.raises(ValueError, match="share must lie between 0 and 1"):
        hold_out_share(spoken_by("a", "b"), share=share)


def test_too_few_to_hold_any_out() -> None:
    with pytest.raises(DataError, match=r"3 speakers cannot be split .*; at least 4 are needed"):
        hold_out_speakers(spoken_by("a", "b", "c"), number=3)
    with pytest.raises(DataError, match=r"1 speaker cannot be split .*; at least 2 are needed"):
        hold_out_share(spoken_by("a"), share=0.5)
    with pytest.raises(DataError, match=r"2 recordings cannot be split .*; at least 3 are needed"):
        split_three([utterance(1, None), utterance(2, "a")])


def test_three_sets_by_speakers() -> None:
    corpus = spoken_by(*people(200))
    sets = split_three(corpus)
    assert sets.by == "speaker"
    counts = [len(speakers(part)) for part in (sets.train, sets.dev, sets.test)]
    assert sum(counts) == 200
    # Each speaker falls into dev with 0.1, into test with 0.1: 20 ± 3 standard deviations.
    assert all(20 - 13 <= count <= 20 + 13 for count in counts[1:])


@given(st.integers(3, 40), st.integers(0, 10**6))
def test_no_set_is_ever_empty_and_none_share_anything(number: int, first: int) -> None:
    corpus = spoken_by(*(f"name{first + index}" for index in range(number)))
    sets = split_three(corpus)
    parts = (sets.train, sets.dev, sets.test)
    assert all(parts)
    assert sorted(entry.id for part in parts for entry in part) == sorted(e.id for e in corpus)
    assert len(sets.train) >= len(corpus) / 2
    assert sets.by == ("speaker" if number > 3 else "recording")
    assert sets.by == "recording" or sum(len(speakers(part)) for part in parts) == number


def test_adding_speakers_moves_nobody() -> None:
    before, after = split_three(spoken_by(*people(100))), split_three(spoken_by(*people(150)))
    for name in ("train", "dev", "test"):
        assert speakers(getattr(before, name)) <= speakers(getattr(after, name))


def test_adding_recordings_of_the_same_speakers_moves_nobody() -> None:
    few, many = spoken_by(*people(10), each=2), spoken_by(*people(10), each=5)
    before, after = split_three(few), split_three(many)
    for name in ("train", "dev", "test"):
        assert speakers(getattr(before, name)) == speakers(getattr(after, name))


def test_adding_recordings_without_speakers_moves_none() -> None:
    before = split_three([utterance(number, None) for number in range(100)])
    after = split_three([utterance(number, None) for number in range(150)])
    assert before.by == "recording"
    for name in ("train", "dev", "test"):
        assert {e.id for e in getattr(before, name)} <= {e.id for e in getattr(after, name)}


def test_too_few_speakers_are_split_by_recording_and_that_is_said() -> None:
    sets = split_three(spoken_by("a", "b", each=20))
    assert sets.by == "recording"
    assert all((sets.train, sets.dev, sets.test))


def test_speakers_who_would_leave_too_little_to_train_on_are_split_by_recording() -> None:
    corpus = spoken_by(*people(8), each=10)
    judge = split_three(corpus).test[0].speaker
    assert split_three(corpus).by == "speaker"
    more = [utterance(1000 + number, judge, seconds=30.0) for number in range(20)]
    sets = split_three(corpus + more)
    assert sets.by == "recording"
    assert judge in speakers(sets.train)
