"""Every utterance once an epoch, little padding, and a cache within its limit."""

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.data import batching
from asr.data.audio import Audio, write_wav
from asr.data.batching import (
    AudioReader,
    collate,
    group_by_length,
    padding_share,
    plan_batches,
)
from asr.data.manifest import Utterance
from asr.errors import AudioError

RATE = 8000
durations_lists = st.lists(st.floats(0.05, 40.0), max_size=60)
limits = st.floats(0.5, 120.0)


def padded_seconds(durations: list[float], batch: list[int]) -> float:
    return max(durations[index] for index in batch) * len(batch)


@settings(deadline=None)
@given(durations=durations_lists, limit=limits, seed=st.integers(0, 99), epoch=st.integers(0, 99))
def test_an_epoch_has_every_utterance_once_and_batches_within_the_limit(
    durations: list[float], limit: float, seed: int, epoch: int
) -> None:
    batches = plan_batches(durations, batch_seconds=limit, seed=seed, epoch=epoch)
    assert sorted(index for batch in batches for index in batch) == list(range(len(durations)))
    for batch in batches:
        assert batch
        assert len(batch) == 1 or padded_seconds(durations, batch) <= limit
    assert batches == plan_batches(durations, batch_seconds=limit, seed=seed, epoch=epoch)


@settings(deadline=None)
@given(durations=durations_lists, limit=limits, most=st.integers(1, 5))
def test_batches_of_few_utterances(durations: list[float], limit: float, most: int) -> None:
    plan = {"batch_seconds": limit, "seed": 1, "epoch": 2}
    batches = plan_batches(durations, **plan, batch_utterances=most)
    assert sorted(index for batch in batches for index in batch) == list(range(len(durations)))
    for batch in batches:
        assert 1 <= len(batch) <= most
        assert len(batch) == 1 or padded_seconds(durations, batch) <= limit
    assert plan_batches(durations, **plan, batch_utterances=61) == plan_batches(durations, **plan)


def test_a_full_batch_has_as_many_utterances_as_it_may() -> None:
    batches = plan_batches([1.0] * 7, batch_seconds=100.0, seed=1, epoch=0, batch_utterances=3)
    assert sorted(map(len, batches)) == [1, 3, 3]
    single = plan_batches([1.0] * 7, batch_seconds=100.0, seed=1, epoch=0, batch_utterances=1)
    assert sorted(single) == [[index] for index in range(7)]
    assert single != sorted(single), "in random order"


def test_no_batch_has_fewer_than_no_utterances() -> None:
    with pytest.raises(ValueError, match="batch_utterances must be at least 0, got -1"):
        plan_batches([1.0], batch_seconds=1.0, seed=1, epoch=0, batch_utterances=-1)


@settings(deadline=None)
@given(durations=durations_lists, limit=limits)
def test_evaluation_has_every_utterance_once_the_shortest_first(
    durations: list[float], limit: float
) -> None:
    batches = group_by_length(durations, batch_seconds=limit)
    order = [index for batch in batches for index in batch]
    assert order == sorted(range(len(durations)), key=lambda index: (durations[index], index))
    for batch, following in itertools.pairwise(batches):
        assert len(batch) == 1 or padded_seconds(durations, batch) <= limit
        full = durations[following[0]] * (len(batch) + 1)
        assert full > limit, "no batch is closed before it is full"


def speech(count: int) -> list[float]:
    """Lengths as in read speech: most between 2 and 16 seconds, a few much longer."""
    lengths = np.random.default_rng(0).lognormal(mean=1.8, sigma=0.5, size=count)
    return [float(length) for length in lengths.clip(0.5, 35.0)]


def test_epochs_and_seeds_give_other_batches_in_another_order() -> None:
    durations = speech(300)

    def plan(seed: int, epoch: int) -> list[list[int]]:
        return plan_batches(durations, batch_seconds=60.0, seed=seed, epoch=epoch)

    plans = [plan(1, 0), plan(1, 1), plan(2, 0), plan(0, 1)]
    contents = [{frozenset(batch) for batch in batches} for batches in plans]
    for index, batches in enumerate(plans):
        for other in range(index):
            assert batches != plans[other]
            shared = contents[index] & contents[other]
            assert len(shared) < len(batches) / 2, "not the same batches in another order"
        lengths = [durations[batch[0]] for batch in batches]
        assert lengths != sorted(lengths)
        assert lengths != sorted(lengths, reverse=True)


@pytest.mark.parametrize("batch_seconds", [60.0, 300.0])
def test_there_is_little_padding_in_read_speech(batch_seconds: float) -> None:
    durations = speech(3000)
    batches = plan_batches(durations, batch_seconds=batch_seconds, seed=1, epoch=3)
    assert padding_share(durations, batches) < 0.03
    at_random = [list(range(start, start + 10)) for start in range(0, 3000, 10)]
    assert padding_share(durations, at_random) > 0.4


def test_padding_share_in_closed_form() -> None:
    assert padding_share([1.0, 3.0, 2.0], [[0, 1], [2]]) == pytest.approx(2 / 8)
    assert padding_share([1.0, 1.0], [[0, 1]]) == 0.0
    assert padding_share([], []) == 0.0
    alike = [0.1] * 15  # whose sum is more than 15 times 0.1
    assert f"{padding_share(alike, [range(15)]):.1%}" == "0.0%", "and not -0.0%"


@pytest.mark.parametrize("limit", [0.0, -1.0, float("nan")])
def test_a_batch_needs_some_seconds(limit: float) -> None:
    with pytest.raises(ValueError, match="batch_seconds must be positive, got"):
        plan_batches([1.0], batch_seconds=limit, seed=0, epoch=0)
    with pytest.raises(ValueError, match="batch_seconds must be positive, got"):
        group_by_length([1.0], batch_seconds=limit)


def test_a_batch_is_padded_with_zeros() -> None:
    waveforms = [np.full(size, 0.5, dtype=np.float32) for size in (2, 4, 0)]
    batch = collate(["a", "b", "c"], waveforms, [[5, 6, 7], [], [8]])
    assert batch.ids == ("a", "b", "c")
    assert batch.waveforms.tolist() == [[0.5, 0.5, 0, 0], [0.5] * 4, [0.0] * 4]
    assert batch.waveforms.dtype == torch.float32
    assert batch.targets.tolist() == [[5, 6, 7], [0, 0, 0], [8, 0, 0]]
    for lengths, expected in (
        (batch.waveform_lengths, [2, 4, 0]),
        (batch.target_lengths, [3, 0, 1]),
    ):
        assert lengths.tolist() == expected
        assert lengths.dtype == torch.int64


def test_a_batch_without_targets_or_without_anything() -> None:
    batch = collate(["a"], [np.ones(3, dtype=np.float32)], [[]])
    assert batch.targets.shape == (1, 0)
    empty = collate([], [], [])
    assert empty.waveforms.shape == (0, 0)
    assert empty.waveform_lengths.shape == (0,)


def test_a_batch_does_not_share_memory_with_the_cache() -> None:
    waveform = np.ones(3, dtype=np.float32)
    batch = collate(["a"], [waveform], [[1]])
    batch.waveforms.zero_()
    assert waveform.tolist() == [1.0, 1.0, 1.0]


def test_a_batch_moves_to_a_device() -> None:
    batch = collate(["a"], [np.ones(3, dtype=np.float32)], [[1, 2]]).to(torch.device("meta"))
    assert batch.ids == ("a",)
    for tensor in (batch.waveforms, batch.waveform_lengths):
        assert tensor.device.type == "meta"
    for tensor in (batch.targets, batch.target_lengths):
        assert tensor.device.type == "cpu", "targets are checked before the GPU sees them"


def utterance(name: str, *, samples: int = 100, **changes: Any) -> Utterance:
    duration = samples / RATE
    return Utterance(
        **{"id": name, "audio": Path(f"{name}.wav"), "duration": duration, "text": "", **changes}
    )


class Disk:
    """In place of `read_audio`: counts what is read; the samples say from where."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reads: list[tuple[str, float]] = []
        self.truncated = False
        self._lock = threading.Lock()
        monkeypatch.setattr(batching, "read_audio", self.read)

    def read(self, path: Path, *, sample_rate: int, offset: float, duration: float) -> Audio:
        with self._lock:
            self.reads.append((path.name, offset))
        samples = round(duration * sample_rate)
        return Audio(
            waveform=np.full(samples, offset + len(path.parts), dtype=np.float32),
            sample_rate=sample_rate,
            duration=duration,
            truncated=self.truncated,
            declared_seconds=duration,
            warnings=(),
        )


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def test_the_cache_keeps_what_fits_and_evicts_nothing(disk: Disk) -> None:
    reader = AudioReader(RATE, cache_bytes=1000)  # 250 samples
    utterances = [utterance("a"), utterance("b"), utterance("c"), utterance("d", samples=50)]
    for _ in range(3):
        for each in utterances:
            assert len(reader.read(each)) == round(each.duration * RATE)
    names = [name for name, _ in disk.reads]
    assert names == ["a.wav", "b.wav", "c.wav", "d.wav", "c.wav", "c.wav"]


@pytest.mark.parametrize(("cache_bytes", "reads"), [(400, 1), (399, 2), (0, 2)])
def test_the_limit_of_the_cache_is_exact(disk: Disk, cache_bytes: int, reads: int) -> None:
    reader = AudioReader(RATE, cache_bytes)
    first, second = reader.read(utterance("a")), reader.read(utterance("a"))
    assert np.array_equal(first, second)
    assert len(disk.reads) == reads


def test_equal_names_in_two_manifests_are_two_sounds(disk: Disk) -> None:
    """`id` is unique in its manifest only; train and dev share a reader."""
    reader = AudioReader(RATE, cache_bytes=10**6)
    train = reader.read(utterance("1", audio=Path("1.wav")))
    dev = reader.read(utterance("1", audio=Path("dev/1.wav")))
    later = reader.read(utterance("1", audio=Path("1.wav"), offset=2.0))
    longer = reader.read(utterance("1", audio=Path("1.wav"), samples=200))
    assert [wave[0] for wave in (train, dev, later)] == [1.0, 2.0, 3.0]
    assert len(longer) == 200


def test_a_cut_off_sound_is_given_or_refused(disk: Disk) -> None:
    disk.truncated = True
    reader = AudioReader(RATE, cache_bytes=10**6)
    assert len(reader.read(utterance("a", samples=RATE))) == RATE
    for _ in range(2):  # from the disk and from the cache
        with pytest.raises(AudioError, match=r"a\.wav: cut off: 1\.00 of 1\.00 s are there"):
            reader.read_whole(utterance("a", samples=RATE))
    disk.truncated = False
    assert len(reader.read_whole(utterance("b"))) == 100


def test_many_threads_share_a_reader(disk: Disk) -> None:
    reader = AudioReader(RATE, cache_bytes=4 * 100 * 7)
    utterances = [utterance(str(number % 10), offset=float(number % 10)) for number in range(200)]
    with ThreadPoolExecutor(8) as pool:
        waveforms = list(pool.map(reader.read, utterances))
    for each, waveform in zip(utterances, waveforms, strict=True):
        assert waveform[0] == each.offset + 1
    disk.reads.clear()
    for each in utterances[:10]:
        reader.read(each)
    assert len(disk.reads) == 3, "seven fit, however they came"


def test_a_sound_that_two_threads_read_at_once_counts_once(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = AudioReader(RATE, cache_bytes=2 * 4 * 100)
    both = threading.Barrier(2, timeout=10)

    def read_together(path: Path, **options: Any) -> Audio:
        both.wait()
        return disk.read(path, **options)

    monkeypatch.setattr(batching, "read_audio", read_together)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(reader.read, [utterance("a"), utterance("a")]))
    monkeypatch.setattr(batching, "read_audio", disk.read)
    disk.reads.clear()
    for name in "abab":
        reader.read(utterance(name))
    assert disk.reads == [("b.wav", 0.0)]


def test_real_files(tmp_path: Path) -> None:
    waveform = (np.arange(800, dtype=np.float32) - 400) / 1024
    write_wav(tmp_path / "a.wav", waveform, RATE)
    reader = AudioReader(RATE, cache_bytes=10**6)
    whole = reader.read(utterance("a", audio=tmp_path / "a.wav", duration=0.1))
    np.testing.assert_array_equal(whole, waveform)
    piece = utterance("p", audio=tmp_path / "a.wav", offset=0.05, duration=0.025)
    np.testing.assert_array_equal(reader.read_whole(piece), waveform[400:600])
    (tmp_path / "a.wav").unlink()
    np.testing.assert_array_equal(reader.read(piece), waveform[400:600])
    with pytest.raises(AudioError, match=r"b\.wav: .*\[NOT_A_FILE\]"):
        reader.read(utterance("b", audio=tmp_path / "b.wav"))
