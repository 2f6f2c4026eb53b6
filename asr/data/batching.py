"""Utterances to batches: length buckets, shuffled and reproducible, with little padding.

The plan of an epoch is a list of batches of indices that depends on the seed and the epoch alone,
so a training continues anywhere in it by counting what it has consumed: no sampler has a state to
save. Audio is read by `AudioReader`, which keeps what fits of the decoded corpus in memory.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from asr.data.audio import Audio, read_audio
from asr.data.manifest import Utterance
from asr.errors import AudioError

Waveform = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Batch:
    """Utterances side by side, padded.

    Attributes:
        ids: B names of the utterances.
        waveforms: (B, N) float32 in [-1, 1], zero beyond each length.
        waveform_lengths: (B,) int64, samples.
        targets: (B, U) int64 tokens, zero beyond each length.
        target_lengths: (B,) int64, tokens.
    """

    ids: tuple[str, ...]
    waveforms: Tensor
    waveform_lengths: Tensor
    targets: Tensor
    target_lengths: Tensor

    def to(self, device: torch.device) -> "Batch":
        """The same batch with its audio on a device; targets stay where they are checked."""
        return replace(
            self,
            waveforms=self.waveforms.to(device, non_blocking=True),
            waveform_lengths=self.waveform_lengths.to(device, non_blocking=True),
        )


def collate(
    ids: Sequence[str], waveforms: Sequence[Waveform], targets: Sequence[Sequence[int]]
) -> Batch:
    """One padded batch of B waveforms (samples,) float32 and their tokens."""
    sizes = [len(waveform) for waveform in waveforms]
    padded = torch.zeros(len(ids), max(sizes, default=0))
    for row, waveform in enumerate(waveforms):
        padded[row, : sizes[row]] = torch.from_numpy(waveform)
    tokens = torch.zeros(len(ids), max(map(len, targets), default=0), dtype=torch.int64)
    for row, target in enumerate(targets):
        tokens[row, : len(target)] = torch.tensor(target, dtype=torch.int64)
    return Batch(
        ids=tuple(ids),
        waveforms=padded,
        waveform_lengths=torch.tensor(sizes, dtype=torch.int64),
        targets=tokens,
        target_lengths=torch.tensor([len(target) for target in targets], dtype=torch.int64),
    )


def plan_batches(
    durations: Sequence[float],
    *,
    batch_seconds: float,
    seed: int,
    epoch: int,
    batch_utterances: int = 0,
) -> list[list[int]]:
    """The batches of one epoch: every index once, similar lengths together, in random order.

    The utterances are sorted by a slightly disturbed length (so that batches differ from epoch to
    epoch), cut into batches whose padded size stays within `batch_seconds`, and the batches are
    shuffled. An utterance longer than `batch_seconds` is a batch of its own.

    Args:
        durations: seconds of every utterance.
        batch_seconds: most seconds in a batch, padding included.
        seed: of the training.
        epoch: from 0.
        batch_utterances: most utterances in a batch; 0: as many as fit.

    Raises:
        ValueError: a limit out of its range.
    """
    random = np.random.default_rng((seed, epoch))
    # 1 % of disturbance swaps neighbours and costs next to no padding.
    disturbed = np.asarray(durations) * random.uniform(0.99, 1.01, size=len(durations))
    order = np.argsort(disturbed, kind="stable").tolist()
    batches = _cut(order, durations, batch_seconds, batch_utterances)
    return [batches[position] for position in random.permutation(len(batches))]


def group_by_length(durations: Sequence[float], *, batch_seconds: float) -> list[list[int]]:
    """Batches for evaluation: every index once, shortest first, similar lengths together."""
    order = sorted(range(len(durations)), key=durations.__getitem__)
    return _cut(order, durations, batch_seconds)


def _cut(
    order: Sequence[int], durations: Sequence[float], batch_seconds: float, most: int = 0
) -> list[list[int]]:
    """`order` cut into batches within `batch_seconds`, padded, and `most` utterances (0: any)."""
    if not batch_seconds > 0:
        raise ValueError(f"batch_seconds must be positive, got {batch_seconds}")
    if most < 0:
        raise ValueError(f"batch_utterances must be at least 0, got {most}")
    batches: list[list[int]] = []
    current: list[int] = []
    longest = 0.0
    for index in order:
        longest = max(longest, durations[index])
        is_full = longest * (len(current) + 1) > batch_seconds or len(current) == most > 0
        if current and is_full:
            batches.append(current)
            current, longest = [], durations[index]
        current.append(index)
    if current:
        batches.append(current)
    return batches


def padding_share(durations: Sequence[float], batches: Sequence[Sequence[int]]) -> float:
    """The share of padding in all frames of the batches, 0 to 1."""
    padded = sum(max(durations[i] for i in batch) * len(batch) for batch in batches)
    used = sum(durations[i] for batch in batches for i in batch)
    return max(0.0, 1.0 - used / padded) if padded else 0.0  # rounding may leave more than 1


class AudioReader:
    """Reads utterances as mono waveforms and keeps the first `cache_bytes` of them in memory.

    Nothing is ever evicted: an epoch visits every utterance once, and for such a cycle the first
    that fit are as good as any others. Safe to call from several threads.
    """

    def __init__(self, sample_rate: int, cache_bytes: int) -> None:
        self.sample_rate = sample_rate
        self._free_bytes = cache_bytes
        # By what is read, not by the name: train and dev may both have an utterance called 1.
        self._cache: dict[tuple[Path, float, float], Audio] = {}
        self._lock = threading.Lock()

    def read(self, utterance: Utterance) -> Waveform:
        """The waveform (samples,) float32 of an utterance, or what is left of it.

        Do not write into it: it may be handed out again.

        Raises:
            AudioError: the file cannot be used.
        """
        return self._read(utterance).waveform

    def read_whole(self, utterance: Utterance) -> Waveform:
        """As `read`, but a file that is cut off is refused: its text says more than it does.

        Raises:
            AudioError: the file cannot be used, or is cut off.
        """
        audio = self._read(utterance)
        if audio.truncated:
            reason = f"cut off: {audio.duration:.2f} of {utterance.duration:.2f} s are there"
            raise AudioError(utterance.audio, reason, "BAD_AUDIO")
        return audio.waveform

    def _read(self, utterance: Utterance) -> Audio:
        key = (utterance.audio, utterance.offset, utterance.duration)
        cached = self._cache.get(key)
        if cached is not None:
            return cached
        audio = read_audio(
            utterance.audio,
            sample_rate=self.sample_rate,
            offset=utterance.offset,
            duration=utterance.duration,
        )
        with self._lock:
            if audio.waveform.nbytes <= self._free_bytes and key not in self._cache:
                self._free_bytes -= audio.waveform.nbytes
                self._cache[key] = audio
        return audio
