"""Which speakers train a model and which only judge it.

A speaker belongs to one set alone, wherever speakers are known; where they are not, a recording
does. Who goes where is decided by a hash of the name: the same on every machine and every run, and
a speaker who is added tomorrow moves nobody else.
"""

import hashlib
import math
from collections import defaultdict
from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Literal

from asr.data.corpus.recordings import counted
from asr.data.manifest import Utterance
from asr.errors import DataError

Unit = Literal["speaker", "recording"]
Groups = dict[str, list[Utterance]]

SHARE = 0.1  # of the speakers of one's own recordings that go into dev, and into test
MIN_TRAIN_SHARE = 0.5  # of the seconds: with less, keeping the speakers apart costs too much


@dataclass(frozen=True)
class HeldOut:
    """Utterances in two parts, each in the order in which they came.

    Attributes:
        kept: what remains.
        held_out: what was taken out.
        by: what the parts do not share: `speaker` only if every utterance names one.
    """

    kept: list[Utterance]
    held_out: list[Utterance]
    by: Unit


@dataclass(frozen=True)
class ThreeSets:
    """Utterances in three sets, each in the order in which they came.

    Attributes:
        train: to learn from.
        dev: to tune and stop on.
        test: to judge by, at the end.
        by: what the sets do not share.
    """

    train: list[Utterance]
    dev: list[Utterance]
    test: list[Utterance]
    by: Unit


def hold_out_speakers(utterances: Sequence[Utterance], *, number: int, seed: int = 0) -> HeldOut:
    """Take `number` whole speakers out (or recordings, where speakers are not known).

    Another `seed` chooses others.

    Raises:
        DataError: there are not more than `number` of them.
        ValueError: `number` is below 1.
    """
    if number < 1:
        raise ValueError(f"number must be at least 1, got {number}")
    groups, by = _grouped(utterances)
    _check_enough(groups, by, number + 1)
    return _taken_out(utterances, groups, set(_hashed_order(groups, seed)[:number]), by=by)


def hold_out_share(utterances: Sequence[Utterance], *, share: float, seed: int = 0) -> HeldOut:
    """Take out whole speakers (or recordings) who speak `share` of the seconds together.

    They are taken in hashed order as long as they fit, so one who speaks for hours is passed over
    in favour of several who do not; where nobody fits, the one who speaks least is taken.

    Args:
        utterances: of at least two speakers.
        share: in (0, 1); the part taken out is smaller rather than larger.
        seed: another choice of speakers.

    Raises:
        DataError: fewer than two speakers.
        ValueError: `share` is out of range.
    """
    if not 0 < share < 1:
        raise ValueError(f"share must lie between 0 and 1, got {share}")
    groups, by = _grouped(utterances)
    _check_enough(groups, by, 2)
    seconds = {name: _seconds(entries) for name, entries in groups.items()}
    left = share * sum(seconds.values())
    chosen = set()
    for name in _hashed_order(groups, seed):
        if seconds[name] <= left:
            chosen.add(name)
            left -= seconds[name]
    return _taken_out(utterances, groups, chosen or {min(groups, key=lambda n: seconds[n])}, by=by)


def split_three(utterances: Sequence[Utterance]) -> ThreeSets:
    """Train, dev and test out of one's own recordings: about 80, 10 and 10 % of the speakers.

    By speakers where there are at least three who leave at least half of the speech to train on;
    by recordings otherwise, which `by` says: then the scores speak for these speakers only.
    A name's hash alone decides, as long as dev and test are not empty without help: adding
    recordings moves none of the others.

    Raises:
        DataError: fewer than three recordings.
    """
    groups, by = _grouped(utterances)
    sets = _three(groups) if len(groups) >= 3 else None
    total = _seconds(utterances)
    if sets is None or _seconds(_of(utterances, groups, sets[0])) < MIN_TRAIN_SHARE * total:
        groups, by = _by_recording(utterances), "recording"
        _check_enough(groups, by, 3)
        sets = _three(groups)
    train, dev, test = (_of(utterances, groups, names) for names in sets)
    return ThreeSets(train, dev, test, by)


def _three(groups: Groups) -> tuple[set[str], set[str], set[str]]:
    """Names for train, dev and test: the lowest tenth of all hashes is test, the next one dev.

    Of few names, a tenth can hold none or nearly all: at least one is taken, at most a quarter of
    them. There are at least three.
    """
    order = _hashed_order(groups, seed=0)
    most = max(1, len(order) // 4)
    num_test = min(max(_below(order, SHARE), 1), most)
    num_dev = min(max(_below(order, 2 * SHARE) - num_test, 1), most)
    dev_end = num_test + num_dev
    return set(order[dev_end:]), set(order[num_test:dev_end]), set(order[:num_test])


def _below(names: list[str], bound: float) -> int:
    return sum(_hash(name, seed=0) < bound for name in names)


def _grouped(utterances: Sequence[Utterance]) -> tuple[Groups, Unit]:
    """Utterances that must stay together: a speaker's; without a speaker, those of one file."""
    if not any(entry.speaker for entry in utterances):
        return _by_recording(utterances), "recording"
    unknown = [entry for entry in utterances if not entry.speaker]
    groups = {f"recording {name}": group for name, group in _by_recording(unknown).items()}
    for entry in utterances:
        if entry.speaker:
            groups.setdefault(f"speaker {entry.speaker}", []).append(entry)
    return groups, "recording" if unknown else "speaker"


def _by_recording(utterances: Sequence[Utterance]) -> Groups:
    """The utterances of each file, by the first of their ids: a path would differ elsewhere."""
    by_file = defaultdict(list)
    for entry in utterances:
        by_file[entry.audio].append(entry)
    return {min(entry.id for entry in group): group for group in by_file.values()}


def _check_enough(groups: Groups, by: Unit, needed: int) -> None:
    if len(groups) < needed:
        raise DataError(
            f"{counted(len(groups), by)} cannot be split into sets that share none; at least "
            f"{needed} are needed: add some, or keep the sets apart in folders train, dev and test"
        )


def _hashed_order(groups: Groups, seed: int) -> list[str]:
    return sorted(groups, key=lambda name: (_hash(name, seed), name))


def _hash(name: str, seed: int) -> float:
    """A number in [0, 1) that depends on the name and the seed alone."""
    digest = hashlib.sha256(f"{seed} {name}".encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def _seconds(utterances: Sequence[Utterance]) -> float:
    return math.fsum(entry.duration for entry in utterances)


def _of(utterances: Sequence[Utterance], groups: Groups, names: Container[str]) -> list[Utterance]:
    """The utterances of these groups, in their original order."""
    ids = {entry.id for name, group in groups.items() if name in names for entry in group}
    return [entry for entry in utterances if entry.id in ids]


def _taken_out(
    utterances: Sequence[Utterance], groups: Groups, names: set[str], *, by: Unit
) -> HeldOut:
    held_out = _of(utterances, groups, names)
    ids = {entry.id for entry in held_out}
    return HeldOut([entry for entry in utterances if entry.id not in ids], held_out, by)
